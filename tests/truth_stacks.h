#pragma once
/*
 * goroutines.txt of a truth against the same service's debug=2.
 */
#include "tests/stacks_compare.h"
#include "tests/truth.h"

/* The request for the other dump has goroutines of its own; rows for a table of exceptions. */
#define TRUTH_REQUEST_EXCEPTIONS                                                                   \
	{ "the goroutine that answers the request", STACKS_ONLY_THERE, "net/http.(*conn).serve(",  \
	  "it exists only while debug=2 is asked for" },                                           \
	{ "its reader", STACKS_ONLY_THERE, "net/http.(*connReader).",                              \
	  "it exists only while debug=2 is asked for" },                                           \
	{ "the end of an earlier request", STACKS_ONLY_HERE, "net/http.(*conn).serve(",            \
	  "its connection was closed a moment ago" },                                              \
	{ "the end of an earlier request's reader", STACKS_ONLY_HERE, "net/http.(*connReader).",   \
	  "its connection was closed a moment ago" },                                              \
	{ "the end of an earlier request, in both", STACKS_MOVING, "net/http.(*conn).serve(",      \
	  "its connection is being closed" },                                                      \
	{ "the goroutine that accepts connections", STACKS_MOVING, "net/http.(*Server).Serve(",    \
	  "the request woke it; below its Accept are leavings of earlier calls" }

/* Takes both dumps, ours first, and fails when they differ beyond the exceptions. */
struct stacks_report truth_stacks(struct truth *truth, const char *when,
                                  const struct stacks_exception *exceptions);

/* Prints what was found, and fails the test when something differs. */
void truth_judge(const struct truth *truth, const char *when, const struct stacks_report *report);
