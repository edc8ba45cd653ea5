#include "golang/traceback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "golang/funcname.h"
#include "golang/godebug.h"
#include "golang/traceback_site.h"

enum {
	FRAMES_UNTIL_1_20 = 100, /* runtime._TracebackMaxFrames: physical ones, hidden ones too */
	INNER_LINES = 50,        /* runtime.tracebackInnerFrames, from 1.21 on: shown lines */
	OUTER_LINES = 50,
};

struct gd_traceback {
	struct gd_go *go;
	int minor;
	bool show_labels;
	const struct gd_traceback_site *texts[GD_FRAMES_MAX]; /* of the goroutine at hand */
};

int gd_traceback_create(struct gd_go *go, struct gd_traceback **ret, struct gd_error *err)
{
	struct gd_traceback *tb = calloc(1, sizeof(*tb));
	if (tb == NULL)
		return gd_fail_errno(err, -ENOMEM, "traceback");
	tb->go = go;
	tb->minor = go->version.minor;
	tb->show_labels = gd_godebug_traceback_labels(go);
	*ret = tb;
	return 0;
}

void gd_traceback_destroy(struct gd_traceback *traceback)
{
	free(traceback);
}

unsigned gd_traceback_lines(void *traceback, const struct gd_site *site, bool exact)
{
	struct gd_traceback *tb = traceback;
	const struct gd_traceback_site *st = gd_traceback_site_of(tb->go, site, exact);
	return st != NULL ? st->n_shown : 0;
}

/* ---- frames --------------------------------------------------------------------------------- */

struct shown_line {
	uint32_t frame, line;
};

/* The first and the last lines to print, and how many there would be. */
struct selection {
	struct shown_line first[INNER_LINES];
	struct shown_line last[OUTER_LINES]; /* a ring */
	uint64_t n;     /* seen */
	uint64_t total; /* with those in the gap of a deep stack */
};

static void select_lines(struct gd_traceback *tb, const struct gd_goroutine *g, bool all,
                         struct selection *sel)
{
	bool callee_raises = false;
	*sel = (struct selection){ 0 };
	for (size_t f = 0; f < g->n_frames; f++) {
		const struct gd_traceback_site *st = tb->texts[f];
		if (f == g->n_inner)
			sel->total += g->elided_lines;
		for (unsigned i = 0; i < st->n_lines; i++) {
			const struct gd_traceback_line *line = &st->lines[i];
			bool shown = line->shown;
			if (line->wrapper && callee_raises)
				shown = gd_funcname_shown(tb->minor,
				                          g->frames[f].site->lines[i].function);
			if (line->gopanic && sel->total == 0)
				shown = false;
			callee_raises = line->raises;
			if (!shown && !all)
				continue;
			struct shown_line here = { (uint32_t)f, i };
			if (sel->n < INNER_LINES)
				sel->first[sel->n] = here;
			else
				sel->last[(sel->n - INNER_LINES) % OUTER_LINES] = here;
			sel->n++;
			sel->total++;
		}
	}
}

static void put_elided(uint64_t n, struct gd_buf *out)
{
	gd_buf_puts(out, "...");
	gd_text_put_u64(out, n);
	gd_buf_puts(out, " frames elided...\n");
}

static void put_shown(struct gd_traceback *tb, const struct gd_goroutine *g,
                      const struct shown_line *line, struct gd_buf *out)
{
	gd_traceback_site_put_line(tb->texts[line->frame], line->line, &g->frames[line->frame],
	                           out);
}

static void put_selected(struct gd_traceback *tb, const struct gd_goroutine *g,
                         const struct selection *sel, struct gd_buf *out)
{
	uint64_t n_first = sel->n < INNER_LINES ? sel->n : INNER_LINES;
	uint64_t n_last = sel->n - n_first < OUTER_LINES ? sel->n - n_first : OUTER_LINES;
	for (uint64_t i = 0; i < n_first; i++)
		put_shown(tb, g, &sel->first[i], out);
	if (sel->total > n_first + n_last)
		put_elided(sel->total - n_first - n_last, out);
	for (uint64_t i = sel->n - n_last; i < sel->n; i++)
		put_shown(tb, g, &sel->last[(i - INNER_LINES) % OUTER_LINES], out);
}

