/*
 * The bucket walk over hostile memory.  The first byte chooses release, profile and what the rest
 * is: memory as it comes, or a recipe from which buckets with right hashes are made (a random hash
 * is never right), whose links, depths and counters are then anything.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/go_version.h"
#include "golang/profile.h"
#include "golang/shapes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x10000000, HEAD = BASE, NUMGC = BASE + 8, FIRST = BASE + 64, BYTES = 1 << 17 };
enum { DEPTH_MAX = 40, BUCKETS_MAX = 100 };

static uint8_t image[BYTES];

static void put(uint64_t addr, uint64_t value)
{
	if (addr >= BASE && addr <= BASE + BYTES - 8)
		memcpy(image + (addr - BASE), &value, sizeof(value));
}

/* Four bytes of the recipe each: depth, size, which bucket comes next, what to spoil. */
static void cook(const struct gd_layout *l, enum gd_profile_type type, const uint8_t *recipe,
                 size_t size)
{
	uint64_t at[BUCKETS_MAX];
	size_t n = size / 4 < BUCKETS_MAX ? size / 4 : BUCKETS_MAX;
	uint64_t end = FIRST;
	for (size_t i = 0; i < n; i++) {
		at[i] = end;
		end += 48 + 8ull * (recipe[4 * i] % DEPTH_MAX + 1) + 128;
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *r = recipe + 4 * i;
		uint64_t pcs[DEPTH_MAX];
		uint64_t depth = r[0] % DEPTH_MAX + 1u;
		for (size_t p = 0; p < depth; p++)
			put(at[i] + 48 + 8 * p, pcs[p] = 0x400000 + 16 * p + r[1]);
		put(at[i] + (uint64_t)l->bucket_typ, type);
		put(at[i] + (uint64_t)l->bucket_nstk, (r[3] & 1) != 0 ? r[3] : depth);
		put(at[i] + (uint64_t)l->bucket_size, r[1]);
		put(at[i] + (uint64_t)l->bucket_hash,
		    gd_shapes_bucket_hash(pcs, depth, r[1]) + ((r[3] & 2) != 0));
		put(at[i] + (uint64_t)l->bucket_allnext,
		    (r[3] & 4) != 0 ? r[2] * UINT64_C(0x0101010101010101) :
		    r[2] < n ? at[r[2]] : 0);
		for (unsigned c = 0; c < 4; c++)
			put(at[i] + 48 + 8 * depth + 32 * c,
			    (r[3] & 8) != 0 ? UINT64_MAX - r[2] : r[2] * c);
	}
	put(HEAD, n > 0 ? at[0] : 0);
	put(NUMGC, size);
}

static void check(const struct gd_profile_read *p)
{
	if (p->n > GD_PROFILE_BUCKETS_MAX || p->n_pcs > GD_PROFILE_PCS_MAX)
		abort();
	for (size_t i = 0; i < p->n; i++) {
		const struct gd_bucket *b = &p->list[i];
		if (b->depth == 0 || b->stack > p->n_pcs || b->depth > p->n_pcs - b->stack)
			abort();
		int64_t count = b->memory.allocs;
		int64_t bytes = b->memory.alloc_bytes;
		gd_profile_scale(&count, &bytes, 524288);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int minors[] = { 18, 19, 20, 22, 23, 25, 26, 27 };
	struct gd_layout layout;
	struct gd_memory *memory;
	struct gd_profile_read profile;
	struct gd_go_version version = { .patch = 3 };
	if (size < 1)
		return 0;
	version.minor = minors[data[0] & 7];
	enum gd_profile_type type = (enum gd_profile_type)(data[0] >> 3 & 3);
	memset(image, 0, sizeof(image));
	if (gd_layout_of(&version, &layout, NULL) < 0)
		abort();
	if ((data[0] & 0x80) != 0)
		cook(&layout, type, data + 1, size - 1);
	else
		memcpy(image, data + 1, size - 1 < BYTES ? size - 1 : BYTES);
	if (gd_memory_bytes(BASE, image, BYTES, &memory, NULL) < 0)
		abort();
	if (gd_profile_read(memory, &layout, type, HEAD, (data[0] & 0x40) != 0 ? NUMGC : 0,
	                    &profile, NULL) == 0) {
		check(&profile);
		gd_profile_deinit(&profile);
	}
	gd_memory_close(memory);
	return 0;
}
