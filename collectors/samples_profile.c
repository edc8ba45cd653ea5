#include "collectors/samples_profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/known.h"

enum {
	KEY_MAX = sizeof(struct gd_samples_labels) + 2 * sizeof(uint64_t) +
	          GD_PERF_DEPTH_MAX * sizeof(struct gd_perf_frame),
	THREADS_MAX = 1 << 16,
	FOLDED_MAX = 1 << 17,
	FOLDED_BYTES_MAX = 64 << 20,
	LINE_MAX_BYTES = 1 << 20,
	LABELS = 6 + GD_LABELS_MAX,
	LABEL_SETS_MAX = 1 << 14,
	LABEL_SETS_BYTES_MAX = 16 << 20,
	FLUSH_BYTES = 128 << 10,
};

/* A group's key: this, then n frames.  Every byte of it is set: keys are compared as bytes. */
struct head {
	struct gd_samples_labels labels;
	uint32_t n, n_kernel;
};
_Static_assert(sizeof(struct head) == 32, "no holes");
_Static_assert(sizeof(struct gd_perf_frame) == 16, "a hole at its end only");

/* What was counted for one of them. */
struct count {
	uint64_t n[GD_SWITCH_STATES];
	int64_t ns[GD_SWITCH_STATES];
};

struct gd_samples_profile {
	struct gd_known *groups; /* number of its count */
	struct gd_known *tids;
	struct gd_known *label_sets; /* their own number; lengths and bytes of keys and values */
	struct count *counts;
	size_t n_counts, counts_cap;
	size_t n_label_sets;
	struct gd_buf set;
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
	if (r == 0)
		r = gd_known_create(LABEL_SETS_MAX, LABEL_SETS_BYTES_MAX, &p->label_sets, err);
	p->set = GD_BUF_INIT(GD_LABELS_BYTES_MAX + GD_LABELS_MAX * 2 * sizeof(uint32_t));
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
	gd_known_destroy(p->label_sets);
	gd_buf_deinit(&p->set);
	free(p->counts);
	gd_known_destroy(p->groups);
	gd_known_destroy(p->tids);
	free(p);
}

/* ---- counting -------------------------------------------------------------------------------- */

static size_t make_key(struct gd_samples_profile *p, const struct gd_perf_stack *stack,
                       const struct gd_samples_labels *labels)
{
	const struct head head = { .labels = *labels, .n = (uint32_t)stack->n,
		                   .n_kernel = (uint32_t)stack->n_kernel };
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
	return sizeof(head) + stack->n * sizeof(stack->list[0]);
}

static bool make_count(struct gd_samples_profile *p)
{
	if (p->n_counts == p->counts_cap) {
		size_t cap = p->counts_cap > 0 ? 2 * p->counts_cap : 256;
		struct count *counts = reallocarray(p->counts, cap, sizeof(*counts));
		if (counts == NULL)
			return false;
		p->counts = counts;
		p->counts_cap = cap;
	}
	p->counts[p->n_counts++] = (struct count){ .n = { 0 } };
	return true;
}

uint32_t gd_samples_profile_number(struct gd_samples_profile *p, const struct gd_perf_stack *stack,
                                   const struct gd_samples_labels *labels)
{
	size_t len = make_key(p, stack, labels);
	uint64_t *number = gd_known_find(p->groups, p->key, len);
	if (number != NULL)
		return (uint32_t)*number;
	if (gd_known_full(p->groups, len))
		return 0;
	number = gd_known_slot(p->groups, p->key, len);
	if (number == NULL || !make_count(p))
		return 0;
	*number = p->n_counts;
	(void)gd_known_slot(p->tids, &labels->tid, sizeof(labels->tid));
	return (uint32_t)p->n_counts;
}

void gd_samples_profile_count(struct gd_samples_profile *p, uint32_t number, uint32_t state,
                              uint64_t n, int64_t ns)
{
	if (number == 0 || number > p->n_counts || state >= GD_SWITCH_STATES)
		return;
	p->counts[number - 1].n[state] += n;
	p->counts[number - 1].ns[state] += ns;
}

static void put_bytes(struct gd_buf *to, const char *bytes, size_t n)
{
	uint32_t len = (uint32_t)n;
	gd_buf_append(to, &len, sizeof(len));
	gd_buf_append(to, bytes, n);
}

