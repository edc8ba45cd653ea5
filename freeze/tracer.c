#include "freeze/tracer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "freeze/faults.h"

#define DENTS_BYTES 32768u
#define SEIZE_ROUNDS 50
#define NAP_NS 2000000 /* nothing waits longer than this without looking again */
#define LET_GO_NS 20000000
#define REST_NS 3000000

static void *prefault(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	(void)mlock(p, bytes); /* RLIMIT_MEMLOCK may forbid it; touched it is anyhow */
	return p;
}

static size_t room_for_threads(struct gd_target *target)
{
	pid_t *tids = NULL;
	size_t n = 0;
	if (gd_target_threads(target, &tids, &n, NULL) < 0)
		return 1024;
	free(tids);
	n = 2 * n + 1024; /* what may start meanwhile */
	return n < GD_TARGET_THREADS_MAX ? n : GD_TARGET_THREADS_MAX;
}

int gd_tracer_create(struct gd_target *target, struct gd_tracer_shared *shared, int news_fd,
                     struct gd_tracer **ret, struct gd_error *err)
{
	struct gd_tracer *tracer = prefault(sizeof(*tracer));
	if (tracer == NULL)
		return gd_fail_errno(err, -ENOMEM, "tracer");
	*tracer = (struct gd_tracer){
		.target = target,
		.shared = shared,
		.news_fd = news_fd,
		.max = room_for_threads(target),
		.slots_mask = 1023,
	};
	while (tracer->slots_mask < 2 * tracer->max)
		tracer->slots_mask = 2 * tracer->slots_mask + 1;
	tracer->threads = prefault(tracer->max * sizeof(*tracer->threads));
	tracer->slots = prefault((tracer->slots_mask + 1) * sizeof(*tracer->slots));
	tracer->dents = prefault(DENTS_BYTES);
	tracer->inject = prefault(sizeof(*tracer->inject));
	if (tracer->threads == NULL || tracer->slots == NULL || tracer->dents == NULL ||
	    tracer->inject == NULL)
		return gd_fail_errno(err, -ENOMEM, "tracer");
	tracer->task_fd = openat(target->fds.proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tracer->task_fd < 0)
		return gd_fail_errno(err, errno == ENOENT ? -ESRCH : -errno, "task");
	*ret = tracer;
	return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until something happened to a tracee, the deadline, or a nap's length. */
static void nap(int64_t left_ns)
{
	sigset_t child;
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	struct timespec t = { .tv_nsec = left_ns < NAP_NS ? left_ns : NAP_NS };
	(void)sigtimedwait(&child, NULL, &t);
}

int gd_tracer_wait(pid_t tid, int64_t deadline_ns, int *ret)
{
	for (;;) {
		siginfo_t info = { 0 };
		int flags = WEXITED | WSTOPPED | __WALL | WNOHANG;
		if (waitid(P_PID, (id_t)tid, &info, flags | WNOWAIT) < 0)
			return -ESRCH;
		if (info.si_pid != 0 && info.si_code == CLD_TRAPPED) {
			*ret = info.si_status;
			return 1;
		}
		if (info.si_pid != 0 && info.si_code != CLD_STOPPED &&
		    info.si_code != CLD_CONTINUED) {
			(void)waitid(P_PID, (id_t)tid, &info, flags);
			return -ESRCH;
		}
		int64_t left_ns = deadline_ns - gd_clock_monotonic_ns();
		if (left_ns <= 0)
			return 0;
		nap(left_ns);
	}
}

int gd_tracer_wait_thread(struct gd_tracer_thread *thread, int64_t deadline_ns)
{
	int status = 0;
	int r = gd_tracer_wait(thread->tid, deadline_ns, &status);
	if (r == 0)
		return 0;
	if (r < 0) {
		thread->state = GD_TRACER_GONE;
		return r;
	}
	int event = status >> 8;
	int signal = status & 0xff;
	thread->state = GD_TRACER_STOPPED;
	thread->signal = 0;
	thread->group_stop = event == PTRACE_EVENT_STOP && signal != SIGTRAP;
	if (event == PTRACE_EVENT_STOP)
		thread->interrupted = false;
	else if (event == 0 && signal != (SIGTRAP | 0x80))
		thread->signal = signal;
	return 1;
}

void gd_tracer_rest(void)
{
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigtimedwait(&none, NULL, &(struct timespec){ .tv_nsec = REST_NS });
}

int gd_tracer_lost(struct gd_error *err, const struct gd_tracer_thread *thread)
{
	return gd_fail(err, -ESRCH, "thread %d has ended", thread->tid);
}

int gd_tracer_interrupt_thread(struct gd_tracer_thread *thread)
{
	if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0)
		return -errno;
	thread->interrupted = true;
	return 0;
}

