#pragma once
/*
 * What Go's collector has done so far and is doing: counters and the ring of recent pauses
 * (runtime.MemStats says the same), its settings, its phase, what the pacer plans.  The totals of
 * the heap are memstats.h.
 *
 * Counters and ring change only while a collection ends; they are read until they are of one
 * collection.  Source: runtime/mstats.go, mgc.go of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/pacer.h"
#include "golang/runtime.h"

#define GD_STATS_PAUSES 256

struct gd_pause {
	uint64_t end_ns;   /* since 1970 */
	uint64_t pause_ns; /* all stops of one collection together */
};

enum gd_gc_phase { GD_GC_OFF, GD_GC_MARK, GD_GC_MARK_TERMINATION, GD_GC_UNKNOWN };
/* "off" (which includes sweeping), "mark", "mark termination", "unknown" */
const char *gd_stats_phase(enum gd_gc_phase phase);

struct gd_stats {
	uint32_t num_gc, num_forced_gc;
	uint64_t last_gc_ns; /* since 1970; 0 before the first */
	uint64_t pause_total_ns;
	double gc_cpu_fraction; /* of GOMAXPROCS since the start, as of the last collection */
	struct gd_pause pauses[GD_STATS_PAUSES]; /* oldest first */
	size_t n_pauses;
	bool torn;         /* a collection ended during each of our readings: the ring may be off */
	unsigned repeated; /* readings thrown away */

	enum gd_gc_phase phase;
	struct gd_pacer pacer;
	uint64_t heap_goal, heap_trigger;
	struct gd_error pacer_error; /* code 0, or why the three above are empty */
};

/* -ENOENT: runtime.memstats was not found; -ENOTSUP: its layout is not known. */
int gd_stats_read(struct gd_go *go, struct gd_stats *ret, struct gd_error *err);
