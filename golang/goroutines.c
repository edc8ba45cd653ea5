/*
 * allgs is read in pieces.  For each batch: all g of it, then the used part of their stacks, then
 * all g again, each with few large reads in address order; then every goroutine in its own order.
 * Who changed in between, or does not unwind, is read again alone, where nothing lies between the
 * reads.
 */
#include "golang/goroutines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/frames.h"
#include "golang/gather.h"
#include "golang/grecord.h"

enum {
	BATCH = 4096,
	STACKS_BYTES = 8 << 20,  /* copies of stacks of one slice of a batch */
	SCRATCH_BYTES = 1 << 20,
	GAP_BYTES = 2048,        /* between two g that are read together */
	STACK_GAP_BYTES = 1024,
	TRIES = 3,
	GOROUTINES_MAX = 64 << 20,
};

struct walk {
	struct gd_go *go;
	const struct gd_walk_options *options;
	int (*each)(void *arg, const struct gd_goroutine *goroutine);
	void *arg;
	struct gd_walk_stats *stats;
	size_t g_bytes;
	struct gd_frames *frames;
	struct gd_labels labels;
	struct gd_error labels_error;
	uint64_t labels_addr; /* whose labels are at hand */
	/* The batch. */
	uint64_t *addrs;
	size_t n;
	uint8_t *raw;              /* n times GD_GRECORD_BYTES_MAX */
	struct gd_grecord *records;
	struct item *items;
	struct gd_piece *pieces;
	uint8_t *stacks, *scratch;
};

/* What is known of one goroutine of the batch besides its record. */
struct item {
	bool readable, changed;
	uint32_t stack_at, stack_len; /* its copy in stacks; len 0: none */
};

static bool cancelled(const struct walk *w)
{
	return w->options->cancelled != NULL && *w->options->cancelled != 0;
}

static bool in_use(const struct gd_grecord *g)
{
	uint32_t status = g->status & ~(uint32_t)GD_G_SCAN;
	return status != GD_G_IDLE && status != GD_G_DEAD && status != GD_G_DEAD_EXTRA;
}

/* ---- reading a batch ------------------------------------------------------------------------ */

static void read_records(struct walk *w, size_t from, size_t to)
{
	size_t n = 0;
	for (size_t i = from; i < to; i++)
		w->pieces[n++] = (struct gd_piece){
			.addr = w->addrs[i],
			.len = (uint32_t)w->g_bytes,
			.to = w->raw + i * GD_GRECORD_BYTES_MAX,
		};
	gd_gather(w->go->memory, w->pieces, n, GAP_BYTES, w->scratch, SCRATCH_BYTES);
	for (size_t i = 0; i < n; i++) {
		size_t at = (size_t)(w->pieces[i].to - w->raw) / GD_GRECORD_BYTES_MAX;
		w->items[at].readable = w->pieces[i].got == w->g_bytes;
	}
}

/* Copies stacks of goroutines from `from` on while there is room; returns the first not done. */
static size_t read_stacks(struct walk *w, size_t from)
{
	size_t used = 0, n = 0, i = from;
	for (; i < w->n; i++) {
		struct item *item = &w->items[i];
		item->stack_len = 0;
		if (!item->readable || !in_use(&w->records[i]))
			continue;
		struct gd_range part = gd_frames_used_stack(&w->records[i]);
		uint64_t len = part.end - part.start;
		if (len == 0 || len > GD_FRAMES_WHOLE_STACK_MAX)
			continue; /* none, or read through a window when it is its turn */
		if (len > STACKS_BYTES - used)
			break;
		item->stack_at = (uint32_t)used;
		item->stack_len = (uint32_t)len;
		w->pieces[n++] = (struct gd_piece){ .addr = part.start, .len = (uint32_t)len,
			                            .to = w->stacks + used };
		used += (len + 7) & ~(uint64_t)7;
	}
	size_t n_pieces = n;
	gd_gather(w->go->memory, w->pieces, n_pieces, STACK_GAP_BYTES, w->scratch, SCRATCH_BYTES);
	/* a stack with a hole was freed meanwhile: as good as changed */
	for (size_t k = 0; k < n_pieces; k++)
		if (w->pieces[k].got != w->pieces[k].len)
			memset(w->pieces[k].to + w->pieces[k].got, 0,
			       w->pieces[k].len - w->pieces[k].got);
	return i;
}

static void compare_records(struct walk *w, size_t from, size_t to)
{
	read_records(w, from, to);
	for (size_t i = from; i < to; i++) {
		struct gd_grecord now;
		gd_grecord_parse(&w->go->layout, w->raw + i * GD_GRECORD_BYTES_MAX, w->addrs[i],
		                 &now);
		w->items[i].changed = !w->items[i].readable ||
		                      !gd_grecord_same(&w->records[i], &now);
	}
}

/* ---- one goroutine -------------------------------------------------------------------------- */

