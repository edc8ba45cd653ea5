#pragma once
/*
 * A collector produces artifacts of one kind from a target.  It reads target and golang, writes to
 * a sink, and returns a grade: it never fails the capture.  One file per collector, one exported
 * struct per file; the table in collector.c is the order in which they run (cheap and most useful
 * first).
 */
#include <signal.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/sink.h"
#include "golang/runtime.h"
#include "target/image.h"
#include "target/target.h"

/* The last one is of collectors that are in none of them, and run only when they are asked for. */
enum gd_profile { GD_PROFILE_LIGHT, GD_PROFILE_STANDARD, GD_PROFILE_FULL, GD_PROFILE_NONE };

/* How long a windowed collector collects, and how often it looks. */
#define GD_WINDOW_DURATION_NS INT64_C(10000000000)
#define GD_WINDOW_DURATION_MAX_NS INT64_C(600000000000)
#define GD_WINDOW_FREQUENCY_HZ 99 /* not a whole part of what services do in a second */
#define GD_WINDOW_FREQUENCY_MAX_HZ 1000
#define GD_SAMPLES_STACK_BYTES 8192 /* of each sample's stack, to unwind it */

struct gd_collect_window {
	int64_t duration_ns; /* when `over` is NULL */
	uint32_t frequency_hz;
	bool syscalls; /* also counted, at a cost for the whole host */
	/* NULL, or set by somebody else when the window has ended. */
	const volatile sig_atomic_t *over;
	/* NULL, or where the middle of a stop of ours and its length are written before that. */
	const volatile int64_t *stopped_ns;
	/* NULL, or to be called once when collecting has begun: nobody else begins before. */
	void (*begun)(void *arg);
	void *begun_arg;
};

struct gd_collect {
	struct gd_target *target;
	struct gd_go *go;         /* NULL: not Go, or not readable; go_error says why */
	struct gd_error go_error;
	bool go_failed;           /* it was tried, and killed its reader: no mere absence */
	/* NULL, or what target and go read in the place of the process: memory, maps, registers. */
	const struct gd_image *image;
	struct gd_collect_window window; /* of a windowed one */
	struct gd_sink *sink;
	/* Set by a signal handler: finish the record at hand, close streams as partial, return. */
	const volatile sig_atomic_t *cancelled;
	/* Counters a collector adds to, for snapshot.json. */
	uint64_t torn_reads;    /* inconsistent reads seen */
	uint64_t torn_repeated; /* of these, repaired by reading again */
};

static inline bool gd_collect_cancelled(const struct gd_collect *c)
{
	return c->cancelled != NULL && *c->cancelled != 0;
}

/* The outcome of what cannot be had because there is no `go`. */
static inline struct gd_outcome gd_collect_without_go(const struct gd_collect *c)
{
	return gd_outcome_of(c->go_failed ? GD_GRADE_FAILED : GD_GRADE_SKIPPED, &c->go_error);
}

struct gd_collector {
	const char *name;        /* for --only and --skip */
	enum gd_profile profile; /* smallest profile that includes it */
	bool needs_go; /* reads nothing but memory: is run again over an image */
	bool of_image; /* there is nothing to collect without one */
	/* Runs beside all others, from before them until its window is over, and writes then. */
	bool windowed;
	/* In the same window, by a process of its own that reads nothing of the target; collect is NULL. */
	bool apart;
	/*
	 * Worst grade of its artifacts.  Each artifact has been recorded in the sink, whatever
	 * happens: opened and closed, or absent.
	 */
	struct gd_outcome (*collect)(struct gd_collect *c);
};

extern const struct gd_collector gd_collector_proc;
extern const struct gd_collector gd_collector_goroutines;
extern const struct gd_collector gd_collector_runtime;
extern const struct gd_collector gd_collector_heap;
extern const struct gd_collector gd_collector_block;
extern const struct gd_collector gd_collector_mutex;
extern const struct gd_collector gd_collector_samples;
extern const struct gd_collector gd_collector_debug_port;
extern const struct gd_collector gd_collector_core;

/* In the order they run, NULL-terminated. */
extern const struct gd_collector *const gd_collectors[];
