#include "target/touched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 64 GiB of blocks of which something was read. */
#define BLOCKS_MAX 65536u

/* The first block at or behind addr's. */
static size_t find(const struct gd_touched *t, uint64_t block)
{
	size_t low = 0;
	size_t high = t->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (t->list[mid].addr < block)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct gd_touched_block *block_of(struct gd_touched *t, uint64_t addr)
{
	uint64_t block = addr & ~(GD_TOUCHED_BLOCK - 1);
	/* Readers stay in one place for a while. */
	if (t->last < t->n && t->list[t->last].addr == block)
		return &t->list[t->last];
	size_t at = find(t, block);
	if (at == t->n || t->list[at].addr != block) {
		if (t->n == BLOCKS_MAX) {
			t->failed = -E2BIG;
			return NULL;
		}
		if (t->n == t->cap) {
			size_t cap = t->cap > 0 ? 2 * t->cap : 64;
			struct gd_touched_block *all = reallocarray(t->list, cap, sizeof(*all));
			if (all == NULL) {
				t->failed = -ENOMEM;
				return NULL;
			}
			t->list = all;
			t->cap = cap;
		}
		memmove(t->list + at + 1, t->list + at, (t->n - at) * sizeof(*t->list));
		t->list[at] = (struct gd_touched_block){ .addr = block };
		t->n++;
	}
	t->last = at;
	return &t->list[at];
}

static void note(struct gd_touched *t, uint64_t addr, size_t len)
{
	uint64_t end = addr + len;
	for (uint64_t at = addr & ~(GD_TOUCHED_PAGE - 1); at < end; at += GD_TOUCHED_PAGE) {
		struct gd_touched_block *block = block_of(t, at);
		uint64_t page = at % GD_TOUCHED_BLOCK / GD_TOUCHED_PAGE;
		if (block == NULL)
			return;
		block->pages[page / 64] |= UINT64_C(1) << page % 64;
	}
}

static ssize_t noted_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	/* Its ops are ours, and lie in what they are part of. */
	struct gd_touched *t = (struct gd_touched *)(uintptr_t)(
		(const char *)memory->ops - offsetof(struct gd_touched, ops));
	ssize_t n = t->under->read(memory, addr, to, len);
	if (n > 0)
		note(t, addr, (size_t)n);
	return n;
}

void gd_touched_begin(struct gd_touched *t, struct gd_memory *memory)
{
	t->memory = memory;
	t->under = memory->ops;
	t->ops = *memory->ops;
	t->ops.read = noted_read;
	memory->ops = &t->ops;
}

void gd_touched_end(struct gd_touched *t)
{
	t->memory->ops = t->under;
	t->memory = NULL;
}

void gd_touched_deinit(struct gd_touched *t)
{
	free(t->list);
	*t = GD_TOUCHED_INIT;
}

bool gd_touched_has(const struct gd_touched *t, uint64_t addr)
{
	uint64_t block = addr & ~(GD_TOUCHED_BLOCK - 1);
	uint64_t page = addr % GD_TOUCHED_BLOCK / GD_TOUCHED_PAGE;
	size_t at = find(t, block);
	return at < t->n && t->list[at].addr == block &&
	       (t->list[at].pages[page / 64] >> page % 64 & 1) != 0;
}

int gd_touched_gaps(const struct gd_touched *t, uint64_t start, uint64_t end,
                    int (*fn)(void *arg, uint64_t start, uint64_t end), void *arg)
{
	uint64_t gap = start;
	int r = 0;
	for (size_t i = find(t, start & ~(GD_TOUCHED_BLOCK - 1));
	     i < t->n && t->list[i].addr < end && r == 0; i++) {
		for (unsigned page = 0; page < 256 && r == 0; page++) {
			uint64_t at = t->list[i].addr + page * GD_TOUCHED_PAGE;
			if (at < start || at >= end ||
			    (t->list[i].pages[page / 64] >> page % 64 & 1) == 0)
				continue;
			if (at > gap)
				r = fn(arg, gap, at);
			gap = at + GD_TOUCHED_PAGE;
		}
	}
	return r == 0 && gap < end ? fn(arg, gap, end) : r;
}
