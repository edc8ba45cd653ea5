#include "golang/traceback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "golang/arguments.h"
#include "golang/funcname.h"
#include "golang/godebug.h"

enum {
	FRAMES_UNTIL_1_20 = 100, /* runtime._TracebackMaxFrames: physical ones, hidden ones too */
	INNER_LINES = 50,        /* runtime.tracebackInnerFrames, from 1.21 on: shown lines */
	OUTER_LINES = 50,
	SITE_TEXT_MAX = 1 << 20,
};

/* One logical frame of a site. */
struct line_text {
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
struct site_text {
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
	struct line_text lines[];
};

struct gd_traceback {
	struct gd_go *go;
	int minor;
	bool show_labels;
	const struct site_text *texts[GD_FRAMES_MAX]; /* of the goroutine at hand */
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

/* ---- the text of a site --------------------------------------------------------------------------- */

static void put_file(struct gd_buf *to, const struct gd_line *line)
{
	gd_buf_putc(to, '\t');
	gd_text_put_escaped(to, line->file, strlen(line->file));
	gd_buf_putc(to, ':');
	gd_text_put_u64(to, (uint64_t)(line->line < 0 ? 0 : line->line));
}

static void put_offset(struct gd_buf *to, const struct gd_site *site)
{
	if (site->pc > site->entry) {
		gd_buf_puts(to, " +");
		gd_text_put_hex(to, site->pc - site->entry);
	}
	gd_buf_putc(to, '\n');
}

static void put_line(const struct gd_traceback *tb, const struct gd_site *site, unsigned i,
                     struct line_text *line, struct gd_buf *to)
{
	line->at = (uint32_t)to->len;
	gd_funcname_put(tb->minor, site->lines[i].function, to);
	if (i + 1 < site->n_lines) {
		gd_buf_puts(to, "(...)\n");
		put_file(to, &site->lines[i]);
		gd_buf_putc(to, '\n');
	} else {
		gd_buf_putc(to, '(');
	}
	line->len = (uint32_t)to->len - line->at;
}

static void classify(const struct gd_traceback *tb, const struct gd_line *from,
                     struct line_text *line)
{
	*line = (struct line_text){
		.wrapper = from->wrapper,
		.gopanic = strcmp(from->function, "runtime.gopanic") == 0,
		.raises = gd_funcname_raises_panic(from->function),
		.shown = !from->wrapper && gd_funcname_shown(tb->minor, from->function),
	};
	line->shown = line->shown || line->gopanic;
}

static void put_created(const struct gd_traceback *tb, const struct gd_site *site,
                        struct site_text *st, struct gd_buf *to)
{
	const struct gd_line *outermost = &site->lines[site->n_lines - 1];
	st->created_shown = !outermost->wrapper && gd_funcname_shown(tb->minor, outermost->function);
	st->created_at = (uint32_t)to->len;
	gd_buf_puts(to, "created by ");
	gd_funcname_put(tb->minor, outermost->function, to);
	st->created_len = (uint32_t)to->len - st->created_at;
	/* the function is the one around all inlining, file and line are the innermost's: as in Go */
	st->created_file_at = (uint32_t)to->len;
	put_file(to, &site->lines[0]);
	put_offset(to, site);
	st->created_file_len = (uint32_t)to->len - st->created_file_at;
}

static void put_all(const struct gd_traceback *tb, const struct gd_site *site,
                    struct site_text *st, struct gd_buf *to)
{
	unsigned last = site->n_lines - 1;
	st->plain = true;
	for (unsigned i = 0; i < site->n_lines; i++) {
		classify(tb, &site->lines[i], &st->lines[i]);
		if (st->lines[i].gopanic ||
		    (i > 0 && st->lines[i].wrapper && st->lines[i - 1].raises))
			st->plain = false;
		if (st->lines[i].shown) {
			put_line(tb, site, i, &st->lines[i], to);
			st->n_shown++;
		}
	}
	st->begins_with_wrapper = st->lines[0].wrapper;
	st->ends_raising = st->lines[last].raises;
	st->prints_arguments = st->lines[last].shown;
	st->head_len = (uint32_t)to->len;
	st->tail_at = (uint32_t)to->len;
	gd_buf_puts(to, ")\n");
	put_file(to, &site->lines[last]);
	put_offset(to, site);
	st->tail_len = (uint32_t)to->len - st->tail_at;
	for (unsigned i = 0; i < site->n_lines; i++)
		if (!st->lines[i].shown)
			put_line(tb, site, i, &st->lines[i], to);
	put_created(tb, site, st, to);
}

static __attribute__((noinline)) const struct site_text *make_text(struct gd_traceback *tb,
                                                                   const struct gd_site *site,
                                                                   bool exact)
{
	struct gd_arguments_room room;
	struct gd_arguments a;
	gd_arguments_of(tb->go->memory, tb->go->symbols, tb->minor, site, exact, &room, &a);
	GD_BUF struct gd_buf text = GD_BUF_INIT(SITE_TEXT_MAX);
	size_t size = sizeof(struct site_text) + site->n_lines * sizeof(struct line_text);
	size_t list_bytes = a.n * sizeof(*a.list);
	struct site_text *st = calloc(1, size);
	if (st == NULL)
		return NULL;
	st->n_lines = site->n_lines;
	put_all(tb, site, st, &text);
	size_t bytes = size + list_bytes + text.len + a.form_len;
	struct site_text *whole = text.failed == 0 ? realloc(st, bytes) : NULL;
	if (whole == NULL) {
		free(st);
		return NULL;
	}
	char *p = (char *)whole + size;
	whole->arguments = a;
	whole->arguments.list = memcpy(p, a.list, list_bytes);
	whole->text = memcpy(p + list_bytes, text.data, text.len);
	whole->arguments.form = memcpy(p + list_bytes + text.len, a.form, a.form_len);
	gd_symbols_keep(tb->go->symbols, site, whole, bytes);
	return whole;
}

/* NULL only without memory. */
static inline const struct site_text *text_of(struct gd_traceback *tb, const struct gd_site *site,
                                              bool exact)
{
	const struct site_text *st = site->user;
	return st != NULL ? st : make_text(tb, site, exact);
}

unsigned gd_traceback_lines(void *traceback, const struct gd_site *site, bool exact)
{
	const struct site_text *st = text_of(traceback, site, exact);
	return st != NULL ? st->n_shown : 0;
}

/* ---- one line, one site ---------------------------------------------------------------------------- */

static void put_outermost(const struct site_text *st, const struct gd_frame *frame,
                          const char *head, size_t head_len, struct gd_buf *out)
{
	size_t most = head_len + st->arguments.text_max + st->tail_len;
	char *to = gd_buf_reserve(out, most);
	if (to == NULL)
		return;
	char *p = to;
	memcpy(p, head, head_len);
	p += head_len;
	p = gd_arguments_put(&st->arguments, frame->stack, frame->stack_len, p);
	memcpy(p, st->text + st->tail_at, st->tail_len);
	p += st->tail_len;
	out->len += (size_t)(p - to);
}

static void put_plain(const struct site_text *st, const struct gd_frame *frame,
                      struct gd_buf *out)
{
	if (st->prints_arguments)
		put_outermost(st, frame, st->text, st->head_len, out);
	else
		gd_buf_append(out, st->text, st->head_len);
}

static void put_one(const struct site_text *st, const struct gd_frame *frame, unsigned i,
                    struct gd_buf *out)
{
	const struct line_text *line = &st->lines[i];
	if (i + 1 < st->n_lines)
		gd_buf_append(out, st->text + line->at, line->len);
	else
		put_outermost(st, frame, st->text + line->at, line->len, out);
}

/* ---- frames ---------------------------------------------------------------------------------------- */

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
		const struct site_text *st = tb->texts[f];
		if (f == g->n_inner)
			sel->total += g->elided_lines;
		for (unsigned i = 0; i < st->n_lines; i++) {
			const struct line_text *line = &st->lines[i];
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

static void put_selected(struct gd_traceback *tb, const struct gd_goroutine *g,
                         const struct selection *sel, struct gd_buf *out)
{
	uint64_t n_first = sel->n < INNER_LINES ? sel->n : INNER_LINES;
	uint64_t n_last = sel->n - n_first < OUTER_LINES ? sel->n - n_first : OUTER_LINES;
	for (uint64_t i = 0; i < n_first; i++)
		put_one(tb->texts[sel->first[i].frame], &g->frames[sel->first[i].frame],
		        sel->first[i].line, out);
	if (sel->total > n_first + n_last)
		put_elided(sel->total - n_first - n_last, out);
	for (uint64_t i = sel->n - n_last; i < sel->n; i++) {
		const struct shown_line *line = &sel->last[(i - INNER_LINES) % OUTER_LINES];
		put_one(tb->texts[line->frame], &g->frames[line->frame], line->line, out);
	}
}

/* Until 1.20: the innermost 100 physical frames, and a note when they made exactly 100 lines. */
static void put_until_1_20(struct gd_traceback *tb, const struct gd_goroutine *g, bool all,
                           struct gd_buf *out)
{
	bool callee_raises = false;
	uint64_t n = 0;
	for (size_t f = 0; f < g->n_frames && f < FRAMES_UNTIL_1_20; f++) {
		const struct site_text *st = tb->texts[f];
		for (unsigned i = 0; i < st->n_lines; i++) {
			const struct line_text *line = &st->lines[i];
			bool shown = line->shown;
			if (line->wrapper && callee_raises)
				shown = gd_funcname_shown(tb->minor,
				                          g->frames[f].site->lines[i].function);
			if (line->gopanic && n == 0)
				shown = false;
			callee_raises = line->raises;
			if (!shown && !all)
				continue;
			put_one(st, &g->frames[f], i, out);
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
		const struct site_text *st = text_of(tb, g->frames[f].site, g->frames[f].exact);
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
				put_plain(tb->texts[f], &g->frames[f], out);
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

/* ---- header and footer ------------------------------------------------------------------------------ */

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
	const struct site_text *st = text_of(tb, g->creator, false);
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
