#include "collectors/samples_profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collectors/kernel_symbols.h"
#include "collectors/known.h"
#include "collectors/samples_places.h"

enum {
	KEY_MAX = sizeof(struct gd_samples_labels) + 2 * sizeof(uint64_t) +
	          GD_PERF_DEPTH_MAX * sizeof(struct gd_perf_frame),
	THREADS_MAX = 1 << 16,
	FOLDED_MAX = 1 << 18,
	FOLDED_BYTES_MAX = 256 << 20,
	LINE_MAX_BYTES = 1 << 20,
	LABELS = 5,
	FLUSH_BYTES = 128 << 10,
};

/* A group's key: this, then n frames.  Every byte of it is set: keys are compared as bytes. */
struct head {
	struct gd_samples_labels labels;
	uint32_t n, n_kernel;
};
_Static_assert(sizeof(struct head) == 24, "no holes");
_Static_assert(sizeof(struct gd_perf_frame) == 16, "a hole at its end only");

struct gd_samples_profile {
	struct gd_known *groups;
	struct gd_known *tids;
	uint8_t key[KEY_MAX];
};

int gd_samples_profile_create(struct gd_samples_profile **ret, struct gd_error *err)
{
	struct gd_samples_profile *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return gd_fail_errno(err, -ENOMEM, "samples");
	int r = gd_known_create(GD_SAMPLES_STACKS_MAX, GD_SAMPLES_BYTES_MAX, &p->groups, err);
	if (r == 0)
		r = gd_known_create(THREADS_MAX, THREADS_MAX * sizeof(uint32_t), &p->tids, err);
	if (r < 0) {
		gd_samples_profile_destroy(p);
		return r;
	}
	*ret = p;
	return 0;
}

void gd_samples_profile_destroy(struct gd_samples_profile *p)
{
	if (p == NULL)
		return;
	gd_known_destroy(p->groups);
	gd_known_destroy(p->tids);
	free(p);
}

/* ---- counting -------------------------------------------------------------------------------- */

bool gd_samples_profile_add(struct gd_samples_profile *p, const struct gd_perf_stack *stack,
                            const struct gd_samples_labels *labels)
{
	const struct head head = { .labels = *labels, .n = (uint32_t)stack->n,
		                   .n_kernel = (uint32_t)stack->n_kernel };
	size_t len = sizeof(head) + stack->n * sizeof(stack->list[0]);
	memcpy(p->key, &head, sizeof(head));
	for (size_t i = 0; i < stack->n; i++) {
		struct gd_perf_frame frame;
		memset(&frame, 0, sizeof(frame));
		frame.pc = stack->list[i].pc;
		frame.kind = stack->list[i].kind;
		frame.exact = stack->list[i].exact;
		frame.inferred = stack->list[i].inferred;
		memcpy(p->key + sizeof(head) + i * sizeof(frame), &frame, sizeof(frame));
	}
	uint64_t *count = gd_known_find(p->groups, p->key, len);
	if (count == NULL) {
		if (gd_known_full(p->groups, len))
			return false;
		count = gd_known_slot(p->groups, p->key, len);
		(void)gd_known_slot(p->tids, &labels->tid, sizeof(labels->tid));
	}
	if (count == NULL)
		return false;
	(*count)++;
	return true;
}

