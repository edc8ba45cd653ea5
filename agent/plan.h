#pragma once
/*
 * Which collectors a capture runs: the profile's, narrowed by --only and --skip.  Made before
 * anything is touched; its JSON is the first blob of the archive, so that a reader of a truncated
 * one still knows what should have been there.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "collectors/collector.h"

#define GD_PLAN_MAX 16
#define GD_PLAN_TRACE_NS INT64_C(1000000000) /* of the service's own, unless somebody says otherwise */

struct gd_plan {
	const char *profile;
	struct gd_plan_item {
		const struct gd_collector *collector;
		bool named; /* asked for by --only: then skipping it is not success */
	} list[GD_PLAN_MAX];
	size_t n;
	struct {
		int64_t duration_ns;   /* of the windowed collector; it lasts longer when others do */
		uint32_t frequency_hz; /* and how often it looks */
		bool syscalls;         /* and counts system calls */
	} window;
	struct {
		uint16_t port;     /* 0: any that it listens on */
		int64_t trace_ns;  /* 0: no trace */
	} debug_port;          /* of the collector of that name */
};

/* "light", "standard", "full"; -EINVAL lists them. */
int gd_plan_parse_profile(const char *text, enum gd_profile *ret, struct gd_error *err);

/* -EINVAL names the unknown collector and lists the known ones. */
int gd_plan_make(enum gd_profile profile, const char *only, const char *skip, struct gd_plan *ret,
                 struct gd_error *err);

/* One more, asked for by name; it may be there already. */
int gd_plan_add(struct gd_plan *plan, const char *name, struct gd_error *err);
bool gd_plan_has(const struct gd_plan *plan, const char *name);

/* Where in the list the windowed one is, and the one apart; SIZE_MAX: there is none. */
size_t gd_plan_windowed(const struct gd_plan *plan);
size_t gd_plan_apart(const struct gd_plan *plan);

/* The names of its collectors and what its window is to be, as members of an open object. */
void gd_plan_put(const struct gd_plan *plan, struct gd_json *json);
