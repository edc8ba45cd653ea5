#include "policies/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/test.h"

/* What a file gave, a line each. */
static struct gd_buf seen = GD_BUF_INIT(1 << 24);

static int note(void *arg, char *record)
{
	(void)arg;
	gd_buf_puts(&seen, record);
	gd_buf_putc(&seen, '\n');
	return strncmp(record, "nonsense", 8) == 0 ? -EBADMSG : 0;
}

static struct gd_journal_file *opened(struct gd_journal_file_found *found)
{
	struct gd_journal_file *file;
	struct gd_error err = { 0 };
	gd_buf_reset(&seen);
	assert_ok(gd_journal_file_open(test_dir(), "j", note, NULL, &file, found, &err), &err);
	return file;
}

static void append(struct gd_journal_file *file, const char *record)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(4096);
	gd_journal_file_put(&lines, record);
	assert_ok(gd_journal_file_append(file, &lines, true, &err), &err);
}

static void check_content(const char *expected)
{
	struct gd_journal_file_found found;
	gd_journal_file_close(opened(&found));
	assert_string_equal(gd_buf_str(&seen), expected);
	assert_false(found.torn);
	assert_int_equal(found.damaged, 0);
}

static void put_bytes(const char *bytes, size_t n)
{
	GD_CLOSE int fd = open(test_path("j"), O_WRONLY | O_TRUNC | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(gd_io_write_all(fd, bytes, n, NULL), 0);
}

static void records_come_back_in_their_order(void **state)
{
	(void)state;
	struct gd_journal_file_found found;
	struct gd_journal_file *file = opened(&found);
	assert_string_equal(gd_buf_str(&seen), "");
	append(file, "one");
	append(file, "");
	append(file, "three \xff \x01");
	gd_journal_file_close(file);
	check_content("one\n\nthree \xff \x01\n");
	file = opened(&found);
	append(file, "four");
	gd_journal_file_close(file);
	check_content("one\n\nthree \xff \x01\n" "four\n");
	struct stat st;
	assert_int_equal(stat(test_path("j"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	gd_buf_deinit(&seen);
}

static void a_line_looks_as_the_header_says(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(4096);
	/* RFC 3720, B.4: the CRC-32C of 32 bytes of zero is aa36918a; of "123456789" it is e3069283. */
	gd_journal_file_put(&lines, "123456789");
	assert_string_equal(gd_buf_str(&lines), "0009 e3069283 123456789\n");
}

static void what_is_not_a_line_is_damage_and_what_is_not_whole_is_torn(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool torn;
		unsigned damaged;
		const char *seen;
	} cases[] = {
		{ "", false, 0, "" },
		{ "0009 e3069283 123456789\n", false, 0, "123456789\n" },
		{ "0009 e3069283 123456789", true, 0, "" },
		{ "0009 e3069283 123456788\n", true, 0, "" },
		{ "0009 e3069283 123456788\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "0009 e3069283 123456789\n\n", true, 0, "123456789\n" },
		{ "0009 E3069283 123456789\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "9 e3069283 123456789\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "000a e3069283 123456789\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "0009_e3069283 123456789\n0009 e3069283 123456789\n", false, 1, "123456789\n" },
		{ "0009 e306\n0009 e3069283 123456789\n0009 e3", true, 1, "123456789\n" },
		{ "0000 00000000 \n", false, 0, "\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gd_journal_file_found found;
		(void)unlink(test_path("j.bad"));
		put_bytes(cases[i].text, strlen(cases[i].text));
		struct gd_journal_file *file = opened(&found);
		if (found.torn != cases[i].torn || found.damaged != cases[i].damaged)
			fail_msg("case %zu: torn %d, damaged %u", i, found.torn, found.damaged);
		assert_string_equal(gd_buf_str(&seen), cases[i].seen);
		assert_true(gd_journal_file_suspect(file) == (found.damaged > 0));
		gd_journal_file_close(file);
		/* Only damage leaves a copy, and that is what was found. */
		GD_BUF struct gd_buf copy = GD_BUF_INIT(4096);
		int r = gd_io_read_file_at(AT_FDCWD, test_path("j.bad"), &copy, NULL);
		assert_int_equal(r, found.damaged > 0 ? 0 : -ENOENT);
		if (r == 0)
			assert_string_equal(gd_buf_str(&copy), cases[i].text);
	}
	gd_buf_deinit(&seen);
}

static void a_damaged_file_takes_nothing_before_it_is_written_anew(void **state)
{
	(void)state;
	struct gd_journal_file_found found;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(4096);
	struct gd_journal_file *file = opened(&found);
	append(file, "one");
	append(file, "nonsense");
	append(file, "three");
	gd_journal_file_close(file);
	file = opened(&found);
	assert_int_equal(found.damaged, 1);
	gd_journal_file_put(&lines, "four");
	assert_fails(gd_journal_file_append(file, &lines, true, &err), -EIO, &err);
	assert_ok(gd_journal_file_rewrite(file, &lines, &err), &err);
	assert_int_equal(gd_journal_file_bytes(file), lines.len);
	append(file, "five");
	gd_journal_file_close(file);
	check_content("four\nfive\n");
	gd_buf_deinit(&seen);
}

static void what_was_left_of_a_rewrite_is_of_no_interest(void **state)
{
	(void)state;
	struct gd_journal_file_found found;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(4096);
	struct gd_journal_file *file = opened(&found);
	append(file, "one");
	(void)test_file("j.new", "half a li", 9);
	gd_journal_file_close(file);
	check_content("one\n");
	file = opened(&found);
	gd_journal_file_put(&lines, "two");
	assert_ok(gd_journal_file_rewrite(file, &lines, &err), &err);
	gd_journal_file_close(file);
	check_content("two\n");
	assert_int_not_equal(access(test_path("j.new"), F_OK), 0);
	gd_buf_deinit(&seen);
}

static void a_file_beyond_our_limit_gives_what_is_within(void **state)
{
	(void)state;
	struct gd_journal_file_found found;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(GD_JOURNAL_FILE_BYTES_MAX + 4096);
	char record[1024];
	memset(record, 'x', sizeof(record) - 1);
	record[sizeof(record) - 1] = '\0';
	while (lines.len <= GD_JOURNAL_FILE_BYTES_MAX)
		gd_journal_file_put(&lines, record);
	put_bytes(lines.data, lines.len);
	struct gd_journal_file *file = opened(&found);
	assert_int_equal(found.damaged, 1);
	assert_true(seen.len > GD_JOURNAL_FILE_BYTES_MAX / 10 * 9);
	gd_journal_file_close(file);
	gd_buf_deinit(&seen);
}

static void folders_are_made_and_others_files_are_not_taken(void **state)
{
	(void)state;
	struct gd_journal_file *file;
	struct gd_journal_file_found found;
	struct gd_error err = { 0 };
	char dir[256];
	(void)snprintf(dir, sizeof(dir), "%s", test_path("made"));
	assert_ok(gd_journal_file_open(dir, "j", note, NULL, &file, &found, &err), &err);
	gd_journal_file_close(file);
	struct stat st;
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	(void)snprintf(dir, sizeof(dir), "%s", test_path("no/such"));
	assert_fails(gd_journal_file_open(dir, "j", note, NULL, &file, &found, &err), -ENOENT, &err);
	assert_int_equal(mkdir(test_path("made/folder"), 0700), 0);
	(void)snprintf(dir, sizeof(dir), "%s", test_path("made"));
	assert_fails(gd_journal_file_open(dir, "folder", note, NULL, &file, &found, &err), -EISDIR,
	             &err);
	assert_contains(err.msg, "made/folder: open: Is a directory");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(records_come_back_in_their_order),
		test_case(a_line_looks_as_the_header_says),
		test_case(what_is_not_a_line_is_damage_and_what_is_not_whole_is_torn),
		test_case(a_damaged_file_takes_nothing_before_it_is_written_anew),
		test_case(what_was_left_of_a_rewrite_is_of_no_interest),
		test_case(a_file_beyond_our_limit_gives_what_is_within),
		test_case(folders_are_made_and_others_files_are_not_taken),
	};
	return test_run(tests);
}
