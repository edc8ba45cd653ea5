/*
 * runtime.json: what the Go runtime says of itself without being asked: version and settings, the
 * collector's counters, pauses and plans, the totals of runtime.MemStats under their own names, the
 * scheduler with every P and M, and how long goroutines waited to run and the world stood still.
 * buildinfo.json: what `go version -m` prints.
 *
 * Each part is read on its own; one that cannot be read is left out and makes the artifact partial.
 * docs/archive-format.md describes every key.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collectors/build.h"
#include "collectors/collector.h"
#include "golang/memstats.h"
#include "golang/scheduler.h"
#include "golang/stats.h"

#define JSON_BYTES_MAX (64u << 20)

static const struct gd_artifact runtime_json = {
	.name = "runtime.json",
	.media_type = "application/json",
	.collector = "runtime",
	.compress = 1,
};

static const struct gd_artifact buildinfo_json = {
	.name = "buildinfo.json",
	.media_type = "application/json",
	.collector = "runtime",
	.compress = 1,
};

struct parts {
	struct gd_stats stats;
	struct gd_memstats memstats;
	struct gd_scheduler scheduler;
	bool has_stats, has_memstats, has_scheduler;
};

/* With GOGC=off and no limit the goal is some 8 EiB, or 2^64 - 1, which few readers can hold. */
static void write_goal(struct gd_json *j, const char *key, uint64_t bytes)
{
	if (bytes > UINT64_C(1) << 60)
		gd_json_null(j, key);
	else
		gd_json_u64(j, key, bytes);
}

static void write_rate(struct gd_json *j, const char *key, struct gd_go *go, uint64_t addr)
{
	uint64_t rate;
	if (addr != 0 && gd_memory_read_u64(go->memory, addr, &rate, NULL) == 0)
		gd_json_u64(j, key, rate);
	else
		gd_json_null(j, key);
}

static void write_settings(struct gd_json *j, struct gd_go *go, const struct parts *p)
{
	const struct gd_pacer *pacer = &p->stats.pacer;
	gd_json_object(j, "settings");
	if (p->has_stats && p->stats.pacer_error.code == 0) {
		gd_json_i64(j, "gogc", pacer->gc_percent);
		if (pacer->memory_limit != INT64_MAX)
			gd_json_i64(j, "gomemlimit", pacer->memory_limit);
		else
			gd_json_null(j, "gomemlimit");
	}
	if (p->has_scheduler)
		gd_json_i64(j, "gomaxprocs", p->scheduler.gomaxprocs);
	write_rate(j, "mem_profile_rate", go, go->globals.mem_profile_rate);
	write_rate(j, "block_profile_rate", go, go->globals.block_profile_rate);
	write_rate(j, "mutex_profile_fraction", go, go->globals.mutex_profile_fraction);
	gd_json_object_end(j);
}

static int by_pause(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;
	return *x < *y ? -1 : *x > *y;
}

