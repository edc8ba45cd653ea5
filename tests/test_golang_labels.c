/*
 * Labels in a memory made by hand, in both of the forms the runtime has had.  What real programs hold
 * is compared with their own output in truth_goroutines.c.
 */
#include "golang/labels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

enum { BASE = 0x10000, SIZE = 0x40000, STRINGS = 0x20000 };

static uint8_t image[SIZE];
static size_t strings_used;

static void put_u64(uint64_t addr, uint64_t value)
{
	memcpy(image + (addr - BASE), &value, 8);
}

static void put_string(uint64_t addr, const char *text)
{
	uint64_t at = BASE + STRINGS + strings_used;
	size_t n = strlen(text);
	memcpy(image + (at - BASE), text, n);
	strings_used += n;
	put_u64(addr, at);
	put_u64(addr + 8, n);
}

static void clear(void)
{
	memset(image, 0, sizeof(image));
	strings_used = 0;
}

static struct gd_memory *load(void)
{
	struct gd_memory *memory;
	struct gd_error err = { 0 };
	assert_ok(gd_memory_bytes(BASE, image, sizeof(image), &memory, &err), &err);
	return memory;
}

static void assert_pair(const struct gd_labels *labels, size_t i, const char *key,
                        const char *value)
{
	assert_true(i < labels->n);
	assert_int_equal(labels->pairs[i].key_len, strlen(key));
	assert_memory_equal(labels->pairs[i].key, key, strlen(key));
	assert_int_equal(labels->pairs[i].value_len, strlen(value));
	assert_memory_equal(labels->pairs[i].value, value, strlen(value));
}

/* A bucket of a map: slot i holds key and value. */
static void put_slot(uint64_t bucket, unsigned i, const char *key, const char *value)
{
	image[bucket - BASE + i] = (uint8_t)(5 + i * 20); /* any used tophash */
	put_string(bucket + 8 + i * 16, key);
	put_string(bucket + 8 + 128 + i * 16, value);
}

enum { MAP_WORD = BASE, HMAP = BASE + 0x100, BUCKETS = BASE + 0x200, OLD = BASE + 0x4000 };

static void put_map(uint64_t count, uint8_t b, uint64_t old)
{
	put_u64(MAP_WORD, HMAP);
	put_u64(HMAP, count);
	image[HMAP - BASE + 9] = b;
	put_u64(HMAP + 16, BUCKETS);
	put_u64(HMAP + 24, old);
}

static void a_map_of_go_1_23_and_older_is_sorted(void **state)
{
	(void)state;
	struct gd_labels labels = GD_LABELS_INIT;
	struct gd_error err = { 0 };
	clear();
	put_map(3, 0, 0);
	put_slot(BUCKETS, 1, "user", "alice");
	put_slot(BUCKETS, 4, "handler", "");
	put_slot(BUCKETS, 7, "user_id", "7");
	GD_MEMORY struct gd_memory *memory = load();
	for (int minor = 18; minor < 24; minor++) {
		assert_ok(gd_labels_read(memory, minor, MAP_WORD, &labels, &err), &err);
		assert_int_equal(labels.n, 3);
		assert_pair(&labels, 0, "handler", "");
		assert_pair(&labels, 1, "user", "alice");
		assert_pair(&labels, 2, "user_id", "7");
		assert_false(labels.cut);
	}
	gd_labels_deinit(&labels);
}

/* Two buckets, one with an overflow bucket, and an older bucket that was not moved yet. */
static void a_map_that_was_growing_is_read_whole(void **state)
{
	(void)state;
	struct gd_labels labels = GD_LABELS_INIT;
	struct gd_error err = { 0 };
	clear();
	put_map(4, 1, OLD);
	put_slot(BUCKETS, 0, "a", "1");
	put_slot(BUCKETS + 272, 0, "b", "2");
	put_u64(BUCKETS + 272 + 264, BASE + 0x8000); /* overflow */
	put_slot(BASE + 0x8000, 3, "c", "3");
	put_slot(OLD, 2, "d", "4");
	put_slot(OLD, 5, "a", "1");
	image[OLD - BASE + 5] = 2; /* that slot went to the new buckets */
	GD_MEMORY struct gd_memory *memory = load();
	assert_ok(gd_labels_read(memory, 23, MAP_WORD, &labels, &err), &err);
	assert_int_equal(labels.n, 4);
	assert_pair(&labels, 0, "a", "1");
	assert_pair(&labels, 3, "d", "4");
	gd_labels_deinit(&labels);
}

