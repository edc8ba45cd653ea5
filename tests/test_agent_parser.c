/*
 * Readers that were taken over by their target, and the capture that goes on without them.  And what
 * each role holds while it lives, as /proc tells.
 */
#include "agent/parser.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "archive/reader.h"
#include "archive/verify.h"
#include "base/io.h"
#include "tests/test.h"

static enum gd_exit run(const struct victim *victim, const char *fault, uint64_t silent_ns,
                        struct gd_capture_result *result, struct gd_error *err)
{
	struct gd_plan plan;
	assert_ok(gd_plan_make(GD_PROFILE_LIGHT, NULL, NULL, &plan, err), err);
	struct gd_capture_options options = {
		.pid = victim->pid,
		.plan = &plan,
		.output_dir = test_dir(),
		.trigger = "manual",
		.silent_ns = silent_ns,
	};
	if (fault != NULL)
		(void)setenv("GODIAG_FAULT", fault, 1);
	else
		(void)unsetenv("GODIAG_FAULT");
	enum gd_exit exit = gd_capture_run(&options, result, err);
	(void)unsetenv("GODIAG_FAULT");
	return exit;
}

static void count_problem(void *arg, const char *sentence)
{
	print_error("%s\n", sentence);
	++*(int *)arg;
}

static void expect_whole(const struct gd_capture_result *result)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	int problems = 0;
	assert_ok(gd_reader_open(result->sealed.path, &reader, &err), &err);
	assert_ok(gd_verify(&reader, count_problem, &problems, &verdict, &err), &err);
	assert_int_equal(problems, 0);
	assert_true(verdict.complete);
}

static const struct gd_step *step_of(const struct gd_capture_result *result, const char *name)
{
	for (size_t i = 0; i < result->snapshot.n_steps; i++)
		if (strcmp(result->snapshot.steps[i].name, name) == 0)
			return &result->snapshot.steps[i];
	static const struct gd_step none = { .outcome.grade = GD_GRADE_SKIPPED };
	fail_msg("no step %s", name);
	return &none;
}

static const struct gd_artifact_row *row_of(const struct gd_capture_result *result,
                                            const char *name)
{
	for (size_t i = 0; i < result->snapshot.n_artifacts; i++)
		if (strcmp(result->snapshot.artifacts[i].name, name) == 0)
			return &result->snapshot.artifacts[i];
	return NULL;
}

static const char *go_victim(void)
{
	return victim_go("quiet", "1.22.12", "plain");
}

static void a_reader_that_breaks_out_is_killed_and_the_capture_goes_on(void **state)
{
	(void)state;
	static const char *const acts[] = { "open", "socket", "exec", "ptrace", "kill", "fork" };
	struct victim *victim = victim_start(go_victim(), NULL);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		char fault[64];
		struct gd_capture_result result;
		struct gd_error err = { 0 };
		(void)snprintf(fault, sizeof(fault), "goroutines:%s", acts[i]);
		assert_int_equal(run(victim, fault, 0, &result, &err), GD_EXIT_PARTIAL);
		assert_contains(err.msg, "the reader of goroutines was killed by signal 31 (SIGSYS)");
		expect_whole(&result);
		const struct gd_step *step = step_of(&result, "collect:goroutines");
		assert_int_equal(step->outcome.grade, GD_GRADE_FAILED);
		assert_contains(step->outcome.why.msg, "SIGSYS");
		assert_int_equal(step_of(&result, "collect:proc")->outcome.grade,
		                 GD_GRADE_COMPLETE);
		assert_int_equal(step_of(&result, "collect:runtime")->outcome.grade,
		                 GD_GRADE_COMPLETE);
		assert_non_null(row_of(&result, "runtime.json"));
		gd_capture_result_deinit(&result);
	}
}

static void what_a_dead_reader_left_open_is_closed_for_it(void **state)
{
	(void)state;
	struct victim *victim = victim_start(go_victim(), NULL);
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(victim, "goroutines:half", 0, &result, &err), GD_EXIT_PARTIAL);
	expect_whole(&result);
	const struct gd_artifact_row *row = row_of(&result, "half.txt");
	if (row == NULL) {
		fail_msg("no half.txt");
		return;
	}
	assert_int_equal(row->outcome.grade, GD_GRADE_PARTIAL);
	assert_contains(row->outcome.why.msg, "the reader of goroutines");
	assert_string_equal(row->collector, "goroutines");
	assert_int_equal(row->bytes, 16);
	gd_capture_result_deinit(&result);
}

