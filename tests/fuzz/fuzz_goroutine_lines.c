/*
 * goroutines.jsonl as a report reads it, whole and cut into small pieces: both must group alike.
 * The same bytes as runtime.json and as a heap profile.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "report/facts_runtime.h"
#include "report/groups.h"
#include "report/heap.h"
#include "report/places.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gd_groups group(const uint8_t *data, size_t size, size_t step)
{
	struct gd_groups g;
	if (gd_groups_begin(&g, NULL) < 0)
		abort();
	for (size_t at = 0; at < size; at += step)
		if (gd_groups_feed(&g, data + at, size - at < step ? size - at : step, NULL) < 0)
			abort();
	if (gd_groups_end(&g, NULL) < 0)
		abort();
	return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_groups whole = group(data, size, size > 0 ? size : 1);
	struct gd_groups pieces = group(data, size, 5);
	struct gd_places places;
	uint64_t sum = 0;
	if (whole.total != pieces.total || whole.n != pieces.n ||
	    whole.unreadable != pieces.unreadable || whole.ungrouped != pieces.ungrouped)
		abort();
	for (size_t i = 0; i < whole.n; i++) {
		const struct gd_group *g = &whole.list[i];
		sum += g->count;
		if (g->count != pieces.list[i].count || strcmp(g->state, pieces.list[i].state) != 0)
			abort();
		for (size_t k = 0; k < g->n_frames; k++)
			if (strcmp(g->frames[k].function, pieces.list[i].frames[k].function) != 0)
				abort();
	}
	if (sum > whole.total)
		abort();
	if (gd_places_make(&whole, &places) == 0) {
		uint64_t again = 0;
		for (size_t i = 0; i < places.n; i++)
			again += places.list[i].count;
		if (again != sum)
			abort();
		gd_places_deinit(&places);
	}
	gd_groups_deinit(&whole);
	gd_groups_deinit(&pieces);

	struct gd_facts facts = { 0 };
	struct gd_sites heap;
	gd_facts_runtime((const char *)data, size, &facts);
	if (gd_heap_parse(data, size, &heap, NULL) == 0)
		gd_sites_deinit(&heap);
	return 0;
}
