/*
 * Workers take chunks in batches; each fills a pack of its own and hands it over when it is full, under
 * one lock, because the packer hears one artifact at a time.  What a chunk's line in the map needs is
 * kept in a row per chunk, written when all workers are done.
 */
#include "agent/compressor_process.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/packer_sink.h"
#include "archive/core_base.h"
#include "archive/core_map.h"
#include "archive/layout.h"
#include "archive/pack.h"
#include "base/cleanup.h"
#include "collectors/collector.h"
#include "collectors/core.h"

#define COLLECTOR "core"
#define WORKERS_MAX 8
#define BATCH 16
#define PIECE_BYTES ((size_t)256 << 10)

struct row {
	struct gd_core_chunk chunk;
	bool kept;
};

struct work {
	const struct gd_compressor_process *process;
	struct gd_compressor_shared *shared;
	struct gd_image *image;
	const struct gd_image_chunk *chunks;
	size_t n_chunks;
	struct row *rows; /* one per chunk */
	struct gd_core_base *base; /* NULL: none */
	size_t next; /* atomic: the first chunk nobody has taken */

	pthread_mutex_t lock; /* of all below, and of the sink */
	struct gd_sink *sink;
	unsigned n_packs;
	struct gd_error failure; /* the first one; ends all workers */
};

struct worker {
	struct work *work;
	struct gd_pack_writer *pack;
	size_t *pending; /* rows of the pack at hand */
	size_t n_pending, cap_pending;
	uint8_t plain[GD_PACK_CHUNK], earlier[GD_PACK_CHUNK];
};

/* ---- one worker ------------------------------------------------------------------------------ */

static void fail(struct work *w, const struct gd_error *err)
{
	(void)pthread_mutex_lock(&w->lock);
	if (w->failure.code == 0)
		w->failure = *err;
	(void)pthread_mutex_unlock(&w->lock);
}

static bool stopped(struct work *w)
{
	(void)pthread_mutex_lock(&w->lock);
	bool failed = w->failure.code != 0;
	(void)pthread_mutex_unlock(&w->lock);
	return failed || w->shared->cancelled != 0;
}

static int put_pack(struct work *w, int fd, size_t n, char digest[GD_LAYOUT_DIGEST],
                    struct gd_error *err)
{
	char name[32];
	(void)snprintf(name, sizeof(name), GD_CORE_PACK_NAME, w->n_packs);
	const struct gd_artifact artifact = { .name = name, .media_type = GD_PACK_MEDIA_TYPE,
		                              .collector = COLLECTOR };
	int r = gd_packer_sink_put_memory(w->sink, &artifact, fd, n, digest, err);
	w->n_packs += r == 0;
	w->shared->progress++;
	return r;
}

static int flush(struct worker *me, struct gd_error *err)
{
	struct work *w = me->work;
	const void *bytes;
	size_t n;
	char digest[GD_LAYOUT_DIGEST];
	if (gd_pack_chunks(me->pack) == 0)
		return 0;
	int r = gd_pack_close(me->pack, &bytes, &n, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&w->lock);
	r = put_pack(w, gd_pack_fd(me->pack), n, digest, err);
	(void)pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; r == 0 && i < me->n_pending; i++)
		memcpy(w->rows[me->pending[i]].chunk.pack, digest, sizeof(digest));
	me->n_pending = 0;
	return r;
}

/* The row of a chunk that has not changed since the base: true, and nothing is stored. */
static bool is_in_base(struct worker *me, struct gd_core_chunk *row)
{
	struct work *w = me->work;
	const struct gd_core_chunk *before = w->base != NULL
	                                             ? gd_core_base_chunk(w->base, row->addr)
	                                             : NULL;
	/* What is damaged in the base is kept in full. */
	if (before == NULL || gd_core_base_read(w->base, row->addr, me->earlier, NULL) < 0)
		return false;
	if (memcmp(me->plain, me->earlier, GD_PACK_CHUNK) != 0) {
		row->prefix = true;
		return false;
	}
	memcpy(row->pack, before->pack, sizeof(row->pack));
	row->offset = before->offset;
	row->stored_bytes = before->stored_bytes;
	row->in_base = true;
	return true;
}

static int remember(struct worker *me, size_t index, struct gd_error *err)
{
	if (me->n_pending == me->cap_pending) {
		size_t cap = me->cap_pending > 0 ? 2 * me->cap_pending : 64;
		size_t *all = reallocarray(me->pending, cap, sizeof(*all));
		if (all == NULL)
			return gd_fail_errno(err, -ENOMEM, "packs");
		me->pending = all;
		me->cap_pending = cap;
	}
	me->pending[me->n_pending++] = index;
	return 0;
}

