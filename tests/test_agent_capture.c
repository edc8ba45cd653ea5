/*
 * One capture, with the world changing in the middle of it.
 */
#include "agent/capture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "archive/verify.h"
#include "tests/test.h"

struct scene {
	struct victim *victim;
	const char *tell; /* what the victim is told when `at` begins; NULL: we are interrupted */
	const char *at;   /* name of a collector */
	volatile sig_atomic_t cancelled;
};

static void progress(void *arg, const char *collector, const struct gd_step *step, uint64_t bytes)
{
	struct scene *scene = arg;
	(void)bytes;
	if (step != NULL || strcmp(collector, scene->at) != 0)
		return;
	if (scene->tell == NULL) {
		scene->cancelled = 1;
		return;
	}
	victim_tell(scene->victim, scene->tell);
	(void)victim_line(scene->victim); /* "ready" of the new program, or end of file */
}

static enum gd_exit run(struct scene *scene, struct gd_capture_result *result,
                        struct gd_error *err)
{
	struct gd_plan plan;
	char key[] = "k", value[] = "v";
	struct gd_label label = { .key = key, .value = value };
	assert_ok(gd_plan_make(GD_PROFILE_STANDARD, NULL, NULL, &plan, err), err);
	plan.window.duration_ns = 200 * 1000000;
	struct gd_capture_options options = {
		.pid = scene->victim->pid,
		.plan = &plan,
		.output_dir = test_dir(),
		.trigger = "manual",
		.reason = "a test",
		.labels = &label,
		.n_labels = 1,
		.cancelled = &scene->cancelled,
		.progress = progress,
		.progress_arg = scene,
	};
	return gd_capture_run(&options, result, err);
}

static void count_problem(void *arg, const char *sentence)
{
	print_error("%s\n", sentence);
	++*(int *)arg;
}

/* Sealed, every blob good, and a reader finds in it what the run reported. */
static void expect_sealed(const struct gd_capture_result *result)
{
	struct gd_reader reader;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	int problems = 0;
	assert_ok(gd_reader_open(result->sealed.path, &reader, &err), &err);
	assert_ok(gd_verify(&reader, count_problem, &problems, &verdict, &err), &err);
	assert_int_equal(problems, 0);
	assert_true(verdict.complete);
	assert_true(reader.has_snapshot);
	assert_string_equal(reader.snapshot.id, result->snapshot.id);
	assert_int_equal(reader.snapshot.outcome.grade, result->snapshot.outcome.grade);
	assert_int_equal(reader.snapshot.interrupted, result->snapshot.interrupted);
	assert_int_equal(reader.snapshot.target_pause_ns, 0);
	assert_string_equal(reader.snapshot.labels[0].value, "v");
	gd_reader_close(&reader);
}

static void a_quiet_process_is_complete(void **state)
{
	(void)state;
	struct scene scene = { .victim = victim_start("life", NULL), .at = "" };
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(&scene, &result, &err), GD_EXIT_COMPLETE);
	expect_sealed(&result);
	assert_int_equal(result.snapshot.pid, scene.victim->pid);
	assert_string_equal(result.snapshot.comm, "life");
	gd_capture_result_deinit(&result);
}

static void an_exit_in_the_middle_is_partial_and_sealed(void **state)
{
	(void)state;
	struct scene scene = {
		.victim = victim_start("life", NULL),
		.tell = "exit",
		.at = "goroutines",
	};
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(&scene, &result, &err), GD_EXIT_PARTIAL);
	assert_contains(err.msg, "during the capture");
	expect_sealed(&result);
	gd_capture_result_deinit(&result);
}

static void an_execve_in_the_middle_is_partial_and_sealed(void **state)
{
	(void)state;
	struct scene scene = {
		.victim = victim_start("life", NULL),
		.tell = "exec",
		.at = "runtime",
	};
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(&scene, &result, &err), GD_EXIT_PARTIAL);
	assert_contains(err.msg, "exec");
	expect_sealed(&result);
	gd_capture_result_deinit(&result);
}

static void an_interrupt_seals_what_was_finished(void **state)
{
	(void)state;
	struct scene scene = { .victim = victim_start("life", NULL), .at = "goroutines" };
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_int_equal(run(&scene, &result, &err), GD_EXIT_INTERRUPTED);
	expect_sealed(&result);
	assert_true(result.snapshot.interrupted);
	bool has_status = false;
	for (size_t i = 0; i < result.snapshot.n_artifacts; i++)
		has_status |= strcmp(result.snapshot.artifacts[i].name, "proc/status") == 0 &&
		              result.snapshot.artifacts[i].outcome.grade == GD_GRADE_COMPLETE;
	assert_true(has_status);
	gd_capture_result_deinit(&result);
}

static const struct gd_artifact_row *row_of(const struct gd_capture_result *result,
                                            const char *name)
{
	for (size_t i = 0; i < result->snapshot.n_artifacts; i++)
		if (strcmp(result->snapshot.artifacts[i].name, name) == 0)
			return &result->snapshot.artifacts[i];
	return NULL;
}

