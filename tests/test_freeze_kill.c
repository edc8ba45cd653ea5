/*
 * Whoever of us is killed, whenever: the target runs on, knows nothing, and has no child that runs.
 *
 *	TORTURE=N   kills at random moments for each victim and role (8 by default)
 *
 * With N >= 100 the control must fail: an injector as everybody writes it, which puts registers back.
 */
#include "tests/test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "freeze/inject.h"
#include "freeze/stop.h"
#include "freeze/tracer.h"
#include "target/target.h"
#include "tests/freeze_faults.h"
#include "tests/freeze_victim.h"

#define SECOND INT64_C(1000000000)
#define KILL_WITHIN_US 12000
#define STEPS_MAX 400

enum role { TRACER, GUARD, PARENT, ROLES };
static const char *const role_names[ROLES] = { "tracer", "guard", "parent" };

struct shared {
	_Atomic pid_t pids[ROLES];
	atomic_bool running; /* the job has begun */
	atomic_int result;
	atomic_bool ended;
	int32_t reaped;
};
static struct shared *shared;

struct totals {
	unsigned kills, dead, stopped, duplicates, corrupted, zombies, in_job;
};

static unsigned torture(void)
{
	const char *text = getenv("TORTURE");
	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 8;
}

/* ---- what is killed -------------------------------------------------------------------------- */

static int inject_one(struct gd_tracer *tracer, long nr, uint64_t a, uint64_t b, uint64_t c,
                      int64_t *ret, struct gd_error *err)
{
	struct gd_inject_call call = { .nr = nr, .args = { a, b, c } };
	int r = gd_inject_call(tracer, &call, err);
	*ret = call.ret;
	return r;
}

/* A fork while all stand still, the child's end, and its zombie's. */
static int fork_once(struct gd_tracer *tracer, struct gd_error *err)
{
	pid_t child = 0;
	int32_t inner = 0;
	int64_t ret = 0;
	int r = gd_stop_seize(tracer, false, err);
	if (r == 0)
		r = gd_stop_interrupt(tracer, SECOND, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = gd_inject_fork(tracer, &child, &inner, err);
	if (r == 0)
		r = gd_inject_end(tracer, err);
	gd_stop_detach(tracer);
	gd_inject_kill_child(tracer);
	if (r == 0)
		r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = inject_one(tracer, SYS_wait4, (uint64_t)inner, 0, WNOHANG | __WALL, &ret, err);
	if (r == 0)
		r = gd_inject_end(tracer, err);
	return r;
}

/* A single thread, while the others run. */
static int call_once(struct gd_tracer *tracer, struct gd_error *err)
{
	int64_t ret = 0;
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = inject_one(tracer, SYS_getpid, 0, 0, 0, &ret, err);
	return r == 0 ? gd_inject_end(tracer, err) : r;
}

/* -EAGAIN and the like: another thread, another time. */
static bool may_happen(int r)
{
	return r == 0 || r == -EAGAIN || r == -ENOTSUP || r == -ETIMEDOUT;
}

/* Any thread that will do, not the one that suits best. */
static void shuffle(struct gd_inject *inject, unsigned *seed)
{
	for (size_t i = inject->n_candidates; i > 1; i--) {
		size_t k = (size_t)rand_r(seed) % i;
		pid_t tid = inject->candidates[k].tid;
		inject->candidates[k].tid = inject->candidates[i - 1].tid;
		inject->candidates[i - 1].tid = tid;
	}
}

static int job_for_ever(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	int r = 0;
	unsigned seed = (unsigned)getpid();
	(void)arg;
	atomic_store(&shared->running, true);
	while (may_happen(r)) {
		shuffle(tracer->inject, &seed);
		r = call_once(tracer, err);
		if (may_happen(r))
			r = fork_once(tracer, err);
	}
	return r;
}

static int job_once(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)arg;
	int r = call_once(tracer, err);
	return r == 0 ? fork_once(tracer, err) : r;
}

static void note_started(void *arg, pid_t tracer, pid_t guard)
{
	(void)arg;
	atomic_store(&shared->pids[TRACER], tracer);
	atomic_store(&shared->pids[GUARD], guard);
}

