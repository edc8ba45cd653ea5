#pragma once
/*
 * An execution trace (runtime/trace) as bytes: which format it has, in which unit it counts time, where it
 * begins and ends.  It is walked from record to record; of events only those are read that speak of the
 * clock.  Foreign bytes.
 *
 * Time in a trace of Go 1.22 and later is runtime.nanotime / 64, which on Linux is CLOCK_MONOTONIC
 * (runtime/trace2time.go in 1.22, tracetime.go since; 15,625,000 in a second).  Up to 1.21 it is
 * runtime.cputicks / 64, on x86-64 the time stamp counter (runtime/trace.go, traceTickDiv).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_EXECTRACE_TICK_NS 64     /* since 1.22 */
#define GD_EXECTRACE_TICK_CYCLES 64 /* until 1.21, x86-64 */

struct gd_exectrace {
	unsigned format;      /* 1022: its head says "go 1.22 trace"; not the release: 1.24 writes 1.23 */
	uint64_t per_second;  /* its unit by its own word; 0: it ends before it says */
	bool nanotime;        /* of CLOCK_MONOTONIC, in GD_EXECTRACE_TICK_NS; else of something else */
	uint64_t batches;     /* runs of events by one thread or P */
	uint64_t first, last; /* when the first batch begins, and the last; in its unit */
	size_t whole;         /* bytes up to the end of its last whole record */
	/* Since 1022: bytes up to the end of its last generation that is known to be whole, about a second
	 * of events with all that they refer to: readers need no more.  0: none is. */
	size_t generations;
	uint64_t generation;  /* the one at its end */
	/* Format 1025 and later: three clocks at one instant, by its own word. */
	bool has_snapshot;
	uint64_t snapshot_ticks, snapshot_monotonic_ns;
};

/*
 * -EBADMSG: no trace, or one with no batch; -ENOTSUP: a format older than 1007 or unknown.  One that is cut
 * off, or makes no sense from some record on, is read up to there: `whole` is less than n then.
 */
int gd_exectrace_read(const void *bytes, size_t n, struct gd_exectrace *ret, struct gd_error *err);
