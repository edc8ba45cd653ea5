/*
 * Which pages exist, asked while everything stands: the largest part of a stop.
 *
 * Asking for all of it costs several ms per GiB.  Where our userfaultfd has write-protected what was read, one
 * question is cheaper: what was written *or is not there*.  Whatever it leaves out lies protected in
 * its page table and is in the image as it is, except where there is no page table at all any more
 * (memory given back in large pieces): so each 2 MiB of it are asked for one page.
 */
#include <errno.h>

#include "base/clock.h"
#include "freeze/stopped.h"
#include "target/image_index.h"

#define TABLE (UINT64_C(2) << 20) /* what one page table maps */
/* A gap that is cheaper to look at than to leave out. */
#define GAP (32 * (uint64_t)GD_IMAGE_PAGE)

static int scattered(struct gd_error *err)
{
	return gd_fail(err, -E2BIG, "its pages are too scattered");
}

static int scan_slowly(struct gd_stopped *s, struct gd_pagemap_span span, struct gd_error *err)
{
	uint64_t walked;
	ssize_t n = gd_pagemap_read(&s->pagemap, GD_PAGEMAP_OWN, s->dirty, &span,
	                            s->regions + s->n_regions, s->max_regions - s->n_regions,
	                            &walked, err);
	if (n < 0)
		return (int)n;
	s->n_regions += (size_t)n;
	return walked < span.end || s->n_regions == s->max_regions ? scattered(err) : 0;
}

/* All pages of [start, end), which do not leave one page table, are in the image. */
static bool in_image(const struct gd_stopped *s, uint64_t start, uint64_t end)
{
	while (start < end) {
		const uint64_t *pages = gd_image_pages(s->image, start);
		if (pages == NULL)
			return false;
		uint64_t chunk_end = (start & ~(GD_IMAGE_CHUNK - 1)) + GD_IMAGE_CHUNK;
		uint64_t until = end < chunk_end ? end : chunk_end;
		size_t i = start % GD_IMAGE_CHUNK / GD_IMAGE_PAGE;
		size_t last = i + (until - start) / GD_IMAGE_PAGE;
		for (; i < last; i++) {
			if (i % 64 == 0 && last - i >= 64 && pages[i / 64] == UINT64_MAX)
				i += 63;
			else if ((pages[i / 64] >> i % 64 & 1) == 0)
				return false;
		}
		start = until;
	}
	return true;
}

static int add_clean(struct gd_stopped *s, uint64_t start, uint64_t end, struct gd_error *err)
{
	struct gd_pagemap_region *last = s->n_regions > 0 ? &s->regions[s->n_regions - 1] : NULL;
	if (last != NULL && last->end == start && last->categories == GD_PAGE_PRESENT) {
		last->end = end;
		return 0;
	}
	if (s->n_regions + 1 >= s->max_regions)
		return scattered(err);
	s->regions[s->n_regions++] = (struct gd_pagemap_region){ start, end, GD_PAGE_PRESENT };
	return 0;
}

/* A range that was not reported: protected, or without a page table. */
static int take_unchanged(struct gd_stopped *s, uint64_t start, uint64_t end, struct gd_error *err)
{
	struct gd_pagemap_span unknown = { .anonymous = true };
	int r = 0;
	while (r == 0 && start < end) {
		uint64_t table_end = (start & ~(TABLE - 1)) + TABLE;
		uint64_t until = end < table_end ? end : table_end;
		bool known = in_image(s, start, until);
		/* Neighbours that are not in the image are mostly reservations: asked about together. */
		if (!known && unknown.end == 0)
			unknown.start = start;
		if (!known)
			unknown.end = until;
		if ((known || until == end) && unknown.end != 0) {
			r = scan_slowly(s, unknown, err);
			unknown.end = 0;
		}
		if (r == 0 && known && gd_pagemap_any(&s->pagemap, start, until))
			r = add_clean(s, start, until, err);
		start = until;
	}
	return r;
}

/* 1: it has to be done slowly. */
static int scan_fast(struct gd_stopped *s, const struct gd_pagemap_span *span, struct gd_error *err)
{
	ssize_t n = gd_pagemap_changed(&s->pagemap, span, s->scratch, s->max_scratch);
	if (n < 0 || (size_t)n == s->max_scratch)
		return 1;
	uint64_t at = span->start;
	for (ssize_t i = 0; i < n;) {
		struct gd_pagemap_span changed = { s->scratch[i].start, s->scratch[i].end, true,
			                           true };
		for (i++; i < n && s->scratch[i].start - changed.end <= GAP; i++)
			changed.end = s->scratch[i].end;
		int r = take_unchanged(s, at, changed.start, err);
		if (r == 0)
			r = scan_slowly(s, changed, err);
		if (r < 0)
			return r;
		at = changed.end;
	}
	return take_unchanged(s, at, span->end, err);
}

static bool is_tracked(const void *arg, uint64_t addr)
{
	const struct gd_wanted *w = arg;
	const struct gd_wanted_range *range = gd_wanted_find(w->tracked, w->n_tracked, addr);
	return range != NULL && range->start <= addr;
}

int gd_stopped_scan(struct gd_stopped *s, struct gd_error *err)
{
	int64_t from = gd_clock_monotonic_ns();
	const char *text = s->maps;
	struct gd_pagemap_span span;
	bool fast = s->pagemap.scan && s->dirty == GD_PAGE_WRITTEN;
	s->n_regions = 0;
	while (gd_pagemap_next_span_of_text(&s->pagemap, &text, s->maps + s->maps_len,
	                                    fast ? is_tracked : NULL, s->wanted, &span)) {
		int r = span.tracked ? scan_fast(s, &span, err) : 1;
		if (r > 0)
			r = scan_slowly(s, span, err);
		if (r < 0)
			return r;
	}
	s->scan_ns = gd_clock_monotonic_ns() - from;
	return 0;
}
