/*
 * Zombies that an injected clone left: only the target can reap its children, so it is made to, by another
 * injection.  They are told from the target's own by their exit signal, which is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "freeze/work.h"

#define REAP_NS INT64_C(2000000000)
#define REAP_STOP_NS INT64_C(50000000)
/* Freeing the page tables of a large child takes a second. */
#define TRIES 30
#define BETWEEN_NS 100000000
#define CHILDREN_MAX (1u << 20)

struct reaping {
	int32_t child; /* in the target's pid namespace */
	int64_t answer;
};

static int reap_in_tracer(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	struct reaping *reaping = arg;
	struct gd_inject_call call = {
		.nr = SYS_wait4,
		.args = { (uint64_t)reaping->child, 0, (uint64_t)(__WALL | WNOHANG), 0 },
	};
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0) {
		r = gd_inject_call(tracer, &call, err);
		int end = gd_inject_end(tracer, r == 0 ? err : NULL);
		r = r < 0 ? r : end;
	}
	gd_stop_detach(tracer);
	if (r < 0)
		return r;
	/* -EAGAIN: it has not ended yet; ECHILD: somebody was faster. */
	if (call.ret == 0)
		return gd_fail(err, -EAGAIN, "it has not ended yet");
	return call.ret > 0 || call.ret == -ECHILD
		? 0 : gd_fail_errno(err, (int)call.ret, "wait4 of %d", reaping->child);
}

int gd_freeze_reap(struct gd_target *target, int32_t child, struct gd_error *err)
{
	struct reaping reaping = { .child = child };
	struct gd_stop_job job = {
		.target = target,
		.run = reap_in_tracer,
		.arg = &reaping,
		.deadline_ns = REAP_NS,
		.stop_deadline_ns = REAP_STOP_NS,
	};
	/* wait4(2) takes 0 and less for whole groups, and would take a child that is the target's own. */
	if (child <= 0)
		return gd_fail(err, -EINVAL, "%d is no child's number", child);
	int r = -EAGAIN;
	for (int i = 0; i < TRIES && r < 0 && r != -ESRCH && r != -EPERM; i++) {
		struct gd_stop_report report = { 0 };
		struct timespec pause = { .tv_nsec = BETWEEN_NS };
		if (i > 0)
			(void)nanosleep(&pause, NULL);
		r = gd_stop_run(&job, &report, err);
	}
	return r;
}

static int close_in_tracer(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	struct gd_inject_call call = { .nr = SYS_close, .args = { (uint64_t)*(const int32_t *)arg } };
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0) {
		r = gd_inject_call(tracer, &call, err);
		int end = gd_inject_end(tracer, r == 0 ? err : NULL);
		r = r < 0 ? r : end;
	}
	gd_stop_detach(tracer);
	return r;
}

int gd_freeze_close_left(struct gd_target *target, int32_t fd, struct gd_error *err)
{
	char path[32];
	char link[64];
	(void)snprintf(path, sizeof(path), "fd/%d", fd);
	/* By now the number may be of something else. */
	if (gd_target_read_link(target, path, link, sizeof(link), NULL) < 0 ||
	    strcmp(link, "anon_inode:[userfaultfd]") != 0)
		return 0;
	struct gd_stop_report report = { 0 };
	struct gd_stop_job job = {
		.target = target,
		.run = close_in_tracer,
		.arg = &fd,
		.deadline_ns = REAP_NS,
		.stop_deadline_ns = REAP_STOP_NS,
	};
	return gd_stop_run(&job, &report, err);
}

enum left {
	NOT_LEFT,
	LEFT_DYING, /* it has no exit signal, but has not ended */
	LEFT_ZOMBIE,
};

/* Of a zombie *ret_inner is its number where the target lives. */
static enum left is_left(pid_t pid, int32_t *ret_inner)
{
	char path[64];
	char text[2048];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return NOT_LEFT;
	text[n] = '\0';
	char *p = strrchr(text, ')');
	if (p == NULL || p[1] != ' ')
		return NOT_LEFT;
	bool zombie = p[2] == 'Z';
	/* From the state, field 3, on to field 38. */
	p += 2;
	for (int field = 3; field < 38 && p != NULL; field++)
		p = strchr(p + 1, ' ');
	if (p == NULL || strtol(p, NULL, 10) != 0)
		return NOT_LEFT;
	if (!zombie)
		return LEFT_DYING;
	GD_BUF struct gd_buf status = GD_BUF_INIT(64 << 10);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (gd_io_read_file_at(AT_FDCWD, path, &status, NULL) < 0)
		return NOT_LEFT;
	/* NSpid: one number for each namespace, the innermost last. */
	const char *line = strstr(gd_buf_str(&status), "\nNSpid:");
	*ret_inner = pid;
	if (line != NULL) {
		const char *end = line + 1 + strcspn(line + 1, "\n");
		const char *last = end;
		while (last > line && last[-1] >= '0' && last[-1] <= '9')
			last--;
		*ret_inner = (int32_t)strtol(last, NULL, 10);
	}
	return LEFT_ZOMBIE;
}

/* Number of those reaped; *ret_dying: of those that could not be yet. */
static int tidy_once(struct gd_target *target, int *ret_dying, struct gd_error *err)
{
	GD_FREE pid_t *tids = NULL;
	size_t n;
	int found = 0;
	*ret_dying = 0;
	int r = gd_target_threads(target, &tids, &n, err);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		char path[64];
		GD_BUF struct gd_buf children = GD_BUF_INIT(CHILDREN_MAX);
		(void)snprintf(path, sizeof(path), "task/%d/children", tids[i]);
		if (gd_target_read_file(target, path, &children, NULL) < 0)
			continue;
		char *next = NULL;
		const char *p = gd_buf_str(&children);
		for (long pid = strtol(p, &next, 10); next != p; pid = strtol(p, &next, 10)) {
			int32_t inner;
			p = next;
			enum left left = is_left((pid_t)pid, &inner);
			*ret_dying += left == LEFT_DYING;
			if (left != LEFT_ZOMBIE)
				continue;
			found++;
			r = gd_freeze_reap(target, inner, err);
		}
	}
	return r < 0 ? r : found;
}

int gd_freeze_tidy(struct gd_target *target, struct gd_error *err)
{
	const struct timespec between = { .tv_nsec = BETWEEN_NS };
	int found = 0;
	for (int i = 0; i < TRIES; i++) {
		int dying;
		int r = tidy_once(target, &dying, err);
		if (r < 0)
			return r;
		found += r;
		if (dying == 0)
			break;
		(void)nanosleep(&between, NULL);
	}
	return found;
}