/* Until 1.20: the innermost 100 physical frames, and a note when they made exactly 100 lines. */
static void put_until_1_20(struct gd_traceback *tb, const struct gd_goroutine *g, bool all,
                           struct gd_buf *out)
{
	bool callee_raises = false;
	uint64_t n = 0;
	for (size_t f = 0; f < g->n_frames && f < FRAMES_UNTIL_1_20; f++) {
		const struct gd_traceback_site *st = tb->texts[f];
		for (unsigned i = 0; i < st->n_lines; i++) {
			const struct gd_traceback_line *line = &st->lines[i];
			bool shown = line->shown;
			if (line->wrapper && callee_raises)
				shown = gd_funcname_shown(tb->minor,
				                          g->frames[f].site->lines[i].function);
			if (line->gopanic && n == 0)
				shown = false;
			callee_raises = line->raises;
			if (!shown && !all)
				continue;
			gd_traceback_site_put_line(st, i, &g->frames[f], out);
			n++;
		}
	}
	if (n == FRAMES_UNTIL_1_20)
		gd_buf_puts(out, "...additional frames elided...\n");
	else if (n == 0 && !all && g->n_frames > 0)
		put_until_1_20(tb, g, true, out);
}

static void put_frames(struct gd_traceback *tb, const struct gd_goroutine *g, struct gd_buf *out)
{
	bool plain = true, callee_raises = false;
	uint64_t n = 0;
	for (size_t f = 0; f < g->n_frames; f++) {
		const struct gd_traceback_site *st = gd_traceback_site_of(tb->go, g->frames[f].site,
		                                                           g->frames[f].exact);
		if (st == NULL) {
			out->failed = -ENOMEM;
			return;
		}
		tb->texts[f] = st;
		plain = plain && st->plain && !(callee_raises && st->begins_with_wrapper);
		callee_raises = st->ends_raising;
		n += st->n_shown;
	}
	/* by far most: nothing to count, nothing left out */
	if (plain && n > 0 && n < INNER_LINES + OUTER_LINES && g->n_frames < FRAMES_UNTIL_1_20) {
		for (size_t f = 0; f < g->n_frames; f++)
			if (tb->texts[f]->n_shown > 0)
				gd_traceback_site_put(tb->texts[f], &g->frames[f], out);
		return;
	}
	if (tb->minor < 21) {
		put_until_1_20(tb, g, false, out);
		return;
	}
	struct selection sel;
	select_lines(tb, g, false, &sel);
	if (sel.total == 0) /* nothing to see: then all of it */
		select_lines(tb, g, true, &sel);
	put_selected(tb, g, &sel, out);
}

/* ---- header and footer ---------------------------------------------------------------------- */

/* As runtime.printquoted. */
static void put_quoted(const struct gd_traceback *tb, const char *s, size_t n, struct gd_buf *out)
{
	gd_buf_putc(out, '"');
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t len = gd_text_utf8_len(s + i, n - i);
		uint32_t rune = c;
		if (len == 0 && tb->minor >= 27) {
			gd_buf_printf(out, "\\x%02x", c);
			i++;
			continue;
		}
		if (len == 0) {
			rune = 0xfffd;
			len = 1;
		} else if (len > 1) {
			rune = c & (0x7fu >> len);
			for (size_t k = 1; k < len; k++)
				rune = rune << 6 | ((unsigned char)s[i + k] & 0x3f);
		}
		if (c == '\n' || c == '\r' || c == '\t')
			gd_buf_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (rune == '\\' || rune == '"')
			gd_buf_printf(out, "\\%c", (char)c);
		else if (rune >= ' ' && rune <= '~')
			gd_buf_putc(out, (char)c);
		else if (rune < 127)
			gd_buf_printf(out, "\\x%02x", rune);
		else if (rune < 0x10000)
			gd_buf_printf(out, "\\u%04x", rune);
		else
			gd_buf_printf(out, "\\U%08x", rune);
		i += len;
	}
	gd_buf_putc(out, '"');
}

