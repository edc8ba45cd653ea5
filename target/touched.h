#pragma once
/*
 * Which pages of a target were read: while it is attached to a memory, every page that a read through it
 * reached is noted.  What readers of a process needed once they will need again, so a thin image
 * keeps these pages.  Used by one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "target/memory.h"

#define GD_TOUCHED_PAGE UINT64_C(4096)
#define GD_TOUCHED_BLOCK (UINT64_C(1) << 20)

struct gd_touched_block {
	uint64_t addr;     /* a multiple of GD_TOUCHED_BLOCK */
	uint64_t pages[4]; /* bit i % 64 of word i / 64 */
};

struct gd_touched {
	struct gd_touched_block *list; /* ascending */
	size_t n, cap;
	int failed; /* 0, or -ENOMEM, -E2BIG: what is noted is not all */
	/* private */
	struct gd_memory *memory;
	const struct gd_memory_ops *under;
	struct gd_memory_ops ops;
	size_t last;
};
#define GD_TOUCHED_INIT ((struct gd_touched){ .n = 0 })

/* From here on reads of `memory` (borrowed, until the end) are noted. */
void gd_touched_begin(struct gd_touched *touched, struct gd_memory *memory);
void gd_touched_end(struct gd_touched *touched);
void gd_touched_deinit(struct gd_touched *touched);

bool gd_touched_has(const struct gd_touched *touched, uint64_t addr);

/*
 * Calls `fn` for each run of pages in [start, end), both page aligned, that were not touched; stops at its
 * first answer that is not 0 and returns it.
 */
int gd_touched_gaps(const struct gd_touched *touched, uint64_t start, uint64_t end,
                    int (*fn)(void *arg, uint64_t start, uint64_t end), void *arg);
