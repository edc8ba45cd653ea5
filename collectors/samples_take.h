#pragma once
/*
 * What the collector `samples` does while its window lasts: reads the rings ten times a second, unwinds
 * what is in them, asks which goroutine it was, counts.  And what it knows afterwards.
 */
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "collectors/collector.h"
#include "collectors/perf_sampler.h"
#include "collectors/samples_goroutine.h"
#include "collectors/samples_profile.h"
#include "collectors/samples_switches.h"
#include "collectors/samples_timeline.h"

/*
 * Context switches unwound in a second, at most; of more, every second, fourth, ... is taken.  And
 * records of switches, of everybody: with more the rest of the window goes without them.
 */
#define GD_SAMPLES_SWITCHES_PER_S 100
#define GD_SAMPLES_SWITCH_RECORDS_PER_S 100000
/*
 * Of a stack at a switch: it ends in a system call, in Go a few frames from where frame pointers hold; in
 * other programs there are none, and all of it has to be there.
 */
#define GD_SAMPLES_SWITCH_STACK_BYTES 1024
#define GD_SAMPLES_SWITCH_STACK_NATIVE_BYTES 4096

struct gd_samples_taken {
	struct gd_perf_sampler *sampler;
	struct gd_samples_profile *cpu, *away;
	struct gd_samples_timeline *timeline;
	struct gd_clock started, ended;
	int64_t exec_ns;  /* it runs another program from then on; 0: it does not */
	int64_t cpu_ns;   /* our own, while it lasted */
	uint64_t samples, lost, senseless, overflown, foreign, spliced, inferred, throttled;
	uint64_t by_cfi, by_pointer; /* callers in native code, by how they were found */
	uint64_t rows;               /* of call frame information that were worked out */
	uint64_t resumed;            /* calls of C that lasted: see samples_cgo.h */
	uint64_t by_end[GD_PERF_ENDS];
	uint64_t by_confidence[GD_GOROUTINE_CONFIDENCES];
	/* of context switches */
	uint64_t switches;       /* unwound */
	uint64_t switches_lost;  /* records that did not fit, samples and others alike */
	uint64_t switch_records; /* of everybody */
	uint64_t wakeups;        /* of its threads */
	uint64_t every;          /* taken in the end: 1 all, 0 none any more */
	int64_t given_up_ns;     /* when there were too many; 0: there were not */
};

/* From the open sampler to the end of the window; *ret is to be released also on failure. */
int gd_samples_take(struct gd_collect *c, struct gd_samples_taken *ret, struct gd_error *err);
void gd_samples_taken_deinit(struct gd_samples_taken *taken);
