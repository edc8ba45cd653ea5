#include "collectors/build.h"

#include <stdio.h>
#include <string.h>

#include "tests/test.h"

static const char *write_build(const char *modinfo, bool dependencies)
{
	static char text[65536];
	GD_BUF struct gd_buf buf = GD_BUF_INIT(sizeof(text) - 1);
	struct gd_json json = GD_JSON_INIT(&buf);
	gd_build_write(&json, NULL, modinfo, dependencies);
	(void)snprintf(text, sizeof(text), "%s", gd_buf_str(&buf));
	assert_int_equal(buf.failed, 0);
	return text;
}

static void modules_and_settings_are_told(void **state)
{
	static const char text[] = "path\texample.com/shop/cmd/shop\n"
				   "mod\texample.com/shop\t(devel)\t\n"
				   "dep\tgolang.org/x/net\tv0.1.0\th1:abc=\n"
				   "dep\tgolang.org/x/text\tv0.3.0\th1:def=\n"
				   "=>\tgithub.com/fork/text\tv0.4.0\th1:ghi=\n"
				   "build\t-compiler=gc\n"
				   "build\tCGO_CFLAGS=\n";
	(void)state;
	assert_string_equal(
		write_build(text, true),
		"{\"path\":\"example.com/shop/cmd/shop\","
		"\"main\":{\"path\":\"example.com/shop\",\"version\":\"(devel)\"},"
		"\"dependencies\":["
		"{\"path\":\"golang.org/x/net\",\"version\":\"v0.1.0\",\"sum\":\"h1:abc=\"},"
		"{\"path\":\"golang.org/x/text\",\"version\":\"v0.3.0\",\"sum\":\"h1:def=\","
		"\"replaced_by\":{\"path\":\"github.com/fork/text\",\"version\":\"v0.4.0\","
		"\"sum\":\"h1:ghi=\"}}],"
		"\"settings\":{\"-compiler\":\"gc\",\"CGO_CFLAGS\":\"\"}}");
	assert_contains(write_build(text, false), "\"dependencies\":2,");
}

static void without_a_block_there_is_an_empty_object(void **state)
{
	(void)state;
	assert_string_equal(write_build("", true), "{\"dependencies\":[],\"settings\":{}}");
	assert_string_equal(write_build("", false), "{\"dependencies\":0,\"settings\":{}}");
}

static void quoted_settings_are_unquoted(void **state)
{
	(void)state;
	assert_contains(write_build("build\t-ldflags=\"-X main.v=\\\"1 2\\\"\\t\\\\\"\n", true),
	                "\"-ldflags\":\"-X main.v=\\\"1 2\\\"\\t\\\\\"");
	assert_contains(write_build("build\t\"a=b\"=c\n", true), "\"a=b\":\"c\"");
	assert_contains(write_build("build\t-tags=`x=y`\n", true), "\"-tags\":\"x=y\"");
	assert_contains(write_build("build\tvcs.time=2026-01-02T03:04:05Z\n", true),
	                "\"vcs.time\":\"2026-01-02T03:04:05Z\"");
}

static void a_value_may_hold_tabs(void **state)
{
	(void)state;
	assert_contains(write_build("build\tk=a\tb\tc\td\te\n", true),
	                "\"k\":\"a\\tb\\tc\\td\\te\"");
}

static void odd_lines_are_harmless(void **state)
{
	static const char *const lines[] = {
		"\n\n\n", "\t\t\t\t\t", "build", "build\t", "build\t=", "build\t\"", "build\t\"\\",
		"build\t\"a\\\"=", "mod", "mod\t", "dep", "=>\tx", "path", "dep\ta\n=>", "build\t`",
		"build\tx=\"", "build\tx=\"\\\"", "build\t\xff\xfe=\x01\x02",
	};
	char text[65536];
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_true(strlen(write_build(lines[i], true)) > 2);
		assert_true(strlen(write_build(lines[i], false)) > 2);
	}
	/* longer than any buffer inside */
	memset(text, 'x', sizeof(text));
	memcpy(text, "build\t\"", 7);
	text[400] = '"';
	text[401] = '=';
	text[402] = '"';
	text[20000] = '"';
	text[20001] = '\0';
	assert_true(strlen(write_build(text, true)) > 8000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(modules_and_settings_are_told),
		test_case(without_a_block_there_is_an_empty_object),
		test_case(quoted_settings_are_unquoted),
		test_case(a_value_may_hold_tabs),
		test_case(odd_lines_are_harmless),
	};
	return test_run(tests);
}
