#pragma once
/*
 * One line of recorded metrics: timeline.jsonl as archives hold it, and lines that people add.
 *
 *	{"kind":"timeline","version":1,...}     a head; may name service and pid of what follows
 *	{"t":"2026-11-20T13:05:07.123Z","cpu":0.95,"rss":"512MiB"}                a sample
 *	{"t":1795179907.123,"event":"oom_kill"}                   an event of policies, or
 *	                                        "start" (of a process), "agent_start"
 *	{"t":...,"alert":"Name","labels":{},"fingerprint":"..","starts_at":".."}
 *
 * with "service", "pid", "start" (its start time in ticks) where there are several, and
 * "boottime_ns" or "monotonic_ns" where the recorder knew a clock that nobody sets.  Times are RFC
 * 3339 or seconds since 1970.  A metric is a number in its base unit, a text as in policies, "inf"
 * or null.
 */
#include <stdbool.h>
#include <stdint.h>

#include "policies/policy.h"

enum gd_replay_kind {
	GD_REPLAY_NOTHING, /* a blank line */
	GD_REPLAY_HEAD,
	GD_REPLAY_SAMPLE,
	GD_REPLAY_EVENT,
	GD_REPLAY_START,
	GD_REPLAY_AGENT_START,
	GD_REPLAY_ALERT,
};

#define GD_REPLAY_LINE_MAX 65536
#define GD_REPLAY_LABELS_MAX 64
#define GD_REPLAY_TEXT 256

struct gd_replay_line {
	enum gd_replay_kind kind;
	int64_t realtime_ns;
	bool has_steady;
	int64_t steady_ns; /* boottime, else monotonic */
	char service[GD_POLICY_NAME_MAX]; /* "" not named */
	int32_t pid;       /* 0 not named */
	bool has_start;
	uint64_t start;
	double values[GD_METRICS]; /* SAMPLE; NaN where there is none */
	enum gd_event event;       /* EVENT */
	char alert[GD_REPLAY_TEXT];       /* ALERT */
	bool resolved;
	char fingerprint[65], starts_at[40];
	struct gd_policy_label labels[GD_REPLAY_LABELS_MAX]; /* belong to the line */
	size_t n_labels;
};

/* -EBADMSG says what is wrong with it (not which line it is).  Deinit what was returned. */
int gd_replay_line_parse(const char *text, size_t len, struct gd_replay_line *ret,
                         struct gd_error *err);
void gd_replay_line_deinit(struct gd_replay_line *line);

/* "2026-11-20T13:05:07.123Z", also with an offset; digits beyond nanoseconds are dropped. */
bool gd_replay_line_time(const char *text, int64_t *ret_realtime_ns);
