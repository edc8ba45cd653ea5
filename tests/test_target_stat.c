#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "target/target.h"

#define TAIL                                                                                       \
	" S 1 2 3 34816 -1 4194304 100 200 7 0 11 12 0 0 20 -4 5 0 123456 10485760 321 "            \
	"18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static void parse(const char *text, struct gd_stat *stat)
{
	struct gd_error err = { 0 };
	assert_ok(gd_stat_parse(text, strlen(text), stat, &err), &err);
}

static void every_field_we_keep_is_the_right_one(void **state)
{
	(void)state;
	struct gd_stat s;
	parse("42 (bash)" TAIL, &s);
	assert_int_equal(s.pid, 42);
	assert_string_equal(s.comm, "bash");
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.ppid, 1);
	assert_int_equal(s.pgrp, 2);
	assert_int_equal(s.session, 3);
	assert_int_equal(s.flags, 4194304);
	assert_int_equal(s.minflt, 100);
	assert_int_equal(s.majflt, 7);
	assert_int_equal(s.utime_ticks, 11);
	assert_int_equal(s.stime_ticks, 12);
	assert_int_equal(s.nice, -4);
	assert_int_equal(s.num_threads, 5);
	assert_int_equal(s.start_ticks, 123456);
	assert_int_equal(s.vsize_bytes, 10485760);
	assert_int_equal(s.rss_pages, 321);
	assert_int_equal(s.processor, 3);
}

static void a_hostile_comm_does_not_shift_the_fields(void **state)
{
	(void)state;
	static const char *const comms[] = { "x) S 1 1\nUid:\t0", ")", "((((", ") Z 9", "", "a b",
		                             "\n", "\\" };
	for (size_t i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
		char text[512];
		struct gd_stat s;
		(void)snprintf(text, sizeof(text), "42 (%s)%s", comms[i], TAIL);
		parse(text, &s);
		assert_string_equal(s.comm, comms[i]);
		assert_int_equal(s.state, 'S');
		assert_int_equal(s.start_ticks, 123456);
	}
}

static void a_comm_longer_than_ours_is_cut(void **state)
{
	(void)state;
	char text[512];
	char comm[101] = "";
	struct gd_stat s;
	memset(comm, 'k', 100);
	(void)snprintf(text, sizeof(text), "42 (%s)%s", comm, TAIL);
	parse(text, &s);
	assert_int_equal(strlen(s.comm), sizeof(s.comm) - 1);
}

static void an_old_kernels_shorter_line_is_enough(void **state)
{
	(void)state;
	struct gd_stat s;
	parse("1 (a) R 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 6 7", &s);
	assert_int_equal(s.rss_pages, 7);
	assert_int_equal(s.processor, -1);
}

static void nonsense_is_ebadmsg_and_leaves_the_result_alone(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"42",
		"42 bash S 1",
		"42 )bash( S 1",
		"(bash)" TAIL,
		" (bash)" TAIL,
		"x (bash)" TAIL,
		"99999999999 (bash)" TAIL,
		"42 (bash)",
		"42 (bash) S",
		"42 (bash) SS 1 2 3",
		"42 (bash) S one 2 3 34816 -1 4194304 100 200 7 0 11 12 0 0 20 0 5 0 1 2 3",
		"42 (bash) S 1 2 3 34816 - 4194304 100 200 7 0 11 12 0 0 20 0 5 0 1 2 3",
		"1 (a) S 1 2 3 4 -1 5 6 7 8 0 11 12 0 0 20 0 5 0 999999999999999999999 2 3",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_stat s = { .pid = 77 };
		struct gd_error err = { 0 };
		assert_fails(gd_stat_parse(bad[i], strlen(bad[i]), &s, &err), -EBADMSG, &err);
		assert_int_equal(s.pid, 77);
	}
}

static void our_own_stat_is_about_us(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat s;
	assert_ok(gd_io_read_file_at(-1, "/proc/self/stat", &text, NULL), NULL);
	parse(gd_buf_str(&text), &s);
	assert_int_equal(s.pid, getpid());
	assert_int_equal(s.ppid, getppid());
	assert_int_equal(s.state, 'R');
	assert_int_equal(s.num_threads, 1);
	assert_true(s.rss_pages > 0);
	assert_in_range(s.processor, 0, 4096);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_field_we_keep_is_the_right_one),
		test_case(a_hostile_comm_does_not_shift_the_fields),
		test_case(a_comm_longer_than_ours_is_cut),
		test_case(an_old_kernels_shorter_line_is_enough),
		test_case(nonsense_is_ebadmsg_and_leaves_the_result_alone),
		test_case(our_own_stat_is_about_us),
	};
	return test_run(tests);
}