static void a_slice_of_go_1_24_and_newer_keeps_its_order(void **state)
{
	(void)state;
	struct gd_labels labels = GD_LABELS_INIT;
	struct gd_error err = { 0 };
	clear();
	put_u64(BASE, BASE + 0x100);
	put_u64(BASE + 8, 2);
	put_u64(BASE + 16, 4);
	put_string(BASE + 0x100, "z");
	put_string(BASE + 0x110, "last");
	put_string(BASE + 0x120, "a");
	put_string(BASE + 0x130, "first");
	GD_MEMORY struct gd_memory *memory = load();
	for (int minor = 24; minor < 28; minor++) {
		assert_ok(gd_labels_read(memory, minor, BASE, &labels, &err), &err);
		assert_int_equal(labels.n, 2);
		assert_pair(&labels, 0, "z", "last");
		assert_pair(&labels, 1, "a", "first");
	}
	assert_ok(gd_labels_read(memory, 24, 0, &labels, &err), &err);
	assert_int_equal(labels.n, 0);
	gd_labels_deinit(&labels);
}

static void more_than_our_limits_is_cut_and_says_so(void **state)
{
	(void)state;
	struct gd_labels labels = GD_LABELS_INIT;
	struct gd_error err = { 0 };
	clear();
	put_u64(BASE, BASE + 0x100);
	put_u64(BASE + 8, GD_LABELS_MAX + 10);
	put_u64(BASE + 16, GD_LABELS_MAX + 10);
	for (unsigned i = 0; i < GD_LABELS_MAX + 10; i++) {
		char key[16];
		(void)snprintf(key, sizeof(key), "k%u", i);
		put_string(BASE + 0x100 + i * 32, key);
		put_string(BASE + 0x110 + i * 32, "v");
	}
	GD_MEMORY struct gd_memory *memory = load();
	assert_ok(gd_labels_read(memory, 27, BASE, &labels, &err), &err);
	assert_int_equal(labels.n, GD_LABELS_MAX);
	assert_true(labels.cut);

	/* one value longer than all room there is */
	put_u64(BASE + 8, 1);
	put_u64(BASE + 0x118, GD_LABELS_BYTES_MAX * 2);
	gd_memory_close(memory);
	memory = load();
	assert_ok(gd_labels_read(memory, 27, BASE, &labels, &err), &err);
	assert_int_equal(labels.n, 1);
	assert_true(labels.cut);
	assert_int_equal(labels.pairs[0].key_len + labels.pairs[0].value_len, GD_LABELS_BYTES_MAX);
	gd_labels_deinit(&labels);
}

static void refuse(int minor, int code)
{
	struct gd_labels labels = GD_LABELS_INIT;
	struct gd_error err = { 0 };
	GD_MEMORY struct gd_memory *memory = load();
	assert_fails(gd_labels_read(memory, minor, BASE, &labels, &err), code, &err);
	assert_int_equal(labels.n, 0);
	gd_labels_deinit(&labels);
}

static void hostile_counts_and_circles_are_refused(void **state)
{
	(void)state;
	clear();
	put_u64(BASE, BASE + 0x100); /* a slice longer than its room */
	put_u64(BASE + 8, 5);
	put_u64(BASE + 16, 4);
	refuse(25, -EBADMSG);
	put_u64(BASE + 16, UINT64_MAX);
	put_u64(BASE + 8, UINT64_MAX);
	refuse(25, -EBADMSG);
	put_u64(BASE, 0x100); /* nothing there */
	put_u64(BASE + 8, 4);
	put_u64(BASE + 16, 4);
	refuse(25, -EFAULT);

	clear();
	put_map(1, 63, 0); /* 2^63 buckets */
	refuse(22, -EBADMSG);
	put_map(UINT64_MAX, 0, 0);
	refuse(22, -EBADMSG);
	put_map(1, 0, 0); /* says one, holds none */
	refuse(22, -EBADMSG);
	put_u64(BUCKETS + 264, BUCKETS); /* the overflow bucket is itself */
	refuse(22, -EBADMSG);
	put_map(1, 0, 0);
	put_u64(HMAP + 16, 0x50);
	refuse(22, -EFAULT);
	put_slot(BUCKETS, 0, "k", "v"); /* a string of 2^60 bytes */
	put_map(1, 0, 0);
	put_u64(BUCKETS + 264, 0);
	put_u64(BUCKETS + 16, UINT64_C(1) << 60);
	refuse(22, -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_map_of_go_1_23_and_older_is_sorted),
		test_case(a_map_that_was_growing_is_read_whole),
		test_case(a_slice_of_go_1_24_and_newer_keeps_its_order),
		test_case(more_than_our_limits_is_cut_and_says_so),
		test_case(hostile_counts_and_circles_are_refused),
	};
	return test_run(tests);
}
