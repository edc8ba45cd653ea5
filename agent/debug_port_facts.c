#include "agent/debug_port_facts.h"

#include <stdio.h>

#include "base/json.h"

/* The clock is read before the request is on its way and after the end was seen, so this is for rounding. */
#define SLACK_NS INT64_C(1000000)

/* ---- the line ------------------------------------------------------------------------------- */

int64_t gd_debug_port_facts_place(const struct gd_debug_port_point line[2], uint64_t ticks)
{
	/* Both differences are of seconds, whatever the counters have reached. */
	long double slope = (long double)(line[1].monotonic_ns - line[0].monotonic_ns) /
	                    (long double)(line[1].ticks - line[0].ticks);
	return line[0].monotonic_ns +
	       (int64_t)(slope * (long double)(int64_t)(ticks - line[0].ticks));
}

/* Two points near the trace, so that a double is exact enough for whoever computes with them. */
static bool draw(const struct gd_debug_port_facts *f, struct gd_debug_port_point to[2])
{
	const struct gd_exectrace *t = &f->exectrace;
	if (t->nanotime) {
		for (int i = 0; i < 2; i++) {
			int64_t ns = i == 0 ? f->trace.begun.monotonic_ns : f->trace.ended.monotonic_ns;
			to[i].ticks = (uint64_t)ns / GD_EXECTRACE_TICK_NS;
			to[i].monotonic_ns = (int64_t)to[i].ticks * GD_EXECTRACE_TICK_NS;
		}
	} else {
		if (t->format >= 1022 || !f->has_tsc)
			return false;
		for (int i = 0; i < 2; i++)
			to[i] = (struct gd_debug_port_point){
				f->tsc[i].tsc / GD_EXECTRACE_TICK_CYCLES, f->tsc[i].monotonic_ns
			};
	}
	return to[1].ticks > to[0].ticks && to[1].monotonic_ns > to[0].monotonic_ns;
}

static bool is_within(const struct gd_debug_port_facts *f, int64_t ns)
{
	return ns >= f->trace.begun.monotonic_ns - SLACK_NS &&
	       ns <= f->trace.ended.monotonic_ns + SLACK_NS;
}

