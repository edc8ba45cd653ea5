#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/stop.h"
#include "target/target.h"
#include "tests/freeze_victim.h"

#define THREADS_MAX 2048
#define SECOND INT64_C(1000000000)

/* What the tracer did, in memory it shares with us. */
struct seen {
	size_t n, stopped, in_call;
	char state_while[8]; /* of the main thread, at the stop */
	pid_t ours;
	_Atomic size_t answers; /* of start_answering's child */
	struct gd_image_thread threads[THREADS_MAX];
	uint32_t xstate_bytes;
};

static struct seen *seen;

static int stop_and_look(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	static uint8_t xstates[THREADS_MAX * 4096];
	pid_t pid = *(pid_t *)arg;
	int r = gd_stop_seize(tracer, false, err);
	if (r == 0)
		r = gd_stop_interrupt(tracer, SECOND, err);
	if (r < 0)
		return r;
	seen->state_while[0] = freeze_state(pid);
	r = gd_stop_registers(tracer, seen->threads, THREADS_MAX, xstates, 4096, &seen->n, err);
	gd_stop_detach(tracer);
	gd_stop_detach(tracer);
	for (size_t i = 0; i < seen->n; i++) {
		seen->stopped += seen->threads[i].stopped;
		seen->in_call += (int64_t)seen->threads[i].regs.orig_rax >= 0;
		if (seen->threads[i].stopped)
			seen->xstate_bytes = seen->threads[i].xstate_bytes;
	}
	return r;
}

static int run(struct gd_target *target,
               int (*job)(struct gd_tracer *, void *, struct gd_error *), void *arg,
               struct gd_stop_report *report, struct gd_error *err)
{
	struct gd_stop_job stop = {
		.target = target,
		.run = job,
		.arg = arg,
		.deadline_ns = 20 * SECOND,
		.stop_deadline_ns = 10 * SECOND,
	};
	memset(seen, 0, sizeof(*seen));
	return gd_stop_run(&stop, report, err);
}

