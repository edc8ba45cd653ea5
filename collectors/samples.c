/*
 * cpu.pb.gz, cpu.folded, offcpu.pb.gz, samples.json and .jsonl: where the process spent its time while a
 * window lasted, by perf samples taken from outside.  The window is the capture's: it begins before anything
 * else is read and ends after the last stop, so that what we do to the process shows in it as well.
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
#include "collectors/collector.h"
#include "collectors/samples_facts.h"
#include "collectors/samples_take.h"

enum { FACTS, CPU, FOLDED, AWAY, TIMELINE, N_ARTIFACTS };

static const struct gd_artifact artifacts[N_ARTIFACTS] = {
	[FACTS] = { "samples.json", "application/json", "samples", 0 },
	[CPU] = { "cpu.pb.gz", GD_PPROF_MEDIA_TYPE, "samples", 0 },
	[FOLDED] = { "cpu.folded", "text/plain", "samples", 1 },
	[AWAY] = { "offcpu.pb.gz", GD_PPROF_MEDIA_TYPE, "samples", 0 },
	[TIMELINE] = { "samples.jsonl", "application/x-ndjson", "samples", 1 },
};

enum { AT_ONCE = 32 };

/* What is written, and how it comes out. */
struct writing {
	struct gd_collect *c;
	const struct gd_samples_taken *t;
	struct gd_kernel_names *kernel;
	struct gd_native_names *native;
	struct gd_samples_thread *threads;
	size_t n_threads;
	struct gd_samples_facts facts;
	struct gd_samples_written cpu, away;
	struct gd_outcome outcome; /* the worst */
};

/* ---- grades ---------------------------------------------------------------------------------- */

/* What a reader must know of samples that were taken. */
static struct gd_outcome judge_cpu(const struct writing *w)
{
	const struct gd_samples_taken *t = w->t;
	const struct gd_perf_sampler_about *about = gd_perf_sampler_about(t->sampler);
	uint64_t lost = t->lost + t->overflown;
	if (gd_collect_cancelled(w->c))
		return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted after %" PRIu64
		                  " samples", t->samples);
	if (t->exec_ns != 0)
		return gd_outcome(GD_GRADE_PARTIAL, -ESTALE, "the process has called execve; what "
		                  "came later is left out");
	if (lost > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -ENOBUFS, "%" PRIu64 " of %" PRIu64
		                  " samples were lost", lost, t->samples + t->lost);
	if (t->senseless > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -EBADMSG, "%" PRIu64 " records made no sense",
		                  t->senseless);
	if (!about->kernel)
		return gd_outcome(GD_GRADE_PARTIAL, -EACCES, "without what ran in the kernel: %s",
		                  about->fell_back.msg);
	return GD_OUTCOME_COMPLETE;
}

static struct gd_outcome judge_away(const struct writing *w)
{
	const struct gd_samples_taken *t = w->t;
	if (gd_collect_cancelled(w->c) || t->exec_ns != 0)
		return judge_cpu(w);
	if (t->given_up_ns != 0)
		return gd_outcome(GD_GRADE_PARTIAL, -EBUSY, "this host switches more than %d times a "
		                  "second: only the first %" PRId64 " ms", GD_SAMPLES_SWITCH_RECORDS_PER_S,
		                  (t->given_up_ns - t->started.monotonic_ns) / 1000000);
	if (t->switches_lost > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -ENOBUFS, "%" PRIu64 " records of switches were "
		                  "lost", t->switches_lost);
	return GD_OUTCOME_COMPLETE;
}

static void count(struct writing *w, struct gd_outcome outcome)
{
	w->outcome = gd_outcome_worse(w->outcome, outcome);
}

/* ---- names ----------------------------------------------------------------------------------- */

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

