#include "freeze/stopped.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "freeze/faults.h"
#include "target/image_index.h"

#define PAGE ((uint64_t)GD_IMAGE_PAGE)
#define PIECE (UINT64_C(1) << 20) /* between two looks at the clock */
#define SCRATCH 65536u
#define RED_ZONE 128u
#define STACK_MAX (UINT64_C(8) << 20)
#define THIN_STACK_MAX (UINT64_C(256) << 10)
/* Detaching costs about this much per thread. */
#define DETACH_NS 8000

static uint64_t align(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

/* The size of an XSAVE area with all that this machine has enabled. */
static size_t xstate_bytes(void)
{
	unsigned a, b = 0, c, d;
	if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d) == 0 || b < 512 || b > GD_IMAGE_XSTATE_MAX)
		return GD_IMAGE_XSTATE_MAX;
	return (b + 63u) & ~63u;
}

static void *carve(uint8_t *block, uint64_t *at, uint64_t bytes)
{
	void *p = block + *at;
	*at += align(bytes);
	return p;
}

int gd_stopped_create(const struct gd_stopped_needs *needs, struct gd_stopped **ret,
                      struct gd_error *err)
{
	size_t xstate = xstate_bytes();
	size_t items = needs->regions;
	uint64_t size = align(sizeof(struct gd_stopped)) +
	                align(needs->threads * sizeof(struct gd_image_thread)) +
	                align(needs->threads * xstate) + align(needs->maps_bytes) +
	                align(needs->regions * sizeof(struct gd_pagemap_region)) +
	                align(items * sizeof(struct gd_stopped_item)) +
	                align(SCRATCH * sizeof(struct gd_pagemap_region)) +
	                align(needs->arena_bytes);
	/* Populated: a fault in the pause would cost more than what is put there. */
	uint8_t *block = mmap(NULL, size, PROT_READ | PROT_WRITE,
	                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (block == MAP_FAILED)
		return gd_fail_errno(err, -errno, "%zu bytes for a stop", (size_t)size);
	uint64_t at = 0;
	struct gd_stopped *s = carve(block, &at, sizeof(*s));
	*s = (struct gd_stopped){
		.maps_fd = -1,
		.mem_fd = -1,
		.max_threads = needs->threads,
		.xstate_each = xstate,
		.maps_max = needs->maps_bytes,
		.max_regions = needs->regions,
		.max_items = items,
		.arena_max = needs->arena_bytes,
		.block_bytes = size,
	};
	s->threads = carve(block, &at, needs->threads * sizeof(*s->threads));
	s->xstates = carve(block, &at, needs->threads * xstate);
	s->maps = carve(block, &at, needs->maps_bytes);
	s->regions = carve(block, &at, needs->regions * sizeof(*s->regions));
	s->items = carve(block, &at, items * sizeof(*s->items));
	s->scratch = carve(block, &at, SCRATCH * sizeof(*s->scratch));
	s->max_scratch = SCRATCH;
	s->arena = carve(block, &at, needs->arena_bytes);
	*ret = s;
	return 0;
}

void gd_stopped_destroy(struct gd_stopped *stopped)
{
	if (stopped != NULL)
		(void)munmap(stopped, stopped->block_bytes);
}

/* ---- while all stand still: nothing here allocates ------------------------------------------- */

static int take_maps(struct gd_stopped *s, struct gd_error *err)
{
	s->maps_len = 0;
	for (;;) {
		ssize_t n = pread(s->maps_fd, s->maps + s->maps_len, s->maps_max - s->maps_len,
		                  (off_t)s->maps_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "maps");
		if (n == 0)
			break;
		s->maps_len += (size_t)n;
		if (s->maps_len == s->maps_max)
			return gd_fail(err, -E2BIG, "maps: more than %zu bytes", s->maps_max);
	}
	/* The descriptor is of an address space that nobody uses any more. */
	return s->maps_len > 0 ? 0 : gd_fail(err, -ESTALE, "it has called execve, or is gone");
}

int gd_stopped_take_shape(struct gd_tracer *tracer, struct gd_stopped *s, struct gd_error *err)
{
	int r = gd_stop_registers(tracer, s->threads, s->max_threads, s->xstates, s->xstate_each,
	                          &s->n_threads, err);
	return r < 0 ? r : take_maps(s, err);
}

/* What of the budget is left for reading. */
static int64_t left_ns(const struct gd_stopped *s)
{
	return s->began_ns + s->max_pause_ns - gd_clock_monotonic_ns() -
	       (int64_t)s->n_threads * DETACH_NS;
}

/* Reads [start, end) into the arena as one or more items; false when there is no room or time left. */
static bool read_range(struct gd_stopped *s, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t len = end - start < PIECE ? end - start : PIECE;
		if (len > s->arena_max - s->bytes || s->n_items == s->max_items || left_ns(s) <= 0)
			return false;
		ssize_t n = pread(s->mem_fd, s->arena + s->bytes, len, (off_t)start);
		if (n < 0 && errno == EINTR)
			continue;
		uint64_t whole = n > 0 ? (uint64_t)n & ~(PAGE - 1) : 0;
		if (whole > 0) {
			s->items[s->n_items++] = (struct gd_stopped_item){ start, whole / PAGE };
			s->bytes += whole;
		}
		/* One that cannot be read: guard pages, a device that fails. */
		if (whole == 0)
			s->unreadable++;
		start += whole > 0 ? whole : PAGE;
	}
	return true;
}

