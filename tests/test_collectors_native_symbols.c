/*
 * Functions of this very program and of its C library, by their addresses.
 */
#include "collectors/native_symbols.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

static __attribute__((noinline)) int not_exported(int n)
{
	return n * 7 + (int)getpid();
}

static uint64_t address(int (*function)(int))
{
	return (uint64_t)(uintptr_t)function;
}

static void names_come_from_the_file_and_from_memory(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_native_names *names = NULL;
	GD_TARGET struct gd_target *target = NULL;
	uint64_t inside = address(not_exported) + 2;
	uint64_t exported = address(abs) + 1;
	uint64_t nowhere = 0x10;
	uint64_t data = (uint64_t)(uintptr_t)&names;
	assert_true(not_exported(1) != 0);
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_ok(gd_native_names_create(&names, &err), &err);
	assert_true(gd_native_names_want(names, inside) && gd_native_names_want(names, exported) &&
	            gd_native_names_want(names, nowhere) && gd_native_names_want(names, data) &&
	            gd_native_names_want(names, inside));
	gd_native_names_read(names, target);
	assert_non_null(gd_native_names_find(names, inside));
	assert_contains(gd_native_names_find(names, inside), "not_exported");
	assert_non_null(gd_native_names_find(names, exported));
	assert_string_equal(gd_native_names_find(names, exported), "abs");
	/* Not within any symbol, and never asked for. */
	assert_null(gd_native_names_find(names, nowhere));
	assert_null(gd_native_names_find(names, data));
	assert_null(gd_native_names_find(names, inside + 1));
	gd_native_names_destroy(names);
}

static void nothing_wanted_is_nothing_read(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_native_names *names = NULL;
	struct gd_target target = { .fds = { -1, -1, -1, -1 } };
	assert_ok(gd_native_names_create(&names, &err), &err);
	gd_native_names_read(names, &target);
	assert_null(gd_native_names_find(names, 1));
	gd_native_names_destroy(names);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(names_come_from_the_file_and_from_memory),
		test_case(nothing_wanted_is_nothing_read),
	};
	return test_run(tests);
}
