#include "collectors/samples_timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "collectors/samples_places.h"

enum {
	FLUSH_BYTES = 128 << 10,
	LINE_BYTES_MAX = 4 << 20,
	PAUSES = 256, /* mstats.pause_ns is a ring of so many */
};

enum kind { SAMPLE, AWAY, GC_PAUSE, STOP };

struct event {
	int64_t time_ns, ns;
	uint32_t number, cpu;
	uint32_t weight;
	uint8_t kind, state;
};

struct gd_samples_timeline {
	struct event *list;
	size_t n, cap;
	uint64_t dropped;
};

int gd_samples_timeline_create(struct gd_samples_timeline **ret, struct gd_error *err)
{
	struct gd_samples_timeline *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return gd_fail_errno(err, -ENOMEM, "a timeline");
	*ret = t;
	return 0;
}

void gd_samples_timeline_destroy(struct gd_samples_timeline *t)
{
	if (t == NULL)
		return;
	free(t->list);
	free(t);
}

/* ---- while it lasts -------------------------------------------------------------------------- */

static void add(struct gd_samples_timeline *t, const struct event *event)
{
	if (t->n == t->cap) {
		size_t cap = t->cap > 0 ? 2 * t->cap : 1024;
		struct event *list = cap <= GD_SAMPLES_EVENTS_MAX ?
			reallocarray(t->list, cap, sizeof(*list)) : NULL;
		if (list == NULL) {
			t->dropped++;
			return;
		}
		t->list = list;
		t->cap = cap;
	}
	t->list[t->n++] = *event;
}

void gd_samples_timeline_sample(struct gd_samples_timeline *t, int64_t time_ns, uint32_t cpu,
                                uint32_t number)
{
	const struct event event = { .time_ns = time_ns, .number = number, .cpu = cpu,
		                     .weight = 1, .kind = SAMPLE };
	add(t, &event);
}

void gd_samples_timeline_away(struct gd_samples_timeline *t, int64_t time_ns, uint32_t number,
                              enum gd_switch_state state, uint64_t weight, int64_t ns)
{
	const struct event event = { .time_ns = time_ns, .ns = ns, .number = number,
		                     .weight = (uint32_t)weight, .kind = AWAY,
		                     .state = (uint8_t)state };
	add(t, &event);
}

uint64_t gd_samples_timeline_dropped(const struct gd_samples_timeline *t)
{
	return t->dropped;
}

/* ---- what the runtime knows of its pauses ------------------------------------------------------ */

static bool read_words(struct gd_go *go, int32_t offset, uint64_t *to, size_t n)
{
	return go->globals.memstats != 0 && offset >= 0 &&
	       gd_memory_read(go->memory, go->globals.memstats + (uint64_t)offset, to,
	                      n * sizeof(*to), NULL) == 0;
}

/* Those that ended in the window; the runtime notes their end by the wall's clock. */
static void add_pauses(struct gd_samples_timeline *t, struct gd_go *go,
                       const struct gd_samples_timeline_write *how)
{
	uint64_t pauses[PAUSES], ends[PAUSES];
	if (!read_words(go, go->layout.mstats_pause_ns, pauses, PAUSES) ||
	    !read_words(go, go->layout.mstats_pause_end, ends, PAUSES))
		return;
	for (size_t i = 0; i < PAUSES; i++) {
		int64_t since_ns = (int64_t)ends[i] - how->started.realtime_ns;
		if (ends[i] > INT64_MAX || since_ns < 0 || (int64_t)ends[i] > how->ended.realtime_ns ||
		    pauses[i] > INT64_MAX)
			continue;
		const struct event event = { .time_ns = how->started.monotonic_ns + since_ns -
			                                (int64_t)pauses[i],
			                     .ns = (int64_t)pauses[i], .kind = GC_PAUSE };
		add(t, &event);
	}
}

/* ---- lines ----------------------------------------------------------------------------------- */

struct writing {
	const struct gd_samples_timeline_write *how;
	struct gd_samples_places *places;
	struct gd_stream *stream;
	struct gd_buf text;
	struct gd_json json;
	uint32_t offset; /* added to the numbers of the profile at hand */
	int failed;
	struct gd_error *err;
};

static void flush(struct writing *w, size_t at_least)
{
	if (w->failed == 0)
		w->failed = gd_buf_check(&w->text, "samples.jsonl", w->err);
	if (w->failed < 0 || w->text.len < at_least || w->text.len == 0)
		return;
	w->failed = w->stream->write(w->stream, w->text.data, w->text.len, w->err);
	gd_buf_reset(&w->text);
}

static void end_line(struct writing *w)
{
	gd_json_object_end(&w->json);
	gd_json_line_end(&w->json);
	flush(w, FLUSH_BYTES);
}