static int name_frames(struct writing *w, struct gd_error *err)
{
	GD_CLOSE int fd = -1;
	int r = gd_kernel_names_create(&w->kernel, err);
	if (r == 0)
		r = gd_native_names_create(&w->native, err);
	if (r < 0)
		return r;
	gd_samples_profile_want(w->t->cpu, w->kernel, w->native);
	if (w->t->away != NULL)
		gd_samples_profile_want(w->t->away, w->kernel, w->native);
	gd_native_names_read(w->native, w->c->target);
	(void)gd_target_open_file(w->c->target, "/proc/kallsyms", &fd, NULL);
	(void)gd_kernel_names_read(w->kernel, fd, &w->facts.no_kernel_names);
	return 0;
}

/* Of all threads that either profile is of. */
static int name_all(struct writing *w, struct gd_error *err)
{
	int r = gd_samples_profile_threads(w->t->cpu, w->t->away, &w->threads, &w->n_threads, err);
	if (r == 0)
		name_threads(w->c, w->threads, w->n_threads);
	return r < 0 ? r : name_frames(w, err);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Of both profiles; the names of threads are made once. */
static struct gd_samples_write how_to_write(const struct writing *w)
{
	return (struct gd_samples_write){
		.target = w->c->target,
		.go = w->c->go,
		.threads = w->threads,
		.n_threads = w->n_threads,
		.kernel = w->kernel,
		.native = w->native,
		.lost = w->t->lost + w->t->overflown,
		.period_ns = INT64_C(1000000000) / w->c->window.frequency_hz,
		.started_realtime_ns = w->t->started.realtime_ns,
		.duration_ns = w->t->ended.monotonic_ns - w->t->started.monotonic_ns,
	};
}

static int write_profile(struct writing *w, bool away, struct gd_stream *pprof,
                         struct gd_stream *folded, struct gd_error *err)
{
	char comment[248];
	struct gd_samples_write how = how_to_write(w);
	gd_samples_facts_comment(&w->facts, away, comment, sizeof(comment));
	how.away = away;
	how.comment = comment;
	if (away)
		how.lost = 0;
	return gd_samples_profile_write(away ? w->t->away : w->t->cpu, &how, pprof, folded,
	                                away ? &w->away : &w->cpu, err);
}

static void close_stream(struct writing *w, struct gd_stream *stream, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	if (stream != NULL && stream->close(stream, &outcome, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	count(w, outcome);
}

static void write_cpu(struct writing *w)
{
	struct gd_sink *sink = w->c->sink;
	struct gd_stream *pprof = NULL, *folded = NULL;
	struct gd_error err = { 0 };
	struct gd_outcome outcome = judge_cpu(w);
	int r = sink->open(sink, &artifacts[CPU], &pprof, &err);
	if (r == 0)
		r = sink->open(sink, &artifacts[FOLDED], &folded, &err);
	if (r == 0)
		r = write_profile(w, false, pprof, folded, &err);
	if (r < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	close_stream(w, pprof, outcome);
	close_stream(w, folded, outcome);
}

static void write_away(struct writing *w)
{
	struct gd_sink *sink = w->c->sink;
	const struct gd_error *why = &gd_perf_sampler_about(w->t->sampler)->no_switches;
	struct gd_stream *pprof = NULL;
	struct gd_error err = { 0 };
	if (w->t->away == NULL) {
		/* Less than was asked for, but no shortcoming of what there is. */
		struct gd_outcome outcome = gd_outcome_of(GD_GRADE_SKIPPED, why);
		if (sink->absent(sink, &artifacts[AWAY], &outcome, &err) < 0)
			count(w, gd_outcome_of(GD_GRADE_FAILED, &err));
		return;
	}
	struct gd_outcome outcome = judge_away(w);
	int r = sink->open(sink, &artifacts[AWAY], &pprof, &err);
	if (r == 0)
		r = write_profile(w, true, pprof, NULL, &err);
	if (r < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else
		w->facts.away = &w->away;
	struct gd_outcome before = w->outcome;
	close_stream(w, pprof, outcome);
	/* What others' switches cost us is the artifact's grade and no shortcoming of the capture: on
	 * a busy host every one of them would be partial, and nobody would look any more. */
	if (outcome.grade == GD_GRADE_PARTIAL &&
	    (outcome.why.code == -ENOBUFS || outcome.why.code == -EBUSY))
		w->outcome = before;
}

static void write_timeline(struct writing *w)
{
	struct gd_sink *sink = w->c->sink;
	const volatile int64_t *stopped = w->c->window.stopped_ns;
	const struct gd_samples_write names = how_to_write(w);
	const struct gd_samples_timeline_write how = {
		.cpu = w->t->cpu, .away = w->t->away, .names = &names,
		.started = w->t->started, .ended = w->t->ended,
		.stopped_ns = stopped != NULL ? stopped[0] : 0,
		.stop_ns = stopped != NULL ? stopped[1] : 0,
	};
	struct gd_stream *stream = NULL;
	struct gd_error err = { 0 };
	struct gd_outcome outcome = judge_cpu(w);
	if (gd_samples_timeline_dropped(w->t->timeline) > 0)
		outcome = gd_outcome(GD_GRADE_PARTIAL, -E2BIG, "%" PRIu64 " events were too many",
		                     gd_samples_timeline_dropped(w->t->timeline));
	int r = sink->open(sink, &artifacts[TIMELINE], &stream, &err);
	if (r == 0)
		r = gd_samples_timeline_write(w->t->timeline, &how, stream, &err);
	if (r < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	close_stream(w, stream, outcome);
}

static void write_facts(struct writing *w)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(64 << 10);
	struct gd_json json = GD_JSON_INIT(&text);
	struct gd_error err = { 0 };
	const struct gd_error *no_syscalls = &gd_perf_sampler_about(w->t->sampler)->no_syscalls;
	/* As with switches: less than was asked for, but no shortcoming of what there is. */
	const struct gd_outcome outcome = no_syscalls->code != 0 ?
		gd_outcome_of(GD_GRADE_PARTIAL, no_syscalls) : GD_OUTCOME_COMPLETE;
	gd_samples_facts_put(&w->facts, &json);
	gd_buf_putc(&text, '\n');
	if (gd_buf_check(&text, "samples.json", &err) < 0 ||
	    gd_sink_put(w->c->sink, &artifacts[FACTS], text.data, text.len, &outcome, &err) < 0)
		count(w, gd_outcome_of(GD_GRADE_FAILED, &err));
}

static struct gd_outcome absent(struct gd_collect *c, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	for (size_t i = 0; i < N_ARTIFACTS; i++)
		if (c->sink->absent(c->sink, &artifacts[i], &outcome, &err) < 0)
			outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_FAILED, &err));
	return outcome;
}

static struct gd_outcome write_all(struct gd_collect *c, const struct gd_samples_taken *t)
{
	struct gd_error err = { 0 };
	struct writing w = { .c = c, .t = t, .outcome = GD_OUTCOME_COMPLETE };
	w.facts = (struct gd_samples_facts){ .taken = t, .frequency_hz = c->window.frequency_hz,
		                             .go = c->go != NULL, .syscalls = c->window.syscalls,
		                             .cpu = &w.cpu };
	/* What was mapped when the window ended: libraries may have come. */
	if (!gd_collect_cancelled(c) && t->exec_ns == 0)
		(void)gd_target_refresh_maps(c->target, NULL);
	if (name_all(&w, &err) < 0) {
		w.outcome = absent(c, gd_outcome_of(GD_GRADE_FAILED, &err));
	} else {
		write_cpu(&w);
		write_away(&w);
		write_timeline(&w);
		write_facts(&w);
	}
	gd_kernel_names_destroy(w.kernel);
	gd_native_names_destroy(w.native);
	free(w.threads);
	return w.outcome;
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
	struct gd_samples_taken taken;
	int r = gd_samples_take(c, &taken, &err);
	struct gd_outcome outcome = r == 0 ? write_all(c, &taken)
	                                   : absent(c, gd_outcome_of(grade_of_refusal(r), &err));
	gd_samples_taken_deinit(&taken);
	return outcome;
}

const struct gd_collector gd_collector_samples = {
	.name = "samples",
	.profile = GD_PROFILE_STANDARD,
	.windowed = true,
	.collect = collect,
};
