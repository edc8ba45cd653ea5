#include "report/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/scan.h"
#include "report/stacks.h"
#include "report/words.h"
#include "report/instant.h"

#define LINE_BYTES_MAX (8U << 20) /* a stack of 512 frames takes some 100 KiB */
#define WORDS_BYTES_MAX (32U << 20)
#define GROUPS_MAX (1U << 16)

struct group {
	uint64_t count, goid;
	int64_t longest_ns;
	const char *created_by;
	uint32_t stack;
	uint8_t state;
};

struct gd_groups_work {
	struct gd_words *words;
	struct gd_stacks stacks;
	struct gd_buf carry; /* the line that the last piece began */
	bool overlong;       /* that line did not fit: pass over its rest */
	struct group *list;
	uint32_t n, cap;
	uint32_t *table; /* of 2 * cap: index + 1 by (stack, state) */
};

void gd_groups_deinit(struct gd_groups *groups)
{
	struct gd_groups_work *w = groups->work;
	if (w != NULL) {
		gd_stacks_deinit(&w->stacks);
		gd_words_destroy(w->words);
		gd_buf_deinit(&w->carry);
		free(w->list);
		free(w->table);
		free(w);
	}
	free(groups->list);
	*groups = (struct gd_groups){ 0 };
}

int gd_groups_begin(struct gd_groups *ret, struct gd_error *err)
{
	GD_CLEANUP(gd_groups_deinit) struct gd_groups groups = { 0 };
	struct gd_groups_work *w = groups.work = calloc(1, sizeof(*w));
	if (w == NULL)
		return gd_fail_errno(err, -ENOMEM, "goroutine groups");
	w->carry = GD_BUF_INIT(LINE_BYTES_MAX);
	int r = gd_words_create(WORDS_BYTES_MAX, &w->words, err);
	if (r == 0)
		r = gd_stacks_init(&w->stacks, w->words, err);
	if (r < 0)
		return r;
	*ret = groups;
	groups = (struct gd_groups){ 0 };
	return 0;
}

/* --- one line ------------------------------------------------------------------------------ */

struct line {
	int64_t goid, wait_ns, stack;
	uint32_t defined; /* the stack that this line's own frames are */
	struct gd_scan_text state, reason, created_by;
	bool has_goid, has_frames, system, torn;
};

static void read_frames(struct gd_groups_work *w, struct gd_scan *scan, struct line *line)
{
	if (gd_scan_peek(scan) == '[') {
		line->defined = gd_stacks_read(&w->stacks, scan);
		line->has_frames = true;
	} else {
		struct gd_scan_text frames = gd_scan_string(scan);
		line->torn = gd_scan_is(&frames, "torn");
	}
}

static bool read_line(struct gd_groups_work *w, const char *text, size_t n, struct line *line)
{
	struct gd_scan scan = gd_scan_of(text, n);
	struct gd_scan_text key;
	(void)gd_scan_object(&scan);
	while (gd_scan_key(&scan, &key)) {
		if (gd_scan_is(&key, "goid")) {
			line->goid = gd_scan_i64(&scan);
			line->has_goid = true;
		} else if (gd_scan_is(&key, "state")) {
			line->state = gd_scan_string(&scan);
		} else if (gd_scan_is(&key, "reason")) {
			line->reason = gd_scan_string(&scan);
		} else if (gd_scan_is(&key, "wait_ns")) {
			line->wait_ns = gd_scan_i64(&scan);
		} else if (gd_scan_is(&key, "stack")) {
			line->stack = gd_scan_i64(&scan);
		} else if (gd_scan_is(&key, "frames")) {
			read_frames(w, &scan, line);
		} else if (gd_scan_is(&key, "created_by") && gd_scan_peek(&scan) == '"') {
			line->created_by = gd_scan_string(&scan);
		} else if (gd_scan_is(&key, "system")) {
			line->system = gd_scan_bool(&scan);
		} else {
			gd_scan_skip(&scan);
		}
	}
	return !scan.bad;
}

