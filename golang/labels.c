#include "golang/labels.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void gd_labels_deinit(struct gd_labels *labels)
{
	gd_buf_deinit(&labels->text);
	labels->n = 0;
}

/* Where a string lies in labels->text is only known for good when the last one has been read. */
struct piece {
	size_t at, len;
};

struct reading {
	struct gd_memory *memory;
	struct gd_labels *labels;
	struct piece pieces[GD_LABELS_MAX][2];
	size_t n;
};

static int read_string(struct reading *r, uint64_t ptr, uint64_t len, struct piece *piece,
                       struct gd_error *err)
{
	struct gd_buf *text = &r->labels->text;
	size_t room = text->ceiling - text->len;
	if (len > room) {
		r->labels->cut = true;
		len = room;
	}
	*piece = (struct piece){ .at = text->len, .len = (size_t)len };
	if (len == 0)
		return 0;
	char *to = gd_buf_reserve(text, (size_t)len);
	if (to == NULL)
		return gd_buf_check(text, "labels", err);
	int e = gd_memory_read(r->memory, ptr, to, (size_t)len, err);
	if (e < 0)
		return e;
	text->len += (size_t)len;
	return 0;
}

/* strings: two Go string headers, key and value */
static int read_pair(struct reading *r, const uint8_t *key, const uint8_t *value,
                     struct gd_error *err)
{
	if (r->n == GD_LABELS_MAX) {
		r->labels->cut = true;
		return 0;
	}
	uint64_t key_len = gd_load_u64(key + 8), value_len = gd_load_u64(value + 8);
	if (key_len >> 40 != 0 || value_len >> 40 != 0)
		return gd_fail(err, -EBADMSG, "a label of %#" PRIx64 " bytes",
		               key_len > value_len ? key_len : value_len);
	int e = read_string(r, gd_load_u64(key), key_len, &r->pieces[r->n][0], err);
	if (e == 0)
		e = read_string(r, gd_load_u64(value), value_len, &r->pieces[r->n][1], err);
	if (e == 0)
		r->n++;
	return e;
}

/* Go 1.24 and later: {list []struct{key, value string}} */
static int read_slice(struct reading *r, uint64_t addr, struct gd_error *err)
{
	uint8_t header[24];
	int e = gd_memory_read(r->memory, addr, header, sizeof(header), err);
	if (e < 0)
		return e;
	uint64_t len = gd_load_u64(header + 8), cap = gd_load_u64(header + 16);
	if (len > cap || cap >> 32 != 0)
		return gd_fail(err, -EBADMSG, "%" PRIu64 " labels in room for %" PRIu64, len, cap);
	if (len > GD_LABELS_MAX) {
		r->labels->cut = true;
		len = GD_LABELS_MAX;
	}
	uint8_t list[GD_LABELS_MAX * 32];
	if (len > 0)
		e = gd_memory_read(r->memory, gd_load_u64(header), list, len * 32, err);
	for (size_t i = 0; i < len && e == 0; i++)
		e = read_pair(r, list + i * 32, list + i * 32 + 16, err);
	return e;
}

/*
 * A map as it was until Go 1.23 (runtime/map.go): 2^B buckets of eight slots and their overflow
 * buckets.  A map that grew while it was filled may still have its older half of buckets in use.
 */
enum {
	HMAP_COUNT = 0,
	HMAP_B = 9,
	HMAP_BUCKETS = 16,
	HMAP_OLD_BUCKETS = 24,
	HMAP_BYTES = 32,
	BUCKET_KEYS = 8,
	BUCKET_VALUES = 8 + 8 * 16,
	BUCKET_OVERFLOW = 8 + 8 * 32,
	BUCKET_BYTES = BUCKET_OVERFLOW + 8,
	TOPHASH_FIRST_USED = 5, /* smaller: empty or moved to the new buckets */
	BUCKETS_MAX = 1024,     /* read for one goroutine */
};

static int read_bucket_chain(struct reading *r, uint64_t addr, unsigned *budget,
                             struct gd_error *err)
{
	while (addr != 0) {
		if ((*budget)-- == 0)
			return gd_fail(err, -EBADMSG, "a map of labels without end");
		uint8_t bucket[BUCKET_BYTES];
		int e = gd_memory_read(r->memory, addr, bucket, sizeof(bucket), err);
		for (size_t i = 0; i < 8 && e == 0; i++)
			if (bucket[i] >= TOPHASH_FIRST_USED)
				e = read_pair(r, bucket + BUCKET_KEYS + i * 16,
				              bucket + BUCKET_VALUES + i * 16, err);
		if (e < 0)
			return e;
		addr = gd_load_u64(bucket + BUCKET_OVERFLOW);
	}
	return 0;
}

static int read_map(struct reading *r, uint64_t addr, struct gd_error *err)
{
	uint64_t hmap;
	int e = gd_memory_read_u64(r->memory, addr, &hmap, err);
	if (e < 0 || hmap == 0)
		return e;
	uint8_t header[HMAP_BYTES];
	e = gd_memory_read(r->memory, hmap, header, sizeof(header), err);
	if (e < 0)
		return e;
	uint64_t count = gd_load_u64(header + HMAP_COUNT);
	unsigned b = header[HMAP_B];
	if (count >> 32 != 0 || b > 10)
		return gd_fail(err, -EBADMSG, "a map of %" PRIu64 " labels in 2^%u buckets", count,
		               b);
	unsigned budget = BUCKETS_MAX;
	uint64_t buckets = gd_load_u64(header + HMAP_BUCKETS);
	uint64_t old = gd_load_u64(header + HMAP_OLD_BUCKETS);
	for (unsigned i = 0; buckets != 0 && i < 1u << b && e == 0; i++)
		e = read_bucket_chain(r, buckets + (uint64_t)i * BUCKET_BYTES, &budget, err);
	for (unsigned i = 0; old != 0 && b > 0 && i < 1u << (b - 1) && e == 0; i++)
		e = read_bucket_chain(r, old + (uint64_t)i * BUCKET_BYTES, &budget, err);
	if (e == 0 && r->n != count && !r->labels->cut)
		return gd_fail(err, -EBADMSG, "%zu labels in a map of %" PRIu64, r->n, count);
	return e;
}

static int by_key(const void *a, const void *b)
{
	const struct gd_labels_pair *x = a, *y = b;
	size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
	int order = n > 0 ? memcmp(x->key, y->key, n) : 0;
	return order != 0 ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

int gd_labels_read(struct gd_memory *memory, int minor, uint64_t addr, struct gd_labels *labels,
                   struct gd_error *err)
{
	labels->n = 0;
	labels->cut = false;
	gd_buf_reset(&labels->text);
	if (addr == 0)
		return 0;
	struct reading r = { .memory = memory, .labels = labels };
	bool map = minor < 24;
	int e = map ? read_map(&r, addr, err) : read_slice(&r, addr, err);
	if (e < 0)
		return gd_error_wrap(err, e, "labels at %#" PRIx64, addr);
	const char *text = gd_buf_str(&labels->text);
	for (size_t i = 0; i < r.n; i++)
		labels->pairs[i] = (struct gd_labels_pair){
			.key = text + r.pieces[i][0].at,
			.key_len = r.pieces[i][0].len,
			.value = text + r.pieces[i][1].at,
			.value_len = r.pieces[i][1].len,
		};
	labels->n = r.n;
	if (map)
		qsort(labels->pairs, labels->n, sizeof(labels->pairs[0]), by_key);
	return 0;
}
