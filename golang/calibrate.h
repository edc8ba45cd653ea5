#pragma once
/*
 * Checks a layout against the runtime that is there, and corrects what it can.  Some fields prove
 * themselves: goroutine 1 is the first of all, a thread's procid is a thread id of the process, the
 * list of threads visits every one, a goroutine's start is the entry of a function.  Others lie at a
 * distance to these that no release has changed yet.  So an exact row of the table is confirmed, and
 * a release without one can be read all the same, though less surely: what does not prove itself is
 * moved along with its nearest neighbour that does.
 * reference/go-runtime-facts.md section 7.
 */
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "golang/globals.h"
#include "golang/layout.h"
#include "golang/moduledata.h"
#include "target/memory.h"

struct gd_calibration {
	unsigned goroutines; /* looked at */
	unsigned threads;
	unsigned proven;     /* fields that proved themselves where the layout had them */
	unsigned moved;      /* fields that proved themselves elsewhere */
	char what[128];      /* "" or the moved ones: "m.alllink 328 -> 352, ..." */
};

struct gd_calibrate_input {
	struct gd_memory *memory;
	const struct gd_modules *modules;
	const struct gd_globals *globals; /* allgs, allm, allp, memstats are used, when not 0 */
	const pid_t *tids;                /* ascending; may be none */
	size_t n_tids;
};

/*
 * Corrects *layout.  -EBADMSG when what proves itself contradicts any layout: then nothing read with
 * it can be trusted.
 */
int gd_calibrate(const struct gd_calibrate_input *input, struct gd_layout *layout,
                 struct gd_calibration *ret, struct gd_error *err);
