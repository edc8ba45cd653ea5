/*
 * cpu.pb.gz, cpu.folded and samples.json: where the process spent its CPU time while a window lasted,
 * by perf samples taken from outside.  The window is the capture's: it begins before anything else is
 * read and ends after the last stop, so that what we do to the process shows in it as well.
 *
 * Copies of stacks are heap and stack of the process; they are unwound as they come and never leave
 * this process.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/units.h"
#include "collectors/collector.h"
#include "collectors/perf_sampler.h"
#include "collectors/samples_profile.h"

enum { FACTS, PROFILE, FOLDED, N_ARTIFACTS };

static const struct gd_artifact artifacts[N_ARTIFACTS] = {
	[FACTS] = { "samples.json", "application/json", "samples", 0 },
	[PROFILE] = { "cpu.pb.gz", GD_PPROF_MEDIA_TYPE, "samples", 0 },
	[FOLDED] = { "cpu.folded", "text/plain", "samples", 1 },
};

enum {
	LOOK_MS = 100, /* a goroutine is asked about at most so long after its sample */
	AT_ONCE = 32,
};

struct sampling {
	struct gd_collect *c;
	struct gd_perf_sampler *sampler;
	struct gd_samples_profile *profile;
	struct gd_samples_goroutines *goroutines; /* NULL: not Go */
	struct gd_perf_stack stack;               /* of the sample at hand */
	struct gd_clock started;
	int64_t ended_ns;
	int64_t exec_ns;   /* it runs another program from then on; 0: it does not */
	int64_t window_cpu_ns;
	uint64_t samples, lost, senseless, overflown, foreign, spliced, inferred, throttled;
	uint64_t by_end[GD_PERF_ENDS];
	uint64_t by_confidence[GD_GOROUTINE_CONFIDENCES];
	uint64_t go_samples; /* unwound by Go's tables at least in part */
};

/* ---- while it lasts -------------------------------------------------------------------------- */

static void take_sample(struct sampling *s, const struct gd_perf_record *record)
{
	struct gd_samples_goroutine goroutine = { .goid = 0 };
	gd_perf_stack_of(s->c->go, record, &s->stack);
	if (s->stack.n == 0)
		return;
	s->samples++;
	s->by_end[s->stack.end]++;
	s->spliced += s->stack.spliced;
	for (size_t i = 0; i < s->stack.n; i++)
		s->inferred += s->stack.list[i].inferred;
	if (s->goroutines != NULL) {
		gd_samples_goroutines_find(s->goroutines, record, &s->stack, &goroutine);
		s->by_confidence[goroutine.confidence]++;
	}
	const struct gd_samples_labels labels = { .tid = record->tid,
		                                  .confidence = goroutine.confidence,
		                                  .goid = goroutine.goid };
	if (!gd_samples_profile_add(s->profile, &s->stack, &labels))
		s->overflown++;
}

static void take_record(void *arg, const struct gd_perf_record *record)
{
	struct sampling *s = arg;
	bool ours = record->pid == (uint32_t)s->c->target->pid;
	switch (record->kind) {
	case GD_PERF_SAMPLE:
		if (!ours)
			s->foreign++;
		else if (s->exec_ns == 0 || record->time_ns < s->exec_ns)
			take_sample(s, record);
		break;
	case GD_PERF_LOST:
		s->lost += record->lost;
		break;
	case GD_PERF_EXEC:
		if (ours && s->exec_ns == 0)
			s->exec_ns = record->time_ns;
		break;
	case GD_PERF_THROTTLE:
		s->throttled++;
		break;
	case GD_PERF_SWITCH:
	case GD_PERF_OTHER:
		break;
	}
}

static bool is_over(const struct sampling *s)
{
	const struct gd_collect_window *w = &s->c->window;
	if (gd_collect_cancelled(s->c))
		return true;
	if (w->over != NULL)
		return *w->over != 0;
	return gd_clock_monotonic_ns() - s->started.monotonic_ns >= w->duration_ns;
}

