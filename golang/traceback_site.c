#include "golang/traceback_site.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "golang/funcname.h"

enum {
	FILE_NAME_MAX = 4096,
	TEXT_MAX = 8 << 20, /* room for GD_SITE_LINES_MAX of the longest lines */
};

static void put_file(struct gd_buf *to, const struct gd_line *line)
{
	gd_buf_putc(to, '\t');
	gd_text_put_escaped(to, line->file, strnlen(line->file, FILE_NAME_MAX));
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

static void put_line(int minor, const struct gd_site *site, unsigned i,
                     struct gd_traceback_line *line, struct gd_buf *to)
{
	line->at = (uint32_t)to->len;
	gd_funcname_put(minor, site->lines[i].function, to);
	if (i + 1 < site->n_lines) {
		gd_buf_puts(to, "(...)\n");
		put_file(to, &site->lines[i]);
		gd_buf_putc(to, '\n');
	} else {
		gd_buf_putc(to, '(');
	}
	line->len = (uint32_t)to->len - line->at;
}

static void classify(int minor, const struct gd_line *from,
                     struct gd_traceback_line *line)
{
	*line = (struct gd_traceback_line){
		.wrapper = from->wrapper,
		.gopanic = strcmp(from->function, "runtime.gopanic") == 0,
		.raises = gd_funcname_raises_panic(from->function),
		.shown = !from->wrapper && gd_funcname_shown(minor, from->function),
	};
	line->shown = line->shown || line->gopanic;
}

static void put_created(int minor, const struct gd_site *site,
                        struct gd_traceback_site *st, struct gd_buf *to)
{
	const struct gd_line *outermost = &site->lines[site->n_lines - 1];
	st->created_shown = !outermost->wrapper &&
	                    gd_funcname_shown(minor, outermost->function);
	st->created_at = (uint32_t)to->len;
	gd_buf_puts(to, "created by ");
	gd_funcname_put(minor, outermost->function, to);
	st->created_len = (uint32_t)to->len - st->created_at;
	/* as in Go: the function around all inlining, but file and line of the innermost */
	st->created_file_at = (uint32_t)to->len;
	put_file(to, &site->lines[0]);
	put_offset(to, site);
	st->created_file_len = (uint32_t)to->len - st->created_file_at;
}

static void put_all(int minor, const struct gd_site *site,
                    struct gd_traceback_site *st, struct gd_buf *to)
{
	unsigned last = site->n_lines - 1;
	st->plain = true;
	for (unsigned i = 0; i < site->n_lines; i++) {
		classify(minor, &site->lines[i], &st->lines[i]);
		if (st->lines[i].gopanic ||
		    (i > 0 && st->lines[i].wrapper && st->lines[i - 1].raises))
			st->plain = false;
		if (st->lines[i].shown) {
			put_line(minor, site, i, &st->lines[i], to);
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
			put_line(minor, site, i, &st->lines[i], to);
	put_created(minor, site, st, to);
}

const struct gd_traceback_site *gd_traceback_site_make(struct gd_go *go,
                                                       const struct gd_site *site, bool exact)
{
	int minor = go->version.minor;
	struct gd_arguments_room room;
	struct gd_arguments a;
	gd_arguments_of(go->memory, go->symbols, minor, site, exact, &room, &a);
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	size_t size = sizeof(struct gd_traceback_site) +
	              site->n_lines * sizeof(struct gd_traceback_line);
	size_t list_bytes = a.n * sizeof(*a.list);
	struct gd_traceback_site *st = calloc(1, size);
	if (st == NULL)
		return NULL;
	st->n_lines = site->n_lines;
	put_all(minor, site, st, &text);
	size_t bytes = size + list_bytes + text.len + a.form_len;
	struct gd_traceback_site *whole = text.failed == 0 ? realloc(st, bytes) : NULL;
	if (whole == NULL) {
		free(st);
		return NULL;
	}
	char *p = (char *)whole + size;
	whole->arguments = a;
	whole->arguments.list = memcpy(p, a.list, list_bytes);
	whole->text = memcpy(p + list_bytes, text.data, text.len);
	whole->arguments.form = memcpy(p + list_bytes + text.len, a.form, a.form_len);
	gd_symbols_keep(go->symbols, site, whole, bytes);
	return whole;
}

static void put_outermost(const struct gd_traceback_site *st, const struct gd_frame *frame,
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

void gd_traceback_site_put(const struct gd_traceback_site *st, const struct gd_frame *frame,
                           struct gd_buf *out)
{
	if (st->prints_arguments)
		put_outermost(st, frame, st->text, st->head_len, out);
	else
		gd_buf_append(out, st->text, st->head_len);
}

void gd_traceback_site_put_line(const struct gd_traceback_site *st, unsigned i,
                                const struct gd_frame *frame, struct gd_buf *out)
{
	const struct gd_traceback_line *line = &st->lines[i];
	if (i + 1 < st->n_lines)
		gd_buf_append(out, st->text + line->at, line->len);
	else
		put_outermost(st, frame, st->text + line->at, line->len, out);
}
