#pragma once
/*
 * When each rule would have fired on recorded metrics (replay_line.h says how they are written),
 * and what admission would have said: the daemon's own engine and admission, with an empty memory
 * of their own.  Line by line, in bounded memory; a bad line is an error that names it.
 *
 * What a recording does not hold is taken to be well: there is room in the spool, a capture takes
 * `capture_ns` and seals `capture_bytes`.  Processes seen within the first interval (and after
 * "agent_start") were there already; one that comes later was started then.  Without a clock that
 * nobody sets ("boottime_ns", "monotonic_ns") "t" is taken for one: then a clock set back looks
 * like samples out of order, which are ignored and counted, and schedules show their period, not
 * their hour.
 *
 * What counts as a gap depends on how far apart samples are meant to be: a second, as the agent
 * does it, when a timeline's head was there; otherwise the shortest step of any process so far, a
 * second at least, so that a recording of every 15 s is not nothing but gaps.
 */
#include "policies/admission.h"
#include "policies/engine.h"

struct gd_replay_options {
	const struct gd_policy *policy; /* borrowed */
	const char *service;    /* of lines that name none; NULL: the policy's only one */
	const char *host;       /* for `sample`; NULL "" */
	uint64_t seed;          /* for jitter */
	uint64_t interval_ns;   /* of the recording; 0: learned, see below */
	uint64_t capture_ns;    /* how long one takes; 0: no time at all */
	uint64_t capture_bytes;
	unsigned queue_max;
};

struct gd_replay_firing {
	unsigned line;                /* from 1 */
	int64_t realtime_ns;
	const struct gd_fired *fired;
	const char *service;
	const struct gd_decision *decision;
};
typedef void gd_replay_fn(void *arg, const struct gd_replay_firing *firing);

struct gd_replay_stats {
	uint64_t lines, fired, alerts_ignored; /* resolved, or no rule waits for them */
	uint64_t verdicts[GD_VERDICTS];
	struct gd_engine_stats engine;
	int64_t first_realtime_ns, last_realtime_ns;
	uint64_t step_ns; /* the shortest time between two samples of one process; 0 unknown */
};

struct gd_replay;

int gd_replay_create(const struct gd_replay_options *options, gd_replay_fn *fired, void *arg,
                     struct gd_replay **ret, struct gd_error *err);
void gd_replay_destroy(struct gd_replay *replay); /* NULL allowed */

/* The next line, without its newline.  -EBADMSG: "line 7: ..."; what came before stands. */
int gd_replay_line(struct gd_replay *replay, const char *text, size_t len, struct gd_error *err);

/* All lines of a file or pipe, and the end. */
int gd_replay_read(struct gd_replay *replay, int fd, struct gd_error *err);

/* There are no more lines: what the last one made due. */
void gd_replay_end(struct gd_replay *replay);

void gd_replay_stats(const struct gd_replay *replay, struct gd_replay_stats *ret);

/* Appends one line for people: time, rule, service, verdict, reason. */
void gd_replay_put(const struct gd_replay_firing *firing, struct gd_buf *to);
