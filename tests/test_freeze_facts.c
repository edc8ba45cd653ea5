/*
 * Facts of real processes that are each in one of the states the guards are about, and what the
 * plan makes of them.  The test makes them itself; groups it makes are its own and removed again.
 */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "freeze/facts.h"
#include "freeze/kernel.h"
#include "target/cgroup.h"

#define MIB (UINT64_C(1) << 20)
#define MS INT64_C(1000000)
#define WAIT_NS (20 * INT64_C(1000000000))

/* ---- targets --------------------------------------------------------------------------------- */

/* A child that prepares itself, says so, and waits for ever.  False: that is not possible here. */
static pid_t start_child(bool (*prepare)(void), bool *ret_possible)
{
	int ready[2];
	char possible = 0;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		possible = prepare();
		if (write(ready[1], &possible, 1) != 1)
			_exit(1);
		for (;;)
			(void)syscall(SYS_pause);
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &possible, 1), 1);
	(void)close(ready[0]);
	*ret_possible = possible != 0;
	return pid;
}

static void end_child(pid_t pid)
{
	int status;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
}

static pid_t child(bool (*prepare)(void), const char *lacks)
{
	bool possible;
	pid_t pid = start_child(prepare, &possible);
	if (!possible) {
		end_child(pid);
		test_skip("%s", lacks);
	}
	return pid;
}

static struct gd_freeze_options usual(void)
{
	return (struct gd_freeze_options){ .max_pause_ns = 50 * MS, .keep_huge = true };
}

static struct gd_freeze_plan plan_with(pid_t pid, const struct gd_freeze_options *options)
{
	struct gd_error err = { 0 };
	struct gd_freeze_plan plan;
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open(pid, &t, &err), &err);
	assert_ok(gd_freeze_plan(t, options, -1, &plan, &err), &err);
	return plan;
}

static struct gd_freeze_plan plan_of(pid_t pid)
{
	struct gd_freeze_options options = usual();
	return plan_with(pid, &options);
}

static void assert_forbidden(const struct gd_freeze_plan *plan, enum gd_freeze_method method,
                             unsigned guard, const char *says)
{
	const struct gd_freeze_estimate *e = &plan->methods[method];
	print_message("%s: %s\n", gd_freeze_method_name(method), e->why);
	assert_false(e->possible);
	assert_int_equal(e->guard, guard);
	assert_contains(e->why, says);
}

static void nap(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 5 * MS }, NULL);
}

static bool nothing(void)
{
	return true;
}

/* ---- ordinary ones --------------------------------------------------------------------------- */

static void on_urgent(int signal)
{
	(void)signal;
}

/* As Go does it: on a stack of its own. */
static bool catch_urgent(void)
{
	static char stack[65536];
	struct sigaction action = { .sa_handler = on_urgent, .sa_flags = SA_ONSTACK };
	return sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) }, NULL) == 0 &&
	       sigaction(SIGURG, &action, NULL) == 0;
}

static char *map_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static bool hold_memory_of_all_kinds(void)
{
	char *plain = map_pages(40 * MIB);
	char *secret = map_pages(8 * MIB);
	char *shared = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	                    0);
	if (plain == NULL || secret == NULL || shared == MAP_FAILED ||
	    madvise(secret, 8 * MIB, MADV_DONTDUMP) != 0)
		return false;
	memset(plain, 1, 40 * MIB);
	memset(secret, 2, 8 * MIB);
	memset(shared, 3, 4 * MIB);
	return catch_urgent();
}

static void bytes_are_counted_by_kind(void **state)
{
	(void)state;
	pid_t pid = child(hold_memory_of_all_kinds, "no memory");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	const struct gd_freeze_facts *f = &plan.facts;
	assert_int_equal(f->unreadable.code, 0);
	assert_true(f->anon_bytes >= 48 * MIB && f->anon_bytes < 2048 * MIB);
	assert_true(f->rss_bytes >= f->anon_bytes + 4 * MIB);
	/* AddressSanitizer marks memory of its own. */
	assert_true(f->dontdump_bytes >= 8 * MIB && f->dontdump_bytes < 12 * MIB);
	assert_true(f->shmem_bytes >= 4 * MIB && f->shmem_bytes < 40 * MIB);
	assert_int_equal(f->threads, 1);
	assert_true(f->maps > 5);
	assert_true(f->go_signal);
	assert_true(f->dumpable);
	assert_int_equal(f->tracer_pid, 0);
	assert_int_equal(f->seccomp, 0);
	assert_true(f->state == 'S' || f->state == 'R');
	assert_false(f->frozen || f->vm_pinned || f->io_uring || f->userfaultfd);
	assert_false(f->namespace_init || f->native_32bit || f->shadow_stack);
	assert_true(f->memory_headroom_bytes > 0);
	assert_true(plan.methods[GD_FREEZE_TORN].possible);
}

