#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "report/flame.h"

#define JSON_MAX (512U << 20)

/* The rows in the order they are written: a profile per thread, the busiest first. */
struct order {
	uint32_t row, thread;
	int64_t of_thread; /* what all rows of that thread come to */
};

static int by_thread(const void *a, const void *b)
{
	const struct order *x = a;
	const struct order *y = b;
	if (x->of_thread != y->of_thread)
		return x->of_thread > y->of_thread ? -1 : 1;
	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int sort_rows(const struct gd_flame *f, uint32_t type, struct order **ret, size_t *ret_n,
                     struct gd_error *err)
{
	GD_FREE int64_t *sums = calloc(f->threads.n, sizeof(*sums));
	struct order *list = calloc((size_t)f->rows.n + 1, sizeof(*list));
	size_t n = 0;
	if (sums == NULL || list == NULL) {
		free(list);
		return gd_fail_errno(err, -ENOMEM, "speedscope");
	}
	for (uint32_t i = 0; i < f->rows.n; i++) {
		int64_t value = f->values[(size_t)i * f->n_types + type];
		const uint64_t *row = gd_tuples_at(&f->rows, i);
		if (value <= 0 || row[GD_FLAME_ROW_NODE] == 0)
			continue;
		list[n] = (struct order){ .row = i, .thread = (uint32_t)row[GD_FLAME_ROW_THREAD] };
		sums[list[n].thread] = plus(sums[list[n].thread], value);
		n++;
	}
	for (size_t i = 0; i < n; i++)
		list[i].of_thread = sums[list[i].thread];
	qsort(list, n, sizeof(*list), by_thread);
	*ret = list;
	*ret_n = n;
	return 0;
}

static void put_frames(const struct gd_flame *f, struct gd_json *json)
{
	gd_json_object(json, "shared");
	gd_json_array(json, "frames");
	for (uint32_t i = 0; i < f->frames.n; i++) {
		const uint64_t *frame = gd_tuples_at(&f->frames, i);
		gd_json_object(json, NULL);
		gd_json_string(json, "name", gd_flame_text(f, frame[GD_FLAME_FRAME_NAME]));
		if (frame[GD_FLAME_FRAME_FILE] != 0)
			gd_json_string(json, "file", gd_flame_text(f, frame[GD_FLAME_FRAME_FILE]));
		if (frame[GD_FLAME_FRAME_LINE] != 0)
			gd_json_u64(json, "line", frame[GD_FLAME_FRAME_LINE]);
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
	gd_json_object_end(json);
}

/* Outermost first, as the format wants it. */
static void put_stack(const struct gd_flame *f, uint64_t node, uint32_t *path,
                      struct gd_json *json)
{
	size_t n = 0;
	for (; node != 0; node = gd_tuples_at(&f->nodes, (uint32_t)node)[GD_FLAME_NODE_PARENT])
		path[n++] = (uint32_t)gd_tuples_at(&f->nodes, (uint32_t)node)[GD_FLAME_NODE_FRAME];
	gd_json_array(json, NULL);
	while (n-- > 0)
		gd_json_u64(json, NULL, path[n]);
	gd_json_array_end(json);
}

static const char *unit_of(const struct gd_flame *f, uint32_t type)
{
	static const char *const known[] = { "nanoseconds", "microseconds", "milliseconds",
		                             "seconds", "bytes" };
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(f->types[type].unit, known[i]) == 0)
			return known[i];
	return "none";
}

/* Rows [0, n) of one thread. */
static void put_profile(const struct gd_flame *f, uint32_t type, const struct order *rows, size_t n,
                        uint32_t *path, struct gd_json *json)
{
	GD_BUF struct gd_buf name = GD_BUF_INIT(64U << 10);
	gd_flame_put_thread(f, rows->thread, &name);
	if (name.len == 0)
		gd_buf_puts(&name, f->types[type].type);
	if (name.failed != 0)
		json->out->failed = name.failed;
	gd_json_object(json, NULL);
	gd_json_string(json, "type", "sampled");
	gd_json_string(json, "name", gd_buf_str(&name));
	gd_json_string(json, "unit", unit_of(f, type));
	gd_json_i64(json, "startValue", 0);
	gd_json_i64(json, "endValue", rows->of_thread);
	gd_json_array(json, "samples");
	for (size_t i = 0; i < n; i++)
		put_stack(f, gd_tuples_at(&f->rows, rows[i].row)[GD_FLAME_ROW_NODE], path, json);
	gd_json_array_end(json);
	gd_json_array(json, "weights");
	for (size_t i = 0; i < n; i++)
		gd_json_i64(json, NULL, f->values[(size_t)rows[i].row * f->n_types + type]);
	gd_json_array_end(json);
	gd_json_object_end(json);
}

int gd_flame_speedscope(const struct gd_flame *f, uint32_t type, const char *title, FILE *out,
                        struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(JSON_MAX);
	GD_FREE struct order *rows = NULL;
	GD_FREE uint32_t *path = calloc(f->nodes.n, sizeof(*path));
	struct gd_json json = GD_JSON_INIT(&text);
	size_t n = 0;
	if (path == NULL)
		return gd_fail_errno(err, -ENOMEM, "speedscope");
	int r = sort_rows(f, type, &rows, &n, err);
	if (r < 0)
		return r;
	gd_json_object(&json, NULL);
	gd_json_string(&json, "$schema", "https://www.speedscope.app/file-format-schema.json");
	gd_json_string(&json, "name", title);
	gd_json_string(&json, "exporter", "godiag " GD_VERSION);
	gd_json_i64(&json, "activeProfileIndex", 0);
	put_frames(f, &json);
	gd_json_array(&json, "profiles");
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && rows[to].thread == rows[from].thread;)
			to++;
		put_profile(f, type, rows + from, to - from, path, &json);
	}
	gd_json_array_end(&json);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	r = gd_buf_check(&text, "speedscope", err);
	if (r == 0)
		(void)fwrite(text.data, 1, text.len, out);
	return r;
}
