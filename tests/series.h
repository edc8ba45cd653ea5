#pragma once
/*
 * Synthetic series of samples and events for rules: played twice, once fed to an engine and an
 * admission as the agent feeds them, once written as JSON lines and replayed.  Both must tell
 * the same, to the letter; that is what the tests then look at.
 */
#include "policies/replay.h"
#include "tests/test.h"

/* From YAML; asserts that it is good.  Freed by series_end. */
const struct gd_policy *series_policy(const char *yaml);

/* Forgets all steps; the clocks start at their usual places. */
void series_begin(void);

/* The wall clock is set by so much from the next step on. */
void series_set_clock(double by_s);
/* The recording has no clock but the wall clock. */
void series_forget_steady_clock(void);

/* Times are seconds since the series began and go up. */
void series_sample(double t_s, int pid, const char *service, enum gd_metric metric, double value);
/* Adds a second metric to the last sample. */
void series_also(enum gd_metric metric, double value);
void series_start(double t_s, int pid, uint64_t start_ticks, const char *service);
void series_event(double t_s, int pid, const char *service, enum gd_event event);
void series_agent_start(double t_s);
void series_alert(double t_s, const char *name, const char *severity, const char *fingerprint,
                  const char *starts_at);

/*
 * One sample a second from t_s on, a character each, in terms of the rule's levels: H holds, E at
 * the level itself, M between level and clear, C at the clear level, L beyond it, '-' no value, '.'
 * no sample.
 */
void series_row(double t_s, int pid, const struct gd_rule *rule, const char *row);

/* Every capture takes so long (0). */
void series_captures_take(double s, unsigned queue_max);

/*
 * Plays it both ways and returns what fired, a line each: "T RULE PID VERDICT[ light]\n", T in
 * seconds of a clock that nobody sets.  Valid until the next one.
 */
const char *series_play(const struct gd_policy *policy);

/* What the sentences of the last play were, a line each. */
const char *series_reasons(void);

/* How many lines of the recording the replay ignored as out of order. */
uint64_t series_ignored(void);

/* Releases everything. */
void series_end(void);
