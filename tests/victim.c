/* Victims: the part of tests/test.h that starts programs with a known state. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define VICTIMS_MAX 16
#define ARGS_MAX 64
#define WAIT_MS 20000
#define SAID_MAX (64 << 20)

static struct victim victims[VICTIMS_MAX];

void victims_stop_all(void);

const char *victim_path(const char *name)
{
	static char path[PATH_MAX];
	const char *root = getenv("VICTIMS");
	(void)snprintf(path, sizeof(path), "%s/%s", root != NULL ? root : "build/victims", name);
	return path;
}

const char *victim_go_if_built(const char *name, const char *release, const char *variant,
                               struct gd_error *why)
{
	static char path[PATH_MAX];
	char index[PATH_MAX + 8];
	(void)snprintf(index, sizeof(index), "%s.index", victim_path(name));
	FILE *lines = fopen(index, "re");
	if (lines == NULL) {
		(void)gd_fail_errno(why, -errno, "%s: make victims", index);
		return NULL;
	}
	/* "built RELEASE VARIANT FILE" or "skipped RELEASE VARIANT|- REASON" */
	char line[PATH_MAX + 64];
	bool found = false;
	(void)gd_fail(why, -ENOENT, "%s is not built by Go %s as %s", name, release, variant);
	while (!found && fgets(line, sizeof(line), lines) != NULL) {
		char how[16];
		char with[32];
		char as[32];
		int end = 0;
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%15s %31s %31s %n", how, with, as, &end) != 3 || end == 0 ||
		    strcmp(with, release) != 0)
			continue;
		found = strcmp(how, "built") == 0 && strcmp(as, variant) == 0;
		if (found)
			(void)snprintf(path, sizeof(path), "%s", line + end);
		else if (strcmp(how, "skipped") == 0 &&
		         (strcmp(as, "-") == 0 || strcmp(as, variant) == 0))
			(void)gd_fail(why, -ENOENT, "%s by Go %s as %s: %s", name, release, variant,
			              line + end);
	}
	(void)fclose(lines);
	return found ? path : NULL;
}

const char *victim_go(const char *name, const char *release, const char *variant)
{
	struct gd_error why = { 0 };
	const char *path = victim_go_if_built(name, release, variant, &why);
	if (path == NULL)
		test_skip("%s", why.msg);
	return path;
}

static struct victim *free_slot(void)
{
	for (size_t i = 0; i < VICTIMS_MAX; i++)
		if (victims[i].pid == 0)
			return &victims[i];
	fail_msg("more than %d victims at once", VICTIMS_MAX);
	abort(); /* fail_msg() jumps */
}

static void run_child(const char *path, char *const argv[], int in_fd, int out_fd, pid_t parent)
{
	if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(126);
	/* The victim must not outlive a test that crashed, also when that happened just now. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(126);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)execv(path, argv);
	_exit(127);
}

static bool is_ready(struct victim *v, const char *line)
{
	if (strncmp(line, "ready", 5) != 0 || (line[5] != '\0' && line[5] != ' '))
		return false;
	(void)snprintf(v->ready, sizeof(v->ready), "%s", line[5] == ' ' ? line + 6 : "");
	return true;
}

struct victim *victim_start(const char *path, ...)
{
	char full[PATH_MAX];
	char *argv[ARGS_MAX + 2] = { full };
	int in[2];
	int out[2];
	(void)snprintf(full, sizeof(full), "%s", strchr(path, '/') != NULL ? path : victim_path(path));
	va_list args;
	va_start(args, path);
	for (size_t n = 1; n <= ARGS_MAX && (argv[n] = va_arg(args, char *)) != NULL;)
		n++;
	va_end(args);

	struct victim *v = free_slot();
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
		fail_msg("pipe: %s", strerror(errno));
		abort(); /* fail_msg() jumps */
	}
	pid_t parent = getpid();
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_child(full, argv, in[0], out[1], parent);
	(void)close(in[0]);
	(void)close(out[1]);
	*v = (struct victim){
		.pid = pid,
		.in_fd = in[1],
		.out_fd = out[0],
		.said = GD_BUF_INIT(SAID_MAX),
		.rest = GD_BUF_INIT(SAID_MAX),
	};

	const char *line;
	while ((line = victim_line(v)) != NULL && !is_ready(v, line)) {
		gd_buf_puts(&v->said, line);
		gd_buf_putc(&v->said, '\n');
	}
	(void)gd_buf_str(&v->said);
	if (line == NULL)
		fail_msg("%s ended before it was ready (or is not there)", full);
	return v;
}

void victim_stop(struct victim *v)
{
	if (v == NULL || v->pid == 0)
		return;
	(void)kill(v->pid, SIGKILL);
	while (waitpid(v->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (v->in_fd >= 0)
		(void)close(v->in_fd);
	(void)close(v->out_fd);
	gd_buf_deinit(&v->said);
	gd_buf_deinit(&v->rest);
	*v = (struct victim){ 0 };
}

void victims_stop_all(void)
{
	for (size_t i = 0; i < VICTIMS_MAX; i++)
		victim_stop(&victims[i]);
}

/* Reads more of its stdout; 0 at end of file. */
static ssize_t read_more(struct victim *v, int64_t deadline_ns)
{
	int64_t left_ms = (deadline_ns - gd_clock_monotonic_ns()) / 1000000;
	struct pollfd p = { .fd = v->out_fd, .events = POLLIN };
	int r = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
	if (r < 0 && errno == EINTR)
		return read_more(v, deadline_ns);
	if (r == 0)
		fail_msg("victim %d said nothing for %d s", (int)v->pid, WAIT_MS / 1000);
	char *to = gd_buf_reserve(&v->rest, 65536);
	assert_non_null(to);
	ssize_t n = read(v->out_fd, to, 65536);
	if (n > 0)
		v->rest.len += (size_t)n;
	return n;
}

const char *victim_line(struct victim *v)
{
	static struct gd_buf line = GD_BUF_INIT(SAID_MAX);
	int64_t deadline_ns = gd_clock_monotonic_ns() + (int64_t)WAIT_MS * 1000000;
	char *newline;
	while ((newline = v->rest.len > 0 ? memchr(v->rest.data, '\n', v->rest.len) : NULL) == NULL)
		if (read_more(v, deadline_ns) <= 0)
			return NULL;
	size_t n = (size_t)(newline - v->rest.data);
	gd_buf_reset(&line);
	gd_buf_append(&line, v->rest.data, n);
	v->rest.len -= n + 1;
	memmove(v->rest.data, newline + 1, v->rest.len);
	return gd_buf_str(&line);
}

void victim_tell(struct victim *v, const char *line)
{
	struct gd_error err = { 0 };
	assert_ok(gd_io_write_all(v->in_fd, line, strlen(line), &err), &err);
	assert_ok(gd_io_write_all(v->in_fd, "\n", 1, &err), &err);
}
