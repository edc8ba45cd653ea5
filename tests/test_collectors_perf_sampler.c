/*
 * A child with threads that spin in functions of ours, sampled in each of the ways there are.
 */
#include "collectors/perf_sampler.h"

#include <errno.h>
#include <pthread.h>
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

#include "base/clock.h"
#include "collectors/samples_switches.h"
#include "tests/test.h"

struct shared {
	volatile pid_t first, second, child; /* threads; a process forked by it */
	volatile pid_t tids[3];
	volatile int done[2];
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
	memset(&seen, 0, sizeof(seen));
	seen.pid = target->pid;
	gd_perf_sampler_start(s);
	*about = *gd_perf_sampler_about(s);
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

/* What was lost last is told by no record: nothing comes after it. */
static void what_was_lost_last_is_counted_as_well(void **state)
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
	usleep(500000);
	gd_perf_sampler_stop(s);
	(void)gd_perf_sampler_drain(s, see, &seen);
	uint64_t lost = gd_perf_sampler_lost(s, false);
	end_child(pid);
	print_message("# %lu came, %lu were lost, %lu of them told by records\n",
	              (unsigned long)seen.ours, (unsigned long)lost, (unsigned long)seen.lost);
	/* What was pending in the ring came, and of the rest no record could tell. */
	assert_true(seen.ours > 0);
	assert_int_equal(gd_perf_sampler_lost(s, true), 0);
	assert_true(lost > 20 || lost == 0); /* 0: before 6.0 */
	assert_true(lost == 0 || seen.lost <= lost);
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
	/* What BPF tells is one process's alone, and has neither stacks nor a rate. */
	for (uint32_t event = GD_PERF_WAKEUPS; event < GD_PERF_EVENTS; event++) {
		static const struct gd_perf_wanted told = { .way = GD_PERF_FILTERED };
		struct gd_perf_wanted t[] = { told, told, told, told, told, told };
		for (size_t i = 0; i < 6; i++)
			t[i].event = event;
		assert_true(gd_perf_wanted_is_sound(&t[0]));
		t[1].way = GD_PERF_EVERYBODY;
		t[2].stack_bytes = 8;
		t[3].frequency_hz = 99;
		t[4].way = GD_PERF_INHERITED;
		t[4].tid = 7;
		t[5].cpu = event == GD_PERF_WAKEUPS ? GD_PERF_CPUS_MAX : 1;
		for (size_t i = 1; i < 6; i++)
			assert_false(gd_perf_wanted_is_sound(&t[i]));
	}
}

/* A skip leaves without coming back: guards do not see it. */
static void let_go(pid_t pid, struct gd_perf_sampler **s, struct gd_target **target)
{
	end_child(pid);
	gd_perf_sampler_close(*s);
	gd_target_close(*target);
	*s = NULL;
	*target = NULL;
}

/* ---- wake-ups -------------------------------------------------------------------------------- */

enum { SLEEPERS = 3, PINNED_TO = 0 };

/* Threads which sleep, work and sleep again, and one that only works, all on one CPU. */
static void *sleep_and_work(void *arg)
{
	shared->tids[(uintptr_t)arg] = (pid_t)syscall(SYS_gettid);
	for (;;) {
		usleep(2000);
		for (volatile int i = 0; i < 300000; i++)
			;
	}
	return NULL;
}

