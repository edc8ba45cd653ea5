/*
 * Buckets made up in memory, right ones and such as no runtime would make.  Whether real ones come
 * out as Go writes them is asked by test_collectors_heap.c and test_collectors_contention.c.
 */
#include "golang/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "golang/go_version.h"
#include "golang/shapes.h"
#include "tests/test.h"

enum { BASE = 0x7f0000000000, BYTES = 1 << 16, HEAD = BASE, NUMGC = BASE + 8, FIRST = BASE + 64 };

struct image {
	struct gd_memory memory; /* first: the memory is the image */
	struct gd_layout layout;
	uint8_t bytes[BYTES];
	size_t used;
	uint64_t newest;
	uint64_t restless; /* this word grows with each read of it, `left` times */
	unsigned left;
};

static void put(struct image *image, uint64_t addr, uint64_t value)
{
	assert_true(addr >= BASE && addr + 8 <= BASE + BYTES);
	memcpy(image->bytes + (addr - BASE), &value, sizeof(value));
}

static uint64_t get(const struct image *image, uint64_t addr)
{
	uint64_t value;
	memcpy(&value, image->bytes + (addr - BASE), sizeof(value));
	return value;
}

static ssize_t image_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	struct image *image = (struct image *)memory;
	if (addr < BASE || addr >= BASE + BYTES)
		return 0;
	size_t n = BASE + BYTES - addr < len ? BASE + BYTES - addr : len;
	if (image->left > 0 && addr <= image->restless && image->restless < addr + n) {
		put(image, image->restless, get(image, image->restless) + 1);
		image->left--;
	}
	memcpy(to, image->bytes + (addr - BASE), n);
	return (ssize_t)n;
}

static const struct gd_memory_ops image_ops = { .kind = "test", .read = image_read };

static struct image *new_image(const char *version)
{
	static struct image image;
	struct gd_go_version parsed;
	struct gd_error err = { 0 };
	memset(&image, 0, sizeof(image));
	image.memory.ops = &image_ops;
	image.used = FIRST - BASE;
	assert_ok(gd_go_version_parse(version, &parsed, &err), &err);
	assert_ok(gd_layout_of(&parsed, &image.layout, &err), &err);
	return &image;
}

/* Puts a bucket at the head of the list, its counters 0; returns the address of its record. */
static uint64_t add_bucket(struct image *image, uint64_t type, uint64_t size, const uint64_t *pcs,
                           size_t n)
{
	const struct gd_layout *l = &image->layout;
	uint64_t addr = BASE + image->used;
	put(image, addr + (uint64_t)l->bucket_allnext, image->newest);
	put(image, addr + (uint64_t)l->bucket_typ, type);
	put(image, addr + (uint64_t)l->bucket_hash, gd_shapes_bucket_hash(pcs, n, size));
	put(image, addr + (uint64_t)l->bucket_size, size);
	put(image, addr + (uint64_t)l->bucket_nstk, n);
	for (size_t i = 0; i < n; i++)
		put(image, addr + 48 + 8 * i, pcs[i]);
	image->newest = addr;
	put(image, HEAD, addr);
	image->used += 48 + 8 * n + 128;
	return addr + 48 + 8 * n;
}

static int read_profile(struct image *image, enum gd_profile_type type,
                        struct gd_profile_read *ret, struct gd_error *err)
{
	return gd_profile_read(&image->memory, &image->layout, type, HEAD, NUMGC, ret, err);
}

static const uint64_t pcs[] = { 0x401000, 0x402000, 0x403000, 0x404000, 0x405000 };

static void an_empty_list_is_no_error(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	(void)state;
	assert_ok(read_profile(new_image("go1.22.5"), GD_PROFILE_MEMORY, &p, &err), &err);
	assert_int_equal(p.n, 0);
	assert_true(p.consistent);
	assert_false(p.unpublished);
	assert_int_equal(p.why.code, 0);
}

