/*
 * The parent's side: tracer and guard are forked, waited for, and killed when late.
 *
 *	parent ──fork──► tracer   waits for the guard's word, prepares, runs the job, ends
 *	       └─fork──► guard    holds the tracer's pidfd; says "go"; ends after the tracer
 *
 * The guard that dies takes the tracer with it (nobody would watch it), and the parent both.
 */
#include "freeze/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "freeze/guard.h"
#include "freeze/tracer.h"

#define PREPARE_NS INT64_C(20000000000)
#define GRACE_NS INT64_C(2000000000) /* for the guard before the parent does its work */
#define KEEP_MAX 64
#define STACK_TOUCHED 65536

struct stop {
	const struct gd_stop_job *job;
	struct gd_tracer_shared *shared;
	pid_t parent, tracer, guard;
	int news_fd, go_read_fd, go_write_fd, tracer_fd, guard_fd;
	int64_t started_ns;
};

static void be(const char *name, pid_t parent)
{
	(void)prctl(PR_SET_NAME, name);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

/* Closes all but 0 to 2 and these. */
static void close_others(int *keep, size_t n)
{
	unsigned from = 3;
	qsort(keep, n, sizeof(*keep), ascending);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < (int)from)
			continue;
		if ((unsigned)keep[i] > from)
			(void)syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	(void)syscall(SYS_close_range, from, ~0u, 0);
}

/* ---- the tracer ------------------------------------------------------------------------------ */

static void block_signals(void)
{
	sigset_t all;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)signal(SIGCHLD, SIG_DFL);
}

/* Out of memory kills somebody else first (G1); needs CAP_SYS_RESOURCE, and is no condition. */
static void resist_the_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = write(fd, "-1000", 5);
	(void)n;
	(void)close(fd);
}

static __attribute__((noinline)) void touch_stack(void)
{
	volatile char page[STACK_TOUCHED];
	for (size_t i = 0; i < sizeof(page); i += 4096)
		page[i] = 0;
}

static void wait_for_the_guard(const struct stop *stop)
{
	char go;
	(void)close(stop->go_write_fd);
	if (read(stop->go_read_fd, &go, 1) != 1)
		_exit(1); /* there is no guard: nothing is touched */
	(void)close(stop->go_read_fd);
}

static int run_job(const struct stop *stop, struct gd_error *err)
{
	const struct gd_stop_job *job = stop->job;
	struct gd_tracer *tracer = NULL;
	int r = gd_tracer_create(job->target, stop->shared, stop->news_fd, &tracer, err);
	if (r < 0)
		return r;
	gd_inject_prepare(tracer);
	if (job->prepare != NULL) {
		r = job->prepare(tracer, job->arg, err);
		if (r < 0)
			return r;
	}
	touch_stack();
	tracer->deadline_ns = gd_clock_monotonic_ns() + job->deadline_ns;
	gd_tracer_note_prepared(tracer);
	r = job->run(tracer, job->arg, err);
	gd_stop_detach(tracer);
	return r;
}

static _Noreturn void run_tracer(const struct stop *stop)
{
	int keep[KEEP_MAX + 6];
	size_t n = 0;
	be("godiag-tracer", stop->parent);
	block_signals();
	wait_for_the_guard(stop);
	const struct gd_target_fds *fds = &stop->job->target->fds;
	keep[n++] = fds->pid_fd;
	keep[n++] = fds->proc_fd;
	keep[n++] = fds->mem_fd;
	keep[n++] = fds->exe_fd;
	keep[n++] = stop->news_fd;
	for (size_t i = 0; i < stop->job->n_keep; i++)
		keep[n++] = stop->job->keep[i];
	close_others(keep, n);
	resist_the_oom_killer();

	struct gd_error err = { 0 };
	stop->shared->result = run_job(stop, &err);
	stop->shared->err = err;
	stop->shared->finished = true;
	_exit(0);
}

static _Noreturn void run_guard(const struct stop *stop)
{
	int keep[] = { stop->tracer_fd, stop->news_fd, stop->go_write_fd };
	be("godiag-guard", stop->parent);
	block_signals();
	close_others(keep, 3);
	struct gd_guard guard = {
		.tracer_fd = stop->tracer_fd,
		.news_fd = stop->news_fd,
		.prepare_ns = PREPARE_NS,
		.deadline_ns = stop->job->deadline_ns,
		.stop_deadline_ns = stop->job->stop_deadline_ns,
		.started_ns = gd_clock_monotonic_ns(),
		.shared = stop->shared,
	};
	if (write(stop->go_write_fd, "", 1) != 1)
		_exit(1);
	(void)close(stop->go_write_fd);
	gd_guard_run(&guard);
	_exit(0);
}

/* ---- the parent ------------------------------------------------------------------------------ */

static int fork_one(struct stop *stop, pid_t *ret_pid, int *ret_fd,
                    void (*run)(const struct stop *), struct gd_error *err)
{
	pid_t pid = fork();
	if (pid < 0)
		return gd_fail_errno(err, -errno, "fork");
	if (pid == 0)
		run(stop); /* no return */
	*ret_pid = pid;
	*ret_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return *ret_fd < 0 ? gd_fail_errno(err, -errno, "pidfd_open") : 0;
}