static void run_sleepers(void)
{
	cpu_set_t one;
	pthread_t thread;
	CPU_ZERO(&one);
	CPU_SET(PINNED_TO, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		_exit(2);
	for (uintptr_t i = 0; i < SLEEPERS; i++)
		if (pthread_create(&thread, NULL, sleep_and_work, (void *)i) != 0)
			_exit(1);
	shared->first = (pid_t)syscall(SYS_gettid);
	spin();
}

/* How long a thread has waited on a run queue in all, as the scheduler counts it. */
static int64_t run_delay_ns(pid_t pid, pid_t tid)
{
	char path[64];
	unsigned long long ran = 0, waited = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return -1;
	int n = fscanf(file, "%llu %llu", &ran, &waited);
	(void)fclose(file);
	return n == 2 ? (int64_t)waited : -1;
}

struct away {
	struct gd_samples_switches *switches;
	pid_t pid;
	uint64_t wakeups, of_others, lost;
	int64_t ns[GD_SWITCH_STATES];
};

static void pair(void *arg, const struct gd_perf_record *r, bool of_switches)
{
	struct away *away = arg;
	if (!of_switches)
		return;
	away->lost += r->kind == GD_PERF_LOST ? r->lost : 0;
	if (r->kind == GD_PERF_WAKEUP) {
		bool ours = false;
		for (int i = 0; i < SLEEPERS; i++)
			ours = ours || shared->tids[i] == (pid_t)r->woken;
		away->wakeups++;
		away->of_others += !ours;
		gd_samples_switches_woken(away->switches, r->woken, r->time_ns);
	}
	if (r->pid != (uint32_t)away->pid || r->tid == (uint32_t)shared->first)
		return;
	if (r->kind == GD_PERF_SAMPLE)
		gd_samples_switches_sampled(away->switches, r->tid, r->time_ns, 1, 1);
	else if (r->kind == GD_PERF_SWITCH)
		gd_samples_switches_switched(away->switches, r->tid, r->time_ns, r->out, r->preempted);
}

static void add_up(void *arg, uint32_t tid, uint32_t stack, enum gd_switch_state state,
                   uint64_t weight, int64_t since_ns, int64_t ns)
{
	struct away *away = arg;
	(void)tid;
	(void)stack;
	(void)weight;
	(void)since_ns;
	away->ns[state] += ns;
}

static int64_t all_run_delays(pid_t pid)
{
	int64_t sum = 0;
	for (int i = 0; i < SLEEPERS; i++) {
		int64_t ns = run_delay_ns(pid, shared->tids[i]);
		if (ns < 0)
			return -1;
		sum += ns;
	}
	return sum;
}

static pid_t start_sleepers(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_sleepers();
	}
	while (shared->first == 0 || shared->tids[0] == 0 || shared->tids[1] == 0 || shared->tids[2] == 0)
		usleep(1000);
	return pid;
}

static void take_switches(struct gd_perf_sampler *s, struct away *away, int64_t for_ns)
{
	int64_t started = gd_clock_monotonic_ns();
	while (gd_clock_monotonic_ns() - started < for_ns) {
		gd_perf_sampler_wait(s, 50);
		assert_int_equal(gd_perf_sampler_drain(s, pair, away), 0);
	}
}

/*
 * Waiting for a CPU, preempted or woken, is what the scheduler itself counts as run_delay.  The windows
 * differ by the reading of the files, and by what a thread waits for at its edges.
 */
static void waiting_for_a_cpu_is_what_the_scheduler_counts(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 1024,
		                                         .switch_stack_bytes = 1024 };
	pid_t pid = start_sleepers();
	struct away away = { .pid = pid };
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	struct gd_perf_sampler_about about = { .way = 0 };
	if (r == 0) {
		gd_perf_sampler_start(s);
		about = *gd_perf_sampler_about(s);
	}
	int64_t before = all_run_delays(pid);
	if (r < 0 || about.no_wakeups.code != 0 || about.no_switches.code != 0 || before < 0) {
		let_go(pid, &s, &target);
		test_skip("not to be had here: %s%s%s", err.msg, about.no_wakeups.msg,
		          before < 0 ? "schedstat" : "");
	}
	assert_ok(gd_samples_switches_create(&away.switches, &err), &err);
	take_switches(s, &away, INT64_C(2000000000));
	gd_perf_sampler_stop(s);
	int64_t counted = all_run_delays(pid) - before;
	int64_t ended = gd_clock_monotonic_ns();
	(void)gd_perf_sampler_drain(s, pair, &away);
	uint64_t lost = gd_perf_sampler_lost(s, true);
	away.lost = lost > away.lost ? lost : away.lost;
	gd_samples_switches_end(away.switches, ended, add_up, &away);
	gd_samples_switches_destroy(away.switches);
	let_go(pid, &s, &target);
	int64_t waited = away.ns[GD_SWITCH_PREEMPTED] + away.ns[GD_SWITCH_RUNNABLE];
	print_message("# blocked %.1f ms, preempted %.1f ms, runnable %.1f ms; the scheduler says "
	              "%.1f ms; %lu wake-ups, %lu lost\n", (double)away.ns[GD_SWITCH_BLOCKED] / 1e6,
	              (double)away.ns[GD_SWITCH_PREEMPTED] / 1e6,
	              (double)away.ns[GD_SWITCH_RUNNABLE] / 1e6, (double)counted / 1e6,
	              (unsigned long)away.wakeups, (unsigned long)away.lost);
	assert_int_equal(away.of_others, 0);
	if (away.lost > 20 || away.wakeups < 50)
		test_skip("the machine is too busy: %lu records lost, %lu wake-ups",
		          (unsigned long)away.lost, (unsigned long)away.wakeups);
	assert_true(away.ns[GD_SWITCH_RUNNABLE] > 0);
	assert_true(away.ns[GD_SWITCH_BLOCKED] > 0);
	/* Who waits when it ends has not been counted yet by the scheduler, nor seen to leave before it began. */
	int64_t slack = counted / 10 + INT64_C(100000000);
	assert_true(waited > counted - slack && waited < counted + slack);
}

