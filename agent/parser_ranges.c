/*
 * What a thin image leaves out is what nobody needs for backtraces and counters: the objects of the
 * program.  Which ones the runtime's own are (goroutines, Ms, Ps, what they wait for) is not told by any
 * list; but the collectors read them all, so they run once for nothing, and the pages they touched
 * stay.
 *
 * Of a process this is true for a moment only: an object's span may be a stack's by the time of the image.
 * So before the image only large runs of a large heap are left out, for the time they would take to
 * copy; what is left out of the core is asked again, of the image itself, and exact.
 */
#include "agent/parser_ranges.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "golang/scheduler.h"
#include "golang/spans.h"
#include "target/touched.h"

#define PAGE 4096u
/* Of a running process: heaps below this are copied whole, and runs shorter than that always. */
#define LARGE_HEAP (UINT64_C(64) << 20)
#define LONG_RUN (UINT64_C(128) << 10)
/* Of a native process: smaller mappings are not worth a question. */
#define LARGE_MAP (UINT64_C(1) << 20)
/* What a record of the runtime's has at most: the table's largest is m with 2 KiB. */
#define RECORD_MAX 8192u

/* ---- a sink for nothing ----------------------------------------------------------------------- */

static int swallow(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	(void)stream;
	(void)bytes;
	(void)n;
	(void)err;
	return 0;
}

static int end_nothing(struct gd_stream *stream, const struct gd_outcome *outcome,
                       struct gd_error *err)
{
	(void)stream;
	(void)outcome;
	(void)err;
	return 0;
}

static int open_nothing(struct gd_sink *sink, const struct gd_artifact *artifact,
                        struct gd_stream **ret, struct gd_error *err)
{
	static struct gd_stream stream = { .write = swallow, .close = end_nothing };
	(void)sink;
	(void)artifact;
	(void)err;
	*ret = &stream;
	return 0;
}

static int nothing_absent(struct gd_sink *sink, const struct gd_artifact *artifact,
                          const struct gd_outcome *outcome, struct gd_error *err)
{
	(void)sink;
	(void)artifact;
	(void)outcome;
	(void)err;
	return 0;
}

/* ---- ranges ------------------------------------------------------------------------------------ */