int gd_tracer_resume_thread(struct gd_tracer_thread *thread, int request)
{
	int signal = thread->signal;
	thread->state = GD_TRACER_RUNNING;
	thread->signal = 0;
	thread->group_stop = false;
	if (ptrace((enum __ptrace_request)request, thread->tid, NULL, (long)signal) == 0)
		return 0;
	/* ESRCH: killed while it stood; its end is waited for like any other. */
	return -errno;
}

void gd_tracer_detach_thread(struct gd_tracer_thread *thread)
{
	(void)ptrace(PTRACE_DETACH, thread->tid, NULL, (long)thread->signal);
	thread->state = GD_TRACER_GONE;
	thread->signal = 0;
}

/* Never blocks: only the guard reads it and it counts to 2^64. */
static void tell_guard(const struct gd_tracer *tracer)
{
	uint64_t one = 1;
	ssize_t n = write(tracer->news_fd, &one, sizeof(one));
	(void)n;
}

void gd_tracer_note_prepared(struct gd_tracer *tracer)
{
	atomic_store(&tracer->shared->prepared_ns, gd_clock_monotonic_ns());
	tell_guard(tracer);
}

void gd_tracer_note_standing(struct gd_tracer *tracer)
{
	if (atomic_load(&tracer->shared->standing_since_ns) != 0)
		return;
	atomic_store(&tracer->shared->standing_since_ns, gd_clock_monotonic_ns());
	tell_guard(tracer);
}

void gd_tracer_note_resumed(struct gd_tracer *tracer)
{
	atomic_store(&tracer->shared->standing_since_ns, 0);
}

/* ---- seizing --------------------------------------------------------------------------------- */

/* Where a thread is, or would be. */
static size_t slot_of(const struct gd_tracer *tracer, pid_t tid)
{
	size_t at = ((uint32_t)tid * UINT32_C(2654435761)) & tracer->slots_mask;
	while (tracer->slots[at] != 0 && tracer->threads[tracer->slots[at] - 1].tid != tid)
		at = (at + 1) & tracer->slots_mask;
	return at;
}

static struct gd_tracer_thread *find_or_add(struct gd_tracer *tracer, pid_t tid)
{
	size_t at = slot_of(tracer, tid);
	if (tracer->slots[at] != 0)
		return &tracer->threads[tracer->slots[at] - 1];
	if (tracer->n == tracer->max)
		return NULL;
	struct gd_tracer_thread *thread = &tracer->threads[tracer->n++];
	*thread = (struct gd_tracer_thread){ .tid = tid };
	tracer->slots[at] = (uint32_t)tracer->n;
	return thread;
}