/* The end of the window is looked for when it is due. */
static int until_next_look(const struct sampling *s)
{
	int64_t left_ns = s->c->window.duration_ns -
	                  (gd_clock_monotonic_ns() - s->started.monotonic_ns);
	return left_ns > 0 && left_ns < LOOK_MS * INT64_C(1000000) ? (int)(left_ns / 1000000) + 1
	                                                           : LOOK_MS;
}

static void sample(struct sampling *s)
{
	int64_t cpu_ns = gd_clock_cpu_ns();
	s->started = gd_clock_now();
	gd_perf_sampler_start(s->sampler);
	if (s->c->window.begun != NULL)
		s->c->window.begun(s->c->window.begun_arg);
	while (!is_over(s)) {
		gd_perf_sampler_wait(s->sampler, until_next_look(s));
		s->senseless += gd_perf_sampler_drain(s->sampler, take_record, s);
	}
	gd_perf_sampler_stop(s->sampler);
	s->ended_ns = gd_clock_monotonic_ns();
	s->senseless += gd_perf_sampler_drain(s->sampler, take_record, s);
	s->window_cpu_ns = gd_clock_cpu_ns() - cpu_ns;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

/* All in one question where one has to ask. */
static void announce(struct gd_collect *c, const struct gd_samples_thread *threads, size_t n)
{
	struct gd_access_wanted wanted[AT_ONCE];
	char paths[AT_ONCE][32];
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "task/%" PRIu32 "/stat", threads[i].tid);
		wanted[i] = (struct gd_access_wanted){ .kind = GD_ACCESS_READ, .path = paths[i] };
	}
	gd_access_prepare(c->target->access, wanted, n);
}

/* What has ended by now has no name any more. */
static void name_threads(struct gd_collect *c, struct gd_samples_thread *threads, size_t n)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	for (size_t i = 0; i < n; i++) {
		struct gd_stat stat;
		char path[32];
		if (i % AT_ONCE == 0)
			announce(c, threads + i, n - i < AT_ONCE ? n - i : AT_ONCE);
		(void)snprintf(path, sizeof(path), "task/%" PRIu32 "/stat", threads[i].tid);
		gd_buf_reset(&text);
		bool read = gd_target_read_file(c->target, path, &text, NULL) == 0 &&
		            gd_stat_parse(text.data, text.len, &stat, NULL) == 0;
		(void)snprintf(threads[i].name, sizeof(threads[i].name), "%s",
		               read && stat.comm[0] != '\0' ? stat.comm : "[ended]");
	}
}

static uint64_t all_lost(const struct sampling *s)
{
	return s->lost + s->overflown;
}

static void put_comment(const struct sampling *s, char *to, size_t size)
{
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(s->sampler);
	char took[GD_UNITS_TEXT];
	(void)snprintf(to, size, "%s at %" PRIu32 " Hz for %s, %s; %" PRIu64 " samples, %" PRIu64
	               " lost; %" PRIu64 " unwound to a root",
	               gd_perf_event_name(about->event), s->c->window.frequency_hz,
	               gd_units_duration(took, (uint64_t)(s->ended_ns - s->started.monotonic_ns)),
	               gd_perf_way_name(about->way), s->samples, all_lost(s),
	               s->by_end[GD_PERF_END_ROOT] + s->by_end[GD_PERF_END_SWITCH]);
}

