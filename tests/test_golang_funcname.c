#include "golang/funcname.h"

#include <string.h>

#include "tests/test.h"

static void assert_printed(int minor, const char *name, const char *expected)
{
	GD_BUF struct gd_buf out = GD_BUF_INIT(4096);
	gd_funcname_put(minor, name, &out);
	assert_string_equal(gd_buf_str(&out), expected);
}

static void shapes_are_three_dots_since_go_1_21(void **state)
{
	(void)state;
	assert_printed(20, "main.f[...]", "main.f[...]"); /* the linker had done it */
	for (int minor = 21; minor <= 27; minor++) {
		assert_printed(minor, "main.f", "main.f");
		assert_printed(minor, "main.f[go.shape.int]", "main.f[...]");
		assert_printed(minor, "main.(*pair[go.shape.int,go.shape.string]).put",
		               "main.(*pair[...]).put");
		assert_printed(minor, "main.f[go.shape.[]uint8]", "main.f[...]");
		assert_printed(minor, "main.f[go.shape.struct { X [2]int }].func1",
		               "main.f[...].func1");
	}
}

/* What lies between the two pairs of brackets: a method with type arguments of its own. */
static void generic_methods_of_generic_types_keep_their_name_in_1_27(void **state)
{
	(void)state;
	const char *name = "main.(*list[go.shape.int]).apply[go.shape.string].func1";
	assert_printed(26, name, "main.(*list[...].func1");
	assert_printed(27, name, "main.(*list[...]).apply[...].func1");
	assert_printed(27, "main.(*list[go.shape.[]int]).apply[go.shape.[]string]",
	               "main.(*list[...]).apply[...]");
}

static void malformed_names_are_left_alone_and_escaped(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		assert_printed(minor, "main.f[", "main.f[");
		assert_printed(minor, "main.f]x[", "main.f]x[");
		assert_printed(minor, "", "");
		assert_printed(minor, "main.\x1b[31mred", "main.\\x1b[31mred");
		assert_printed(minor, "main.a\nb", "main.a\\x0ab");
	}
	assert_printed(27, "main.f[a]]]b[c]", "main.f[a]]]b[c]");
	assert_printed(27, "main.f[[a]", "main.f[[a]"); /* Go does not mend it either */
}

static void gopanic_is_printed_as_panic(void **state)
{
	(void)state;
	GD_BUF struct gd_buf out = GD_BUF_INIT(4096);
	assert_printed(22, "runtime.gopanic", "panic");
	gd_funcname_put_raw(22, "runtime.gopanic", &out);
	assert_string_equal(gd_buf_str(&out), "runtime.gopanic");
}

static void only_exported_runtime_functions_are_shown(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		assert_true(gd_funcname_shown(minor, "main.main"));
		assert_true(gd_funcname_shown(minor, "main.lower"));
		assert_true(gd_funcname_shown(minor, "runtime.Gosched"));
		assert_true(gd_funcname_shown(minor, "runtime/debug.setGCPercent"));
		assert_true(gd_funcname_shown(minor, "internal/runtime/maps.(*Map).putSlotSmall"));
		assert_false(gd_funcname_shown(minor, "runtime.gopark"));
		assert_false(gd_funcname_shown(minor, "runtime.gopanic"));
		assert_false(gd_funcname_shown(minor, "runtime.(*mheap).alloc"));
		assert_false(gd_funcname_shown(minor, "runtime.runfinq"));
		assert_false(gd_funcname_shown(minor, "memmove")); /* no package at all */
		assert_false(gd_funcname_shown(minor, "runtime."));
	}
}

static void releases_differ_in_methods_and_finalizers(void **state)
{
	(void)state;
	/* until 1.22 only the first letter counted */
	assert_true(gd_funcname_shown(22, "runtime.GC.func1"));
	assert_false(gd_funcname_shown(23, "runtime.GC.func1"));
	assert_false(gd_funcname_shown(22, "runtime.(*Func).Name"));
	assert_true(gd_funcname_shown(23, "runtime.(*Func).Name"));
	assert_true(gd_funcname_shown(23, "runtime.Frames.Next"));
	assert_false(gd_funcname_shown(23, "runtime.(*mheap).Alloc"));
	assert_false(gd_funcname_shown(24, "runtime.runFinalizers"));
	assert_true(gd_funcname_shown(25, "runtime.runFinalizers"));
	assert_true(gd_funcname_shown(25, "runtime.runCleanups"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(shapes_are_three_dots_since_go_1_21),
		test_case(generic_methods_of_generic_types_keep_their_name_in_1_27),
		test_case(malformed_names_are_left_alone_and_escaped),
		test_case(gopanic_is_printed_as_panic),
		test_case(only_exported_runtime_functions_are_shown),
		test_case(releases_differ_in_methods_and_finalizers),
	};
	return test_run(tests);
}
