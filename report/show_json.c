#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "report/report.h"
#include "report/summary.h"

#define GROUPS_IN_JSON 200
#define SITES_IN_JSON 100

static void put_fact(struct gd_json *j, const char *key, int64_t value)
{
	if (value == GD_FACT_UNKNOWN)
		gd_json_null(j, key);
	else
		gd_json_i64(j, key, value);
}

static void put_ratio(struct gd_json *j, const char *key, double value)
{
	if (value < 0)
		gd_json_null(j, key);
	else
		gd_json_double(j, key, value);
}

static void put_frame(struct gd_json *j, const struct gd_group_frame *frame)
{
	gd_json_string(j, "function", frame->function);
	gd_json_string(j, "file", frame->file);
	gd_json_i64(j, "line", frame->line);
}

static void put_group(struct gd_json *j, const struct gd_group *g)
{
	gd_json_object(j, NULL);
	gd_json_u64(j, "count", g->count);
	gd_json_string(j, "state", g->state);
	gd_json_bool(j, "waiting", g->waiting);
	gd_json_i64(j, "longest_ns", g->longest_ns);
	gd_json_u64(j, "goid", g->goid);
	gd_json_u64(j, "depth", g->depth);
	gd_json_string(j, "via", g->via);
	gd_json_string(j, "created_by", g->created_by);
	gd_json_array(j, "frames");
	for (size_t i = 0; i < g->n_frames; i++) {
		gd_json_object(j, NULL);
		put_frame(j, &g->frames[i]);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_goroutines(struct gd_json *j, const struct gd_summary *s)
{
	const struct gd_groups *g = &s->groups;
	if (s->groups_error.code != 0) {
		gd_json_null(j, "goroutines");
		return;
	}
	gd_json_object(j, "goroutines");
	gd_json_u64(j, "total", g->total);
	gd_json_u64(j, "system", g->system);
	gd_json_u64(j, "torn", g->torn);
	gd_json_u64(j, "unreadable_lines", g->unreadable);
	gd_json_object(j, "by_state");
	for (size_t i = 0; i < g->n_states; i++)
		gd_json_u64(j, g->states[i].name, g->states[i].count);
	gd_json_object_end(j);
	gd_json_u64(j, "n_groups", g->n);
	gd_json_array(j, "groups");
	for (size_t i = 0; i < g->n && i < GROUPS_IN_JSON; i++)
		put_group(j, &g->list[i]);
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_runtime(struct gd_json *j, const struct gd_facts *f)
{
	if (!f->has_runtime) {
		gd_json_null(j, "runtime");
		return;
	}
	gd_json_object(j, "runtime");
	put_fact(j, "gc_count", f->gc_count);
	put_fact(j, "gc_last_ns", f->gc_last_ns);
	put_ratio(j, "gc_cpu_fraction", f->gc_cpu_fraction);
	put_fact(j, "pause_p50_ns", f->pause_p50_ns);
	put_fact(j, "pause_p99_ns", f->pause_p99_ns);
	put_fact(j, "pause_max_ns", f->pause_max_ns);
	put_fact(j, "heap_live", f->heap_live);
	put_fact(j, "heap_goal", f->heap_goal);
	put_fact(j, "heap_objects", f->heap_objects);
	put_fact(j, "heap_released", f->heap_released);
	put_fact(j, "stack_inuse", f->stack_inuse);
	put_fact(j, "sys", f->sys);
	put_fact(j, "gogc", f->gogc);
	put_fact(j, "gomemlimit", f->gomemlimit);
	put_fact(j, "gomaxprocs", f->gomaxprocs);
	put_fact(j, "runq", f->runq);
	put_fact(j, "scheduling_latency_p99_ns", f->latency_p99_ns);
	gd_json_object_end(j);
}

static void put_pressure(struct gd_json *j, const char *key, const struct gd_pressure *p)
{
	gd_json_object(j, key);
	put_ratio(j, "some", p->some);
	put_ratio(j, "full", p->full);
	gd_json_object_end(j);
}

static void put_process(struct gd_json *j, const struct gd_facts *f)
{
	gd_json_object(j, "process");
	put_fact(j, "rss", f->rss);
	put_fact(j, "swap", f->swap);
	put_fact(j, "threads", f->threads);
	put_fact(j, "fds", f->fds);
	put_fact(j, "fd_limit", f->fd_limit);
	gd_json_object_end(j);
	gd_json_object(j, "cgroup");
	put_fact(j, "memory_used", f->memory_used);
	put_fact(j, "memory_limit", f->memory_limit);
	put_fact(j, "ancestor_used", f->ancestor_used);
	put_fact(j, "ancestor_limit", f->ancestor_limit);
	put_fact(j, "pids_used", f->pids_used);
	put_fact(j, "pids_limit", f->pids_limit);
	put_fact(j, "periods", f->periods);
	put_fact(j, "throttled_periods", f->throttled_periods);
	put_fact(j, "throttled_ns", f->throttled_ns);
	put_fact(j, "oom_kills", f->oom_kills);
	put_pressure(j, "pressure_cpu", &f->group_cpu);
	put_pressure(j, "pressure_memory", &f->group_memory);
	put_pressure(j, "pressure_io", &f->group_io);
	gd_json_object_end(j);
	gd_json_object(j, "host");
	put_ratio(j, "load1", f->load1);
	put_fact(j, "memory_available", f->memory_available);
	put_fact(j, "memory_total", f->memory_total);
	put_pressure(j, "pressure_cpu", &f->host_cpu);
	put_pressure(j, "pressure_memory", &f->host_memory);
	put_pressure(j, "pressure_io", &f->host_io);
	gd_json_object_end(j);
}

/* JSON has no number for what is endless. */
static void put_value(struct gd_json *j, const char *key, double value)
{
	if (value >= GD_TIMELINE_ENDLESS)
		gd_json_string(j, key, "inf");
	else
		gd_json_double(j, key, value);
}

static void put_move(struct gd_json *j, const struct gd_timeline_move *m)
{
	gd_json_object(j, NULL);
	gd_json_string(j, "metric", m->name);
	gd_json_string(j, "unit", gd_timeline_units[m->unit]);
	gd_json_bool(j, "named_by_trigger", m->named);
	gd_json_bool(j, "moved", m->moved);
	put_value(j, "before", m->before);
	put_value(j, "now", m->now);
	if (m->since_ns >= 0)
		gd_json_i64(j, "since_ns", m->since_ns);
	else
		gd_json_null(j, "since_ns");
	gd_json_array(j, "points");
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++)
		put_value(j, NULL, m->points[i]);
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_before(struct gd_json *j, const struct gd_summary *s)
{
	if (s->moves_error.code != 0) {
		gd_json_null(j, "before_trigger");
		return;
	}
	gd_json_object(j, "before_trigger");
	gd_json_u64(j, "samples", s->moves.samples);
	gd_json_i64(j, "span_ns", s->moves.span_ns);
	gd_json_array(j, "metrics");
	for (size_t i = 0; i < s->moves.n; i++)
		put_move(j, &s->moves.list[i]);
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_heap(struct gd_json *j, const struct gd_summary *s)
{
	const struct gd_sites *h = &s->heap;
	if (s->heap_error.code != 0) {
		gd_json_null(j, "heap");
		return;
	}
	gd_json_object(j, "heap");
	gd_json_i64(j, "inuse_bytes", h->value);
	gd_json_i64(j, "inuse_objects", h->count);
	gd_json_array(j, "sites");
	for (size_t i = 0; i < h->n && i < SITES_IN_JSON; i++) {
		gd_json_object(j, NULL);
		put_frame(j, &h->list[i].frame);
		gd_json_i64(j, "inuse_bytes", h->list[i].value);
		gd_json_i64(j, "inuse_objects", h->list[i].count);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_shares(struct gd_json *j, const char *key, const struct gd_cpu_shares *shares)
{
	gd_json_array(j, key);
	for (size_t i = 0; i < shares->n; i++) {
		gd_json_object(j, NULL);
		gd_json_string(j, "name", shares->list[i].name);
		gd_json_i64(j, "ns", shares->list[i].ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
}

static void put_syscalls(struct gd_json *j, const struct gd_syscalls *syscalls)
{
	if (syscalls->all <= 0) {
		gd_json_null(j, "syscalls");
		return;
	}
	gd_json_object(j, "syscalls");
	gd_json_i64(j, "all", syscalls->all);
	gd_json_array(j, "most");
	for (size_t i = 0; i < syscalls->n; i++) {
		gd_json_object(j, NULL);
		gd_json_string(j, "name", syscalls->list[i].name);
		gd_json_i64(j, "n", syscalls->list[i].n);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_cpu(struct gd_json *j, const struct gd_summary *s)
{
	const struct gd_cpu *c = &s->cpu;
	if (s->cpu_error.code != 0) {
		gd_json_null(j, "cpu");
		return;
	}
	gd_json_object(j, "cpu");
	gd_json_i64(j, "window_ns", c->window_ns);
	gd_json_i64(j, "used_ns", c->sites.value);
	gd_json_i64(j, "samples", c->sites.count);
	put_shares(j, "classes", &c->classes);
	put_shares(j, "off_cpu", &c->away);
	put_syscalls(j, &c->syscalls);
	gd_json_array(j, "sites");
	for (size_t i = 0; i < c->sites.n && i < SITES_IN_JSON; i++) {
		gd_json_object(j, NULL);
		put_frame(j, &c->sites.list[i].frame);
		gd_json_i64(j, "ns", c->sites.list[i].value);
		gd_json_i64(j, "samples", c->sites.list[i].count);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_object_end(j);
}

int gd_report_show_json(const struct gd_reader *reader, FILE *out, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(64U << 20);
	struct gd_json j = GD_JSON_INIT(&text);
	struct gd_summary s;
	int r = gd_summary_read(reader, &s, err);
	if (r < 0)
		return r;
	gd_json_object(&j, NULL);
	gd_json_string(&j, "digest", reader->manifest_digest);
	gd_json_u64(&j, "bytes", reader->file_bytes);
	gd_json_string(&j, "complaint", gd_reader_complaint(reader));
	gd_snapshot_put(&reader->snapshot, &j, "snapshot");
	put_before(&j, &s);
	gd_json_array(&j, "warnings");
	for (size_t i = 0; i < s.n_warnings; i++) {
		gd_json_object(&j, NULL);
		gd_json_string(&j, "kind", s.warnings[i].kind);
		gd_json_string(&j, "text", s.warnings[i].text);
		gd_json_object_end(&j);
	}
	gd_json_array_end(&j);
	put_goroutines(&j, &s);
	put_runtime(&j, &s.facts);
	put_process(&j, &s.facts);
	put_heap(&j, &s);
	put_cpu(&j, &s);
	gd_json_object_end(&j);
	gd_json_line_end(&j);
	gd_summary_deinit(&s);
	r = gd_buf_check(&text, "report", err);
	if (r == 0)
		(void)fwrite(text.data, 1, text.len, out);
	return r;
}