static void forget_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* SIGKILL, and waits: that takes as long as the process is in the kernel. */
static void end_process(pid_t *pid, int *fd, int *ret_status)
{
	if (*pid > 0) {
		(void)kill(*pid, SIGKILL); /* ours, and not waited for: the number is its own */
		while (waitpid(*pid, ret_status, __WALL) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
	forget_fd(fd);
}

static void reap(pid_t *pid, int *fd, int *ret_status)
{
	while (waitpid(*pid, ret_status, __WALL) < 0 && errno == EINTR)
		;
	*pid = 0;
	forget_fd(fd);
}

/* Until the tracer has ended; who is late or unwatched is killed. */
static int wait_for_tracer(struct stop *stop)
{
	int status = 0;
	int guard_status = 0;
	int64_t limit_ns = stop->started_ns + PREPARE_NS + stop->job->deadline_ns + GRACE_NS;
	while (stop->tracer > 0) {
		struct pollfd fds[] = {
			{ .fd = stop->tracer_fd, .events = POLLIN },
			{ .fd = stop->guard_fd, .events = POLLIN },
		};
		int64_t left_ns = limit_ns - gd_clock_monotonic_ns();
		int r = left_ns > 0 ? poll(fds, 2, (int)(left_ns / 1000000) + 1) : 0;
		if (r < 0 && errno == EINTR)
			continue;
		if (r > 0 && fds[0].revents != 0)
			reap(&stop->tracer, &stop->tracer_fd, &status);
		else if (r > 0 && fds[1].revents != 0 && stop->guard > 0) {
			/* It ends after the tracer, or was killed; in between, both have ended. */
			reap(&stop->guard, &stop->guard_fd, &guard_status);
			if (!WIFEXITED(guard_status))
				end_process(&stop->tracer, &stop->tracer_fd, &status);
		} else
			end_process(&stop->tracer, &stop->tracer_fd, &status);
	}
	return status;
}

static int conclude(const struct stop *stop, int status, struct gd_stop_report *report,
                    struct gd_error *err)
{
	struct gd_tracer_shared *shared = stop->shared;
	report->killed_by_guard = false;
	if (shared->finished && WIFEXITED(status)) {
		if (shared->result < 0 && err != NULL)
			*err = shared->err;
		return shared->result;
	}
	report->died = true;
	report->killed_by_guard = atomic_load(&shared->killed_by_guard);
	if (report->killed_by_guard)
		return gd_fail(err, -ETIMEDOUT, "the tracer was late and its guard ended it");
	if (WIFSIGNALED(status))
		return gd_fail(err, -EIO, "the tracer was ended by signal %d", WTERMSIG(status));
	return gd_fail(err, -EIO, "the tracer ended before its job was done");
}

static int start(struct stop *stop, struct gd_error *err)
{
	int go[2];
	if (pipe2(go, O_CLOEXEC) < 0)
		return gd_fail_errno(err, -errno, "pipe");
	stop->go_read_fd = go[0];
	stop->go_write_fd = go[1];
	stop->news_fd = eventfd(0, EFD_CLOEXEC);
	if (stop->news_fd < 0)
		return gd_fail_errno(err, -errno, "eventfd");
	int r = fork_one(stop, &stop->tracer, &stop->tracer_fd, run_tracer, err);
	if (r == 0)
		r = fork_one(stop, &stop->guard, &stop->guard_fd, run_guard, err);
	forget_fd(&stop->go_read_fd);
	forget_fd(&stop->go_write_fd);
	return r;
}

static int check_job(const struct gd_stop_job *job, struct gd_error *err)
{
	if (job->n_keep > KEEP_MAX)
		return gd_fail(err, -E2BIG, "more than %d descriptors to keep", KEEP_MAX);
	if (job->target->fds.proc_fd < 0)
		return gd_fail(err, -EPERM, "pid %d: its /proc directory is not ours to use",
		               job->target->pid);
	return gd_target_check(job->target, err);
}

int gd_stop_run(const struct gd_stop_job *job, struct gd_stop_report *report, struct gd_error *err)
{
	int r = check_job(job, err);
	if (r < 0)
		return r;
	size_t bytes = sizeof(struct gd_tracer_shared);
	struct gd_tracer_shared *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		return gd_fail_errno(err, -errno, "shared memory");
	shared->report.left_fd = -1;
	struct stop stop = {
		.job = job, .shared = shared, .parent = getpid(), .news_fd = -1,
		.go_read_fd = -1, .go_write_fd = -1, .tracer_fd = -1, .guard_fd = -1,
		.started_ns = gd_clock_monotonic_ns(),
	};
	int status = 0;
	r = start(&stop, err);
	if (r == 0) {
		if (job->started != NULL)
			job->started(job->arg, stop.tracer, stop.guard);
		status = wait_for_tracer(&stop);
	}
	end_process(&stop.tracer, &stop.tracer_fd, &status);
	int guard_status;
	end_process(&stop.guard, &stop.guard_fd, &guard_status);
	forget_fd(&stop.news_fd);
	forget_fd(&stop.go_read_fd);
	forget_fd(&stop.go_write_fd);
	if (r == 0) {
		*report = shared->report;
		r = conclude(&stop, status, report, err);
	}
	(void)munmap(shared, bytes);
	return r;
}
