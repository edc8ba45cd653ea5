#pragma once
/*
 * Goroutines as text, exactly as the target's own release prints them for
 * debug/pprof/goroutine?debug=2: header, frames with arguments, elided frames, "created by".
 * Hidden is what Go hides.  What a release does differently is decided here, once, by its number.
 *
 * The text of a site is made once and hung on the site (gd_symbols_keep): who uses a traceback must
 * not use site->user of the same symbols for anything else.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "golang/goroutines.h"

struct gd_traceback;

/* go is borrowed. */
int gd_traceback_create(struct gd_go *go, struct gd_traceback **ret, struct gd_error *err);
void gd_traceback_destroy(struct gd_traceback *traceback); /* NULL allowed */

/* Appends one goroutine, without an empty line around it. */
void gd_traceback_put(struct gd_traceback *traceback, const struct gd_goroutine *goroutine,
                      struct gd_buf *out);

/* Lines a frame at this site makes when nothing is elided: for gd_walk_options. */
unsigned gd_traceback_lines(void *traceback, const struct gd_site *site, bool exact);

/* The function's name as that release prints it: "main.f[...]".  Appends. */
void gd_traceback_put_name(const struct gd_traceback *traceback, const char *name,
                           struct gd_buf *out);
