#pragma once
/*
 * Whether a trigger may become a capture: cooldown, sliding limits, host and rule budgets, fleet
 * sampling, dedup, rules that keep failing.  Every decision is on disk before it is told, in a
 * file of its own (append only, each line with length and CRC32C, compacted now and then), so that
 * limits survive SIGKILL, a restart of the agent and a new pid of the service.
 *
 * Windows count on CLOCK_BOOTTIME within one boot and on CLOCK_REALTIME across boots; an entry from
 * the future (the clock was set back) counts as of now, so setting clocks never widens a limit.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "policies/engine.h"

enum gd_verdict {
	GD_VERDICT_ADMITTED,
	GD_VERDICT_DUPLICATE, /* seen again: `first` names the capture */
	GD_VERDICT_COOLDOWN,
	GD_VERDICT_LIMIT,
	GD_VERDICT_BUDGET,
	GD_VERDICT_SPACE,     /* spool full or file system below its floor */
	GD_VERDICT_SAMPLED,   /* another host of the fleet does it */
	GD_VERDICT_DISABLED,  /* the rule disabled itself */
	GD_VERDICT_BUSY,      /* the queue is full: ask again */
	GD_VERDICT_NO_TARGET, /* no running process matches */
	GD_VERDICTS,
};
#define GD_ADMISSION_FAILURES_MAX 3 /* in a row, then a rule disables itself */
/* "admitted", "duplicate", "cooldown", ... also the label values of /metrics. */
extern const char *const gd_verdict_names[GD_VERDICTS];

/*
 * For what starts by itself and has no rule of the policy: a unit that failed (OnFailure=).  By
 * hand it is not, and a unit that fails in a loop fails often: 5 captures in 24 h of a service, and
 * what comes again within 10 minutes is seen again.
 */
extern const struct gd_rule gd_admission_unit_rule; /* "@unit", a name no policy can have */

struct gd_trigger {
	const struct gd_rule *rule;       /* NULL: by hand or by signal; need not be of the policy */
	const char *service;              /* name; "" none */
	struct gd_subject_id subject;     /* pid 0: none */
	const char *fingerprint;          /* alert's; NULL */
	const char *starts_at;            /* alert's; NULL */
	const char *capture_id;           /* what it is called if admitted */
	struct gd_clock now;
};

/* When the policy does not say: the spool never exceeds the lesser of both, so much stays free. */
#define GD_ADMISSION_SPOOL_BYTES (UINT64_C(2) << 30)
#define GD_ADMISSION_SPOOL_RATIO 0.05
#define GD_ADMISSION_FREE_RATIO 0.15

/* What the host looks like at this moment; the caller measures it. */
struct gd_load {
	uint64_t spool_bytes, fs_bytes, fs_free_bytes;
	unsigned running, queued;
	unsigned queue_max;
	bool has_target;   /* a process to capture is known */
};

struct gd_decision {
	enum gd_verdict verdict;
	char why[248];        /* a sentence: "5 captures within 24h already; the next in 3 h 12 m" */
	char first[64];       /* capture id that a duplicate repeats; "" */
	int64_t retry_ns;     /* in so much time it could be admitted; 0 unknown */
};

struct gd_admission;

/*
 * Opens (creates) `dir`/admission.journal.  `host` is hashed for fleet sampling (machine id or
 * hostname).  A torn last line is cut off; damage elsewhere: the file is put aside as
 * admission.journal.bad, *ret_note says so and everything readable is kept.  Captures that had not
 * ended are lost: they count, but the alert that caused one may do so again.  -EBUSY: another
 * process has it open.
 */
int gd_admission_open(const char *dir, const char *host, struct gd_admission **ret,
                      char ret_note[248], struct gd_error *err);

/* The same for replays and tests. */
struct gd_admission_options {
	const char *dir;            /* NULL: in memory only */
	const char *host;
	const char *boot_id;        /* NULL: the kernel's */
	const struct gd_clock *now; /* NULL: the clocks */
};
int gd_admission_open_with(const struct gd_admission_options *options, struct gd_admission **ret,
                           char ret_note[248], struct gd_error *err);

void gd_admission_close(struct gd_admission *admission); /* NULL allowed; writes what flush would */

/* A new or reloaded policy; borrowed until the next one.  State is kept by names.  A reload (not
 * the first policy after opening) arms rules that disabled themselves. */
void gd_admission_policy(struct gd_admission *admission, const struct gd_policy *policy);

/*
 * Decides and records, fdatasync'ed when admitted.  A disk that refuses the record refuses the
 * capture (GD_VERDICT_SPACE).  Negative only for our own mistakes.
 *
 * What is asked, in this order, the first "no" being the verdict: captured already (the same alert,
 * or within `dedup`); rule disabled; other hosts of the fleet; no target; cooldown; limit; the
 * rule's budget, the host's; space; queue.  So BUSY means that all else would have been well.  By
 * hand (rule NULL) only target, space and queue are asked; it counts for the host's budgets of
 * bytes and pauses, not for that of captures.
 *
 * An alert is the same while fingerprint and starts_at are; it is remembered for 7 days or longer,
 * as long as there are not GD_ADMISSION_HISTORY_MAX younger captures.  A capture that failed or was
 * lost makes nothing a duplicate.  Cooldown is by rule and process, for a trigger without a process
 * by rule.  Budgets of bytes and pauses know what has ended.
 *
 * Refusals are counters, not lines: they are written at most once a second (not synced), so a
 * storm of them cannot fill a disk and SIGKILL costs at most those of the last second.  The file
 * is compacted when it has doubled, and stays below 8 MiB.
 */
int gd_admission_decide(struct gd_admission *admission, const struct gd_trigger *trigger,
                        const struct gd_load *load, struct gd_decision *ret,
                        struct gd_error *err);

/* Writes counters that have waited for more than a second, once an hour that time passes; call it
 * about every second.  Failures are not told: it tries again. */
void gd_admission_flush(struct gd_admission *admission, const struct gd_clock *now);

/*
 * How an admitted capture ended: bytes sealed, pause caused, and whether the rule failed (nothing
 * was sealed, through no fault of the target).  Three failures in a row disable the rule until a
 * reload or `gd_admission_enable`.  On failure it is known nevertheless, and written with whatever
 * is written next.  -ENOENT: no such capture.
 */
int gd_admission_ended(struct gd_admission *admission, const char *capture_id, bool failed,
                       uint64_t bytes, uint64_t pause_ns, const struct gd_clock *now,
                       struct gd_error *err);

/* Arms a rule that disabled itself; NULL: all.  -ENOENT: nothing is known of that rule. */
int gd_admission_enable(struct gd_admission *admission, const char *rule, struct gd_error *err);

/* Counters since the file began: verdicts by rule, seen again; for status and /metrics. */
struct gd_admission_count {
	char rule[GD_POLICY_NAME_MAX]; /* "" by hand */
	uint64_t verdicts[GD_VERDICTS];
	bool disabled;
	char disabled_why[248];
};
size_t gd_admission_counts(const struct gd_admission *admission,
                           const struct gd_admission_count **ret);
