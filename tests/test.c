#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

#define FDS_MAX 1024

static bool open_before[FDS_MAX];
static char dir[PATH_MAX];

void victims_stop_all(void);

/* Marks which descriptors are open now. */
static int mark_fds(bool open_now[FDS_MAX])
{
	int n = 0;
	memset(open_now, 0, FDS_MAX * sizeof(*open_now));
	DIR *fds = opendir("/proc/self/fd");
	if (fds == NULL)
		return -1;
	struct dirent *entry;
	while ((entry = readdir(fds)) != NULL) {
		int fd = (int)strtol(entry->d_name, NULL, 10);
		if (entry->d_name[0] == '.' || fd == dirfd(fds) || fd >= FDS_MAX)
			continue;
		open_now[fd] = true;
		n++;
	}
	(void)closedir(fds);
	return n;
}

int test_count_fds(void)
{
	bool open_now[FDS_MAX];
	return mark_fds(open_now);
}

int test_before(void **state)
{
	(void)state;
	dir[0] = '\0';
	return mark_fds(open_before) < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) == 0)
		return 0;
	/* A test may have taken away the right to empty a directory. */
	return -1;
}

static int leaked_fds(void)
{
	bool open_now[FDS_MAX];
	int leaked = 0;
	if (mark_fds(open_now) < 0)
		return -1;
	for (int fd = 0; fd < FDS_MAX; fd++) {
		if (!open_now[fd] || open_before[fd])
			continue;
		char link[64];
		char what[256] = "?";
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, what, sizeof(what) - 1);
		what[n > 0 ? n : 0] = '\0';
		printf("# descriptor %d left open: %s\n", fd, what);
		/* Or the next test would be blamed again. */
		(void)close(fd);
		leaked++;
	}
	return leaked;
}

/* A child that nobody waited for: forgotten by the test, or by the code it looks at. */
static bool left_a_child(void)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);
	if (pid < 0)
		return false;
	if (pid > 0)
		printf("# child %d was not waited for\n", (int)pid);
	else
		printf("# a child is still running\n");
	return true;
}

int test_after(void **state)
{
	(void)state;
	victims_stop_all();
	bool child = left_a_child();
	if (dir[0] != '\0' && nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		printf("# %s could not be removed: %s\n", dir, strerror(errno));
	dir[0] = '\0';
	return leaked_fds() == 0 && !child ? 0 : -1;
}

int test_run_n(const char *file, const struct CMUnitTest *tests, size_t n)
{
	/* Ours and cmocka's lines in one order, and none twice when a test forks. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	/* A victim that died is an EPIPE, not our death. */
	(void)signal(SIGPIPE, SIG_IGN);
	return _cmocka_run_group_tests(file, tests, n, NULL, NULL);
}

void test_skip(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	printf("skipped: ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
	skip();
	abort(); /* skip() jumps */
}

void test_ok(long r, const struct gd_error *err, const char *file, int line)
{
	if (r >= 0)
		return;
	print_error("returned %ld: %s\n", r, err != NULL ? err->msg : strerror((int)-r));
	_fail(file, line);
}

void test_fails(long r, int code, const struct gd_error *err, const char *file, int line)
{
	if (r == code && (err == NULL || (err->code == code && err->msg[0] != '\0')))
		return;
	print_error("returned %ld (%s), expected %d (%s)\n", r, r < 0 ? strerror((int)-r) : "success",
	            code, strerror(-code));
	if (err != NULL)
		print_error("error holds %d: \"%s\"\n", err->code, err->msg);
	_fail(file, line);
}

void test_contains(const char *haystack, const char *needle, const char *file, int line)
{
	if (haystack != NULL && strstr(haystack, needle) != NULL)
		return;
	print_error("\"%s\" is not in:\n%s\n", needle, haystack != NULL ? haystack : "(null)");
	_fail(file, line);
}

void test_child(pid_t pid, int code, const char *file, int line)
{
	int status = 0;
	pid_t got;
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got == pid && WIFEXITED(status) && WEXITSTATUS(status) == code)
		return;
	if (got != pid)
		print_error("no child %d: %s\n", (int)pid, strerror(errno));
	else if (WIFSIGNALED(status))
		print_error("child ended by signal %d, expected exit %d\n", WTERMSIG(status), code);
	else
		print_error("child ended with %d, expected %d\n", WEXITSTATUS(status), code);
	_fail(file, line);
}

const char *test_dir(void)
{
	if (dir[0] == '\0') {
		const char *tmp = getenv("TMPDIR");
		(void)snprintf(dir, sizeof(dir), "%s/godiag-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(dir) == NULL)
			fail_msg("%s: %s", dir, strerror(errno));
	}
	return dir;
}

const char *test_path(const char *name)
{
	/* A handful at a time is plenty for one test. */
	static char paths[16][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 16];
	if (snprintf(path, PATH_MAX, "%s/%s", test_dir(), name) >= PATH_MAX)
		fail_msg("path of %s is too long", name);
	return path;
}

const char *test_file(const char *name, const void *bytes, size_t n)
{
	const char *path = test_path(name);
	struct gd_error err = { 0 };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	int r = gd_io_write_all(fd, bytes, n, &err);
	(void)close(fd);
	assert_ok(r, &err);
	return path;
}