/* In a process of its own, so that it can be killed as well. */
static pid_t start_parent(struct gd_target *target,
                          int (*run)(struct gd_tracer *, void *, struct gd_error *))
{
	pid_t test = getpid();
	memset(shared, 0, sizeof(*shared));
	pid_t pid = fork();
	if (pid == 0) {
		struct gd_error err = { 0 };
		struct gd_stop_report report = { 0 };
		struct gd_stop_job job = {
			.target = target,
			.run = run,
			.deadline_ns = 20 * SECOND,
			.stop_deadline_ns = 5 * SECOND,
			.started = note_started,
		};
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != test)
			_exit(1);
		int r = gd_stop_run(&job, &report, &err);
		if (r < 0 && r != -EIO)
			(void)fprintf(stderr, "%s\n", err.msg);
		atomic_store(&shared->result, r);
		atomic_store(&shared->ended, true);
		_exit(0);
	}
	assert_true(pid > 0);
	atomic_store(&shared->pids[PARENT], pid);
	return pid;
}

/* All three of them are gone: the test is the reaper of orphans. */
static void await_nobody(pid_t parent)
{
	while (waitpid(parent, NULL, 0) < 0 && errno == EINTR)
		;
	for (int role = TRACER; role <= GUARD; role++) {
		pid_t pid = atomic_load(&shared->pids[role]);
		for (int i = 0; pid > 0 && i < 5000; i++) {
			(void)waitpid(pid, NULL, WNOHANG | __WALL);
			if (kill(pid, 0) < 0)
				break;
			(void)usleep(1000);
			if (i == 4999)
				fail_msg("the %s outlived its parent", role_names[role]);
		}
	}
}

/* ---- what is looked at afterwards ------------------------------------------------------------ */

static int reap_zombies(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	int64_t ret = 0;
	(void)arg;
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0)
		r = inject_one(tracer, SYS_wait4, (uint64_t)shared->reaped, 0, WNOHANG | __WALL, &ret,
		               err);
	return r == 0 ? gd_inject_end(tracer, err) : r;
}

static void tidy(struct gd_target *target, struct totals *totals)
{
	pid_t zombie;
	for (int i = 0; i < 100 && (zombie = freeze_a_zombie(target->pid)) != 0; i++) {
		struct gd_error err = { 0 };
		struct gd_stop_report report = { 0 };
		struct gd_stop_job job = {
			.target = target,
			.run = reap_zombies,
			.deadline_ns = 20 * SECOND,
			.stop_deadline_ns = 5 * SECOND,
		};
		shared->reaped = zombie;
		totals->zombies += i == 0;
		int r = gd_stop_run(&job, &report, &err);
		if (r < 0 && !may_happen(r))
			fail_msg("tidy: %s", err.msg);
	}
	assert_int_equal(freeze_children(target->pid), 0);
}

/* Looks for 3 s whether what was left has ended. */
static bool has_running_child(pid_t pid)
{
	for (int i = 0; i < 600; i++) {
		if (freeze_children_running(pid) == 0)
			return false;
		(void)usleep(5000);
	}
	return true;
}

/* False: this victim is done for. */
static bool look(struct victim *v, struct totals *totals, bool aloud)
{
	totals->kills++;
	siginfo_t info = { 0 }; /* victim_stop is who waits for it */
	if (waitid(P_PID, (id_t)v->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0) {
		const char *last = victim_line(v);
		bool by_itself = info.si_code == CLD_EXITED;
		if (aloud)
			print_message("the victim ended, %s %d: %s\n", by_itself ? "status" : "signal",
			              info.si_status, last != NULL ? last : "without a word");
		totals->corrupted += by_itself;
		totals->dead += !by_itself;
		return false;
	}
	for (int i = 0; strchr("Tt", freeze_state(v->pid)) != NULL; i++) {
		if (i == 1000) {
			totals->stopped++;
			return false;
		}
		(void)usleep(1000);
	}
	if (has_running_child(v->pid)) {
		totals->duplicates++;
		return false;
	}
	const char *wrong = freeze_what_is_wrong(v);
	if (wrong == NULL)
		return true;
	if (aloud)
		print_message("the victim says: %s\n", wrong);
	if (strncmp(wrong, "bad", 3) == 0)
		totals->corrupted++;
	else
		totals->dead++;
	return false;
}

static void print_totals(const char *what, const char *who, const struct totals *t)
{
	print_message("torture: %s, %s killed %u times (%u within the job): %u dead, %u stopped, "
	              "%u duplicates, %u corrupted, %u times a zombie to reap\n",
	              what, who, t->kills, t->in_job, t->dead, t->stopped, t->duplicates,
	              t->corrupted, t->zombies);
}

static void assert_harmless(const struct totals *t)
{
	assert_int_equal(t->dead + t->stopped + t->duplicates + t->corrupted, 0);
}

/*
 * Children of a victim that has ended are ours now: duplicates of it, or what it runs by itself.
 * Ended, and those counted that ran.
 */
static unsigned end_orphans(void)
{
	unsigned n = 0;
	int pid = 0;
	FILE *children = fopen("/proc/thread-self/children", "re");
	while (children != NULL && fscanf(children, "%d", &pid) == 1) {
		n += strchr("ZX", freeze_state(pid)) == NULL;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, __WALL);
	}
	if (children != NULL)
		(void)fclose(children);
	return n;
}

