#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/stop.h"
#include "freeze/tracer.h"
#include "target/target.h"
#include "tests/freeze_victim.h"

#define SECOND INT64_C(1000000000)

struct seen {
	int64_t rets[8];
	pid_t child;
	int32_t inner;
	char child_state;
	uint64_t child_rip;
	int n;
	uint64_t thread_rsp;
	bool has_registers;
};

static struct seen *seen;

static int run(struct gd_target *target,
               int (*job)(struct gd_tracer *, void *, struct gd_error *), void *arg,
               struct gd_stop_report *report, struct gd_error *err)
{
	struct gd_stop_job stop = {
		.target = target,
		.run = job,
		.arg = arg,
		.deadline_ns = 20 * SECOND,
		.stop_deadline_ns = 5 * SECOND,
	};
	memset(seen, 0, sizeof(*seen));
	return gd_stop_run(&stop, report, err);
}

static int call(struct gd_tracer *tracer, long nr, uint64_t a, uint64_t b, uint64_t c, int64_t *ret,
                struct gd_error *err)
{
	struct gd_inject_call call = { .nr = nr, .args = { a, b, c } };
	int r = gd_inject_call(tracer, &call, err);
	*ret = call.ret;
	return r;
}

static int ask_who_it_is(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)arg;
	int r = gd_stop_seize(tracer, true, err);
	for (int i = 0; r == 0 && i < 3; i++) {
		r = gd_inject_begin(tracer, err);
		for (int k = 0; r == 0 && k < 3; k++)
			r = call(tracer, SYS_getpid, 0, 0, 0, &seen->rets[i], err);
		if (r == 0)
			r = call(tracer, SYS_close, 99999, 0, 0, &seen->rets[3], err);
		if (r == 0)
			r = gd_inject_end(tracer, err);
	}
	return r;
}

static void a_native_program_answers_and_notices_nothing(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_ok(gd_inject_possible(target, &err), &err);
	for (int i = 0; i < 30; i++) {
		assert_ok(run(target, ask_who_it_is, NULL, &report, &err), &err);
		assert_int_equal(seen->rets[0], v->pid);
		assert_int_equal(seen->rets[2], v->pid);
		assert_int_equal(seen->rets[3], -EBADF);
		assert_int_equal(report.interrupt_ns, 0);
		assert_true(report.inject_ns > 0);
	}
	freeze_await_untraced(v->pid);
	freeze_assert_well(v);
}

