#pragma once
/*
 * Two dumps of the same goroutines side by side.  They must be equal byte for byte: state, order,
 * every frame with arguments, file, line and offset, what created it.  What may differ all the same
 * is in a table, by name and with its reason, and each use of a row is counted and printed.
 */
#include "tests/stacks.h"

enum stacks_excuse {
	STACKS_ONLY_THERE, /* the goroutine is only in the process's own dump */
	STACKS_ONLY_HERE,  /* only in ours */
	STACKS_MOVING,     /* it runs: compared by function, from the frame of `holds` outwards */
};

struct stacks_exception {
	const char *name;
	enum stacks_excuse excuse;
	const char *holds; /* text in the goroutine's stack, in either dump */
	const char *why;
};

struct stacks_report {
	size_t equal, excused, different;
	size_t one_minute_off; /* equal but for a wait time which passed a full minute in between */
};

/* exceptions ends with a NULL name.  Prints what differs. */
void stacks_compare(struct stacks *theirs, struct stacks *ours,
                    const struct stacks_exception *exceptions, struct stacks_report *ret);