static void without_wakeups_it_is_said_why(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 1024,
		                                         .switch_stack_bytes = 1024,
		                                         .wakeups_off = true };
	pid_t pid = start_sleepers();
	struct away away = { .pid = pid };
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	if (r == 0)
		gd_perf_sampler_start(s);
	if (r < 0 || gd_perf_sampler_about(s)->no_switches.code != 0) {
		let_go(pid, &s, &target);
		test_skip("not to be had here: %s", err.msg);
	}
	assert_true(gd_perf_sampler_about(s)->no_wakeups.code < 0);
	assert_contains(gd_perf_sampler_about(s)->no_wakeups.msg, "wake-ups");
	assert_ok(gd_samples_switches_create(&away.switches, &err), &err);
	take_switches(s, &away, INT64_C(300000000));
	gd_perf_sampler_stop(s);
	(void)gd_perf_sampler_drain(s, pair, &away);
	gd_samples_switches_end(away.switches, gd_clock_monotonic_ns(), add_up, &away);
	gd_samples_switches_destroy(away.switches);
	end_child(pid);
	assert_int_equal(away.wakeups, 0);
	assert_int_equal(away.ns[GD_SWITCH_RUNNABLE], 0);
	assert_true(away.ns[GD_SWITCH_BLOCKED] > 0);
}

/*
 * Software events of one CPU are told by the kernel with the same data (since 6.3): what another sampler's
 * event had put into it, its clock's time and its pid namespace's numbers among them, is in our sample, too.
 */
struct apart {
	pid_t pid;
	uint64_t pairs, other_time;
	int64_t sampled_ns;
	uint32_t sampled_tid;
};

static void look_apart(void *arg, const struct gd_perf_record *r, bool of_switches)
{
	struct apart *apart = arg;
	if (!of_switches || r->pid != (uint32_t)apart->pid)
		return;
	if (r->kind == GD_PERF_SAMPLE) {
		apart->sampled_ns = r->time_ns;
		apart->sampled_tid = r->tid;
	}
	if (r->kind != GD_PERF_SWITCH || !r->out || apart->sampled_ns == 0)
		return;
	apart->pairs++;
	apart->other_time += apart->sampled_tid != r->tid || apart->sampled_ns > r->time_ns ||
	                     apart->sampled_ns < r->time_ns - 100000;
	apart->sampled_ns = 0;
}

static int open_other_sampler(void)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = PERF_TYPE_SOFTWARE,
		                        .config = PERF_COUNT_SW_CONTEXT_SWITCHES, .sample_period = 1,
		                        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME };
	/* Its samples are made although there is no ring to put them into. */
	return (int)syscall(SYS_perf_event_open, &attr, -1, PINNED_TO, -1, PERF_FLAG_FD_CLOEXEC);
}

static void beside_another_sampler_times_are_its_own(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 1024,
		                                         .switch_stack_bytes = 1024 };
	pid_t pid = start_sleepers();
	struct apart apart = { .pid = pid };
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	if (r == 0)
		gd_perf_sampler_start(s);
	int fd = r == 0 ? open_other_sampler() : -1;
	if (fd < 0 || gd_perf_sampler_about(s)->no_switches.code != 0) {
		if (fd >= 0)
			(void)close(fd);
		let_go(pid, &s, &target);
		test_skip("not to be had here: %s", err.msg);
	}
	for (int i = 0; i < 100 && apart.pairs < 200; i++) {
		gd_perf_sampler_wait(s, 50);
		(void)gd_perf_sampler_drain(s, look_apart, &apart);
	}
	(void)close(fd);
	end_child(pid);
	print_message("# %lu pairs, %lu of them apart\n", (unsigned long)apart.pairs,
	              (unsigned long)apart.other_time);
	assert_true(apart.pairs >= 200);
	assert_int_equal(apart.other_time, 0);
}

/* ---- system calls ---------------------------------------------------------------------------- */

enum { NATIVE_CALLS = 1234, COMPAT_CALLS = 7, ODD_CALLS = 3 };

