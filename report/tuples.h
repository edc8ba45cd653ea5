#pragma once
/*
 * Rows of a few numbers, kept once each and known by their index from then on: frames, nodes of a
 * tree (parent, frame), threads.  Born with a ceiling.  Errors stick, as in base/buf.h: at the ceiling
 * or without memory every further new row is row 0, and gd_tuples_check says so once.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_TUPLES_WIDTH_MAX 6

struct gd_tuples {
	uint32_t width, max; /* numbers per row; rows */
	uint32_t n, cap;
	uint64_t *list;  /* n * width */
	uint32_t *table; /* of 2 * cap: index + 1 by hash; 0 is free */
	uint64_t seed;
	int failed;      /* 0, -ENOMEM, -E2BIG */
};

#define GD_TUPLES_INIT(w, rows) ((struct gd_tuples){ .width = (w), .max = (rows) })
void gd_tuples_deinit(struct gd_tuples *tuples);

/* The index of that row, which is added when it is new. */
uint32_t gd_tuples_keep(struct gd_tuples *tuples, const uint64_t *row);

static inline const uint64_t *gd_tuples_at(const struct gd_tuples *tuples, uint32_t index)
{
	return tuples->list + (size_t)index * tuples->width;
}

/* 0, or the sticky error with a sentence naming what there are too many of. */
int gd_tuples_check(const struct gd_tuples *tuples, const char *what, struct gd_error *err);
