#include "collectors/goroutines_lines.h"

#include <string.h>

#include "base/json.h"
#include "golang/funcname.h"

enum {
	STACKS_MAX = 1 << 15,
	STACKS_BYTES_MAX = 8 << 20,
	KEY_BYTES_MAX = (GD_FRAMES_MAX + 2) * 8,
};

int gd_goroutines_lines_init(struct gd_goroutines_lines *lines, int minor, struct gd_error *err)
{
	*lines = (struct gd_goroutines_lines){ .minor = minor,
		                               .key = GD_BUF_INIT(KEY_BYTES_MAX) };
	return gd_known_create(STACKS_MAX, STACKS_BYTES_MAX, &lines->stacks, err);
}

void gd_goroutines_lines_deinit(struct gd_goroutines_lines *lines)
{
	gd_known_destroy(lines->stacks);
	gd_buf_deinit(&lines->key);
}

static void put_function(int minor, struct gd_json *json, const char *key, const char *function)
{
	GD_BUF struct gd_buf name = GD_BUF_INIT(1 << 16);
	gd_funcname_put_raw(minor, function, &name);
	gd_json_bytes(json, key, name.data, name.len);
}

static void put_frame(int minor, struct gd_json *json, const struct gd_frame *frame)
{
	const struct gd_site *site = frame->site;
	for (unsigned i = 0; i < site->n_lines; i++) {
		const struct gd_line *line = &site->lines[i];
		gd_json_object(json, NULL);
		put_function(minor, json, "function", line->function);
		gd_json_string(json, "file", line->file);
		gd_json_i64(json, "line", line->line);
		gd_json_hex(json, "pc", frame->pc);
		if (i + 1 < site->n_lines)
			gd_json_bool(json, "inlined", true);
		gd_json_object_end(json);
	}
}

static void put_stack(int minor, uint64_t number, const struct gd_goroutine *g,
                      struct gd_buf *out)
{
	struct gd_json json = GD_JSON_INIT(out);
	gd_json_object(&json, NULL);
	gd_json_u64(&json, "stack", number);
	gd_json_array(&json, "frames");
	for (size_t i = 0; i < g->n_frames; i++) {
		if (i == g->n_inner && g->elided > 0) {
			gd_json_object(&json, NULL);
			gd_json_u64(&json, "elided", g->elided);
			gd_json_object_end(&json);
		}
		put_frame(minor, &json, &g->frames[i]);
	}
	gd_json_array_end(&json);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

/* The number of its stack, 0 when it has none. */
static uint64_t number_of(struct gd_goroutines_lines *lines, const struct gd_goroutine *g,
                          struct gd_buf *out)
{
	if (g->n_frames == 0)
		return 0;
	gd_buf_reset(&lines->key);
	char *to = gd_buf_reserve(&lines->key, (g->n_frames + 1) * 8);
	if (to == NULL) {
		out->failed = lines->key.failed;
		return 0;
	}
	for (size_t i = 0; i < g->n_frames; i++) {
		uint64_t word = g->frames[i].pc << 1 | g->frames[i].exact;
		memcpy(to + i * 8, &word, 8);
	}
	memcpy(to + g->n_frames * 8, &g->elided, 8);
	uint64_t *number = gd_known_slot(lines->stacks, to, (g->n_frames + 1) * 8);
	if (number == NULL || *number == 0) {
		put_stack(lines->minor, ++lines->n_stacks, g, out);
		if (number == NULL)
			return lines->n_stacks;
		*number = lines->n_stacks;
	}
	return *number;
}

static const char *frames_name(enum gd_goroutine_frames frames)
{
	switch (frames) {
	case GD_FRAMES_EXACT:
		break;
	case GD_FRAMES_APPROXIMATE:
		return "approximate";
	case GD_FRAMES_NONE:
		return "unavailable";
	case GD_FRAMES_TORN:
		return "torn";
	}
	return "exact";
}

static void put_creator(int minor, struct gd_json *json, const struct gd_goroutine *g)
{
	if (g->creator == NULL || g->goid == 1) /* the runtime's start-up code: says nothing */
		return;
	put_function(minor, json, "created_by",
	             g->creator->lines[g->creator->n_lines - 1].function);
	gd_json_string(json, "created_file", g->creator->lines[0].file);
	gd_json_i64(json, "created_line", g->creator->lines[0].line);
}

static void put_labels(struct gd_json *json, const struct gd_goroutine *g)
{
	if (g->labels_error != NULL)
		gd_json_string(json, "labels_error", g->labels_error->msg);
	if (g->labels == NULL || g->labels->n == 0)
		return;
	gd_json_object(json, "labels");
	for (size_t i = 0; i < g->labels->n; i++) {
		const struct gd_labels_pair *pair = &g->labels->pairs[i];
		char key[256]; /* the JSON writer wants a terminated key */
		size_t n = pair->key_len < sizeof(key) ? pair->key_len : sizeof(key) - 1;
		memcpy(key, pair->key, n);
		key[n] = '\0';
		gd_json_bytes(json, key, pair->value, pair->value_len);
	}
	gd_json_object_end(json);
	if (g->labels->cut)
		gd_json_bool(json, "labels_cut", true);
}

void gd_goroutines_lines_put(struct gd_goroutines_lines *lines, const struct gd_goroutine *g,
                             struct gd_buf *out)
{
	uint64_t stack = number_of(lines, g, out);
	struct gd_json json = GD_JSON_INIT(out);
	gd_json_object(&json, NULL);
	gd_json_u64(&json, "goid", g->goid);
	gd_json_string(&json, "state", gd_goroutine_status_name(g->status));
	if (g->reason != NULL)
		gd_json_string(&json, "reason", g->reason);
	if (g->wait_ns > 0)
		gd_json_i64(&json, "wait_ns", g->wait_ns);
	if (stack != 0)
		gd_json_u64(&json, "stack", stack);
	if (g->frames_are != GD_FRAMES_EXACT)
		gd_json_string(&json, "frames", frames_name(g->frames_are));
	if (g->frames_are == GD_FRAMES_TORN)
		gd_json_string(&json, "end", gd_unwind_end_name(g->end));
	put_creator(lines->minor, &json, g);
	if (g->parent_goid != 0)
		gd_json_u64(&json, "parent", g->parent_goid);
	if (g->tid != 0)
		gd_json_u64(&json, "tid", g->tid);
	if (g->locked)
		gd_json_bool(&json, "locked", true);
	if (g->system)
		gd_json_bool(&json, "system", true);
	if (g->scan)
		gd_json_bool(&json, "scan", true);
	put_labels(&json, g);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}
