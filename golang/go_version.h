#pragma once
/*
 * The number of a Go release out of what the toolchain calls itself.
 * Source: cmd/dist/build.go (development versions), cmd/link/internal/ld/main.go (experiments).
 */
#include <stdbool.h>

#include "base/error.h"

/* Major 1 implied: 1.22.5 is {22, 5}; 1.23rc1 is {23, 0} and devel. */
struct gd_go_version {
	int minor;       /* 0 for "devel +hash", which no release after 1.16 calls itself */
	int patch;
	bool devel;      /* no unmodified release (beta, vendor's): layouts must be calibrated */
	bool experiment; /* "X:": GOEXPERIMENT differs from the release's default */
};

/* -EBADMSG when it is no Go version at all. */
int gd_go_version_parse(const char *text, struct gd_go_version *ret, struct gd_error *err);
