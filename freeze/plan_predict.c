/*
 * What each method would cost.  The figures are those of docs/freeze.md; where two were measured
 * the larger one stands here, so that a prediction errs towards caution.
 */
#include "freeze/plan.h"

#define GIB_NS(ms) ((uint64_t)((ms) * 1000000.0)) /* per GiB */

#define STOP_NS_PER_THREAD 20000u
#define MAPS_NS_PER_MAP 1000u           /* read again in the stop */
#define FORK_NS_PER_MAP 1500u           /* copied; 70 to 90 ms for 60,000 */
#define SOFT_DIRTY_NS_PER_GIB GIB_NS(8) /* 2 MiB of pagemap per GiB */
#define SCAN_NS_PER_GIB GIB_NS(1.4)
#define FORK_SMALL_NS_PER_GIB GIB_NS(28)
#define FORK_HUGE_NS_PER_GIB GIB_NS(1)
#define FORK_NS 500000u                 /* the injection itself */
#define COPY_NS_PER_GIB GIB_NS(300)
#define REST_NS_PER_GIB GIB_NS(358)     /* 3 GB/s: what was written since the last round */
#define REST_MIN (UINT64_C(1) << 20)
#define REST_MAX (UINT64_C(16) << 20)
#define SPOOL_NS_PER_GIB GIB_NS(1700)   /* read and written to a file */
#define FORK_READ_NS_PER_GIB GIB_NS(1800)

/* What a service of 50 MB/s writes while its child is read; in parts of its memory. */
#define FORK_GROWS_ONE_OF 8
#define FORK_MARGIN (UINT64_C(32) << 20)
#define BYTES_OF_PTES_ONE_OF 512

#define BYTES_MAX (UINT64_C(1) << 44) /* keeps the products below in 64 bits */

static uint64_t cost(uint64_t bytes, uint64_t ns_per_gib)
{
	uint64_t kib = (bytes < BYTES_MAX ? bytes : BYTES_MAX) >> 10;
	return (uint64_t)((unsigned __int128)kib * ns_per_gib >> 20);
}

static uint64_t capped(uint64_t n)
{
	return n < 100000000 ? n : 100000000;
}

uint64_t gd_freeze_plan_bytes(const struct gd_freeze_facts *facts,
                              const struct gd_freeze_options *options)
{
	uint64_t private = options->scope == GD_FREEZE_THIN ? facts->thin_bytes : facts->anon_bytes;
	uint64_t left_out = options->secret ? 0 : facts->dontdump_bytes;
	private = private > left_out ? private - left_out : 0;
	return private + facts->shmem_bytes;
}

uint64_t gd_freeze_plan_fork_bytes(const struct gd_freeze_facts *facts)
{
	return facts->rss_bytes / BYTES_OF_PTES_ONE_OF + facts->anon_bytes / FORK_GROWS_ONE_OF +
	       FORK_MARGIN;
}

/* Pages that were written while the last round was read. */
static uint64_t rest(const struct gd_freeze_facts *facts)
{
	uint64_t bytes = facts->anon_bytes / 256;
	bytes = bytes < REST_MIN ? REST_MIN : bytes > REST_MAX ? REST_MAX : bytes;
	return cost(bytes, REST_NS_PER_GIB);
}

static uint64_t fork_ns(const struct gd_freeze_facts *facts)
{
	uint64_t huge = facts->huge_bytes < facts->anon_bytes ? facts->huge_bytes
	                                                      : facts->anon_bytes;
	return FORK_NS + capped(facts->maps) * FORK_NS_PER_MAP +
	       cost(huge, FORK_HUGE_NS_PER_GIB) +
	       cost(facts->anon_bytes - huge, FORK_SMALL_NS_PER_GIB);
}

/* Never longer than the budget: what does not fit stays out. */
static uint64_t copy_ns(const struct gd_freeze_facts *facts,
                        const struct gd_freeze_options *options, uint64_t fixed)
{
	uint64_t budget = options->max_pause_ns > 0 ? (uint64_t)options->max_pause_ns : 0;
	uint64_t all = cost(gd_freeze_plan_bytes(facts, options), COPY_NS_PER_GIB);
	return fixed + all > budget && fixed < budget ? budget - fixed : all;
}

void gd_freeze_plan_predict(const struct gd_freeze_facts *facts,
                            const struct gd_freeze_options *options,
                            struct gd_freeze_estimate *estimate)
{
	uint64_t bytes = gd_freeze_plan_bytes(facts, options);
	uint64_t stop = capped(facts->threads) * STOP_NS_PER_THREAD;
	uint64_t fixed = stop + capped(facts->maps) * MAPS_NS_PER_MAP;
	uint64_t total = cost(bytes, SPOOL_NS_PER_GIB);
	uint64_t pause = fixed;
	switch (estimate->method) {
	case GD_FREEZE_SOFT_DIRTY:
		pause += cost(facts->anon_bytes, SOFT_DIRTY_NS_PER_GIB) + rest(facts);
		break;
	case GD_FREEZE_UFFD:
		pause += cost(facts->anon_bytes, SCAN_NS_PER_GIB) + rest(facts);
		break;
	case GD_FREEZE_FORK:
		pause = stop + fork_ns(facts);
		total = cost(bytes, FORK_READ_NS_PER_GIB);
		estimate->extra_bytes = gd_freeze_plan_fork_bytes(facts) - FORK_MARGIN;
		break;
	case GD_FREEZE_COPY:
		/* Stopped by somebody else: we add nothing to that. */
		pause = facts->state == 'T' ? 0 : fixed + copy_ns(facts, options, fixed);
		break;
	case GD_FREEZE_TORN:
	case GD_FREEZE_METHODS:
	default:
		pause = 0;
		break;
	}
	estimate->pause_ns = (int64_t)pause;
	estimate->total_ns = (int64_t)(pause + total);
}
