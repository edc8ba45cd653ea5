#pragma once
/*
 * The connector: a process of ours that makes a TCP connection in another process's network namespace and
 * hands it back.  The broker may not (it has no network, and its filter knows no namespaces), and whoever
 * speaks over the connection may not choose where it leads.  It parses nothing and sends no byte.
 *
 * It holds CAP_SYS_ADMIN when whoever starts it has it, for setns; without, it reaches the namespace it was
 * started in.  A daemon starts it before it becomes the broker, a command when it needs one.  One question
 * at a time; not for threads.
 */
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"

struct gd_connector {
	pid_t pid; /* 0: somebody else's child */
	int fd;    /* -1: none */
	uint32_t seq;
};
#define GD_CONNECTOR_INIT ((struct gd_connector){ .fd = -1 })

/* It ends with us, or when its socket closes. */
int gd_connector_start(struct gd_connector *ret, struct gd_error *err);
void gd_connector_stop(struct gd_connector *connector); /* safe on INIT */

/* Longer a listening socket has no room for us. */
#define GD_CONNECTOR_WAIT_MS 500

/*
 * A connected, non-blocking socket in *ret_fd.  `namespace_fd` is /proc/PID/ns/net, opened.  -ECONNREFUSED,
 * -ETIMEDOUT and the like: nobody there takes it; -EPERM: the namespace is another one and may not be
 * entered; -ENETUNREACH: it is down, or this process has no network; -EPIPE: the connector is gone.
 */
int gd_connector_connect(struct gd_connector *connector, int namespace_fd,
                         const struct sockaddr_storage *to, int *ret_fd, struct gd_error *err);
