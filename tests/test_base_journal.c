#include "base/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/fault.h"
#include "tests/test.h"

struct seen {
	char text[4096]; /* all lines, each followed by ';' */
};

static int on_line(void *arg, char *text)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text);
	(void)snprintf(seen->text + n, sizeof(seen->text) - n, "%s;", text);
	return strncmp(text, "nonsense", 8) == 0 ? -EBADMSG : 0;
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

static int append(struct opened *o, const char *text, struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 16);
	gd_journal_put(&lines, text);
	return gd_journal_append(&o->journal, &lines, true, err);
}

static int replace(struct opened *o, const char *text, struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 16);
	gd_journal_put(&lines, text);
	return gd_journal_replace(&o->journal, &lines, err);
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
	assert_ok(append(&o, "B one", &err), &err);
	assert_ok(append(&o, "C two and more", &err), &err);
	assert_ok(append(&o, "U three", &err), &err);
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
	assert_false(o.found.torn_tail || o.found.damaged > 0 || o.journal.broken);
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
		assert_int_equal(o.found.damaged, 0);
		/* and a new line follows the good ones, not the rest of the torn one */
		assert_ok(append(&o, "A next", &err), &err);
		close_it(&o);
		o = open_it();
		assert_int_equal(o.found.lines, whole + 1);
		assert_false(o.found.torn_tail || o.found.damaged > 0);
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
		assert_int_equal(o.found.damaged, 0);
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
		assert_true(o.found.damaged > 0 || o.found.torn_tail);
		if (i / 8 < last - 1) /* its newline makes one line of the last two */
			assert_true(o.found.damaged > 0);
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
	assert_true(o.found.damaged > 0);
	assert_fails(append(&o, "A x", &err), -EIO, &err);
	assert_ok(replace(&o, "B anew", &err), &err);
	assert_ok(append(&o, "A x", &err), &err);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "B anew;A x;");
	assert_int_equal(o.found.damaged, 0);
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
	assert_fails(append(&o, longest, &err), -EINVAL, &err);
	longest[GD_JOURNAL_TEXT_MAX] = '\0';
	assert_ok(append(&o, longest, &err), &err);
	assert_fails(append(&o, "two\nlines", &err), -EINVAL, &err);
	assert_fails(append(&o, "", &err), -EINVAL, &err);
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
	assert_int_equal(unlink(test_path("journal")), 0);
	assert_int_equal(mkdir(test_path("journal"), 0700), 0);
	assert_fails(try_open(&o, &err), -EPERM, &err);
	assert_contains(err.msg, "journal: not a regular file");
	(void)close(o.dir_fd);
}

static void what_is_not_a_line_is_damage_and_what_is_not_whole_is_torn(void **state)
{
	(void)state;
	/* RFC 3720, B.4: the CRC-32C of "123456789" is e3069283. */
	static const char good[] = "0009 e3069283 123456789\n";
	static const struct {
		const char *before, *after; /* the good line; NULL: without it */
		bool torn;
		unsigned damaged;
	} cases[] = {
		{ "", NULL, false, 0 },
		{ "", "", false, 0 },
		{ "0009 e3069283 123456789", NULL, true, 0 },
		{ "0009 e3069283 123456788\n", NULL, true, 0 },
		{ "0009 e3069283 123456788\n", "", false, 1 },
		{ "\n", "", false, 1 },
		{ "", "\n", true, 0 },
		{ "", "\n\n", false, 2 },
		{ "", "0009 e306\n0009", false, 2 },
		{ "0009 E3069283 123456789\n", "", false, 1 },
		{ "9 e3069283 123456789\n", "", false, 1 },
		{ "000a e3069283 123456789\n", "", false, 1 },
		{ "0009_e3069283 123456789\n", "", false, 1 },
		{ "0009 e306\n", "0009 e3", false, 2 },
		{ "0000 00000000 \n", "", false, 1 },
	};
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	gd_journal_put(&line, "123456789");
	assert_string_equal(gd_buf_str(&line), good);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200];
		const char *after = cases[i].after;
		(void)snprintf(text, sizeof(text), "%s%s%s", cases[i].before,
		               after != NULL ? good : "", after != NULL ? after : "");
		(void)test_file("journal", text, strlen(text));
		struct opened o = open_it();
		if (o.found.torn_tail != cases[i].torn || o.found.damaged != cases[i].damaged)
			fail_msg("case %zu: torn %d, damaged %u", i, o.found.torn_tail,
			         o.found.damaged);
		assert_string_equal(o.seen.text, after != NULL ? "123456789;" : "");
		assert_true(o.journal.broken == (o.found.damaged > 0));
		close_it(&o);
		/* What is damaged stays as it was found. */
		GD_BUF struct gd_buf left = content();
		if (cases[i].damaged > 0)
			assert_string_equal(gd_buf_str(&left), text);
		else
			assert_string_equal(gd_buf_str(&left), after != NULL ? good : "");
	}
}