uint32_t gd_samples_profile_label_set(struct gd_samples_profile *p, const struct gd_labels *labels)
{
	gd_buf_reset(&p->set);
	for (size_t i = 0; i < labels->n; i++) {
		put_bytes(&p->set, labels->pairs[i].key, labels->pairs[i].key_len);
		put_bytes(&p->set, labels->pairs[i].value, labels->pairs[i].value_len);
	}
	if (labels->n == 0 || p->set.failed != 0)
		return 0;
	uint64_t *number = gd_known_find(p->label_sets, p->set.data, p->set.len);
	if (number != NULL)
		return (uint32_t)*number;
	if (gd_known_full(p->label_sets, p->set.len))
		return 0;
	number = gd_known_slot(p->label_sets, p->set.data, p->set.len);
	if (number == NULL)
		return 0;
	*number = ++p->n_label_sets;
	return (uint32_t)*number;
}

static int by_tid(const void *a, const void *b)
{
	const struct gd_samples_thread *x = a;
	const struct gd_samples_thread *y = b;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static size_t put_threads(const struct gd_samples_profile *p, struct gd_samples_thread *to)
{
	const void *key;
	size_t cursor = 0, len, n = 0;
	uint64_t value;
	for (; p != NULL && gd_known_next(p->tids, &cursor, &key, &len, &value); n++)
		if (to != NULL)
			memcpy(&to[n].tid, key, sizeof(to[n].tid));
	return n;
}

int gd_samples_profile_threads(const struct gd_samples_profile *a, const struct gd_samples_profile *b,
                               struct gd_samples_thread **ret, size_t *ret_n, struct gd_error *err)
{
	size_t n = put_threads(a, NULL) + put_threads(b, NULL);
	struct gd_samples_thread *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "threads of samples");
	(void)put_threads(b, list + put_threads(a, list));
	qsort(list, n, sizeof(*list), by_tid);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || list[kept - 1].tid != list[i].tid)
			list[kept++] = list[i];
	*ret = list;
	*ret_n = kept;
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
	const struct gd_samples_profile *profile;
	struct label_set *sets; /* by their number - 1 */
};

struct label_set {
	const uint8_t *bytes; /* in the table, which does not change any more */
	size_t n;
};

const char *gd_samples_write_thread(const struct gd_samples_write *how, uint32_t tid)
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
	gd_text_put_folded(&w->line, class_, strlen(class_));
	gd_buf_putc(&w->line, ';');
	gd_text_put_folded(&w->line, thread, strlen(thread));
	for (size_t i = n; i-- > 0;)
		gd_samples_places_put(w->places, &frames[i], &w->line);
	if (w->line.failed != 0 || gd_known_full(w->folded, w->line.len))
		return;
	uint64_t *known = gd_known_slot(w->folded, w->line.data, w->line.len);
	if (known != NULL)
		*known += count;
}

static size_t put_own_labels(const struct writing *w, uint32_t number,
                             struct gd_pprof_label labels[GD_LABELS_MAX])
{
	size_t n = 0;
	if (number == 0)
		return 0;
	struct gd_bytes b = gd_bytes_of(w->sets[number - 1].bytes, w->sets[number - 1].n);
	while (b.pos < b.len && n < GD_LABELS_MAX) {
		struct gd_pprof_label *label = &labels[n++];
		*label = (struct gd_pprof_label){ 0 };
		label->key_len = gd_bytes_u32(&b);
		label->key = (const char *)gd_bytes_take(&b, label->key_len);
		label->text_len = gd_bytes_u32(&b);
		label->text = (const char *)gd_bytes_take(&b, label->text_len);
	}
	return n;
}

/* One group of samples, with its names. */
struct group {
	struct gd_samples_group is;
	struct gd_perf_frame frames[GD_PERF_DEPTH_MAX];
	uint64_t ids[GD_PERF_DEPTH_MAX];
	size_t n_ids;
};