static int by_tid(const void *a, const void *b)
{
	const struct gd_samples_thread *x = a;
	const struct gd_samples_thread *y = b;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

int gd_samples_profile_threads(const struct gd_samples_profile *p, struct gd_samples_thread **ret,
                               size_t *ret_n, struct gd_error *err)
{
	const void *key;
	size_t cursor = 0, len, n = 0;
	uint64_t value;
	while (gd_known_next(p->tids, &cursor, &key, &len, &value))
		n++;
	struct gd_samples_thread *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "threads of samples");
	cursor = 0;
	n = 0;
	while (gd_known_next(p->tids, &cursor, &key, &len, &value))
		memcpy(&list[n++].tid, key, sizeof(list->tid));
	qsort(list, n, sizeof(*list), by_tid);
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writing {
	const struct gd_samples_write *how;
	struct gd_samples_places *places;
	struct gd_pprof *pprof;
	struct gd_known *folded; /* a line, and how many samples */
	struct gd_buf line;
	struct gd_samples_written *written;
};

static const char *thread_name(const struct gd_samples_write *how, uint32_t tid)
{
	const struct gd_samples_thread wanted = { .tid = tid };
	const struct gd_samples_thread *found =
		how->n_threads > 0 ? bsearch(&wanted, how->threads, how->n_threads, sizeof(wanted),
		                             by_tid) : NULL;
	return found != NULL ? found->name : "";
}

static struct gd_pprof_label text_label(const char *key, const char *text)
{
	return (struct gd_pprof_label){ .key = key, .key_len = strlen(key), .text = text,
		                        .text_len = strlen(text) };
}

static struct gd_pprof_label number_label(const char *key, uint64_t number)
{
	return (struct gd_pprof_label){ .key = key, .key_len = strlen(key),
		                        .number = (int64_t)number };
}

/* "class;thread;outermost;...;innermost_[k] COUNT" */
static void fold(struct writing *w, const char *class_, const char *thread,
                 const struct gd_perf_frame *frames, size_t n, uint64_t count)
{
	gd_buf_reset(&w->line);
	gd_samples_places_put_word(class_, &w->line);
	gd_buf_putc(&w->line, ';');
	gd_samples_places_put_word(thread, &w->line);
	for (size_t i = n; i-- > 0;)
		gd_samples_places_put(w->places, &frames[i], &w->line);
	if (w->line.failed != 0 || gd_known_full(w->folded, w->line.len))
		return;
	uint64_t *known = gd_known_slot(w->folded, w->line.data, w->line.len);
	if (known != NULL)
		*known += count;
}

static void write_group(struct writing *w, const uint8_t *key, size_t len, uint64_t count)
{
	static struct gd_perf_frame frames[GD_PERF_DEPTH_MAX];
	uint64_t ids[GD_PERF_DEPTH_MAX];
	struct head head;
	memcpy(&head, key, sizeof(head));
	memcpy(frames, key + sizeof(head), len - sizeof(head));
	uint32_t signs = 0;
	size_t n_ids = 0;
	for (size_t i = 0; i < head.n; i++) {
		uint64_t id = gd_samples_places_location(w->places, &frames[i], &signs);
		/* several frames in a row may be told as one */
		if (id != 0 && (n_ids == 0 || ids[n_ids - 1] != id || frames[i].kind !=
		                GD_PERF_FRAME_KERNEL))
			ids[n_ids++] = id;
	}
	enum gd_samples_class class_ = gd_samples_class_of(signs, head.n_kernel > 0);
	const char *name = gd_samples_class_name(class_);
	const char *thread = thread_name(w->how, head.labels.tid);
	const int64_t values[] = { (int64_t)count, (int64_t)count * w->how->period_ns };
	struct gd_pprof_label labels[LABELS];
	size_t n = 0;
	labels[n++] = text_label("class", name);
	labels[n++] = text_label("thread", thread);
	labels[n++] = number_label("tid", head.labels.tid);
	if (w->how->go != NULL)
		labels[n++] = text_label("goroutine_confidence",
		                         gd_goroutine_confidence_name(head.labels.confidence));
	if (head.labels.goid != 0)
		labels[n++] = number_label("goroutine", head.labels.goid);
	gd_pprof_sample(w->pprof, ids, n_ids, values, labels, n);
	fold(w, name, thread, frames, head.n, count);
	w->written->by_class[class_] += count;
}

/* Samples nobody has seen are part of the total, or shares would be wrong. */
static void write_lost(struct writing *w)
{
	static const struct gd_pprof_line line = { .function = "[lost]", .file = "" };
	const int64_t values[] = { (int64_t)w->how->lost,
		                   (int64_t)w->how->lost * w->how->period_ns };
	if (w->how->lost == 0)
		return;
	uint64_t id = gd_pprof_location(w->pprof, GD_SAMPLES_PLACES_LOST, 0, 0, &line, 1);
	const struct gd_pprof_label label = text_label("class", "lost");
	gd_pprof_sample(w->pprof, &id, 1, values, &label, 1);
	gd_buf_reset(&w->line);
	gd_buf_puts(&w->line, "lost;;[lost]");
	uint64_t *known = gd_known_slot(w->folded, w->line.data, w->line.len);
	if (known != NULL)
		*known += w->how->lost;
}

static int write_folded(struct writing *w, struct gd_stream *stream, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(LINE_MAX_BYTES + 2 * FLUSH_BYTES);
	const void *key;
	size_t cursor = 0, len;
	uint64_t count;
	int r = 0;
	while (r == 0 && gd_known_next(w->folded, &cursor, &key, &len, &count)) {
		gd_buf_append(&text, key, len);
		gd_buf_printf(&text, " %" PRIu64 "\n", count);
		r = gd_buf_check(&text, "folded stacks", err);
		if (r == 0 && text.len >= FLUSH_BYTES) {
			r = stream->write(stream, text.data, text.len, err);
			gd_buf_reset(&text);
		}
	}
	if (r == 0 && text.len > 0)
		r = stream->write(stream, text.data, text.len, err);
	return r;
}

static int name_kernel(struct gd_samples_profile *p, struct writing *w, struct gd_error *err)
{
	const void *key;
	size_t cursor = 0, len;
	uint64_t count;
	int r = 0;
	while (r == 0 && gd_known_next(p->groups, &cursor, &key, &len, &count)) {
		struct head head;
		struct gd_perf_frame frame;
		memcpy(&head, key, sizeof(head));
		for (size_t i = 0; i < head.n_kernel && i < head.n && r == 0; i++) {
			memcpy(&frame, (const uint8_t *)key + sizeof(head) + i * sizeof(frame),
			       sizeof(frame));
			r = gd_samples_places_want_kernel(w->places, &frame, err);
		}
	}
	if (r == 0)
		gd_samples_places_name_kernel(w->places, w->how->kallsyms_fd,
		                              &w->written->no_kernel_names);
	return r;
}

int gd_samples_profile_write(struct gd_samples_profile *p, const struct gd_samples_write *how,
                             struct gd_stream *pprof, struct gd_stream *folded,
                             struct gd_samples_written *ret, struct gd_error *err)
{
	static const struct gd_pprof_type types[] = { { "samples", "count" },
		                                      { "cpu", "nanoseconds" } };
	*ret = (struct gd_samples_written){ .by_class = { 0 } };
	struct writing w = { .how = how, .line = GD_BUF_INIT(LINE_MAX_BYTES), .written = ret };
	int r = gd_pprof_create(pprof, types, 2, &w.pprof, err);
	if (r == 0)
		r = gd_known_create(FOLDED_MAX, FOLDED_BYTES_MAX, &w.folded, err);
	if (r == 0)
		r = gd_samples_places_create(how->target, how->go, w.pprof, &w.places, err);
	if (r == 0)
		r = name_kernel(p, &w, err);
	const void *key;
	size_t cursor = 0, len;
	uint64_t count;
	while (r == 0 && gd_known_next(p->groups, &cursor, &key, &len, &count))
		write_group(&w, key, len, count);
	if (r == 0) {
		write_lost(&w);
		const struct gd_pprof_about about = {
			.time_ns = how->started_realtime_ns,
			.duration_ns = how->duration_ns,
			.period_type = types[1],
			.period = how->period_ns,
			.comment = how->comment,
			.default_type = "cpu",
		};
		r = gd_pprof_finish(w.pprof, &about, err);
	}
	if (r == 0)
		r = write_folded(&w, folded, err);
	gd_samples_places_destroy(w.places);
	gd_known_destroy(w.folded);
	gd_pprof_destroy(w.pprof);
	gd_buf_deinit(&w.line);
	return r;
}
