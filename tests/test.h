#pragma once
/*
 * What every test program includes first: cmocka with the headers it wants, a fixture that finds
 * leaked descriptors, temporary directories, victims (programs to look at) and skips with a reason.
 *
 *	static void unmapped_is_efault(void **state) { ... }
 *
 *	int main(void)
 *	{
 *		static const struct CMUnitTest tests[] = {
 *			test_case(unmapped_is_efault),
 *		};
 *		return test_run(tests);
 *	}
 *
 * Rule for fork: a cmocka assertion that fails in a forked child jumps back and runs the rest of the
 * suite in the child.  So a child never asserts, it ends with _exit(code), and the parent calls
 * test_child_exits(pid, code).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/*
 * A test with the fixture around it: afterwards victims it left running are killed and its temporary
 * directory is removed; a descriptor which is open now and was not before fails the test, and so does
 * a child nobody waited for.
 */
#define test_case(fn) cmocka_unit_test_setup_teardown(fn, test_before, test_after)
int test_before(void **state);
int test_after(void **state);

/* cmocka_run_group_tests with line-buffered output; the value main returns. */
#define test_run(tests) test_run_n(__FILE__, tests, sizeof(tests) / sizeof((tests)[0]))
int test_run_n(const char *file, const struct CMUnitTest *tests, size_t n);

/* Ends the test as skipped; the reason is shown with the totals of `make check`.  No return. */
void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Asserts that r is not negative and prints err->msg when it is. */
#define assert_ok(r, err) test_ok((r), (err), __FILE__, __LINE__)
void test_ok(long r, const struct gd_error *err, const char *file, int line);

/* Asserts that r is exactly `code` (negative errno) and that err says the same with some words. */
#define assert_fails(r, code, err) test_fails((r), (code), (err), __FILE__, __LINE__)
void test_fails(long r, int code, const struct gd_error *err, const char *file, int line);

/* Asserts that haystack contains needle, and prints both when not. */
#define assert_contains(haystack, needle) test_contains((haystack), (needle), __FILE__, __LINE__)
void test_contains(const char *haystack, const char *needle, const char *file, int line);

/* Waits for a child of ours and asserts that it ended by _exit(code). */
#define test_child_exits(pid, code) test_child((pid), (code), __FILE__, __LINE__)
void test_child(pid_t pid, int code, const char *file, int line);

/* This test's own empty directory, made on first use, removed with all content afterwards. */
const char *test_dir(void);

/* test_dir() + "/" + name; valid until the test ends. */
const char *test_path(const char *name);

/* Writes bytes into test_path(name) and returns that path. */
const char *test_file(const char *name, const void *bytes, size_t n);

/* Open descriptors of this process. */
int test_count_fds(void);

struct victim {
	pid_t pid;
	int in_fd;  /* its stdin; closing it is the polite way to end a victim */
	int out_fd; /* its stdout */
	char ready[128]; /* what followed "ready " on that line: a port, an address */
	struct gd_buf said; /* what it printed before "ready", NUL-terminated */
	struct gd_buf rest; /* read from out_fd, not yet handed out */
};

/*
 * Starts a victim and waits up to 20 s for the line "ready" or "ready ..." on its stdout.  A name
 * without a slash is looked up among the built victims.  Arguments (without argv[0]) follow, then
 * NULL.  The victim dies with us.  Asserts on failure; never returns NULL.
 */
struct victim *victim_start(const char *path, ...) __attribute__((sentinel));

/* SIGKILL and wait; frees it.  Tests need not call it at their end, the fixture does. */
void victim_stop(struct victim *victim);

/* Its next line without the newline, up to 20 s; NULL at end of file.  Valid until the next call. */
const char *victim_line(struct victim *victim);

/* Writes a line (the newline is added) to its stdin. */
void victim_tell(struct victim *victim, const char *line);

/* Where the victim of that name was built.  Valid until the next call. */
const char *victim_path(const char *name);

/*
 * The Go victim `name` built by that release ("1.22.12") as that variant ("plain", "stripped", "pie",
 * "cgo"): its path, or the test is skipped with the reason why it was not built.
 */
const char *victim_go(const char *name, const char *release, const char *variant);

/* The same without skipping: NULL and the reason in why. */
const char *victim_go_if_built(const char *name, const char *release, const char *variant,
                               struct gd_error *why);
