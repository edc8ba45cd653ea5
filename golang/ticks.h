#pragma once
/*
 * The rate of runtime.cputicks, in which Go counts how long goroutines were blocked for the block
 * and mutex profiles (on x86-64 the time stamp counter).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/runtime.h"

struct gd_ticks {
	int64_t per_second;
	bool measured; /* by us, on this machine: the target has not needed it so far */
};

/*
 * The rate the target uses for its own profiles.  A live target that has not computed it yet gets
 * the one it would compute now.  -ENOENT: not to be had (a core of such a process).
 */
int gd_ticks_read(struct gd_go *go, struct gd_ticks *ret, struct gd_error *err);
