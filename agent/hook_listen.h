#pragma once
/*
 * Where the hook listens: a unix socket, or TCP on loopback (TLS is a proxy's business).  Opens and
 * checks sockets, accepts nothing.
 */
#include <stdbool.h>

#include "base/error.h"

/*
 * "unix:/PATH" (0660; a dead socket of that name is replaced, a live one is -EADDRINUSE),
 * "127.0.0.1:PORT", "[::1]:PORT".  -EPERM: not a loopback address.  Returns a non-blocking
 * listening descriptor.
 */
int gd_hook_listen_open(const char *text, bool *ret_tcp, struct gd_error *err);

/* The same for a socket that somebody else opened. */
int gd_hook_listen_adopt(int fd, bool *ret_tcp, struct gd_error *err);

/* Removes the file of a unix socket. */
void gd_hook_listen_forget(const char *text);
