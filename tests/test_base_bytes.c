#include "base/bytes.h"

#include <string.h>

#include "tests/test.h"

static void reads_little_endian_at_any_alignment(void **state)
{
	(void)state;
	static const uint8_t raw[] = { 0xff, 0x02, 0x01, 0x04, 0x03, 0x02, 0x01, 8, 7,
		                       6,    5,    4,    3,    2,    1,    0xfe, 0xff, 0xff, 0xff };
	struct gd_bytes b = gd_bytes_of(raw, sizeof(raw));
	assert_int_equal(gd_bytes_u8(&b), 0xff);
	assert_int_equal(gd_bytes_u16(&b), 0x0102);
	assert_int_equal(gd_bytes_u32(&b), 0x01020304);
	assert_true(gd_bytes_u64(&b) == UINT64_C(0x0102030405060708));
	assert_int_equal(gd_bytes_i32(&b), -2);
	assert_int_equal(b.pos, sizeof(raw));
	assert_false(b.bad);
	assert_true(gd_load_u64(raw + 7) == UINT64_C(0x0102030405060708));
	assert_int_equal(gd_load_u32(raw + 3), 0x01020304);
}

static void a_read_past_the_end_is_zero_and_sticks(void **state)
{
	(void)state;
	static const uint8_t raw[] = { 1, 2, 3 };
	struct gd_bytes b = gd_bytes_of(raw, sizeof(raw));
	assert_int_equal(gd_bytes_u32(&b), 0);
	assert_true(b.bad);
	assert_int_equal(b.pos, 0); /* nothing was consumed */
	assert_int_equal(gd_bytes_u8(&b), 0);
	assert_null(gd_bytes_take(&b, 1));
	assert_null(gd_bytes_take(&b, 0));
}

static void no_size_wraps_around(void **state)
{
	(void)state;
	static const uint8_t raw[8] = { 0 };
	struct gd_bytes b = gd_bytes_of(raw, sizeof(raw));
	gd_bytes_seek(&b, 4);
	assert_null(gd_bytes_take(&b, SIZE_MAX));
	assert_true(b.bad);
	b = gd_bytes_of(raw, sizeof(raw));
	gd_bytes_seek(&b, 8);
	assert_false(b.bad);
	gd_bytes_seek(&b, 9);
	assert_true(b.bad);
	assert_int_equal(b.pos, 8);
}

static void nothing_of_nothing_is_not_an_error(void **state)
{
	(void)state;
	struct gd_bytes b = gd_bytes_of(NULL, 0);
	assert_non_null(gd_bytes_take(&b, 0));
	assert_false(b.bad);
	assert_null(gd_bytes_take(&b, 1));
	assert_true(b.bad);
}

static uint64_t uvarint(const void *raw, size_t n, bool *bad, size_t *used)
{
	struct gd_bytes b = gd_bytes_of(raw, n);
	uint64_t v = gd_bytes_uvarint(&b);
	*bad = b.bad;
	*used = b.pos;
	return v;
}

static void uvarints_are_read_to_their_last_byte(void **state)
{
	(void)state;
	static const struct {
		const char *raw;
		size_t n;
		uint64_t value;
	} good[] = {
		{ "\x00", 1, 0 },
		{ "\x7f", 1, 127 },
		{ "\x80\x01", 2, 128 },
		{ "\xac\x02", 2, 300 },
		{ "\x80\x80\x00", 3, 0 }, /* longer than needed, still a number */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, UINT64_MAX },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		bool bad;
		size_t used;
		assert_true(uvarint(good[i].raw, good[i].n, &bad, &used) == good[i].value);
		assert_false(bad);
		assert_int_equal(used, good[i].n);
	}
}

static void uvarints_that_do_not_end_or_fit_are_bad(void **state)
{
	(void)state;
	static const struct {
		const char *raw;
		size_t n;
	} wrong[] = {
		{ "", 0 },
		{ "\x80", 1 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },     /* bit 64 */
		{ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11 }, /* an eleventh byte */
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		bool bad;
		size_t used;
		assert_true(uvarint(wrong[i].raw, wrong[i].n, &bad, &used) == 0);
		assert_true(bad);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(reads_little_endian_at_any_alignment),
		test_case(a_read_past_the_end_is_zero_and_sticks),
		test_case(no_size_wraps_around),
		test_case(nothing_of_nothing_is_not_an_error),
		test_case(uvarints_are_read_to_their_last_byte),
		test_case(uvarints_that_do_not_end_or_fit_are_bad),
	};
	return test_run(tests);
}
