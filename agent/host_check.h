#pragma once
/*
 * What this host allows, found by trying rather than by asking for versions, and what a capture
 * loses without it.  `godiag doctor` prints it.
 */
#include <stddef.h>

enum gd_host_verdict { GD_HOST_OK, GD_HOST_LIMITED, GD_HOST_MISSING };

struct gd_host_check {
	const char *what; /* "memory of other users' processes" */
	const char *lost; /* what a capture lacks when this is not ok */
	/* Tries it; `detail` says what was found, or what would have to be allowed. */
	enum gd_host_verdict (*try_it)(const char *output_dir, char *detail, size_t size);
};

/* NULL-terminated by `what`. */
extern const struct gd_host_check gd_host_checks[];
