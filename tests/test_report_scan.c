#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "report/scan.h"

static struct gd_scan scan_of(const char *text)
{
	return gd_scan_of(text, strlen(text));
}

static void values_come_out_as_they_are(void **state)
{
	(void)state;
	struct gd_scan s = scan_of(" { \"a\" : 7 , \"b\":-12,\"c\":\"x\\\"y\",\"d\":true,\"e\":1.5e3,"
	                           "\"f\":null,\"g\":[1,2,[3]],\"h\":{\"i\":{}} } ");
	struct gd_scan_text key;
	int64_t sum = 0;
	assert_true(gd_scan_object(&s));
	assert_true(gd_scan_key(&s, &key) && gd_scan_is(&key, "a"));
	assert_int_equal(gd_scan_i64(&s), 7);
	assert_true(gd_scan_key(&s, &key));
	assert_int_equal(gd_scan_i64(&s), -12);
	assert_true(gd_scan_key(&s, &key));
	struct gd_scan_text text = gd_scan_string(&s);
	assert_true(gd_scan_is(&text, "x\\\"y"));
	assert_true(gd_scan_key(&s, &key));
	assert_true(gd_scan_bool(&s));
	assert_true(gd_scan_key(&s, &key));
	assert_true(gd_scan_double(&s) == 1500.0);
	assert_true(gd_scan_key(&s, &key));
	assert_int_equal(gd_scan_peek(&s), 'n');
	assert_int_equal(gd_scan_i64(&s), 0);
	assert_true(gd_scan_key(&s, &key) && gd_scan_is(&key, "g"));
	assert_true(gd_scan_array(&s));
	for (int i = 0; gd_scan_item(&s); i++)
		sum += gd_scan_peek(&s) == '0' ? gd_scan_i64(&s) : (gd_scan_skip(&s), 100);
	assert_int_equal(sum, 103);
	assert_true(gd_scan_key(&s, &key) && gd_scan_is(&key, "h"));
	gd_scan_skip(&s);
	assert_false(gd_scan_key(&s, &key));
	assert_false(s.bad);
	assert_int_equal(s.depth, 0);
}

static void another_type_is_skipped_and_counts_as_empty(void **state)
{
	(void)state;
	struct gd_scan s = scan_of("[\"x\",{\"a\":[]},7,[1,2],true]");
	assert_true(gd_scan_array(&s));
	assert_true(gd_scan_item(&s));
	assert_int_equal(gd_scan_i64(&s), 0);
	assert_true(gd_scan_item(&s));
	assert_int_equal(gd_scan_string(&s).n, 0);
	assert_true(gd_scan_item(&s));
	assert_false(gd_scan_bool(&s));
	assert_true(gd_scan_item(&s));
	assert_true(gd_scan_double(&s) == 0);
	assert_true(gd_scan_item(&s));
	assert_int_equal(gd_scan_string(&s).n, 0);
	assert_false(gd_scan_item(&s));
	assert_false(s.bad);
}

static void nonsense_sticks(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{a:1}", "{\"a\":1 \"b\":2}",
		"{\"a\":tru}", "{\"a\":]}", "{\"a\":\"x", "{\"a\":\"x\\\"}", "{\"a\":[1 2]}",
		"{\"a\":{]}", "[1]", "7", "{\"a\":-}}", "{,\"a\":1}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_scan s = scan_of(bad[i]);
		struct gd_scan_text key;
		int turns = 0;
		(void)gd_scan_object(&s);
		while (gd_scan_key(&s, &key) && turns++ < 100)
			gd_scan_skip(&s);
		/* "-" alone is taken for a number: what follows it is what is wrong */
		if (!s.bad && strcmp(bad[i], "{\"a\":-}}") != 0)
			fail_msg("%s", bad[i]);
		assert_true(turns < 100);
		assert_int_equal(gd_scan_i64(&s), 0);
	}
}

static void nesting_is_capped(void **state)
{
	(void)state;
	char text[4001];
	memset(text, '[', 2000);
	memset(text + 2000, ']', 2000);
	text[4000] = '\0';
	struct gd_scan s = scan_of(text);
	gd_scan_skip(&s);
	assert_true(s.bad);
	s = scan_of(text + 1985);
	s.end = text + 2015;
	gd_scan_skip(&s);
	assert_false(s.bad);
}

static void numbers_saturate(void **state)
{
	(void)state;
	struct gd_scan s = scan_of("[9223372036854775807,9223372036854775808,18446744073709551616,"
	                           "-99999999999999999999]");
	assert_true(gd_scan_array(&s));
	for (int i = 0; i < 3; i++) {
		assert_true(gd_scan_item(&s));
		assert_true(gd_scan_i64(&s) == INT64_MAX);
	}
	assert_true(gd_scan_item(&s));
	assert_true(gd_scan_i64(&s) == -INT64_MAX);
	assert_false(gd_scan_item(&s));
}

static void escapes_are_decoded(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "plain" },
		{ "a\\\"b\\\\c\\/d", "a\"b\\c/d" },
		{ "\\n\\t\\r\\b\\f", "\n\t\r\b\f" },
		{ "\\u0041\\u00e9\\u20ac", "A\xc3\xa9\xe2\x82\xac" },
		{ "\\ud800x", "\xef\xbf\xbdx" },
		{ "\\u00zzx", "\xef\xbf\xbdx" },
		{ "\\q", "\xef\xbf\xbd" },
		{ "\\u12", "\xef\xbf\xbd" "12" },
		{ "\\", "\xef\xbf\xbd" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		GD_BUF struct gd_buf out = GD_BUF_INIT(100);
		struct gd_scan_text text = { cases[i].in, strlen(cases[i].in) };
		gd_scan_put(&text, &out);
		assert_string_equal(gd_buf_str(&out), cases[i].out);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(values_come_out_as_they_are),
		test_case(another_type_is_skipped_and_counts_as_empty),
		test_case(nonsense_sticks),
		test_case(nesting_is_capped),
		test_case(numbers_saturate),
		test_case(escapes_are_decoded),
	};
	return test_run(tests);
}
