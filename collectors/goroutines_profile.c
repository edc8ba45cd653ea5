#include "collectors/goroutines_profile.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "golang/funcname.h"

enum {
	GROUPS_MAX = 1 << 15,
	GROUPS_BYTES_MAX = 8 << 20,
	KEY_BYTES_MAX = GD_FRAMES_MAX * 8 + GD_LABELS_BYTES_MAX + GD_LABELS_MAX * 16 + 4096,
	SAMPLE_LABELS_MAX = GD_LABELS_MAX + 2,
};

static const struct gd_pprof_type type = { "goroutine", "count" };

int gd_goroutines_profile_init(struct gd_goroutines_profile *p, struct gd_stream *stream,
                               struct gd_go *go, int exe_fd, struct gd_error *err)
{
	*p = (struct gd_goroutines_profile){ .key = GD_BUF_INIT(KEY_BYTES_MAX) };
	int r = gd_pprof_create(stream, &type, 1, &p->pprof, err);
	if (r == 0)
		r = gd_locations_init(&p->locations, go, p->pprof, exe_fd, err);
	if (r == 0)
		r = gd_known_create(GROUPS_MAX, GROUPS_BYTES_MAX, &p->groups, err);
	return r;
}

void gd_goroutines_profile_deinit(struct gd_goroutines_profile *p)
{
	gd_known_destroy(p->groups);
	gd_locations_deinit(&p->locations);
	gd_pprof_destroy(p->pprof);
	gd_buf_deinit(&p->key);
}

/* ---- a group's key: number of frames, program counters, then labels as strings with lengths - */

static void put_word(struct gd_buf *key, uint64_t word)
{
	gd_buf_append(key, &word, sizeof(word));
}

static void put_string(struct gd_buf *key, const char *s, size_t n)
{
	put_word(key, n);
	gd_buf_append(key, s, n);
}

static void put_text(struct gd_buf *key, const char *name, const char *value)
{
	put_string(key, name, strlen(name));
	put_string(key, value, strlen(value));
}

/* A wrapper's own frame, which the runtime leaves out of profiles unless it calls for a panic. */
static bool left_out(const struct gd_goroutine *g, size_t i)
{
	const struct gd_site *site = g->frames[i].site;
	if (site->n_lines > 1 || !site->lines[0].wrapper)
		return false;
	const struct gd_site *callee = i > 0 ? g->frames[i - 1].site : NULL;
	return callee == NULL ||
	       !gd_funcname_raises_panic(callee->lines[callee->n_lines - 1].function);
}

static void make_key(struct gd_buf *key, const struct gd_goroutine *g)
{
	uint64_t n = 0;
	gd_buf_reset(key);
	put_word(key, n);
	for (size_t i = 0; i < g->n_frames; i++) {
		if (left_out(g, i))
			continue;
		/* as the runtime does: all are return addresses, also those which are none */
		put_word(key, g->frames[i].pc + g->frames[i].exact);
		n++;
	}
	if (key->failed == 0)
		memcpy(key->data, &n, sizeof(n));
	put_text(key, "state",
	         g->reason != NULL ? g->reason : gd_goroutine_status_name(g->status));
	if (g->frames_are == GD_FRAMES_APPROXIMATE)
		put_text(key, "frames", "approximate");
	else if (g->frames_are == GD_FRAMES_TORN)
		put_text(key, "frames", "torn");
	for (size_t i = 0; g->labels != NULL && i < g->labels->n; i++) {
		const struct gd_labels_pair *pair = &g->labels->pairs[i];
		put_string(key, pair->key, pair->key_len);
		put_string(key, pair->value, pair->value_len);
	}
}

static const char *take_string(struct gd_bytes *b, size_t *ret_n)
{
	*ret_n = (size_t)gd_bytes_u64(b);
	return (const char *)gd_bytes_take(b, *ret_n);
}

static void write_group(struct gd_goroutines_profile *p, const void *key, size_t len,
                        uint64_t count)
{
	struct gd_bytes b = gd_bytes_of(key, len);
	size_t n = (size_t)gd_bytes_u64(&b);
	uint64_t pcs[GD_FRAMES_MAX];
	for (size_t i = 0; i < n && i < GD_FRAMES_MAX; i++)
		pcs[i] = gd_bytes_u64(&b);
	uint64_t ids[GD_PPROF_DEPTH_MAX];
	size_t n_ids = gd_locations_of(&p->locations, pcs, n, ids);
	struct gd_pprof_label labels[SAMPLE_LABELS_MAX];
	size_t n_labels = 0;
	while (b.pos < b.len && !b.bad && n_labels < SAMPLE_LABELS_MAX) {
		struct gd_pprof_label *label = &labels[n_labels];
		*label = (struct gd_pprof_label){ 0 };
		label->key = take_string(&b, &label->key_len);
		label->text = take_string(&b, &label->text_len);
		if (!b.bad)
			n_labels++;
	}
	int64_t value = (int64_t)count;
	gd_pprof_sample(p->pprof, ids, n_ids, &value, labels, n_labels);
}

static void write_groups(struct gd_goroutines_profile *p)
{
	const void *key;
	size_t cursor = 0, len;
	uint64_t count;
	while (gd_known_next(p->groups, &cursor, &key, &len, &count))
		write_group(p, key, len, count);
	gd_known_clear(p->groups);
}

void gd_goroutines_profile_add(struct gd_goroutines_profile *p, const struct gd_goroutine *g)
{
	make_key(&p->key, g);
	uint64_t *count = gd_known_find(p->groups, p->key.data, p->key.len);
	if (count == NULL) {
		if (gd_known_full(p->groups, p->key.len))
			write_groups(p);
		count = gd_known_slot(p->groups, p->key.data, p->key.len);
	}
	if (count != NULL && p->key.failed == 0)
		(*count)++;
	else
		write_group(p, p->key.data, p->key.len, 1);
}

int gd_goroutines_profile_finish(struct gd_goroutines_profile *p, struct gd_error *err)
{
	write_groups(p);
	struct gd_pprof_about about = {
		.time_ns = gd_clock_now().realtime_ns,
		.period_type = type,
		.period = 1,
	};
	return gd_pprof_finish(p->pprof, &about, err);
}