static void a_silent_reader_is_ended(void **state)
{
	(void)state;
	struct victim *victim = victim_start(go_victim(), NULL);
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(victim, "proc:hang", 300000000, &result, &err), GD_EXIT_PARTIAL);
	assert_contains(err.msg, "the reader of proc was ended: silent for 0.3 s");
	expect_whole(&result);
	assert_int_equal(step_of(&result, "collect:goroutines")->outcome.grade, GD_GRADE_COMPLETE);
	gd_capture_result_deinit(&result);
}

static void who_asks_for_what_it_may_not_have_is_ended(void **state)
{
	(void)state;
	static const char *const acts[] = { "opening:secret", "proc:secret", "proc:beside" };
	struct victim *victim = victim_start(go_victim(), NULL);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct gd_capture_result result;
		struct gd_error err = { 0 };
		assert_int_equal(run(victim, acts[i], 0, &result, &err), GD_EXIT_PARTIAL);
		assert_contains(err.msg, "not on the list");
		expect_whole(&result);
		gd_capture_result_deinit(&result);
	}
}

static void who_writes_what_it_may_not_is_cut_off(void **state)
{
	(void)state;
	static const char *const acts[] = { "goroutines:nonsense", "goroutines:path" };
	struct victim *victim = victim_start(go_victim(), NULL);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct gd_capture_result result;
		struct gd_error err = { 0 };
		assert_int_equal(run(victim, acts[i], 0, &result, &err), GD_EXIT_PARTIAL);
		expect_whole(&result);
		assert_int_equal(step_of(&result, "collect:goroutines")->outcome.grade,
		                 GD_GRADE_FAILED);
		assert_null(row_of(&result, "../../etc/cron.d/x"));
		assert_int_equal(step_of(&result, "collect:runtime")->outcome.grade,
		                 GD_GRADE_COMPLETE);
		gd_capture_result_deinit(&result);
	}
}

static void a_runtime_that_kills_its_readers_leaves_proc(void **state)
{
	(void)state;
	static const char *const acts[] = { "opening:crash", "opening:open", "opening:hang" };
	struct victim *victim = victim_start(go_victim(), NULL);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct gd_capture_result result;
		struct gd_error err = { 0 };
		assert_int_equal(run(victim, acts[i], 300000000, &result, &err), GD_EXIT_PARTIAL);
		assert_contains(err.msg, "the reader of the Go runtime was");
		expect_whole(&result);
		assert_int_equal(step_of(&result, "collect:proc")->outcome.grade,
		                 GD_GRADE_COMPLETE);
		assert_string_equal(result.snapshot.go_version != NULL ? result.snapshot.go_version
		                                                       : "", "");
		/* Who it is was told before. */
		assert_non_null(result.snapshot.exe);
		gd_capture_result_deinit(&result);
	}
}

/* ---- from outside --------------------------------------------------------------------------- */

struct role {
	pid_t pid, parent;
	uint64_t uid, cap_eff, cap_prm, cap_bnd;
	uint64_t no_new_privs, seccomp, filters;
	int n_fds;
	bool hangs; /* as the fault of that name does; only root sees it */
};

static uint64_t number(const char *status, const char *key, int base)
{
	const char *at = strstr(status, key);
	return at != NULL ? strtoull(at + strlen(key), NULL, base) : UINT64_MAX;
}

static int count_fds(pid_t pid)
{
	char path[64];
	int n = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return -1;
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

static bool hangs(pid_t pid)
{
	char path[64];
	char wanted[32];
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
#if defined(SYS_poll)
	(void)snprintf(wanted, sizeof(wanted), "%d 0x0 0x0 ", SYS_poll);
#else
	(void)snprintf(wanted, sizeof(wanted), "%d 0x0 0x0 ", SYS_ppoll);
#endif
	return gd_io_read_file_at(AT_FDCWD, path, &text, NULL) == 0 &&
	       strncmp(gd_buf_str(&text), wanted, strlen(wanted)) == 0;
}

static bool read_role(pid_t pid, struct role *to)
{
	char path[64];
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 16);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (gd_io_read_file_at(AT_FDCWD, path, &text, NULL) < 0)
		return false;
	const char *s = gd_buf_str(&text);
	*to = (struct role){
		.pid = pid,
		.parent = (pid_t)number(s, "\nPPid:\t", 10),
		.uid = number(s, "\nUid:\t", 10),
		.cap_eff = number(s, "\nCapEff:\t", 16),
		.cap_prm = number(s, "\nCapPrm:\t", 16),
		.cap_bnd = number(s, "\nCapBnd:\t", 16),
		.no_new_privs = number(s, "\nNoNewPrivs:\t", 10),
		.seccomp = number(s, "\nSeccomp:\t", 10),
		.filters = number(s, "\nSeccomp_filters:\t", 10),
		.n_fds = count_fds(pid),
		.hangs = hangs(pid),
	};
	return true;
}

