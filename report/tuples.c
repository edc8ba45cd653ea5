#include "report/tuples.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gd_tuples_deinit(struct gd_tuples *t)
{
	free(t->list);
	free(t->table);
	*t = (struct gd_tuples){ 0 };
}

/* Mixed well, because the numbers are small and alike; names in it may be chosen by an attacker, but
 * the numbers are ours. */
static uint64_t hash_of(const uint64_t *row, uint32_t width)
{
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = 0; i < width; i++) {
		h = (h ^ row[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	return h;
}

static void place(struct gd_tuples *t, uint32_t index)
{
	uint64_t mask = 2 * (uint64_t)t->cap - 1;
	uint64_t at = hash_of(gd_tuples_at(t, index), t->width) & mask;
	while (t->table[at] != 0)
		at = (at + 1) & mask;
	t->table[at] = index + 1;
}

static int grow(struct gd_tuples *t)
{
	if (t->n >= t->max)
		return -E2BIG;
	uint32_t cap = t->cap > 0 ? 2 * t->cap : 64;
	uint64_t *list = realloc(t->list, (size_t)cap * t->width * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	t->list = list;
	uint32_t *table = calloc(2 * (size_t)cap, sizeof(*table));
	if (table == NULL)
		return -ENOMEM;
	free(t->table);
	t->table = table;
	t->cap = cap;
	for (uint32_t i = 0; i < t->n; i++)
		place(t, i);
	return 0;
}

uint32_t gd_tuples_keep(struct gd_tuples *t, const uint64_t *row)
{
	assert(t->width > 0 && t->width <= GD_TUPLES_WIDTH_MAX);
	size_t bytes = t->width * sizeof(*row);
	if (t->cap > 0) {
		uint64_t mask = 2 * (uint64_t)t->cap - 1;
		uint64_t at = hash_of(row, t->width) & mask;
		for (; t->table[at] != 0; at = (at + 1) & mask)
			if (memcmp(gd_tuples_at(t, t->table[at] - 1), row, bytes) == 0)
				return t->table[at] - 1;
	}
	if (t->failed != 0)
		return 0;
	if (t->n >= t->max)
		t->failed = -E2BIG;
	else if (t->n == t->cap)
		t->failed = grow(t);
	if (t->failed != 0)
		return 0;
	memcpy(t->list + (size_t)t->n * t->width, row, bytes);
	place(t, t->n);
	return t->n++;
}

int gd_tuples_check(const struct gd_tuples *t, const char *what, struct gd_error *err)
{
	if (t->failed == -E2BIG)
		return gd_fail(err, t->failed, "more than %u %s", t->max, what);
	return t->failed != 0 ? gd_fail_errno(err, t->failed, "%s", what) : 0;
}