static void a_line_that_makes_no_sense_is_damage(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct opened o = open_it();
	assert_ok(append(&o, "one", &err), &err);
	assert_ok(append(&o, "nonsense", &err), &err);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "one;nonsense;");
	assert_int_equal(o.found.lines, 1);
	assert_int_equal(o.found.damaged, 1);
	assert_false(o.found.torn_tail);
	assert_true(o.journal.broken);
	close_it(&o);
	/* A torn line after it is damage too, and stays. */
	GD_BUF struct gd_buf bytes = content();
	GD_CLOSE int fd = open(test_path("journal"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "0009", 4), 4);
	o = open_it();
	assert_int_equal(o.found.damaged, 2);
	assert_false(o.found.torn_tail);
	close_it(&o);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, bytes.len + 4);
}

static void what_was_damaged_is_kept_under_another_name(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = three_lines();
	struct gd_error err = { 0 };
	bytes.data[16] = 'X';
	(void)test_file("journal", bytes.data, bytes.len);
	(void)test_file("journal.bad", "an older one", 12);
	struct opened o = open_it();
	assert_ok(gd_journal_keep(&o.journal, o.dir_fd, "journal.bad", &err), &err);
	assert_ok(replace(&o, "B anew", &err), &err);
	assert_ok(append(&o, "A x", &err), &err);
	close_it(&o);
	GD_BUF struct gd_buf kept = GD_BUF_INIT(1 << 20);
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("journal.bad"), &kept, &err), &err);
	assert_int_equal(kept.len, bytes.len);
	assert_memory_equal(kept.data, bytes.data, bytes.len);
}

static void what_was_left_of_a_replacement_is_of_no_interest(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct opened o = open_it();
	assert_ok(append(&o, "one", &err), &err);
	(void)test_file("journal.new", "half a li", 9);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "one;");
	assert_ok(replace(&o, "two", &err), &err);
	assert_int_equal(o.journal.lines, 1);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "two;");
	close_it(&o);
	assert_int_equal(access(test_path("journal.new"), F_OK), -1);
}

static int count(void *arg, char *text)
{
	(void)text;
	(*(size_t *)arg)++;
	return 0;
}

static void a_file_beyond_our_limit_gives_what_is_within_and_is_not_cut(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(GD_JOURNAL_BYTES_MAX + 4096);
	struct gd_journal journal = GD_JOURNAL_INIT;
	struct gd_journal_found found;
	struct gd_error err = { 0 };
	struct stat st;
	size_t n = 0;
	size_t n_put = 0;
	char text[1024];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (; lines.len <= GD_JOURNAL_BYTES_MAX; n_put++)
		gd_journal_put(&lines, text);
	(void)test_file("journal", lines.data, lines.len);
	int dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(gd_journal_open(dir_fd, "journal", count, &n, &journal, &found, &err), &err);
	assert_true(found.damaged > 0 && !found.torn_tail && journal.broken);
	assert_true(n > n_put / 10 * 9);
	assert_int_equal(stat(test_path("journal"), &st), 0);
	assert_int_equal(st.st_size, lines.len);
	gd_journal_close(&journal);
	(void)close(dir_fd);
}

