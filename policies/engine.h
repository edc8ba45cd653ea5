#pragma once
/*
 * Decides when a rule fires.  Fed with samples, events and alerts; keeps one small machine per rule
 * and process: armed -> pending (`for`) -> fired -> waiting for `clear` -> armed.  It knows nothing
 * of limits (admission.h), reads no clock and touches no file, so a replay of recorded samples
 * gives exactly what the daemon gave.
 *
 * Time is CLOCK_BOOTTIME in nanoseconds, given by the caller and never going back for one process;
 * a sample older than the one before is ignored and counted.
 */
#include <stdbool.h>
#include <stdint.h>

#include "policies/policy.h"

struct gd_engine;

/* Who a sample is about.  A reused pid has another start, hence another machine. */
struct gd_subject_id {
	int32_t pid;
	uint64_t start_ticks;
};

struct gd_fired {
	const struct gd_rule *rule;
	struct gd_subject_id subject; /* pid 0: the service as a whole (alert, gone, schedule) */
	int64_t at_ns;
	double value;      /* METRIC: of the last sample, else NaN */
	int64_t held_ns;   /* METRIC: how long it has held */
	bool degraded;     /* `unless` holds: take the light profile */
	char why[248];     /* "go_gc_pause_p99 71 ms above 50 ms for 30 s" */
};

/* Called from within the feeding functions, in the order of the rules. */
typedef void gd_engine_fired_fn(void *arg, const struct gd_fired *fired);

/* `policy` is borrowed and outlives the engine. */
int gd_engine_create(const struct gd_policy *policy, gd_engine_fired_fn *fired, void *arg,
                     struct gd_engine **ret, struct gd_error *err);
void gd_engine_destroy(struct gd_engine *engine); /* NULL allowed */

/* A process of service `service` was found; counts as a start for "restarts" unless `first_look`
 * (it was there already when the agent began). */
int gd_engine_process(struct gd_engine *engine, struct gd_subject_id subject, size_t service,
                      bool first_look, int64_t now_ns, struct gd_error *err);

/* It has ended: fires "gone", forgets its machines. */
void gd_engine_gone(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns);

/* One sample of all metrics. */
void gd_engine_sample(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns,
                      const double values[GD_METRICS]);

/* A cgroup event of that process's cgroup. */
void gd_engine_event(struct gd_engine *engine, struct gd_subject_id subject, enum gd_event event,
                     int64_t now_ns);

/* Schedules that are due; call at least once a second. `seed` (of the host) spreads the jitter. */
void gd_engine_tick(struct gd_engine *engine, int64_t now_ns, uint64_t seed);

/* For status: state of one rule's machine on one process, as a word: "armed", "pending", ... */
const char *gd_engine_state(const struct gd_engine *engine, const struct gd_rule *rule,
                            struct gd_subject_id subject);
