#include "collectors/collector.h"

/*
 * What the service says of itself: its own CPU profile and execution trace.  It is asked over a network, which
 * no reader of memory may; agent/debug_port.h does it.  In no profile: it costs the service, and a Go
 * process can make one CPU profile at a time.
 */
const struct gd_collector gd_collector_debug_port = {
	.name = "debug_port",
	.profile = GD_PROFILE_NONE,
	.apart = true,
};