/* Calls fn for what of a region is wanted and, if so asked, not in the image as it is now. */
typedef bool (*range_fn)(struct gd_stopped *s, uint64_t start, uint64_t end);

static bool each_missing(struct gd_stopped *s, uint64_t start, uint64_t end, range_fn fn)
{
	while (start < end) {
		uint64_t chunk_end = (start & ~(GD_IMAGE_CHUNK - 1)) + GD_IMAGE_CHUNK;
		uint64_t until = end < chunk_end ? end : chunk_end;
		const uint64_t *pages = gd_image_pages(s->image, start);
		uint64_t from = 0;
		for (; start < until; start += PAGE) {
			size_t i = start % GD_IMAGE_CHUNK / PAGE;
			bool here = pages != NULL && (pages[i / 64] >> i % 64 & 1) != 0;
			/* Most chunks are full. */
			if (here && i % 64 == 0 && pages[i / 64] == UINT64_MAX && from == 0 &&
			    until - start >= 64 * PAGE) {
				start += 63 * PAGE;
				continue;
			}
			if (!here && from == 0)
				from = start;
			if (here && from != 0) {
				if (!fn(s, from, start))
					return false;
				from = 0;
			}
		}
		if (from != 0 && !fn(s, from, until))
			return false;
	}
	return true;
}

static bool each_to_read(struct gd_stopped *s, range_fn fn)
{
	const struct gd_wanted *w = s->wanted;
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct gd_pagemap_region *region = &s->regions[i];
		uint64_t at = region->start;
		while (at < region->end) {
			const struct gd_wanted_range *skip = gd_wanted_find(w->skip, w->n_skip, at);
			uint64_t until = skip != NULL && skip->start < region->end ? skip->start
			                                                          : region->end;
			bool changed = s->dirty == 0 || (region->categories & s->dirty) != 0;
			if (at < until &&
			    !(changed ? fn(s, at, until) : each_missing(s, at, until, fn)))
				return false;
			at = skip != NULL && skip->start < region->end ? skip->end : region->end;
		}
	}
	return true;
}

static bool count_range(struct gd_stopped *s, uint64_t start, uint64_t end)
{
	s->wanted_bytes += end - start;
	return true;
}

/* The region a stack pointer lies in, from there on. */
static bool read_stack(struct gd_stopped *s, uint64_t sp, uint64_t max)
{
	uint64_t from = (sp - RED_ZONE) & ~(PAGE - 1);
	size_t low = 0;
	size_t high = s->n_regions;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (s->regions[mid].end <= from)
			low = mid + 1;
		else
			high = mid;
	}
	for (uint64_t end = from + max; low < s->n_regions && s->regions[low].start < end; low++) {
		const struct gd_pagemap_region *region = &s->regions[low];
		uint64_t start = region->start > from ? region->start : from;
		if (!read_range(s, start, region->end < end ? region->end : end))
			return false;
		/* What does not follow without a gap is something else. */
		if (low + 1 < s->n_regions && s->regions[low + 1].start != region->end)
			break;
	}
	return true;
}

static bool read_stacks(struct gd_stopped *s)
{
	const struct gd_wanted *w = s->wanted;
	for (size_t i = 0; i < s->n_threads; i++) {
		uint64_t sp = s->threads[i].regs.rsp;
		const struct gd_wanted_range *skip = gd_wanted_find(w->skip, w->n_skip, sp);
		bool skipped = skip != NULL && skip->start <= sp;
		if (!s->threads[i].stopped || (skipped && skip->why != GD_IMAGE_NOT_WANTED))
			continue;
		if (!skipped && !s->truncate)
			continue;
		if (!read_stack(s, sp, skipped ? THIN_STACK_MAX : STACK_MAX))
			return false;
	}
	return true;
}