static int fork_it(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	static struct gd_image_thread threads[64];
	bool stop_all = *(bool *)arg;
	size_t n = 0;
	int r = gd_stop_seize(tracer, !stop_all, err);
	if (r == 0 && stop_all)
		r = gd_stop_interrupt(tracer, SECOND, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = gd_inject_fork(tracer, &seen->child, &seen->inner, err);
	if (r < 0)
		return r;
	seen->child_state = freeze_state(seen->child);
	if (stop_all) {
		/* After the frame was put there: what is reported is how it stood before. */
		r = gd_stop_registers(tracer, threads, 64, NULL, 0, &n, err);
		for (size_t i = 0; i < n; i++)
			seen->n += threads[i].stopped;
	}
	if (r == 0)
		r = gd_inject_end(tracer, err);
	gd_stop_detach(tracer);
	gd_inject_kill_child(tracer);
	if (r == 0)
		r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = call(tracer, SYS_wait4, (uint64_t)seen->inner, 0, WNOHANG | __WALL,
		         &seen->rets[0], err);
	return r == 0 ? gd_inject_end(tracer, err) : r;
}

static void fork_and_reap(struct victim *v, bool stop_all, int times)
{
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	for (int i = 0; i < times; i++) {
		assert_ok(run(target, fork_it, &stop_all, &report, &err), &err);
		assert_true(seen->child > 0);
		assert_int_equal(seen->child, seen->inner);
		assert_int_equal(seen->child_state, 't');
		assert_int_equal(seen->rets[0], seen->inner);
		assert_false(report.child_made);
		assert_int_equal(kill(seen->child, 0), -1);
		assert_int_equal(freeze_children(v->pid), 0);
	}
	freeze_await_untraced(v->pid);
	freeze_assert_well(v);
}

static void a_native_program_is_forked_and_does_not_know(void **state)
{
	(void)state;
	struct victim *v = victim_start("selfcheck", NULL);
	fork_and_reap(v, false, 20);
	fork_and_reap(v, true, 20);
}

/* Whom the ranking would take last: threads that are computing.  *arg: how many turns. */
static int use_those_that_run(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	int n = 0;
	int r = gd_stop_seize(tracer, true, err);
	for (size_t i = 0; i < inject->n_candidates; i++)
		if (freeze_is_named(tracer->target->pid, inject->candidates[i].tid, arg))
			inject->candidates[n++].tid = inject->candidates[i].tid;
	inject->n_candidates = (size_t)n;
	for (int i = 0; r == 0 && i < 300; i++) {
		r = gd_inject_begin(tracer, err);
		if (r == -ENOTSUP || r == -EAGAIN) {
			r = 0; /* asleep, with a time limit */
			continue;
		}
		if (r == 0)
			r = call(tracer, SYS_getpid, 0, 0, 0, &seen->rets[0], err);
		if (r == 0)
			r = gd_inject_end(tracer, err);
		seen->n++;
		(void)usleep(500);
	}
	return r;
}

static void every_register_of_a_computing_thread_comes_back(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	char name[] = "spinner";
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_ok(run(target, use_those_that_run, name, &report, &err), &err);
	assert_true(seen->n > 20);
	freeze_await_untraced(v->pid);
	freeze_assert_well(v);
}

static int make_userfaultfd(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)arg;
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = call(tracer, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1, 0, 0, &seen->rets[0],
		         err);
	if (r == 0 && *(bool *)arg)
		r = call(tracer, SYS_close, (uint64_t)seen->rets[0], 0, 0, &seen->rets[1], err);
	return r == 0 ? gd_inject_end(tracer, err) : r;
}

static void what_was_left_is_in_the_report(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	bool and_close = true;
	struct victim *v = victim_start("selfcheck", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	assert_ok(run(target, make_userfaultfd, &and_close, &report, &err), &err);
	if (seen->rets[0] < 0)
		test_skip("no userfaultfd here: %s", strerror((int)-seen->rets[0]));
	assert_int_equal(seen->rets[1], 0);
	assert_int_equal(report.left_fd, -1);
	and_close = false;
	assert_ok(run(target, make_userfaultfd, &and_close, &report, &err), &err);
	assert_int_equal(report.left_fd, seen->rets[0]);
	freeze_assert_well(v);
}

static void a_go_program_answers_forks_and_goes_on(void **state)
{
	(void)state;
	size_t n = 0;
	for (size_t i = 0; i < FREEZE_GO_RELEASES; i++) {
		struct gd_error err = { 0 };
		struct gd_stop_report report = { 0 };
		const char *path = victim_go_if_built("gocheck", freeze_go_releases[i], "plain", &err);
		if (path == NULL) {
			print_message("%s\n", err.msg);
			continue;
		}
		n++;
		struct victim *v = victim_start(path, NULL);
		GD_TARGET struct gd_target *target = freeze_open(v->pid);
		assert_ok(gd_inject_possible(target, &err), &err);
		for (int k = 0; k < 10; k++) {
			assert_ok(run(target, ask_who_it_is, NULL, &report, &err), &err);
			assert_int_equal(seen->rets[0], v->pid);
			assert_int_equal(seen->rets[2], v->pid);
		}
		fork_and_reap(v, false, 10);
		fork_and_reap(v, true, 10);
		victim_stop(v);
	}
	if (n == 0)
		test_skip("no Go victim was built");
}

/* A child of ours with one thread, standing as told. */
static pid_t start_child(void (*stand)(void))
{
	int fds[2];
	char c;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || write(fds[1], "r", 1) != 1)
			_exit(1);
		(void)close(fds[1]);
		stand();
		_exit(2);
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(read(fds[0], &c, 1), 0);
	(void)close(fds[0]);
	return pid;
}

static void end_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void wait_with_a_limit(void)
{
	(void)sleep(1000);
}

static void wait_for_a_signal(void)
{
	(void)pause();
}

static volatile uint64_t turns;