/* ---- the kills ------------------------------------------------------------------------------- */

static void wait_until_running(pid_t parent)
{
	for (int i = 0; i < 40000 && !atomic_load(&shared->ended); i++) {
		if (atomic_load(&shared->running) && atomic_load(&shared->pids[GUARD]) > 0)
			return;
		(void)usleep(500);
	}
	fail_msg("parent %d never began: %d", parent, atomic_load(&shared->result));
}

static void kill_at_random(const char *path, enum role role, unsigned n)
{
	struct totals totals = { 0 };
	struct victim *v = victim_start(path, NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	unsigned seed = 12345u + (unsigned)role;
	bool well = true;
	for (unsigned i = 0; well && i < n; i++) {
		pid_t parent = start_parent(target, job_for_ever);
		wait_until_running(parent);
		(void)usleep((useconds_t)(rand_r(&seed) % KILL_WITHIN_US));
		pid_t pid = atomic_load(&shared->pids[role]);
		assert_true(pid > 0);
		totals.in_job += !atomic_load(&shared->ended);
		(void)kill(pid, SIGKILL);
		await_nobody(parent);
		well = look(v, &totals, true);
		if (well)
			tidy(target, &totals);
	}
	print_totals(path, role_names[role], &totals);
	victim_stop(v);
	(void)end_orphans();
	assert_harmless(&totals);
}

/* At each step of a whole job, one after the other, until one runs through. */
static void kill_at_each_step(const char *path)
{
	struct totals totals = { 0 };
	struct victim *v = victim_start(path, NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	bool well = true;
	for (long at = 0; well && at < STEPS_MAX; at++) {
		freeze_fault_at = at;
		pid_t parent = start_parent(target, job_once);
		await_nobody(parent);
		freeze_fault_at = -1;
		well = look(v, &totals, true);
		if (well)
			tidy(target, &totals);
		if (atomic_load(&shared->result) == 0)
			break;
		totals.in_job += atomic_load(&shared->result) == -EIO;
	}
	print_totals(path, "tracer at each step", &totals);
	victim_stop(v);
	(void)end_orphans();
	assert_harmless(&totals);
	assert_true(totals.in_job > 0);
}

static const char *go_victim(size_t i)
{
	struct gd_error why = { 0 };
	static char path[4096];
	const char *built = victim_go_if_built("gocheck", freeze_go_releases[i], "plain", &why);
	if (built == NULL) {
		print_message("%s\n", why.msg);
		return NULL;
	}
	(void)snprintf(path, sizeof(path), "%s", built);
	return path;
}

static void a_native_target_survives_a_kill_at_each_step(void **state)
{
	(void)state;
	kill_at_each_step("selfcheck");
}

static void a_go_target_survives_a_kill_at_each_step(void **state)
{
	(void)state;
	bool any = false;
	for (size_t i = 0; i < FREEZE_GO_RELEASES; i++) {
		const char *path = any && getenv("TORTURE") == NULL ? NULL : go_victim(i);
		if (path == NULL)
			continue;
		any = true;
		kill_at_each_step(path);
	}
	if (!any)
		test_skip("no Go victim was built");
}

static void a_native_target_survives_kills_at_random(void **state)
{
	(void)state;
	for (int role = 0; role < ROLES; role++)
		kill_at_random("selfcheck", (enum role)role, torture());
}

static void a_go_target_survives_kills_at_random(void **state)
{
	(void)state;
	bool any = false;
	for (size_t i = 0; i < FREEZE_GO_RELEASES; i++) {
		const char *path = go_victim(i);
		if (path == NULL)
			continue;
		any = true;
		for (int role = 0; role < ROLES; role++)
			kill_at_random(path, (enum role)role, torture() / 2);
	}
	if (!any)
		test_skip("no Go victim was built");
}

static void no_build_of_the_programs_holds_faults(void **state)
{
	(void)state;
	static const char needle[] = "gd_freeze_die";
	const char *build = getenv("BUILD");
	char path[4096];
	if (build == NULL)
		test_skip("BUILD does not say where the library is");
	(void)snprintf(path, sizeof(path), "%s/libgodiag.a", build);
	GD_BUF struct gd_buf bytes = GD_BUF_INIT((size_t)1 << 30);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &bytes, &err), &err);
	assert_null(memmem(bytes.data, bytes.len, needle, sizeof(needle) - 1));
	/* That it can be found at all shows in what was built for this test. */
	(void)snprintf(path, sizeof(path), "%s/tests/inject_with_faults.o", build);
	gd_buf_reset(&bytes);
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &bytes, &err), &err);
	assert_non_null(memmem(bytes.data, bytes.len, needle, sizeof(needle) - 1));
}