/* The pages of shared memory that exist, by its file or by our page tables. */
static bool read_shared(struct gd_stopped *s, const struct gd_wanted_shared *shared)
{
	if (shared->whole)
		return read_range(s, shared->start, shared->end);
	if (shared->fd < 0) {
		struct gd_pagemap_region some[64];
		uint64_t at = shared->start;
		while (at < shared->end) {
			struct gd_pagemap_span rest = { at, shared->end, false, false };
			ssize_t n = gd_pagemap_read(&s->pagemap, GD_PAGEMAP_ANY, 0, &rest, some, 64,
			                            &at, NULL);
			if (n < 0)
				return false;
			for (ssize_t i = 0; i < n; i++)
				if (!read_range(s, some[i].start, some[i].end))
					return false;
		}
		return true;
	}
	off_t last = (off_t)(shared->offset + (shared->end - shared->start));
	for (off_t at = (off_t)shared->offset; at < last;) {
		off_t data = lseek(shared->fd, at, SEEK_DATA);
		if (data < 0 || data >= last)
			break;
		off_t hole = lseek(shared->fd, data, SEEK_HOLE);
		at = hole < 0 || hole > last ? last : hole;
		uint64_t from = shared->start + ((uint64_t)data - shared->offset);
		uint64_t to = shared->start + ((uint64_t)at - shared->offset);
		if (!read_range(s, from & ~(PAGE - 1), align(to)))
			return false;
	}
	return true;
}

static void take_shared(struct gd_stopped *s)
{
	for (size_t i = 0; i < s->wanted->n_shared; i++) {
		size_t items = s->n_items;
		uint64_t bytes = s->bytes;
		const struct gd_wanted_shared *shared = &s->wanted->shared[i];
		s->shared_read[i] = read_shared(s, shared);
		if (!s->shared_read[i]) {
			s->n_items = items;
			s->bytes = bytes;
		}
	}
}

int gd_stopped_take_unforked(struct gd_stopped *s, struct gd_error *err)
{
	const struct gd_wanted *w = s->wanted;
	for (size_t i = 0; i < w->n_unforked; i++) {
		uint64_t walked;
		struct gd_pagemap_span span = { w->unforked[i].start, w->unforked[i].end, false, false };
		ssize_t n = gd_pagemap_read(&s->pagemap, GD_PAGEMAP_OWN, 0, &span, s->regions,
		                            s->max_regions, &walked, err);
		if (n < 0)
			return (int)n;
		for (ssize_t k = 0; k < n; k++)
			if (!read_range(s, s->regions[k].start, s->regions[k].end))
				return gd_fail(err, -E2BIG, "memory that a child does not have is "
				               "too much for the pause");
	}
	take_shared(s);
	return 0;
}

int gd_stopped_take(struct gd_tracer *tracer, struct gd_stopped *s, struct gd_error *err)
{
	s->taken = false;
	s->truncated = false;
	s->n_items = 0;
	s->bytes = s->wanted_bytes = s->unreadable = 0;
	int r = gd_stopped_take_shape(tracer, s, err);
	s->stood_ns = gd_clock_monotonic_ns() - s->began_ns;
	if (r == 0)
		r = gd_stopped_scan(s, err);
	if (r < 0)
		return r;
	int64_t from = gd_clock_monotonic_ns();
	(void)each_to_read(s, count_range);
	int64_t predicted = (int64_t)((double)s->wanted_bytes * 1e9 / (double)s->bytes_per_s);
	if (!s->truncate && (s->wanted_bytes > s->arena_max || predicted > left_ns(s)))
		return gd_fail(err, -E2BIG, "%llu bytes were left to read in the stop",
		               (unsigned long long)s->wanted_bytes);
	bool all = !(s->truncate || s->thin) || read_stacks(s);
	all = all && each_to_read(s, read_range);
	if (!all && !s->truncate)
		return gd_fail(err, -E2BIG, "%llu bytes were left to read in the stop, which was "
		               "slower than before", (unsigned long long)s->wanted_bytes);
	s->truncated = !all;
	take_shared(s);
	s->read_ns = gd_clock_monotonic_ns() - from;
	gd_freeze_fault("taken");
	s->taken = true;
	return 0;
}