/* The index of the state's row; the last row takes what does not fit. */
static uint8_t state_of(struct gd_groups *g, const struct line *line)
{
	bool waiting = line->reason.n > 0;
	const struct gd_scan_text *text = waiting ? &line->reason : &line->state;
	char name[sizeof(g->states[0].name)];
	size_t n = text->n < sizeof(name) ? text->n : sizeof(name) - 1;
	if (n > 0)
		memcpy(name, text->at, n);
	name[n] = '\0';
	size_t i = 0;
	while (i < g->n_states && strcmp(g->states[i].name, name) != 0)
		i++;
	if (i == GD_GROUP_STATES)
		return GD_GROUP_STATES - 1;
	if (i == g->n_states) {
		memcpy(g->states[i].name, name, n + 1);
		g->states[i].waiting = waiting || strcmp(name, "waiting") == 0;
		g->n_states++;
	}
	return (uint8_t)i;
}

static uint32_t *slot_of(const struct gd_groups_work *w, uint32_t stack, uint8_t state)
{
	uint64_t key = ((uint64_t)stack << 8 | state) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(key >> 40) & (2 * w->cap - 1);
	for (; w->table[at] != 0; at = (at + 1) & (2 * w->cap - 1)) {
		const struct group *group = &w->list[w->table[at] - 1];
		if (group->stack == stack && group->state == state)
			break;
	}
	return &w->table[at];
}

/* Twice the room, up to the ceiling; the table is built anew. */
static int grow(struct gd_groups_work *w)
{
	uint32_t cap = w->cap > 0 ? 2 * w->cap : 256;
	if (cap > GROUPS_MAX)
		return -E2BIG;
	struct group *list = realloc(w->list, cap * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	w->list = list;
	uint32_t *table = calloc(2 * (size_t)cap, sizeof(*table));
	if (table == NULL)
		return -ENOMEM;
	free(w->table);
	w->table = table;
	w->cap = cap;
	for (uint32_t i = 0; i < w->n; i++)
		*slot_of(w, w->list[i].stack, w->list[i].state) = i + 1;
	return 0;
}

/* NULL: there is no room for one more. */
static struct group *group_of(struct gd_groups_work *w, uint32_t stack, uint8_t state)
{
	uint32_t known = w->cap > 0 ? *slot_of(w, stack, state) : 0;
	if (known != 0)
		return &w->list[known - 1];
	if (w->n == w->cap && grow(w) < 0)
		return NULL;
	struct group *group = &w->list[w->n++];
	*group = (struct group){ .stack = stack, .state = state };
	*slot_of(w, stack, state) = w->n;
	return group;
}

static void add_goroutine(struct gd_groups *g, const struct line *line)
{
	struct gd_groups_work *w = g->work;
	if (line->system) {
		g->system++;
		return;
	}
	uint32_t stack = line->has_frames ? line->defined
	                                  : gd_stacks_by_number(&w->stacks, line->stack);
	uint8_t state = state_of(g, line);
	struct group *group = group_of(w, stack, state);
	g->total++;
	g->torn += line->torn;
	g->ungrouped += stack == 0 || group == NULL;
	g->states[state].count++;
	if (line->wait_ns > g->states[state].longest_ns)
		g->states[state].longest_ns = line->wait_ns;
	if (group == NULL)
		return;
	if (group->count++ == 0) {
		group->goid = (uint64_t)line->goid;
		group->created_by = gd_words_keep(w->words, line->created_by.at != NULL
		                                                    ? line->created_by.at : "",
		                                  line->created_by.n);
	}
	if (line->wait_ns > group->longest_ns)
		group->longest_ns = line->wait_ns;
}

static void take_line(struct gd_groups *g, const char *text, size_t n)
{
	struct line line = { 0 };
	if (n == 0)
		return;
	if (!read_line(g->work, text, n, &line) || (!line.has_goid && !line.has_frames))
		g->unreadable++;
	else if (line.has_goid)
		add_goroutine(g, &line);
	else
		gd_stacks_number(&g->work->stacks, line.stack, line.defined);
}

/* --- the stream ---------------------------------------------------------------------------- */

/* The line goes on in the next piece. */
static int carry(struct gd_groups *g, const char *bytes, size_t n, struct gd_error *err)
{
	struct gd_buf *buf = &g->work->carry;
	if (g->work->overlong)
		return 0;
	if (n > buf->ceiling - buf->len) {
		g->work->overlong = true;
		gd_buf_reset(buf);
		return 0;
	}
	gd_buf_append(buf, bytes, n);
	return gd_buf_check(buf, "goroutines.jsonl", err);
}

static int end_line(struct gd_groups *g, const char *bytes, size_t n, struct gd_error *err)
{
	struct gd_groups_work *w = g->work;
	if (w->carry.len == 0 && !w->overlong) {
		take_line(g, bytes, n);
		return 0;
	}
	int r = carry(g, bytes, n, err);
	if (r < 0)
		return r;
	if (w->overlong)
		g->unreadable++;
	else
		take_line(g, w->carry.data, w->carry.len);
	w->overlong = false;
	gd_buf_reset(&w->carry);
	return 0;
}

int gd_groups_feed(struct gd_groups *g, const void *bytes, size_t n, struct gd_error *err)
{
	const char *p = bytes;
	const char *end = p + n;
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		int r = newline != NULL ? end_line(g, p, (size_t)(newline - p), err)
		                        : carry(g, p, (size_t)(end - p), err);
		if (r < 0)
			return r;
		p = newline != NULL ? newline + 1 : end;
	}
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct gd_group *x = a;
	const struct gd_group *y = b;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	if (x->longest_ns != y->longest_ns)
		return x->longest_ns > y->longest_ns ? -1 : 1;
	return x->goid < y->goid ? -1 : x->goid > y->goid;
}

