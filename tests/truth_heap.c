/*
 * The heap profile read from outside against the one the service serves itself, bucket by bucket:
 * every sample's values, size label, and stack with addresses, inlined functions, files and lines.
 * The victim collects garbage only when asked, so there is no excuse for a difference.
 */
#include <stdio.h>
#include <string.h>

#include "tests/loopback.h"
#include "tests/pprof_lines.h"
#include "tests/truth.h"

enum { LINES_MAX = 64 << 20 };

static size_t count_lines(const char *text)
{
	size_t n = 0;
	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

/*
 * The request for the other profile, or a thread that the runtime makes for it, may be the first to
 * allocate somewhere: a bucket that is still at zero.
 */
static bool is_born_by_the_request(const char *line, bool there)
{
	const char *values = strstr(line, " : 0 0 0 0");
	return there && values != NULL && values[10] == '\0';
}

static void check_same(struct truth *t, const char *when)
{
	static const struct pprof_view view = { 0 };
	struct gd_buf theirs = GD_BUF_INIT(LINES_MAX);
	struct gd_buf ours = GD_BUF_INIT(LINES_MAX);
	struct gd_buf body = GD_BUF_INIT(LINES_MAX);

	truth_collect(t, &gd_collector_heap);
	if (t->outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("heap is %s: %s", gd_grade_name(t->outcome.grade), t->outcome.why.msg);
	(void)truth_text(t, "heap.pb.gz");
	const struct kept_artifact *artifact = kept_find(&t->kept, "heap.pb.gz");
	loopback_get(t->port, "/debug/pprof/heap", &body);
	pprof_lines(artifact->bytes.data, artifact->bytes.len, &view, &ours);
	pprof_lines(body.data, body.len, &view, &theirs);

	size_t n = count_lines(theirs.data);
	assert_true(n > 8); /* the victim allocates from more sites than that */
	size_t differences = pprof_compare(theirs.data, ours.data, is_born_by_the_request);
	print_message("# go%s %s, %s: %zu samples, %zu differences\n", t->release, t->variant, when,
	              n - 1, differences);
	if (differences != 0)
		fail_msg("go%s %s, %s: %zu samples differ", t->release, t->variant, when,
		         differences);
	gd_buf_deinit(&theirs);
	gd_buf_deinit(&ours);
	gd_buf_deinit(&body);
}

static void check_twice(void *const *state, const char *argument)
{
	struct gd_buf body = GD_BUF_INIT(LINES_MAX);
	struct truth *t = truth_begin(state, argument);
	check_same(t, "at rest");
	/* More of everything: not in the profile before two collections have passed. */
	loopback_get(t->port, "/grow", &body);
	loopback_get(t->port, "/gc", &body);
	check_same(t, "after growth and two collections");
	gd_buf_deinit(&body);
}

static void heap_equals_the_service_s_own(void **state)
{
	check_twice(state, NULL);
	/* Sampled so often that the scaling is another and every site has a bucket. */
	check_twice(state, "-memprofilerate=512");
}

int main(void)
{
	return truth_run(__FILE__, "states", heap_equals_the_service_s_own);
}
