/*
 * A child with threads that spin in functions of ours, sampled in each of the ways there are.
 */
#include "collectors/perf_sampler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/test.h"

struct shared {
	volatile pid_t first, second, child; /* threads; a process forked by it */
	volatile int go;
};

static struct shared *shared;

static __attribute__((noinline)) void spin(void)
{
	for (volatile uint64_t n = 0;; n++)
		;
}

static void *second(void *arg)
{
	(void)arg;
	shared->second = (pid_t)syscall(SYS_gettid);
	spin();
	return NULL;
}

/* One thread spins at once; another one, and a process, come when told. */
static void run_child(void)
{
	pthread_t thread;
	shared->first = (pid_t)syscall(SYS_gettid);
	while (shared->go == 0)
		;
	if (pthread_create(&thread, NULL, second, NULL) != 0)
		_exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		spin();
	}
	shared->child = pid;
	spin();
}

static pid_t start_child(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_child();
	}
	while (shared->first == 0)
		usleep(1000);
	return pid;
}

static void end_child(pid_t pid)
{
	if (shared->child > 0)
		(void)kill(shared->child, SIGKILL);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)munmap(shared, sizeof(*shared));
}

struct seen {
	pid_t pid;
	uint64_t ours, first, second, others, lost, with_stack, at_spin;
	int64_t last_ns[GD_PERF_CPUS_MAX];
	uint64_t backwards;
};

static void see(void *arg, const struct gd_perf_record *r, bool of_switches)
{
	assert_false(of_switches);
	struct seen *seen = arg;
	if (r->kind == GD_PERF_LOST)
		seen->lost += r->lost;
	if (r->kind != GD_PERF_SAMPLE)
		return;
	if (r->pid != (uint32_t)seen->pid) {
		seen->others++;
		return;
	}
	seen->ours++;
	seen->first += r->tid == (uint32_t)shared->first;
	seen->second += r->tid == (uint32_t)shared->second;
	seen->with_stack += r->regs != NULL && r->stack != NULL && r->stack_len > 0;
	uint64_t function = (uint64_t)(uintptr_t)spin; /* the child is our image */
	seen->at_spin += r->pc >= function && r->pc < function + 4096;
	seen->backwards += r->time_ns < seen->last_ns[r->cpu];
	seen->last_ns[r->cpu] = r->time_ns;
}

static struct seen seen;

/* Samples for a while; the child gets its second thread and its child once it runs. */
static void sample(struct gd_target *target, const struct gd_perf_sampler_options *options,
                   struct gd_perf_sampler_about *about)
{
	struct gd_error err = { 0 };
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	int r = gd_perf_sampler_open(target, options, &s, &err);
	if (r == -EACCES || r == -EPERM || r == -ENOSYS)
		test_skip("perf events are not to be had here: %s", err.msg);
	assert_ok(r, &err);
	*about = *gd_perf_sampler_about(s);
	memset(&seen, 0, sizeof(seen));
	seen.pid = target->pid;
	gd_perf_sampler_start(s);
	shared->go = 1;
	int64_t started = gd_clock_monotonic_ns();
	while (gd_clock_monotonic_ns() - started < INT64_C(2000000000) &&
	       (seen.first < 20 || seen.second < 20)) {
		gd_perf_sampler_wait(s, 50);
		assert_int_equal(gd_perf_sampler_drain(s, see, &seen), 0);
	}
	gd_perf_sampler_stop(s);
	(void)gd_perf_sampler_drain(s, see, &seen);
}

