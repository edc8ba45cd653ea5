#pragma once
/*
 * The client: the jailed process that speaks HTTP with a target's own debug port (net/http/pprof).  It has a
 * socket to the broker, which makes its connections, and one to the packer; it opens and connects nothing.
 * What the target answers is as hostile as its memory.
 *
 *	client   ASK          a connection to the n-th listener, please
 *	broker   CONNECTION   here it is, or why not
 *	client   READY        I know whom to ask, and have what I need
 *	broker   GO           the window begins
 *	broker   STOP         what you have is what there will be (its end hanging up means the same)
 *	client   DONE         how it came out; its artifacts are with the packer
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/debug_listeners.h"
#include "base/error.h"
#include "base/sink.h"

enum gd_debug_port_message {
	GD_DEBUG_PORT_ASK = 1,    /* uint32_t, the listener's number */
	GD_DEBUG_PORT_CONNECTION, /* struct gd_error, with the socket when its code is 0 */
	GD_DEBUG_PORT_READY,      /* nothing */
	GD_DEBUG_PORT_GO,         /* nothing */
	GD_DEBUG_PORT_STOP,       /* nothing */
	GD_DEBUG_PORT_DONE,       /* struct gd_outcome */
};

/* Per listener: two looks, a profile, a trace. */
#define GD_DEBUG_PORT_ASKS_MAX (4 * GD_DEBUG_LISTENERS_MAX)

#define GD_DEBUG_PORT_PROBE_NS INT64_C(2000000000)
#define GD_DEBUG_PORT_GRACE_NS INT64_C(5000000000) /* after the time it was asked for */
#define GD_DEBUG_PORT_CPU_MAX (16U << 20)
#define GD_DEBUG_PORT_TRACE_MAX (64U << 20)

struct gd_debug_port_client {
	const struct gd_debug_listener *listeners; /* borrowed */
	size_t n, n_all;
	struct gd_error why;  /* code 0, or why there is no list */
	uint16_t port;        /* the one that was named; 0: any */
	int64_t duration_ns;  /* of the window: seconds are all that the endpoint knows */
	int64_t trace_ns;     /* 0: no trace */
	int ask_fd, sink_fd;
};

/* Artifacts of this collector. */
#define GD_DEBUG_PORT_COLLECTOR "debug_port"
#define GD_DEBUG_PORT_CPU "own.cpu.pb.gz"
#define GD_DEBUG_PORT_TRACE "own.trace"
#define GD_DEBUG_PORT_FACTS "debug_port.json"

/* The whole process, after it has entered GD_ROLE_CLIENT: an exit status. */
int gd_debug_port_client_run(void *client);

/* Everything but the role, with a sink of the caller's: for tests. */
struct gd_outcome gd_debug_port_client_collect(const struct gd_debug_port_client *client,
                                               struct gd_sink *sink);
