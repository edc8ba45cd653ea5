#pragma once
/*
 * The watcher's questions to the broker.  Each waits for its answer: the broker never waits for the
 * watcher, so that ends.  -EPIPE: the broker is gone, and so is our reason to be.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/watch_wire.h"

struct gd_watch_ask {
	int fd;
	uint32_t seq;
};

/* May this process be watched?  0; -ESRCH; -EPERM: it is one of us; -EAGAIN: later. */
int gd_watch_ask_found(struct gd_watch_ask *ask, const struct gd_watch_found *found);

/* The link /proc/PID/exe, NUL-terminated; its length. */
ssize_t gd_watch_ask_exe(struct gd_watch_ask *ask, const struct gd_subject_id *id, char *to, size_t size);

/* Inodes of its sockets, into `to` (at most n); their number, and that of all its descriptors. */
ssize_t gd_watch_ask_sockets(struct gd_watch_ask *ask, const struct gd_subject_id *id, uint64_t *to,
                    size_t n, uint64_t *ret_fds);

/*
 * A process that was found: a descriptor of its memory, and one from which gd_watch_runtime can be
 * received when the child that looks for its Go runtime has ended.  `why` gets the broker's words.
 */
int gd_watch_ask_memory(struct gd_watch_ask *ask, uint32_t slot, const struct gd_subject_id *id,
               int *ret_mem_fd, int *ret_runtime_fd, char why[124]);

/* Says something that has no answer. */
int gd_watch_tell(struct gd_watch_ask *ask, enum gd_watch_type type, const void *body, size_t len);
