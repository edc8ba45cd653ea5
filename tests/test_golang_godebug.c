/*
 * The setting is read from the runtime's own variable, in binaries without symbols: victims are
 * started with and without it.
 */
#include "golang/godebug.h"

#include <stdlib.h>

#include "tests/go_target.h"

static bool expected;

static void check(struct go_target *target)
{
	struct gd_go go = {
		.memory = target->target->memory,
		.modules = target->modules,
		.version = target->version,
		/* what it was linked with says the opposite: it must not be asked */
		.build.modinfo = expected ? (char[]){ "build\tDefaultGODEBUG=tracebacklabels=0\n" } :
		                            (char[]){ "build\tDefaultGODEBUG=tracebacklabels=1\n" },
	};
	bool on = gd_godebug_traceback_labels(&go);
	if (on != (expected && target->version.minor >= 26))
		go_target_fail(target, "tracebacklabels read as %d", on);
}

static void labels_in_tracebacks_are_on_when_the_environment_says_so(void **state)
{
	(void)state;
	expected = true;
	assert_int_equal(setenv("GODEBUG", "tracebacklabels=1", 1), 0);
	go_target_each("quiet", check);
	assert_int_equal(unsetenv("GODEBUG"), 0);
}

static void labels_in_tracebacks_are_off_when_the_environment_says_so(void **state)
{
	(void)state;
	expected = false;
	assert_int_equal(setenv("GODEBUG", "tracebacklabels=0", 1), 0);
	go_target_each("quiet", check);
	assert_int_equal(unsetenv("GODEBUG"), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(labels_in_tracebacks_are_on_when_the_environment_says_so),
		test_case(labels_in_tracebacks_are_off_when_the_environment_says_so),
	};
	return test_run(tests);
}
