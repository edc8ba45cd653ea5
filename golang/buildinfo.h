#pragma once
/*
 * What the linker wrote into a Go executable about its own build: the Go version and the module
 * lines `go version -m` prints.  Found in an ELF file or in a target's memory, with or without
 * section headers; when the block is missing (some packers drop it) the version is recovered from
 * the operands of runtime.schedinit (see globals.h), and there are no module lines.
 * Source: Go's debug/buildinfo and cmd/link; reference/go-runtime-facts.md section 2.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "target/maps.h"
#include "target/memory.h"

struct gd_buildinfo {
	char version[64]; /* "go1.22.5", "go1.22.5 X:rangefunc", "devel go1.28-..." */
	char *modinfo;    /* path/mod/dep/build lines separated by newlines, "" when absent; malloc */
};

/* major 1 implied: 1.22.5 is {22, 5}; 1.23rc1 is {23, 0} with suffix. */
struct gd_go_version {
	int minor;
	int patch;
	bool devel;      /* not a release: layouts must be calibrated */
	bool experiment; /* "X:": GOEXPERIMENT differs from the release's default */
};

/* -EBADMSG when it is no Go version at all. */
int gd_go_version_parse(const char *text, struct gd_go_version *ret, struct gd_error *err);

/* Scans the readable, file-backed mappings of the executable (writable first).  -ENOENT: none. */
int gd_buildinfo_find(struct gd_memory *memory, const struct gd_maps *maps,
                      struct gd_buildinfo *ret, struct gd_error *err);
void gd_buildinfo_deinit(struct gd_buildinfo *info);
