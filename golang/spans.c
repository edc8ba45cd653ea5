/*
 * mheap_.allspans lists every span there ever was, free ones among them; each is read on its own, 160
 * bytes or so, most of them in one go because the runtime allocates its span records side by side.
 */
#include "golang/spans.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define GO_PAGE 8192u
/* 64 GiB of heap in spans of one page. */
#define SPANS_MAX (UINT64_C(8) << 20)
#define SPAN_BYTES_MAX 256u
#define ADDRESS_MAX (UINT64_C(1) << 47)
/* Span records are carved from chunks of 16 KiB (runtime.fixalloc). */
#define WINDOW 16384u

/* runtime.mSpanState, the same since 1.10. */
enum { SPAN_DEAD, SPAN_IN_USE, SPAN_MANUAL };

/* The memory around the last record that was read. */
struct window {
	struct gd_memory *memory;
	uint64_t start;
	size_t n;
	uint8_t bytes[WINDOW];
};

static const uint8_t *look(struct window *w, uint64_t addr, size_t len)
{
	if (addr < w->start || addr - w->start > w->n || len > w->n - (addr - w->start)) {
		ssize_t n = gd_memory_read_some(w->memory, addr, w->bytes, sizeof(w->bytes));
		w->start = addr;
		w->n = n > 0 ? (size_t)n : 0;
	}
	return len <= w->n - (addr - w->start) ? w->bytes + (addr - w->start) : NULL;
}

static int check_layout(const struct gd_go *go, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	if (go->globals.mheap == 0)
		return gd_fail(err, -ENOENT, "runtime.mheap_ was not found");
	if (l->mheap_allspans < 0 || l->mspan_start_addr < 0 || l->mspan_npages < 0 ||
	    l->mspan_spanclass < 0 || l->mspan_state < 0 || l->mspan_size <= 0 ||
	    (size_t)l->mspan_size > SPAN_BYTES_MAX || l->mspan_state >= l->mspan_size ||
	    l->mspan_spanclass >= l->mspan_size || l->mspan_npages + 8 > l->mspan_size ||
	    l->mspan_start_addr + 8 > l->mspan_size)
		return gd_fail(err, -ENOTSUP, "the layout of mspan is not known for this release");
	return 0;
}

static void add(struct gd_spans *to, const struct gd_layout *l, const uint8_t *span)
{
	uint64_t start = gd_load_u64(span + l->mspan_start_addr);
	uint64_t pages = gd_load_u64(span + l->mspan_npages);
	uint8_t state = span[l->mspan_state];
	if (state == SPAN_DEAD)
		return;
	if (state > SPAN_MANUAL || start == 0 || start % GO_PAGE != 0 || start > ADDRESS_MAX ||
	    pages == 0 || pages > ADDRESS_MAX / GO_PAGE) {
		to->odd++;
		return;
	}
	uint64_t bytes = pages * GO_PAGE;
	if (state == SPAN_MANUAL) {
		to->stack_bytes += bytes;
		return;
	}
	bool noscan = (span[l->mspan_spanclass] & 1) != 0;
	to->object_bytes += bytes;
	to->noscan_bytes += noscan ? bytes : 0;
	to->list[to->n++] = (struct gd_span_range){ start, start + bytes, noscan };
}

static int by_start(const void *a, const void *b)
{
	const struct gd_span_range *x = a;
	const struct gd_span_range *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

/* Neighbours of a kind become one; of two that overlap (read while they changed) the second goes. */
static void merge(struct gd_spans *spans)
{
	size_t n = 0;
	qsort(spans->list, spans->n, sizeof(*spans->list), by_start);
	for (size_t i = 0; i < spans->n; i++) {
		const struct gd_span_range *next = &spans->list[i];
		struct gd_span_range *last = n > 0 ? &spans->list[n - 1] : NULL;
		if (last != NULL && next->start < last->end)
			spans->odd++;
		else if (last != NULL && next->start == last->end && next->noscan == last->noscan)
			last->end = next->end;
		else
			spans->list[n++] = *next;
	}
	spans->n = n;
}

static int read_records(struct gd_go *go, const uint64_t *addrs, uint64_t n, struct gd_spans *to)
{
	GD_FREE struct window *window = malloc(sizeof(*window));
	if (window == NULL)
		return -ENOMEM;
	window->memory = go->memory;
	window->start = 0;
	window->n = 0;
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *span = look(window, addrs[i], (size_t)go->layout.mspan_size);
		if (span != NULL)
			add(to, &go->layout, span);
		else
			to->odd++;
	}
	return 0;
}

int gd_spans_read(struct gd_go *go, struct gd_spans *ret, struct gd_error *err)
{
	uint64_t slice[2];
	GD_FREE uint64_t *addrs = NULL;
	GD_CLEANUP(gd_spans_deinit) struct gd_spans spans = { 0 };
	int r = check_layout(go, err);
	if (r == 0)
		r = gd_memory_read(go->memory, go->globals.mheap + (uint64_t)go->layout.mheap_allspans,
		                   slice, sizeof(slice), err);
	if (r == 0 && slice[1] > SPANS_MAX)
		r = gd_fail(err, -E2BIG, "mheap_.allspans: %" PRIu64 " spans", slice[1]);
	if (r < 0)
		return r;
	addrs = calloc(slice[1] + 1, sizeof(*addrs));
	spans.list = calloc(slice[1] + 1, sizeof(*spans.list));
	if (addrs == NULL || spans.list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%" PRIu64 " spans", slice[1]);
	if (slice[1] > 0)
		r = gd_memory_read(go->memory, slice[0], addrs, slice[1] * sizeof(*addrs), err);
	if (r < 0)
		return gd_error_wrap(err, r, "mheap_.allspans");
	if (read_records(go, addrs, slice[1], &spans) < 0)
		return gd_fail_errno(err, -ENOMEM, "spans");
	merge(&spans);
	*ret = spans;
	spans = (struct gd_spans){ 0 };
	return 0;
}

void gd_spans_deinit(struct gd_spans *spans)
{
	free(spans->list);
	*spans = (struct gd_spans){ 0 };
}