static void put_facts(const struct sampling *s, const struct gd_samples_written *written,
                      struct gd_json *json)
{
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(s->sampler);
	char time[GD_CLOCK_TEXT];
	gd_json_object(json, NULL);
	gd_json_string(json, "event", gd_perf_event_name(about->event));
	gd_json_string(json, "way", gd_perf_way_name(about->way));
	gd_json_string(json, "fell_back",
	               about->fell_back.code != 0 ? about->fell_back.msg : NULL);
	gd_json_u64(json, "frequency_hz", s->c->window.frequency_hz);
	gd_json_u64(json, "stack_copy_bytes", about->stack_bytes);
	gd_json_bool(json, "kernel", about->kernel);
	gd_json_string(json, "kernel_names",
	               written->no_kernel_names.code != 0 ? written->no_kernel_names.msg : NULL);
	gd_json_u64(json, "cpus", about->cpus);
	gd_json_u64(json, "descriptors", about->fds);
	gd_json_u64(json, "ring_bytes", about->ring_bytes);
	gd_json_object(json, "window");
	gd_json_string(json, "started", gd_clock_text(time, s->started.realtime_ns));
	gd_json_i64(json, "started_realtime_ns", s->started.realtime_ns);
	gd_json_i64(json, "started_ns", s->started.monotonic_ns);
	gd_json_i64(json, "ended_ns", s->ended_ns);
	gd_json_object_end(json);
	gd_json_u64(json, "samples", s->samples);
	gd_json_u64(json, "lost", s->lost);
	gd_json_u64(json, "over_the_ceiling", s->overflown);
	gd_json_u64(json, "senseless", s->senseless);
	gd_json_u64(json, "of_others", s->foreign);
	gd_json_u64(json, "throttled", s->throttled);
	gd_json_object(json, "unwound");
	for (unsigned i = 0; i < GD_PERF_ENDS; i++)
		gd_json_u64(json, gd_perf_stack_end_name((enum gd_perf_stack_end)i), s->by_end[i]);
	gd_json_u64(json, "spliced", s->spliced);
	gd_json_u64(json, "callers_inferred", s->inferred);
	gd_json_object_end(json);
	gd_json_object(json, "classes");
	for (unsigned i = 0; i < GD_CLASSES; i++)
		gd_json_u64(json, gd_samples_class_name((enum gd_samples_class)i),
		            written->by_class[i]);
	gd_json_object_end(json);
	if (s->goroutines != NULL) {
		gd_json_object(json, "goroutine_confidence");
		for (unsigned i = 0; i < GD_GOROUTINE_CONFIDENCES; i++)
			gd_json_u64(json, gd_goroutine_confidence_name(i), s->by_confidence[i]);
		gd_json_object_end(json);
	}
	gd_json_i64(json, "sampler_cpu_ns", s->window_cpu_ns);
	gd_json_object_end(json);
}

/* What a reader must know of samples that were taken. */
static struct gd_outcome judge(const struct sampling *s)
{
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(s->sampler);
	if (gd_collect_cancelled(s->c))
		return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted after %" PRIu64
		                  " samples", s->samples);
	if (s->exec_ns != 0)
		return gd_outcome(GD_GRADE_PARTIAL, -ESTALE, "the process has called execve; what "
		                  "came later is left out");
	if (all_lost(s) > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -ENOBUFS, "%" PRIu64 " of %" PRIu64
		                  " samples were lost", all_lost(s), s->samples + s->lost);
	if (s->senseless > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -EBADMSG, "%" PRIu64 " records made no sense",
		                  s->senseless);
	if (!about->kernel)
		return gd_outcome(GD_GRADE_PARTIAL, -EACCES, "without what ran in the kernel: %s",
		                  about->fell_back.msg);
	return GD_OUTCOME_COMPLETE;
}

static struct gd_outcome absent(struct gd_collect *c, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	for (size_t i = 0; i < N_ARTIFACTS; i++)
		if (c->sink->absent(c->sink, &artifacts[i], &outcome, &err) < 0)
			outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_FAILED, &err));
	return outcome;
}