static int read_record(struct walk *w, uint64_t addr, struct gd_grecord *ret)
{
	uint8_t bytes[GD_GRECORD_BYTES_MAX] = { 0 };
	int r = gd_memory_read(w->go->memory, addr, bytes, w->g_bytes, NULL);
	if (r == 0)
		gd_grecord_parse(&w->go->layout, bytes, addr, ret);
	return r;
}

/* Reads it again, alone: first g, then its stack, then g.  1 when it is whole. */
static int read_again(struct walk *w, struct gd_grecord *g, struct gd_goroutine *out)
{
	int r = read_record(w, g->addr, g);
	if (r < 0)
		return r;
	if (!in_use(g))
		return 1;
	gd_frames_unwind(w->frames, g, NULL, 0, out);
	struct gd_grecord now;
	r = read_record(w, g->addr, &now);
	if (r < 0)
		return r;
	return gd_grecord_same(g, &now) && out->frames_are != GD_FRAMES_TORN;
}

/* The thread's id, from its m. */
static uint64_t thread_of(struct walk *w, const struct gd_grecord *g)
{
	uint64_t m = g->m != 0 ? g->m : g->lockedm, tid = 0;
	if (m != 0 && w->go->layout.m_procid != GD_ABSENT)
		(void)gd_memory_read_u64(w->go->memory,
		                         m + (uint64_t)(int64_t)w->go->layout.m_procid, &tid,
		                         NULL);
	return tid <= INT32_MAX ? tid : 0;
}

static void read_labels(struct walk *w, const struct gd_grecord *g, struct gd_goroutine *out)
{
	out->labels = &w->labels;
	/* label sets are immutable, and neighbours often share one */
	if (g->labels != w->labels_addr || w->labels_error.code != 0) {
		w->labels_error = (struct gd_error){ 0 };
		w->labels_addr = g->labels;
		(void)gd_labels_read(w->go->memory, w->go->version.minor, g->labels, &w->labels,
		                     &w->labels_error);
	}
	if (w->labels_error.code != 0)
		out->labels_error = &w->labels_error;
}

static void describe(struct walk *w, const struct gd_grecord *g, struct gd_goroutine *out)
{
	uint32_t status = g->status & ~(uint32_t)GD_G_SCAN;
	out->addr = g->addr;
	out->goid = g->goid;
	out->parent_goid = g->parent_goid;
	out->status = (enum gd_goroutine_status)status;
	out->scan = (g->status & GD_G_SCAN) != 0;
	out->locked = g->lockedm != 0;
	out->tid = thread_of(w, g);
	out->gopc = g->gopc;
	out->startpc = g->startpc;
	out->stack_lo = g->stack_lo;
	out->stack_hi = g->stack_hi;
	if ((status == GD_G_WAITING || status == GD_G_LEAKED) && g->waitreason != 0 &&
	    g->waitreason < GD_WAIT_REASONS_MAX)
		out->reason = w->go->wait_reasons[g->waitreason];
	if ((status == GD_G_WAITING || status == GD_G_SYSCALL) && g->waitsince > 0 &&
	    w->options->now_ns > g->waitsince)
		out->wait_ns = w->options->now_ns - g->waitsince;
	read_labels(w, g, out);
}

static int hand_out(struct walk *w, const struct gd_grecord *g, struct gd_goroutine *out)
{
	struct gd_walk_stats *stats = w->stats;
	describe(w, g, out);
	stats->seen++;
	stats->frames += out->n_frames + out->elided;
	if (out->frames_are == GD_FRAMES_TORN)
		stats->incomplete++;
	else if (out->frames_are == GD_FRAMES_APPROXIMATE)
		stats->approximate++;
	else if (out->frames_are == GD_FRAMES_NONE)
		stats->unavailable++;
	return w->each(w->arg, out);
}

static int one(struct walk *w, size_t i)
{
	struct item *item = &w->items[i];
	struct gd_grecord *g = &w->records[i];
	struct gd_goroutine out = { 0 };
	bool whole = item->readable && !item->changed;
	if (whole && !in_use(g)) {
		w->stats->dead++;
		return 0;
	}
	if (whole) {
		gd_frames_unwind(w->frames, g, w->stacks + item->stack_at, item->stack_len, &out);
		whole = out.frames_are != GD_FRAMES_TORN;
	}
	if (!whole) {
		w->stats->torn++;
		int r = 0;
		for (int try = 0; try < TRIES && r == 0; try++) {
			out = (struct gd_goroutine){ 0 };
			r = read_again(w, g, &out);
		}
		if (r < 0) {
			w->stats->unreadable++;
			return r == -ESRCH ? r : 0;
		}
		w->stats->repeated += (uint64_t)r;
		if (r == 0)
			out.frames_are = GD_FRAMES_TORN;
		if (!in_use(g)) {
			w->stats->dead++;
			return 0;
		}
	}
	return hand_out(w, g, &out);
}

