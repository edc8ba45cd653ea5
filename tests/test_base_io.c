#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/fault.h"
#include "tests/test.h"

static void a_file_is_read_whole(void **state)
{
	(void)state;
	char text[50000];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 % 251);
	const char *path = test_file("f", text, sizeof(text));
	GD_BUF struct gd_buf buf = GD_BUF_INIT(100000);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &buf, &err), &err);
	assert_int_equal(buf.len, sizeof(text));
	assert_memory_equal(buf.data, text, sizeof(text));
}

static void the_ceiling_tells_full_from_too_long(void **state)
{
	(void)state;
	const char *path = test_file("f", "0123456789", 10);
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf exact = GD_BUF_INIT(10);
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &exact, &err), &err);
	assert_string_equal(gd_buf_str(&exact), "0123456789");

	GD_BUF struct gd_buf small = GD_BUF_INIT(9);
	assert_fails(gd_io_read_file_at(AT_FDCWD, path, &small, &err), -E2BIG, &err);
	assert_contains(err.msg, path);
	assert_contains(err.msg, "9 bytes");
}

static void what_was_there_before_is_kept(void **state)
{
	(void)state;
	const char *path = test_file("f", "world", 5);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(100);
	gd_buf_puts(&buf, "hello ");
	assert_int_equal(gd_io_read_file_at(AT_FDCWD, path, &buf, NULL), 0);
	assert_string_equal(gd_buf_str(&buf), "hello world");
}

static void a_missing_file_is_named(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(10);
	struct gd_error err = { 0 };
	int r = gd_io_read_file_at(AT_FDCWD, "/nonexistent/file", &buf, &err);
	assert_fails(r, -ENOENT, &err);
	assert_string_equal(err.msg, "/nonexistent/file: No such file or directory");
	/* and what is there but is no file */
	assert_fails(gd_io_read_file_at(AT_FDCWD, test_dir(), &buf, &err), -EISDIR, &err);
}

static void a_symlink_as_last_component_is_refused(void **state)
{
	(void)state;
	(void)test_file("secret", "x", 1);
	const char *link = test_path("link");
	assert_int_equal(symlink("secret", link), 0);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(10);
	struct gd_error err = { 0 };
	assert_fails(gd_io_read_file_at(AT_FDCWD, link, &buf, &err), -ELOOP, &err);
	assert_int_equal(buf.len, 0);
}

static void a_fifo_does_not_hang_us(void **state)
{
	(void)state;
	const char *fifo = test_path("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(10);
	assert_int_equal(gd_io_read_file_at(AT_FDCWD, fifo, &buf, NULL), 0);
	assert_int_equal(buf.len, 0);
}

static void paths_are_relative_to_the_descriptor(void **state)
{
	(void)state;
	(void)test_file("inner", "yes", 3);
	GD_CLOSE int dir = open(test_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(10);
	assert_int_equal(gd_io_read_file_at(dir, "inner", &buf, NULL), 0);
	assert_string_equal(gd_buf_str(&buf), "yes");
}

static void a_proc_file_of_unknown_size_is_read_to_its_end(void **state)
{
	(void)state;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, "/proc/self/status", &buf, &err), &err);
	assert_contains(gd_buf_str(&buf), "nonvoluntary_ctxt_switches:");
}

static void pread_wants_exactly_that_many_bytes(void **state)
{
	(void)state;
	const char *path = test_file("f", "0123456789", 10);
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char to[8] = "";
	struct gd_error err = { 0 };
	assert_ok(gd_io_pread_all(fd, to, 4, 6, &err), &err);
	assert_memory_equal(to, "6789", 4);
	assert_ok(gd_io_pread_all(fd, to, 0, 99, &err), &err);
	assert_fails(gd_io_pread_all(fd, to, 5, 6, &err), -EBADMSG, &err);
	assert_contains(err.msg, "offset 11");
	assert_fails(gd_io_pread_all(-1, to, 1, 0, &err), -EBADF, &err);
}

static volatile sig_atomic_t n_alarms;

static void on_alarm(int sig)
{
	(void)sig;
	n_alarms++;
}

struct slow_reader {
	int fd;
	size_t got;
};

/* Takes little at a time and with pauses, so that the writer blocks and is interrupted. */
static void *read_slowly(void *arg)
{
	struct slow_reader *r = arg;
	char bytes[4096];
	ssize_t n;
	while ((n = read(r->fd, bytes, sizeof(bytes))) > 0) {
		r->got += (size_t)n;
		(void)usleep(200);
	}
	return NULL;
}

