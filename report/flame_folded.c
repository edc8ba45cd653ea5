#include <inttypes.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "report/flame.h"

#define LINE_MAX_BYTES (4U << 20)
#define ALL_MAX_BYTES (UINT64_C(1) << 30) /* names of a hostile profile may be long and deep */

/* Stacks whose functions have the same names, on whatever lines, are one. */
struct folding {
	const struct gd_flame *flame;
	struct gd_tuples nodes; /* parent, name, marks */
	struct gd_tuples lines; /* node, class, name of the thread */
	uint32_t *node_of;      /* the profile's node -> ours */
	int64_t *values;        /* of lines */
	uint32_t *path;         /* room for one stack */
	bool by_class, by_thread;
};

static void end_folding(struct folding *f)
{
	gd_tuples_deinit(&f->nodes);
	gd_tuples_deinit(&f->lines);
	free(f->node_of);
	free(f->values);
	free(f->path);
}

static int begin_folding(struct folding *f, const struct gd_flame *flame, struct gd_error *err)
{
	f->flame = flame;
	f->nodes = GD_TUPLES_INIT(3, UINT32_MAX);
	f->lines = GD_TUPLES_INIT(3, UINT32_MAX);
	f->node_of = calloc(flame->nodes.n, sizeof(*f->node_of));
	f->values = calloc((size_t)flame->rows.n + 1, sizeof(*f->values));
	f->path = calloc(flame->nodes.n, sizeof(*f->path));
	if (f->node_of == NULL || f->values == NULL || f->path == NULL)
		return gd_fail_errno(err, -ENOMEM, "folded stacks");
	return 0;
}

static void fold_nodes(struct folding *f)
{
	const struct gd_flame *flame = f->flame;
	(void)gd_tuples_keep(&f->nodes, (uint64_t[]){ UINT64_MAX, 0, 0 });
	for (uint32_t i = 1; i < flame->nodes.n; i++) {
		const uint64_t *node = gd_tuples_at(&flame->nodes, i);
		const uint64_t *frame =
			gd_tuples_at(&flame->frames, (uint32_t)node[GD_FLAME_NODE_FRAME]);
		uint64_t folded[] = { f->node_of[node[GD_FLAME_NODE_PARENT]],
			              frame[GD_FLAME_FRAME_NAME], frame[GD_FLAME_FRAME_MARKS] };
		f->node_of[i] = gd_tuples_keep(&f->nodes, folded);
	}
}

static void fold_rows(struct folding *f, uint32_t type)
{
	const struct gd_flame *flame = f->flame;
	for (uint32_t i = 0; i < flame->rows.n; i++) {
		const uint64_t *row = gd_tuples_at(&flame->rows, i);
		const uint64_t *thread =
			gd_tuples_at(&flame->threads, (uint32_t)row[GD_FLAME_ROW_THREAD]);
		uint64_t line[] = { f->node_of[row[GD_FLAME_ROW_NODE]], row[GD_FLAME_ROW_CLASS],
			            thread[GD_FLAME_THREAD_NAME] };
		int64_t *value = &f->values[gd_tuples_keep(&f->lines, line)];
		if (__builtin_add_overflow(*value, flame->values[(size_t)i * flame->n_types + type],
		                           value))
			*value = INT64_MAX;
		f->by_class |= line[1] != 0;
		f->by_thread |= line[2] != 0;
	}
}

static void put_name(const char *name, struct gd_buf *out)
{
	gd_text_put_folded(out, name, strlen(name));
}

static void put_line(struct folding *f, const uint64_t *line, int64_t value, struct gd_buf *out)
{
	const struct gd_flame *flame = f->flame;
	size_t n = 0;
	if (f->by_class) {
		uint64_t class = *gd_tuples_at(&flame->classes, (uint32_t)line[1]);
		put_name(class != 0 ? gd_flame_text(flame, class) : "[unknown]", out);
		gd_buf_putc(out, ';');
	}
	if (f->by_thread) {
		put_name(line[2] != 0 ? gd_flame_text(flame, line[2]) : "[unknown]", out);
		gd_buf_putc(out, ';');
	}
	for (uint32_t node = (uint32_t)line[0]; node != 0;
	     node = (uint32_t)gd_tuples_at(&f->nodes, node)[0])
		f->path[n++] = node;
	while (n-- > 0) {
		const uint64_t *node = gd_tuples_at(&f->nodes, f->path[n]);
		put_name(gd_flame_text(flame, node[1]), out);
		gd_buf_puts(out, (node[2] & GD_FLAME_KERNEL) != 0    ? "_[k]"
		                 : (node[2] & GD_FLAME_INLINED) != 0 ? "_[i]"
		                                                     : "");
		gd_buf_putc(out, n > 0 ? ';' : ' ');
	}
	gd_buf_printf(out, "%" PRId64 "\n", value);
}

int gd_flame_folded(const struct gd_flame *flame, uint32_t type, FILE *out, struct gd_error *err)
{
	GD_CLEANUP(end_folding) struct folding f = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(LINE_MAX_BYTES);
	uint64_t all = 0;
	int r = begin_folding(&f, flame, err);
	if (r < 0)
		return r;
	fold_nodes(&f);
	fold_rows(&f, type);
	r = gd_tuples_check(&f.nodes, "nodes", err);
	if (r == 0)
		r = gd_tuples_check(&f.lines, "stacks", err);
	for (uint32_t i = 0; r == 0 && i < f.lines.n; i++) {
		const uint64_t *line = gd_tuples_at(&f.lines, i);
		if (f.values[i] <= 0 || line[0] == 0)
			continue;
		gd_buf_reset(&text);
		put_line(&f, line, f.values[i], &text);
		r = gd_buf_check(&text, "a folded stack", err);
		all += text.len;
		if (r == 0 && all > ALL_MAX_BYTES)
			r = gd_fail(err, -E2BIG, "more than 1 GiB of folded stacks");
		if (r == 0)
			(void)fwrite(text.data, 1, text.len, out);
	}
	return r;
}
