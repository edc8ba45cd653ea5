#pragma once
/*
 * Something that is tried until it works, ever more slowly: when it is due, how long the wait is.
 * Times are CLOCK_MONOTONIC and given.
 */
#include <stdbool.h>
#include <stdint.h>

#define GD_HOOK_AGAIN_MIN_NS INT64_C(100000000)

struct gd_hook_again { /* zeroed: not wanted, no wait */
	bool wanted;
	int64_t at_ns, wait_ns;
};

/* Is to be tried, after what the last failure made of the wait; no sooner if it was wanted already. */
static inline void gd_hook_again_want(struct gd_hook_again *again, int64_t now_ns)
{
	if (again->wanted)
		return;
	again->wanted = true;
	again->at_ns = now_ns + again->wait_ns;
}

/* It did not work: twice the wait, at most max_ns. */
static inline void gd_hook_again_failed(struct gd_hook_again *again, int64_t now_ns, int64_t max_ns)
{
	again->wait_ns = again->wait_ns == 0 ? GD_HOOK_AGAIN_MIN_NS : 2 * again->wait_ns;
	if (again->wait_ns > max_ns)
		again->wait_ns = max_ns;
	again->wanted = true;
	again->at_ns = now_ns + again->wait_ns;
}

static inline bool gd_hook_again_due(const struct gd_hook_again *again, int64_t now_ns)
{
	return again->wanted && again->at_ns <= now_ns;
}
