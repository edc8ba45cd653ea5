#pragma once
/*
 * What the linker wrote into a Go executable about its own build: the Go version and the module
 * lines `go version -m` prints.  Found in a target's memory without section headers.  When the
 * block is missing (some build systems and packers drop it) both are recovered from the runtime's
 * own variables, which runtime.schedinit refers to in every release.  Source: Go's debug/buildinfo,
 * cmd/link (buildinfo, main), runtime/proc.go.
 */
#include "base/error.h"
#include "golang/go_version.h"
#include "golang/moduledata.h"
#include "target/maps.h"
#include "target/memory.h"

struct gd_buildinfo {
	char version[128]; /* "go1.22.5", "go1.26.1-X:jsonv2", "go1.28-devel_..."; cut if longer */
	char *modinfo; /* path/mod/dep/build lines, each with its newline; "" if absent; malloc */
};

/*
 * Looks through the writable data of the executable, then of libraries.  -ENOENT: there is no
 * block; -EBADMSG: there are only broken ones.
 */
int gd_buildinfo_find(struct gd_memory *memory, const struct gd_maps *maps,
                      struct gd_buildinfo *ret, struct gd_error *err);

/* The same without a block, through the code of runtime.schedinit.  -ENOENT: nor that way. */
int gd_buildinfo_recover(const struct gd_modules *modules, struct gd_memory *memory,
                         struct gd_buildinfo *ret, struct gd_error *err);

void gd_buildinfo_deinit(struct gd_buildinfo *info);
