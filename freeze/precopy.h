#pragma once
/*
 * Pre-copy: the target's memory is read while it runs, then what was written meanwhile, and so on; a short
 * stop brings the rest.  How one learns what was written is the tracker's matter.
 */
#include "freeze/work.h"

struct gd_precopy_tracker {
	const char *name;
	uint64_t dirty;                /* category of pages that were written */
	enum gd_pagemap_ask ask;       /* of a round */
	unsigned max_rounds;
};

/* Rounds, and the stop.  -E2BIG: it writes faster than fits the pause. */
int gd_precopy_run(struct gd_freeze_work *work, const struct gd_precopy_tracker *tracker,
                   struct gd_error *err);

/* Is another round worth it, after one that brought `bytes` and one before that brought `before`? */
bool gd_precopy_goes_on(unsigned round, unsigned max_rounds, uint64_t bytes, uint64_t before);
