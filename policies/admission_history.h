#pragma once
/*
 * The captures that were admitted, oldest first: every question of admission about the past
 * (limits, budgets, cooldown, "was it captured already?") is answered from this one list.
 *
 * Times are CLOCK_BOOTTIME of the present boot; a capture of an earlier boot has one before its
 * start.  When a boot ends, each capture's age is carried over: what the wall clock says has passed,
 * but never less than the time the machine is known to have run since, and never more than the
 * age of a capture before it.  So a clock that was set back, or lost at power off, makes captures
 * younger than they are and never older.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "policies/engine.h"

/* So that no difference of two times can wrap: 146 years of uptime or age, and the year 2116. */
#define GD_ADMISSION_BOOTTIME_MAX ((INT64_C(1) << 62) - 1)
#define GD_ADMISSION_REALTIME_MAX (INT64_C(1) << 62)

#define GD_ADMISSION_ID 64
#define GD_ADMISSION_FINGERPRINT 72
#define GD_ADMISSION_STARTS_AT 48

enum gd_admission_outcome {
	GD_ADMISSION_OPEN,   /* running or queued */
	GD_ADMISSION_SEALED,
	GD_ADMISSION_FAILED, /* nothing was sealed */
	GD_ADMISSION_LOST,   /* the agent died before it ended */
	GD_ADMISSION_OUTCOMES,
};

struct gd_admission_capture {
	char id[GD_ADMISSION_ID];
	char rule[GD_POLICY_NAME_MAX];    /* "" by hand */
	char service[GD_POLICY_NAME_MAX]; /* "" none */
	char fingerprint[GD_ADMISSION_FINGERPRINT];
	char starts_at[GD_ADMISSION_STARTS_AT];
	struct gd_subject_id subject; /* means nothing after a reboot: pid -1 */
	int64_t at_ns;
	int64_t realtime_ns;
	uint64_t bytes, pause_ns;
	uint64_t again; /* how often it was seen again */
	enum gd_admission_outcome outcome;
	bool dirty; /* `again` has moved since it was written */
};

struct gd_admission_history {
	struct gd_admission_capture *list;
	size_t n, room;
};

#define GD_ADMISSION_HISTORY_MAX 4096

void gd_admission_history_deinit(struct gd_admission_history *history);

/* Makes room for one more, so that the add that follows cannot fail; when there are
 * GD_ADMISSION_HISTORY_MAX the oldest by hand goes, else the oldest. */
int gd_admission_history_reserve(struct gd_admission_history *history, struct gd_error *err);
struct gd_admission_capture *gd_admission_history_add(struct gd_admission_history *history,
                                                      const struct gd_admission_capture *capture);

/* Forgets what is older. */
void gd_admission_history_trim(struct gd_admission_history *history, int64_t now_ns,
                               uint64_t keep_ns);

/* The boot that was known to have run until last_ns has ended; `now` is in the next one. */
void gd_admission_history_reboot(struct gd_admission_history *history, int64_t last_ns,
                                 int64_t now_ns, int64_t now_realtime_ns);

struct gd_admission_capture *gd_admission_history_find(const struct gd_admission_history *history,
                                                       const char *id);

/* Which captures are meant: NULL and pid 0 are "any". */
struct gd_admission_filter {
	const char *rule, *service, *fingerprint, *starts_at;
	struct gd_subject_id subject;
	bool kept;      /* only those that came or may come to something */
	bool automatic; /* only those of rules */
};

/* The newest of them that is younger than within_ns, or NULL. */
struct gd_admission_capture *gd_admission_history_newest(const struct gd_admission_history *history,
                                                         const struct gd_admission_filter *filter,
                                                         int64_t now_ns, uint64_t within_ns);

enum gd_admission_amount {
	GD_ADMISSION_CAPTURES,
	GD_ADMISSION_BYTES,
	GD_ADMISSION_PAUSE_NS,
};

/*
 * What was used of a rate within its window; *ret_wait_ns: when there is room again, 0 now.  A
 * capture at the far end of the window, to the nanosecond, has left it.
 */
uint64_t gd_admission_history_used(const struct gd_admission_history *history,
                                   const struct gd_admission_filter *filter,
                                   enum gd_admission_amount amount, const struct gd_rate *rate,
                                   int64_t now_ns, int64_t *ret_wait_ns);
