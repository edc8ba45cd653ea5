#include "tests/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive/output.h"

static struct gd_output create(bool named)
{
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_error err = { 0 };
	assert_ok(gd_output_create(test_dir(), named, &output, &err), &err);
	assert_ok(gd_output_write(&output, "content", 7, &err), &err);
	return output;
}

static void nothing_is_visible_before_it_is_published(void **state)
{
	(void)state;
	for (int named = 0; named < 2; named++) {
		struct gd_output output = create(named);
		struct gd_error err = { 0 };
		assert_string_equal(archive_run("ls '%s'", test_dir()), ""); /* hidden at most */
		assert_ok(gd_output_publish(&output, "a", &err), &err);
		gd_output_deinit(&output);
		assert_string_equal(archive_run("cd '%s' && ls -A && cat a && stat -c ' %%a %%h' a",
		                                test_dir()), "a\ncontent 600 1\n");
		assert_int_equal(unlink(test_path("a")), 0);
	}
}

static void what_was_not_published_is_gone(void **state)
{
	(void)state;
	for (int named = 0; named < 2; named++) {
		struct gd_output output = create(named);
		gd_output_deinit(&output);
		gd_output_deinit(&output);
		assert_string_equal(archive_run("ls -A '%s'", test_dir()), "");
	}
}

static void a_taken_name_is_left_alone(void **state)
{
	(void)state;
	(void)test_file("a", "before", 6);
	for (int named = 0; named < 2; named++) {
		struct gd_output output = create(named);
		struct gd_error err = { 0 };
		assert_fails(gd_output_publish(&output, "a", &err), -EEXIST, &err);
		gd_output_deinit(&output);
		assert_string_equal(archive_run("cd '%s' && ls -A && cat a", test_dir()),
		                    "a\nbefore");
	}
	/* A link to nowhere is a taken name, too. */
	assert_int_equal(symlink("/nonexistent", test_path("link")), 0);
	struct gd_output output = create(false);
	struct gd_error err = { 0 };
	assert_fails(gd_output_publish(&output, "link", &err), -EEXIST, &err);
	gd_output_deinit(&output);
}

static void scratch_files_have_no_name(void **state)
{
	(void)state;
	struct gd_output output = create(false);
	struct gd_error err = { 0 };
	int fd = gd_output_scratch(&output, &err);
	struct stat st;
	assert_ok(fd, &err);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(close(fd), 0);
	gd_output_deinit(&output);
}

static void what_was_reserved_is_given_back(void **state)
{
	(void)state;
	struct gd_output output = create(false);
	struct gd_error err = { 0 };
	struct stat st;
	assert_ok(gd_output_publish(&output, "a", &err), &err);
	gd_output_deinit(&output);
	assert_int_equal(stat(test_path("a"), &st), 0);
	assert_int_equal(st.st_size, 7);
	assert_true(st.st_blocks * 512 <= 65536);
}

static void killed_at_any_moment_nothing_torn_is_left(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		pid_t child = fork();
		if (child == 0) {
			for (;;) {
				struct gd_output output = GD_OUTPUT_INIT;
				char piece[4096] = { 0 };
				if (gd_output_create(test_dir(), false, &output, NULL) < 0)
					_exit(1);
				for (int i = 0; i < 16; i++)
					if (gd_output_write(&output, piece, sizeof(piece), NULL) < 0)
						_exit(1);
				(void)unlink(test_path("a"));
				if (gd_output_publish(&output, "a", NULL) < 0)
					_exit(1);
				gd_output_deinit(&output);
			}
		}
		assert_true(child > 0);
		(void)usleep((useconds_t)(1000 + round * 331));
		assert_int_equal(kill(child, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		struct stat st;
		if (stat(test_path("a"), &st) == 0)
			assert_int_equal(st.st_size, 16 * 4096);
		assert_true(strlen(archive_run("ls -A '%s'", test_dir())) <= 2);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(nothing_is_visible_before_it_is_published),
		test_case(what_was_not_published_is_gone),
		test_case(a_taken_name_is_left_alone),
		test_case(scratch_files_have_no_name),
		test_case(what_was_reserved_is_given_back),
		test_case(killed_at_any_moment_nothing_torn_is_left),
	};
	return test_run(tests);
}
