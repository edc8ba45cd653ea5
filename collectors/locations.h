#pragma once
/*
 * Turns call stacks that Go's runtime recorded for its own profiles (return addresses, innermost
 * first) into locations of a pprof file, the way runtime/pprof does: frames that were inlined into
 * one function become the lines of one location, frames of runtime.goexit are left out.
 * Writes the target's executable mappings, too.  Not thread safe.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "collectors/pprof.h"
#include "golang/runtime.h"
#include "target/target.h"

struct gd_locations {
	struct gd_go *go;
	struct gd_pprof *pprof;
	uint64_t *mappings; /* ids, one per entry of go->maps; 0: not executable */
	/* Leave out addresses outside of Go's code (else they get a location without lines): what
	 * runtime/pprof does in block and mutex profiles since Go 1.23. */
	bool go_only;
};

/* exe_fd: the main program's file for its build id, or -1.  All pointers are borrowed. */
int gd_locations_init(struct gd_locations *ret, struct gd_go *go, struct gd_pprof *pprof,
                      int exe_fd, struct gd_error *err);
void gd_locations_deinit(struct gd_locations *locations);
#define GD_LOCATIONS __attribute__((cleanup(gd_locations_deinit)))

/* Writes at most GD_PPROF_DEPTH_MAX ids to `to`; returns how many. */
size_t gd_locations_of(struct gd_locations *locations, const uint64_t *pcs, size_t n,
                       uint64_t to[GD_PPROF_DEPTH_MAX]);

/*
 * How many innermost frames runtime/pprof leaves out of a heap profile: those of the allocator, as
 * this Go release tells them by their names.  0 when nothing would remain.
 */
size_t gd_locations_hidden(struct gd_locations *locations, const uint64_t *pcs, size_t n);
