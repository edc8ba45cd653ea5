#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "tests/test.h"

static void a_failure_is_one_statement(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	assert_int_equal(gd_fail(&err, -EBADMSG, "%d bytes of %s", 7, "pclntab"), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.msg, "7 bytes of pclntab");
}

static void errno_text_is_appended(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	assert_int_equal(gd_fail_errno(&err, -ENOENT, "/proc/%d", 1), -ENOENT);
	assert_string_equal(err.msg, "/proc/1: No such file or directory");
}

static void wrapping_puts_the_context_in_front(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	int r = gd_fail(&err, -EFAULT, "read 8 bytes at 0x8");
	assert_int_equal(gd_error_wrap(&err, r, "goroutine %d", 7), -EFAULT);
	assert_int_equal(err.code, -EFAULT);
	assert_string_equal(err.msg, "goroutine 7: read 8 bytes at 0x8");
}

static void wrapping_may_change_the_code(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	(void)gd_fail(&err, -EFAULT, "inner");
	assert_int_equal(gd_error_wrap(&err, -ENOTSUP, "outer"), -ENOTSUP);
	assert_int_equal(err.code, -ENOTSUP);
}

static void null_is_allowed_everywhere(void **state)
{
	(void)state;
	assert_int_equal(gd_fail(NULL, -EIO, "%s", "x"), -EIO);
	assert_int_equal(gd_fail_errno(NULL, -EIO, "%s", "x"), -EIO);
	assert_int_equal(gd_error_wrap(NULL, -EIO, "%s", "x"), -EIO);
}

static void long_messages_are_cut_and_terminated(void **state)
{
	(void)state;
	char text[600];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct gd_error err;

	memset(&err, 0x55, sizeof(err));
	(void)gd_fail(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);

	memset(&err, 0x55, sizeof(err));
	(void)gd_fail_errno(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);

	(void)gd_error_wrap(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	(void)gd_error_wrap(&err, -EIO, "outermost");
	assert_memory_equal(err.msg, "outermost: xxx", 14);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_failure_is_one_statement),
		test_case(errno_text_is_appended),
		test_case(wrapping_puts_the_context_in_front),
		test_case(wrapping_may_change_the_code),
		test_case(null_is_allowed_everywhere),
		test_case(long_messages_are_cut_and_terminated),
	};
	return test_run(tests);
}