static void what_the_caller_has_comes_first(void **state)
{
	(void)state;
	struct victim *victim = victim_start("life", NULL);
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	assert_ok(gd_plan_make(GD_PROFILE_LIGHT, "proc", NULL, &plan, &err), &err);
	const struct gd_attachment attachment = {
		.artifact = { "timeline.jsonl", "application/jsonl", "timeline", 1 },
		.bytes = "{\"t\":1}\n",
		.n = 8,
	};
	const struct gd_capture_options options = {
		.pid = victim->pid,
		.plan = &plan,
		.output_dir = test_dir(),
		.trigger = "rule",
		.id = "20261120T000000.000Z-12345678",
		.attachments = &attachment,
		.n_attachments = 1,
	};
	assert_int_equal(gd_capture_run(&options, &result, &err), GD_EXIT_COMPLETE);
	assert_string_equal(result.snapshot.id, options.id);
	assert_contains(result.sealed.path, options.id);
	/* After the plan, before anything of the target. */
	assert_true(result.snapshot.n_artifacts > 2);
	assert_string_equal(result.snapshot.artifacts[1].name, "timeline.jsonl");
	assert_string_equal(result.snapshot.artifacts[1].collector, "timeline");
	assert_int_equal(result.snapshot.artifacts[1].bytes, 8);
	gd_capture_result_deinit(&result);
}

/* Too large for the packer's memory, and nothing that zstd could do about it. */
static void large_evidence_goes_through_scratch_files(void **state)
{
	(void)state;
	static unsigned char noise[3][700000];
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	uint64_t x = 88172645463325252;
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		((unsigned char *)noise)[i] = (unsigned char)x;
	}
	const struct gd_attachment attachments[] = {
		{ { "a", "text/plain", "x", 1 }, noise[0], sizeof(noise[0]) },
		{ { "b", "text/plain", "x", 1 }, noise[1], sizeof(noise[1]) },
		{ { "c", "text/plain", "x", 0 }, noise[2], sizeof(noise[2]) },
	};
	assert_ok(gd_plan_make(GD_PROFILE_LIGHT, NULL, NULL, &plan, &err), &err);
	const struct gd_capture_options options = { .plan = &plan, .output_dir = test_dir(),
		                                    .trigger = "event",
		                                    .attachments = attachments,
		                                    .n_attachments = 3 };
	assert_int_equal(gd_capture_run(&options, &result, &err), GD_EXIT_COMPLETE);
	assert_true(result.sealed.bytes > sizeof(noise));
	gd_capture_result_deinit(&result);
}

static void without_a_process_the_attachments_are_sealed(void **state)
{
	(void)state;
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	assert_ok(gd_plan_make(GD_PROFILE_STANDARD, NULL, NULL, &plan, &err), &err);
	plan.window.duration_ns = 200 * 1000000;
	const struct gd_attachment attachment = {
		.artifact = { "exit.json", "application/json", "watcher", 0 },
		.bytes = "{}",
		.n = 2,
	};
	const struct gd_capture_options options = {
		.pid = 0,
		.subject = "check/out",
		.plan = &plan,
		.output_dir = test_dir(),
		.trigger = "event",
		.attachments = &attachment,
		.n_attachments = 1,
	};
	assert_int_equal(gd_capture_run(&options, &result, &err), GD_EXIT_COMPLETE);
	assert_contains(result.sealed.path, "-check_out-0.tar");
	assert_non_null(row_of(&result, "exit.json"));
	assert_null(row_of(&result, "proc/status"));
	assert_string_equal(result.snapshot.comm, "check/out");
	gd_capture_result_deinit(&result);
}

static void a_reused_pid_is_gone(void **state)
{
	(void)state;
	struct victim *victim = victim_start("life", NULL);
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	assert_ok(gd_plan_make(GD_PROFILE_LIGHT, NULL, NULL, &plan, &err), &err);
	const struct gd_capture_options options = {
		.pid = victim->pid,
		.start_ticks = 1,
		.plan = &plan,
		.output_dir = test_dir(),
		.trigger = "rule",
	};
	assert_int_equal(gd_capture_run(&options, &result, &err), GD_EXIT_GONE);
	assert_contains(err.msg, "another process has its number");
	assert_string_equal(result.sealed.path, "");
	gd_capture_result_deinit(&result);
}

/* The child of a test must not assert. */
static int capture_as_somebody(pid_t pid, const char *dir)
{
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0 ||
	    gd_plan_make(GD_PROFILE_LIGHT, NULL, NULL, &plan, &err) < 0)
		return 100;
	const struct gd_capture_options options = { .pid = pid, .plan = &plan, .output_dir = dir,
		                                    .trigger = "manual" };
	enum gd_exit exit = gd_capture_run(&options, &result, &err);
	if (exit != GD_EXIT_COMPLETE && exit != GD_EXIT_PARTIAL)
		(void)fprintf(stderr, "%s\n", err.msg);
	return result.sealed.path[0] != '\0' && row_of(&result, "proc/status") != NULL &&
	                       row_of(&result, "proc/maps") != NULL
	               ? 0 : 101;
}