static bool hold_a_huge_page(void)
{
	char *p = map_pages(64 * MIB);
	if (p == NULL || madvise(p, 64 * MIB, MADV_HUGEPAGE) != 0)
		return false;
	memset(p, 1, 64 * MIB);
	return true;
}

static void huge_pages_are_counted(void **state)
{
	(void)state;
	pid_t pid = child(hold_a_huge_page, "no transparent huge pages here");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	if (plan.facts.huge_bytes == 0)
		test_skip("the kernel had no huge page to give");
	assert_true(plan.facts.huge_bytes <= plan.facts.anon_bytes);
	assert_int_equal(plan.facts.huge_bytes % (2 * MIB), 0);
}

static bool hold_400_mib(void)
{
	char *huge = map_pages(320 * MIB);
	char *small = map_pages(80 * MIB);
	if (huge == NULL || small == NULL || madvise(huge, 320 * MIB, MADV_HUGEPAGE) != 0 ||
	    madvise(small, 80 * MIB, MADV_NOHUGEPAGE) != 0)
		return false;
	memset(huge, 1, 320 * MIB);
	memset(small, 1, 80 * MIB);
	return true;
}

/* "AnonHugePages: ..." */
static uint64_t rollup_says(pid_t pid, const char *name)
{
	char path[64];
	GD_BUF struct gd_buf text = GD_BUF_INIT(65536);
	struct gd_error err = { 0 };
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &text, &err), &err);
	return gd_freeze_facts_number(gd_buf_str(&text), name, 10) << 10;
}

static void huge_pages_of_much_memory_are_counted_in_slices(void **state)
{
	(void)state;
	if (!gd_freeze_kernel()->pagemap_scan)
		test_skip("no PAGEMAP_SCAN here");
	pid_t pid = child(hold_400_mib, "no transparent huge pages here");
	uint64_t huge;
	struct gd_freeze_plan plan;
	int tries = 0;
	/* The kernel may be collapsing or splitting some. */
	do {
		huge = rollup_says(pid, "AnonHugePages");
		plan = plan_of(pid);
	} while (plan.facts.huge_bytes != huge && tries++ < 100);
	end_child(pid);
	assert_int_equal(plan.facts.huge_bytes, huge);
	assert_true(plan.facts.anon_bytes >= 400 * MIB);
	assert_int_equal(plan.facts.dontdump_bytes, 0);
}

static void the_skipped_ranges_are_not_in_a_thin_image(void **state)
{
	(void)state;
	pid_t pid = child(hold_memory_of_all_kinds, "no memory");
	struct gd_freeze_options options = usual();
	struct gd_range skip = { .start = 0x10000, .end = 0x10000 + 32 * MIB };
	options.scope = GD_FREEZE_THIN;
	options.skip = &skip;
	options.n_skip = 1;
	struct gd_freeze_plan plan = plan_with(pid, &options);
	end_child(pid);
	assert_int_equal(plan.facts.thin_bytes, plan.facts.anon_bytes - 32 * MIB);
}

static void free_space_is_asked_where_the_image_goes(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	GD_CLOSE int dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open(pid, &t, &err), &err);
	assert_ok(gd_freeze_plan(t, &options, dir_fd, &plan, &err), &err);
	end_child(pid);
	assert_true(plan.facts.space_bytes < UINT64_MAX);
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		(void)pause();
	return NULL;
}

static bool start_600_threads(void)
{
	pthread_attr_t attr;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 65536);
	for (int i = 0; i < 600; i++) {
		pthread_t thread;
		if (pthread_create(&thread, &attr, wait_for_ever, NULL) != 0)
			return false;
	}
	return true;
}

static void six_hundred_threads_do_not_fit_a_small_budget(void **state)
{
	(void)state;
	pid_t pid = child(start_600_threads, "600 threads are too many here");
	struct gd_freeze_options options = usual();
	options.max_pause_ns = 10 * MS;
	struct gd_freeze_plan plan = plan_with(pid, &options);
	int64_t before = gd_clock_monotonic_ns();
	(void)plan_with(pid, &options);
	print_message("a plan of 601 threads: %lld us\n",
	              (long long)(gd_clock_monotonic_ns() - before) / 1000);
	end_child(pid);
	assert_int_equal(plan.facts.threads, 601);
	assert_forbidden(&plan, GD_FREEZE_COPY, 15, "601 threads");
	assert_contains(plan.methods[GD_FREEZE_COPY].why, "allowed are 10 ms");
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
}