static void put_label_part(const struct gd_traceback *tb, const char *s, size_t n,
                           struct gd_buf *out)
{
	bool simple = tb->minor >= 27; /* 1.26 quoted all */
	for (size_t i = 0; i < n && simple; i++)
		simple = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
		         (s[i] >= '.' && s[i] <= '9') || s[i] == '_';
	if (simple)
		gd_buf_append(out, s, n);
	else
		put_quoted(tb, s, n, out);
}

static void put_labels(const struct gd_traceback *tb, const struct gd_labels *labels,
                       struct gd_buf *out)
{
	gd_buf_puts(out, tb->minor >= 27 ? " {" : " labels:{");
	for (size_t i = 0; i < labels->n; i++) {
		const struct gd_labels_pair *pair = &labels->pairs[i];
		if (i > 0)
			gd_buf_append(out, ", ", 2);
		put_label_part(tb, pair->key, pair->key_len, out);
		gd_buf_append(out, ": ", 2);
		put_label_part(tb, pair->value, pair->value_len, out);
	}
	gd_buf_putc(out, '}');
}

static void put_header(const struct gd_traceback *tb, const struct gd_goroutine *g,
                       struct gd_buf *out)
{
	gd_buf_append(out, "goroutine ", 10);
	gd_text_put_u64(out, g->goid);
	gd_buf_append(out, " [", 2);
	const char *status = g->reason != NULL ? g->reason : gd_goroutine_status_name(g->status);
	gd_text_put_escaped(out, status, strlen(status));
	if (g->status == GD_G_LEAKED)
		gd_buf_puts(out, " (leaked)");
	if (g->scan)
		gd_buf_puts(out, " (scan)");
	if (g->wait_ns >= INT64_C(60000000000)) {
		gd_buf_append(out, ", ", 2);
		gd_text_put_u64(out, (uint64_t)g->wait_ns / UINT64_C(60000000000));
		gd_buf_puts(out, " minutes");
	}
	if (g->locked)
		gd_buf_puts(out, ", locked to thread");
	bool labels = tb->show_labels && g->labels != NULL && g->labels->n > 0;
	if (labels && tb->minor < 27)
		put_labels(tb, g->labels, out);
	gd_buf_putc(out, ']');
	if (labels && tb->minor >= 27)
		put_labels(tb, g->labels, out);
	gd_buf_append(out, ":\n", 2);
}

static void put_creator(struct gd_traceback *tb, const struct gd_goroutine *g, struct gd_buf *out)
{
	if (g->creator == NULL || g->goid == 1)
		return;
	const struct gd_traceback_site *st = gd_traceback_site_of(tb->go, g->creator, false);
	if (st == NULL) {
		out->failed = -ENOMEM;
		return;
	}
	if (!st->created_shown)
		return;
	gd_buf_append(out, st->text + st->created_at, st->created_len);
	if (g->parent_goid != 0 && tb->minor >= 21) {
		gd_buf_puts(out, " in goroutine ");
		gd_text_put_u64(out, g->parent_goid);
	}
	gd_buf_putc(out, '\n');
	gd_buf_append(out, st->text + st->created_file_at, st->created_file_len);
}

void gd_traceback_put(struct gd_traceback *traceback, const struct gd_goroutine *goroutine,
                      struct gd_buf *out)
{
	put_header(traceback, goroutine, out);
	switch (goroutine->frames_are) {
	case GD_FRAMES_EXACT:
		break;
	case GD_FRAMES_APPROXIMATE:
		gd_buf_puts(out, "\tgoroutine running on other thread; frames found by searching "
		                 "its stack, the innermost may have returned\n");
		break;
	case GD_FRAMES_NONE:
		gd_buf_puts(out, "\tgoroutine running on other thread; stack unavailable\n");
		break;
	case GD_FRAMES_TORN:
		gd_buf_puts(out, "\tstack changed while it was read; frames may be wrong or "
		                 "missing\n");
		break;
	}
	put_frames(traceback, goroutine, out);
	put_creator(traceback, goroutine, out);
}

void gd_traceback_put_name(const struct gd_traceback *traceback, const char *name,
                           struct gd_buf *out)
{
	gd_funcname_put(traceback->minor, name, out);
}