static void somebody_without_rights_captures_a_process_of_his_own(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root to become somebody else");
	char dir[4096];
	int ready[2];
	(void)snprintf(dir, sizeof(dir), "%s", test_dir());
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(pipe(ready), 0);
	pid_t sleeper = fork();
	if (sleeper == 0) {
		/* An execve, or it would stay undumpable after its change of uid. */
		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		(void)dup2(ready[1], 1);
		(void)execl("/bin/sh", "sh", "-c", "echo ready; exec sleep 60", (char *)NULL);
		_exit(1);
	}
	char word[6];
	assert_int_equal(read(ready[0], word, sizeof(word)), 6);
	(void)usleep(50000); /* until sleep is itself */
	pid_t pid = fork();
	if (pid == 0)
		_exit(capture_as_somebody(sleeper, dir));
	test_child_exits(pid, 0);
	assert_int_equal(kill(sleeper, SIGKILL), 0);
	assert_int_equal(waitpid(sleeper, NULL, 0), sleeper);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

/* The daemon's child; says in its status how it ended, and on stderr why. */
static int capture_as_broker(void *arg)
{
	const struct scene *scene = arg;
	struct gd_capture_result result;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	if (gd_plan_make(GD_PROFILE_STANDARD, NULL, NULL, &plan, &err) < 0)
		return 100;
	plan.window.duration_ns = 200 * 1000000;
	const struct gd_capture_options options = { .pid = scene->victim->pid, .plan = &plan,
		                                    .output_dir = scene->at,
		                                    .trigger = "rule" };
	enum gd_exit exit = gd_capture_run(&options, &result, &err);
	if (exit != GD_EXIT_COMPLETE)
		(void)fprintf(stderr, "# %s\n", err.msg);
	if (result.sealed.path[0] == '\0')
		return 101;
	/* Only what CAP_SYS_ADMIN would have shown may be missing, and what the machine had no time for. */
	for (size_t i = 0; i < result.snapshot.n_artifacts; i++) {
		const struct gd_artifact_row *row = &result.snapshot.artifacts[i];
		bool late = row->outcome.grade == GD_GRADE_PARTIAL &&
		            (row->outcome.why.code == -ENOBUFS || row->outcome.why.code == -EBUSY);
		if (row->outcome.grade == GD_GRADE_FAILED ||
		    (row->outcome.grade == GD_GRADE_PARTIAL && !late))
			return 102;
	}
	const struct gd_artifact_row *cpu = row_of(&result, "cpu.pb.gz");
	if (cpu == NULL || cpu->digest[0] == '\0')
		return 104;
	return row_of(&result, "proc/environ.jsonl") != NULL ? (int)exit : 103;
}

static void the_daemons_child_needs_no_more_than_a_brokers_rights(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root to give up most of it");
	struct scene scene = { .victim = victim_start("life", NULL), .at = test_dir() };
	struct gd_error err = { 0 };
	pid_t pid;
	int status = 0;
	assert_ok(gd_role_fork(GD_ROLE_BROKER, NULL, 0, capture_as_broker, &scene, &pid, NULL,
	                       &err), &err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != GD_EXIT_PARTIAL)
		assert_int_equal(WEXITSTATUS(status), GD_EXIT_COMPLETE);
}

static void the_cost_of_all_roles_is_counted(void **state)
{
	(void)state;
	struct scene scene = { .victim = victim_start("life", NULL), .at = "" };
	struct gd_capture_result result;
	struct rusage own;
	struct gd_error err = { 0 };
	assert_int_equal(run(&scene, &result, &err), GD_EXIT_COMPLETE);
	assert_int_equal(getrusage(RUSAGE_SELF, &own), 0);
	/* More than this process alone, and not out of proportion. */
	assert_in_range(result.snapshot.peak_rss_bytes, (uint64_t)own.ru_maxrss * 1024 + 1,
	                UINT64_C(1) << 30);
	assert_true(result.snapshot.cpu_ns > 0);
	gd_capture_result_deinit(&result);
}

static void the_states_of_a_capture_make_sense(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	assert_ok(gd_capture_check_states(&err), &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_quiet_process_is_complete),
		test_case(an_exit_in_the_middle_is_partial_and_sealed),
		test_case(an_execve_in_the_middle_is_partial_and_sealed),
		test_case(an_interrupt_seals_what_was_finished),
		test_case(what_the_caller_has_comes_first),
		test_case(large_evidence_goes_through_scratch_files),
		test_case(without_a_process_the_attachments_are_sealed),
		test_case(a_reused_pid_is_gone),
		test_case(somebody_without_rights_captures_a_process_of_his_own),
		test_case(the_daemons_child_needs_no_more_than_a_brokers_rights),
		test_case(the_cost_of_all_roles_is_counted),
		test_case(the_states_of_a_capture_make_sense),
	};
	return test_run(tests);
}