#define MANY_MAPS 60000

static bool map_60000_times(void)
{
	/* Neighbours with different rights are never joined. */
	char *p = mmap(NULL, (size_t)MANY_MAPS * 4096, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	for (size_t i = 0; i < MANY_MAPS; i += 2)
		if (mprotect(p + i * 4096, 4096, PROT_READ) != 0)
			return false;
	p[4096] = 1;
	return true;
}

static void sixty_thousand_maps_do_not_fit_the_usual_budget(void **state)
{
	(void)state;
	pid_t pid = child(map_60000_times, "vm.max_map_count is too small for 60,000 maps");
	struct gd_freeze_options options = usual();
	struct gd_error err = { 0 };
	struct gd_freeze_plan plan;
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open(pid, &t, &err), &err);
	int64_t before = gd_clock_monotonic_ns();
	assert_ok(gd_freeze_plan(t, &options, -1, &plan, &err), &err);
	print_message("a plan of 60,000 maps: %lld us\n",
	              (long long)(gd_clock_monotonic_ns() - before) / 1000);
	end_child(pid);
	assert_true(plan.facts.maps >= MANY_MAPS);
	assert_true(plan.facts.rss_bytes > 0);
	assert_forbidden(&plan, GD_FREEZE_COPY, 15, "mappings");
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
}

/* ---- somebody else has it -------------------------------------------------------------------- */

static void a_traced_target_is_only_read(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0) {
		end_child(pid);
		test_skip("ptrace: %s", strerror(errno));
	}
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_int_equal(plan.facts.tracer_pid, getpid());
	char says[32];
	(void)snprintf(says, sizeof(says), "pid %d traces it", getpid());
	for (int m = GD_FREEZE_SOFT_DIRTY; m <= GD_FREEZE_COPY; m++)
		assert_forbidden(&plan, (enum gd_freeze_method)m, 6, says);
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
	assert_false(plan.refused);
}

static void a_stopped_target_is_copied_as_it_stands(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	int status;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_int_equal(plan.facts.state, 'T');
	assert_forbidden(&plan, GD_FREEZE_FORK, 8, "stopped already");
	assert_forbidden(&plan, GD_FREEZE_UFFD, 8, "stopped already");
	assert_int_equal(plan.chosen, GD_FREEZE_COPY);
	assert_int_equal(plan.methods[GD_FREEZE_COPY].pause_ns, 0);
}

static bool filter_nothing(void)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { .len = 1, .filter = allow };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void nothing_is_injected_into_a_filtered_target(void **state)
{
	(void)state;
	pid_t pid = child(filter_nothing, "no seccomp filters here");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_int_equal(plan.facts.seccomp, 2);
	if (plan.facts.kernel_uffd_wp && plan.facts.kernel_pagemap_scan)
		assert_forbidden(&plan, GD_FREEZE_UFFD, 4, "Seccomp: 2");
	assert_forbidden(&plan, GD_FREEZE_FORK, 4, "Seccomp: 2");
	assert_true(plan.methods[GD_FREEZE_COPY].possible);
}

static void a_program_without_handlers_gets_a_frame_of_ours(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_false(plan.facts.go_signal);
	if (plan.facts.no_injection.code != 0)
		test_skip("%s", plan.facts.no_injection.msg);
	assert_true(plan.methods[GD_FREEZE_FORK].possible);
}

static void a_go_service_gets_a_pre_copy(void **state)
{
	(void)state;
	struct victim *v = victim_start(victim_go("quiet", "1.22.12", "plain"), NULL);
	struct gd_freeze_plan plan = plan_of(v->pid);
	assert_int_equal(plan.facts.unreadable.code, 0);
	assert_true(plan.facts.go_signal);
	assert_int_equal(plan.facts.no_injection.code, 0);
	assert_false(plan.refused);
	if (plan.facts.memory_headroom_bytes > 256 * MIB)
		assert_true(plan.methods[GD_FREEZE_FORK].possible);
	if (!plan.facts.kernel_soft_dirty &&
	    (!plan.facts.kernel_uffd_wp || !plan.facts.kernel_pagemap_scan))
		test_skip("no pre-copy on this kernel");
	assert_true(plan.chosen == GD_FREEZE_SOFT_DIRTY || plan.chosen == GD_FREEZE_UFFD);
	assert_true(plan.methods[plan.chosen].pause_ns < 10 * MS);
}