/* ---- the control ----------------------------------------------------------------------------- */

static int set_registers(pid_t tid, struct user_regs_struct *regs, bool get)
{
	struct iovec iov = { regs, sizeof(*regs) };
	return (int)ptrace(get ? PTRACE_GETREGSET : PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &iov);
}

static void naive_clone(pid_t tid, uint64_t call_at)
{
	struct user_regs_struct saved;
	struct user_regs_struct regs;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 || waitpid(tid, NULL, __WALL) < 0 ||
	    set_registers(tid, &saved, true) < 0)
		return;
	regs = saved;
	regs.rip = call_at;
	regs.rax = SYS_clone;
	regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = 0;
	regs.orig_rax = UINT64_MAX;
	(void)set_registers(tid, &regs, false);
	(void)ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL);
	(void)waitpid(tid, NULL, __WALL);
	(void)set_registers(tid, &regs, true);
	(void)set_registers(tid, &saved, false);
	(void)ptrace(PTRACE_CONT, tid, NULL, NULL);
	if ((int64_t)regs.rax > 0)
		(void)kill((pid_t)regs.rax, SIGKILL);
}

static pid_t start_naive(pid_t tid, uint64_t call_at)
{
	pid_t test = getpid();
	memset(shared, 0, sizeof(*shared));
	atomic_store(&shared->pids[GUARD], test); /* there is none to wait for */
	pid_t pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != test ||
		    ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
			_exit(1);
		atomic_store(&shared->running, true);
		for (;;)
			naive_clone(tid, call_at);
	}
	assert_true(pid > 0);
	return pid;
}

static void the_naive_way_kills_or_doubles(void **state)
{
	(void)state;
	unsigned n = torture();
	unsigned seed = 4711;
	struct totals totals = { 0 };
	for (unsigned i = 0; i < n; i++) {
		struct gd_error err = { 0 };
		struct gd_inject_site site = { 0 };
		struct victim *v = victim_start("selfcheck", NULL);
		GD_TARGET struct gd_target *target = freeze_open(v->pid);
		pid_t *tids = NULL;
		size_t n_tids = 0;
		assert_ok(gd_inject_find_site(target, &site, &err), &err);
		assert_ok(gd_target_threads(target, &tids, &n_tids, &err), &err);
		pid_t naive = start_naive(tids[n_tids - 1], site.call_at);
		free(tids);
		wait_until_running(naive);
		(void)usleep((useconds_t)(rand_r(&seed) % KILL_WITHIN_US));
		(void)kill(naive, SIGKILL);
		while (waitpid(naive, NULL, 0) < 0 && errno == EINTR)
			;
		unsigned before = totals.duplicates;
		totals.in_job++;
		(void)look(v, &totals, false);
		victim_stop(v);
		if (end_orphans() > 0 && totals.duplicates == before)
			totals.duplicates++;
	}
	print_totals("the naive way", "tracer", &totals);
	if (n >= 100)
		assert_true(totals.dead + totals.stopped + totals.duplicates + totals.corrupted > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_native_target_survives_a_kill_at_each_step),
		test_case(a_go_target_survives_a_kill_at_each_step),
		test_case(a_native_target_survives_kills_at_random),
		test_case(a_go_target_survives_kills_at_random),
		test_case(the_naive_way_kills_or_doubles),
		test_case(no_build_of_the_programs_holds_faults),
	};
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	if (shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	return test_run(tests);
}