static int do_chunk(struct worker *me, size_t index, struct gd_error *err)
{
	struct work *w = me->work;
	const struct gd_image_chunk *chunk = &w->chunks[index];
	struct row *row = &w->rows[index];
	const struct gd_compressor_options *o = w->process->options;
	struct gd_packed_chunk packed;
	int r = gd_image_read_chunk(w->image, chunk, me->plain, err);
	if (r < 0)
		return r;
	row->chunk.addr = chunk->addr;
	memcpy(row->chunk.pages, chunk->pages, sizeof(row->chunk.pages));
	gd_core_leave_out(o->skip->list, o->skip->n, chunk->addr, me->plain, row->chunk.pages);
	gd_core_zero(o->zero->list, o->zero->n, chunk->addr, me->plain);
	if (gd_core_is_empty(me->plain))
		return 0;
	row->kept = true;
	if (is_in_base(me, &row->chunk))
		return 0;
	r = gd_pack_add(me->pack, me->plain, row->chunk.prefix ? me->earlier : NULL, &packed, err);
	if (r == 0)
		r = remember(me, index, err);
	if (r < 0)
		return r;
	row->chunk.offset = packed.offset;
	row->chunk.stored_bytes = packed.stored_bytes;
	return gd_pack_is_full(me->pack) ? flush(me, err) : 0;
}

static void *run_worker(void *arg)
{
	struct worker *me = arg;
	struct work *w = me->work;
	struct gd_error err = { 0 };
	int r = 0;
	while (r == 0 && !stopped(w)) {
		size_t from = __atomic_fetch_add(&w->next, BATCH, __ATOMIC_RELAXED);
		if (from >= w->n_chunks)
			break;
		for (size_t i = from; i < from + BATCH && i < w->n_chunks && r == 0; i++) {
			r = do_chunk(me, i, &err);
			gd_image_forget_chunk(w->image, &w->chunks[i]);
			(void)__atomic_fetch_add(&w->shared->progress, 1, __ATOMIC_RELAXED);
			(void)__atomic_fetch_add(&w->shared->bytes, GD_IMAGE_CHUNK,
			                         __ATOMIC_RELAXED);
		}
	}
	if (r == 0)
		r = flush(me, &err);
	if (r < 0)
		fail(w, &err);
	return NULL;
}

static int worker_init(struct worker *me, struct work *w, struct gd_error *err)
{
	me->work = w;
	return gd_pack_writer_create(&me->pack, err);
}

static void worker_deinit(struct worker *me)
{
	gd_pack_writer_destroy(me->pack);
	free(me->pending);
}

static unsigned count_workers(const struct work *w)
{
	cpu_set_t set;
	unsigned n = w->process->options->workers;
	if (n == 0)
		n = sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
	if (n > WORKERS_MAX)
		n = WORKERS_MAX;
	size_t batches = (w->n_chunks + BATCH - 1) / BATCH;
	return n > batches ? (unsigned)batches : n;
}

/* This thread is the first worker; the others are helpers that may fail to start. */
static int run_workers(struct work *w, struct gd_error *err)
{
	pthread_t threads[WORKERS_MAX];
	bool started[WORKERS_MAX] = { false };
	unsigned n = count_workers(w);
	GD_FREE struct worker *workers = calloc(n + 1, sizeof(*workers));
	int r = workers == NULL ? gd_fail_errno(err, -ENOMEM, "workers") : 0;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = worker_init(&workers[i], w, err);
	for (unsigned i = 1; i < n && r == 0; i++)
		started[i] = pthread_create(&threads[i], NULL, run_worker, &workers[i]) == 0;
	if (r == 0 && n > 0)
		(void)run_worker(&workers[0]);
	for (unsigned i = 1; i < n; i++)
		if (started[i])
			(void)pthread_join(threads[i], NULL);
	for (unsigned i = 0; workers != NULL && i < n; i++)
		worker_deinit(&workers[i]);
	if (r == 0 && w->failure.code != 0) {
		*err = w->failure;
		r = err->code;
	}
	return r;
}

/* ---- map and executable ------------------------------------------------------------------------ */

static int pour(struct gd_stream *stream, struct gd_buf *buf, bool all, struct gd_error *err)
{
	if (buf->len < (all ? 1 : PIECE_BYTES))
		return gd_buf_check(buf, GD_CORE_MAP_NAME, err);
	int r = gd_buf_check(buf, GD_CORE_MAP_NAME, err);
	if (r == 0)
		r = stream->write(stream, buf->data, buf->len, err);
	gd_buf_reset(buf);
	return r;
}

