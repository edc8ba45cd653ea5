#pragma once
/*
 * Records between our processes: one per SOCK_SEQPACKET packet, a fixed head, a body of at most
 * GD_MESSAGE_MAX bytes and up to GD_MESSAGE_FDS descriptors.  Both ends are the same build, so
 * bodies are plain structs; but one end may have been taken over by what it parsed, so whoever
 * receives checks length and range of every field (gd_message_body does the length).
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_MESSAGE_MAX 65536
#define GD_MESSAGE_FDS 8

struct gd_message {
	uint16_t type; /* means something only to the two ends */
	uint32_t seq;  /* an answer carries the number of its question */
	size_t len;    /* of the body */
	int fds[GD_MESSAGE_FDS];
	size_t n_fds;  /* owned by the receiver; see gd_message_close_fds */
};

/* A connected pair of SEQPACKET sockets, close-on-exec. */
int gd_message_pair(int ret_fds[2], struct gd_error *err);

/*
 * Sends one record; descriptors stay the caller's.  -EAGAIN when the socket is non-blocking and
 * full, -EPIPE when the other end is gone (never a signal), -E2BIG above the maxima.
 */
int gd_message_send(int fd, uint16_t type, uint32_t seq, const void *body, size_t len,
                    const int *fds, size_t n_fds, struct gd_error *err);

/*
 * Receives one record into *ret, its body into `body` (GD_MESSAGE_MAX bytes are always enough).
 * 1: there is one; 0: the other end closed; -EAGAIN: nothing yet on a non-blocking socket;
 * -EBADMSG: not one of ours (its descriptors are closed).  Received descriptors are close-on-exec.
 */
int gd_message_recv(int fd, struct gd_message *ret, void *body, size_t size,
                    struct gd_error *err);

void gd_message_close_fds(struct gd_message *message);
#define GD_MESSAGE __attribute__((cleanup(gd_message_close_fds)))

/* -EBADMSG unless the body is exactly `size` bytes. */
int gd_message_body(const struct gd_message *message, size_t size, struct gd_error *err);
