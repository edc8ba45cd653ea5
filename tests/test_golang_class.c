#include "golang/class.h"

#include <string.h>

#include "tests/test.h"

static const char *class_of(bool in_kernel, const char *a, const char *b, const char *c)
{
	uint32_t signs = gd_go_class_signs(a) | gd_go_class_signs(b) |
	                 gd_go_class_signs(c);
	return gd_go_class_name(gd_go_class_of(signs, in_kernel));
}

static void the_first_class_with_a_sign_is_it(void **state)
{
	(void)state;
	assert_string_equal(class_of(false, "main.f", "main.main", ""), "user");
	assert_string_equal(class_of(true, "syscall.read", "main.main", ""), "kernel");
	assert_string_equal(class_of(false, "runtime.memclrNoHeapPointers", "runtime.mallocgc",
	                             "main.f"), "malloc");
	/* charged to the goroutine, but the collector's work */
	assert_string_equal(class_of(false, "runtime.gcAssistAlloc1", "runtime.mallocgc", "main.f"),
	                    "gc assist");
	assert_string_equal(class_of(false, "runtime.scanobject", "runtime.gcBgMarkWorker.func2",
	                             "runtime.gcBgMarkWorker"), "gc background");
	assert_string_equal(class_of(false, "runtime.sweepone", "runtime.bgsweep", ""), "sweep");
	/* in the kernel, but for the scheduler */
	assert_string_equal(class_of(true, "runtime.futex", "runtime.findRunnable",
	                             "runtime.mcall"), "scheduler");
	assert_string_equal(class_of(false, "runtime.copystack", "runtime.newstack",
	                             "runtime.morestack"), "stack growth");
}

static void only_the_runtime_s_own_functions_are_signs(void **state)
{
	(void)state;
	assert_string_equal(class_of(false, "main.mallocgc", "example.com/runtime.schedule",
	                             "main.gcAssistAlloc"), "user");
	assert_int_equal(gd_go_class_signs(""), 0);
	assert_int_equal(gd_go_class_signs("runtime."), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_first_class_with_a_sign_is_it),
		test_case(only_the_runtime_s_own_functions_are_signs),
	};
	return test_run(tests);
}
