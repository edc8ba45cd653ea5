/*
 * Goes over the data segments of the runtime's module in search of one variable.
 */
#include "golang/shapes.h"

#include <stdlib.h>

#include "base/cleanup.h"

enum { NOPTRDATA = 1, DATA = 2, BSS = 4, NOPTRBSS = 8 };

/* Chunks overlap by the largest struct tested, so that none is cut. */
enum { CHUNK_WORDS = 1 << 17, OVERLAP_WORDS = 1 << 14 };

/* A hostile process can make every word look promising: a scan gives up after about a second. */
static const uint64_t SCAN_READS_MAX = UINT64_C(1) << 20;

/* Data that large is a program's own table, the runtime's variables have some 200 KiB. */
static const uint64_t SCAN_MAX = UINT64_C(32) << 20;

static unsigned sections_of(enum gd_global which)
{
	switch (which) {
	case GD_GLOBAL_wait_reason_strings:
	case GD_GLOBAL_build_version:
		return DATA;
	case GD_GLOBAL_memstats:
	case GD_GLOBAL_gc_controller:
		return NOPTRBSS;
	case GD_GLOBAL_mbuckets:
	case GD_GLOBAL_bbuckets:
	case GD_GLOBAL_xbuckets:
		return BSS | NOPTRBSS;
	case GD_GLOBAL_allgs:
	case GD_GLOBAL_allm:
	case GD_GLOBAL_allp:
	case GD_GLOBAL_sched:
	case GD_GLOBAL_mheap:
		return BSS;
	case GD_GLOBAL_gomaxprocs:
	case GD_GLOBAL_mem_profile_rate:
	case GD_GLOBAL_block_profile_rate:
	case GD_GLOBAL_mutex_profile_fraction:
	case GD_GLOBAL_COUNT:
		break;
	}
	return 0;
}

struct scan {
	const struct gd_shapes *shapes;
	enum gd_global which;
	uint64_t *words;
	uint64_t found;
	size_t threads; /* in the list found, of allm: the longest is taken */
};

/* Open can mean: in motion just now. */
static bool is_right(const struct scan *scan, uint64_t addr)
{
	enum { TRIES = 8 };
	enum gd_shape shape = GD_SHAPE_OPEN;
	for (int i = 0; i < TRIES && shape == GD_SHAPE_OPEN; i++)
		shape = gd_shapes_test(scan->shapes, scan->which, addr);
	return shape == GD_SHAPE_RIGHT;
}

/* True when nothing better can come. */
static bool consider(struct scan *scan, uint64_t addr)
{
	if (!is_right(scan, addr))
		return false;
	if (scan->which != GD_GLOBAL_allm) {
		scan->found = addr;
		return true;
	}
	size_t threads = gd_shapes_threads(scan->shapes, addr);
	if (threads > scan->threads) {
		scan->threads = threads;
		scan->found = addr;
	}
	return false;
}

static bool scan_range(struct scan *scan, const struct gd_range *range)
{
	uint64_t at = (range->start + 7) & ~UINT64_C(7);
	uint64_t end = range->end - range->start < SCAN_MAX ? range->end : range->start + SCAN_MAX;

	while (at + 8 <= end) {
		size_t want = end - at < CHUNK_WORDS * 8 ? (size_t)(end - at) : CHUNK_WORDS * 8;
		ssize_t got = gd_memory_read_some(scan->shapes->memory, at, scan->words, want);
		size_t n = got > 0 ? (size_t)got / 8 : 0;
		size_t step = n == CHUNK_WORDS ? n - OVERLAP_WORDS : n;
		for (size_t i = 0; i < step; i++)
			if (gd_shapes_worth_testing(scan->shapes, scan->which, scan->words + i,
			                            n - i) &&
			    consider(scan, at + 8 * i))
				return true;
		if (n == 0)
			return false;
		at += 8 * step;
	}
	return false;
}

uint64_t gd_shapes_scan(const struct gd_shapes *known, enum gd_global which)
{
	const struct gd_module *module = &known->modules->list[0];
	GD_FREE uint64_t *words = malloc(CHUNK_WORDS * sizeof(*words));
	uint64_t reads_left = SCAN_READS_MAX;
	struct gd_shapes shapes = *known;
	const struct { unsigned section; const struct gd_range *range; } ranges[] = {
		{ NOPTRDATA, &module->noptrdata },
		{ DATA, &module->data },
		{ BSS, &module->bss },
		{ NOPTRBSS, &module->noptrbss },
	};
	struct scan scan = { .shapes = &shapes, .which = which, .words = words };

	if (words == NULL)
		return 0;
	shapes.reads_left = &reads_left;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if ((sections_of(which) & ranges[i].section) != 0 &&
		    scan_range(&scan, ranges[i].range))
			break;
	return scan.found;
}