static void all_threads_stop_show_registers_and_go_on(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("selfcheck", "20", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	for (int i = 0; i < 10; i++) {
		assert_ok(run(target, stop_and_look, &v->pid, &report, &err), &err);
		assert_int_equal(seen->n, 29);
		assert_int_equal(seen->stopped, 29);
		assert_int_equal(report.threads, 29);
		assert_int_equal(report.not_stopped, 0);
		assert_int_equal(seen->state_while[0], 't');
		assert_true(seen->in_call >= 20);
		assert_true(seen->xstate_bytes >= 576);
		assert_true(report.interrupt_ns > 0 && report.resume_ns > report.interrupt_ns);
		assert_false(report.died || report.killed_by_guard || report.child_made);
		assert_int_equal(report.left_fd, -1);
	}
	freeze_await_untraced(v->pid);
	freeze_assert_well(v);
}

static void a_stopped_process_stays_stopped(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_int_equal(kill(v->pid, SIGSTOP), 0);
	freeze_await_state(v->pid, "T");
	assert_ok(run(target, stop_and_look, &v->pid, &report, &err), &err);
	assert_int_equal(seen->stopped, 9);
	freeze_await_untraced(v->pid);
	freeze_await_state(v->pid, "T");
	assert_int_equal(kill(v->pid, SIGCONT), 0);
	freeze_await_state(v->pid, "SR");
	freeze_assert_well(v);
}

static volatile sig_atomic_t n_usr1;

static void count_usr1(int signal)
{
	(void)signal;
	n_usr1++;
}

/* True when the child has answered n signals; none may take five seconds. */
static bool await_answers(size_t n)
{
	for (int i = 0; i < 25000 && seen->answers < n; i++)
		(void)usleep(200);
	return seen->answers == n;
}

/* A child of ours that counts each SIGUSR1 in seen->answers, from one, which says that it is ready. */
static pid_t start_answering(void)
{
	seen->answers = 0;
	pid_t pid = fork();
	if (pid == 0) {
		(void)signal(SIGUSR1, count_usr1);
		for (;;) {
			seen->answers = (size_t)n_usr1 + 1;
			(void)usleep(200);
		}
	}
	assert_true(await_answers(1));
	return pid;
}

static int stop_often(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	pid_t pid = *(pid_t *)arg;
	int r = 0;
	for (int i = 0; r == 0 && i < 50; i++) {
		r = gd_stop_seize(tracer, false, err);
		if (i % 3 != 0)
			(void)kill(pid, SIGUSR1); /* before the interrupt: it stands at its delivery */
		if (r == 0)
			r = gd_stop_interrupt(tracer, SECOND, err);
		if (i % 3 == 0)
			(void)kill(pid, SIGUSR1);
		gd_stop_detach(tracer);
		if (r == 0 && !await_answers(1 + ++seen->n))
			r = gd_fail(err, -EIO, "%zu answers after %zu signals", seen->answers - 1,
			            seen->n);
	}
	return r;
}

static void no_signal_is_lost_in_a_stop(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_answering();
	GD_TARGET struct gd_target *target = freeze_open(pid);
	assert_ok(run(target, stop_often, &pid, &report, &err), &err);
	assert_int_equal(seen->n, 50);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int die_at_a_signal(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	pid_t pid = *(pid_t *)arg;
	int r = gd_stop_seize(tracer, false, err);
	if (r < 0)
		return r;
	(void)kill(pid, SIGUSR1);
	while (freeze_state(pid) != 't')
		(void)usleep(1000);
	r = gd_stop_interrupt(tracer, SECOND, err);
	if (r < 0)
		return r;
	(void)raise(SIGKILL);
	return -EIO;
}

static void a_signal_survives_the_death_of_the_tracer_that_held_it(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_answering();
	GD_TARGET struct gd_target *target = freeze_open(pid);
	for (size_t i = 0; i < 10; i++) {
		assert_fails(run(target, die_at_a_signal, &pid, &report, &err), -EIO, &err);
		assert_true(report.died);
		assert_true(await_answers(i + 2));
	}
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int hang_in_the_stop(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)arg;
	int r = gd_stop_seize(tracer, false, err);
	if (r == 0)
		r = gd_stop_interrupt(tracer, SECOND, err);
	while (r == 0)
		(void)pause();
	return r;
}

static void the_guard_ends_a_tracer_that_hangs(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	struct gd_stop_job job = {
		.target = target,
		.run = hang_in_the_stop,
		.deadline_ns = 600 * SECOND,
		.stop_deadline_ns = SECOND / 50,
	};
	assert_fails(gd_stop_run(&job, &report, &err), -ETIMEDOUT, &err);
	assert_true(report.killed_by_guard && report.died);
	assert_true(report.interrupt_ns > 0);
	assert_int_equal(report.resume_ns, 0);
	freeze_await_untraced(v->pid);
	freeze_assert_well(v);
}

static int never_end(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)tracer, (void)arg;
	while (pause() < 0)
		;
	return gd_fail(err, -EIO, "nothing ends a pause but death");
}

static void a_job_that_takes_too_long_is_ended_although_nothing_stands(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	GD_TARGET struct gd_target *target = freeze_open(getpid());
	struct gd_stop_job job = {
		.target = target,
		.run = never_end,
		.deadline_ns = SECOND / 20,
		.stop_deadline_ns = SECOND,
	};
	assert_fails(gd_stop_run(&job, &report, &err), -ETIMEDOUT, &err);
	assert_int_equal(report.interrupt_ns, 0);
}

static void another_tracer_is_eperm_with_its_pid(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	char pid_text[16];
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_int_equal(ptrace(PTRACE_SEIZE, v->pid, NULL, NULL), 0);
	assert_fails(run(target, stop_and_look, &v->pid, &report, &err), -EPERM, &err);
	(void)snprintf(pid_text, sizeof(pid_text), "%d", getpid());
	assert_contains(err.msg, pid_text);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, v->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(v->pid, NULL, __WALL), v->pid);
	assert_int_equal(ptrace(PTRACE_DETACH, v->pid, NULL, NULL), 0);
	freeze_assert_well(v);
}

static void a_target_that_has_ended_is_esrch(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("selfcheck", NULL);
	pid_t pid = v->pid;
	GD_TARGET struct gd_target *target = freeze_open(pid);
	victim_stop(v);
	assert_fails(run(target, stop_and_look, &pid, &report, &err), -ESRCH, &err);
}