static void one_process_has_it_open_also_after_it_was_replaced(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct opened o = open_it();
	for (int replaced = 0; replaced < 2; replaced++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct opened other;
			_exit(try_open(&other, &err) == -EBUSY ? 0 : 1);
		}
		test_child_exits(pid, 0);
		assert_ok(replace(&o, "B anew", &err), &err);
	}
	close_it(&o);
}

static void several_lines_go_in_together(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(4096);
	struct opened o = open_it();
	gd_journal_put(&lines, "one");
	gd_journal_put(&lines, "two");
	assert_ok(gd_journal_append(&o.journal, &lines, false, &err), &err);
	assert_int_equal(o.journal.lines, 2);
	assert_int_equal(o.journal.bytes, lines.len);
	gd_journal_put(&lines, "bad\n");
	assert_fails(gd_journal_append(&o.journal, &lines, false, &err), -EINVAL, &err);
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "one;two;");
	close_it(&o);
}

/* --- disks that fail ----------------------------------------------------------------------- */

#define CALLS (FAULT_READ | FAULT_WRITE | FAULT_OPENAT | FAULT_FSYNC | FAULT_LINKAT | FAULT_NAMES)

/* What was reported as done is there, what was not is not, and nothing is damaged. */
static void any_call_may_fail_and_what_was_reported_is_so(void **state)
{
	(void)state;
	static const int errors[] = { EIO, ENOSPC, FAULT_SHORT };
	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
		for (unsigned n = 1;; n++) {
			char expected[64] = "";
			struct gd_error err = { 0 };
			struct opened o;
			(void)unlink(test_path("journal"));
			fault_arm(errors[e] == FAULT_SHORT ? FAULT_READ | FAULT_WRITE : CALLS, n,
			          errors[e]);
			bool open = try_open(&o, &err) == 0;
			if (open && append(&o, "one", &err) == 0)
				(void)snprintf(expected, sizeof(expected), "one;");
			bool replaced = open && replace(&o, "anew", &err) == 0;
			if (replaced)
				(void)snprintf(expected, sizeof(expected), "anew;");
			/* Replaced, but not for sure. */
			bool unsure = open && !replaced && o.journal.broken;
			if (open && append(&o, "two", &err) == 0)
				(void)snprintf(expected + strlen(expected), 8, "two;");
			bool fired = fault_disarm();
			close_it(&o);
			o = open_it();
			if (!unsure)
				assert_string_equal(o.seen.text, expected);
			assert_false(o.found.torn_tail || o.found.damaged > 0);
			assert_ok(append(&o, "later", &err), &err);
			close_it(&o);
			if (!fired)
				break;
		}
}

static void a_line_whose_sync_failed_is_taken_back_and_not_tried_again(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct opened o = open_it();
	assert_ok(append(&o, "one", &err), &err);
	fault_arm(FAULT_FSYNC, 1, EIO);
	assert_fails(append(&o, "two", &err), -EIO, &err);
	assert_true(fault_disarm());
	assert_true(o.journal.broken);
	assert_fails(append(&o, "two", &err), -EIO, &err);
	assert_contains(err.msg, "could not be written before");
	close_it(&o);
	o = open_it();
	assert_string_equal(o.seen.text, "one;");
	close_it(&o);
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
		test_case(what_is_not_a_line_is_damage_and_what_is_not_whole_is_torn),
		test_case(a_line_that_makes_no_sense_is_damage),
		test_case(what_was_damaged_is_kept_under_another_name),
		test_case(what_was_left_of_a_replacement_is_of_no_interest),
		test_case(a_file_beyond_our_limit_gives_what_is_within_and_is_not_cut),
		test_case(one_process_has_it_open_also_after_it_was_replaced),
		test_case(several_lines_go_in_together),
		test_case(any_call_may_fail_and_what_was_reported_is_so),
		test_case(a_line_whose_sync_failed_is_taken_back_and_not_tried_again),
	};
	return test_run(tests);
}