static void each_way(uint32_t way)
{
	struct gd_error err = { 0 };
	struct gd_perf_sampler_about about;
	struct gd_perf_sampler_options options = { .frequency_hz = 499, .stack_bytes = 8192 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	for (uint32_t i = 0; i < way; i++)
		options.ways_off[i] = true;
	sample(target, &options, &about);
	end_child(pid);
	if (about.way != way)
		test_skip("%s is not to be had here: %s", gd_perf_way_name(way), about.fell_back.msg);
	/* Both threads, also the one that came later; nobody else, where the kernel filters. */
	assert_true(seen.first > 5);
	assert_true(seen.second > 5);
	if (way == GD_PERF_FILTERED)
		assert_int_equal(seen.others, 0);
	assert_int_equal(seen.backwards, 0);
	assert_true(seen.at_spin > seen.ours / 3);
	assert_int_equal(about.stack_bytes, way == GD_PERF_EVERYBODY ? 0 : 8192);
	if (way == GD_PERF_EVERYBODY)
		assert_int_equal(seen.with_stack, 0);
	else
		assert_true(seen.with_stack > seen.ours * 9 / 10);
	assert_true(about.event == GD_PERF_CYCLES || about.event == GD_PERF_CPU_CLOCK);
	assert_int_equal(about.fell_back.code != 0, way != GD_PERF_FILTERED);
}

static void one_event_per_cpu_lets_only_the_target_through(void **state)
{
	(void)state;
	each_way(GD_PERF_FILTERED);
}

static void events_are_inherited_by_new_threads(void **state)
{
	(void)state;
	each_way(GD_PERF_INHERITED);
}

static void without_a_filter_others_come_without_their_stacks(void **state)
{
	(void)state;
	each_way(GD_PERF_EVERYBODY);
}

/* Whoever reads too late is told how much he has missed. */
static void a_ring_that_overflows_says_so(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 999, .stack_bytes = 8192,
		                                         .ring_bytes = 32 << 10 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	if (r == -EACCES || r == -EPERM) {
		end_child(pid);
		test_skip("perf events are not to be had here: %s", err.msg);
	}
	assert_ok(r, &err);
	memset(&seen, 0, sizeof(seen));
	seen.pid = pid;
	gd_perf_sampler_start(s);
	usleep(500000); /* 500 samples at most, of which one ring holds three */
	(void)gd_perf_sampler_drain(s, see, &seen);
	/* The count comes with the next record that fits, when there is one on that CPU. */
	for (int i = 0; i < 200 && seen.lost <= 20; i++) {
		usleep(10000);
		(void)gd_perf_sampler_drain(s, see, &seen);
	}
	gd_perf_sampler_stop(s);
	end_child(pid);
	assert_true(seen.ours > 0);
	print_message("# %lu came, %lu were lost\n", (unsigned long)seen.ours, (unsigned long)seen.lost);
	assert_true(seen.lost > 20);
}

static void a_target_that_has_ended_is_gone(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 8192 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	end_child(pid);
	assert_fails(gd_perf_sampler_open(target, &options, &s, &err), -ESRCH, &err);
	assert_null(s);
}

static void nonsense_is_not_opened(void **state)
{
	(void)state;
	static const struct gd_perf_wanted good = { .way = GD_PERF_FILTERED, .frequency_hz = 99,
		                                    .stack_bytes = 8192 };
	assert_true(gd_perf_wanted_is_sound(&good));
	struct gd_perf_wanted w[] = { good, good, good, good, good, good, good, good };
	w[0].way = GD_PERF_WAYS;
	w[1].event = GD_PERF_EVENTS;
	w[2].cpu = GD_PERF_CPUS_MAX;
	w[3].tid = 1;
	w[4].frequency_hz = 0;
	w[5].stack_bytes = 12;
	w[6].stack_bytes = GD_PERF_STACK_MAX + 8;
	w[7].way = GD_PERF_EVERYBODY; /* other people's stacks */
	for (size_t i = 0; i < sizeof(w) / sizeof(w[0]); i++)
		assert_false(gd_perf_wanted_is_sound(&w[i]));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(one_event_per_cpu_lets_only_the_target_through),
		test_case(events_are_inherited_by_new_threads),
		test_case(without_a_filter_others_come_without_their_stacks),
		test_case(a_ring_that_overflows_says_so),
		test_case(a_target_that_has_ended_is_gone),
		test_case(nonsense_is_not_opened),
	};
	return test_run(tests);
}
