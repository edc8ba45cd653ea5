#pragma once
/*
 * The text that a site makes in a traceback, made once and hung on the site (gd_symbols_keep).
 * Which of its lines are shown can depend on what it calls; traceback.c decides that.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "golang/arguments.h"
#include "golang/goroutines.h"

/* One logical frame of a site. */
struct gd_traceback_line {
	uint32_t at, len; /* inlined: both its lines; not inlined: up to its arguments */
	bool shown;       /* unless a neighbour matters: */
	bool wrapper;     /* hidden, except when what it calls raises a panic */
	bool gopanic;     /* hidden only when it comes first */
	bool raises;      /* shows a wrapper that calls it */
};

/*
 * The text of a site.  The shown lines come first and without a gap, so that most sites are two
 * copies with arguments between them.
 */
struct gd_traceback_site {
	unsigned n_lines;
	unsigned n_shown;
	bool plain;                   /* no line depends on its neighbours... */
	bool begins_with_wrapper;     /* ...but the innermost, if what it calls raises a panic */
	bool ends_raising;            /* the outermost does */
	bool prints_arguments;        /* the outermost line is shown */
	uint32_t head_len;            /* of the shown lines up to the arguments */
	uint32_t tail_at, tail_len;   /* from the arguments to the end of the outermost line */
	uint32_t created_at, created_len;   /* "created by main.main" */
	uint32_t created_file_at, created_file_len;
	bool created_shown;
	const char *text;
	struct gd_arguments arguments;
	struct gd_traceback_line lines[];
};

/* Made now or earlier; NULL only without memory.  Lives as long as the site. */
const struct gd_traceback_site *gd_traceback_site_make(struct gd_go *go,
                                                       const struct gd_site *site, bool exact);

static inline const struct gd_traceback_site *
gd_traceback_site_of(struct gd_go *go, const struct gd_site *site, bool exact)
{
	const struct gd_traceback_site *text = site->user;
	return text != NULL ? text : gd_traceback_site_make(go, site, exact);
}

/* All shown lines; only for a site whose lines do not depend on their neighbours. */
void gd_traceback_site_put(const struct gd_traceback_site *text, const struct gd_frame *frame,
                           struct gd_buf *out);

/* One line (with its file), shown or not. */
void gd_traceback_site_put_line(const struct gd_traceback_site *text, unsigned line,
                                const struct gd_frame *frame, struct gd_buf *out);
