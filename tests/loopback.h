#pragma once
/*
 * The smallest HTTP client that will do: what a Go victim says of itself, over loopback.
 */
#include "base/buf.h"

/*
 * GET path from 127.0.0.1:port; body holds the answer's content afterwards, NUL-terminated.
 * Asserts that the status is 200 and that it comes within two minutes.
 */
void loopback_get(unsigned port, const char *path, struct gd_buf *body);
