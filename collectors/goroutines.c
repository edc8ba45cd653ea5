/*
 * goroutines.txt, goroutines.jsonl and goroutine.pb.gz: one walk over all goroutines writes all
 * three as it goes.  The text is what debug/pprof/goroutine?debug=2 of the target prints, without
 * its limit of 64 MiB and without a stop.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "collectors/collector.h"
#include "collectors/goroutines_lines.h"
#include "collectors/goroutines_profile.h"
#include "collectors/registers.h"
#include "golang/traceback.h"

enum { TEXT, LINES, PROFILE, N_ARTIFACTS };

static const struct gd_artifact artifacts[N_ARTIFACTS] = {
	[TEXT] = { "goroutines.txt", "text/plain", "goroutines", 1 },
	[LINES] = { "goroutines.jsonl", "application/x-ndjson", "goroutines", 1 },
	[PROFILE] = { "goroutine.pb.gz", GD_PPROF_MEDIA_TYPE, "goroutines", 0 },
};

enum {
	FLUSH_BYTES = 128 << 10, /* written to a stream at once */
	ONE_BYTES_MAX = 64 << 20, /* no single goroutine is larger */
};

struct dump {
	struct gd_collect *c;
	struct gd_stream *streams[N_ARTIFACTS];
	struct gd_buf text, json;
	struct gd_traceback *traceback;
	struct gd_registers *registers;
	struct gd_goroutines_lines lines;
	struct gd_goroutines_profile profile;
	struct gd_walk_stats stats;
	bool first;
};

static int flush(struct gd_stream *stream, struct gd_buf *buf, size_t at_least,
                 struct gd_error *err)
{
	int r = gd_buf_check(buf, "goroutines", err);
	if (r < 0 || buf->len < at_least || buf->len == 0)
		return r;
	r = stream->write(stream, buf->data, buf->len, err);
	gd_buf_reset(buf);
	return r;
}

struct visit {
	struct dump *d;
	struct gd_error *err;
};

static int visit(void *arg, const struct gd_goroutine *g)
{
	struct visit *v = arg;
	struct dump *d = v->d;
	if (!g->system) { /* Go leaves its own out of text and profile */
		if (!d->first)
			gd_buf_putc(&d->text, '\n');
		d->first = false;
		gd_traceback_put(d->traceback, g, &d->text);
	}
	gd_goroutines_lines_put(&d->lines, g, &d->json);
	/* last: it looks up other program counters */
	if (!g->system)
		gd_goroutines_profile_add(&d->profile, g);
	int r = flush(d->streams[TEXT], &d->text, FLUSH_BYTES, v->err);
	if (r == 0)
		r = flush(d->streams[LINES], &d->json, FLUSH_BYTES, v->err);
	return r;
}

static int run(struct dump *d, struct gd_error *err)
{
	struct gd_go *go = d->c->go;
	int r = gd_traceback_create(go, &d->traceback, err);
	if (r == 0)
		r = gd_registers_create(d->c->target, d->c->image, &d->registers, err);
	if (r == 0)
		r = gd_goroutines_lines_init(&d->lines, go->version.minor, err);
	if (r == 0)
		r = gd_goroutines_profile_init(&d->profile, d->streams[PROFILE], go,
		                               d->c->target->fds.exe_fd, err);
	if (r < 0)
		return r;
	gd_registers_prepare(d->registers);
	struct visit v = { .d = d, .err = err };
	struct gd_walk_options options = {
		.now_ns = gd_clock_monotonic_ns(),
		.cancelled = d->c->cancelled,
		.registers = gd_registers_read,
		.registers_arg = d->registers,
		.lines = gd_traceback_lines,
		.lines_arg = d->traceback,
	};
	r = gd_goroutines_walk(go, &options, visit, &v, &d->stats, err);
	struct gd_error *why = r < 0 ? NULL : err;
	int ends[] = {
		flush(d->streams[TEXT], &d->text, 0, why),
		flush(d->streams[LINES], &d->json, 0, why),
		gd_goroutines_profile_finish(&d->profile, why),
	};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && r == 0; i++)
		r = ends[i];
	return r;
}

/* What a reader must know of a dump that was written to its end. */
static struct gd_outcome judge(const struct dump *d)
{
	const struct gd_walk_stats *s = &d->stats;
	if (s->cancelled)
		return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED,
		                  "interrupted after %" PRIu64 " goroutines", s->seen);
	if (s->incomplete > 0 || s->unreadable > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -EAGAIN,
		                  "of %" PRIu64 " goroutines %" PRIu64 " kept changing while they "
		                  "were read (stack wrong or missing), %" PRIu64
		                  " were not readable", s->seen + s->unreadable, s->incomplete,
		                  s->unreadable);
	if (s->unavailable > 0)
		return gd_outcome(GD_GRADE_PARTIAL, -EAGAIN,
		                  "of %" PRIu64 " goroutines %" PRIu64 " were running: no stack to "
		                  "be had without stopping them", s->seen, s->unavailable);
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

static void dump_deinit(struct dump *d)
{
	gd_goroutines_profile_deinit(&d->profile);
	gd_goroutines_lines_deinit(&d->lines);
	gd_traceback_destroy(d->traceback);
	gd_registers_destroy(d->registers);
	gd_buf_deinit(&d->text);
	gd_buf_deinit(&d->json);
}

static struct gd_outcome collect(struct gd_collect *c)
{
	struct gd_error err = { 0 };
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	if (c->go == NULL)
		return absent(c, gd_collect_without_go(c));
	struct dump d = { .c = c, .first = true,
		          .text = GD_BUF_INIT(ONE_BYTES_MAX), .json = GD_BUF_INIT(ONE_BYTES_MAX) };
	size_t n = 0;
	int r = 0;
	for (; n < N_ARTIFACTS && r == 0; n += r == 0)
		r = c->sink->open(c->sink, &artifacts[n], &d.streams[n], &err);
	if (r == 0)
		r = run(&d, &err);
	outcome = judge(&d);
	if (r < 0)
		outcome = gd_outcome_of(d.stats.seen > 0 ? GD_GRADE_PARTIAL : GD_GRADE_FAILED,
		                        &err);
	dump_deinit(&d);
	c->torn_reads += d.stats.torn;
	c->torn_repeated += d.stats.repeated;
	for (size_t i = 0; i < n; i++) {
		struct gd_error why = { 0 };
		if (d.streams[i]->close(d.streams[i], &outcome, &why) < 0)
			outcome = gd_outcome_worse(outcome, gd_outcome_of(GD_GRADE_FAILED, &why));
	}
	return outcome;
}

const struct gd_collector gd_collector_goroutines = {
	.name = "goroutines",
	.profile = GD_PROFILE_LIGHT,
	.needs_go = true,
	.collect = collect,
};
