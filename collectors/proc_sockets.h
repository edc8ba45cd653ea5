#pragma once
/*
 * The sockets among a target's descriptors, found again by inode in the tables of its network
 * namespace (/proc/PID/net/...), which are streamed: a host may have millions of connections, a
 * process has few.
 */
#include <stddef.h>
#include <stdint.h>

#include "collectors/proc.h"

#define GD_PROC_SOCKETS_NAME "proc/sockets.jsonl"

struct gd_proc_socket {
	uint64_t inode;
	int fd;
	int found; /* a line was written for its inode */
};

struct gd_proc_sockets {
	struct gd_proc_socket *list;
	size_t n, cap;
};

int gd_proc_sockets_add(struct gd_proc_sockets *sockets, uint64_t inode, int fd,
                        struct gd_error *err);
void gd_proc_sockets_deinit(struct gd_proc_sockets *sockets);

/* Writes the artifact; `fds` is how the list of descriptors came out. */
void gd_proc_sockets_collect(struct gd_proc *proc, struct gd_proc_sockets *sockets,
                             struct gd_outcome fds);
