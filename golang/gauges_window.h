#pragma once
/*
 * What the gauges of one Go process did lately: quantiles of pauses and latencies, growth, and the
 * collector's part of the CPU over a window that moves with each reading.  Four KiB, no pointers, so
 * that hundreds of processes can be watched; zeroed memory is a window that has seen nothing.
 *
 *	scheduling latency  the last 10 to 12 s
 *	GC pauses, GC CPU   the last 60 to 70 s, so that collections which are rare count
 *	growth              the last minute, once there are 10 s of it
 *
 * Readings may come at any interval; one of more than a window starts afresh.
 */
#include <stdbool.h>
#include <stdint.h>

#include "golang/gauges.h"

/* Counts are kept by the buckets of Go 1.20 and later, up to 4 minutes. */
#define GD_GAUGES_BUCKETS 128
#define GD_GAUGES_LATENCY_SLOTS 5
#define GD_GAUGES_PAUSE_SLOTS 6
#define GD_GAUGES_GROWTH_POINTS 31
#define GD_GAUGES_CPU_POINTS 7

/* What a slot of the window counted, all of it divided by 2^shift so that it fits. */
struct gd_gauges_slot {
	uint16_t counts[GD_GAUGES_BUCKETS];
	uint8_t shift;
};

struct gd_gauges_counts {
	int64_t start_ns; /* of the slot that is filled now */
	bool begun;
	bool stands;      /* last_s is right until a slot ends, unless there are more events */
	uint8_t next;     /* the oldest slot */
	double last_s;
	uint64_t total, start_total; /* events: as of the last reading, and at start_ns */
	uint32_t start[GD_GAUGES_BUCKETS]; /* counts at start_ns, their low half */
};

struct gd_gauges_window {
	struct gd_gauges_counts latency, pauses;
	struct gd_gauges_slot latency_slots[GD_GAUGES_LATENCY_SLOTS];
	struct gd_gauges_slot pause_slots[GD_GAUGES_PAUSE_SLOTS];
	struct {
		int64_t at_ns;
		uint64_t goroutines;
	} growth[GD_GAUGES_GROWTH_POINTS]; /* a ring, as the next */
	uint8_t n_growth, next_growth;
	struct {
		int64_t at_ns;
		uint64_t cpu_ns;
	} cpu[GD_GAUGES_CPU_POINTS];
	uint8_t n_cpu, next_cpu;
};

/* NaN: not read, or no event in the window. */
struct gd_gauges_values {
	double goroutines, goroutines_growth; /* per second */
	double heap_live, heap_goal;          /* bytes */
	double heap_of_goal;
	double gc_pause_p99_s, sched_latency_p99_s;
	double gc_cpu; /* of GOMAXPROCS; a collection counts when it ends */
};

/*
 * GD_GAUGES_PAUSES, GD_GAUGES_LATENCY: of which a reading at monotonic_ns must have the counts also
 * when there was no event since the reading before, because a slot ends or has just ended in which
 * there were some.
 */
unsigned gd_gauges_window_wants(const struct gd_gauges_window *window, int64_t monotonic_ns);

/* Takes a reading of monotonic_ns, later than the one before, and says what the window holds. */
void gd_gauges_window_add(struct gd_gauges_window *window, const struct gd_gauges *gauges,
                          int64_t monotonic_ns, struct gd_gauges_values *ret);