static void take_group(struct group *g, struct gd_samples_places *places, bool away,
                       const uint8_t *key, size_t len, uint64_t number)
{
	struct head head;
	uint32_t signs = 0;
	memcpy(&head, key, sizeof(head));
	memcpy(g->frames, key + sizeof(head), len - sizeof(head));
	for (size_t i = 0; i < head.n; i++)
		signs |= gd_samples_places_signs(places, &g->frames[i]);
	/* Whoever is away is so in the kernel: that says nothing. */
	enum gd_go_class class_ = gd_go_class_of(signs, !away && head.n_kernel > 0);
	g->is = (struct gd_samples_group){
		.number = (uint32_t)number,
		.labels = head.labels,
		.class_ = class_,
		.parked = away && class_ == GD_CLASS_SCHEDULER,
		.frames = g->frames,
		.n = head.n,
		.n_kernel = head.n_kernel,
	};
}

uint32_t gd_samples_profile_numbers(const struct gd_samples_profile *p)
{
	return (uint32_t)p->n_counts;
}

void gd_samples_profile_each(const struct gd_samples_profile *p, struct gd_samples_places *places,
                             bool away, void (*each)(void *arg, const struct gd_samples_group *group),
                             void *arg)
{
	static struct group g;
	const void *key;
	size_t cursor = 0, len;
	uint64_t number;
	while (gd_known_next(p->groups, &cursor, &key, &len, &number)) {
		if (number == 0)
			continue;
		take_group(&g, places, away, key, len, number);
		each(arg, &g.is);
	}
}

static void find_places(struct writing *w, struct group *g)
{
	g->n_ids = 0;
	for (size_t i = 0; i < g->is.n; i++) {
		uint64_t id = gd_samples_places_location(w->places, &g->frames[i]);
		/* frames of a kernel without names are one */
		bool again = g->n_ids > 0 && g->ids[g->n_ids - 1] == id &&
		             g->frames[i].kind == GD_PERF_FRAME_KERNEL;
		if (id != 0 && !again)
			g->ids[g->n_ids++] = id;
	}
}

/* What threads of the runtime's do when they have nothing to do is of no interest but as a sum. */
static void fold_parking(struct writing *w, struct group *g)
{
	static const struct gd_pprof_line line = { .function = "[runtime parking]", .file = "" };
	g->ids[0] = gd_pprof_location(w->pprof, GD_SAMPLES_PLACES_PARKING, 0, 0, &line, 1);
	g->n_ids = 1;
}

static void write_state(struct writing *w, const struct group *g, uint32_t state, uint64_t count,
                        int64_t ns)
{
	static struct gd_pprof_label labels[LABELS];
	const struct gd_samples_labels *l = &g->is.labels;
	const int64_t values[] = { (int64_t)count, ns };
	size_t n = 0;
	labels[n++] = text_label("class", gd_go_class_name(g->is.class_));
	labels[n++] = text_label("thread", gd_samples_write_thread(w->how, l->tid));
	labels[n++] = number_label("tid", l->tid);
	if (w->how->away)
		labels[n++] = text_label("state", gd_switch_state_name(state));
	if (w->how->go != NULL)
		labels[n++] = text_label("goroutine_confidence",
		                         gd_goroutine_confidence_name(l->confidence));
	if (l->goid != 0)
		labels[n++] = number_label("goroutine", l->goid);
	n += put_own_labels(w, l->label_set, labels + n);
	gd_pprof_sample(w->pprof, g->ids, g->n_ids, values, labels, n);
	w->written->by_class[g->is.class_] += count;
}