bool gd_debug_port_facts_line(const struct gd_debug_port_facts *f, struct gd_debug_port_point to[2])
{
	const struct gd_exectrace *t = &f->exectrace;
	if (!f->has_exectrace || !draw(f, to) ||
	    !is_within(f, gd_debug_port_facts_place(to, t->first)) ||
	    !is_within(f, gd_debug_port_facts_place(to, t->last)))
		return false;
	if (!t->has_snapshot)
		return true;
	int64_t off_ns = gd_debug_port_facts_place(to, t->snapshot_ticks) -
	                 (int64_t)t->snapshot_monotonic_ns;
	return off_ns > -SLACK_NS && off_ns < SLACK_NS;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void put_clock(struct gd_json *j, const char *key, const struct gd_clock *clock)
{
	gd_json_object(j, key);
	gd_json_i64(j, "monotonic_ns", clock->monotonic_ns);
	gd_json_i64(j, "realtime_ns", clock->realtime_ns);
	gd_json_object_end(j);
}

static void put_ports(const struct gd_debug_port_facts *f, const struct gd_debug_port_client *client,
                      struct gd_json *j)
{
	gd_json_array(j, "ports");
	for (size_t i = 0; i < client->n; i++) {
		gd_json_object(j, NULL);
		gd_json_string(j, "address", client->listeners[i].text);
		gd_json_u64(j, "inode", client->listeners[i].inode);
		gd_json_bool(j, "offers", f->ports[i].why.code == 0);
		gd_json_string(j, "why_not", f->ports[i].why.code < 0 ? f->ports[i].why.msg : NULL);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_u64(j, "ports_left_out", client->n_all - client->n);
}

static void put_answer(const struct gd_debug_port_answer *a, const char *artifact, struct gd_json *j)
{
	gd_json_string(j, "artifact", a->outcome.grade <= GD_GRADE_PARTIAL ? artifact : NULL);
	gd_json_string(j, "grade", gd_grade_name(a->outcome.grade));
	gd_json_string(j, "why", a->outcome.why.code < 0 ? a->outcome.why.msg : NULL);
	if (a->url[0] == '\0')
		return;
	gd_json_string(j, "url", a->url);
	if (a->status != 0)
		gd_json_i64(j, "http_status", a->status);
	else
		gd_json_null(j, "http_status");
	gd_json_u64(j, "bytes", a->bytes);
	put_clock(j, "begun", &a->begun);
	put_clock(j, "ended", &a->ended);
}

static void put_line(const struct gd_debug_port_facts *f, struct gd_json *j)
{
	struct gd_debug_port_point line[2];
	const struct gd_exectrace *t = &f->exectrace;
	bool placed = gd_debug_port_facts_line(f, line);
	gd_json_bool(j, "aligned", placed);
	if (!placed)
		return;
	gd_json_array(j, "points");
	for (int i = 0; i < 2; i++) {
		gd_json_object(j, NULL);
		gd_json_u64(j, "ticks", line[i].ticks);
		gd_json_i64(j, "monotonic_ns", line[i].monotonic_ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
	gd_json_i64(j, "first_monotonic_ns", gd_debug_port_facts_place(line, t->first));
	gd_json_i64(j, "last_monotonic_ns", gd_debug_port_facts_place(line, t->last));
}

static void put_trace_clock(const struct gd_debug_port_facts *f, struct gd_json *j)
{
	const struct gd_exectrace *t = &f->exectrace;
	char format[16];
	(void)snprintf(format, sizeof(format), "go 1.%u", t->format % 1000);
	gd_json_object(j, "clock");
	gd_json_string(j, "format", format);
	gd_json_string(j, "ticks", t->nanotime        ? "CLOCK_MONOTONIC / 64"
	                           : t->format < 1022 ? "TSC / 64"
	                                              : "unknown");
	if (t->per_second != 0)
		gd_json_u64(j, "ticks_per_second", t->per_second);
	else
		gd_json_null(j, "ticks_per_second");
	gd_json_u64(j, "batches", t->batches);
	gd_json_u64(j, "first_ticks", t->first);
	gd_json_u64(j, "last_ticks", t->last);
	put_line(f, j);
	gd_json_object_end(j);
}

static void put_tsc(const struct gd_debug_port_facts *f, struct gd_json *j)
{
	if (!f->has_tsc)
		return;
	gd_json_array(j, "tsc");
	for (int i = 0; i < 2; i++) {
		gd_json_object(j, NULL);
		gd_json_u64(j, "tsc", f->tsc[i].tsc);
		gd_json_i64(j, "monotonic_ns", f->tsc[i].monotonic_ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
}

void gd_debug_port_facts_put(const struct gd_debug_port_facts *f,
                             const struct gd_debug_port_client *client, struct gd_buf *to)
{
	struct gd_json json = GD_JSON_INIT(to);
	struct gd_json *j = &json;
	gd_json_object(j, NULL);
	put_ports(f, client, j);
	gd_json_object(j, "cpu");
	put_answer(&f->cpu, GD_DEBUG_PORT_CPU, j);
	if (f->profile_time_ns != 0) {
		gd_json_i64(j, "time_ns", f->profile_time_ns);
		gd_json_i64(j, "duration_ns", f->profile_duration_ns);
	}
	gd_json_object_end(j);
	if (client->trace_ns > 0) {
		gd_json_object(j, "trace");
		put_answer(&f->trace, GD_DEBUG_PORT_TRACE, j);
		if (f->has_exectrace)
			put_trace_clock(f, j);
		gd_json_object_end(j);
	}
	put_tsc(f, j);
	gd_json_object_end(j);
	gd_json_line_end(j);
}
