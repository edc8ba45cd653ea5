#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

static void numbers_are_printed_as_printf_would(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	for (int shift = 0; shift < 64; shift++)
		for (int d = -1; d <= 1; d++) {
			uint64_t v = (UINT64_C(1) << shift) + (uint64_t)d;
			char expected[64];
			(void)snprintf(expected, sizeof(expected), "%" PRIu64 " 0x%" PRIx64, v, v);
			gd_buf_reset(&buf);
			gd_text_put_u64(&buf, v);
			gd_buf_putc(&buf, ' ');
			gd_text_put_hex(&buf, v);
			assert_string_equal(gd_buf_str(&buf), expected);
		}
}

static void utf8_sequences_are_measured(void **state)
{
	(void)state;
	assert_int_equal(gd_text_utf8_len("a", 1), 1);
	assert_int_equal(gd_text_utf8_len("\xc2\xa0", 2), 2);
	assert_int_equal(gd_text_utf8_len("\xe2\x82\xac", 3), 3);
	assert_int_equal(gd_text_utf8_len("\xf0\x9f\x98\x80", 4), 4);
	assert_int_equal(gd_text_utf8_len("", 0), 0);
	assert_int_equal(gd_text_utf8_len("\xe2\x82\xac", 2), 0); /* cut */
	assert_int_equal(gd_text_utf8_len("\xc1\xbf", 2), 0);     /* overlong */
	assert_int_equal(gd_text_utf8_len("\xe0\x9f\xbf", 3), 0);
	assert_int_equal(gd_text_utf8_len("\xf0\x8f\xbf\xbf", 4), 0);
	assert_int_equal(gd_text_utf8_len("\xed\xa0\x80", 3), 0); /* surrogate */
	assert_int_equal(gd_text_utf8_len("\xf4\x90\x80\x80", 4), 0);
	assert_int_equal(gd_text_utf8_len("\xf5\x80\x80\x80", 4), 0);
	assert_int_equal(gd_text_utf8_len("\x80", 1), 0);
}

static void foreign_bytes_cannot_reach_the_terminal(void **state)
{
	(void)state;
	static const struct {
		const char *raw;
		const char *text;
	} rows[] = {
		{ "plain text", "plain text" },
		{ "a\nb\tc", "a\\x0ab\\x09c" },
		{ "\x1b[31mred", "\\x1b[31mred" },
		{ "back\\slash", "back\\\\slash" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m" }, /* CSI as one C1 control */
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\x7f", "\\x7f" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
		gd_text_put_escaped(&buf, rows[i].raw, strlen(rows[i].raw));
		assert_string_equal(gd_buf_str(&buf), rows[i].text);
	}
}

static void escaped_text_is_cut_to_its_array(void **state)
{
	(void)state;
	char to[16];
	gd_text_escape(to, sizeof(to), "fifteen letters", 15);
	assert_string_equal(to, "fifteen letters");
	gd_text_escape(to, sizeof(to), "sixteen letters!", 16);
	assert_string_equal(to, "sixteen lett...");
	gd_text_escape(to, sizeof(to), "a\0b", 3);
	assert_string_equal(to, "a\\x00b");
	gd_text_escape(to, sizeof(to), NULL, 0);
	assert_string_equal(to, "");
}

static void cutting_leaves_whole_characters(void **state)
{
	(void)state;
	char to[16];
	gd_text_escape(to, sizeof(to), "elevenchars\xe2\x82\xac\xe2\x82\xac", 17);
	assert_string_equal(to, "elevenchars...");
}

static void tiny_arrays_are_still_terminated(void **state)
{
	(void)state;
	for (size_t size = 0; size <= 5; size++) {
		char to[8];
		memset(to, 'Z', sizeof(to));
		gd_text_escape(to, size, "a long text", 11);
		if (size > 0)
			assert_int_equal(strnlen(to, sizeof(to)), size - 1);
		assert_int_equal(to[size], 'Z');
		assert_null(memchr(to, 'Z', size));
	}
}

static void numbers_end_where_they_say(void **state)
{
	(void)state;
	const char *end;
	uint64_t v;
	assert_true(gd_text_u64("123-", &end, 10, &v));
	assert_true(v == 123);
	assert_string_equal(end, "-");
	assert_true(gd_text_u64("7f12A0 r", &end, 16, &v));
	assert_true(v == 0x7f12a0);
	assert_string_equal(end, " r");
	assert_true(gd_text_u64("0789", &end, 8, &v));
	assert_true(v == 7);
	assert_string_equal(end, "89");
	assert_true(gd_text_u64("18446744073709551615", NULL, 10, &v));
	assert_true(v == UINT64_MAX);
}

static void what_is_no_number_leaves_everything_untouched(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int base;
	} bad[] = { { "", 10 },  { "-1", 10 }, { " 1", 10 }, { "x", 16 },
		    { "18446744073709551616", 10 }, { "10000000000000000", 16 }, { "9", 8 } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *end = "untouched";
		uint64_t v = 77;
		assert_false(gd_text_u64(bad[i].text, &end, bad[i].base, &v));
		assert_true(v == 77);
		assert_string_equal(end, "untouched");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(numbers_are_printed_as_printf_would),
		test_case(utf8_sequences_are_measured),
		test_case(foreign_bytes_cannot_reach_the_terminal),
		test_case(escaped_text_is_cut_to_its_array),
		test_case(cutting_leaves_whole_characters),
		test_case(tiny_arrays_are_still_terminated),
		test_case(numbers_end_where_they_say),
		test_case(what_is_no_number_leaves_everything_untouched),
	};
	return test_run(tests);
}