/* ---- secrets --------------------------------------------------------------------------------- */

static bool become_undumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 0) == 0;
}

static bool become_somebody(void)
{
	/* Changing uids makes a process undumpable, whatever it does later. */
	return setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
	       setresuid(65534, 65534, 65534) == 0;
}

static bool become_somebody_dumpable(void)
{
	return become_somebody() && prctl(PR_SET_DUMPABLE, 1) == 0;
}

static void assert_secret(pid_t pid)
{
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan = plan_of(pid);
	struct gd_freeze_plan forced;
	options.secret = true;
	forced = plan_with(pid, &options);
	end_child(pid);
	print_message("%s\n", plan.why);
	assert_false(plan.facts.dumpable);
	assert_false(plan.facts.dumpable_unknown);
	assert_true(plan.refused);
	assert_contains(plan.why, "not dumpable");
	assert_false(forced.refused);
}

static void undumpable_root_is_secret(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("not root");
	assert_secret(child(become_undumpable, "PR_SET_DUMPABLE"));
}

static void undumpable_others_are_secret(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("not root");
	assert_secret(child(become_somebody, "no other uid here"));
}

static void dumpable_others_are_not_secret(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("not root");
	pid_t pid = child(become_somebody_dumpable, "no other uid here");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_true(plan.facts.dumpable);
	assert_false(plan.refused);
}

/* What the daemon is: another uid, a few capabilities, and so unlike root's processes. */
static int plan_as_the_daemon(pid_t pid)
{
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_target *t = NULL;
	if (gd_target_open(pid, &t, NULL) < 0)
		return 1;
	if (setresuid(65534, 65534, 0) != 0)
		return 2;
	int r = gd_freeze_plan(t, &options, -1, &plan, NULL);
	gd_target_close(t);
	if (r < 0 || !plan.refused || !plan.facts.dumpable_unknown)
		return 3;
	return strstr(plan.why, "cannot be told") != NULL ? 0 : 4;
}

static void what_cannot_be_told_of_root_is_secret(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("not root");
	pid_t pid = child(nothing, "");
	pid_t asker = fork();
	if (asker == 0)
		_exit(plan_as_the_daemon(pid));
	test_child_exits(asker, 0);
	end_child(pid);
}

static bool want_no_core(void)
{
	return setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) == 0;
}

static void a_hard_core_limit_of_0_is_refused(void **state)
{
	(void)state;
	pid_t pid = child(want_no_core, "setrlimit");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_true(plan.facts.core_limit_zero);
	assert_true(plan.refused);
	assert_contains(plan.why, "hard limit for core files is 0");
}

static bool want_no_core_for_now(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max == 0)
		return false;
	limit.rlim_cur = 0;
	return setrlimit(RLIMIT_CORE, &limit) == 0;
}

static void a_soft_core_limit_of_0_is_not(void **state)
{
	(void)state;
	pid_t pid = child(want_no_core_for_now, "the hard limit is 0 here");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_false(plan.facts.core_limit_zero);
	assert_false(plan.refused);
}

/* ---- limits ---------------------------------------------------------------------------------- */

struct own_group {
	char dir[128];
};

static bool write_group(const struct own_group *group, const char *file, const char *text)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "%s/%s", group->dir, file);
	GD_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* A group of our own with the pid in it, or the test is skipped (and the child ended). */
static struct own_group enter_group(const char *hierarchy, pid_t pid)
{
	struct own_group group;
	char text[16];
	(void)snprintf(group.dir, sizeof(group.dir), "/sys/fs/cgroup/%s/godiag-test-%d", hierarchy,
	               getpid());
	(void)snprintf(text, sizeof(text), "%d", pid);
	if (mkdir(group.dir, 0755) != 0 || !write_group(&group, "cgroup.procs", text)) {
		int code = errno;
		(void)rmdir(group.dir);
		end_child(pid);
		test_skip("%s: %s", group.dir, strerror(code));
	}
	return group;
}

/* The last member is gone only when the kernel has buried it. */
static void leave_group(const struct own_group *group)
{
	int64_t until = gd_clock_monotonic_ns() + WAIT_NS;
	while (rmdir(group->dir) != 0 && errno == EBUSY && gd_clock_monotonic_ns() < until)
		nap();
	assert_int_equal(access(group->dir, F_OK), -1);
}

