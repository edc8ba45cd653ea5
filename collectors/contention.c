/*
 * block.pb.gz and mutex.pb.gz: where goroutines waited, as runtime/pprof would write it now.  Both
 * count in ticks of the processor, so the delays are as good as their rate.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "collectors/collector.h"
#include "collectors/locations.h"
#include "collectors/pprof.h"
#include "golang/profile.h"
#include "golang/ticks.h"

struct kind {
	struct gd_artifact artifact;
	enum gd_profile_type type;
	const char *off; /* why there is nothing to write */
};

static const struct kind block = {
	.artifact = { .name = "block.pb.gz", .media_type = GD_PPROF_MEDIA_TYPE,
	              .collector = "block" },
	.type = GD_PROFILE_BLOCK,
	.off = "block profiling is off (runtime.SetBlockProfileRate was not called)",
};

static const struct kind mutex = {
	.artifact = { .name = "mutex.pb.gz", .media_type = GD_PPROF_MEDIA_TYPE,
	              .collector = "mutex" },
	.type = GD_PROFILE_MUTEX,
	.off = "mutex profiling is off (runtime.SetMutexProfileFraction was not called)",
};

/* What is needed to make a sample out of a bucket. */
struct scale {
	double ticks_per_ns; /* 0: not known */
	int64_t period;      /* events that one recorded event stands for */
};

static struct gd_outcome absent(struct gd_collect *c, const struct kind *kind,
                                struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	if (c->sink->absent(c->sink, &kind->artifact, &outcome, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

/* Go's writer puts the longest delays first. */
static int by_cycles(const void *a, const void *b)
{
	const struct gd_bucket *x = a;
	const struct gd_bucket *y = b;
	if (x->block.cycles != y->block.cycles)
		return x->block.cycles > y->block.cycles ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static int64_t whole(double value)
{
	if (!(value > -0x1p63))
		return INT64_MIN;
	return value < 0x1p63 ? (int64_t)value : INT64_MAX;
}

static void write_sample(struct gd_locations *locations, const struct gd_profile_read *profile,
                         const struct gd_bucket *b, const struct scale *scale)
{
	uint64_t ids[GD_PPROF_DEPTH_MAX];
	size_t n = gd_locations_of(locations, profile->pcs + b->stack, b->depth, ids);
	int64_t count = whole(b->block.count);
	double delay = (double)b->block.cycles;

	/* runtime.BlockProfile never says 0; sampled events may count less than one. */
	if (profile->type == GD_PROFILE_BLOCK && count == 0)
		count = 1;
	if (scale->ticks_per_ns > 0)
		delay /= scale->ticks_per_ns;
	int64_t values[2] = { whole((double)count * (double)scale->period),
		              whole(delay * (double)scale->period) };
	gd_pprof_sample(locations->pprof, ids, n, values, NULL, 0);
}

static int write_profile(struct gd_collect *c, struct gd_stream *stream,
                         struct gd_profile_read *profile, const struct scale *scale,
                         struct gd_error *err)
{
	const struct gd_pprof_type types[] = {
		{ "contentions", "count" },
		{ "delay", scale->ticks_per_ns > 0 ? "nanoseconds" : "ticks" },
	};
	GD_PPROF struct gd_pprof *pprof = NULL;
	GD_LOCATIONS struct gd_locations locations = { 0 };
	int r = gd_pprof_create(stream, types, sizeof(types) / sizeof(types[0]), &pprof, err);
	if (r == 0)
		r = gd_locations_init(&locations, c->go, pprof, c->target->fds.exe_fd, err);
	if (r < 0)
		return r;
	locations.go_only = c->go->version.minor >= 23;
	if (profile->n > 0)
		qsort(profile->list, profile->n, sizeof(profile->list[0]), by_cycles);
	for (size_t i = 0; i < profile->n && !gd_collect_cancelled(c); i++)
		write_sample(&locations, profile, &profile->list[i], scale);
	struct gd_pprof_about about = {
		.time_ns = gd_clock_now().realtime_ns,
		.period_type = { "contentions", "count" },
		.period = 1,
		.default_type = "delay",
	};
	return gd_pprof_finish(pprof, &about, err);
}

static struct gd_outcome write_artifact(struct gd_collect *c, const struct kind *kind,
                                        struct gd_profile_read *profile, uint64_t rate)
{
	struct gd_error err = { 0 };
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	struct gd_stream *stream;
	struct gd_ticks ticks = { 0 };
	struct scale scale = { .period = 1 };

	/* Since Go 1.20 the runtime multiplies when it records, before the writer did. */
	if (kind->type == GD_PROFILE_MUTEX && c->go->version.minor < 20)
		scale.period = (int64_t)rate;
	if (profile->n > 0 && gd_ticks_read(c->go, &ticks, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_PARTIAL, &err);
	scale.ticks_per_ns = (double)ticks.per_second / 1e9;
	if (profile->why.code != 0)
		outcome = gd_outcome_of(GD_GRADE_PARTIAL, &profile->why);
	if (c->sink->open(c->sink, &kind->artifact, &stream, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	if (write_profile(c, stream, profile, &scale, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else if (gd_collect_cancelled(c))
		outcome = gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
	if (stream->close(stream, &outcome, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

static struct gd_outcome collect(struct gd_collect *c, const struct kind *kind, uint64_t head,
                                 uint64_t rate_addr)
{
	GD_PROFILE struct gd_profile_read profile = { 0 };
	struct gd_error err = { 0 };
	uint64_t rate = 0;

	if (rate_addr != 0)
		(void)gd_memory_read_u64(c->go->memory, rate_addr, &rate, NULL);
	if (head == 0)
		return absent(c, kind, gd_outcome(GD_GRADE_FAILED, -ENOENT,
		                                  "the list of %s profile buckets was not found",
		                                  kind->artifact.collector));
	if (gd_profile_read(c->go->memory, &c->go->layout, kind->type, head, 0, &profile, &err) < 0)
		return absent(c, kind, gd_outcome_of(GD_GRADE_FAILED, &err));
	/* Waiting goes on while it is read: what counts is whether each bucket is whole. */
	c->torn_reads += profile.repeated;
	c->torn_repeated += profile.consistent ? profile.repeated : 0;
	if (rate == 0 && profile.n == 0)
		return absent(c, kind, gd_outcome(GD_GRADE_SKIPPED, -ENODATA, "%s", kind->off));
	return write_artifact(c, kind, &profile, rate);
}

static struct gd_outcome collect_block(struct gd_collect *c)
{
	if (c->go == NULL)
		return absent(c, &block, gd_collect_without_go(c));
	return collect(c, &block, c->go->globals.bbuckets, c->go->globals.block_profile_rate);
}

static struct gd_outcome collect_mutex(struct gd_collect *c)
{
	if (c->go == NULL)
		return absent(c, &mutex, gd_collect_without_go(c));
	return collect(c, &mutex, c->go->globals.xbuckets, c->go->globals.mutex_profile_fraction);
}

const struct gd_collector gd_collector_block = {
	.name = "block",
	.profile = GD_PROFILE_STANDARD,
	.needs_go = true,
	.collect = collect_block,
};

const struct gd_collector gd_collector_mutex = {
	.name = "mutex",
	.profile = GD_PROFILE_STANDARD,
	.needs_go = true,
	.collect = collect_mutex,
};