static void a_thread_in_vfork_is_left_out_and_goes_on(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	victim_tell(v, "thread");
	assert_string_equal(victim_line(v), "done");
	victim_tell(v, "vfork");
	pid_t child = (pid_t)atoi(victim_line(v));
	assert_true(child > 0);
	struct gd_stop_job job = {
		.target = target,
		.run = stop_and_look,
		.arg = &v->pid,
		.deadline_ns = 20 * SECOND,
		.stop_deadline_ns = 10 * SECOND,
	};
	memset(seen, 0, sizeof(*seen));
	assert_ok(gd_stop_run(&job, &report, &err), &err);
	assert_int_equal(report.threads, 2);
	assert_int_equal(report.not_stopped, 1);
	assert_int_equal(seen->n, 2);
	assert_int_equal(seen->stopped, 1);
	freeze_await_untraced(v->pid);
	victim_tell(v, "");
	/* The child's exec frees the parent's thread, which says so. */
	const char *line;
	while ((line = victim_line(v)) != NULL && strcmp(line, "done") != 0)
		;
	assert_non_null(line);
	(void)kill(child, SIGKILL);
}

static void a_process_whose_main_thread_has_left_stops(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("life", NULL);
	victim_tell(v, "thread");
	assert_string_equal(victim_line(v), "done");
	victim_tell(v, "leave");
	assert_string_equal(victim_line(v), "done");
	freeze_await_state(v->pid, "Z");
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_ok(run(target, stop_and_look, &v->pid, &report, &err), &err);
	assert_int_equal(seen->stopped, 1);
	victim_tell(v, "rename x");
	assert_string_equal(victim_line(v), "done");
}

struct exec_arg {
	int in_fd;
	pid_t pid;
};

static int interrupt_after_exec(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	const struct exec_arg *a = arg;
	int r = gd_stop_seize(tracer, false, err);
	if (r < 0)
		return r;
	if (write(a->in_fd, "exec\n", 5) != 5)
		return gd_fail_errno(err, -errno, "stdin");
	/* Two threads become one, which has the number of the other: wait for what can be seen. */
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", a->pid);
	for (int i = 0; i < 2000; i++) {
		char text[64] = "";
		GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
		    strcmp(text, "life") == 0)
			break;
		(void)usleep(1000);
	}
	r = gd_stop_interrupt(tracer, SECOND, err);
	seen->state_while[0] = freeze_state(a->pid);
	return r;
}

static void a_target_that_becomes_another_program_between_is_let_go(void **state)
{
	(void)state;
	static const char *const before[] = { NULL, "thread" };
	for (size_t i = 0; i < 2; i++) {
		struct gd_error err = { 0 };
		struct gd_stop_report report = { 0 };
		struct victim *v = victim_start("life", NULL);
		if (before[i] != NULL) {
			victim_tell(v, before[i]);
			assert_string_equal(victim_line(v), "done");
		}
		GD_TARGET struct gd_target *target = freeze_open(v->pid);
		struct exec_arg arg = { v->in_fd, v->pid };
		struct gd_stop_job job = {
			.target = target,
			.run = interrupt_after_exec,
			.arg = &arg,
			.deadline_ns = 20 * SECOND,
			.stop_deadline_ns = 10 * SECOND,
			.keep = &v->in_fd,
			.n_keep = 1,
		};
		memset(seen, 0, sizeof(*seen));
		assert_ok(gd_stop_run(&job, &report, &err), &err);
		assert_int_equal(report.threads, 1);
		assert_int_equal(report.not_stopped, 0);
		assert_int_equal(seen->state_while[0], 't');
		const char *line;
		while ((line = victim_line(v)) != NULL && strcmp(line, "ready") != 0)
			;
		assert_non_null(line);
		freeze_await_untraced(v->pid);
		victim_stop(v);
	}
}

/* On a busy machine more start than get a CPU to end on, and the tracer has room for 2,048. */
#define ALIVE_MAX 500
static atomic_int alive;

static void *end_at_once(void *arg)
{
	atomic_fetch_sub(&alive, 1);
	return arg;
}

static void *start_many(void *arg)
{
	pthread_attr_t attr;
	(void)arg;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		pthread_t thread;
		if (atomic_load(&alive) >= ALIVE_MAX) {
			(void)sched_yield();
			continue;
		}
		atomic_fetch_add(&alive, 1);
		if (pthread_create(&thread, &attr, end_at_once, NULL) != 0)
			atomic_fetch_sub(&alive, 1);
	}
	return NULL;
}

