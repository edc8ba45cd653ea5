#pragma once
/*
 * What the broker does for the watcher, with the broker's privilege: it opens and links, and parses
 * nothing but the one line that holds a start time.  Every question names a process by pid and start
 * time; a pid that was reused is -ESRCH.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "agent/watch_wire.h"

/* The child that looks into a Go runtime; one at a time. */
struct gd_watch_finder {
	pid_t pid; /* 0: none */
	int pid_fd;
};

/* 0; -ESRCH; -EPERM: a kernel thread, or a process that runs the same program as we do. */
int gd_watch_grant_found(const struct gd_watch_who *who, struct gd_error *err);

/* Fills *ret, code included. */
void gd_watch_grant_exe(const struct gd_watch_who *who, struct gd_watch_exe *ret);
void gd_watch_grant_sockets(const struct gd_watch_who *who, struct gd_watch_sockets *ret);

/*
 * Opens memory and starts a finder; an older one is ended.  The caller closes both descriptors.
 */
int gd_watch_grant_memory(const struct gd_watch_who *who, struct gd_watch_finder *finder,
                          int *ret_mem_fd, int *ret_runtime_fd, struct gd_error *err);

/* Notices that it has ended; with `end`, ends it. */
void gd_watch_grant_reap(struct gd_watch_finder *finder, bool end);
