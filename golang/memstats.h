#pragma once
/*
 * The totals of runtime.MemStats, computed from a target's memory without stopping it.
 *
 * ReadMemStats stops the world and flushes the caches of all Ps into the totals; here what sits in
 * the caches is added up instead, and everything is read twice.  `exact`: nothing changed between
 * two readings, no cache was stale, and the cross checks of the runtime's own ReadMemStats hold, so
 * these are the numbers it would have returned at that instant.  Else each is right for its own
 * instant; under steady allocation they are microseconds apart.
 * Source: runtime/mstats.go (readmemstats_m), mcache.go (releaseAll) of Go 1.18.4 to 1.27.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/runtime.h"

#define GD_MEMSTATS_CLASSES 68 /* size classes, the same in all releases; 0 is "large" */

/* Names and meaning as in runtime.MemStats; bytes unless they count objects. */
struct gd_memstats {
	uint64_t total_alloc, sys, mallocs, frees;
	uint64_t heap_alloc, heap_sys, heap_idle, heap_inuse, heap_released, heap_objects;
	uint64_t stack_inuse, stack_sys, mspan_inuse, mspan_sys, mcache_inuse, mcache_sys;
	uint64_t buck_hash_sys, gc_sys, other_sys, next_gc;
	struct {
		uint32_t size;
		uint64_t mallocs, frees;
	} by_size[GD_MEMSTATS_CLASSES];
	bool exact;
	unsigned repeated; /* readings thrown away because something moved */
};

/* -ENOENT: a global was not found; -ENOTSUP: a layout is not known. */
int gd_memstats_read(struct gd_go *go, struct gd_memstats *ret, struct gd_error *err);

/* Bytes of an object of size class i. */
uint32_t gd_memstats_class_bytes(unsigned i);
