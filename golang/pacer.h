#pragma once
/*
 * The pacer of Go's collector, gcControllerState: its settings, what it believes about the heap,
 * and when the next collection begins.  One reading of the record; whoever needs to know that it
 * did not change meanwhile reads again and compares.
 * Source: runtime/mgcpacer.go of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/layout.h"
#include "target/memory.h"

struct gd_pacer {
	int32_t gc_percent;     /* GOGC; -1: off */
	uint32_t has_totals;    /* since Go 1.19 it also keeps the six totals below */
	int64_t memory_limit;   /* GOMEMLIMIT; INT64_MAX: none */
	uint64_t heap_live;     /* bytes, an upper estimate while it grows */
	uint64_t heap_marked;   /* bytes that survived the last collection */
	uint64_t heap_in_use, heap_released, heap_free; /* bytes in spans, given back, neither */
	uint64_t total_alloc, total_free; /* without what sits in the caches of Ps */
	uint64_t mapped_ready;
	uint64_t percent_goal;  /* from gc_percent alone; the whole goal until 1.18 */
	uint64_t sweep_min_trigger, triggered, runway;
	uint64_t trigger_1_18;
};

int gd_pacer_read(struct gd_memory *memory, const struct gd_layout *layout, uint64_t addr,
                  struct gd_pacer *ret, struct gd_error *err);

/*
 * Heap size at which a collection is to have ended, as gcControllerState.heapGoal computes it;
 * cached_bytes: allocated, but not in total_alloc yet.  minor: of the Go release.
 */
uint64_t gd_pacer_goal(const struct gd_pacer *pacer, int minor, uint64_t cached_bytes);

/* Heap size at which the next collection begins. */
uint64_t gd_pacer_trigger(const struct gd_pacer *pacer, int minor);
