/*
 * Descriptions of arguments written by hand, as the compiler encodes them.
 */
#include "golang/arguments.h"

#include <string.h>

#include "tests/test.h"

enum { END = 0xff, OPEN = 0xfe, CLOSE = 0xfd, DOTS = 0xfc, FAR = 0xfb };

static const uint64_t stack[4] = { 0x1122334455667788, 0, 0xc000012345, UINT64_MAX };

static void assert_text(const char *expected, const uint8_t *info, size_t info_len,
                        const uint8_t *live, size_t live_len, int32_t index)
{
	struct gd_arguments_room room;
	struct gd_arguments a;
	char text[4096];
	gd_arguments_decode(info, info_len, live, live_len, index, &room, &a);
	assert_true(a.text_max < sizeof(text));
	char *end = gd_arguments_put(&a, (const uint8_t *)stack, sizeof(stack), text);
	assert_true((size_t)(end - text) <= a.text_max);
	*end = '\0';
	assert_string_equal(text, expected);
}

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static void values_have_their_own_size(void **state)
{
	(void)state;
	assert_text("", BYTES(END), NULL, 0, -1);
	assert_text("0x1122334455667788", BYTES(0, 8, END), NULL, 0, -1);
	assert_text("0x55667788, 0x7788, 0x88, 0x0", BYTES(0, 4, 0, 2, 0, 1, 8, 8, END), NULL, 0,
	            -1);
	assert_text("0x667788", BYTES(0, 3, END), NULL, 0, -1);
	assert_text("0x0", BYTES(0, 0, END), NULL, 0, -1);
	assert_text("0xffffffffffffffff", BYTES(24, 200, END), NULL, 0, -1);
}

static void aggregates_nest_and_are_cut_with_dots(void **state)
{
	(void)state;
	assert_text("{0xc000012345, 0x0}, 0x0", BYTES(OPEN, 16, 8, 8, 8, CLOSE, 8, 8, END), NULL, 0,
	            -1);
	assert_text("{{0x0}, {...}}, ...", BYTES(OPEN, OPEN, 8, 8, CLOSE, OPEN, DOTS, CLOSE, CLOSE,
	                                         DOTS, END), NULL, 0, -1);
	assert_text("{}, _, 0x0", BYTES(OPEN, CLOSE, FAR, 8, 8, END), NULL, 0, -1);
}

/* The first byte says from which offset on liveness counts; each bit is one value from there on. */
static void values_no_longer_kept_get_a_question_mark(void **state)
{
	(void)state;
	const uint8_t live[] = { 8, 0, 0x01, 0x02 };
	assert_text("0x1122334455667788, 0x0, 0xc000012345?", BYTES(0, 8, 8, 8, 16, 8, END), live,
	            sizeof(live), 2);
	assert_text("0x1122334455667788, 0x0?, 0xc000012345", BYTES(0, 8, 8, 8, 16, 8, END), live,
	            sizeof(live), 3);
	/* 0 and -1: no information for this pc; beyond its end: none either */
	assert_text("0x0", BYTES(8, 8, END), live, sizeof(live), 0);
	assert_text("0x0", BYTES(8, 8, END), live, sizeof(live), -1);
	assert_text("0x0", BYTES(8, 8, END), live, sizeof(live), 100);
	assert_text("0x0", BYTES(8, 8, END), NULL, 0, 2);
}

static void what_lies_beyond_the_stack_is_not_made_up(void **state)
{
	(void)state;
	assert_text("_, 0x0", BYTES(32, 8, 8, 8, END), NULL, 0, -1);
	assert_text("_", BYTES(25, 8, END), NULL, 0, -1); /* its last byte is beyond */
}

/* Every byte string is some description. */
static void no_description_overflows(void **state)
{
	(void)state;
	struct gd_arguments_room room;
	struct gd_arguments a;
	uint8_t info[GD_ARGUMENTS_ENCODED_MAX];
	char text[GD_ARGUMENTS_FORM_MAX + GD_ARGUMENTS_VALUES_MAX * 20];
	for (unsigned fill = 0; fill < 256; fill++) {
		memset(info, (int)fill, sizeof(info));
		for (size_t n = 0; n <= sizeof(info); n++) {
			gd_arguments_decode(info, n, info, n, (int32_t)n / 2, &room, &a);
			assert_true(a.text_max <= sizeof(text));
			char *end = gd_arguments_put(&a, (const uint8_t *)stack, sizeof(stack), text);
			assert_true((size_t)(end - text) <= a.text_max);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(values_have_their_own_size),
		test_case(aggregates_nest_and_are_cut_with_dots),
		test_case(values_no_longer_kept_get_a_question_mark),
		test_case(what_lies_beyond_the_stack_is_not_made_up),
		test_case(no_description_overflows),
	};
	return test_run(tests);
}