static int write_streams(struct sampling *s, struct gd_stream *pprof, struct gd_stream *folded,
                         struct gd_samples_written *written, struct gd_error *err)
{
	GD_FREE struct gd_samples_thread *threads = NULL;
	GD_CLOSE int kallsyms_fd = -1;
	char comment[248];
	size_t n_threads = 0;
	/* What was mapped when the window ended: libraries may have come. */
	if (!gd_collect_cancelled(s->c) && s->exec_ns == 0)
		(void)gd_target_refresh_maps(s->c->target, NULL);
	int r = gd_samples_profile_threads(s->profile, &threads, &n_threads, err);
	if (r < 0)
		return r;
	name_threads(s->c, threads, n_threads);
	(void)gd_target_open_file(s->c->target, "/proc/kallsyms", &kallsyms_fd, NULL);
	put_comment(s, comment, sizeof(comment));
	const struct gd_samples_write how = {
		.target = s->c->target,
		.go = s->c->go,
		.threads = threads,
		.n_threads = n_threads,
		.kallsyms_fd = kallsyms_fd,
		.lost = all_lost(s),
		.period_ns = INT64_C(1000000000) / s->c->window.frequency_hz,
		.started_realtime_ns = s->started.realtime_ns,
		.duration_ns = s->ended_ns - s->started.monotonic_ns,
		.comment = comment,
	};
	return gd_samples_profile_write(s->profile, &how, pprof, folded, written, err);
}

static struct gd_outcome write_all(struct sampling *s)
{
	struct gd_sink *sink = s->c->sink;
	struct gd_outcome outcome = judge(s);
	struct gd_samples_written written = { .by_class = { 0 } };
	struct gd_stream *streams[N_ARTIFACTS] = { NULL };
	struct gd_error err = { 0 };
	int r = sink->open(sink, &artifacts[PROFILE], &streams[PROFILE], &err);
	if (r == 0)
		r = sink->open(sink, &artifacts[FOLDED], &streams[FOLDED], &err);
	if (r == 0)
		r = write_streams(s, streams[PROFILE], streams[FOLDED], &written, &err);
	if (r < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	for (size_t i = PROFILE; i <= FOLDED; i++)
		if (streams[i] != NULL && streams[i]->close(streams[i], &outcome, &err) < 0)
			outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_FAILED, &err));
	GD_BUF struct gd_buf text = GD_BUF_INIT(64 << 10);
	struct gd_json json = GD_JSON_INIT(&text);
	put_facts(s, &written, &json);
	gd_buf_putc(&text, '\n');
	if (gd_buf_check(&text, "samples.json", &err) < 0 ||
	    gd_sink_put(sink, &artifacts[FACTS], text.data, text.len, &outcome, &err) < 0)
		outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_FAILED, &err));
	return outcome;
}

/* Not to be had here is no failure of ours. */
static enum gd_grade grade_of_refusal(int code)
{
	return code == -EACCES || code == -EPERM || code == -ENOTSUP || code == -ENOSYS ||
	               code == -ENOENT ? GD_GRADE_SKIPPED : GD_GRADE_FAILED;
}

static struct gd_outcome collect(struct gd_collect *c)
{
	struct gd_error err = { 0 };
	const struct gd_perf_sampler_options options = {
		.frequency_hz = c->window.frequency_hz,
		.stack_bytes = GD_SAMPLES_STACK_BYTES,
	};
	struct sampling *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return absent(c, gd_outcome(GD_GRADE_FAILED, -ENOMEM, "samples: no memory"));
	s->c = c;
	int r = gd_perf_sampler_open(c->target, &options, &s->sampler, &err);
	struct gd_outcome outcome;
	if (r < 0) {
		outcome = absent(c, gd_outcome_of(grade_of_refusal(r), &err));
	} else {
		r = gd_samples_profile_create(&s->profile, &err);
		if (r == 0 && c->go != NULL)
			r = gd_samples_goroutines_create(c->go, &s->goroutines, &err);
		if (r == 0)
			sample(s);
		outcome = r == 0 ? write_all(s)
		                 : absent(c, gd_outcome_of(GD_GRADE_FAILED, &err));
	}
	gd_perf_sampler_close(s->sampler);
	gd_samples_goroutines_destroy(s->goroutines);
	gd_samples_profile_destroy(s->profile);
	free(s);
	return outcome;
}

const struct gd_collector gd_collector_samples = {
	.name = "samples",
	.profile = GD_PROFILE_STANDARD,
	.windowed = true,
	.collect = collect,
};
