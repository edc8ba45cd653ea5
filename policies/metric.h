#pragma once
/*
 * The metrics that rules compare and timelines show: names, units, where each comes from.  This is
 * a table of words; reading them is the watcher's work (agent/), comparing them the engine's.
 *
 * All of them are gauges or deltas over a window, never lifetime averages.  In memory a metric is
 * a double in its base unit: seconds, bytes, a ratio (1.0 is 100 %), a count, or a count per
 * second.  NaN means "no sample": not readable, not applicable, or no event in the window.
 */
#include <stddef.h>

#include "base/error.h"

enum gd_metric {
	/* of the process */
	GD_METRIC_CPU,              /* of the CPUs it may use (cgroup quota, affinity), 1.0 = all */
	GD_METRIC_RSS,
	GD_METRIC_THREADS,
	GD_METRIC_FDS_OF_LIMIT,     /* open descriptors / RLIMIT_NOFILE soft */
	GD_METRIC_MAJOR_FAULTS,     /* per second */
	GD_METRIC_STATE_D,          /* seconds its main thread has been in state D without a break */
	/* of its cgroup */
	GD_METRIC_MEMORY_OF_LIMIT,  /* of the nearest memory limit, else of the machine's memory */
	GD_METRIC_TIME_TO_LIMIT,    /* seconds until that limit at the slope of the last minute;
	                             * INFINITY when it does not grow */
	GD_METRIC_CGROUP_THROTTLED, /* part of the periods in which it was throttled */
	GD_METRIC_PSI_CPU_SOME,     /* part of the window; the cgroup's, else the host's */
	GD_METRIC_PSI_CPU_FULL,
	GD_METRIC_PSI_MEMORY_SOME,
	GD_METRIC_PSI_MEMORY_FULL,
	GD_METRIC_PSI_IO_SOME,
	GD_METRIC_PSI_IO_FULL,
	/* of its Go runtime, from its memory */
	GD_METRIC_GO_GOROUTINES,
	GD_METRIC_GO_GOROUTINES_GROWTH, /* per second, over the last minute */
	GD_METRIC_GO_HEAP_LIVE,
	GD_METRIC_GO_HEAP_GOAL,
	GD_METRIC_GO_HEAP_OF_GOAL,  /* live / goal */
	GD_METRIC_GO_GC_PAUSE_P99,  /* seconds, over the pauses of the window */
	GD_METRIC_GO_GC_CPU,        /* of GOMAXPROCS, over the window */
	GD_METRIC_GO_SCHED_LATENCY_P99, /* seconds runnable before running */
	/* of its own Prometheus histogram */
	GD_METRIC_HTTP_P99,         /* seconds, over the requests of the window */
	GD_METRICS,
};

enum gd_metric_unit {
	GD_UNIT_RATIO,      /* written "95%" or 0.95 */
	GD_UNIT_BYTES,      /* "512MiB" */
	GD_UNIT_SECONDS,    /* "50ms" */
	GD_UNIT_COUNT,      /* 10000 */
	GD_UNIT_PER_SECOND, /* "100/s" or 100 */
};

/* What a watcher must have open for it. */
enum gd_metric_source {
	GD_SOURCE_PROCESS,
	GD_SOURCE_CGROUP,
	GD_SOURCE_GO,
	GD_SOURCE_HTTP,
};

struct gd_metric_info {
	const char *name; /* as in policies, timelines and replays: "go_gc_pause_p99" */
	enum gd_metric_unit unit;
	enum gd_metric_source source;
	const char *summary; /* one line for people */
};

extern const struct gd_metric_info gd_metrics[GD_METRICS];

/* -ENOENT: unknown; the message names the nearest one. */
int gd_metric_find(const char *name, enum gd_metric *ret, struct gd_error *err);

/* A level as people write it in that metric's unit; -EINVAL says what was expected. */
int gd_metric_parse_level(enum gd_metric metric, const char *text, double *ret,
                          struct gd_error *err);

/* "71 ms", "95 %", "1.3 GiB", "10000", "12/s"; "-" for NaN.  Returns `to`. */
#define GD_METRIC_TEXT 32
const char *gd_metric_text(char to[GD_METRIC_TEXT], enum gd_metric metric, double value);
