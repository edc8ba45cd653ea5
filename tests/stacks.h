#pragma once
/*
 * Tracebacks as Go prints them (debug=2, SIGQUIT), taken apart goroutine by goroutine.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stack {
	uint64_t goid;
	char *text; /* header and frames, without the empty line after it */
	bool met;   /* for whoever compares */
};

struct stacks {
	struct stack *list; /* in the order printed */
	size_t n;
	char *bytes;
};

/* Takes a copy of text apart.  What is no goroutine (SIGQUIT's first lines) is left out. */
void stacks_parse(const char *text, struct stacks *ret);
void stacks_deinit(struct stacks *stacks);

struct stack *stacks_find(struct stacks *stacks, uint64_t goid);

/*
 * Makes what SIGQUIT prints comparable with debug=2, which leaves out frames of the runtime's own
 * functions and of wrappers, goroutines that consist of nothing else, and addresses ("gp=0x...",
 * "fp=0x...").  minor: of the Go release, 22 for 1.22.
 */
void stacks_strip_runtime(struct stacks *stacks, int minor);

/* Minutes a header speaks of ("[select, 3 minutes]"), 0 for none; cuts them out of the text. */
unsigned stack_cut_minutes(struct stack *stack);
