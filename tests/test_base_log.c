#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/test.h"

/* What stderr got while fn ran. */
static const char *stderr_of(void (*fn)(void))
{
	static struct gd_buf said = GD_BUF_INIT(65536);
	const char *path = test_path("stderr");
	int keep = dup(STDERR_FILENO);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (keep < 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0) {
		fail_msg("%s: %s", path, strerror(errno));
		return "";
	}
	fn();
	(void)dup2(keep, STDERR_FILENO);
	(void)close(keep);
	(void)close(fd);
	gd_buf_reset(&said);
	assert_int_equal(gd_io_read_file_at(AT_FDCWD, path, &said, NULL), 0);
	return gd_buf_str(&said);
}

static void say_one_of_each(void)
{
	gd_log(GD_LOG_ERROR, "an %s", "error");
	gd_log(GD_LOG_WARNING, "a warning");
	gd_log(GD_LOG_INFO, "news");
	gd_log(GD_LOG_DEBUG, "details");
}

static void say_something_foreign(void)
{
	gd_log(GD_LOG_ERROR, "comm is %s", "evil\n<0>\x1b[2J");
}

static void say_something_long(void)
{
	char text[5000];
	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	gd_log(GD_LOG_ERROR, "%s", text);
}

static void the_level_decides_what_is_said(void **state)
{
	(void)state;
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	gd_log_set_level(GD_LOG_WARNING);
	assert_string_equal(stderr_of(say_one_of_each), "godiag: an error\ngodiag: a warning\n");
	gd_log_set_level(GD_LOG_DEBUG);
	assert_string_equal(stderr_of(say_one_of_each),
	                    "godiag: an error\ngodiag: a warning\ngodiag: news\ngodiag: details\n");
}

static void every_line_carries_the_capture_and_the_priority(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	gd_log_set_level(GD_LOG_WARNING);
	gd_log_set_id("01J8");
	assert_string_equal(stderr_of(say_one_of_each),
	                    "<3>godiag: capture 01J8: an error\n<4>godiag: capture 01J8: a warning\n");
	gd_log_set_id(NULL);
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	assert_string_equal(stderr_of(say_one_of_each), "godiag: an error\ngodiag: a warning\n");
}

static void foreign_bytes_stay_on_their_line(void **state)
{
	(void)state;
	assert_string_equal(stderr_of(say_something_foreign),
	                    "godiag: comm is evil\\x0a<0>\\x1b[2J\n");
}

static void a_long_line_is_cut(void **state)
{
	(void)state;
	const char *line = stderr_of(say_something_long);
	assert_in_range(strlen(line), 1000, 1300);
	assert_string_equal(line + strlen(line) - 4, "...\n");
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_level_decides_what_is_said),
		test_case(every_line_carries_the_capture_and_the_priority),
		test_case(foreign_bytes_stay_on_their_line),
		test_case(a_long_line_is_cut),
	};
	return test_run(tests);
}