/* getpid of 32-bit code, whose number here is writev; without the kernel's support it is a fault. */
static void call_compat(void)
{
#if defined(__x86_64__)
	long r = 20;
	__asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
#endif
}

static bool has_compat(void)
{
#if defined(__x86_64__)
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		call_compat();
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status);
#else
	return false;
#endif
}

static void run_caller(bool compat, volatile int *done)
{
	shared->first = getpid();
	while (shared->go == 0)
		;
	for (int i = 0; i < NATIVE_CALLS; i++)
		(void)syscall(SYS_getppid);
	for (int i = 0; compat && i < COMPAT_CALLS; i++)
		call_compat();
	for (int i = 0; i < ODD_CALLS; i++)
		(void)syscall(100000 + i);
	*done = 1;
	spin();
}

static pid_t start_caller(bool compat, int which)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_caller(compat, &shared->done[which]);
	}
	return pid;
}

/* The target's own, to the last one; another process makes as many meanwhile. */
static void system_calls_are_counted_by_number(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 1024,
		                                         .syscalls = true };
	bool compat = has_compat();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	pid_t pid = start_caller(compat, 0);
	shared->child = start_caller(compat, 1);
	while (shared->first == 0)
		usleep(1000);
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	struct gd_error why = err;
	usleep(50000); /* whoever came late spins by now */
	if (r == 0) {
		gd_perf_sampler_start(s);
		why = gd_perf_sampler_about(s)->no_syscalls;
	}
	pid_t other = shared->child;
	if (why.code != 0) {
		let_go(pid, &s, &target);
		(void)waitpid(other, NULL, 0);
		test_skip("not to be had here: %s", why.msg);
	}
	shared->go = 1;
	usleep(500000);
	gd_perf_sampler_stop(s);
	uint64_t n[GD_PERF_SYSCALLS_STRIDE], all = 0;
	memcpy(n, gd_perf_sampler_syscalls(s), sizeof(n));
	for (size_t i = 0; i < GD_PERF_SYSCALLS_NUMBERS; i++)
		all += n[i];
	bool done = shared->done[0] && shared->done[1];
	let_go(pid, &s, &target);
	(void)waitpid(other, NULL, 0);
	if (!done)
		test_skip("the machine is too busy");
	assert_int_equal(n[SYS_getppid], NATIVE_CALLS);
	assert_int_equal(n[GD_PERF_SYSCALLS_OTHER], ODD_CALLS);
	assert_int_equal(n[GD_PERF_SYSCALLS_COMPAT], compat ? COMPAT_CALLS : 0);
	/* What 32-bit code calls by 20 is no writev; a sanitizer may make a call or two of its own. */
	assert_int_equal(n[SYS_writev], 0);
	assert_true(all >= NATIVE_CALLS && all < NATIVE_CALLS + 5);
	if (!compat)
		print_message("# not covered: this kernel runs no 32-bit code\n");
}

static void without_being_asked_for_nothing_is_counted(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = { .frequency_hz = 99, .stack_bytes = 1024 };
	pid_t pid = start_child();
	GD_TARGET struct gd_target *target = NULL;
	GD_PERF_SAMPLER struct gd_perf_sampler *s = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	int r = gd_perf_sampler_open(target, &options, &s, &err);
	if (r == -EACCES || r == -EPERM) {
		let_go(pid, &s, &target);
		test_skip("perf events are not to be had here: %s", err.msg);
	}
	end_child(pid);
	assert_ok(r, &err);
	gd_perf_sampler_start(s);
	gd_perf_sampler_stop(s);
	for (size_t i = 0; i < GD_PERF_SYSCALLS_STRIDE; i++)
		assert_int_equal(gd_perf_sampler_syscalls(s)[i], 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(one_event_per_cpu_lets_only_the_target_through),
		test_case(events_are_inherited_by_new_threads),
		test_case(without_a_filter_others_come_without_their_stacks),
		test_case(a_ring_that_overflows_says_so),
		test_case(what_was_lost_last_is_counted_as_well),
		test_case(a_target_that_has_ended_is_gone),
		test_case(nonsense_is_not_opened),
		test_case(waiting_for_a_cpu_is_what_the_scheduler_counts),
		test_case(without_wakeups_it_is_said_why),
		test_case(beside_another_sampler_times_are_its_own),
		test_case(system_calls_are_counted_by_number),
		test_case(without_being_asked_for_nothing_is_counted),
	};
	return test_run(tests);
}
