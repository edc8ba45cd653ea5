#pragma once
/*
 * goroutine.pb.gz: goroutines counted by stack, state and labels, as runtime/pprof writes them,
 * with the state as a label more.  Groups are counted in a table with a ceiling; when it is full
 * they are written out and counting begins anew, which a reader of the profile sums up again.
 */
#include <stdint.h>

#include "collectors/known.h"
#include "collectors/locations.h"
#include "collectors/pprof.h"
#include "golang/goroutines.h"

struct gd_goroutines_profile {
	struct gd_pprof *pprof;
	struct gd_locations locations;
	struct gd_known *groups;
	struct gd_buf key;
};

/* Borrows stream and go; exe_fd as in gd_locations_init. */
int gd_goroutines_profile_init(struct gd_goroutines_profile *profile, struct gd_stream *stream,
                               struct gd_go *go, int exe_fd, struct gd_error *err);
void gd_goroutines_profile_deinit(struct gd_goroutines_profile *profile);

/* May look up program counters: the goroutine's sites are dead afterwards. */
void gd_goroutines_profile_add(struct gd_goroutines_profile *profile,
                               const struct gd_goroutine *g);

int gd_goroutines_profile_finish(struct gd_goroutines_profile *profile, struct gd_error *err);