/* Its children: all roles are, also those that another role has forked. */
static size_t find_roles(pid_t broker, struct role *to, size_t max)
{
	DIR *dir = opendir("/proc");
	size_t n = 0;
	const struct dirent *entry;
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL && n < max) {
		struct role role;
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 0 && read_role(pid, &role) && role.parent == broker)
			to[n++] = role;
	}
	(void)closedir(dir);
	return n;
}

static void each_live_role_is_jailed(void **state)
{
	(void)state;
	struct victim *victim = victim_start(go_victim(), NULL);
	pid_t broker = fork();
	if (broker == 0) {
		struct gd_plan plan;
		struct gd_capture_result result;
		struct gd_error err = { 0 };
		(void)gd_plan_make(GD_PROFILE_LIGHT, NULL, NULL, &plan, &err);
		struct gd_capture_options options = { .pid = victim->pid, .plan = &plan,
			                              .output_dir = test_dir(),
			                              .trigger = "manual",
			                              .silent_ns = UINT64_C(20000000000) };
		(void)setenv("GODIAG_FAULT", "goroutines:hang", 1);
		_exit((int)gd_capture_run(&options, &result, &err));
	}
	struct role roles[8];
	size_t n = 0;
	size_t jailed = 0;
	bool root = geteuid() == 0;
	bool stuck = false;
	/* The packer, the reader, and its child that hangs, with a filter more.  Children before that one look the
	 * same, at work and with files in hand. */
	for (int i = 0; i < 1000 && !(n == 3 && jailed == 4 && stuck); i++) {
		(void)poll(NULL, 0, 10);
		n = find_roles(broker, roles, 8);
		jailed = 0;
		stuck = !root;
		for (size_t k = 0; k < n; k++) {
			jailed += roles[k].seccomp == 2 ? roles[k].filters : 0;
			stuck |= roles[k].hangs;
		}
	}
	int worst_fds = 0;
	bool good = n == 3 && jailed == 4 && stuck;
	for (size_t k = 0; k < n; k++) {
		good = good && roles[k].seccomp == 2 && roles[k].no_new_privs == 1 &&
		       roles[k].cap_eff == 0 && roles[k].cap_prm == 0 &&
		       (!root || (roles[k].uid != 0 && roles[k].cap_bnd == 0));
		if (roles[k].n_fds > worst_fds)
			worst_fds = roles[k].n_fds;
	}
	/* Killing the broker ends them all. */
	assert_int_equal(kill(broker, SIGKILL), 0);
	assert_int_equal(waitpid(broker, NULL, 0), broker);
	for (int i = 0; i < 500; i++) {
		size_t alive = 0;
		struct role gone;
		for (size_t k = 0; k < n; k++)
			alive += read_role(roles[k].pid, &gone) && gone.seccomp == 2 &&
			         gone.n_fds > 0;
		if (alive == 0)
			break;
		assert_int_not_equal(i, 499);
		(void)poll(NULL, 0, 10);
	}
	assert_true(good);
	assert_in_range(worst_fds, 4, 16);
}

static void no_build_of_the_programs_holds_faults(void **state)
{
	(void)state;
	static const char needle[] = "GODIAG_FAULT";
	const char *build = getenv("BUILD");
	char path[4096];
	if (build == NULL)
		test_skip("BUILD does not say where the library is");
	(void)snprintf(path, sizeof(path), "%s/libgodiag.a", build);
	GD_BUF struct gd_buf library = GD_BUF_INIT((size_t)1 << 30);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &library, &err), &err);
	assert_true(library.len > 100000);
	assert_null(memmem(library.data, library.len, needle, sizeof(needle) - 1));
	/* That it can be found at all shows in this program, which has them. */
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = '\0';
	gd_buf_reset(&library);
	assert_ok(gd_io_read_file_at(AT_FDCWD, self, &library, &err), &err);
	assert_non_null(memmem(library.data, library.len, needle, sizeof(needle) - 1));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_reader_that_breaks_out_is_killed_and_the_capture_goes_on),
		test_case(what_a_dead_reader_left_open_is_closed_for_it),
		test_case(a_silent_reader_is_ended),
		test_case(who_asks_for_what_it_may_not_have_is_ended),
		test_case(who_writes_what_it_may_not_is_cut_off),
		test_case(a_runtime_that_kills_its_readers_leaves_proc),
		test_case(each_live_role_is_jailed),
		test_case(no_build_of_the_programs_holds_faults),
	};
	return test_run(tests);
}