static void turn(void)
{
	for (;;)
		turns++;
}

static void under_a_filter(void)
{
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	char c;
	(void)syscall(SYS_read, -1, &c, 0);
	for (;;)
		turns++;
}

static void a_single_thread_that_waits_for_ever_is_good_enough(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	void (*const ways[])(void) = { wait_for_a_signal, turn };
	for (size_t i = 0; i < 2; i++) {
		pid_t pid = start_child(ways[i]);
		{
			GD_TARGET struct gd_target *target = freeze_open(pid);
			assert_ok(run(target, ask_who_it_is, NULL, &report, &err), &err);
			assert_int_equal(seen->rets[0], pid);
		}
		freeze_await_untraced(pid);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		end_child(pid);
	}
}

static void a_wait_with_a_time_limit_is_not_cut_short_but_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_child(wait_with_a_limit);
	{
		GD_TARGET struct gd_target *target = freeze_open(pid);
		assert_fails(run(target, ask_who_it_is, NULL, &report, &err), -ENOTSUP, &err);
	}
	assert_contains(err.msg, "time limit");
	freeze_await_untraced(pid);
	end_child(pid);
}

static int stop_again_and_again(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)arg;
	int r = 0;
	for (int i = 0; r == 0 && i < 1000; i++) {
		r = gd_stop_seize(tracer, false, err);
		if (r == 0)
			r = gd_stop_interrupt(tracer, SECOND, err);
		if (r < 0)
			break;
		/* What stands at the start of a call that goes on looks like a thread that computes. */
		r = gd_inject_begin(tracer, err);
		seen->n += r == 0;
		if (r == -ENOTSUP || r == -EAGAIN)
			r = 0;
		gd_stop_detach(tracer);
	}
	return r;
}

static void a_wait_that_is_taken_up_again_is_not_cut_short_either(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_child(wait_with_a_limit);
	{
		GD_TARGET struct gd_target *target = freeze_open(pid);
		assert_ok(run(target, stop_again_and_again, NULL, &report, &err), &err);
	}
	freeze_await_untraced(pid);
	assert_int_equal(seen->n, 0);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	end_child(pid);
}

static void a_seccomp_filter_is_refused_and_named(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_child(under_a_filter);
	{
		GD_TARGET struct gd_target *target = freeze_open(pid);
		while (gd_inject_possible(target, &err) == 0)
			(void)usleep(1000); /* not there yet */
		assert_contains(err.msg, "(G4)");
		assert_fails(run(target, ask_who_it_is, NULL, &report, &err), -ENOTSUP, &err);
		assert_contains(err.msg, "(G4)");
	}
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	end_child(pid);
}

static void a_stopped_process_is_refused_and_stays_stopped(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_child(wait_for_a_signal);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (freeze_state(pid) != 'T')
		(void)usleep(1000);
	{
		GD_TARGET struct gd_target *target = freeze_open(pid);
		assert_fails(run(target, ask_who_it_is, NULL, &report, &err), -ENOTSUP, &err);
	}
	freeze_await_untraced(pid);
	assert_int_equal(freeze_state(pid), 'T');
	end_child(pid);
}

static int stop_it_in_the_frame(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	pid_t pid = *(pid_t *)arg;
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		(void)kill(pid, SIGSTOP);
	for (int i = 0; r == 0 && i < 3; i++)
		r = call(tracer, SYS_getpid, 0, 0, 0, &seen->rets[i], err);
	return r == 0 ? gd_inject_end(tracer, err) : r;
}

static void a_stop_signal_in_the_middle_works_afterwards(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t pid = start_child(wait_for_a_signal);
	struct victim *v = victim_start("selfcheck", NULL);
	pid_t pids[] = { pid, v->pid };
	for (int i = 0; i < 10; i++) {
		GD_TARGET struct gd_target *target = freeze_open(pids[i % 2]);
		assert_ok(run(target, stop_it_in_the_frame, &pids[i % 2], &report, &err), &err);
		assert_int_equal(seen->rets[0], pids[i % 2]);
		assert_int_equal(seen->rets[2], pids[i % 2]);
		freeze_await_untraced(pids[i % 2]);
		freeze_await_state(pids[i % 2], "T");
		assert_int_equal(kill(pids[i % 2], SIGCONT), 0);
		freeze_await_state(pids[i % 2], "SR");
	}
	freeze_assert_well(v);
	end_child(pid);
}

