#pragma once
/*
 * One runtime.g as read from the target: the fields the walk needs, by the layout of the release.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "golang/layout.h"
#include "target/memory.h"

struct gd_grecord {
	uint64_t addr;
	uint64_t stack_lo, stack_hi;
	uint64_t m, lockedm;
	uint64_t sp, pc; /* g.sched: where it will go on */
	uint64_t syscallsp, syscallpc;
	uint64_t goid, parent_goid;
	int64_t waitsince;
	uint64_t gopc, startpc, labels;
	uint32_t status; /* with the scan bit */
	uint8_t waitreason;
	uint8_t sequence; /* changes whenever it stops running */
};

/* Bytes of a g that hold all these fields; never more than GD_GRECORD_BYTES_MAX. */
#define GD_GRECORD_BYTES_MAX 512
size_t gd_grecord_bytes(const struct gd_layout *layout);

/* From the gd_grecord_bytes at addr. */
void gd_grecord_parse(const struct gd_layout *layout, const uint8_t *bytes, uint64_t addr,
                      struct gd_grecord *ret);

/* False: no g can be at addr, or it could not be read, or its stack is none. */
bool gd_grecord_read(const struct gd_layout *layout, struct gd_memory *memory, uint64_t addr,
                     struct gd_grecord *ret);

/* Has it not run between the two readings, nor its stack been moved? */
bool gd_grecord_same(const struct gd_grecord *a, const struct gd_grecord *b);
