#pragma once
/*
 * Remembers byte strings and a number for each, with a ceiling: strings of a profile, stacks seen
 * before, groups being counted.  When it is full the next new key empties it, so that it serves as
 * a cache of bounded size over input of any size; who must not lose the numbers asks gd_known_full
 * first and walks them out.  Hashing is seeded: foreign keys cannot be made to collide.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gd_known;

/* At most `entries` keys of together `bytes` bytes (up to 1 GiB). */
int gd_known_create(size_t entries, size_t bytes, struct gd_known **ret, struct gd_error *err);
void gd_known_destroy(struct gd_known *known); /* NULL allowed */

/* The key's number, or NULL.  Valid until the next gd_known_slot. */
uint64_t *gd_known_find(const struct gd_known *known, const void *key, size_t len);

/*
 * The key's number, which is 0 when the key is new.  Valid until the next call.  NULL when the key
 * alone is larger than the ceiling, or there is no memory.
 */
uint64_t *gd_known_slot(struct gd_known *known, const void *key, size_t len);

/* Would a new key of this length empty it? */
bool gd_known_full(const struct gd_known *known, size_t len);

void gd_known_clear(struct gd_known *known);

/* Walks in the order of arrival from *cursor = 0; false at the end. */
bool gd_known_next(const struct gd_known *known, size_t *cursor, const void **ret_key,
                   size_t *ret_len, uint64_t *ret_value);