static void write_group(struct writing *w, const uint8_t *key, size_t len, uint64_t number)
{
	static struct group g;
	const struct count *count = &w->profile->counts[number - 1];
	take_group(&g, w->places, w->how->away, key, len, number);
	if (g.is.parked)
		fold_parking(w, &g);
	else
		find_places(w, &g);
	for (uint32_t state = 0; state < GD_SWITCH_STATES; state++) {
		int64_t ns = w->how->away ? count->ns[state]
		                          : (int64_t)count->n[state] * w->how->period_ns;
		if (count->n[state] == 0 && ns == 0)
			continue;
		write_state(w, &g, state, count->n[state], ns);
		if (!w->how->away)
			continue;
		w->written->away_ns[state] += ns;
		if (g.is.parked && state == GD_SWITCH_BLOCKED)
			w->written->parked_ns += ns;
	}
	if (w->folded != NULL)
		fold(w, gd_go_class_name(g.is.class_),
		     gd_samples_write_thread(w->how, g.is.labels.tid), g.frames, g.is.n,
		     count->n[0]);
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
	if (w->folded == NULL)
		return;
	gd_buf_reset(&w->line);
	gd_buf_puts(&w->line, "lost;[unknown];[lost]");
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

void gd_samples_profile_want(const struct gd_samples_profile *p, struct gd_kernel_names *kernel,
                             struct gd_native_names *native)
{
	const void *key;
	size_t cursor = 0, len;
	uint64_t number;
	while (gd_known_next(p->groups, &cursor, &key, &len, &number)) {
		struct head head;
		struct gd_perf_frame frame;
		memcpy(&head, key, sizeof(head));
		for (size_t i = 0; i < head.n; i++) {
			memcpy(&frame, (const uint8_t *)key + sizeof(head) + i * sizeof(frame),
			       sizeof(frame));
			if (frame.kind == GD_PERF_FRAME_KERNEL)
				(void)gd_kernel_names_want(kernel, gd_samples_places_address(&frame));
			else if (frame.kind == GD_PERF_FRAME_NATIVE)
				(void)gd_native_names_want(native, gd_samples_places_address(&frame));
		}
	}
}

/* Where each set of labels lies. */
static int find_sets(struct writing *w, struct gd_error *err)
{
	const void *key;
	size_t cursor = 0, len;
	uint64_t number;
	w->sets = calloc(w->profile->n_label_sets + 1, sizeof(*w->sets));
	if (w->sets == NULL)
		return gd_fail_errno(err, -ENOMEM, "labels of samples");
	while (gd_known_next(w->profile->label_sets, &cursor, &key, &len, &number))
		w->sets[number - 1] = (struct label_set){ key, len };
	return 0;
}

static const struct gd_pprof_type types_cpu[] = { { "samples", "count" }, { "cpu", "nanoseconds" } };
static const struct gd_pprof_type types_away[] = { { "switches", "count" },
	                                           { "offcpu", "nanoseconds" } };

static int finish(struct writing *w, const struct gd_pprof_type types[2], struct gd_error *err)
{
	const struct gd_pprof_about about = {
		.time_ns = w->how->started_realtime_ns,
		.duration_ns = w->how->duration_ns,
		.period_type = w->how->away ? types[0] : types[1],
		.period = w->how->away ? 1 : w->how->period_ns,
		.comment = w->how->comment,
		.default_type = types[1].type,
	};
	write_lost(w);
	return gd_pprof_finish(w->pprof, &about, err);
}

int gd_samples_profile_write(struct gd_samples_profile *p, const struct gd_samples_write *how,
                             struct gd_stream *pprof, struct gd_stream *folded,
                             struct gd_samples_written *ret, struct gd_error *err)
{
	const struct gd_pprof_type *types = how->away ? types_away : types_cpu;
	*ret = (struct gd_samples_written){ .by_class = { 0 } };
	struct writing w = { .how = how, .line = GD_BUF_INIT(LINE_MAX_BYTES), .written = ret,
		             .profile = p };
	int r = gd_pprof_create(pprof, types, 2, &w.pprof, err);
	if (r == 0 && folded != NULL)
		r = gd_known_create(FOLDED_MAX, FOLDED_BYTES_MAX, &w.folded, err);
	if (r == 0)
		r = gd_samples_places_create(how->target, how->go, how->kernel, how->native, w.pprof, &w.places, err);
	if (r == 0)
		r = find_sets(&w, err);
	const void *key;
	size_t cursor = 0, len;
	uint64_t number;
	while (r == 0 && gd_known_next(p->groups, &cursor, &key, &len, &number))
		if (number != 0)
			write_group(&w, key, len, number);
	if (r == 0)
		r = finish(&w, types, err);
	if (r == 0 && folded != NULL)
		r = write_folded(&w, folded, err);
	gd_samples_places_destroy(w.places);
	gd_known_destroy(w.folded);
	gd_pprof_destroy(w.pprof);
	gd_buf_deinit(&w.line);
	free(w.sets);
	return r;
}
