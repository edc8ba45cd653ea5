#include "uploader/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/test.h"

struct seen {
	char text[4096]; /* all lines, each followed by ';' */
};

static void on_line(void *arg, const char *text)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text);
	(void)snprintf(seen->text + n, sizeof(seen->text) - n, "%s;", text);
}

struct opened {
	int dir_fd;
	struct gd_journal journal;
	struct gd_journal_found found;
	struct seen seen;
};

static int try_open(struct opened *o, struct gd_error *err)
{
	*o = (struct opened){ .dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		              .journal = GD_JOURNAL_INIT };
	return gd_journal_open(o->dir_fd, "journal", on_line, &o->seen, &o->journal, &o->found, err);
}

static struct opened open_it(void)
{
	struct opened o;
	struct gd_error err = { 0 };
	assert_ok(try_open(&o, &err), &err);
	return o;
}

static void close_it(struct opened *o)
{
	gd_journal_close(&o->journal);
	(void)close(o->dir_fd);
}

static struct gd_buf content(void)
{
	struct gd_buf buf = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("journal"), &buf, &err), &err);
	return buf;
}

/* Three lines in a closed journal; their bytes. */
static struct gd_buf three_lines(void)
{
	struct opened o = open_it();
	struct gd_error err = { 0 };
	(void)unlink(test_path("journal"));
	close_it(&o);
	o = open_it();
	assert_ok(gd_journal_append(&o.journal, "B one", &err), &err);
	assert_ok(gd_journal_append(&o.journal, "C two and more", &err), &err);
	assert_ok(gd_journal_append(&o.journal, "U three", &err), &err);
	close_it(&o);
	return content();
}

static void lines_come_back_as_they_were_appended(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	struct stat st;
	assert_int_equal(stat(test_path("journal"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_contains(gd_buf_str(&bytes), "0005 9fd4c6db B one\n");
	struct opened o = open_it();
	assert_string_equal(o.seen.text, "B one;C two and more;U three;");
	assert_int_equal(o.found.lines, 3);
	assert_false(o.found.torn_tail || o.found.damaged || o.journal.broken);
	close_it(&o);
}

static void cut_anywhere_only_the_last_line_is_lost(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	for (size_t n = 0; n <= bytes.len; n++) {
		struct gd_error err = { 0 };
		unsigned whole = 0;
		size_t good = 0;
		for (size_t i = 0; i < n; i++)
			if (bytes.data[i] == '\n') {
				whole++;
				good = i + 1;
			}
		(void)test_file("journal", bytes.data, n);
		struct opened o = open_it();
		assert_int_equal(o.found.lines, whole);
		assert_int_equal(o.found.torn_tail, good < n);
		assert_false(o.found.damaged);
		/* and a new line follows the good ones, not the rest of the torn one */
		assert_ok(gd_journal_append(&o.journal, "A next", &err), &err);
		close_it(&o);
		o = open_it();
		assert_int_equal(o.found.lines, whole + 1);
		assert_false(o.found.torn_tail || o.found.damaged);
		close_it(&o);
	}
}

static void zeros_behind_the_last_line_are_a_torn_tail(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	for (size_t n = 1; n < 4097; n += 819) {
		char zeros[8192] = "";
		memcpy(zeros, bytes.data, bytes.len - 4);
		(void)test_file("journal", zeros, bytes.len + n);
		struct opened o = open_it();
		assert_int_equal(o.found.lines, 2);
		assert_true(o.found.torn_tail);
		assert_false(o.found.damaged);
		close_it(&o);
	}
}

/* One bit: in the last line a torn tail, in any other damage; never a line with other words. */
static void any_flipped_bit_is_found(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	size_t last = 0;
	for (size_t i = 0; i + 1 < bytes.len; i++)
		if (bytes.data[i] == '\n')
			last = i + 1;
	for (size_t i = 0; i < bytes.len * 8; i++) {
		bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
		(void)test_file("journal", bytes.data, bytes.len);
		struct opened o = open_it();
		assert_int_equal(o.found.damaged || o.found.torn_tail, true);
		if (i / 8 < last - 1) /* its newline makes one line of the last two */
			assert_true(o.found.damaged);
		assert_in_range(o.found.lines, 1, 2);
		assert_null(strstr(o.seen.text, "?"));
		close_it(&o);
		bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
	}
}

static void a_damaged_journal_takes_no_line_before_it_is_replaced(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	struct gd_error err = { 0 };
	bytes.data[16] = 'X';
	(void)test_file("journal", bytes.data, bytes.len);
	struct opened o = open_it();
	assert_string_equal(o.seen.text, "C two and more;U three;");
	assert_true(o.found.damaged);
	assert_fails(gd_journal_append(&o.journal, "A x", &err), -EIO, &err);
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 16);
	gd_journal_put(&lines, "B anew");
	assert_ok(gd_journal_replace(&o.journal, &lines, 1, &err), &err);
	assert_ok(gd_journal_append(&o.journal, "A x", &err), &err);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "B anew;A x;");
	assert_false(o.found.damaged);
	close_it(&o);
	assert_int_equal(access(test_path("journal.new"), F_OK), -1);
}

static void only_printable_text_of_some_length_is_a_line(void **state)
{
	(void)state;
	struct opened o = open_it();
	struct gd_error err = { 0 };
	char longest[GD_JOURNAL_TEXT_MAX + 2];
	memset(longest, 'x', sizeof(longest));
	longest[GD_JOURNAL_TEXT_MAX + 1] = '\0';
	assert_int_equal(gd_journal_append(&o.journal, longest, &err), -EINVAL);
	longest[GD_JOURNAL_TEXT_MAX] = '\0';
	assert_ok(gd_journal_append(&o.journal, longest, &err), &err);
	assert_int_equal(gd_journal_append(&o.journal, "two\nlines", &err), -EINVAL);
	assert_int_equal(gd_journal_append(&o.journal, "", &err), -EINVAL);
	close_it(&o);
	o = open_it();
	assert_int_equal(o.found.lines, 1);
	close_it(&o);
}

static void what_is_not_a_file_is_refused(void **state)
{
	(void)state;
	struct opened o;
	struct gd_error err = { 0 };
	assert_int_equal(symlink("/etc/passwd", test_path("journal")), 0);
	assert_fails(try_open(&o, &err), -EPERM, &err);
	(void)close(o.dir_fd);
	assert_int_equal(unlink(test_path("journal")), 0);
	assert_int_equal(mkfifo(test_path("journal"), 0600), 0);
	assert_fails(try_open(&o, &err), -EPERM, &err);
	(void)close(o.dir_fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(lines_come_back_as_they_were_appended),
		test_case(cut_anywhere_only_the_last_line_is_lost),
		test_case(zeros_behind_the_last_line_are_a_torn_tail),
		test_case(any_flipped_bit_is_found),
		test_case(a_damaged_journal_takes_no_line_before_it_is_replaced),
		test_case(only_printable_text_of_some_length_is_a_line),
		test_case(what_is_not_a_file_is_refused),
	};
	return test_run(tests);
}
