#pragma once
/*
 * Address ranges on their way from a jailed reader to the broker: in a memory file that the broker makes,
 * the reader fills and the broker checks.  What a thin image leaves out, what of a heap has no pointers.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/range.h"

/* Half a million spans: 8 GiB of heap in pieces of 16 KiB. */
#define GD_RANGES_MAX 524288u

struct gd_ranges {
	struct gd_range *list; /* page aligned, ascending, disjoint */
	size_t n;
};
#define GD_RANGES_INIT ((struct gd_ranges){ 0 })

/* An empty memory file of the right size; the descriptor. */
int gd_ranges_create(struct gd_error *err);

/* The reader's end: as many as fit; those beyond are left out, which is always safe. */
int gd_ranges_put(int fd, const struct gd_range *list, size_t n, struct gd_error *err);

/* The broker's: a checked copy.  -EBADMSG: they make no sense. */
int gd_ranges_take(int fd, struct gd_ranges *ret, struct gd_error *err);
void gd_ranges_deinit(struct gd_ranges *ranges);
