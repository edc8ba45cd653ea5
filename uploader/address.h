#pragma once
/*
 * Which addresses an upload may connect to, looked at when the connection is made: a name that
 * resolves to the host itself or to its cloud's metadata service is not where archives belong, whatever
 * the name server says.
 */
#include <sys/socket.h>

#include "base/error.h"

/*
 * `host` is what the URL names, with or without port: "s3.example.com", "127.0.0.1:7070", "[::1]".
 * Link-local and metadata addresses only when it is literally that address; loopback only when it is
 * a loopback address or localhost.  -EACCES says which address was refused.
 */
int gd_address_check(const struct sockaddr *address, const char *host, struct gd_error *err);
