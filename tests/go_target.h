#pragma once
/*
 * Go victims as targets: what the tests of golang/ start from.  Linked only with those.
 */
#include "golang/go_version.h"
#include "golang/moduledata.h"
#include "target/target.h"
#include "tests/test.h"

struct go_target {
	char release[32]; /* "1.22.12" */
	char variant[16]; /* "plain", "stripped", "pie", "cgo" */
	struct gd_go_version version;
	struct victim *victim;
	struct gd_target *target;
	struct gd_modules modules; /* complete */
};

/*
 * Starts the Go victim `name` in every release and variant that was built, one after the other,
 * and hands each to `check`.  Prints what was covered and what was left out; skips the test when
 * nothing was built.
 */
void go_target_each(const char *name, void (*check)(struct go_target *go));

/*
 * The ELF symbols of a victim that still has them, as the linker named them and at their run-time
 * addresses.  Returns how many there were: 0 when it is stripped.
 */
typedef void go_target_symbol_fn(const char *name, uint64_t addr, bool function, void *arg);
size_t go_target_symbols(const struct go_target *go, go_target_symbol_fn *each, void *arg);

/* The address of one of them, 0 when there is none of that name. */
uint64_t go_target_symbol(const struct go_target *go, const char *name);

/* Asserts that r is not negative; says which release and variant when it is. */
#define go_assert_ok(go, r, err) go_target_ok((go), (r), (err), __FILE__, __LINE__)
void go_target_ok(const struct go_target *go, long r, const struct gd_error *err, const char *file,
                  int line);

/* Ends the test as failed; says which release and variant. */
void go_target_fail(const struct go_target *go, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
