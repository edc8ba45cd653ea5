#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/fault.h"
#include "tests/test.h"

static void grows_to_its_ceiling_and_not_beyond(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1000);
	for (int i = 0; i < 1000; i++)
		gd_buf_putc(&buf, 'x');
	assert_int_equal(buf.len, 1000);
	assert_int_equal(gd_buf_check(&buf, "list", NULL), 0);

	gd_buf_putc(&buf, 'y');
	struct gd_error err = { 0 };
	assert_int_equal(buf.len, 1000);
	assert_fails(gd_buf_check(&buf, "list", &err), -E2BIG, &err);
	assert_string_equal(err.msg, "list: larger than our limit of 1000 bytes");
}

static void errors_stick_until_reset(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(4);
	gd_buf_puts(&buf, "hello");
	gd_buf_puts(&buf, "a"); /* would fit, but the text would have a hole */
	assert_int_equal(buf.len, 0);
	assert_null(gd_buf_reserve(&buf, 1));
	assert_string_equal(gd_buf_str(&buf), "");
	assert_int_equal(gd_buf_check(&buf, "x", NULL), -E2BIG);

	gd_buf_reset(&buf);
	gd_buf_puts(&buf, "abcd");
	assert_int_equal(gd_buf_check(&buf, "x", NULL), 0);
	assert_string_equal(gd_buf_str(&buf), "abcd");
}

static void a_full_buffer_can_still_be_terminated(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(200);
	char text[201];
	memset(text, 'q', 200);
	text[200] = '\0';
	gd_buf_append(&buf, text, 200);
	assert_string_equal(gd_buf_str(&buf), text);
	assert_int_equal(buf.len, 200);
}

static void an_empty_buffer_is_an_empty_string(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(0);
	assert_string_equal(gd_buf_str(&buf), "");
	gd_buf_append(&buf, NULL, 0);
	assert_int_equal(gd_buf_check(&buf, "x", NULL), 0);
	gd_buf_putc(&buf, 'x');
	assert_int_equal(gd_buf_check(&buf, "x", NULL), -E2BIG);
}

static void printf_measures_before_it_writes(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1 << 20);
	size_t expected = 0;
	for (int i = 0; i < 3000; i++) {
		gd_buf_printf(&buf, "%d,%s;", i, "abcdefghijklmnopqrstuvwxyz");
		expected += (size_t)snprintf(NULL, 0, "%d,", i) + 27;
	}
	assert_int_equal(buf.len, expected);
	const char *text = gd_buf_str(&buf);
	assert_int_equal(strlen(text), expected);
	assert_memory_equal(text, "0,abcdefghijklmnopqrstuvwxyz;1,", 31);
	assert_string_equal(text + expected - 32, "2999,abcdefghijklmnopqrstuvwxyz;");
}

static void printf_beyond_the_ceiling_writes_nothing(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(10);
	gd_buf_printf(&buf, "%s", "0123456789");
	assert_int_equal(buf.len, 10);
	gd_buf_printf(&buf, "%d", 7);
	assert_int_equal(buf.len, 10);
	assert_int_equal(buf.failed, -E2BIG);
}

static void reserve_does_not_wrap_around(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(SIZE_MAX);
	gd_buf_puts(&buf, "x");
	assert_null(gd_buf_reserve(&buf, SIZE_MAX));
	assert_int_equal(buf.failed, -E2BIG);
	gd_buf_reset(&buf);
	gd_buf_puts(&buf, "x");
	assert_null(gd_buf_reserve(&buf, SIZE_MAX - 1)); /* 1 + this + the NUL is 0 again */
	gd_buf_reset(&buf);
	assert_null(gd_buf_reserve(&buf, SIZE_MAX / 8));
	assert_int_equal(buf.failed, -ENOMEM);
}

static void reset_keeps_the_memory_and_deinit_gives_it_back(void **state)
{
	(void)state;
	struct gd_buf buf = GD_BUF_INIT(100000);
	assert_non_null(gd_buf_reserve(&buf, 50000));
	size_t cap = buf.cap;
	char *data = buf.data;
	gd_buf_reset(&buf);
	gd_buf_puts(&buf, "x");
	assert_ptr_equal(buf.data, data);
	assert_int_equal(buf.cap, cap);
	gd_buf_deinit(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.ceiling, 100000); /* and may be used again */
	gd_buf_puts(&buf, "again");
	assert_string_equal(gd_buf_str(&buf), "again");
	gd_buf_deinit(&buf);
}

static void what_was_written_before_memory_ran_out_is_not_lost(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(100000);
		size_t put = 0;
		fault_arm(FAULT_MEMORY, n, ENOMEM);
		for (int i = 0; i < 5000; i++) {
			gd_buf_puts(&buf, "four");
			put += buf.failed == 0 ? 4 : 0;
		}
		bool fired = fault_disarm();
		struct gd_error err = { 0 };
		assert_int_equal(buf.len, put);
		for (size_t i = 0; i < put; i += 4)
			assert_memory_equal(buf.data + i, "four", 4);
		if (!fired) {
			assert_int_equal(gd_buf_check(&buf, "list", &err), 0);
			assert_true(n > 5);
			break;
		}
		assert_fails(gd_buf_check(&buf, "list", &err), -ENOMEM, &err);
		assert_string_equal(gd_buf_str(&buf), "");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(grows_to_its_ceiling_and_not_beyond),
		test_case(errors_stick_until_reset),
		test_case(a_full_buffer_can_still_be_terminated),
		test_case(an_empty_buffer_is_an_empty_string),
		test_case(printf_measures_before_it_writes),
		test_case(printf_beyond_the_ceiling_writes_nothing),
		test_case(reserve_does_not_wrap_around),
		test_case(reset_keeps_the_memory_and_deinit_gives_it_back),
		test_case(what_was_written_before_memory_ran_out_is_not_lost),
	};
	return test_run(tests);
}
