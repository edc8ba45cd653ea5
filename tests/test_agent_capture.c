/*
 * One capture, with the world changing in the middle of it.
 */
#include "agent/capture.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
		test_case(the_states_of_a_capture_make_sense),
	};
	return test_run(tests);
}
