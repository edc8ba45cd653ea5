#include "report/tuples.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

void gd_tuples_deinit(struct gd_tuples *t)
{
	free(t->list);
	free(t->table);
	*t = (struct gd_tuples){ 0 };
}

/* Thread ids and labels are whatever a foreign profile says: nobody shall choose them so that all fall
 * into one place of the table. */
static uint64_t seed_of_process(void)
{
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
	const void *random = NULL;
	unsigned long at = getauxval(AT_RANDOM); /* 16 bytes that the kernel chose for this process */
	memcpy(&random, &at, sizeof(random));
	if (random != NULL)
		memcpy(&seed, random, sizeof(seed));
	return seed;
}

static uint64_t hash_of(const struct gd_tuples *t, const uint64_t *row)
{
	uint64_t h = t->seed;
	for (uint32_t i = 0; i < t->width; i++) {
		h = (h ^ row[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	return h;
}

static void place(struct gd_tuples *t, uint32_t index)
{
	uint64_t mask = 2 * (uint64_t)t->cap - 1;
	uint64_t at = hash_of(t, gd_tuples_at(t, index)) & mask;
	while (t->table[at] != 0)
		at = (at + 1) & mask;
	t->table[at] = index + 1;
}

static int grow(struct gd_tuples *t)
{
	if (t->n >= t->max)
		return -E2BIG;
	if (t->cap == 0)
		t->seed = seed_of_process();
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
		uint64_t at = hash_of(t, row) & mask;
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
