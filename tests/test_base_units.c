#include "base/units.h"

#include <errno.h>
#include <string.h>

#include "tests/test.h"

#define S UINT64_C(1000000000)

static void durations_are_read_as_people_write_them(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "250ms", 250000000 },
		{ "10s", 10 * S },
		{ "10 s", 10 * S },
		{ "1m30s", 90 * S },
		{ "1.5h", 5400 * S },
		{ "0.001us", 1 },
		{ "7d", 7 * 86400 * S },
		{ "9007199254740993ns", UINT64_C(9007199254740993) }, /* 2^53 + 1: not by way of double */
		{ "9223372036854775807ns", INT64_MAX },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t ns = 77;
		struct gd_error err = { 0 };
		assert_ok(gd_units_parse_duration(good[i].text, &ns, &err), &err);
		if (ns != good[i].ns)
			fail_msg("%s became %llu ns", good[i].text, (unsigned long long)ns);
	}
}

static void what_is_no_duration_is_refused_with_advice(void **state)
{
	(void)state;
	static const char *const bad[] = { "",    " 5s", "5",    "5x",  "s",    "-5s",   "+5s",  "5s ",
		                           "5 s 3", "1h 30m", ".5s", "5.s", "1e3s", "0x10s", "infs", "nans",
		                           "5S",  "5msx", "1..5s", "5\ns" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t ns = 77;
		struct gd_error err = { 0 };
		int r = gd_units_parse_duration(bad[i], &ns, &err);
		if (r != -EINVAL)
			fail_msg("\"%s\" gave %d", bad[i], r);
		assert_contains(err.msg, "such as 250ms or 1m30s");
		assert_true(ns == 77);
	}
}

static void durations_beyond_int64_are_out_of_range(void **state)
{
	(void)state;
	static const char *const bad[] = { "9223372036854775808ns", "18446744073709551616ns", "300000d",
		                           "99999999999999999999999h", "200000000000m" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t ns = 77;
		struct gd_error err = { 0 };
		assert_fails(gd_units_parse_duration(bad[i], &ns, &err), -ERANGE, &err);
		assert_true(ns == 77);
	}
	uint64_t ns;
	assert_int_equal(gd_units_parse_duration("106751d106751d", &ns, NULL), -ERANGE);
}

static void sizes_know_both_families_of_units(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "17B", 17 },
		{ "512 KiB", 512 << 10 },
		{ "5GiB", UINT64_C(5) << 30 },
		{ "1.5MiB", 3 << 19 },
		{ "20MB", 20000000 },
		{ "1kB", 1000 },
		{ "2TB", UINT64_C(2000000000000) },
		{ "9007199254740993", UINT64_C(9007199254740993) },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t bytes = 77;
		struct gd_error err = { 0 };
		assert_ok(gd_units_parse_bytes(good[i].text, &bytes, &err), &err);
		if (bytes != good[i].bytes)
			fail_msg("%s became %llu", good[i].text, (unsigned long long)bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "GiB", "5gib", "5G", "-1", "1GiB2", "1 GiB ", "0x10", "1e9" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t bytes = 77;
		struct gd_error err = { 0 };
		int r = gd_units_parse_bytes(bad[i], &bytes, &err);
		if (r != -EINVAL)
			fail_msg("\"%s\" gave %d", bad[i], r);
		assert_contains(err.msg, "such as 5GiB");
		assert_true(bytes == 77);
	}
	uint64_t bytes = 77;
	struct gd_error err = { 0 };
	assert_fails(gd_units_parse_bytes("8388608TiB", &bytes, &err), -ERANGE, &err);
	assert_true(bytes == 77);
}

static void durations_are_printed_for_people(void **state)
{
	(void)state;
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "0 ns" },
		{ 999, "999 ns" },
		{ 1000, "1 us" },
		{ 3217000, "3.22 ms" },
		{ 999400, "999 us" },
		{ 999999, "1 ms" },
		{ 999999999, "1 s" },
		{ 14 * S, "14 s" },
		{ 125 * S, "2 m 05 s" },
		{ 3600 * S, "1 h 00 m" },
		{ UINT64_MAX, "5124095 h 34 m" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[GD_UNITS_TEXT];
		assert_string_equal(gd_units_duration(text, rows[i].ns), rows[i].text);
	}
}

static void sizes_are_printed_for_people(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1363149, "1.3 MiB" },
		{ 1048063, "1023 KiB" },
		{ 1048064, "1.0 MiB" }, /* never "1024 KiB" */
		{ UINT64_C(150) << 20, "150 MiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[GD_UNITS_TEXT];
		assert_string_equal(gd_units_bytes(text, rows[i].bytes), rows[i].text);
	}
}

static void no_answer_is_longer_than_its_array(void **state)
{
	(void)state;
	char text[GD_UNITS_TEXT + 1];
	for (int shift = 0; shift < 64; shift++)
		for (int d = -1; d <= 1; d++) {
			uint64_t v = (UINT64_C(1) << shift) + (uint64_t)d;
			text[GD_UNITS_TEXT] = 'x';
			assert_in_range(strlen(gd_units_duration(text, v)), 3, GD_UNITS_TEXT - 2);
			assert_in_range(strlen(gd_units_bytes(text, v)), 3, GD_UNITS_TEXT - 2);
			assert_int_equal(text[GD_UNITS_TEXT], 'x');
		}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(durations_are_read_as_people_write_them),
		test_case(what_is_no_duration_is_refused_with_advice),
		test_case(durations_beyond_int64_are_out_of_range),
		test_case(sizes_know_both_families_of_units),
		test_case(what_is_no_size_is_refused),
		test_case(durations_are_printed_for_people),
		test_case(sizes_are_printed_for_people),
		test_case(no_answer_is_longer_than_its_array),
	};
	return test_run(tests);
}
