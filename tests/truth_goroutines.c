/*
 * goroutines.txt read from outside against the service's own debug=2, goroutine by goroutine and
 * byte by byte, for every release and variant of the victim `states`; goroutine.pb.gz against the
 * endpoint's profile; then once more with goroutines that never wait.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/loopback.h"
#include "tests/pprof_lines.h"
#include "tests/truth.h"
#include "tests/truth_stacks.h"

enum { TEXT_MAX = 64 << 20 };

static const struct stacks_exception exceptions[] = {
	TRUTH_REQUEST_EXCEPTIONS,
	{ NULL, 0, NULL, NULL },
};

/* With /busy: who runs is somewhere else each time one looks. */
static const struct stacks_exception busy_exceptions[] = {
	TRUTH_REQUEST_EXCEPTIONS,
	{ "a loop that computes", STACKS_MOVING, "main.busyCompute(",
	  "it runs; debug=2 shows where it was preempted" },
	{ "a loop that yields", STACKS_MOVING, "main.busyYield(",
	  "it runs and is runnable in turns" },
	{ "a loop that reads the clock", STACKS_MOVING, "main.busyClock(",
	  "it runs; debug=2 shows where it was preempted" },
	{ "a loop that copies", STACKS_MOVING, "main.busyCopy(",
	  "it runs; debug=2 shows where it was preempted" },
	{ NULL, 0, NULL, NULL },
};

/* Without any stack: the request's reader, which has not begun to run. */
static bool is_of_the_request(const char *line, bool there)
{
	/* Until 1.20 the profile counts one address of a callback's stack from the other end. */
	if (strstr(line, " runtime.systemstack_switch ") != NULL &&
	    strstr(line, " main._Cfunc_call_back ") != NULL)
		return true;
	return strstr(line, " net/http.(*conn") != NULL ||
	       strstr(line, " net/http.(*Server).Serve ") != NULL ||
	       (there && strncmp(line, "{}  : ", 6) == 0);
}

/* The profile of both: counts, labels, and stacks with addresses. */
static void compare_profile(struct truth *t)
{
	/* Ours has the state as one more label.  Go records 32 frames, 128 from 1.23 on. */
	static const struct pprof_view view = { "state", true, 32 };
	struct gd_buf body = GD_BUF_INIT(TEXT_MAX);
	struct gd_buf theirs = GD_BUF_INIT(TEXT_MAX);
	struct gd_buf ours = GD_BUF_INIT(TEXT_MAX);
	(void)truth_text(t, "goroutine.pb.gz");
	const struct kept_artifact *artifact = kept_find(&t->kept, "goroutine.pb.gz");
	loopback_get(t->port, "/debug/pprof/goroutine", &body);
	pprof_lines(artifact->bytes.data, artifact->bytes.len, &view, &ours);
	pprof_lines(body.data, body.len, &view, &theirs);
	assert_contains(theirs.data, "handler=checkout");
	size_t differences = pprof_compare(theirs.data, ours.data, is_of_the_request);
	if (differences != 0)
		fail_msg("go%s %s: %zu samples of goroutine.pb.gz differ", t->release, t->variant,
		         differences);
	gd_buf_deinit(&body);
	gd_buf_deinit(&theirs);
	gd_buf_deinit(&ours);
}

static void goroutines_equal_debug_2(void **state)
{
	struct gd_buf body = GD_BUF_INIT(TEXT_MAX);
	struct truth *t = truth_begin(state, NULL);
	struct stacks_report report = truth_stacks(t, "at rest", exceptions);
	assert_true(report.equal > 100); /* or the victim does not hold what it should */
	if (t->outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("at rest and %s: %s", gd_grade_name(t->outcome.grade), t->outcome.why.msg);
	compare_profile(t);

	loopback_get(t->port, "/busy?n=8", &body);
	report = truth_stacks(t, "busy", busy_exceptions);
	assert_true(report.equal + report.one_minute_off > 100);
	assert_true(t->outcome.grade <= GD_GRADE_PARTIAL);
	gd_buf_deinit(&body);
}

/* From 1.26 on a traceback can show labels in the header; older releases ignore the setting. */
static void labels_equal_debug_2(void **state)
{
	assert_int_equal(setenv("GODEBUG", "tracebacklabels=1", 1), 0);
	struct truth *t = truth_begin(state, NULL);
	assert_int_equal(unsetenv("GODEBUG"), 0);
	struct stacks_report report = truth_stacks(t, "with labels", exceptions);
	assert_true(report.equal > 100);
	if (t->go->version.minor >= 26)
		assert_contains(truth_text(t, "goroutines.txt"), "checkout");
}

int main(void)
{
	int failed = truth_run(__FILE__, "states", goroutines_equal_debug_2);
	return truth_run(__FILE__, "states", labels_equal_debug_2) + failed;
}
