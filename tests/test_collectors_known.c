#include "collectors/known.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

static struct gd_known *make(size_t entries, size_t bytes)
{
	struct gd_known *known = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_known_create(entries, bytes, &known, &err), &err);
	return known;
}

static void every_key_keeps_its_own_number(void **state)
{
	(void)state;
	struct gd_known *known = make(100000, 1 << 20);
	char key[16];
	for (uint64_t i = 1; i <= 50000; i++) {
		int n = snprintf(key, sizeof(key), "key %lu", (unsigned long)i);
		assert_null(gd_known_find(known, key, (size_t)n));
		uint64_t *number = gd_known_slot(known, key, (size_t)n);
		assert_non_null(number);
		assert_int_equal(*number, 0);
		*number = i;
	}
	for (uint64_t i = 1; i <= 50000; i++) {
		int n = snprintf(key, sizeof(key), "key %lu", (unsigned long)i);
		uint64_t *number = gd_known_find(known, key, (size_t)n);
		assert_non_null(number);
		assert_int_equal(*number, i);
		assert_ptr_equal(gd_known_slot(known, key, (size_t)n), number);
	}
	gd_known_destroy(known);
}

/* Bytes count, not strings: prefixes, embedded zeros and the empty key are all different. */
static void keys_are_bytes(void **state)
{
	(void)state;
	struct gd_known *known = make(100, 1000);
	static const struct {
		const char *bytes;
		size_t n;
	} keys[] = { { "", 0 }, { "\0", 1 }, { "\0\0", 2 }, { "a", 1 }, { "a\0", 2 }, { "a\0b", 3 },
		     { "12345678", 8 }, { "123456789", 9 }, { "\0\0\0\0\0\0\0\0", 8 } };
	for (size_t i = 0; i < 9; i++)
		*gd_known_slot(known, keys[i].bytes, keys[i].n) = i + 1;
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(*gd_known_find(known, keys[i].bytes, keys[i].n), i + 1);
	const void *key;
	size_t cursor = 0, n, i = 0;
	uint64_t number;
	for (; gd_known_next(known, &cursor, &key, &n, &number); i++) {
		assert_int_equal(n, keys[i].n);
		assert_memory_equal(key, keys[i].bytes, n);
		assert_int_equal(number, i + 1);
	}
	assert_int_equal(i, 9);
	gd_known_destroy(known);
}

static void a_full_table_is_emptied_by_the_next_new_key(void **state)
{
	(void)state;
	struct gd_known *known = make(4, 1000);
	for (uint64_t i = 0; i < 4; i++) {
		assert_false(gd_known_full(known, 8));
		*gd_known_slot(known, &i, 8) = i + 1;
	}
	assert_true(gd_known_full(known, 8));
	uint64_t key = 2;
	assert_int_equal(*gd_known_slot(known, &key, 8), 3); /* an old one does no harm */
	key = 99;
	assert_int_equal(*gd_known_slot(known, &key, 8), 0);
	key = 2;
	assert_null(gd_known_find(known, &key, 8));
	gd_known_destroy(known);

	known = make(1000, 20); /* by bytes */
	*gd_known_slot(known, "0123456789", 10) = 1;
	assert_true(gd_known_full(known, 11));
	*gd_known_slot(known, "abcdefghijk", 11) = 2;
	assert_null(gd_known_find(known, "0123456789", 10));
	assert_null(gd_known_slot(known, "longer than all there is", 24));
	assert_int_equal(*gd_known_find(known, "abcdefghijk", 11), 2);
	gd_known_clear(known);
	assert_null(gd_known_find(known, "abcdefghijk", 11));
	gd_known_destroy(known);
}

static void impossible_sizes_are_refused(void **state)
{
	(void)state;
	struct gd_known *known = NULL;
	struct gd_error err = { 0 };
	assert_fails(gd_known_create(0, 10, &known, &err), -EINVAL, &err);
	assert_fails(gd_known_create(SIZE_MAX, 10, &known, &err), -EINVAL, &err);
	assert_fails(gd_known_create(10, SIZE_MAX, &known, &err), -EINVAL, &err);
	assert_null(known);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_key_keeps_its_own_number),
		test_case(keys_are_bytes),
		test_case(a_full_table_is_emptied_by_the_next_new_key),
		test_case(impossible_sizes_are_refused),
	};
	return test_run(tests);
}