static void a_fork_does_not_take_the_last_pid(void **state)
{
	(void)state;
	pid_t pid = child(catch_urgent, "no alternate stack");
	struct own_group group = enter_group("pids", pid);
	bool set = write_group(&group, "pids.max", "1");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	leave_group(&group);
	assert_true(set);
	assert_int_equal(plan.facts.pids_headroom, 0);
	assert_forbidden(&plan, GD_FREEZE_FORK, 11, "0 more tasks");
}

static void a_fork_does_not_go_near_the_memory_limit(void **state)
{
	(void)state;
	pid_t pid = child(catch_urgent, "no alternate stack");
	struct own_group group = enter_group("memory", pid);
	bool set = write_group(&group, "memory.limit_in_bytes", "20971520");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	leave_group(&group);
	if (!set)
		test_skip("memory.limit_in_bytes cannot be set");
	assert_true(plan.facts.memory_headroom_bytes <= 20 * MIB);
	assert_true(plan.facts.memory_headroom_bytes > MIB);
	assert_forbidden(&plan, GD_FREEZE_FORK, 5, "its memory limit leaves");
}

static void a_throttled_target_is_warned_about(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	struct own_group group = enter_group("cpu", pid);
	bool set = write_group(&group, "cpu.cfs_period_us", "10000") &&
	           write_group(&group, "cpu.cfs_quota_us", "1000");
	pid_t spinner = fork();
	if (spinner == 0) {
		char text[16];
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)snprintf(text, sizeof(text), "%d", getpid());
		if (!write_group(&group, "cgroup.procs", text))
			_exit(1);
		for (volatile unsigned i = 0;; i++)
			;
	}
	struct gd_freeze_plan plan = { 0 };
	int64_t until = gd_clock_monotonic_ns() + WAIT_NS;
	do {
		nap();
		plan = plan_of(pid);
	} while (set && !plan.facts.throttled && gd_clock_monotonic_ns() < until);
	end_child(spinner);
	end_child(pid);
	leave_group(&group);
	if (!set)
		test_skip("cpu.cfs_quota_us cannot be set");
	assert_true(plan.facts.throttled);
	assert_true(plan.methods[GD_FREEZE_COPY].possible);
	assert_contains(plan.methods[GD_FREEZE_COPY].why, "CPU quota");
}

/* Version 2, whose freezer lets itself be killed; the victim is our own. */
static void a_frozen_target_is_only_read(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	struct own_group group = enter_group("unified", pid);
	bool set = write_group(&group, "cgroup.freeze", "1");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	leave_group(&group);
	if (!set)
		test_skip("cgroup.freeze cannot be set");
	assert_true(plan.facts.frozen);
	assert_forbidden(&plan, GD_FREEZE_COPY, 8, "thawed");
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
}

/* ---- odd ones -------------------------------------------------------------------------------- */

static void a_vfork_parent_does_not_stop(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	victim_tell(v, "vfork");
	assert_non_null(victim_line(v));
	struct gd_freeze_plan plan;
	int64_t until = gd_clock_monotonic_ns() + WAIT_NS;
	/* The child speaks a little before the kernel has put its parent to sleep. */
	do {
		plan = plan_of(v->pid);
	} while (plan.facts.uninterruptible == 0 && gd_clock_monotonic_ns() < until);
	assert_int_equal(plan.facts.uninterruptible, 1);
	assert_contains(plan.methods[GD_FREEZE_COPY].why, "1 threads in state D");
	assert_false(plan.methods[GD_FREEZE_FORK].possible);
	victim_tell(v, "");
}

static void the_first_process_of_a_namespace_is_warned_about(void **state)
{
	(void)state;
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		test_skip("no pid namespaces: %s", strerror(errno));
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)syscall(SYS_pause);
	}
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_true(plan.facts.namespace_init);
}

static bool have_io_uring(void)
{
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 8, &params);
	char *page = map_pages(4096);
	struct iovec buffer = { .iov_base = page, .iov_len = 4096 };
	if (fd < 0 || page == NULL)
		return false;
	page[0] = 1;
	return catch_urgent() &&
	       syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1) == 0;
}