static void put_head(const struct work *w, struct gd_buf *to)
{
	const struct gd_compressor_options *o = w->process->options;
	struct gd_core_head head = { .pid = o->target->pid, .pause_ns = o->freeze->pause_ns,
		                     .instant_ns = o->freeze->instant_ns,
		                     .threads = o->freeze->threads, .has_base = w->base != NULL };
	(void)snprintf(head.scope, sizeof(head.scope), "%s", o->scope);
	(void)snprintf(head.method, sizeof(head.method), "%s",
	               gd_freeze_method_name(o->freeze->method));
	if (w->base != NULL) {
		(void)snprintf(head.base_id, sizeof(head.base_id), "%s",
		               gd_core_base_snapshot(w->base)->id);
		(void)snprintf(head.base_digest, sizeof(head.base_digest), "%s",
		               gd_core_base_digest(w->base));
	}
	gd_core_map_put_head(&head, to);
}

static void put_area(const struct work *w, const struct gd_image_map *map, struct gd_buf *to)
{
	static const enum gd_core_missing missing[] = { [GD_IMAGE_ZERO] = GD_CORE_ZERO,
		                                        [GD_IMAGE_OF_FILE] = GD_CORE_OF_FILE,
		                                        [GD_IMAGE_LOST] = GD_CORE_LOST };
	const struct gd_core_area area = {
		.start = map->start,
		.end = map->end,
		.offset = map->offset,
		.inode = map->inode,
		.dev_major = map->dev_major,
		.dev_minor = map->dev_minor,
		.read = map->read,
		.write = map->write,
		.exec = map->exec,
		.shared = map->shared,
		.deleted = map->deleted,
		.missing = missing[map->missing],
		.path = gd_image_path(w->image, map),
		.why = gd_image_why_text((enum gd_image_why)map->why),
	};
	gd_core_map_put_area(&area, to);
}

static int write_map(struct work *w, struct gd_stream *stream, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(PIECE_BYTES + (64u << 10));
	size_t n_maps;
	const struct gd_image_map *maps = gd_image_maps(w->image, &n_maps);
	int r = 0;
	put_head(w, &text);
	for (size_t i = 0; i < n_maps && r == 0; i++) {
		put_area(w, &maps[i], &text);
		r = pour(stream, &text, false, err);
	}
	for (size_t i = 0; i < w->n_chunks && r == 0; i++) {
		const struct row *row = &w->rows[i];
		/* A pack that was not handed over: interrupted. */
		if (!row->kept || row->chunk.pack[0] == '\0')
			continue;
		gd_core_map_put_chunk(&row->chunk, &text);
		r = pour(stream, &text, false, err);
	}
	return r < 0 ? r : pour(stream, &text, true, err);
}

static int put_map(struct work *w, const struct gd_outcome *outcome, struct gd_error *err)
{
	static const struct gd_artifact artifact = { .name = GD_CORE_MAP_NAME,
		                                     .media_type = GD_CORE_MAP_TYPE,
		                                     .collector = COLLECTOR,
		                                     .compress = 1 };
	struct gd_stream *stream;
	int r = w->sink->open(w->sink, &artifact, &stream, err);
	if (r < 0)
		return r;
	r = write_map(w, stream, err);
	struct gd_outcome how = *outcome;
	if (r < 0)
		how = gd_outcome_of(GD_GRADE_FAILED, err);
	int closed = stream->close(stream, &how, r < 0 ? NULL : err);
	return r < 0 ? r : closed;
}

static int pour_file(struct gd_stream *stream, int fd, struct work *w, struct gd_error *err)
{
	GD_FREE char *piece = malloc(PIECE_BYTES);
	ssize_t n = 0;
	int r = piece == NULL ? gd_fail_errno(err, -ENOMEM, "exe") : 0;
	for (off_t at = 0; r == 0 && (n = pread(fd, piece, PIECE_BYTES, at)) > 0; at += n) {
		r = stream->write(stream, piece, (size_t)n, err);
		w->shared->progress++;
	}
	return r == 0 && n < 0 ? gd_fail_errno(err, -errno, "exe") : r;
}

static bool holds(const struct gd_snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (strcmp(s->artifacts[i].name, name) == 0)
			return s->artifacts[i].digest[0] != '\0';
	return false;
}

