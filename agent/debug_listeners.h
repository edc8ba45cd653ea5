#pragma once
/*
 * The TCP sockets a process listens on, with their addresses, and whether it was the process itself that
 * took a connection: another one may listen on the same port (SO_REUSEPORT), or share the socket.
 *
 * The broker's: it reads the kernel's tables of the process's network namespace, numbers of fixed form
 * (collectors/proc_net.h), and the links below /proc/PID/fd.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "collectors/proc_net.h"

#define GD_DEBUG_LISTENERS_MAX 8

struct gd_debug_listener {
	struct gd_proc_net_address at;
	bool v6;        /* its family */
	char text[INET6_ADDRSTRLEN + 8]; /* "127.0.0.1:6060", "[::]:80" */
	uint64_t inode;
};

/*
 * Those on `port` (0: any) of the process below proc_fd, the likeliest to be meant for debugging first:
 * bound to loopback, port 6060, then as the kernel lists them.  How many; ret_n_all (NULL allowed) counts
 * also those beyond the maximum.
 */
int gd_debug_listeners_find(int proc_fd, uint16_t port,
                            struct gd_debug_listener to[GD_DEBUG_LISTENERS_MAX], size_t *ret_n_all,
                            struct gd_error *err);

/*
 * Where to reach it, in the order to try: its own address, loopback for one that is bound to all.
 * How many, at most 2.
 */
size_t gd_debug_listeners_reach(const struct gd_debug_listener *listener,
                                struct sockaddr_storage to[2]);

/*
 * 1: our connected socket's other end belongs to the process; 0: to another one; -EAGAIN: nobody has
 * accepted it yet.
 */
int gd_debug_listeners_took(int proc_fd, int fd, struct gd_error *err);
