#pragma once
/*
 * Where goroutines wait, whatever led them there: groups added up by state and innermost function
 * of the program.  A lock convoy has many stacks and one place.
 */
#include "report/groups.h"

struct gd_place {
	const struct gd_group_frame *frame; /* NULL: unknown */
	const char *state;
	const char *via; /* the library function it went into there, of one of them */
	bool waiting;
	uint64_t count;
	int64_t longest_ns;
};

struct gd_places {
	struct gd_place *list; /* largest first */
	size_t n;
};

/* Borrows from groups. -ENOMEM. */
int gd_places_make(const struct gd_groups *groups, struct gd_places *ret);
void gd_places_deinit(struct gd_places *places);
