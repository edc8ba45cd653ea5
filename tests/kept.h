#pragma once
/*
 * A sink that keeps what collectors write in memory, for tests to look at.
 */
#include "base/sink.h"
#include "tests/test.h"

enum { KEPT_MAX = 128 };

struct kept_artifact {
	char name[64];
	struct gd_buf bytes; /* NUL-terminated when closed */
	struct gd_outcome outcome;
	bool absent, open;
};

struct kept {
	struct gd_sink sink; /* first: the sink is the kept */
	struct kept_artifact list[KEPT_MAX];
	size_t n;
};

void kept_init(struct kept *kept);
void kept_deinit(struct kept *kept);

/* The artifact of that name; NULL when nobody recorded it. */
const struct kept_artifact *kept_find(const struct kept *kept, const char *name);
