#include "tests/test.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/target.h"

static struct gd_target *open_target(pid_t pid)
{
	struct gd_error err = { 0 };
	struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	return target;
}

static uint64_t address_said(const struct victim *v)
{
	const char *at = strstr(v->said.data, "at ");
	assert_non_null(at);
	return strtoull(at + 3, NULL, 16);
}

static void tell(struct victim *v, const char *line)
{
	victim_tell(v, line);
	assert_string_equal(victim_line(v), "done");
}

/* Reads its first lines after it has become itself again. */
static void wait_until_ready(struct victim *v)
{
	const char *line;
	while ((line = victim_line(v)) != NULL && strcmp(line, "ready") != 0)
		;
	assert_non_null(line);
}

static void an_exit_is_noticed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	victim_tell(v, "exit");
	assert_null(victim_line(v));
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)v->pid, &info, WEXITED | WNOWAIT), 0);
	assert_fails(gd_target_check(t, &err), -ESRCH, &err);
	victim_stop(v);

	/* Reaped: nothing answers any more, and all say so alike. */
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	GD_FREE pid_t *tids = NULL;
	size_t n;
	char link[64];
	uint64_t value;
	assert_fails(gd_target_check(t, &err), -ESRCH, &err);
	assert_fails(gd_target_read_file(t, "stat", &text, &err), -ESRCH, &err);
	assert_fails(gd_target_read_link(t, "cwd", link, sizeof(link), &err), -ESRCH, &err);
	assert_fails(gd_target_threads(t, &tids, &n, &err), -ESRCH, &err);
	assert_fails(gd_target_refresh_maps(t, &err), -ESRCH, &err);
	assert_fails(gd_memory_read_u64(t->memory, 0x1000, &value, &err), -ESRCH, &err);
}

static void exec_is_stale(const char *how)
{
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	uint64_t value;
	victim_tell(v, how);
	wait_until_ready(v);
	assert_fails(gd_target_check(t, &err), -ESTALE, &err);
	assert_contains(err.msg, "execve");
	/* The old descriptor can never read the new program. */
	assert_fails(gd_memory_read_u64(t->memory, address_said(v), &value, &err), -ESRCH, &err);
	/* And it can be opened again as what it is now. */
	GD_TARGET struct gd_target *now = open_target(v->pid);
	assert_ok(gd_target_check(now, &err), &err);
	assert_int_equal(now->start_ticks, t->start_ticks);
}

static void executing_itself_again_is_noticed(void **state)
{
	(void)state;
	exec_is_stale("exec");
}

static void executing_at_the_same_addresses_is_noticed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_error err = { 0 };
	victim_tell(v, "exec-fixed");
	wait_until_ready(v);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	victim_tell(v, "exec-fixed");
	wait_until_ready(v);
	assert_fails(gd_target_check(t, &err), -ESTALE, &err);
}

static void executing_from_another_thread_is_noticed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	tell(v, "thread");
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	victim_tell(v, "exec");
	wait_until_ready(v);
	assert_fails(gd_target_check(t, &err), -ESTALE, &err);
}

static void executing_in_a_vfork_child_is_noticed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_error err = { 0 };
	victim_tell(v, "vfork");
	const char *line = victim_line(v);
	assert_non_null(line);
	GD_TARGET struct gd_target *child = open_target((pid_t)strtol(line, NULL, 10));
	assert_ok(gd_target_check(child, &err), &err);
	victim_tell(v, "go");
	/* The child speaks as itself, the parent goes on: both lines come in any order. */
	int seen = 0;
	while (seen < 2 && (line = victim_line(v)) != NULL)
		seen += strcmp(line, "ready") == 0 || strcmp(line, "done") == 0;
	assert_int_equal(seen, 2);
	/* Its old memory is its parent's and alive, so that sign alone would not do. */
	uint64_t value = 0;
	assert_ok(gd_memory_read_u64(child->memory, address_said(v), &value, &err), &err);
	assert_fails(gd_target_check(child, &err), -ESTALE, &err);
	GD_TARGET struct gd_target *parent = open_target(v->pid);
	assert_ok(gd_target_check(parent, &err), &err);
}

/* A child with just this pid, or -1 (somebody else took it first, or we may not choose). */
static pid_t fork_with_pid(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	return child;
}

static void a_reused_pid_is_never_taken_for_the_target(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	pid_t pid = v->pid;
	struct gd_target *t = open_target(pid);
	victim_stop(v);
	/* A start time counts in 10 ms. */
	(void)usleep(30000);
	pid_t other = fork_with_pid(pid);
	if (other < 0) {
		gd_target_close(t);
		test_skip("clone3 with a chosen pid: %s", strerror(errno));
	}
	assert_int_equal(other, pid);

	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	char link[4096];
	uint64_t value;
	int check = gd_target_check(t, &err);
	int file = gd_target_read_file(t, "stat", &text, NULL);
	ssize_t exe = gd_target_read_link(t, "exe", link, sizeof(link), NULL);
	int mem = gd_memory_read_u64(t->memory, 0x1000, &value, NULL);
	struct gd_target *now = NULL;
	int reopened = gd_target_open(pid, &now, NULL);
	uint64_t started = reopened == 0 ? now->start_ticks : 0;
	uint64_t started_before = t->start_ticks;
	gd_target_close(now);
	gd_target_close(t);
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);

	assert_fails(check, -ESRCH, &err);
	assert_int_equal(file, -ESRCH);
	assert_int_equal(exe, -ESRCH);
	assert_int_equal(mem, -ESRCH);
	assert_int_equal(reopened, 0);
	assert_true(started > started_before);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_exit_is_noticed),
		test_case(executing_itself_again_is_noticed),
		test_case(executing_at_the_same_addresses_is_noticed),
		test_case(executing_from_another_thread_is_noticed),
		test_case(executing_in_a_vfork_child_is_noticed),
		test_case(a_reused_pid_is_never_taken_for_the_target),
	};
	return test_run(tests);
}
