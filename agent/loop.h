#pragma once
/*
 * The broker's event loop: descriptors with a function each.  One thread, one event at a time, so
 * that whatever a handler does (also removing sources) is safe.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct gd_loop_source {
	int fd; /* borrowed */
	void (*ready)(void *arg);
	void *arg;
};

struct gd_loop {
	int epoll_fd;
};

#define GD_LOOP_INIT ((struct gd_loop){ .epoll_fd = -1 })

int gd_loop_init(struct gd_loop *loop, struct gd_error *err);
void gd_loop_deinit(struct gd_loop *loop);

/* `source` stays where it is until it is removed. */
int gd_loop_add(struct gd_loop *loop, struct gd_loop_source *source, struct gd_error *err);
void gd_loop_remove(struct gd_loop *loop, const struct gd_loop_source *source);

/* Waits for one event and handles it. */
int gd_loop_turn(struct gd_loop *loop, struct gd_error *err);

/* A SEQPACKET listener at `path` (what was there is removed), mode 0660, given to `group` if there
 * is such a group and we may.  Returns the descriptor. */
int gd_loop_listen(const char *path, const char *group, struct gd_error *err);

/* Accepts one connection; who it is in the two.  -EAGAIN: nobody is there. */
int gd_loop_accept(int listen_fd, uint32_t *ret_uid, int32_t *ret_pid, struct gd_error *err);
