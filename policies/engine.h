#pragma once
/*
 * Decides when a rule fires.  Fed with samples, events and alerts; keeps one small machine per rule
 * and process: armed -> pending (`for`) -> fired -> clearing (`clear_for`) -> armed.  It knows
 * nothing of limits (admission.h), reads no clock and touches no file, so a replay of recorded
 * samples gives exactly what the daemon gave.
 *
 * Time is CLOCK_BOOTTIME in nanoseconds, given by the caller and never going back for one process;
 * a sample older than the one before is ignored and counted.
 *
 * Metric rules:
 * - "above 50ms" is strictly above: a value at the level does not hold.  A value at the clear level
 *   is clear; one between the two levels is neither, and leaves an armed rule armed, a fired one
 *   fired.
 * - `for: D` fires on the first sample that is D or more after the first of an unbroken row of
 *   samples which all held; `for: 0` on the first sample that holds.  It fires once: again only
 *   after the clear level was there on every sample for `clear_for` (0: on one sample).
 * - A sample without the metric (NaN) neither holds nor breaks, it is skipped; only a value fires.
 *   A row ends when there was no value for more than half of its D, or three intervals if that is
 *   longer: so at least three values make a `for` of more than six intervals.
 * - A row also ends when nothing at all was sampled for more than three intervals (the machine
 *   slept, the agent was stuck); the next sample may begin a new one.  A fired rule stays fired.
 * - All these times are met when a tenth of an interval is missing, and exceeded when a tenth more
 *   has passed: samples come when the machine has time, and their number is what is meant.
 * - Another start time is another process: its machines are armed.  So are all of a new engine,
 *   after a restart of the agent: what still holds fires again, and admission knows its limits.
 *
 * Events fire each time.  "gone" fires when a process ends; "restarts" when `count` processes of
 * the service were started within `within` (both ends belong to it), then counts anew.  Schedules
 * are due at every + offset since boot, the offset from a hash of host, rule and service: neither a
 * restart of the agent nor its time of day moves them; what was due while it was down, or more than
 * once between two ticks, is not caught up.
 *
 * `unless` is judged on the sample that fires; for rules without a metric, on the last sample of
 * the process (for a whole service: of any of its processes) when that is at most ten intervals
 * old.  No value: not degraded.
 *
 * Not thread safe.  The callback may ask for states and call gd_engine_again, nothing else.
 */
#include <stdbool.h>
#include <stdint.h>

#include "policies/policy.h"

#define GD_ENGINE_INTERVAL_NS UINT64_C(1000000000)
#define GD_ENGINE_GAP_INTERVALS 3
#define GD_ENGINE_FRESH_INTERVALS 10
#define GD_ENGINE_PROCESSES_MAX 8192
#define GD_ENGINE_RESTARTS_MAX 4096 /* `count` of a "restarts" rule */

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

/* `policy` is borrowed and outlives the engine.  -E2BIG: `count` of a restarts rule. */
int gd_engine_create(const struct gd_policy *policy, gd_engine_fired_fn *fired, void *arg,
                     struct gd_engine **ret, struct gd_error *err);
void gd_engine_destroy(struct gd_engine *engine); /* NULL allowed */

/* How far apart samples are meant to be from now on, when not GD_ENGINE_INTERVAL_NS. */
void gd_engine_interval(struct gd_engine *engine, uint64_t interval_ns);

/* A process of service `service` was found; counts as a start for "restarts" unless `first_look`
 * (it was there already when the agent began).  One that is known already stays as it is; the
 * same pid with another start means that the one before is gone.  -E2BIG: too many processes. */
int gd_engine_process(struct gd_engine *engine, struct gd_subject_id subject, size_t service,
                      bool first_look, int64_t now_ns, struct gd_error *err);

/* It has ended: fires "gone", forgets its machines. */
void gd_engine_gone(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns);

/* One sample of all metrics. */
void gd_engine_sample(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns,
                      const double values[GD_METRICS]);

/* A cgroup event of that process's cgroup.  "gone" and "restarts" the engine finds by itself. */
void gd_engine_event(struct gd_engine *engine, struct gd_subject_id subject, enum gd_event event,
                     int64_t now_ns);

/* Whether an alert of that name with those labels is what the rule waits for: all labels of the
 * rule must be there with the same value. */
bool gd_engine_alert_matches(const struct gd_rule *rule, const char *name,
                             const struct gd_policy_label *labels, size_t n_labels);

/* An alert came in for this rule: fires for the service as a whole. */
void gd_engine_alert(struct gd_engine *engine, const struct gd_rule *rule, int64_t now_ns);

/* Whether `unless` of a rule without a metric holds now, for its service as a whole: what an alert
 * would find if it came by gd_engine_alert. */
bool gd_engine_degraded(const struct gd_engine *engine, const struct gd_rule *rule, int64_t now_ns);

/* Schedules that are due; call at least once a second. `seed` (of the host) spreads the jitter. */
void gd_engine_tick(struct gd_engine *engine, int64_t now_ns, uint64_t seed);

/* The firing of a METRIC rule came to nothing through no fault of its own (the queue was full): it
 * fires again on the next sample, if that holds.  Before that sample, or it has no effect. */
void gd_engine_again(struct gd_engine *engine, const struct gd_rule *rule,
                     struct gd_subject_id subject);

/* For status: state of one rule's machine on one process, as a word: "armed", "pending", "fired",
 * "clearing"; "none": not known to this engine. */
const char *gd_engine_state(const struct gd_engine *engine, const struct gd_rule *rule,
                            struct gd_subject_id subject);

struct gd_engine_stats {
	uint64_t samples;
	uint64_t ignored; /* older than the one before, or of a process nobody announced */
	uint64_t gaps;    /* of more than three intervals */
	uint64_t fired;
	size_t processes;
};
void gd_engine_stats(const struct gd_engine *engine, struct gd_engine_stats *ret);