static void short_and_interrupted_writes_are_continued(void **state)
{
	(void)state;
	enum { N = 2000000 };
	int pair[2];
	static char bytes[N];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct slow_reader reader = { .fd = pair[1] };
	sigset_t alarm_only;
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	pthread_t thread;
	/* The reader must not take the signals meant for the writer. */
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL), 0);

	struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
	struct sigaction before;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	struct itimerval often = { .it_interval.tv_usec = 2000, .it_value.tv_usec = 2000 };
	struct itimerval never = { 0 };
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	struct gd_error err = { 0 };
	int r = gd_io_write_all(pair[0], bytes, N, &err);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	(void)close(pair[0]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(pair[1]);
	assert_ok(r, &err);
	assert_int_equal(reader.got, N);
	assert_true(n_alarms > 0);
}

static void a_full_disk_is_an_error(void **state)
{
	(void)state;
	GD_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct gd_error err = { 0 };
	assert_true(full >= 0);
	assert_fails(gd_io_write_all(full, "x", 1, &err), -ENOSPC, &err);
	assert_string_equal(err.msg, "write: No space left on device");
}

/* Interrupted at each read in turn, then given one byte at each: the content is the same. */
static void interrupted_and_short_reads_are_continued(void **state)
{
	(void)state;
	static char text[40000];
	static const int errors[] = { EINTR, FAULT_SHORT };
	memset(text, 'r', sizeof(text));
	const char *path = test_file("f", text, sizeof(text));
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < 2; i++) {
		unsigned n = 1;
		bool fired;
		do {
			GD_BUF struct gd_buf buf = GD_BUF_INIT(sizeof(text));
			struct gd_error err = { 0 };
			assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
			fault_arm(FAULT_READ, n++, errors[i]);
			int r = gd_io_read_all(fd, &buf, &err);
			fired = fault_disarm();
			assert_ok(r, &err);
			assert_int_equal(buf.len, sizeof(text));
			assert_memory_equal(buf.data, text, sizeof(text));
		} while (fired);
		assert_true(n > 4); /* it did take several reads */

		char to[64];
		fault_arm_from(FAULT_PREAD, 1, errors[i] == EINTR ? FAULT_SHORT : errors[i]);
		int r = gd_io_pread_all(fd, to, sizeof(to), 100, NULL);
		assert_true(fault_disarm());
		assert_int_equal(r, 0);
		assert_memory_equal(to, text, sizeof(to));
	}
}

static void each_failing_call_is_the_error_one_gets(void **state)
{
	(void)state;
	const char *path = test_file("f", "0123456789", 10);
	for (unsigned n = 1;; n++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(100);
		struct gd_error err = { 0 };
		int fds = test_count_fds();
		fault_arm(FAULT_OPENAT | FAULT_READ, n, EIO);
		int r = gd_io_read_file_at(AT_FDCWD, path, &buf, &err);
		bool fired = fault_disarm();
		assert_int_equal(test_count_fds(), fds);
		if (!fired) {
			assert_ok(r, &err);
			assert_int_equal(n, 4); /* open, read, read the end */
			break;
		}
		assert_fails(r, -EIO, &err);
		assert_contains(err.msg, path);
	}
}

static void memory_running_out_is_the_error_one_gets(void **state)
{
	(void)state;
	const char *path = test_file("f", "0123456789", 10);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(100);
	struct gd_error err = { 0 };
	fault_arm(FAULT_MEMORY, 1, ENOMEM);
	int r = gd_io_read_file_at(AT_FDCWD, path, &buf, &err);
	assert_true(fault_disarm());
	assert_fails(r, -ENOMEM, &err);
	assert_contains(err.msg, path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_file_is_read_whole),
		test_case(the_ceiling_tells_full_from_too_long),
		test_case(what_was_there_before_is_kept),
		test_case(a_missing_file_is_named),
		test_case(a_symlink_as_last_component_is_refused),
		test_case(a_fifo_does_not_hang_us),
		test_case(paths_are_relative_to_the_descriptor),
		test_case(a_proc_file_of_unknown_size_is_read_to_its_end),
		test_case(pread_wants_exactly_that_many_bytes),
		test_case(short_and_interrupted_writes_are_continued),
		test_case(a_full_disk_is_an_error),
		test_case(interrupted_and_short_reads_are_continued),
		test_case(each_failing_call_is_the_error_one_gets),
		test_case(memory_running_out_is_the_error_one_gets),
	};
	return test_run(tests);
}
