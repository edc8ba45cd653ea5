#pragma once
/*
 * Our collectors against what a Go process says of itself: what truth_*.c have in common.  A victim
 * of every release and variant that was built is one test; a line of the index that says "skipped"
 * is a skipped test with that reason.
 */
#include "collectors/collector.h"
#include "tests/kept.h"
#include "tests/test.h"

struct truth {
	char release[32]; /* "1.22.12", or a program's name */
	char variant[16]; /* "plain" */
	struct victim *victim;
	unsigned port;
	struct gd_target *target;
	struct gd_go *go;
	struct kept kept;
	struct gd_outcome outcome; /* of the collector that ran last */
};

struct truth_path {
	char release[32];
	char path[4096];
};

/* What was built of one victim in one variant, for tests that need many at once; at most max. */
size_t truth_paths(const char *victim, const char *variant, struct truth_path *ret, size_t max);

/* The path of this test's line; skips when the line says so. */
const char *truth_path_of(void *const *state);

/*
 * Runs `check` as one test per line of <victim>.index.  The value main returns.  When nothing was
 * built at all there is one skipped test.
 */
int truth_run(const char *file, const char *victim, void (*check)(void **state));

/* The same with a teardown that calls truth_after. */
int truth_run_with(const char *file, const char *victim, void (*check)(void **state),
                   int (*after)(void **state));

/*
 * The victim of this test's line, started (with an argument, or NULL) and opened; skips when the
 * line says so.  There is one at a time, and it ends with the test, also with one that failed.
 */
struct truth *truth_begin(void *const *state, const char *argument);

/* The same for a process which runs already and is not ours to end. */
struct truth *truth_attach(pid_t pid, const char *name);

/* Runs one collector; its artifacts are in truth->kept afterwards, those of an earlier run gone. */
void truth_collect(struct truth *truth, const struct gd_collector *collector);

/* An artifact's text; fails when it is missing or absent. */
const char *truth_text(const struct truth *truth, const char *artifact);

/* What truth_begin or truth_attach made; the next may begin. */
void truth_end(void);

/* Like test_after, and ends the truth before.  For tests that do not come from truth_run. */
#define truth_case(fn) cmocka_unit_test_setup_teardown(fn, test_before, truth_after)
int truth_after(void **state);