static void pages_pinned_by_io_uring_are_seen(void **state)
{
	(void)state;
	pid_t pid = child(have_io_uring, "no io_uring here");
	struct gd_freeze_plan plan = plan_of(pid);
	struct gd_freeze_options options = usual();
	options.methods_off[GD_FREEZE_FORK] = true;
	struct gd_freeze_plan without_fork = plan_with(pid, &options);
	end_child(pid);
	assert_true(plan.facts.io_uring);
	assert_true(plan.facts.vm_pinned);
	if (!plan.facts.kernel_uffd_wp || !plan.facts.kernel_pagemap_scan)
		test_skip("no pre-copy by userfaultfd here");
	assert_forbidden(&plan, GD_FREEZE_UFFD, 12, "fork sees them");
	assert_int_equal(plan.chosen, GD_FREEZE_FORK);
	assert_true(without_fork.methods[GD_FREEZE_UFFD].possible);
	assert_contains(without_fork.methods[GD_FREEZE_UFFD].why, "may be old");
}

static bool lock_memory(void)
{
	char *p = map_pages(MIB);
	return p != NULL && mlock(p, MIB) == 0;
}

static void locked_memory_forbids_nothing(void **state)
{
	(void)state;
	pid_t pid = child(lock_memory, "mlock");
	struct gd_freeze_plan plan = plan_of(pid);
	end_child(pid);
	assert_false(plan.facts.vm_pinned);
	assert_true(plan.methods[GD_FREEZE_COPY].possible);
}

static void a_userfaultfd_of_its_own_is_seen(void **state)
{
	(void)state;
	struct victim *v = victim_start("uffd", NULL);
	if (strstr(gd_buf_str(&v->said), "unsupported") != NULL)
		test_skip("no userfaultfd here");
	struct gd_freeze_plan plan = plan_of(v->pid);
	assert_true(plan.facts.userfaultfd);
	assert_false(plan.methods[GD_FREEZE_UFFD].possible);
}

static void a_dead_main_thread_hides_nothing(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	victim_tell(v, "thread");
	assert_non_null(victim_line(v));
	victim_tell(v, "leave");
	assert_non_null(victim_line(v));
	struct gd_freeze_plan plan = plan_of(v->pid);
	assert_int_equal(plan.facts.unreadable.code, 0);
	assert_true(plan.facts.anon_bytes > 0);
	assert_true(plan.facts.maps > 0);
	assert_true(plan.facts.dumpable);
	assert_int_not_equal(plan.facts.state, 'Z');
}

static void a_target_whose_memory_nobody_looks_at_has_a_plan_too(void **state)
{
	(void)state;
	pid_t pid = child(catch_urgent, "no alternate stack");
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open_unread(pid, &t, &err), &err);
	assert_ok(gd_freeze_plan(t, &options, -1, &plan, &err), &err);
	end_child(pid);
	assert_false(plan.refused);
	assert_true(plan.facts.maps > 0);
	assert_int_equal(plan.chosen == GD_FREEZE_TORN, false);
}

static void what_has_gone_is_esrch_and_what_was_gone_is_refused(void **state)
{
	(void)state;
	pid_t pid = child(nothing, "");
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open(pid, &t, &err), &err);
	assert_int_equal(kill(pid, SIGKILL), 0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_fails(gd_freeze_plan(t, &options, -1, &plan, &err), -ESRCH, &err);
	plan = plan_of(pid);
	assert_true(plan.refused);
	assert_contains(plan.why, "zombie");
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_fails(gd_freeze_plan(t, &options, -1, &plan, &err), -ESRCH, &err);
}

static void what_has_become_another_program_is_refused(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *t = NULL;
	assert_ok(gd_target_open(v->pid, &t, &err), &err);
	victim_tell(v, "exec");
	const char *line;
	while ((line = victim_line(v)) != NULL && strcmp(line, "ready") != 0)
		;
	assert_non_null(line);
	assert_ok(gd_freeze_plan(t, &options, -1, &plan, &err), &err);
	assert_true(plan.refused);
	assert_contains(plan.why, "execve");
}

static void a_kernel_thread_is_refused(void **state)
{
	(void)state;
	GD_TARGET struct gd_target *t = NULL;
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	if (gd_target_open(2, &t, &err) < 0 || !t->kernel_thread)
		test_skip("pid 2 is no kernel thread here");
	assert_ok(gd_freeze_plan(t, &options, -1, &plan, &err), &err);
	assert_true(plan.refused);
	assert_contains(plan.why, "kernel thread");
}

/* ---- groups of both versions, made up -------------------------------------------------------- */