/* A number of task/TID/status; opens a file, but only after the kernel refused something. */
static int read_status(struct gd_tracer *tracer, pid_t tid, char *ret_state, pid_t *ret_tracer)
{
	char path[32];
	char text[2048];
	(void)snprintf(path, sizeof(path), "%d/status", tid);
	int fd = openat(tracer->task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	const char *state = strstr(text, "\nState:\t");
	const char *by = strstr(text, "\nTracerPid:\t");
	if (state == NULL || by == NULL)
		return -ESRCH;
	*ret_state = state[8];
	*ret_tracer = (pid_t)strtol(by + 12, NULL, 10);
	return 0;
}

static int explain_seize(struct gd_tracer *tracer, struct gd_tracer_thread *thread, int code,
                         struct gd_error *err)
{
	char state = 'X';
	pid_t by = 0;
	if (code == -ESRCH || read_status(tracer, thread->tid, &state, &by) < 0 || state == 'Z' ||
	    state == 'X')
		return -ESRCH;
	if (by == getpid()) { /* it took this number over, by execve */
		thread->state = GD_TRACER_RUNNING;
		return 0;
	}
	if (by != 0)
		return gd_fail(err, -EPERM, "thread %d: process %d traces it already (a debugger, "
		               "strace); two cannot", thread->tid, by);
	return gd_fail_errno(err, code, "thread %d: PTRACE_SEIZE", thread->tid);
}

int gd_tracer_seize_thread(struct gd_tracer *tracer, pid_t tid, struct gd_tracer_thread **ret,
                           struct gd_error *err)
{
	struct gd_tracer_thread *thread = find_or_add(tracer, tid);
	if (thread == NULL)
		return gd_fail(err, -E2BIG, "more than %zu threads", tracer->max);
	*ret = thread;
	if (thread->state != GD_TRACER_GONE)
		return 0;
	*thread = (struct gd_tracer_thread){ .tid = tid };
	/* Without TRACESYSGOOD a stop at a call that we die in becomes a SIGTRAP of the target's. */
	if (ptrace(PTRACE_SEIZE, tid, NULL, (long)PTRACE_O_TRACESYSGOOD) < 0)
		return explain_seize(tracer, thread, -errno, err);
	thread->state = GD_TRACER_RUNNING;
	return 0;
}

struct dent { /* struct linux_dirent64 */
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/*
 * Where threads come and go all the time, most of those we have ever held are no more, and it is these that would
 * fill the table.  One that has ended is held until it is waited for.  Entries move: task/ is read before anything
 * is injected, and until then nobody keeps a pointer to one.
 */
static void forget_ended(struct gd_tracer *tracer)
{
	size_t n = 0;
	for (size_t i = 0; i < tracer->n; i++) {
		struct gd_tracer_thread *thread = &tracer->threads[i];
		if (thread->state == GD_TRACER_RUNNING)
			(void)gd_tracer_wait_thread(thread, 0);
		if (thread->state != GD_TRACER_GONE)
			tracer->threads[n++] = *thread;
	}
	tracer->n = n;
	memset(tracer->slots, 0, (tracer->slots_mask + 1) * sizeof(*tracer->slots));
	for (size_t i = 0; i < n; i++)
		tracer->slots[slot_of(tracer, tracer->threads[i].tid)] = (uint32_t)i + 1;
}

/*
 * Seizes what is in task/ and not held yet; returns how many those were.  A listing that threads grow faster than it
 * is read is left where the table is full.
 */
static int seize_new(struct gd_tracer *tracer, struct gd_error *err)
{
	int n_new = 0;
	if (tracer->n > tracer->max / 2)
		forget_ended(tracer);
	if (lseek(tracer->task_fd, 0, SEEK_SET) < 0)
		return gd_fail_errno(err, -errno, "task");
	for (;;) {
		long n = syscall(SYS_getdents64, tracer->task_fd, tracer->dents, DENTS_BYTES);
		if (n < 0)
			return gd_fail_errno(err, errno == ENOENT ? -ESRCH : -errno, "task");
		if (n == 0)
			return n_new;
		for (long at = 0; at < n;) {
			const struct dent *dent = (const void *)(tracer->dents + at);
			at += dent->length;
			if (dent->name[0] < '0' || dent->name[0] > '9')
				continue;
			pid_t tid = (pid_t)atoi(dent->name);
			struct gd_tracer_thread *thread = find_or_add(tracer, tid);
			if (thread == NULL) {
				forget_ended(tracer);
				if (tracer->n < tracer->max)
					return 1; /* the next round goes on with what is left */
			}
			bool held = thread != NULL && thread->state != GD_TRACER_GONE;
			int r = gd_tracer_seize_thread(tracer, tid, &thread, err);
			if (r < 0 && r != -ESRCH)
				return r;
			n_new += r == 0 && !held;
		}
	}
}

static void count_threads(struct gd_tracer *tracer)
{
	uint64_t n = 0;
	uint64_t running = 0;
	for (size_t i = 0; i < tracer->n; i++) {
		n += tracer->threads[i].state != GD_TRACER_GONE;
		running += tracer->threads[i].state == GD_TRACER_RUNNING;
	}
	tracer->shared->report.threads = n;
	tracer->shared->report.not_stopped = tracer->all_stopped ? running : 0;
}

int gd_stop_seize(struct gd_tracer *tracer, bool one, struct gd_error *err)
{
	gd_stop_detach(tracer);
	memset(tracer->slots, 0, (tracer->slots_mask + 1) * sizeof(*tracer->slots));
	tracer->n = 0;
	tracer->one = one;
	if (one)
		return 0; /* gd_inject_begin takes the first that will do, and holds no other */
	int r = 1;
	for (int round = 0; r > 0 && round < SEIZE_ROUNDS; round++) {
		r = seize_new(tracer, err);
		gd_freeze_fault("seize");
	}
	if (r < 0)
		return r;
	count_threads(tracer);
	if (tracer->shared->report.threads == 0)
		return gd_fail(err, -ESRCH, "pid %d: it has ended", tracer->target->pid);
	return 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void interrupt_known(struct gd_tracer *tracer, int64_t wait_ns)
{
	for (size_t i = 0; i < tracer->n; i++) {
		struct gd_tracer_thread *thread = &tracer->threads[i];
		if (thread->state == GD_TRACER_RUNNING && !thread->interrupted)
			(void)gd_tracer_interrupt_thread(thread);
	}
	gd_freeze_fault("interrupt");
	int64_t deadline_ns = gd_clock_monotonic_ns() + wait_ns;
	for (size_t i = 0; i < tracer->n; i++) {
		struct gd_tracer_thread *thread = &tracer->threads[i];
		if (thread->state == GD_TRACER_RUNNING)
			thread->late |= gd_tracer_wait_thread(
				thread, thread->late ? 0 : deadline_ns) == 0;
	}
	gd_freeze_fault("stopped");
}

int gd_stop_interrupt(struct gd_tracer *tracer, int64_t wait_ns, struct gd_error *err)
{
	int r = 1;
	tracer->all_stopped = true;
	gd_tracer_note_standing(tracer);
	tracer->shared->report.interrupt_ns = gd_clock_monotonic_ns();
	tracer->shared->report.resume_ns = 0;
	for (int round = 0; r > 0 && round < SEIZE_ROUNDS; round++) {
		interrupt_known(tracer, wait_ns);
		r = seize_new(tracer, err);
	}
	if (r > 0)
		return gd_fail(err, -EAGAIN, "pid %d: threads start faster than they can be "
		               "stopped", tracer->target->pid);
	if (r < 0)
		return r;
	count_threads(tracer);
	const struct gd_stop_report *report = &tracer->shared->report;
	if (report->threads == 0)
		return gd_fail(err, -ESRCH, "pid %d: it has ended", tracer->target->pid);
	if (report->threads == report->not_stopped)
		return gd_fail(err, -ETIMEDOUT, "pid %d: no thread stopped within %" PRId64 " ms",
		               tracer->target->pid, wait_ns / 1000000);
	return 0;
}

/* Who was seized and runs is interrupted once more: only a stopped one can be let go. */
static void let_go(struct gd_tracer_thread *thread, int64_t deadline_ns)
{
	if (thread->state == GD_TRACER_RUNNING) {
		if (!thread->interrupted && gd_tracer_interrupt_thread(thread) < 0) {
			thread->state = GD_TRACER_GONE;
			return;
		}
		if (gd_tracer_wait_thread(thread, thread->late ? 0 : deadline_ns) == 0)
			thread->late = true;
	}
	if (thread->state == GD_TRACER_STOPPED)
		gd_tracer_detach_thread(thread);
}

static void let_go_running(struct gd_tracer *tracer)
{
	int64_t deadline_ns = gd_clock_monotonic_ns() + LET_GO_NS;
	for (size_t i = 0; i < tracer->n; i++) {
		struct gd_tracer_thread *thread = &tracer->threads[i];
		if (thread->state == GD_TRACER_RUNNING && !thread->interrupted)
			(void)gd_tracer_interrupt_thread(thread);
	}
	for (size_t i = 0; i < tracer->n; i++)
		let_go(&tracer->threads[i], deadline_ns);
}

void gd_stop_detach(struct gd_tracer *tracer)
{
	for (size_t i = 0; i < tracer->n; i++)
		if (tracer->threads[i].state == GD_TRACER_STOPPED)
			gd_tracer_detach_thread(&tracer->threads[i]);
	if (tracer->all_stopped && tracer->shared->report.resume_ns == 0)
		tracer->shared->report.resume_ns = gd_clock_monotonic_ns();
	tracer->all_stopped = false;
	gd_freeze_fault("detached");
	let_go_running(tracer);
	gd_tracer_note_resumed(tracer);
#if defined(__x86_64__)
	tracer->inject->thread = NULL;
#endif
}