/* A process that is number 1 where it lives; *ret_helper keeps the namespace's parent. */
static pid_t start_in_namespace(pid_t *ret_helper)
{
	int fds[2];
	pid_t pid = 0;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t helper = fork();
	if (helper == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || unshare(CLONE_NEWPID) != 0)
			_exit(1);
		pid_t inner = fork();
		if (inner == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			wait_for_a_signal();
			_exit(2);
		}
		if (write(fds[1], &inner, sizeof(inner)) != sizeof(inner))
			_exit(1);
		wait_for_a_signal();
		_exit(2);
	}
	(void)close(fds[1]);
	ssize_t n = read(fds[0], &pid, sizeof(pid));
	(void)close(fds[0]);
	*ret_helper = helper;
	return n == sizeof(pid) ? pid : 0;
}

static void the_child_of_a_namespace_is_reaped_by_its_number_there(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_stop_report report = { 0 };
	pid_t helper = 0;
	pid_t pid = start_in_namespace(&helper);
	if (pid == 0) {
		assert_int_equal(waitpid(helper, NULL, 0), helper);
		test_skip("no pid namespace can be made here");
	}
	freeze_await_state(pid, "S");
	for (int i = 0; i < 4; i++) {
		GD_TARGET struct gd_target *target = freeze_open(pid);
		bool stop_all = i % 2 != 0;
		assert_ok(run(target, fork_it, &stop_all, &report, &err), &err);
		assert_int_equal(seen->inner, 2 + i);
		assert_int_not_equal(seen->child, seen->inner);
		assert_int_equal(seen->rets[0], seen->inner);
		assert_int_equal(freeze_children(pid), 0);
	}
	assert_int_equal(freeze_state(pid), 'S');
	(void)kill(pid, SIGKILL);
	end_child(helper);
}

/* STOP_FIGURES=1: what an injection costs. */
static void figures(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	if (getenv("STOP_FIGURES") == NULL)
		test_skip("STOP_FIGURES is not set");
	const char *paths[] = { "selfcheck", victim_go_if_built("gocheck", "1.22.12", "plain", &err) };
	for (size_t i = 0; i < 2 && paths[i] != NULL; i++) {
		struct victim *v = victim_start(paths[i], NULL);
		GD_TARGET struct gd_target *target = freeze_open(v->pid);
		int64_t best = INT64_MAX;
		int64_t sum = 0;
		int64_t worst = 0;
		for (int n = 0; n < 50; n++) {
			struct gd_stop_report report = { 0 };
			bool and_close = true;
			assert_ok(run(target, make_userfaultfd, &and_close, &report, &err), &err);
			best = report.inject_ns < best ? report.inject_ns : best;
			worst = report.inject_ns > worst ? report.inject_ns : worst;
			sum += report.inject_ns;
		}
		print_message("%s: two calls: best %" PRId64 " us, mean %" PRId64 " us, worst %" PRId64
		              " us\n", i == 0 ? "native" : "Go", best / 1000, sum / 50000,
		              worst / 1000);
		victim_stop(v);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_native_program_answers_and_notices_nothing),
		test_case(a_native_program_is_forked_and_does_not_know),
		test_case(every_register_of_a_computing_thread_comes_back),
		test_case(what_was_left_is_in_the_report),
		test_case(a_go_program_answers_forks_and_goes_on),
		test_case(a_single_thread_that_waits_for_ever_is_good_enough),
		test_case(a_wait_with_a_time_limit_is_not_cut_short_but_refused),
		test_case(a_wait_that_is_taken_up_again_is_not_cut_short_either),
		test_case(a_seccomp_filter_is_refused_and_named),
		test_case(a_stopped_process_is_refused_and_stays_stopped),
		test_case(a_stop_signal_in_the_middle_works_afterwards),
		test_case(the_child_of_a_namespace_is_reaped_by_its_number_there),
		test_case(figures),
	};
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		return 1;
	return test_run(tests);
}
