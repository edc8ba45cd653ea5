#pragma once
/*
 * What memory must look like to be one of the runtime's global variables.  A test answers "right"
 * only where chance and other variables practically cannot pass it (a list of goroutines starts with
 * goroutine 1; the hash stored in a profile bucket is the hash of its stack), "wrong" where the
 * variable cannot be there, and "open" where its present value proves nothing (an empty list, a
 * profile nobody switched on).  Memory is live and foreign: every read may fail, every list may be
 * endless.
 */
#include <stdint.h>

#include "golang/globals.h"
#include "golang/layout.h"
#include "golang/moduledata.h"
#include "target/memory.h"

enum gd_shape { GD_SHAPE_WRONG, GD_SHAPE_OPEN, GD_SHAPE_RIGHT };

struct gd_shapes {
	struct gd_memory *memory;
	const struct gd_modules *modules;
	const struct gd_layout *layout;
	/* What other tests lean on; 0: not known (then they are weaker or say "open"). */
	uint64_t allm, allp;
	/* NULL, or how many more reads all tests together may do; then everything is "wrong". */
	uint64_t *reads_left;
};

enum gd_shape gd_shapes_test(const struct gd_shapes *shapes, enum gd_global which, uint64_t addr);

/*
 * A quick look at the words at a scanned place, n >= 1 of them: false when the test cannot come out
 * right, so that a scan asks the target's memory only about a few places.
 */
bool gd_shapes_worth_testing(const struct gd_shapes *shapes, enum gd_global which,
                             const uint64_t *words, size_t n);

/*
 * Where the variable is, by going over the sections it can be in; 0 when nothing there is right.  Of
 * several lists of threads the longest.  The number of reads is bounded.
 */
uint64_t gd_shapes_scan(const struct gd_shapes *shapes, enum gd_global which);

/* How many m the list whose head is stored at addr has; 0 when it is none (each m knows its g0, and
 * the g0 its m), at most GD_SHAPES_THREADS_MAX. */
#define GD_SHAPES_THREADS_MAX 100000
size_t gd_shapes_threads(const struct gd_shapes *shapes, uint64_t addr);

/* Hash of a profile bucket as runtime.stkbucket computes it. */
uint64_t gd_shapes_bucket_hash(const uint64_t *pcs, size_t n, uint64_t size);
