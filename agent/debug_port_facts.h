#pragma once
/*
 * What is known of a look at a target's own debug port: which ports there were, what was asked when, and how
 * what came lies on our clocks.  Becomes debug_port.json.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/debug_port_client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "golang/exectrace.h"

struct gd_debug_port_answer {
	char url[192];        /* "": was not asked for */
	long status;          /* 0: none */
	size_t bytes;         /* of its content */
	struct gd_clock begun, ended; /* as we asked, as the last byte was here */
	struct gd_outcome outcome;
};

struct gd_debug_port_facts {
	struct gd_debug_port_port {
		struct gd_error why; /* code 0: it offers profiles, or was not needed */
	} ports[GD_DEBUG_LISTENERS_MAX];
	size_t chosen; /* SIZE_MAX: none */
	struct gd_debug_port_answer cpu, trace;
	int64_t profile_time_ns, profile_duration_ns; /* by its own word; CLOCK_REALTIME of its begin */
	bool has_exectrace, has_tsc;
	struct gd_exectrace exectrace;
	struct gd_clock_tsc tsc[2]; /* before and after */
};

void gd_debug_port_facts_put(const struct gd_debug_port_facts *facts,
                             const struct gd_debug_port_client *client, struct gd_buf *to);

/*
 * Two points of the line that leads from a trace's ticks to CLOCK_MONOTONIC.  False: there is none, because
 * its unit is not known, or neither its events nor its own words lie where the line says: between `begun` and
 * `ended`.
 */
struct gd_debug_port_point {
	uint64_t ticks;
	int64_t monotonic_ns;
};
bool gd_debug_port_facts_line(const struct gd_debug_port_facts *facts,
                              struct gd_debug_port_point to[2]);
/* That instant by the line. */
int64_t gd_debug_port_facts_place(const struct gd_debug_port_point line[2], uint64_t ticks);