static void buckets_come_newest_first(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t old = add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	uint64_t new = add_bucket(image, GD_PROFILE_MEMORY, 4096, pcs + 1, 3);
	put(image, old, 10);         /* allocs */
	put(image, old + 8, 4);      /* frees */
	put(image, old + 16, 640);   /* alloc_bytes */
	put(image, old + 24, 256);   /* free_bytes */
	put(image, new, 1);
	put(image, new + 16, 4096);

	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_int_equal(p.n, 2);
	assert_int_equal(p.n_pcs, 5);
	assert_int_equal(p.list[0].size, 4096);
	assert_int_equal(p.list[0].depth, 3);
	assert_memory_equal(p.pcs + p.list[0].stack, pcs + 1, 3 * sizeof(pcs[0]));
	assert_int_equal(p.list[0].memory.allocs, 1);
	assert_int_equal(p.list[1].size, 64);
	assert_memory_equal(p.pcs + p.list[1].stack, pcs, 2 * sizeof(pcs[0]));
	assert_int_equal(p.list[1].memory.allocs, 10);
	assert_int_equal(p.list[1].memory.frees, 4);
	assert_int_equal(p.list[1].memory.alloc_bytes, 640);
	assert_int_equal(p.list[1].memory.free_bytes, 256);
	assert_true(p.consistent);
	assert_int_equal(p.repeated, 0);
	assert_int_equal(p.why.code, 0);
}

static void go_1_27_counts_objects_only(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.27.3");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 48, pcs, 1);
	put(image, record, 10);
	put(image, record + 8, 4);
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_int_equal(p.list[0].memory.alloc_bytes, 480);
	assert_int_equal(p.list[0].memory.free_bytes, 192);
}

/* Between the end of a collection and the moment it has published the profile. */
static void the_cycle_that_just_ended_is_published_as_go_does(void **state)
{
	struct gd_error err = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 8, pcs, 1);
	put(image, record, 100);
	for (uint64_t cycle = 0; cycle < 3; cycle++) {
		put(image, record + 32 + 32 * cycle, cycle + 1);            /* allocs */
		put(image, record + 32 + 32 * cycle + 16, 8 * (cycle + 1)); /* alloc_bytes */
	}
	for (uint64_t numgc = 0; numgc < 7; numgc++) {
		GD_PROFILE struct gd_profile_read p = { 0 };
		put(image, NUMGC, numgc);
		assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
		assert_int_equal(p.list[0].memory.allocs, 100 + numgc % 3 + 1);
	}
}

static void before_the_first_collection_all_cycles_count(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 8, pcs, 1);
	put(image, record + 32 + 32 * 2, 5); /* allocs of cycle 2: what is being counted */
	put(image, record + 32 + 32 * 1, 2);
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_true(p.unpublished);
	assert_true(p.consistent);
	assert_int_equal(p.list[0].memory.allocs, 7);
}

static void waiting_is_counted_in_parts_of_events(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	double count = 2.75;
	uint64_t word;
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_BLOCK, 0, pcs, 5);
	memcpy(&word, &count, sizeof(word));
	put(image, record, word);
	put(image, record + 8, 123456789);
	assert_ok(read_profile(image, GD_PROFILE_BLOCK, &p, &err), &err);
	assert_int_equal(p.n, 1);
	assert_true(p.list[0].block.count == count);
	assert_int_equal(p.list[0].block.cycles, 123456789);
}

static void what_moves_is_read_again(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	put(image, record, 10);
	image->restless = record;
	image->left = 3;
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_true(p.consistent);
	assert_true(p.repeated > 0);
	assert_int_equal(p.list[0].memory.allocs, 13);
}

static void what_never_rests_is_told(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	put(image, record, 10);
	image->restless = record;
	image->left = 1000;
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_false(p.consistent);
	assert_int_equal(p.n, 1);
}

static void a_collection_meanwhile_is_seen(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	put(image, record, 10);
	image->restless = NUMGC;
	image->left = 1000;
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_false(p.consistent);
}

static void a_head_that_is_no_bucket_is_ebadmsg(void **state)
{
	struct gd_error err = { 0 };
	struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	put(image, HEAD, FIRST);
	assert_fails(read_profile(image, GD_PROFILE_MEMORY, &p, &err), -EBADMSG, &err);
	assert_contains(err.msg, "no bucket");
	assert_null(p.list);
	(void)add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	assert_fails(read_profile(image, GD_PROFILE_MUTEX, &p, &err), -EBADMSG, &err);
	put(image, HEAD, 0x1000);
	assert_fails(read_profile(image, GD_PROFILE_MEMORY, &p, &err), -EFAULT, &err);
}

static void a_wrong_hash_ends_the_list(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	(void)add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	uint64_t record = add_bucket(image, GD_PROFILE_MEMORY, 128, pcs, 3);
	(void)add_bucket(image, GD_PROFILE_MEMORY, 256, pcs, 4);
	put(image, record - 8, pcs[4]); /* the middle one's last frame */
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_int_equal(p.n, 1);
	assert_int_equal(p.n_pcs, 4);
	assert_int_equal(p.why.code, -EBADMSG);
	assert_contains(p.why.msg, "hash");
}