static void put_clock(struct gd_json *json, const char *key, const struct gd_clock *clock)
{
	char time[GD_CLOCK_TEXT];
	gd_json_object(json, key);
	gd_json_string(json, "time", gd_clock_text(time, clock->realtime_ns));
	gd_json_i64(json, "realtime_ns", clock->realtime_ns);
	gd_json_i64(json, "monotonic_ns", clock->monotonic_ns);
	gd_json_i64(json, "boottime_ns", clock->boottime_ns);
	gd_json_object_end(json);
}

static void put_head(struct writing *w, const struct gd_samples_timeline *t)
{
	gd_json_object(&w->json, NULL);
	gd_json_string(&w->json, "kind", "samples");
	gd_json_i64(&w->json, "version", 1);
	put_clock(&w->json, "started", &w->how->started);
	put_clock(&w->json, "ended", &w->how->ended);
	gd_json_i64(&w->json, "period_ns", w->how->names->period_ns);
	gd_json_u64(&w->json, "dropped", t->dropped);
	end_line(w);
}

static void put_group(void *arg, const struct gd_samples_group *g)
{
	struct writing *w = arg;
	const struct gd_samples_labels *l = &g->labels;
	gd_json_object(&w->json, NULL);
	gd_json_u64(&w->json, "group", w->offset + g->number);
	gd_json_string(&w->json, "class", gd_go_class_name(g->class_));
	gd_json_u64(&w->json, "tid", l->tid);
	gd_json_string(&w->json, "thread", gd_samples_write_thread(w->how->names, l->tid));
	if (l->goid != 0)
		gd_json_u64(&w->json, "goroutine", l->goid);
	if (w->how->names->go != NULL)
		gd_json_string(&w->json, "goroutine_confidence",
		               gd_goroutine_confidence_name(l->confidence));
	gd_json_array(&w->json, "frames");
	if (g->parked)
		gd_json_string(&w->json, NULL, "[runtime parking]");
	for (size_t i = 0; i < g->n && !g->parked; i++)
		gd_samples_places_put_json(w->places, &g->frames[i], &w->json);
	gd_json_array_end(&w->json);
	end_line(w);
}

static void put_event(struct writing *w, const struct event *e)
{
	static const char *const names[] = { [SAMPLE] = "sample", [AWAY] = "away",
		                             [GC_PAUSE] = "gc_pause", [STOP] = "stop" };
	gd_json_object(&w->json, NULL);
	gd_json_i64(&w->json, "monotonic_ns", e->time_ns);
	gd_json_string(&w->json, "event", names[e->kind]);
	if (e->kind == SAMPLE) {
		gd_json_u64(&w->json, "cpu", e->cpu);
		gd_json_u64(&w->json, "group", e->number);
	} else {
		gd_json_i64(&w->json, "for_ns", e->ns);
	}
	if (e->kind == AWAY) {
		gd_json_string(&w->json, "state", gd_switch_state_name(e->state));
		gd_json_u64(&w->json, "weight", e->weight);
		gd_json_u64(&w->json, "group", w->offset + e->number);
	}
	end_line(w);
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a;
	const struct event *y = b;
	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

static void put_all(struct writing *w, struct gd_samples_timeline *t)
{
	put_head(w, t);
	gd_samples_profile_each(w->how->cpu, w->places, false, put_group, w);
	w->offset = gd_samples_profile_numbers(w->how->cpu);
	if (w->how->away != NULL)
		gd_samples_profile_each(w->how->away, w->places, true, put_group, w);
	if (t->n > 0)
		qsort(t->list, t->n, sizeof(t->list[0]), by_time);
	for (size_t i = 0; i < t->n && w->failed == 0; i++)
		put_event(w, &t->list[i]);
	flush(w, 0);
}

int gd_samples_timeline_write(struct gd_samples_timeline *t,
                              const struct gd_samples_timeline_write *how,
                              struct gd_stream *stream, struct gd_error *err)
{
	struct writing w = { .how = how, .stream = stream, .text = GD_BUF_INIT(LINE_BYTES_MAX),
		             .err = err };
	w.json = GD_JSON_INIT(&w.text);
	int r = gd_samples_places_create(how->names->target, how->names->go, how->names->kernel,
	                                 how->names->native, NULL, &w.places, err);
	if (r < 0)
		return r;
	if (how->names->go != NULL)
		add_pauses(t, how->names->go, how);
	if (how->stop_ns > 0) {
		const struct event stop = { .time_ns = how->stopped_ns - how->stop_ns / 2,
			                    .ns = how->stop_ns, .kind = STOP };
		add(t, &stop);
	}
	put_all(&w, t);
	gd_samples_places_destroy(w.places);
	gd_buf_deinit(&w.text);
	return w.failed;
}