/* Once per process: the base is of the same. */
static int put_exe(struct work *w, struct gd_error *err)
{
	static const struct gd_artifact artifact = { .name = GD_CORE_EXE_NAME,
		                                     .media_type = "application/x-executable",
		                                     .collector = COLLECTOR,
		                                     .compress = 1 };
	const struct gd_compressor_options *o = w->process->options;
	struct gd_stream *stream;
	if (w->base != NULL && holds(gd_core_base_snapshot(w->base), GD_CORE_EXE_NAME)) {
		struct gd_outcome outcome = gd_outcome(GD_GRADE_SKIPPED, -EEXIST,
		                                       "in the base capture");
		return w->sink->absent(w->sink, &artifact, &outcome, err);
	}
	if (o->target->fds.exe_fd < 0) {
		struct gd_outcome outcome = gd_outcome_of(GD_GRADE_SKIPPED, &o->target->exe_error);
		return w->sink->absent(w->sink, &artifact, &outcome, err);
	}
	int r = w->sink->open(w->sink, &artifact, &stream, err);
	if (r < 0)
		return r;
	r = pour_file(stream, o->target->fds.exe_fd, w, err);
	struct gd_outcome outcome = r < 0 ? gd_outcome_of(GD_GRADE_FAILED, err)
	                                  : GD_OUTCOME_COMPLETE;
	int closed = stream->close(stream, &outcome, r < 0 ? NULL : err);
	return r < 0 ? r : closed;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void count(const struct work *w, struct gd_compressor_result *result)
{
	result->packs = w->n_packs;
	for (size_t i = 0; i < w->n_chunks; i++) {
		if (!w->rows[i].kept)
			continue;
		result->chunks++;
		result->unchanged_chunks += w->rows[i].chunk.in_base;
		result->plain_bytes += GD_IMAGE_CHUNK;
	}
}

/* The map is written whatever happened to the packs: what is there can be read. */
static struct gd_outcome pack_all(struct work *w)
{
	struct gd_error err = { 0 };
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	if (run_workers(w, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_PARTIAL, &err);
	else if (w->shared->cancelled != 0)
		outcome = gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
	if (put_map(w, &outcome, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	if (put_exe(w, &err) < 0)
		outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_PARTIAL, &err));
	return outcome;
}

static int open_image(struct work *w, struct gd_error *err)
{
	const struct gd_compressor_options *o = w->process->options;
	/* Our own copies since the fork, and nobody needs them after us. */
	int r = gd_image_open(o->file_fd, o->index_fd, &w->image, err);
	if (r < 0)
		return r;
	w->chunks = gd_image_chunks(w->image, &w->n_chunks);
	w->rows = calloc(w->n_chunks + 1, sizeof(*w->rows));
	w->shared->of_bytes = w->n_chunks * GD_IMAGE_CHUNK;
	return w->rows == NULL ? gd_fail_errno(err, -ENOMEM, "chunks") : 0;
}

static bool same_process(const struct gd_snapshot *base, const struct gd_compressor_options *o)
{
	return base->pid == o->target->pid && base->start_ticks == o->target->start_ticks &&
	       base->boot_id != NULL && strcmp(base->boot_id, o->boot_id) == 0;
}

/* A base that does not fit is left aside, and this capture stands for itself. */
static void open_base(struct work *w)
{
	const struct gd_compressor_options *o = w->process->options;
	struct gd_compressor_result *result = &w->shared->result;
	struct gd_error err = { 0 };
	if (o->base_fd < 0)
		return;
	if (gd_core_base_open(o->base_fd, &w->base, &err) < 0) {
		(void)snprintf(result->note, sizeof(result->note), "in full, the base cannot be used: %.120s",
		               err.msg);
	} else if (!same_process(gd_core_base_snapshot(w->base), o)) {
		(void)snprintf(result->note, sizeof(result->note),
		               "in full: the base is of another process");
		gd_core_base_close(w->base);
		w->base = NULL;
	}
}

int gd_compressor_process_run(void *arg)
{
	struct gd_compressor_process *p = arg;
	struct work w = { .process = p, .shared = p->shared,
		          .lock = PTHREAD_MUTEX_INITIALIZER };
	struct gd_compressor_result *result = &p->shared->result;
	struct gd_error err = { 0 };
	int r = open_image(&w, &err);
	if (r == 0)
		r = gd_packer_sink_create(p->sink_fd, "", &p->shared->progress, &w.sink, &err);
	if (r < 0) {
		result->outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	} else {
		open_base(&w);
		result->outcome = pack_all(&w);
		count(&w, result);
	}
	p->shared->done = true;
	return 0;
}
