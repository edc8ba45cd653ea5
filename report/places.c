#include "report/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_text(const char *a, const char *b)
{
	return a == b ? 0 : strcmp(a, b); /* words are kept once each */
}

static int by_place(const void *a, const void *b)
{
	const struct gd_place *x = a;
	const struct gd_place *y = b;
	if (x->frame == NULL || y->frame == NULL) {
		int known = (x->frame != NULL) - (y->frame != NULL);
		return known != 0 ? known : compare_text(x->state, y->state);
	}
	int order = compare_text(x->frame->function, y->frame->function);
	if (order == 0)
		order = compare_text(x->state, y->state);
	if (order == 0)
		order = compare_text(x->frame->file, y->frame->file);
	if (order == 0)
		order = x->frame->line < y->frame->line ? -1 : x->frame->line > y->frame->line;
	return order;
}

static int by_count(const void *a, const void *b)
{
	const struct gd_place *x = a;
	const struct gd_place *y = b;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return by_place(a, b);
}

int gd_places_make(const struct gd_groups *groups, struct gd_places *ret)
{
	struct gd_place *list = calloc(groups->n + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < groups->n; i++) {
		const struct gd_group *g = &groups->list[i];
		list[i] = (struct gd_place){ .frame = g->n_frames > 0 ? &g->frames[0] : NULL,
			                     .state = g->state, .waiting = g->waiting,
			                     .via = g->via,
			                     .count = g->count, .longest_ns = g->longest_ns };
	}
	qsort(list, groups->n, sizeof(*list), by_place);
	size_t n = 0;
	for (size_t i = 0; i < groups->n; i++) {
		if (n > 0 && by_place(&list[n - 1], &list[i]) == 0) {
			list[n - 1].count += list[i].count;
			if (list[i].longest_ns > list[n - 1].longest_ns)
				list[n - 1].longest_ns = list[i].longest_ns;
		} else {
			list[n++] = list[i];
		}
	}
	qsort(list, n, sizeof(*list), by_count);
	*ret = (struct gd_places){ .list = list, .n = n };
	return 0;
}

void gd_places_deinit(struct gd_places *places)
{
	free(places->list);
	*places = (struct gd_places){ 0 };
}