static void a_list_that_leads_nowhere_keeps_what_was_read(void **state)
{
	struct gd_error err = { 0 };
	GD_PROFILE struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	image->newest = 0x1234000;
	(void)add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
	assert_ok(read_profile(image, GD_PROFILE_MEMORY, &p, &err), &err);
	assert_int_equal(p.n, 1);
	assert_int_equal(p.why.code, -EFAULT);
}

static void a_circle_is_ebadmsg(void **state)
{
	struct gd_error err = { 0 };
	struct gd_profile_read p = { 0 };
	(void)state;
	for (size_t length = 1; length < 20; length++) {
		struct image *image = new_image("go1.22.5");
		uint64_t oldest = BASE + image->used;
		for (size_t i = 0; i < length; i++)
			(void)add_bucket(image, GD_PROFILE_MEMORY, 64 + i, pcs, 2);
		put(image, oldest + (uint64_t)image->layout.bucket_allnext, image->newest);
		assert_fails(read_profile(image, GD_PROFILE_MEMORY, &p, &err), -EBADMSG, &err);
		assert_contains(err.msg, "circle");
	}
}

static void absurd_depths_are_refused(void **state)
{
	static const uint64_t depths[] = { 0, GD_PROFILE_DEPTH_MAX + 1, UINT64_MAX };
	struct gd_error err = { 0 };
	struct gd_profile_read p = { 0 };
	(void)state;
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		struct image *image = new_image("go1.22.5");
		(void)add_bucket(image, GD_PROFILE_MEMORY, 64, pcs, 2);
		put(image, image->newest + (uint64_t)image->layout.bucket_nstk, depths[i]);
		assert_fails(read_profile(image, GD_PROFILE_MEMORY, &p, &err), -EBADMSG, &err);
	}
}

static void an_unknown_layout_is_enotsup(void **state)
{
	struct gd_error err = { 0 };
	struct gd_profile_read p = { 0 };
	struct image *image = new_image("go1.22.5");
	(void)state;
	image->layout.memrec_active = GD_ABSENT;
	assert_fails(read_profile(image, GD_PROFILE_MEMORY, &p, &err), -ENOTSUP, &err);
}

/* The right column was printed by runtime/pprof's scaleHeapSample. */
static void samples_are_scaled_as_go_scales_them(void **state)
{
	static const int64_t cases[][5] = {
		{ 1, 64, 524288, 8192, 524320 },
		{ 3, 12288, 524288, 385, 1579015 },
		{ 7, 7340032, 524288, 8, 8488876 },
		{ 100, 1600, 1, 100, 1600 },
		{ 5, 0, 524288, 0, 0 },
		{ 0, 5, 524288, 0, 0 },
		{ 2, 1048576, 4096, 2, 1048576 },
		{ -1, -64, 524288, -8192, -524320 },
		{ 12345, 592560, 524288, 134846492, 6472631644 },
		{ 1, 33554432, 524288, 1, 33554432 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t count = cases[i][0];
		int64_t bytes = cases[i][1];
		gd_profile_scale(&count, &bytes, cases[i][2]);
		assert_int_equal(count, cases[i][3]);
		assert_int_equal(bytes, cases[i][4]);
	}
}

static void hostile_counts_do_not_overflow(void **state)
{
	int64_t count = INT64_MAX;
	int64_t bytes = 1;
	(void)state;
	gd_profile_scale(&count, &bytes, INT64_MAX);
	assert_int_equal(count, INT64_MAX);
	count = INT64_MIN;
	bytes = 1;
	gd_profile_scale(&count, &bytes, 524288);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_empty_list_is_no_error),
		test_case(buckets_come_newest_first),
		test_case(go_1_27_counts_objects_only),
		test_case(the_cycle_that_just_ended_is_published_as_go_does),
		test_case(before_the_first_collection_all_cycles_count),
		test_case(waiting_is_counted_in_parts_of_events),
		test_case(what_moves_is_read_again),
		test_case(what_never_rests_is_told),
		test_case(a_collection_meanwhile_is_seen),
		test_case(a_head_that_is_no_bucket_is_ebadmsg),
		test_case(a_wrong_hash_ends_the_list),
		test_case(a_list_that_leads_nowhere_keeps_what_was_read),
		test_case(a_circle_is_ebadmsg),
		test_case(absurd_depths_are_refused),
		test_case(an_unknown_layout_is_enotsup),
		test_case(samples_are_scaled_as_go_scales_them),
		test_case(hostile_counts_do_not_overflow),
	};
	return test_run(tests);
}