static int states_by_count(const void *a, const void *b)
{
	const struct gd_group_state *x = a;
	const struct gd_group_state *y = b;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The groups in the form that readers want; their states are copied before the table is sorted. */
static int fill_list(struct gd_groups *g, struct gd_error *err)
{
	struct gd_groups_work *w = g->work;
	g->list = calloc((size_t)w->n + 1, sizeof(*g->list));
	if (g->list == NULL)
		return gd_fail_errno(err, -ENOMEM, "goroutine groups");
	for (uint32_t i = 0; i < w->n; i++) {
		const struct group *from = &w->list[i];
		const struct gd_stack *stack = &w->stacks.list[from->stack];
		const struct gd_group_state *state = &g->states[from->state];
		struct gd_group *to = &g->list[g->n++];
		*to = (struct gd_group){ .count = from->count, .goid = from->goid,
			                 .longest_ns = from->longest_ns, .own = stack->own,
			                 .waiting = state->waiting, .depth = stack->depth,
			                 .n_frames = stack->n_frames };
		memcpy(to->frames, stack->frames, sizeof(to->frames));
		to->via = stack->via != NULL ? stack->via : "";
		to->created_by = from->created_by != NULL ? from->created_by : "";
		to->state = gd_words_keep(w->words, state->name, strlen(state->name));
		if (to->state == NULL)
			to->state = "";
	}
	return 0;
}

int gd_groups_end(struct gd_groups *g, struct gd_error *err)
{
	int r = end_line(g, "", 0, err);
	if (r == 0)
		r = fill_list(g, err);
	if (r < 0)
		return r;
	qsort(g->list, g->n, sizeof(*g->list), by_count);
	qsort(g->states, g->n_states, sizeof(*g->states), states_by_count);
	return 0;
}

struct feeding {
	struct gd_groups *groups;
	struct gd_error error;
};

static int feed(void *arg, const void *bytes, size_t n)
{
	struct feeding *f = arg;
	return gd_groups_feed(f->groups, bytes, n, &f->error);
}

int gd_groups_read(const struct gd_reader *reader, struct gd_groups *ret, struct gd_error *err)
{
	char name[208];
	const struct gd_artifact_row *row = gd_reader_artifact(
		reader, gd_instant_name(reader, "goroutines.jsonl", name));
	if (row == NULL || row->digest[0] == '\0')
		return gd_fail(err, -ENOENT, "no goroutines.jsonl");
	GD_CLEANUP(gd_groups_deinit) struct gd_groups groups = { 0 };
	struct feeding feeding = { .groups = &groups };
	int r = gd_groups_begin(&groups, err);
	if (r < 0)
		return r;
	r = gd_reader_content(reader, row, feed, &feeding, err);
	if (feeding.error.code != 0)
		return gd_fail(err, feeding.error.code, "%s", feeding.error.msg);
	if (r < 0 && r != -EBADMSG)
		return r;
	r = gd_groups_end(&groups, err);
	if (r < 0)
		return r;
	*ret = groups;
	groups = (struct gd_groups){ 0 };
	return 0;
}
