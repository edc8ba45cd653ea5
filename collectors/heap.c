/*
 * heap.pb.gz: the memory profile that runtime/pprof would write now, from the buckets in the
 * target's memory: published counts, scaled as Go's own writer scales them (runtime/pprof
 * protomem.go), with the same stacks.  It is as of a garbage collection, like Go's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "collectors/collector.h"
#include "collectors/locations.h"
#include "collectors/pprof.h"
#include "golang/profile.h"

static const struct gd_artifact artifact = {
	.name = "heap.pb.gz",
	.media_type = GD_PPROF_MEDIA_TYPE,
	.collector = "heap",
};

static const struct gd_pprof_type types[] = {
	{ "alloc_objects", "count" },
	{ "alloc_space", "bytes" },
	{ "inuse_objects", "count" },
	{ "inuse_space", "bytes" },
};

static struct gd_outcome absent(struct gd_collect *c, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	if (c->sink->absent(c->sink, &artifact, &outcome, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

static void write_sample(struct gd_locations *locations, const struct gd_profile_read *profile,
                         const struct gd_bucket *b, int64_t rate)
{
	const struct gd_memory_counts *m = &b->memory;
	const uint64_t *pcs = profile->pcs + b->stack;
	uint64_t ids[GD_PPROF_DEPTH_MAX];
	size_t hidden = gd_locations_hidden(locations, pcs, b->depth);
	size_t n = gd_locations_of(locations, pcs + hidden, b->depth - hidden, ids);
	if (n == 0)
		n = gd_locations_of(locations, pcs, b->depth, ids);

	int64_t values[4] = { m->allocs, m->alloc_bytes, m->allocs - m->frees,
		              m->alloc_bytes - m->free_bytes };
	gd_profile_scale(&values[0], &values[1], rate);
	gd_profile_scale(&values[2], &values[3], rate);
	struct gd_pprof_label size = { .key = "bytes", .key_len = 5, .number = (int64_t)b->size };
	/* Until Go 1.26 the writer knew no sizes and computed them where it could. */
	if (locations->go->layout.memrec_active_alloc_bytes != GD_ABSENT)
		size.number = m->allocs > 0 ? m->alloc_bytes / m->allocs : 0;
	gd_pprof_sample(locations->pprof, ids, n, values, &size, size.number != 0);
}

static int write_profile(struct gd_collect *c, struct gd_stream *stream,
                         const struct gd_profile_read *profile, int64_t rate,
                         struct gd_error *err)
{
	GD_PPROF struct gd_pprof *pprof = NULL;
	GD_LOCATIONS struct gd_locations locations = { 0 };
	int r = gd_pprof_create(stream, types, sizeof(types) / sizeof(types[0]), &pprof, err);
	if (r == 0)
		r = gd_locations_init(&locations, c->go, pprof, c->target->fds.exe_fd, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < profile->n && !gd_collect_cancelled(c); i++)
		write_sample(&locations, profile, &profile->list[i], rate);
	struct gd_pprof_about about = {
		.time_ns = gd_clock_now().realtime_ns,
		.period_type = { "space", "bytes" },
		.period = rate,
		.default_type = "inuse_space",
	};
	return gd_pprof_finish(pprof, &about, err);
}

/* What a reader must know of a profile that could be written. */
static struct gd_outcome judge(const struct gd_collect *c, const struct gd_profile_read *profile)
{
	if (gd_collect_cancelled(c))
		return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
	if (profile->why.code != 0)
		return gd_outcome_of(GD_GRADE_PARTIAL, &profile->why);
	/* Before the first collection Go, too, adds up what is still being counted. */
	if (!profile->consistent && !profile->unpublished)
		return gd_outcome(GD_GRADE_PARTIAL, -EAGAIN,
		                  "collections kept publishing new counts while they were read: "
		                  "they are of more than one collection");
	return GD_OUTCOME_COMPLETE;
}

static struct gd_outcome write_artifact(struct gd_collect *c,
                                        const struct gd_profile_read *profile, int64_t rate)
{
	struct gd_error err = { 0 };
	struct gd_stream *stream;
	if (c->sink->open(c->sink, &artifact, &stream, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	struct gd_outcome outcome = judge(c, profile);
	if (write_profile(c, stream, profile, rate, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	if (stream->close(stream, &outcome, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

static struct gd_outcome collect(struct gd_collect *c)
{
	GD_PROFILE struct gd_profile_read profile = { 0 };
	struct gd_error err = { 0 };
	struct gd_go *go = c->go;
	uint64_t rate = 0;

	if (go == NULL)
		return absent(c, gd_collect_without_go(c));
	if (!go->memory_profile_linked)
		return absent(c, gd_outcome(GD_GRADE_SKIPPED, -ENOTSUP,
		                            "disabled: runtime.MemProfile is not linked in"));
	if (go->globals.mbuckets == 0)
		return absent(c, gd_outcome(GD_GRADE_FAILED, -ENOENT,
		                            "runtime.mbuckets was not found"));
	uint64_t numgc = go->globals.memstats != 0 && go->layout.mstats_numgc >= 0 ?
	                         go->globals.memstats + (uint64_t)go->layout.mstats_numgc : 0;
	if (gd_profile_read(go->memory, &go->layout, GD_PROFILE_MEMORY, go->globals.mbuckets, numgc,
	                    &profile, &err) < 0)
		return absent(c, gd_outcome_of(GD_GRADE_FAILED, &err));
	c->torn_reads += profile.repeated;
	c->torn_repeated += profile.consistent ? profile.repeated : 0;
	/* Without the rate there is no way to tell what the counts stand for. */
	if (go->globals.mem_profile_rate == 0 ||
	    gd_memory_read_u64(go->memory, go->globals.mem_profile_rate, &rate, &err) < 0)
		return absent(c, gd_outcome(GD_GRADE_FAILED, -ENOENT,
		                            "runtime.MemProfileRate was not found"));
	if (rate == 0 && profile.n == 0)
		return absent(c, gd_outcome(GD_GRADE_SKIPPED, -ENODATA,
		                            "memory profiling is off "
		                            "(runtime.MemProfileRate is 0)"));
	return write_artifact(c, &profile, (int64_t)rate);
}

const struct gd_collector gd_collector_heap = {
	.name = "heap",
	.profile = GD_PROFILE_STANDARD,
	.needs_go = true,
	.collect = collect,
};