static int count_twice(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	static uint8_t none[1];
	pid_t pid = *(pid_t *)arg;
	int r = gd_stop_seize(tracer, false, err);
	if (r == 0)
		r = gd_stop_interrupt(tracer, SECOND, err);
	if (r == 0)
		r = gd_stop_registers(tracer, seen->threads, THREADS_MAX, none, 0, &seen->n, err);
	if (r < 0)
		return r;
	/* No thread starts any more: what is there now is what was stopped. */
	(void)usleep(20000);
	struct gd_target *target = NULL;
	pid_t *tids = NULL;
	r = gd_target_open(pid, &target, err);
	if (r == 0)
		r = gd_target_threads(target, &tids, &seen->in_call, err);
	for (size_t i = 0; r == 0 && i < seen->n; i++)
		seen->stopped += seen->threads[i].stopped;
	free(tids);
	gd_target_close(target);
	return r;
}

static void threads_that_start_and_end_all_the_time_are_all_caught(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t thread;
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
		    pthread_create(&thread, NULL, start_many, NULL) != 0)
			_exit(1);
		(void)start_many(NULL);
		_exit(1);
	}
	GD_TARGET struct gd_target *target = freeze_open(pid);
	for (int i = 0; i < 10; i++) {
		assert_ok(run(target, count_twice, &pid, &report, &err), &err);
		assert_int_equal(report.not_stopped, 0);
		assert_int_equal(seen->stopped, seen->n);
		assert_int_equal(seen->in_call, seen->n);
	}
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int see_descriptors(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)tracer, (void)err;
	const int *fds = arg;
	seen->n = (size_t)(fcntl(fds[0], F_GETFD) >= 0);
	seen->in_call = (size_t)(fcntl(fds[1], F_GETFD) >= 0);
	return 0;
}

static void the_tracer_keeps_what_it_needs_and_no_more(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	GD_TARGET struct gd_target *target = freeze_open(getpid());
	GD_CLOSE int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* A number that the tracer's own descriptors do not get again. */
	GD_CLOSE int other = fcntl(kept, F_DUPFD_CLOEXEC, 200);
	int fds[2] = { kept, other };
	struct gd_stop_job job = {
		.target = target,
		.run = see_descriptors,
		.arg = fds,
		.deadline_ns = 20 * SECOND,
		.stop_deadline_ns = SECOND,
		.keep = &kept,
		.n_keep = 1,
	};
	memset(seen, 0, sizeof(*seen));
	assert_ok(gd_stop_run(&job, &report, &err), &err);
	assert_int_equal(seen->n, 1);
	assert_int_equal(seen->in_call, 0);
}

/* STOP_FIGURES=1: how long a stop takes, by threads. */
static void figures(void **state)
{
	(void)state;
	static const char *const idle[] = { "0", "100", "500" };
	if (getenv("STOP_FIGURES") == NULL)
		test_skip("STOP_FIGURES is not set");
	for (size_t i = 0; i < 3; i++) {
		struct gd_error err = { 0 };
		struct victim *v = victim_start("selfcheck", idle[i], NULL);
		GD_TARGET struct gd_target *target = freeze_open(v->pid);
		int64_t best = INT64_MAX;
		int64_t sum = 0;
		int64_t worst = 0;
		for (int n = 0; n < 21; n++) {
			struct gd_stop_report report = { 0 };
			assert_ok(run(target, stop_and_look, &v->pid, &report, &err), &err);
			int64_t ns = report.resume_ns - report.interrupt_ns;
			best = ns < best ? ns : best;
			worst = ns > worst ? ns : worst;
			sum += ns;
		}
		print_message("%zu threads: best %" PRId64 " us, mean %" PRId64 " us, worst %" PRId64
		              " us\n", seen->n, best / 1000, sum / 21000, worst / 1000);
		freeze_assert_well(v);
		victim_stop(v);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(all_threads_stop_show_registers_and_go_on),
		test_case(a_stopped_process_stays_stopped),
		test_case(no_signal_is_lost_in_a_stop),
		test_case(a_signal_survives_the_death_of_the_tracer_that_held_it),
		test_case(the_guard_ends_a_tracer_that_hangs),
		test_case(a_job_that_takes_too_long_is_ended_although_nothing_stands),
		test_case(another_tracer_is_eperm_with_its_pid),
		test_case(a_target_that_has_ended_is_esrch),
		test_case(a_thread_in_vfork_is_left_out_and_goes_on),
		test_case(a_process_whose_main_thread_has_left_stops),
		test_case(a_target_that_becomes_another_program_between_is_let_go),
		test_case(threads_that_start_and_end_all_the_time_are_all_caught),
		test_case(the_tracer_keeps_what_it_needs_and_no_more),
		test_case(figures),
	};
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		return 1;
	return test_run(tests);
}
