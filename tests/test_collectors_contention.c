/*
 * block.pb.gz and mutex.pb.gz against the profiles the victim writes of itself: contentions, delays
 * in nanoseconds, stacks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "tests/pprof_lines.h"
#include "tests/truth.h"

enum { TEXT_MAX = 16 << 20, TRIES = 20 };

static const struct pprof_view everything;

static bool none(const char *line, bool there)
{
	(void)line;
	(void)there;
	return false;
}

/* What the victim's own runtime/pprof writes. */
static void ask(struct truth *t, const char *name, struct gd_buf *theirs)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf gz = GD_BUF_INIT(TEXT_MAX);
	char command[4096];
	(void)snprintf(command, sizeof(command), "profile %s %s", name, test_path(name));
	victim_tell(t->victim, command);
	assert_string_equal(victim_line(t->victim), "written");
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path(name), &gz, &err), &err);
	pprof_lines(gz.data, gz.len, &everything, theirs);
}

static void compare(struct truth *t, const char *name, const char *artifact_name,
                    const struct gd_collector *collector, const char *frame)
{
	size_t different = 1;
	/* Its runtime may have waited for a lock of its own in between. */
	for (unsigned i = 0; i < TRIES && different > 0; i++) {
		GD_BUF struct gd_buf theirs = GD_BUF_INIT(TEXT_MAX);
		GD_BUF struct gd_buf ours = GD_BUF_INIT(TEXT_MAX);
		ask(t, name, &theirs);
		truth_collect(t, collector);
		(void)truth_text(t, artifact_name);
		const struct kept_artifact *artifact = kept_find(&t->kept, artifact_name);
		assert_int_equal(artifact->outcome.grade, GD_GRADE_COMPLETE);
		pprof_lines(artifact->bytes.data, artifact->bytes.len, &everything, &ours);
		assert_contains(ours.data, "contentions/count delay/nanoseconds period=1 "
		                           "contentions/count");
		assert_contains(ours.data, frame);
		different = pprof_compare(theirs.data, ours.data, none);
	}
	if (different > 0)
		fail_msg("go%s %s: %zu samples of %s differ", t->release, t->variant, different,
		         artifact_name);
}

static void profiles_equal_the_process_own(void **state)
{
	struct truth *t = truth_begin(state, NULL);
	/* Before it has needed a rate itself, ours is measured. */
	truth_collect(t, &gd_collector_block);
	assert_int_equal(t->outcome.grade, GD_GRADE_COMPLETE);
	compare(t, "block", "block.pb.gz", &gd_collector_block, "main.receive");
	compare(t, "mutex", "mutex.pb.gz", &gd_collector_mutex, "main.holdDeep");
}

static void profiles_that_are_off_are_skipped(void **state)
{
	struct truth *t = truth_begin(state, NULL);
	truth_collect(t, &gd_collector_block);
	assert_int_equal(t->outcome.grade, GD_GRADE_SKIPPED);
	assert_string_equal(t->outcome.why.msg, "block profiling is off "
	                    "(runtime.SetBlockProfileRate was not called)");
	assert_true(kept_find(&t->kept, "block.pb.gz")->absent);
	truth_collect(t, &gd_collector_mutex);
	assert_int_equal(t->outcome.grade, GD_GRADE_SKIPPED);
	assert_contains(t->outcome.why.msg, "runtime.SetMutexProfileFraction");
	assert_true(kept_find(&t->kept, "mutex.pb.gz")->absent);
}

int main(void)
{
	int r = truth_run(__FILE__, "totals", profiles_equal_the_process_own);
	return truth_run(__FILE__, "quiet", profiles_that_are_off_are_skipped) + r;
}
