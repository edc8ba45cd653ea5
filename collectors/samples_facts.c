#include "collectors/samples_facts.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/units.h"
#include "collectors/samples_syscalls.h"

static const char *why(const struct gd_error *err)
{
	return err->code != 0 ? err->msg : NULL;
}

static void put_how(const struct gd_samples_facts *f, struct gd_json *json)
{
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(f->taken->sampler);
	gd_json_string(json, "event", gd_perf_event_name(about->event));
	gd_json_string(json, "way", gd_perf_way_name(about->way));
	gd_json_string(json, "fell_back", why(&about->fell_back));
	gd_json_u64(json, "frequency_hz", f->frequency_hz);
	gd_json_u64(json, "stack_copy_bytes", about->stack_bytes);
	gd_json_bool(json, "kernel", about->kernel);
	gd_json_string(json, "kernel_names", why(&f->no_kernel_names));
	gd_json_u64(json, "cpus", about->cpus);
	gd_json_u64(json, "descriptors", about->fds);
	gd_json_u64(json, "ring_bytes", about->ring_bytes);
}

static void put_window(const struct gd_samples_taken *t, struct gd_json *json)
{
	char time[GD_CLOCK_TEXT];
	gd_json_object(json, "window");
	gd_json_string(json, "started", gd_clock_text(time, t->started.realtime_ns));
	gd_json_i64(json, "started_realtime_ns", t->started.realtime_ns);
	gd_json_i64(json, "started_ns", t->started.monotonic_ns);
	gd_json_i64(json, "ended_ns", t->ended.monotonic_ns);
	gd_json_object_end(json);
}

static void put_classes(const struct gd_samples_written *written, struct gd_json *json)
{
	gd_json_object(json, "classes");
	for (unsigned i = 0; i < GD_CLASSES; i++)
		gd_json_u64(json, gd_go_class_name((enum gd_go_class)i),
		            written->by_class[i]);
	gd_json_object_end(json);
}

static void put_samples(const struct gd_samples_facts *f, struct gd_json *json)
{
	const struct gd_samples_taken *t = f->taken;
	gd_json_u64(json, "samples", t->samples);
	gd_json_u64(json, "lost", t->lost);
	gd_json_u64(json, "over_the_ceiling", t->overflown);
	gd_json_u64(json, "senseless", t->senseless);
	gd_json_u64(json, "of_others", t->foreign);
	gd_json_u64(json, "throttled", t->throttled);
	gd_json_object(json, "unwound");
	for (unsigned i = 0; i < GD_PERF_ENDS; i++)
		gd_json_u64(json, gd_perf_stack_end_name((enum gd_perf_stack_end)i), t->by_end[i]);
	gd_json_u64(json, "spliced", t->spliced);
	gd_json_u64(json, "callers_inferred", t->inferred);
	gd_json_object_end(json);
	gd_json_object(json, "native_callers");
	gd_json_u64(json, "by_call_frame_information", t->by_cfi);
	gd_json_u64(json, "by_frame_pointer", t->by_pointer);
	gd_json_u64(json, "rows", t->rows);
	gd_json_u64(json, "resumed", t->resumed);
	gd_json_object_end(json);
	put_classes(f->cpu, json);
	if (!f->go)
		return;
	gd_json_object(json, "goroutine_confidence");
	for (unsigned i = 0; i < GD_GOROUTINE_CONFIDENCES; i++)
		gd_json_u64(json, gd_goroutine_confidence_name(i), t->by_confidence[i]);
	gd_json_object_end(json);
}

/* Without wake-ups this time is part of `blocked`, and nobody knows how much it is. */
static void put_runnable(const struct gd_samples_facts *f, struct gd_json *json)
{
	const struct gd_error *no_wakeups = &gd_perf_sampler_about(f->taken->sampler)->no_wakeups;
	if (no_wakeups->code == 0)
		gd_json_i64(json, "runnable_ns", f->away->away_ns[GD_SWITCH_RUNNABLE]);
	else
		gd_json_null(json, "runnable_ns");
	gd_json_string(json, "runnable_why_not", why(no_wakeups));
	gd_json_u64(json, "wakeups", f->taken->wakeups);
}

static void put_syscalls(const struct gd_samples_facts *f, struct gd_json *json)
{
	const struct gd_perf_sampler *sampler = f->taken->sampler;
	gd_samples_syscalls_put(gd_perf_sampler_syscalls(sampler),
	                        f->syscalls ? why(&gd_perf_sampler_about(sampler)->no_syscalls)
	                                    : "not asked for", json);
}

static void put_away(const struct gd_samples_facts *f, struct gd_json *json)
{
	const struct gd_samples_taken *t = f->taken;
	gd_json_object(json, "offcpu");
	gd_json_string(json, "why_not",
	               why(&gd_perf_sampler_about(t->sampler)->no_switches));
	if (f->away != NULL) {
		gd_json_u64(json, "switches", t->switches);
		gd_json_u64(json, "every", t->every);
		gd_json_u64(json, "lost", t->switches_lost);
		gd_json_u64(json, "records_of_all", t->switch_records);
		gd_json_i64(json, "given_up_ns", t->given_up_ns);
		gd_json_i64(json, "blocked_ns", f->away->away_ns[GD_SWITCH_BLOCKED]);
		gd_json_i64(json, "parked_ns", f->away->parked_ns);
		gd_json_i64(json, "preempted_ns", f->away->away_ns[GD_SWITCH_PREEMPTED]);
		put_runnable(f, json);
	}
	gd_json_object_end(json);
}

void gd_samples_facts_put(const struct gd_samples_facts *f, struct gd_json *json)
{
	gd_json_object(json, NULL);
	put_how(f, json);
	put_window(f->taken, json);
	put_samples(f, json);
	put_away(f, json);
	put_syscalls(f, json);
	gd_json_i64(json, "sampler_cpu_ns", f->taken->cpu_ns);
	gd_json_object_end(json);
}

void gd_samples_facts_comment(const struct gd_samples_facts *f, bool away, char *to, size_t size)
{
	const struct gd_samples_taken *t = f->taken;
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(t->sampler);
	char took[GD_UNITS_TEXT];
	(void)gd_units_duration(took, (uint64_t)(t->ended.monotonic_ns - t->started.monotonic_ns));
	if (away)
		(void)snprintf(to, size, "context switches for %s, %s; %" PRIu64 " unwound, one in %"
		               PRIu64 "; %" PRIu64 " records lost%s%s", took,
		               gd_perf_way_name(about->way), t->switches, t->every, t->switches_lost,
		               about->no_wakeups.code != 0 ?
		                       "; waiting for a CPU after a wake-up is in `blocked`: " : "",
		               about->no_wakeups.msg);
	else
		(void)snprintf(to, size, "%s at %" PRIu32 " Hz for %s, %s; %" PRIu64 " samples, %"
		               PRIu64 " lost; %" PRIu64 " unwound to a root",
		               gd_perf_event_name(about->event), f->frequency_hz, took,
		               gd_perf_way_name(about->way), t->samples, t->lost + t->overflown,
		               t->by_end[GD_PERF_END_ROOT] + t->by_end[GD_PERF_END_SWITCH]);
}
