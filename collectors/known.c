#include "collectors/known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"

struct entry {
	uint64_t hash;
	uint64_t value;
	uint32_t at, len; /* of the key, in keys */
};

struct gd_known {
	struct entry *entries; /* in the order of arrival */
	uint32_t *index;       /* open addressing: number of the entry + 1, 0 free */
	uint8_t *keys;
	size_t n, n_max, entries_cap;
	size_t index_cap; /* a power of two, at least 4/3 of n */
	size_t used, used_max, keys_cap;
	uint64_t seed;
};

#define FIRST_CAP 256

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_of(uint64_t seed, const uint8_t *key, size_t len)
{
	static const uint64_t odd1 = 0x9e3779b97f4a7c15, odd2 = 0xd6e8feb86659fd93;
	uint64_t h = seed ^ (len * odd1);
	for (; len >= 8; key += 8, len -= 8)
		h = mix(h ^ gd_load_u64(key), odd2);
	uint64_t tail = 0;
	if (len > 0)
		memcpy(&tail, key, len);
	return mix(mix(h ^ tail, odd1), odd2);
}

int gd_known_create(size_t entries, size_t bytes, struct gd_known **ret, struct gd_error *err)
{
	if (entries == 0 || entries > UINT32_MAX / 2 || bytes > 1u << 30)
		return gd_fail(err, -EINVAL, "a table of %zu keys in %zu bytes", entries, bytes);
	struct gd_known *known = calloc(1, sizeof(*known));
	if (known == NULL)
		return gd_fail_errno(err, -ENOMEM, "a table of keys");
	known->n_max = entries;
	known->used_max = bytes;
	/* a failure leaves the seed 0: collisions then cost time, nothing else */
	if (getrandom(&known->seed, sizeof(known->seed), GRND_NONBLOCK) < 0)
		known->seed = (uint64_t)(uintptr_t)known;
	*ret = known;
	return 0;
}

void gd_known_destroy(struct gd_known *known)
{
	if (known == NULL)
		return;
	free(known->entries);
	free(known->index);
	free(known->keys);
	free(known);
}

void gd_known_clear(struct gd_known *known)
{
	known->n = 0;
	known->used = 0;
	if (known->index != NULL)
		memset(known->index, 0, known->index_cap * sizeof(*known->index));
}

bool gd_known_full(const struct gd_known *known, size_t len)
{
	return known->n >= known->n_max || len > known->used_max - known->used;
}

/* The index slot that holds the key, or the free one where it belongs. */
static size_t probe(const struct gd_known *known, uint64_t hash, const void *key, size_t len)
{
	size_t mask = known->index_cap - 1;
	size_t slot = (size_t)hash & mask;
	for (; known->index[slot] != 0; slot = (slot + 1) & mask) {
		const struct entry *e = &known->entries[known->index[slot] - 1];
		if (e->hash == hash && e->len == len &&
		    (len == 0 || memcmp(known->keys + e->at, key, len) == 0))
			break;
	}
	return slot;
}

uint64_t *gd_known_find(const struct gd_known *known, const void *key, size_t len)
{
	if (known->n == 0)
		return NULL;
	size_t slot = probe(known, hash_of(known->seed, key, len), key, len);
	return known->index[slot] != 0 ? &known->entries[known->index[slot] - 1].value : NULL;
}

static bool grow(struct gd_known *known)
{
	size_t cap = known->entries_cap == 0 ? FIRST_CAP : known->entries_cap * 2;
	struct entry *entries = realloc(known->entries, cap * sizeof(*entries));
	if (entries == NULL)
		return false;
	known->entries = entries;
	uint32_t *index = calloc(cap * 2, sizeof(*index));
	if (index == NULL)
		return false;
	free(known->index);
	known->index = index;
	known->index_cap = cap * 2;
	known->entries_cap = cap;
	for (size_t i = 0; i < known->n; i++) {
		size_t slot = (size_t)entries[i].hash & (known->index_cap - 1);
		while (index[slot] != 0)
			slot = (slot + 1) & (known->index_cap - 1);
		index[slot] = (uint32_t)i + 1;
	}
	return true;
}

static bool grow_keys(struct gd_known *known, size_t len)
{
	size_t cap = known->keys_cap < 4096 ? 4096 : known->keys_cap;
	while (cap - known->used < len)
		cap *= 2;
	uint8_t *keys = realloc(known->keys, cap);
	if (keys == NULL)
		return false;
	known->keys = keys;
	known->keys_cap = cap;
	return true;
}

uint64_t *gd_known_slot(struct gd_known *known, const void *key, size_t len)
{
	uint64_t hash = hash_of(known->seed, key, len);
	size_t slot = 0;
	if (known->index_cap > 0) {
		slot = probe(known, hash, key, len);
		if (known->index[slot] != 0)
			return &known->entries[known->index[slot] - 1].value;
	}
	if (len > known->used_max)
		return NULL;
	if (gd_known_full(known, len))
		gd_known_clear(known);
	if (known->n == known->entries_cap && !grow(known))
		return NULL;
	if (len > known->keys_cap - known->used && !grow_keys(known, len))
		return NULL;
	slot = probe(known, hash, key, len);
	struct entry *e = &known->entries[known->n];
	*e = (struct entry){ .hash = hash, .at = (uint32_t)known->used, .len = (uint32_t)len };
	if (len > 0)
		memcpy(known->keys + known->used, key, len);
	known->used += len;
	known->index[slot] = (uint32_t)++known->n;
	return &e->value;
}

bool gd_known_next(const struct gd_known *known, size_t *cursor, const void **ret_key,
                   size_t *ret_len, uint64_t *ret_value)
{
	if (*cursor >= known->n)
		return false;
	const struct entry *e = &known->entries[(*cursor)++];
	*ret_key = known->keys != NULL ? known->keys + e->at : (const uint8_t *)"";
	*ret_len = e->len;
	*ret_value = e->value;
	return true;
}
