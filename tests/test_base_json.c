/* What the writer writes is read back by jansson, which is strict about UTF-8 and escapes. */
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "tests/test.h"

static json_t *read_back(struct gd_buf *buf)
{
	json_error_t error;
	assert_int_equal(gd_buf_check(buf, "json", NULL), 0);
	json_t *root = json_loadb(buf->data, buf->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (root == NULL)
		fail_msg("%s in %s", error.text, gd_buf_str(buf));
	return root;
}

static void nesting_and_commas_take_care_of_themselves(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	struct gd_json j = GD_JSON_INIT(&buf);
	gd_json_object(&j, NULL);
	gd_json_array(&j, "empty");
	gd_json_array_end(&j);
	gd_json_object(&j, "inner");
	gd_json_u64(&j, "a", 1);
	gd_json_object_end(&j);
	gd_json_array(&j, "list");
	gd_json_u64(&j, NULL, 1);
	gd_json_object(&j, NULL);
	gd_json_object_end(&j);
	gd_json_array(&j, NULL);
	gd_json_bool(&j, NULL, false);
	gd_json_null(&j, NULL);
	gd_json_array_end(&j);
	gd_json_array_end(&j);
	gd_json_raw(&j, "raw", "{\"x\":[]}", 8);
	gd_json_bool(&j, "last", true);
	gd_json_object_end(&j);
	assert_string_equal(gd_buf_str(&buf),
	                    "{\"empty\":[],\"inner\":{\"a\":1},\"list\":[1,{},[false,null]],"
	                    "\"raw\":{\"x\":[]},\"last\":true}");
	json_decref(read_back(&buf));
}

static void numbers_keep_their_value(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	struct gd_json j = GD_JSON_INIT(&buf);
	gd_json_array(&j, NULL);
	gd_json_i64(&j, NULL, INT64_MIN);
	gd_json_i64(&j, NULL, INT64_MAX);
	gd_json_i64(&j, NULL, 0);
	gd_json_double(&j, NULL, 0.1);
	gd_json_double(&j, NULL, -1.5e300);
	gd_json_double(&j, NULL, (double)NAN);
	gd_json_double(&j, NULL, (double)INFINITY);
	gd_json_hex(&j, NULL, UINT64_MAX);
	gd_json_hex(&j, NULL, 0);
	gd_json_array_end(&j);
	json_t *root = read_back(&buf);
	assert_true(json_integer_value(json_array_get(root, 0)) == INT64_MIN);
	assert_true(json_integer_value(json_array_get(root, 1)) == INT64_MAX);
	assert_true(json_integer_value(json_array_get(root, 2)) == 0);
	assert_true(json_real_value(json_array_get(root, 3)) == 0.1);
	assert_true(json_real_value(json_array_get(root, 4)) == -1.5e300);
	assert_true(json_is_null(json_array_get(root, 5)));
	assert_true(json_is_null(json_array_get(root, 6)));
	assert_string_equal(json_string_value(json_array_get(root, 7)), "0xffffffffffffffff");
	assert_string_equal(json_string_value(json_array_get(root, 8)), "0x0");
	json_decref(root);

	gd_buf_reset(&buf);
	j = GD_JSON_INIT(&buf);
	gd_json_u64(&j, NULL, UINT64_MAX); /* beyond jansson's integers */
	assert_string_equal(gd_buf_str(&buf), "18446744073709551615");
}

static void valid_text_comes_back_unchanged(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"", "plain", "a\"b\\c/d", "tab\tline\nreturn\r\b\f", "\x01\x1f\x7f",
		"gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf\xee\x80\x80",
		"\xf4\x8f\xbf\xbf",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
		struct gd_json j = GD_JSON_INIT(&buf);
		gd_json_object(&j, NULL);
		gd_json_string(&j, texts[i], texts[i]); /* keys are escaped like values */
		gd_json_object_end(&j);
		json_t *root = read_back(&buf);
		assert_string_equal(json_string_value(json_object_get(root, texts[i])), texts[i]);
		json_decref(root);
	}
}

static void invalid_utf8_becomes_the_replacement_character(void **state)
{
	(void)state;
	static const struct {
		const char *raw;
		const char *text;
	} rows[] = {
		{ "\xff", "\xef\xbf\xbd" },
		{ "a\x80z", "a\xef\xbf\xbdz" },                                    /* lone continuation */
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },                        /* overlong slash */
		{ "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },        /* and in three */
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },        /* surrogate */
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "x\xe2\x82", "x\xef\xbf\xbd\xef\xbf\xbd" },                      /* cut at the end */
		{ "\xc3(", "\xef\xbf\xbd(" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
		struct gd_json j = GD_JSON_INIT(&buf);
		gd_json_string(&j, NULL, rows[i].raw);
		json_t *root = read_back(&buf);
		assert_string_equal(json_string_value(root), rows[i].text);
		json_decref(root);
	}
}

static void any_two_bytes_make_valid_json(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	for (unsigned i = 0; i < 65536; i++) {
		char raw[2] = { (char)(i >> 8), (char)i };
		gd_buf_reset(&buf);
		struct gd_json j = GD_JSON_INIT(&buf);
		gd_json_bytes(&j, NULL, raw, 2);
		json_decref(read_back(&buf));
		for (size_t k = 0; k < buf.len; k++)
			assert_true((unsigned char)buf.data[k] >= 0x20 && buf.data[k] != 0x7f);
	}
}

static void bytes_may_hold_nul_and_be_absent(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	struct gd_json j = GD_JSON_INIT(&buf);
	gd_json_array(&j, NULL);
	gd_json_bytes(&j, NULL, "a\0b", 3);
	gd_json_bytes(&j, NULL, NULL, 0);
	gd_json_string(&j, NULL, NULL);
	gd_json_array_end(&j);
	assert_string_equal(gd_buf_str(&buf), "[\"a\\u0000b\",\"\",null]");
	json_decref(read_back(&buf));
}

static void each_line_of_json_lines_stands_alone(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4096);
	struct gd_json j = GD_JSON_INIT(&buf);
	for (uint64_t i = 0; i < 2; i++) {
		gd_json_object(&j, NULL);
		gd_json_u64(&j, "i", i);
		gd_json_object_end(&j);
		gd_json_line_end(&j);
	}
	assert_string_equal(gd_buf_str(&buf), "{\"i\":0}\n{\"i\":1}\n");
}

static void the_ceiling_is_reported_once_at_the_end(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(20);
	struct gd_json j = GD_JSON_INIT(&buf);
	gd_json_array(&j, NULL);
	for (int i = 0; i < 100; i++)
		gd_json_string(&j, NULL, "text");
	gd_json_array_end(&j);
	struct gd_error err = { 0 };
	assert_fails(gd_buf_check(&buf, "list", &err), -E2BIG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(nesting_and_commas_take_care_of_themselves),
		test_case(numbers_keep_their_value),
		test_case(valid_text_comes_back_unchanged),
		test_case(invalid_utf8_becomes_the_replacement_character),
		test_case(any_two_bytes_make_valid_json),
		test_case(bytes_may_hold_nul_and_be_absent),
		test_case(each_line_of_json_lines_stands_alone),
		test_case(the_ceiling_is_reported_once_at_the_end),
	};
	return test_run(tests);
}
