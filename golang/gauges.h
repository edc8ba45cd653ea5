#pragma once
/*
 * The few numbers of a Go runtime that are worth reading every second.  Finding where they are needs
 * an opened runtime (tens of MiB for a moment) and is done once, in a child that ends; reading them
 * needs the small plain record that finding leaves and the target's memory: some ten short reads,
 * nothing allocated, nothing stopped.  What windows make of them is gauges_window.h.
 *
 * A record may come out of a jailed child that was taken over by what it parsed: whoever receives
 * one calls gd_gauges_at_check.  After it any record is safe to read with, if not sensible.
 * Source: runtime/proc.go (gcount), mgc.go (gcMarkTermination) of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/histogram.h"
#include "golang/layout.h"
#include "golang/runtime.h"
#include "target/memory.h"

struct gd_gauges_at {
	int32_t minor; /* of the Go release */
	uint64_t sched, memstats, gc_controller, allgs, allp; /* 0: not found */
	struct gd_layout layout; /* as calibrated */
};

/* -ENOENT: nothing of it was found.  What it does not know, reading will not have. */
int gd_gauges_find(struct gd_go *go, struct gd_gauges_at *ret, struct gd_error *err);

/* -EBADMSG unless every field is in its range. */
int gd_gauges_at_check(const struct gd_gauges_at *at, struct gd_error *err);

enum {
	GD_GAUGES_GOROUTINES = 1,
	GD_GAUGES_HEAP = 2,
	GD_GAUGES_GC = 4,      /* num_gc */
	GD_GAUGES_GC_CPU = 8,  /* gc_cpu_ns; not while a collection ended during each reading */
	GD_GAUGES_PAUSES = 16,
	GD_GAUGES_LATENCY = 32,
	GD_GAUGES_ALL = 63,
};

struct gd_gauges {
	unsigned has;          /* GD_GAUGES_*; the others are 0 */
	unsigned same;         /* of these, histograms that were not read: as in the reading before */
	int32_t gomaxprocs;    /* 0 unknown */
	uint64_t goroutines;   /* as runtime.NumGoroutine */
	uint64_t heap_live;    /* bytes: marked by the last collection and allocated since */
	uint64_t heap_marked;  /* bytes that survived the last collection */
	uint64_t heap_goal;    /* at which the collection under way, or the next, is to have ended */
	uint32_t num_gc;
	/*
	 * CPU time of the collector from the start until the end of its last collection, without marking
	 * in idle time, as GCCPUFraction counts it.  All releases keep that part and what it is a part of.
	 */
	uint64_t gc_cpu_ns;
	struct gd_histogram pauses;  /* stops of the world by the collector, until started again */
	struct gd_histogram latency; /* runnable until running; one in 8 is counted */
};

/*
 * One reading; each number is right for its own instant.  -ESRCH: the target is gone; -EFAULT and
 * others: nothing at all could be read.  With `has` short of GD_GAUGES_ALL *why, when not NULL,
 * tells the first reason that lasts; else it is left alone.
 */
int gd_gauges_read(struct gd_memory *memory, const struct gd_gauges_at *at, struct gd_gauges *ret,
                   struct gd_error *why);

/* What readings of one process before have seen; zeroed memory has seen nothing. */
struct gd_gauges_seen {
	bool whole; /* the last one had everything, and these are it */
	int32_t gomaxprocs;
	uint64_t goroutines, heap_live, heap_marked, heap_goal, gc_cpu_ns;
	bool ended; /* the next three are what memstats says of the last collection */
	uint32_t num_gc;
	uint64_t fraction_bits, ended_ns;
};

/*
 * The same for a process that is read every second: what cannot have changed since the readings
 * before is not read again, and nothing when it `slept`: no thread of it has run since before the last
 * one.  `wanted`: GD_GAUGES_PAUSES, GD_GAUGES_LATENCY when their counts are needed also if they are the
 * same; else they are left out then.  After an error *seen is zeroed.
 */
int gd_gauges_read_again(struct gd_memory *memory, const struct gd_gauges_at *at,
                         struct gd_gauges_seen *seen, bool slept, unsigned wanted,
                         struct gd_gauges *ret, struct gd_error *why);
