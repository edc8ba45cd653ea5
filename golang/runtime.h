#pragma once
/*
 * A Go runtime found in a target, ready to be read: version, modules, symbols, layout, globals.
 * Opening it proves that what was found is right (calibration) or says how far it can be trusted;
 * it never stops or writes to the target.  Used by one thread at a time.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "golang/buildinfo.h"
#include "golang/globals.h"
#include "golang/layout.h"
#include "golang/moduledata.h"
#include "golang/symbols.h"
#include "target/maps.h"
#include "target/memory.h"

#define GD_WAIT_REASONS_MAX 96

struct gd_go {
	struct gd_memory *memory;   /* borrowed */
	const struct gd_maps *maps; /* borrowed */
	struct gd_buildinfo build;
	struct gd_go_version version;
	bool build_block_missing; /* version came from runtime.buildVersion alone */
	struct gd_modules modules;
	struct gd_symbols *symbols;
	struct gd_layout layout;
	struct gd_globals globals;
	char *wait_reasons[GD_WAIT_REASONS_MAX]; /* malloc'ed; NULL beyond the target's array */
	bool memory_profile_linked; /* false: runtime.MemProfile was not linked in */
	char note[248]; /* "" or what a reader of the dump must know ("layout calibrated: ...") */
};

/*
 * tids (n_tids may be 0 for a core without them) are the target's kernel threads: calibration
 * checks m.procid against them.  -ENOENT: not a Go process.  -ENOTSUP: older than Go 1.18.
 */
int gd_go_open(struct gd_memory *memory, const struct gd_maps *maps, const pid_t *tids,
               size_t n_tids, struct gd_go **ret, struct gd_error *err);
void gd_go_close(struct gd_go *go); /* NULL allowed */
static inline void gd_cleanup_go(struct gd_go **go)
{
	gd_go_close(*go);
}
#define GD_GO __attribute__((cleanup(gd_cleanup_go)))
