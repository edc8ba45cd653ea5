#pragma once
/*
 * Reads many small pieces of a target's memory with few system calls: in address order, neighbours
 * together.  Measured: a read costs about as much as copying some KiB, so a small gap between two
 * pieces is cheaper read than skipped.
 */
#include <stddef.h>
#include <stdint.h>

#include "target/memory.h"

struct gd_piece {
	uint64_t addr;
	uint32_t len;
	uint32_t got; /* how many of them were readable, from addr on */
	uint8_t *to;
};

/*
 * Fills every piece; they are sorted by address first.  Pieces with at most `gap` bytes between
 * them go through scratch together.  Pieces may overlap.
 */
void gd_gather(struct gd_memory *memory, struct gd_piece *pieces, size_t n, size_t gap,
               uint8_t *scratch, size_t scratch_bytes);
