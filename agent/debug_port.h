#pragma once
/*
 * The broker's end of a look at the target's own debug port: finds the sockets that the target listens on,
 * has connections made to them (connector.h) and hands these to a jailed client (debug_port_client.h), which
 * takes the service's own CPU profile and execution trace in the window of the samples.
 *
 * Connections lead nowhere but to those sockets, and are handed on only once the target itself has
 * accepted them.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/connector.h"
#include "agent/debug_port_client.h"
#include "agent/packer_order.h"
#include "base/error.h"
#include "base/sink.h"
#include "target/target.h"

struct gd_debug_port_options {
	const struct gd_target *target;
	uint16_t port;        /* 0: any it listens on */
	int64_t duration_ns, trace_ns;
	const struct gd_connector *connector; /* one that runs already; NULL: one is started */
	const volatile sig_atomic_t *cancelled; /* NULL allowed */
};

struct gd_debug_port {
	struct gd_debug_port_options options;
	struct gd_debug_listener listeners[GD_DEBUG_LISTENERS_MAX];
	struct gd_connector connector;
	int namespace_fd;
	pid_t pid; /* of the client; 0: none */
	int pid_fd, ask_fd, record_fd;
	unsigned asks;
	int waiting_fd;            /* connected, and not accepted yet; -1: none */
	int64_t waiting_ns, next_look_ns; /* since; when it is looked at again */
	bool ready, wanted, done;
	struct gd_outcome outcome; /* done: by its own word */
	int64_t gone_ns;           /* when it was told to go, or wanted to */
};
#define GD_DEBUG_PORT_INIT                                                                         \
	((struct gd_debug_port){ .connector = GD_CONNECTOR_INIT, .namespace_fd = -1, .pid_fd = -1, \
	                         .ask_fd = -1, .record_fd = -1, .waiting_fd = -1 })

/*
 * Starts the client and serves it until it knows whom to ask, or for half a second: a service that hangs must
 * not keep us from what else there is to see.  Fails when there can be no client.
 */
int gd_debug_port_begin(const struct gd_debug_port_options *options, struct gd_debug_port *ret,
                        struct gd_error *err);

/* The window begins; for a client that is not ready yet as soon as it is. */
void gd_debug_port_go(struct gd_debug_port *port);
/* Answers what it asks meanwhile; waits for nothing but a connection to be made. */
void gd_debug_port_serve(struct gd_debug_port *port);

struct gd_debug_port_result {
	struct gd_outcome outcome;
	uint64_t bytes;
	int64_t cpu_ns;
	uint64_t peak_rss_bytes;
};

/* Waits until it has what it asked for, at most for its time and a few seconds, and lets it write. */
void gd_debug_port_end(struct gd_debug_port *port, struct gd_packer_order *packer,
                       struct gd_debug_port_result *ret);

/* Ends what still runs; safe on INIT and after end. */
void gd_debug_port_stop(struct gd_debug_port *port);