static void write_pauses(struct gd_json *j, const struct gd_stats *s)
{
	char text[GD_CLOCK_TEXT];
	uint64_t sorted[GD_STATS_PAUSES];
	for (size_t i = 0; i < s->n_pauses; i++)
		sorted[i] = s->pauses[i].pause_ns;
	qsort(sorted, s->n_pauses, sizeof(sorted[0]), by_pause);
	if (s->n_pauses > 0) {
		gd_json_u64(j, "pause_p50_ns", sorted[(s->n_pauses - 1) / 2]);
		gd_json_u64(j, "pause_p99_ns", sorted[(s->n_pauses - 1) * 99 / 100]);
		gd_json_u64(j, "pause_max_ns", sorted[s->n_pauses - 1]);
	}
	gd_json_array(j, "pauses");
	for (size_t i = 0; i < s->n_pauses; i++) {
		gd_json_object(j, NULL);
		gd_json_string(j, "end", gd_clock_text(text, (int64_t)s->pauses[i].end_ns));
		gd_json_u64(j, "end_ns", s->pauses[i].end_ns);
		gd_json_u64(j, "pause_ns", s->pauses[i].pause_ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
}

static void write_gc(struct gd_json *j, const struct gd_stats *s)
{
	char text[GD_CLOCK_TEXT];
	gd_json_object(j, "gc");
	gd_json_string(j, "phase", gd_stats_phase(s->phase));
	gd_json_u64(j, "count", s->num_gc);
	gd_json_u64(j, "forced", s->num_forced_gc);
	if (s->last_gc_ns > 0)
		gd_json_string(j, "last", gd_clock_text(text, (int64_t)s->last_gc_ns));
	gd_json_u64(j, "last_ns", s->last_gc_ns);
	gd_json_double(j, "cpu_fraction", s->gc_cpu_fraction);
	if (s->pacer_error.code == 0) {
		gd_json_u64(j, "heap_live", s->pacer.heap_live);
		gd_json_u64(j, "heap_marked", s->pacer.heap_marked);
		write_goal(j, "heap_goal", s->heap_goal);
		write_goal(j, "heap_trigger", s->heap_trigger);
	}
	gd_json_bool(j, "torn", s->torn);
	gd_json_u64(j, "pause_total_ns", s->pause_total_ns);
	write_pauses(j, s);
	gd_json_object_end(j);
}

static void write_memstats(struct gd_json *j, const struct gd_memstats *m)
{
	const struct {
		const char *key;
		uint64_t value;
	} members[] = {
		{ "TotalAlloc", m->total_alloc },     { "Sys", m->sys },
		{ "Mallocs", m->mallocs },            { "Frees", m->frees },
		{ "HeapAlloc", m->heap_alloc },       { "HeapSys", m->heap_sys },
		{ "HeapIdle", m->heap_idle },         { "HeapInuse", m->heap_inuse },
		{ "HeapReleased", m->heap_released }, { "HeapObjects", m->heap_objects },
		{ "StackInuse", m->stack_inuse },     { "StackSys", m->stack_sys },
		{ "MSpanInuse", m->mspan_inuse },     { "MSpanSys", m->mspan_sys },
		{ "MCacheInuse", m->mcache_inuse },   { "MCacheSys", m->mcache_sys },
		{ "BuckHashSys", m->buck_hash_sys },  { "GCSys", m->gc_sys },
		{ "OtherSys", m->other_sys },
	};
	gd_json_object(j, "memstats");
	gd_json_bool(j, "exact", m->exact);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		gd_json_u64(j, members[i].key, members[i].value);
	write_goal(j, "NextGC", m->next_gc);
	gd_json_array(j, "BySize");
	for (unsigned i = 1; i < GD_MEMSTATS_CLASSES; i++) {
		if (m->by_size[i].mallocs == 0)
			continue;
		gd_json_object(j, NULL);
		gd_json_u64(j, "Size", m->by_size[i].size);
		gd_json_u64(j, "Mallocs", m->by_size[i].mallocs);
		gd_json_u64(j, "Frees", m->by_size[i].frees);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void write_goroutines(struct gd_json *j, const struct gd_scheduler *s)
{
	gd_json_object(j, "goroutines");
	gd_json_u64(j, "count", s->goroutines);
	gd_json_u64(j, "system", s->system_goroutines);
	gd_json_object(j, "by_status");
	for (uint32_t i = 0; i < GD_G_STATUSES; i++)
		if (s->by_status[i] > 0)
			gd_json_u64(j, gd_goroutine_status_name((enum gd_goroutine_status)i),
			            s->by_status[i]);
	if (s->unknown_status > 0)
		gd_json_u64(j, "unknown", s->unknown_status);
	gd_json_object_end(j);
	gd_json_object_end(j);
}

static void write_p(struct gd_json *j, const struct gd_scheduler *s, const struct gd_p *p)
{
	gd_json_object(j, NULL);
	gd_json_i64(j, "id", p->id);
	gd_json_string(j, "status", gd_scheduler_p_status(p->status));
	for (size_t i = 0; i < s->n_ms; i++)
		if (p->m != 0 && s->ms[i].addr == p->m)
			gd_json_i64(j, "m", s->ms[i].id);
	gd_json_u64(j, "runq", p->runq);
	gd_json_u64(j, "schedtick", p->schedtick);
	gd_json_u64(j, "syscalltick", p->syscalltick);
	gd_json_object_end(j);
}

static void write_m(struct gd_json *j, const struct gd_m *m)
{
	gd_json_object(j, NULL);
	gd_json_i64(j, "id", m->id);
	gd_json_u64(j, "tid", m->tid);
	if (m->p >= 0)
		gd_json_i64(j, "p", m->p);
	if (m->curg != 0)
		gd_json_u64(j, "goroutine", m->curg);
	if (m->locked_g != 0)
		gd_json_u64(j, "locked_to", m->locked_g);
	gd_json_bool(j, "spinning", m->spinning);
	gd_json_bool(j, "blocked", m->blocked);
	gd_json_bool(j, "incgo", m->incgo);
	gd_json_i64(j, "cgo_calls", m->ncgo);
	gd_json_i64(j, "locks", m->locks);
	gd_json_object_end(j);
}

static void write_scheduler(struct gd_json *j, const struct gd_scheduler *s)
{
	gd_json_object(j, "scheduler");
	gd_json_i64(j, "idle_ps", s->p_idle);
	gd_json_i64(j, "idle_ms", s->m_idle);
	gd_json_i64(j, "spinning_ms", s->m_spinning);
	gd_json_i64(j, "created_ms", s->m_created);
	gd_json_i64(j, "runq", s->runq);
	gd_json_bool(j, "stopping_the_world", s->gc_waiting);
	gd_json_u64(j, "goid_generated", s->goid_generated);
	if (s->mutex_wait_ns >= 0) {
		gd_json_i64(j, "mutex_wait_ns", s->mutex_wait_ns);
		gd_json_i64(j, "runtime_lock_wait_ns", s->runtime_lock_wait_ns);
	}
	gd_json_array(j, "ps");
	for (size_t i = 0; i < s->n_ps; i++)
		write_p(j, s, &s->ps[i]);
	gd_json_array_end(j);
	gd_json_array(j, "ms");
	for (size_t i = 0; i < s->n_ms; i++)
		write_m(j, &s->ms[i]);
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void write_histogram(struct gd_json *j, const char *key, const struct gd_histogram *h)
{
	if (h->n == 0)
		return;
	gd_json_object(j, key);
	gd_json_u64(j, "count", h->total);
	gd_json_u64(j, "p50_ns", gd_histogram_quantile(h, 0.50));
	gd_json_u64(j, "p90_ns", gd_histogram_quantile(h, 0.90));
	gd_json_u64(j, "p99_ns", gd_histogram_quantile(h, 0.99));
	gd_json_u64(j, "max_ns", gd_histogram_quantile(h, 1));
	if (h->underflow > 0)
		gd_json_u64(j, "negative", h->underflow);
	gd_json_array(j, "buckets");
	for (size_t i = 0; i < h->n; i++) {
		if (h->counts[i] == 0)
			continue;
		gd_json_object(j, NULL);
		gd_json_u64(j, "from_ns", gd_histogram_bound(h, i));
		gd_json_u64(j, "to_ns", gd_histogram_bound(h, i + 1));
		gd_json_u64(j, "count", h->counts[i]);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	if (h->overflow > 0)
		gd_json_u64(j, "longer", h->overflow);
	gd_json_object_end(j);
}

static void write_histograms(struct gd_json *j, const struct gd_scheduler *s)
{
	gd_json_object(j, "histograms");
	write_histogram(j, "scheduling_latency", &s->latency);
	write_histogram(j, "gc_pauses", &s->gc_pauses);
	write_histogram(j, "stw_stopping_gc", &s->stw_stopping_gc);
	write_histogram(j, "stw_total_gc", &s->stw_total_gc);
	write_histogram(j, "stw_stopping_other", &s->stw_stopping_other);
	write_histogram(j, "stw_total_other", &s->stw_total_other);
	gd_json_object_end(j);
}

static void write_runtime(struct gd_json *j, struct gd_go *go, const struct parts *p)
{
	gd_json_object(j, NULL);
	gd_json_string(j, "version", go->build.version);
	gd_json_string(j, "layout",
	               go->layout.trust == GD_LAYOUT_EXACT ? "exact" : "calibrated");
	gd_json_string(j, "note", go->note);
	gd_build_write(j, "build", go->build.modinfo != NULL ? go->build.modinfo : "", false);
	write_settings(j, go, p);
	if (p->has_stats)
		write_gc(j, &p->stats);
	if (p->has_memstats)
		write_memstats(j, &p->memstats);
	if (p->has_scheduler) {
		write_goroutines(j, &p->scheduler);
		write_scheduler(j, &p->scheduler);
		write_histograms(j, &p->scheduler);
	}
	gd_json_object_end(j);
	gd_buf_putc(j->out, '\n');
}

static void read_parts(struct gd_collect *c, struct parts *p, struct gd_outcome *outcome)
{
	struct gd_error err = { 0 };
	/* The collector's counters first: they belong to the instant closest to the beginning. */
	p->has_stats = gd_stats_read(c->go, &p->stats, &err) == 0;
	if (!p->has_stats)
		*outcome = gd_outcome_worse(*outcome, gd_outcome_of(GD_GRADE_PARTIAL, &err));
	else if (p->stats.pacer_error.code != 0)
		*outcome = gd_outcome_worse(*outcome, gd_outcome_of(GD_GRADE_PARTIAL,
		                                                    &p->stats.pacer_error));
	else if (p->stats.torn)
		*outcome = gd_outcome_worse(
			*outcome, gd_outcome(GD_GRADE_PARTIAL, -EAGAIN,
		                             "collections kept ending while their counters were "
		                             "read: the last pauses may be off"));
	p->has_memstats = gd_memstats_read(c->go, &p->memstats, &err) == 0;
	if (!p->has_memstats)
		*outcome = gd_outcome_worse(*outcome, gd_outcome_of(GD_GRADE_PARTIAL, &err));
	p->has_scheduler = gd_scheduler_read(c->go, &p->scheduler, &err) == 0;
	if (!p->has_scheduler)
		*outcome = gd_outcome_worse(*outcome, gd_outcome_of(GD_GRADE_PARTIAL, &err));
	else if (p->scheduler.why.code != 0)
		*outcome = gd_outcome_worse(*outcome, gd_outcome_of(GD_GRADE_PARTIAL,
		                                                    &p->scheduler.why));
	c->torn_reads += p->stats.repeated + p->memstats.repeated;
	c->torn_repeated += (p->stats.torn ? 0 : p->stats.repeated) +
	                    (p->memstats.exact ? p->memstats.repeated : 0);
}

static struct gd_outcome put(struct gd_collect *c, const struct gd_artifact *artifact,
                             struct gd_buf *buf, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	int r = gd_buf_check(buf, artifact->name, &err);
	if (r == 0)
		r = gd_sink_put(c->sink, artifact, buf->data, buf->len, &outcome, &err);
	else {
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
		r = c->sink->absent(c->sink, artifact, &outcome, &err);
	}
	return r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &err) : outcome;
}

static struct gd_outcome put_runtime(struct gd_collect *c)
{
	GD_BUF struct gd_buf buf = GD_BUF_INIT(JSON_BYTES_MAX);
	struct gd_json json = GD_JSON_INIT(&buf);
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	GD_FREE struct parts *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return put(c, &runtime_json, &buf,
		           gd_outcome(GD_GRADE_FAILED, -ENOMEM, "no memory"));
	read_parts(c, p, &outcome);
	write_runtime(&json, c->go, p);
	gd_scheduler_deinit(&p->scheduler);
	return put(c, &runtime_json, &buf, outcome);
}

static struct gd_outcome put_buildinfo(struct gd_collect *c)
{
	GD_BUF struct gd_buf buf = GD_BUF_INIT(JSON_BYTES_MAX);
	struct gd_json json = GD_JSON_INIT(&buf);
	const char *modinfo = c->go->build.modinfo;
	gd_json_object(&json, NULL);
	gd_json_string(&json, "version", c->go->build.version);
	gd_build_write(&json, "build", modinfo != NULL ? modinfo : "", true);
	gd_json_object_end(&json);
	gd_buf_putc(&buf, '\n');
	return put(c, &buildinfo_json, &buf, GD_OUTCOME_COMPLETE);
}

static struct gd_outcome collect(struct gd_collect *c)
{
	struct gd_error err = { 0 };
	struct gd_outcome outcome;
	if (c->go != NULL) {
		outcome = put_runtime(c);
		return gd_outcome_worse(outcome, put_buildinfo(c));
	}
	outcome = gd_collect_without_go(c);
	if (c->sink->absent(c->sink, &runtime_json, &outcome, &err) < 0 ||
	    c->sink->absent(c->sink, &buildinfo_json, &outcome, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

const struct gd_collector gd_collector_runtime = {
	.name = "runtime",
	.profile = GD_PROFILE_LIGHT,
	.needs_go = true,
	.collect = collect,
};
