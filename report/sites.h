#pragma once
/*
 * A profile added up by site: the innermost function of the program itself on each sample's stack, and
 * the line in it; of a stack without one, the innermost of all.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/groups.h"
#include "report/pprof_read.h"

struct gd_site {
	struct gd_group_frame frame;
	bool own; /* the program's, not of the standard library */
	int64_t value, count;
};

struct gd_sites {
	int64_t value, count;  /* of all together */
	struct gd_site *list;  /* largest value first */
	size_t n;
	struct gd_words *words; /* texts that the sites point to */
};

/*
 * By the sample types of these names, as "inuse_space" and "inuse_objects"; one without a count is
 * counted 0.  -EBADMSG: there is no such value.
 */
int gd_sites_add_up(const struct gd_pprof_read *profile, const char *value, const char *count,
                    struct gd_sites *ret, struct gd_error *err);
void gd_sites_deinit(struct gd_sites *sites);
