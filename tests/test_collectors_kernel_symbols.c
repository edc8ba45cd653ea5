/*
 * Text as /proc/kallsyms has it, and the file itself.
 */
#include "collectors/kernel_symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

static const char text[] =
	"0000000000000000 A fixed_percpu_data\n"
	"ffffffff81000000 T _text\n"
	"ffffffff81000000 T startup_64\n"
	"ffffffff81000100 t inner\n"
	"ffffffff81000200 D some_data\n"
	"ffffffff81000300 W weak_one\n"
	"ffffffffc0009000 t later_fn\t[one]\n"
	"ffffffffc0001000 t mod_fn\t[nf_tables]\n";

static int read_text(const char *from, struct gd_kernel_symbol *symbols, size_t n,
                     struct gd_error *err)
{
	struct gd_kernel_symbols_reader reader;
	assert_ok(gd_kernel_symbols_begin(&reader, symbols, n, err), err);
	for (size_t at = 0; at < strlen(from); at += 5)
		gd_kernel_symbols_text(&reader, from + at,
		                       strlen(from) - at < 5 ? strlen(from) - at : 5);
	return gd_kernel_symbols_end(&reader, err);
}

static const char *name_of(const struct gd_kernel_symbol *symbols, size_t n, uint64_t pc)
{
	for (size_t i = 0; i < n; i++)
		if (symbols[i].pc == pc)
			return symbols[i].name;
	return NULL;
}

static void an_address_belongs_to_the_symbol_below(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_kernel_symbol s[] = {
		{ .pc = 0xffffffffc0009100 }, { .pc = 0xffffffff81000001 },
		{ .pc = 0xffffffff810002ff }, { .pc = 0xffffffff81000100 },
		{ .pc = 0xffffffffc0001008 }, { .pc = 0xffffffff80000000 },
		{ .pc = 0xffffffffc0029100 },
	};
	size_t n = sizeof(s) / sizeof(s[0]);
	assert_ok(read_text(text, s, n, &err), &err);
	/* of two names the first */
	assert_string_equal(name_of(s, n, 0xffffffff81000001), "_text");
	assert_string_equal(name_of(s, n, 0xffffffff81000100), "inner");
	/* data is no function */
	assert_string_equal(name_of(s, n, 0xffffffff810002ff), "inner");
	/* modules come in no order */
	assert_string_equal(name_of(s, n, 0xffffffffc0001008), "[nf_tables] mod_fn");
	assert_string_equal(name_of(s, n, 0xffffffffc0009100), "[one] later_fn");
	assert_string_equal(name_of(s, n, 0xffffffff80000000), "");
	/* no function is that long */
	assert_string_equal(name_of(s, n, 0xffffffffc0029100), "");
}

static void hidden_addresses_are_said_to_be(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_kernel_symbol s = { .pc = 0xffffffff81000001 };
	assert_fails(read_text("0000000000000000 T _text\n0000000000000000 t x\n", &s, 1, &err),
	             -ENOTSUP, &err);
	assert_string_equal(s.name, "");
}

static void names_are_asked_for_and_then_read(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_kernel_names *names = NULL;
	GD_CLOSE int fd = open(test_file("kallsyms", text, strlen(text)), O_RDONLY | O_CLOEXEC);
	assert_ok(gd_kernel_names_create(&names, &err), &err);
	assert_ok(gd_kernel_names_read(names, -1, &err), &err); /* nothing wanted: no file needed */
	assert_true(gd_kernel_names_want(names, 0xffffffff81000101));
	assert_true(gd_kernel_names_want(names, 0xffffffff81000101));
	assert_fails(gd_kernel_names_read(names, -1, &err), -EACCES, &err);
	assert_ok(gd_kernel_names_read(names, fd, &err), &err);
	assert_string_equal(gd_kernel_names_find(names, 0xffffffff81000101), "inner");
	assert_null(gd_kernel_names_find(names, 0xffffffff81000102));
	gd_kernel_names_destroy(names);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_address_belongs_to_the_symbol_below),
		test_case(hidden_addresses_are_said_to_be),
		test_case(names_are_asked_for_and_then_read),
	};
	return test_run(tests);
}
