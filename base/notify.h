#pragma once
/*
 * What a service tells its manager (systemd's sd_notify protocol) and gets from it by environment
 * variables: readiness, watchdog, sockets it has opened for us.  Without a manager all of it is a
 * no-op.  Datagrams on a unix socket, so libsystemd is not needed.  Not thread safe (getenv).
 */
#include <stdint.h>

#include "base/error.h"

/* First descriptor of socket activation. */
#define GD_NOTIFY_LISTEN_FD 3

/*
 * Sends "READY=1", "WATCHDOG=1", "STATUS=...", "STOPPING=1", several separated by newlines.
 * 1: sent; 0: nobody wants to know ($NOTIFY_SOCKET is not set).  Never blocks.
 */
int gd_notify_send(const char *text, struct gd_error *err);

/*
 * For a process whose filter allows no new sockets: the descriptor, opened before it enters its role
 * (close-on-exec, the caller's); -ENOENT: nobody wants to know.
 */
int gd_notify_open(struct gd_error *err);
int gd_notify_send_to(int fd, const char *text, struct gd_error *err);

/* How often "WATCHDOG=1" is due (half of what the manager allows); 0: no watchdog for us. */
uint64_t gd_notify_watchdog_ns(void);

/*
 * How many listening sockets we were started with, from GD_NOTIFY_LISTEN_FD on; they are made
 * close-on-exec.  0: none, or meant for another process.
 */
int gd_notify_listen_fds(void);