static int push(void *arg, uint64_t start, uint64_t end)
{
	struct gd_ranges *to = arg;
	/* A gap that is left out of the list is memory that is kept. */
	if (to->n == GD_RANGES_MAX)
		return 0;
	if (to->n % 1024 == 0) {
		struct gd_range *all = reallocarray(to->list, to->n + 1024, sizeof(*all));
		if (all == NULL)
			return -ENOMEM;
		to->list = all;
	}
	to->list[to->n++] = (struct gd_range){ start, end };
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct gd_range *x = a;
	const struct gd_range *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

/* ---- a Go process ------------------------------------------------------------------------------ */

/* Debuggers read records whole of which collectors want a few fields. */
static void touch_records(struct gd_go *go)
{
	GD_SCHEDULER struct gd_scheduler s = { 0 };
	uint8_t record[RECORD_MAX];
	if (go->layout.m_size <= 0 || (size_t)go->layout.m_size > sizeof(record) ||
	    gd_scheduler_read(go, &s, NULL) < 0)
		return;
	for (size_t i = 0; i < s.n_ms; i++)
		(void)gd_memory_read_some(go->memory, s.ms[i].addr, record,
		                          (size_t)go->layout.m_size);
}

static void run_collectors(struct gd_collect *c)
{
	struct gd_sink nothing = { .open = open_nothing, .absent = nothing_absent };
	struct gd_collect all = *c;
	all.sink = &nothing;
	for (size_t i = 0; gd_collectors[i] != NULL; i++)
		if (gd_collectors[i]->needs_go)
			(void)gd_collectors[i]->collect(&all);
	touch_records(c->go);
}

static int push_long(void *arg, uint64_t start, uint64_t end)
{
	return end - start >= LONG_RUN ? push(arg, start, end) : 0;
}

static int put_untouched(const struct gd_spans *spans, const struct gd_touched *touched,
                         bool live, struct gd_ranges *to)
{
	int r = 0;
	if (live && spans->object_bytes < LARGE_HEAP)
		return 0;
	for (size_t i = 0; i < spans->n && r == 0; i++) {
		uint64_t start = spans->list[i].start;
		/* With pointers or without: neighbours are one run. */
		while (i + 1 < spans->n && spans->list[i + 1].start == spans->list[i].end)
			i++;
		r = gd_touched_gaps(touched, start, spans->list[i].end, live ? push_long : push,
		                    to);
	}
	return r;
}

static int skip_go(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err)
{
	GD_CLEANUP(gd_spans_deinit) struct gd_spans spans = { 0 };
	GD_CLEANUP(gd_touched_deinit) struct gd_touched touched = GD_TOUCHED_INIT;
	gd_touched_begin(&touched, c->target->memory);
	run_collectors(c);
	int r = gd_spans_read(c->go, &spans, err);
	gd_touched_end(&touched);
	if (r < 0)
		return r;
	if (touched.failed != 0)
		return gd_fail_errno(err, touched.failed, "pages that were read");
	r = put_untouched(&spans, &touched, c->image == NULL, ret);
	return r < 0 ? gd_fail_errno(err, r, "ranges") : 0;
}

/* ---- any other --------------------------------------------------------------------------------- */

struct stacks {
	uint64_t *pointers;
	size_t n;
};

/* "202 0x.. 6 arguments sp pc", or "running": then it is not known. */
static bool read_pointer(struct gd_target *target, pid_t tid, uint64_t *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	char path[40];
	(void)snprintf(path, sizeof(path), "task/%d/syscall", tid);
	if (gd_target_read_file(target, path, &text, NULL) < 0)
		return false;
	const char *last = strrchr(gd_buf_str(&text), ' ');
	while (last != NULL && last > text.data && last[-1] != ' ')
		last--;
	return last != NULL && strncmp(last, "0x", 2) == 0 && gd_text_u64(last + 2, NULL, 16, ret);
}

static void read_pointers(struct gd_target *target, struct stacks *to)
{
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	if (gd_target_threads(target, &tids, &n, NULL) < 0)
		return;
	to->pointers = calloc(n + 1, sizeof(*to->pointers));
	for (size_t i = 0; i < n && to->pointers != NULL; i++)
		to->n += read_pointer(target, tids[i], &to->pointers[to->n]);
}

static bool holds_stack(const struct gd_map *map, const struct stacks *stacks)
{
	for (size_t i = 0; i < stacks->n; i++)
		if (stacks->pointers[i] >= map->start && stacks->pointers[i] < map->end)
			return true;
	return false;
}

/* Where a thread may have its stack: it holds a stack pointer, or lies behind a guard page. */
static bool may_be_stack(const struct gd_maps *maps, size_t i, const struct stacks *stacks)
{
	const struct gd_map *map = &maps->list[i];
	bool behind_guard = i > 0 && maps->list[i - 1].end == map->start &&
	                    !maps->list[i - 1].read && !maps->list[i - 1].write;
	return behind_guard || holds_stack(map, stacks);
}

static int skip_native(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err)
{
	const struct gd_maps *maps = &c->target->maps;
	struct stacks stacks = { 0 };
	int r = 0;
	read_pointers(c->target, &stacks);
	for (size_t i = 0; i < maps->n && r == 0; i++) {
		const struct gd_map *map = &maps->list[i];
		bool heap = strcmp(map->path, "[heap]") == 0;
		bool anonymous = map->inode == 0 && (map->path[0] == '\0' ||
		                                     strncmp(map->path, "[anon", 5) == 0);
		if (!map->write || map->shared || (!heap && !anonymous) ||
		    (!heap && (map->end - map->start < LARGE_MAP || may_be_stack(maps, i, &stacks))))
			continue;
		r = push(ret, map->start, map->end);
	}
	free(stacks.pointers);
	return r < 0 ? gd_fail_errno(err, r, "ranges") : 0;
}

int gd_parser_ranges_skip(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err)
{
	if (c->target->memory == NULL)
		return gd_fail(err, -EACCES, "its memory cannot be read");
	int r = c->go != NULL ? skip_go(c, ret, err) : skip_native(c, ret, err);
	if (r == 0 && ret->n > 1)
		qsort(ret->list, ret->n, sizeof(*ret->list), by_start);
	return r;
}

int gd_parser_ranges_noscan(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err)
{
	GD_CLEANUP(gd_spans_deinit) struct gd_spans spans = { 0 };
	if (c->go == NULL)
		return gd_fail(err, -ENOENT, "no Go runtime tells which objects have no pointers: %s",
		               c->go_error.msg);
	int r = gd_spans_read(c->go, &spans, err);
	for (size_t i = 0; i < spans.n && r == 0; i++)
		if (spans.list[i].noscan)
			r = push(ret, spans.list[i].start, spans.list[i].end);
	if (r == 0 && ret->n == GD_RANGES_MAX)
		r = gd_fail(err, -E2BIG, "more than %u ranges", GD_RANGES_MAX);
	return r;
}