struct made_up {
	struct gd_access access;
	const char *const (*files)[2]; /* name, content; ends with NULL */
};

static const char *content(const struct made_up *m, const char *name)
{
	for (size_t i = 0; m->files[i][0] != NULL; i++)
		if (strcmp(m->files[i][0], name) == 0)
			return m->files[i][1];
	return NULL;
}

static int read_made_up(struct gd_access *access, const char *path, struct gd_buf *buf,
                        struct gd_error *err)
{
	const char *text = content((struct made_up *)access, path);
	if (text == NULL)
		return gd_fail_errno(err, -ENOENT, "%s", path);
	gd_buf_puts(buf, text);
	return gd_buf_check(buf, path, err);
}

static int open_made_up(struct gd_access *access, const char *mount, const char *relative,
                        const char *name, int *ret_fd, struct gd_error *err)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "%s/%s%s%s", mount, relative,
	               relative[0] != '\0' && name != NULL ? "/" : "", name != NULL ? name : "");
	const char *text = content((struct made_up *)access, path);
	if (name == NULL)
		return 0;
	if (text == NULL)
		return gd_fail_errno(err, -ENOENT, "%s", path);
	int fd = memfd_create(name, MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	*ret_fd = fd;
	return 0;
}

static struct gd_freeze_facts facts_of(const char *const (*files)[2])
{
	static const struct gd_access_ops ops = { .read_file = read_made_up,
		                                  .open_group = open_made_up };
	struct made_up m = { .access.ops = &ops, .files = files };
	struct gd_target target = { .access = &m.access };
	struct gd_freeze_facts facts = { 0 };
	gd_freeze_facts_cgroup(&target, &facts);
	return facts;
}

#define V2 "30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n"
#define V1_MEMORY "31 25 0:27 / /m rw - cgroup cgroup rw,memory\n"
#define V1_CPU "32 25 0:28 / /c rw - cgroup cgroup rw,cpu,cpuacct\n"

static void the_tightest_group_of_version_2_counts(void **state)
{
	(void)state;
	static const char *const files[][2] = {
		{ "/proc/self/mountinfo", V2 },
		{ "/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   2048 kB\n" },
		{ "cgroup", "0::/a/b\n" },
		{ "/cg/a/b/memory.max", "max\n" },
		{ "/cg/a/memory.max", "1000000\n" },
		{ "/cg/a/memory.high", "900000\n" },
		{ "/cg/a/memory.current", "700000\n" },
		{ "/cg/a/memory.stat", "anon 5\nactive_file 3\ninactive_file 100000\n" },
		{ "/cg/a/b/pids.max", "10\n" },
		{ "/cg/a/b/pids.current", "4\n" },
		{ "/cg/pids.max", "9\n" },
		{ "/cg/pids.current", "8\n" },
		{ "/cg/a/cpu.max", "50000 100000\n" },
		{ "/cg/a/cpu.stat", "usage_usec 1\nnr_periods 1000\nnr_throttled 9\n" },
		{ "/cg/a/cgroup.events", "populated 1\nfrozen 0\n" },
		{ "/cg/a/cgroup.freeze", "0\n" },
		{ NULL, NULL },
	};
	struct gd_freeze_facts f = facts_of(files);
	assert_int_equal(f.memory_headroom_bytes, 300000);
	assert_int_equal(f.pids_headroom, 1);
	assert_false(f.throttled);
	assert_false(f.frozen);
	assert_int_equal(f.unreadable.code, 0);
}

static void a_parent_throttles_and_freezes(void **state)
{
	(void)state;
	static const char *const files[][2] = {
		{ "/proc/self/mountinfo", V2 },
		{ "cgroup", "0::/a/b\n" },
		{ "/cg/a/b/cpu.max", "max 100000\n" },
		{ "/cg/a/cpu.max", "50000 100000\n" },
		{ "/cg/a/cpu.stat", "nr_periods 1000\nnr_throttled 10\n" },
		{ "/cg/a/cgroup.events", "populated 1\nfrozen 1\n" },
		{ NULL, NULL },
	};
	struct gd_freeze_facts f = facts_of(files);
	assert_int_equal(f.memory_headroom_bytes, UINT64_MAX);
	assert_int_equal(f.pids_headroom, UINT64_MAX);
	assert_true(f.throttled);
	assert_true(f.frozen);
}

