#pragma once
/*
 * What admission remembers, and how it goes to disk and comes back.  Deciding is done elsewhere
 * (admission_checks.h), on this.
 */
#include "base/journal.h"
#include "policies/admission.h"
#include "policies/admission_history.h"
#include "policies/admission_record.h"

/* Beside its count, which is in an array of its own because callers look at that. */
struct gd_admission_rule {
	uint64_t failures; /* in a row */
	bool dirty;        /* its count has moved since it was written */
};

struct gd_admission {
	int dir_fd;
	struct gd_journal journal; /* not open: in memory only */
	struct gd_admission_history history;
	struct gd_admission_count *counts;
	struct gd_admission_rule *rules; /* as counts */
	size_t n_rules, room;
	const struct gd_policy *policy;  /* NULL before the first one */
	char host[256];
	char boot[GD_ADMISSION_BOOT];    /* of the last record; then the present one */
	int64_t now_ns, realtime_ns;     /* the latest that was seen; now_ns never goes back */
	int64_t flushed_ns;
	bool dirty;                      /* something waits for gd_admission_state_flush */
	bool stale;                      /* the file is no base to append to: rewrite it first */
	uint64_t compact_bytes;          /* rewrite when it has grown beyond */
	int failed;                      /* -ENOMEM while reading */
};

#define GD_ADMISSION_RULES_MAX (2 * GD_POLICY_RULES_MAX)
#define GD_ADMISSION_FLUSH_NS INT64_C(1000000000)
#define GD_ADMISSION_ALIVE_NS (3600 * INT64_C(1000000000)) /* when nothing happens */

/* Reads everything into a zeroed one, in the present boot's time afterwards. */
int gd_admission_state_open(struct gd_admission *admission, const char *dir, const char *boot,
                            const struct gd_clock *now, struct gd_journal_found *ret_found,
                            struct gd_error *err);
void gd_admission_state_deinit(struct gd_admission *admission);

/* It is now so late. */
void gd_admission_state_see(struct gd_admission *admission, const struct gd_clock *now);

/* The index of a rule by name, made when it is new; names nobody uses any more make room. */
int gd_admission_state_rule(struct gd_admission *admission, const char *name, size_t *ret,
                            struct gd_error *err);

/* One more of these decisions, to be written sooner or later. */
void gd_admission_state_count(struct gd_admission *admission, size_t rule, enum gd_verdict verdict);

/* Writes one or a few records, after a rewrite of all when that is due. */
int gd_admission_state_write(struct gd_admission *admission, const struct gd_buf *lines, bool sync,
                             struct gd_error *err);

/* Writes counters that moved, and how late it is: what the age of captures will be known by after a
 * reboot, when the wall clock is of no use. */
void gd_admission_state_flush(struct gd_admission *admission);
