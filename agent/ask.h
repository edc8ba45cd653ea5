#pragma once
/*
 * The asking side: a struct gd_access whose files come from a broker at the other end of a socket.
 * Used in jailed processes, which may open nothing.  One question at a time, one thread.
 */
#include "agent/request.h"
#include "base/error.h"
#include "target/access.h"

/*
 * The socket stays the caller's.  `progress` is counted up with every question: a silent reader is
 * ended by its broker.  A broker that is gone or misbehaves ends the process: nothing is left to do.
 */
int gd_ask_create(int fd, volatile uint64_t *progress, struct gd_access **ret,
                  struct gd_error *err);

/* A process forked from the asker asks through a socket of its own from here on, and counts there. */
void gd_ask_rebind(struct gd_access *access, int fd, volatile uint64_t *progress);

/* Tells the broker something that needs no answer (SUBJECT, RUNTIME, FORKED, DONE). */
int gd_ask_tell(int fd, enum gd_request type, const void *body, size_t n, struct gd_error *err);
