#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "collectors/core.h"

static bool all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

#define BASE UINT64_C(0xc000000000)
#define PAGE GD_IMAGE_PAGE
#define CHUNK GD_IMAGE_CHUNK

/* Of another chunk, over the begin of ours, inside, and over its end. */
static const struct gd_range ranges[] = {
	{ BASE - 4 * CHUNK, BASE - 3 * CHUNK },
	{ BASE - PAGE, BASE + PAGE },
	{ BASE + 70 * PAGE, BASE + 72 * PAGE },
	{ BASE + CHUNK - PAGE, BASE + 9 * CHUNK },
};

static void check_bytes(const uint8_t *bytes)
{
	assert_true(all_are(bytes, PAGE, 0));
	assert_true(all_are(bytes + PAGE, 69 * PAGE, 7));
	assert_true(all_are(bytes + 70 * PAGE, 2 * PAGE, 0));
	assert_true(all_are(bytes + 72 * PAGE, 183 * PAGE, 7));
	assert_true(all_are(bytes + 255 * PAGE, PAGE, 0));
}

static void what_is_to_be_zeros_is(void **state)
{
	(void)state;
	uint8_t *bytes = malloc(CHUNK);
	memset(bytes, 7, CHUNK);
	gd_core_zero(ranges, 0, BASE, bytes);
	assert_true(all_are(bytes, CHUNK, 7));
	gd_core_zero(ranges, 4, BASE, bytes);
	check_bytes(bytes);
	assert_false(gd_core_is_empty(bytes));
	gd_core_zero(ranges, 4, BASE + CHUNK, bytes);
	assert_true(gd_core_is_empty(bytes));
	bytes[CHUNK - 1] = 1;
	assert_false(gd_core_is_empty(bytes));
	free(bytes);
}

static void what_is_left_out_is_not_kept(void **state)
{
	(void)state;
	uint64_t pages[4] = { UINT64_MAX, UINT64_MAX, 0, UINT64_MAX };
	uint8_t *bytes = malloc(CHUNK);
	memset(bytes, 7, CHUNK);
	gd_core_leave_out(ranges, 4, BASE, bytes, pages);
	check_bytes(bytes);
	assert_int_equal(pages[0], UINT64_MAX - 1);
	assert_int_equal(pages[1], UINT64_MAX & ~(UINT64_C(3) << 6));
	assert_int_equal(pages[2], 0);
	assert_int_equal(pages[3], UINT64_MAX >> 1);
	free(bytes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_is_to_be_zeros_is),
		test_case(what_is_left_out_is_not_kept),
	};
	return test_run(tests);
}
