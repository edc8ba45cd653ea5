#pragma once
/*
 * TCP ports a process listens on: the listening sockets of its network namespace (/proc/PID/net/tcp
 * and tcp6, where they come first) which are among its descriptors.
 */
#include <stddef.h>
#include <stdint.h>

#include "agent/watch_ask.h"

/*
 * Writes at most `max` ports; their number.  0 when we may not know.  -EPIPE: the broker has gone.
 */
int gd_watch_ports_read(int proc_fd, const struct gd_subject_id *id, struct gd_watch_ask *ask,
                        uint16_t *to, size_t max);

struct gd_watch_listener {
	uint64_t inode;
	uint16_t port;
};

/* One line of such a file.  1: a listener; 0: something else, no listeners follow; -1: no line. */
int gd_watch_ports_parse(const char *line, struct gd_watch_listener *ret);
