/*
 * A child with two threads whose whereabouts are known: one spins in a function of ours, one sleeps
 * in read(2).
 */
#include "collectors/registers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

struct shared {
	volatile pid_t spinner, sleeper;
	volatile uint64_t stack_word; /* address of a local of the spinner */
};

static struct shared *shared;
static int pipe_fds[2];

static __attribute__((noinline)) void spin(void)
{
	volatile uint64_t word = 0x5049;
	shared->stack_word = (uint64_t)(uintptr_t)&word;
	shared->spinner = (pid_t)syscall(SYS_gettid);
	for (;;)
		word++;
}

static void *sleep_in_read(void *arg)
{
	char c;
	(void)arg;
	shared->sleeper = (pid_t)syscall(SYS_gettid);
	while (read(pipe_fds[0], &c, 1) != 1)
		;
	return NULL;
}

static pid_t start_child(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pthread_t thread;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pthread_create(&thread, NULL, sleep_in_read, NULL) != 0)
			_exit(1);
		spin();
	}
	while (shared->spinner == 0 || shared->sleeper == 0)
		usleep(1000);
	usleep(20000); /* until the sleeper sleeps */
	return pid;
}

static void end_child(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	(void)munmap(shared, sizeof(*shared));
}

static void threads_tell_where_they_are_without_a_stop(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_registers *r = NULL;
	struct gd_thread_registers regs = { 0 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	assert_ok(gd_registers_create(target, NULL, &r, &err), &err);

	int asleep = gd_registers_read(r, (uint64_t)shared->sleeper, &regs);
	if (asleep == -EACCES || asleep == -EPERM) {
		gd_registers_destroy(r);
		end_child(pid);
		test_skip("/proc/PID/task/TID/syscall is not readable here");
	}
	assert_int_equal(asleep, 0);
	const struct gd_map *code = gd_maps_find(&target->maps, regs.pc);
	assert_non_null(code);
	assert_true(code->exec);
	assert_null(regs.stack);

	gd_registers_prepare(r);
	int e = -EAGAIN;
	for (int try = 0; try < 100 && e == -EAGAIN; try++)
		e = gd_registers_read(r, (uint64_t)shared->spinner, &regs);
	if (e == -EACCES || e == -EPERM || e == -ENOSYS || e == -EAGAIN) {
		gd_registers_destroy(r);
		end_child(pid);
		test_skip("perf samples are not to be had here: %s", strerror(-e));
	}
	assert_int_equal(e, 0);
	uint64_t function = (uint64_t)(uintptr_t)spin; /* the child is our image */
	assert_in_range(regs.pc, function, function + 4096);
	/* the local lies on the stack just above sp, or in the red zone below it */
	assert_in_range(shared->stack_word, regs.sp - 128, regs.sp + 256);
	if (shared->stack_word >= regs.sp) {
		assert_true(regs.stack_len > shared->stack_word - regs.sp + 8);
		uint64_t copied, now = 0;
		memcpy(&copied, regs.stack + (shared->stack_word - regs.sp), 8);
		assert_ok(gd_memory_read_u64(target->memory, shared->stack_word, &now, &err), &err);
		assert_in_range(copied, 0x5049, now);
	}
	gd_registers_destroy(r);
	end_child(pid);
}

static void only_threads_of_the_target_are_looked_at(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_registers *r = NULL;
	struct gd_thread_registers regs = { .pc = 7 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	assert_ok(gd_registers_create(target, NULL, &r, &err), &err);
	assert_true(gd_registers_read(r, 0, &regs) < 0);
	assert_true(gd_registers_read(r, (uint64_t)getpid(), &regs) < 0);
	assert_true(gd_registers_read(r, UINT64_MAX, &regs) < 0);
	assert_true(gd_registers_read(r, 1, &regs) < 0);
	assert_int_equal(regs.pc, 7);
	gd_registers_destroy(r);
	end_child(pid);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(threads_tell_where_they_are_without_a_stop),
		test_case(only_threads_of_the_target_are_looked_at),
	};
	return test_run(tests);
}