static void version_1_has_its_own_names(void **state)
{
	(void)state;
	static const char *const files[][2] = {
		{ "/proc/self/mountinfo", V1_MEMORY V1_CPU },
		{ "cgroup", "4:memory:/x\n3:cpu,cpuacct:/y\n0::/\n" },
		{ "/m/memory.limit_in_bytes", "9223372036854771712\n" },
		{ "/m/x/memory.limit_in_bytes", "5000\n" },
		{ "/m/x/memory.usage_in_bytes", "4000\n" },
		{ "/m/x/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n" },
		{ "/c/cpu.cfs_quota_us", "-1\n" },
		{ "/c/y/cpu.cfs_quota_us", "5000\n" },
		{ "/c/y/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_time 1\n" },
		{ NULL, NULL },
	};
	struct gd_freeze_facts f = facts_of(files);
	assert_int_equal(f.memory_headroom_bytes, 1500);
	assert_true(f.throttled);
	assert_int_equal(f.unreadable.code, 0);
}

static void a_memory_limit_out_of_sight_counts_as_reached(void **state)
{
	(void)state;
	static const char *const elsewhere[][2] = {
		{ "/proc/self/mountinfo", "31 25 0:27 /mine /m rw - cgroup cgroup rw,memory\n" },
		{ "cgroup", "4:memory:/theirs\n" },
		{ NULL, NULL },
	};
	static const char *const none[][2] = {
		{ "/proc/self/mountinfo", V2 },
		{ NULL, NULL },
	};
	struct gd_freeze_facts f = facts_of(elsewhere);
	assert_int_equal(f.memory_headroom_bytes, 0);
	assert_contains(f.unreadable.msg, "not mounted in our view");
	f = facts_of(none);
	assert_int_equal(f.memory_headroom_bytes, 0);
	assert_int_equal(f.unreadable.code, -ENOENT);
}

static void the_kernel_is_tried_once(void **state)
{
	(void)state;
	const struct gd_freeze_kernel *kernel = gd_freeze_kernel();
	print_message("soft-dirty %d, userfaultfd %d, PAGEMAP_SCAN %d\n", kernel->soft_dirty,
	              kernel->uffd_wp, kernel->pagemap_scan);
	assert_ptr_equal(gd_freeze_kernel(), kernel);
	/* The scan needs what the other protects. */
	assert_true(kernel->uffd_wp || !kernel->pagemap_scan);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(bytes_are_counted_by_kind),
		test_case(huge_pages_are_counted),
		test_case(huge_pages_of_much_memory_are_counted_in_slices),
		test_case(the_skipped_ranges_are_not_in_a_thin_image),
		test_case(free_space_is_asked_where_the_image_goes),
		test_case(six_hundred_threads_do_not_fit_a_small_budget),
		test_case(sixty_thousand_maps_do_not_fit_the_usual_budget),
		test_case(a_traced_target_is_only_read),
		test_case(a_stopped_target_is_copied_as_it_stands),
		test_case(nothing_is_injected_into_a_filtered_target),
		test_case(a_program_without_handlers_gets_a_frame_of_ours),
		test_case(a_go_service_gets_a_pre_copy),
		test_case(undumpable_root_is_secret),
		test_case(undumpable_others_are_secret),
		test_case(dumpable_others_are_not_secret),
		test_case(what_cannot_be_told_of_root_is_secret),
		test_case(a_hard_core_limit_of_0_is_refused),
		test_case(a_soft_core_limit_of_0_is_not),
		test_case(a_fork_does_not_take_the_last_pid),
		test_case(a_fork_does_not_go_near_the_memory_limit),
		test_case(a_throttled_target_is_warned_about),
		test_case(a_frozen_target_is_only_read),
		test_case(a_vfork_parent_does_not_stop),
		test_case(the_first_process_of_a_namespace_is_warned_about),
		test_case(pages_pinned_by_io_uring_are_seen),
		test_case(locked_memory_forbids_nothing),
		test_case(a_userfaultfd_of_its_own_is_seen),
		test_case(a_dead_main_thread_hides_nothing),
		test_case(a_target_whose_memory_nobody_looks_at_has_a_plan_too),
		test_case(what_has_gone_is_esrch_and_what_was_gone_is_refused),
		test_case(what_has_become_another_program_is_refused),
		test_case(a_kernel_thread_is_refused),
		test_case(the_tightest_group_of_version_2_counts),
		test_case(a_parent_throttles_and_freezes),
		test_case(version_1_has_its_own_names),
		test_case(a_memory_limit_out_of_sight_counts_as_reached),
		test_case(the_kernel_is_tried_once),
	};
	return test_run(tests);
}
