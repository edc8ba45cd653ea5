#pragma once
/*
 * The sockets among the descriptors of a process, by inode, as /proc/PID/fd names them.  Whose inode it is
 * in which table below /proc/PID/net is the caller's business.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Of so many descriptors at most. */
#define GD_SOCKETS_FDS_MAX 65536

/*
 * Their inodes among the first `max` descriptors below proc_fd (of /proc/PID); ret_n_fds (NULL allowed) is
 * the number of all.  How many inodes; -EACCES, -ESRCH.
 */
ssize_t gd_sockets_read(int proc_fd, uint64_t *inodes, size_t max, uint64_t *ret_n_fds,
                        struct gd_error *err);
