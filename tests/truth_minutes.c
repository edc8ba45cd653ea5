/*
 * Wait times: the runtime notes since when a goroutine waits when it first collects garbage after
 * that, and prints them from one full minute on.  So this test waits a minute, for all releases at
 * once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tests/truth_stacks.h"

enum { VICTIMS_AT_ONCE = 16 };

static const struct stacks_exception exceptions[] = {
	TRUTH_REQUEST_EXCEPTIONS,
	{ NULL, 0, NULL, NULL },
};

static size_t count(const char *text, const char *what)
{
	size_t n = 0;
	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void minutes_equal_debug_2(void **state)
{
	struct truth_path paths[VICTIMS_AT_ONCE];
	struct victim *victims[VICTIMS_AT_ONCE];
	size_t n = truth_paths("states", "plain", paths, VICTIMS_AT_ONCE);
	(void)state;
	if (n == 0)
		test_skip("no victim was built");
	for (size_t i = 0; i < n; i++)
		victims[i] = victim_start(paths[i].path, NULL); /* collects before it is ready */
	int64_t until_ns = gd_clock_monotonic_ns() + 61 * INT64_C(1000000000);
	while (gd_clock_monotonic_ns() < until_ns)
		(void)usleep(200000);

	for (size_t i = 0; i < n; i++) {
		struct truth *t = truth_attach(victims[i]->pid, paths[i].release);
		t->port = (unsigned)strtoul(victims[i]->ready, NULL, 10);
		(void)truth_stacks(t, "after a minute", exceptions);
		const char *text = truth_text(t, "goroutines.txt");
		size_t waiting = count(text, " minutes]") + count(text, " minutes, locked ");
		print_message("# %s: %zu goroutines wait for minutes\n", t->release, waiting);
		assert_true(waiting > 80);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		truth_case(minutes_equal_debug_2),
	};
	return test_run(tests);
}