static int run_batch(struct walk *w, struct gd_error *err)
{
	read_records(w, 0, w->n);
	for (size_t i = 0; i < w->n; i++)
		gd_grecord_parse(&w->go->layout, w->raw + i * GD_GRECORD_BYTES_MAX, w->addrs[i],
		                 &w->records[i]);
	for (size_t from = 0; from < w->n;) {
		size_t to = read_stacks(w, from);
		compare_records(w, from, to);
		for (size_t i = from; i < to; i++) {
			if (cancelled(w)) {
				w->stats->cancelled = true;
				return 0;
			}
			int r = one(w, i);
			if (r == -ESRCH)
				return gd_fail_errno(err, r, "goroutines");
			if (r < 0)
				return r;
		}
		from = to;
	}
	return 0;
}

/* ---- allgs ---------------------------------------------------------------------------------- */

/*
 * The array moves when it grows, and its old place may be reused after that; an element never
 * moves within it.  So the header is read before and after each piece.
 */
static int read_addrs(struct walk *w, uint64_t first, size_t n, struct gd_error *err)
{
	for (int try = 0; try < TRIES; try++) {
		uint64_t array, again = 0;
		int r = gd_memory_read_u64(w->go->memory, w->go->globals.allgs, &array, err);
		if (r == 0)
			r = gd_memory_read(w->go->memory, array + first * 8, w->addrs, n * 8, err);
		if (r == 0)
			r = gd_memory_read_u64(w->go->memory, w->go->globals.allgs, &again, err);
		if (r < 0)
			return gd_error_wrap(err, r, "allgs");
		if (array == again) {
			w->n = n;
			return 0;
		}
	}
	return gd_fail(err, -EAGAIN, "allgs: moved each of %d times it was read", TRIES);
}

static void walk_deinit(struct walk *w)
{
	free(w->addrs);
	free(w->raw);
	free(w->records);
	free(w->items);
	free(w->pieces);
	free(w->stacks);
	free(w->scratch);
	gd_labels_deinit(&w->labels);
	gd_frames_destroy(w->frames);
}

static int walk_init(struct walk *w, struct gd_error *err)
{
	w->labels = GD_LABELS_INIT;
	w->g_bytes = gd_grecord_bytes(&w->go->layout);
	w->addrs = calloc(BATCH, sizeof(*w->addrs));
	w->raw = calloc(BATCH, GD_GRECORD_BYTES_MAX);
	w->records = calloc(BATCH, sizeof(*w->records));
	w->items = calloc(BATCH, sizeof(*w->items));
	w->pieces = calloc(BATCH, sizeof(*w->pieces));
	w->stacks = malloc(STACKS_BYTES);
	w->scratch = malloc(SCRATCH_BYTES);
	if (w->addrs == NULL || w->raw == NULL || w->records == NULL || w->items == NULL ||
	    w->pieces == NULL || w->stacks == NULL || w->scratch == NULL)
		return gd_fail_errno(err, -ENOMEM, "walk over goroutines");
	return gd_frames_create(w->go, w->options, &w->frames, err);
}

static int walk_all(struct walk *w, struct gd_error *err)
{
	uint64_t len;
	int r = gd_memory_read_u64(w->go->memory, w->go->globals.allgs + 8, &len, err);
	if (r < 0)
		return gd_error_wrap(err, r, "allgs");
	if (len == 0 || len > GOROUTINES_MAX)
		return gd_fail(err, -EBADMSG, "allgs: %" PRIu64 " goroutines", len);
	w->stats->listed = len;
	for (uint64_t first = 0; first < len && !w->stats->cancelled;) {
		size_t n = len - first < BATCH ? (size_t)(len - first) : BATCH;
		r = read_addrs(w, first, n, err);
		if (r == 0)
			r = run_batch(w, err);
		if (r < 0)
			return r;
		first += n;
	}
	return 0;
}

int gd_goroutines_walk(struct gd_go *go, const struct gd_walk_options *options,
                       int (*each)(void *arg, const struct gd_goroutine *goroutine), void *arg,
                       struct gd_walk_stats *stats, struct gd_error *err)
{
	*stats = (struct gd_walk_stats){ 0 };
	if (go->globals.allgs == 0)
		return gd_fail(err, -ENOTSUP, "the list of goroutines (allgs) was not found");
	struct walk w = { .go = go, .options = options, .each = each, .arg = arg, .stats = stats };
	int r = walk_init(&w, err);
	if (r == 0)
		r = walk_all(&w, err);
	walk_deinit(&w);
	return r;
}

const char *gd_goroutine_status_name(enum gd_goroutine_status status)
{
	switch (status) {
	case GD_G_IDLE:
		return "idle";
	case GD_G_RUNNABLE:
		return "runnable";
	case GD_G_RUNNING:
		return "running";
	case GD_G_SYSCALL:
		return "syscall";
	case GD_G_WAITING:
		return "waiting";
	case GD_G_DEAD:
		return "dead";
	case GD_G_COPYSTACK:
		return "copystack";
	case GD_G_PREEMPTED:
		return "preempted";
	case GD_G_LEAKED:
		return "leaked";
	case GD_G_DEAD_EXTRA:
		return "waiting for cgo callback";
	case GD_G_SCAN:
		break;
	}
	return "???";
}
