/*
 * Goroutines are counted as the runtime does it: all records ever made, less those which the
 * scheduler and the Ps keep for reuse, less the runtime's own.  That is one short read per P instead
 * of a walk over all goroutines.
 */
#include "golang/gauges.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "golang/pacer.h"
#include "golang/scheduler.h"

enum {
	PS_MAX = 1024,
	SCHED_BYTES_MAX = 1024,
	LATENCY_BYTES_MAX = 1536, /* of Go 1.20 and later, which lies right behind */
	/* memstats from last_gc_unix to last_gc_nanotime: the ring of pauses and some of 1.18's. */
	MEMSTATS_BYTES_MAX = 6144,
	READINGS_MAX = 4,
	OFFSET_MAX = 1 << 20,
	GC_BYTES_MAX = 64,
	/* lock, two lists of {head, size} */
	GFREE_BYTES_1_25 = 40,
};

/* --- the record --- */

static bool address_ok(uint64_t addr)
{
	return addr == 0 || (addr >= 4096 && addr < UINT64_C(1) << 47);
}

int gd_gauges_at_check(const struct gd_gauges_at *at, struct gd_error *err)
{
	const uint64_t addresses[] = { at->sched, at->memstats, at->gc_controller, at->allgs,
		                       at->allp };
	int32_t offsets[offsetof(struct gd_layout, trust) / sizeof(int32_t)];
	uint32_t trust;

	if (at->minor < 18 || at->minor > 999)
		return gd_fail(err, -EBADMSG, "gauges: Go 1.%d", at->minor);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		if (!address_ok(addresses[i]))
			return gd_fail(err, -EBADMSG, "gauges: an address is out of range");
	memcpy(offsets, &at->layout, sizeof(offsets));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		if (offsets[i] < GD_ABSENT || offsets[i] > OFFSET_MAX)
			return gd_fail(err, -EBADMSG, "gauges: an offset is out of range");
	/* As bytes: a value that the enum does not have must not be loaded as one. */
	memcpy(&trust, &at->layout.trust, sizeof(trust));
	if (trust > GD_LAYOUT_CALIBRATED)
		return gd_fail(err, -EBADMSG, "gauges: no such trust");
	return 0;
}

/* Do both ways to count goroutines agree?  The process runs on, so nearly, and in one of a few tries. */
static bool counts_right(struct gd_go *go, const struct gd_gauges_at *at)
{
	for (unsigned i = 0; i < READINGS_MAX; i++) {
		struct gd_gauges gauges;
		GD_SCHEDULER struct gd_scheduler walked = { 0 };
		if (gd_gauges_read(go->memory, at, &gauges, NULL) < 0 ||
		    (gauges.has & GD_GAUGES_GOROUTINES) == 0 ||
		    gd_scheduler_read(go, &walked, NULL) < 0)
			return false;
		uint64_t a = gauges.goroutines;
		uint64_t b = walked.goroutines;
		if ((a > b ? a - b : b - a) <= 4 + b / 4)
			return true;
	}
	return false;
}

int gd_gauges_find(struct gd_go *go, struct gd_gauges_at *ret, struct gd_error *err)
{
	struct gd_gauges_at at = {
		.minor = go->version.minor,
		.sched = go->globals.sched,
		.memstats = go->globals.memstats,
		.gc_controller = go->globals.gc_controller,
		.allgs = go->globals.allgs,
		.allp = go->globals.allp,
		.layout = go->layout,
	};
	/* What calls itself by no number is newer than all that have one. */
	if (at.minor == 0)
		at.minor = 99;
	if (at.sched == 0 && at.memstats == 0 && at.gc_controller == 0)
		return gd_fail(err, -ENOENT, "gauges: none of the runtime's records was found");
	int r = gd_gauges_at_check(&at, err);
	if (r < 0)
		return r;
	/* A release without a row of its own: these fields do not prove themselves. */
	if (go->layout.trust == GD_LAYOUT_CALIBRATED && !counts_right(go, &at))
		at.layout.sched_gfree = GD_ABSENT;
	*ret = at;
	return 0;
}

/* --- reading --- */

struct reading {
	struct gd_memory *memory;
	const struct gd_gauges_at *at;
	struct gd_gauges *gauges;
	struct gd_gauges_seen *seen;
	uint8_t sched[SCHED_BYTES_MAX + LATENCY_BYTES_MAX];
	size_t sched_len;
	uint64_t ps_free; /* goroutines that all Ps keep for reuse */
	bool ps_known;
};

static bool has(const struct reading *r, int32_t at, size_t size)
{
	return at >= 0 && (size_t)at + size <= r->sched_len;
}

/* Where the latencies end in schedt when they are near enough to what begins it; else 0. */
static size_t end_of_latency(const struct gd_layout *l)
{
	int size = gd_histogram_size(l, NULL);
	if (size < 0 || l->sched_time_to_run < 0)
		return 0;
	size_t end = (size_t)l->sched_time_to_run + (size_t)size;
	return end <= SCHED_BYTES_MAX + LATENCY_BYTES_MAX - 8 ? end : 0;
}

/* What begins schedt: the lists of free goroutines, the CPU time so far, mostly the latencies. */
static int read_sched(struct reading *r, struct gd_error *err)
{
	const struct gd_layout *l = &r->at->layout;
	const int32_t wanted[] = { l->sched_ngsys, l->sched_gfree + 32, l->sched_totaltime,
		                   l->sched_procresizetime };
	size_t len = 0;
	if (r->at->sched == 0)
		return gd_fail(err, -ENOENT, "runtime.sched was not found");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (wanted[i] >= 0 && (size_t)wanted[i] + 8 > len)
			len = (size_t)wanted[i] + 8;
	if (len > SCHED_BYTES_MAX)
		return gd_fail(err, -ENOTSUP, "the layout of schedt is not known");
	if (len < end_of_latency(l))
		len = end_of_latency(l);
	int e = gd_memory_read(r->memory, r->at->sched, r->sched, len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.sched");
	r->sched_len = len;
	return 0;
}

static int read_ps(struct reading *r, struct gd_error *err)
{
	uint64_t head[3];
	uint64_t ps[PS_MAX];
	int32_t gfree = r->at->layout.p_gfree;
	if (r->at->allp == 0)
		return gd_fail(err, -ENOENT, "runtime.allp was not found");
	int e = gd_memory_read(r->memory, r->at->allp, head, sizeof(head), err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.allp");
	if (head[1] == 0 || head[1] > head[2] || head[1] > PS_MAX)
		return gd_fail(err, -EBADMSG, "runtime.allp makes no sense");
	size_t n = (size_t)head[1];
	r->gauges->gomaxprocs = (int32_t)n;
	if (gfree < 0 || r->at->layout.sched_gfree < 0)
		return 0;
	e = gd_memory_read(r->memory, head[0], ps, n * sizeof(ps[0]), err);
	for (size_t i = 0; i < n && e == 0; i++) {
		uint32_t count = 0;
		e = gd_memory_read_u32(r->memory, ps[i] + (uint64_t)gfree + 8, &count, err);
		r->ps_free += count;
	}
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.allp");
	r->ps_known = true;
	return 0;
}

static int read_goroutines(struct reading *r, struct gd_error *err)
{
	const struct gd_layout *l = &r->at->layout;
	uint64_t head[3];
	uint64_t free = r->ps_free;
	int32_t gfree = l->sched_gfree;
	int32_t width = l->sched_sudoglock - gfree;
	if (r->at->allgs == 0)
		return gd_fail(err, -ENOENT, "runtime.allgs was not found");
	if (!r->ps_known || !has(r, l->sched_ngsys, 4) || !has(r, gfree, 40))
		return gd_fail(err, -ENOTSUP, "where free goroutines are counted is not known");
	int e = gd_memory_read(r->memory, r->at->allgs, head, sizeof(head), err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.allgs");
	if (head[1] > head[2] || head[1] > GD_SCHEDULER_GS_MAX)
		return gd_fail(err, -EBADMSG, "runtime.allgs makes no sense");
	/* Until Go 1.24 one number counts both lists, since then each its own. */
	free += width >= GFREE_BYTES_1_25 ? (uint64_t)gd_load_u32(r->sched + gfree + 16) +
	                                            gd_load_u32(r->sched + gfree + 32)
	                                  : gd_load_u32(r->sched + gfree + 24);
	free += gd_load_u32(r->sched + l->sched_ngsys);
	r->gauges->goroutines = head[1] > free ? head[1] - free : 1;
	r->gauges->has |= GD_GAUGES_GOROUTINES;
	return 0;
}

static int read_heap(struct reading *r, struct gd_error *err)
{
	struct gd_pacer pacer;
	int e = gd_pacer_read(r->memory, &r->at->layout, r->at->gc_controller, &pacer, err);
	if (e < 0)
		return e;
	r->gauges->heap_live = pacer.heap_live;
	r->gauges->heap_marked = pacer.heap_marked;
	r->gauges->heap_goal = gd_pacer_goal(&pacer, r->at->minor, 0);
	r->gauges->has |= GD_GAUGES_HEAP;
	return 0;
}

/* CPU time of GOMAXPROCS CPUs since the start, as of `now`: what GCCPUFraction is a part of. */
static bool total_cpu(const struct reading *r, uint64_t now_ns, double *ret)
{
	const struct gd_layout *l = &r->at->layout;
	if (!has(r, l->sched_totaltime, 8) || !has(r, l->sched_procresizetime, 8) ||
	    r->gauges->gomaxprocs <= 0)
		return false;
	int64_t before = (int64_t)gd_load_u64(r->sched + l->sched_totaltime);
	int64_t since = (int64_t)gd_load_u64(r->sched + l->sched_procresizetime);
	double ns = (double)before + ((double)(int64_t)now_ns - (double)since) *
	                                     (double)r->gauges->gomaxprocs;
	*ret = ns;
	return ns >= 0 && ns < 0x1p62;
}

/* What memstats says of the last collection, where `at` lies at offset `base` of it. */
static void take_ended(struct reading *r, const uint8_t *at, int32_t base)
{
	const struct gd_layout *l = &r->at->layout;
	struct gd_gauges_seen *seen = r->seen;
	seen->num_gc = gd_load_u32(at + (l->mstats_numgc - base));
	seen->ended_ns = gd_load_u64(at + (l->mstats_last_gc_nanotime - base));
	seen->fraction_bits = gd_load_u64(at + (l->mstats_gc_cpu_fraction - base));
}

static void put_ended(const struct reading *r)
{
	const struct gd_gauges_seen *seen = r->seen;
	double fraction;
	double total;
	r->gauges->num_gc = seen->num_gc;
	r->gauges->has |= GD_GAUGES_GC;
	if (!seen->ended)
		return;
	memcpy(&fraction, &seen->fraction_bits, sizeof(fraction));
	if (seen->num_gc == 0) {
		r->gauges->has |= GD_GAUGES_GC_CPU;
	} else if (total_cpu(r, seen->ended_ns, &total) && fraction >= 0 && fraction <= 1) {
		r->gauges->gc_cpu_ns = (uint64_t)(fraction * total);
		r->gauges->has |= GD_GAUGES_GC_CPU;
	}
}

/*
 * block: memstats from last_gc_unix on.  The end of a collection writes times and ring first, the
 * fraction later and its number last.  False when that is under way.
 */
static bool take_gc(struct reading *r, const uint8_t *block)
{
	const struct gd_layout *l = &r->at->layout;
	const int32_t base = l->mstats_last_gc_unix;
	struct gd_gauges_seen *seen = r->seen;
	take_ended(r, block, base);
	size_t slot = (seen->num_gc - 1) % 256;
	seen->ended = seen->num_gc == 0
	                      ? seen->ended_ns == 0
	                      : gd_load_u64(block) ==
	                                gd_load_u64(block + (l->mstats_pause_end - base) + 8 * slot);
	put_ended(r);
	return seen->ended;
}

/* Whether the last collection is the one that was seen before: 1, 0; its numbers lie together. */
static int same_gc(struct reading *r, struct gd_error *err)
{
	const struct gd_layout *l = &r->at->layout;
	const struct gd_gauges_seen *seen = r->seen;
	const uint32_t num_gc = seen->num_gc;
	const uint64_t ended_ns = seen->ended_ns;
	const uint64_t fraction_bits = seen->fraction_bits;
	const int32_t base = l->mstats_numgc;
	const int32_t ends[] = { l->mstats_gc_cpu_fraction + 8, l->mstats_last_gc_nanotime + 8 };
	uint8_t bytes[GC_BYTES_MAX];
	int32_t len = 8;
	if (!seen->ended)
		return 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (ends[i] - 8 < base || ends[i] - base > GC_BYTES_MAX)
			return 0;
		len = ends[i] - base > len ? ends[i] - base : len;
	}
	int e = gd_memory_read(r->memory, r->at->memstats + (uint64_t)base, bytes, (size_t)len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.memstats");
	take_ended(r, bytes, base);
	return seen->num_gc == num_gc && seen->ended_ns == ended_ns &&
	       seen->fraction_bits == fraction_bits;
}

static int read_gc(struct reading *r, struct gd_error *err)
{
	const struct gd_layout *l = &r->at->layout;
	const int32_t base = l->mstats_last_gc_unix;
	const int32_t ends[] = { l->mstats_last_gc_nanotime + 8, l->mstats_numgc + 8,
		                 l->mstats_gc_cpu_fraction + 8, l->mstats_pause_end + 8 * 256 };
	uint8_t block[MEMSTATS_BYTES_MAX];
	int32_t len = 0;
	if (r->at->memstats == 0)
		return gd_fail(err, -ENOENT, "runtime.memstats was not found");
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (base < 0 || ends[i] - 8 < base || ends[i] - base > MEMSTATS_BYTES_MAX)
			return gd_fail(err, -ENOTSUP, "the layout of memstats is not known");
		len = ends[i] - base > len ? ends[i] - base : len;
	}
	if (l->mstats_pause_end < base)
		return gd_fail(err, -ENOTSUP, "the layout of memstats is not known");
	int same = same_gc(r, err);
	if (same < 0)
		return same;
	if (same == 1) {
		put_ended(r);
		return 0;
	}
	for (unsigned i = 0; i < READINGS_MAX; i++) {
		int e = gd_memory_read(r->memory, r->at->memstats + (uint64_t)base, block,
		                       (size_t)len, err);
		if (e < 0)
			return gd_error_wrap(err, e, "runtime.memstats");
		if (take_gc(r, block))
			return 0;
	}
	return gd_fail(err, -EAGAIN, "runtime.memstats changed during each reading");
}

static int read_histogram(const struct reading *r, uint64_t base, int32_t at,
                          struct gd_histogram *to, unsigned bit, struct gd_error *err)
{
	if (base == 0 || at < 0)
		return gd_fail(err, -ENOENT, "a histogram was not found");
	int e = gd_histogram_read(r->memory, &r->at->layout, base + (uint64_t)at, to, err);
	if (e == 0)
		r->gauges->has |= bit;
	return e;
}

static int read_pauses(struct reading *r, struct gd_error *err)
{
	const struct gd_layout *l = &r->at->layout;
	/* Go 1.22 moved it from memstats to the scheduler. */
	bool moved = l->sched_stw_total_gc >= 0;
	return read_histogram(r, moved ? r->at->sched : r->at->memstats,
	                      moved ? l->sched_stw_total_gc : l->mstats_gc_pause_dist,
	                      &r->gauges->pauses, GD_GAUGES_PAUSES, err);
}

static int read_latency(struct reading *r, struct gd_error *err)
{
	size_t end = end_of_latency(&r->at->layout);
	if (end > 0 && end <= r->sched_len) {
		gd_histogram_take(&r->at->layout, r->sched + r->at->layout.sched_time_to_run,
		                  &r->gauges->latency);
		r->gauges->has |= GD_GAUGES_LATENCY;
		return 0;
	}
	return read_histogram(r, r->at->sched, r->at->layout.sched_time_to_run, &r->gauges->latency,
	                      GD_GAUGES_LATENCY, err);
}

/* ---- a process that sleeps ---- */

static void put_kept(const struct gd_gauges_seen *seen, struct gd_gauges *g)
{
	g->pauses.n = g->latency.n = 0;
	g->pauses.total = g->latency.total = 0;
	g->has = GD_GAUGES_ALL;
	g->same = GD_GAUGES_PAUSES | GD_GAUGES_LATENCY;
	g->gomaxprocs = seen->gomaxprocs;
	g->goroutines = seen->goroutines;
	g->heap_live = seen->heap_live;
	g->heap_marked = seen->heap_marked;
	g->heap_goal = seen->heap_goal;
	g->num_gc = seen->num_gc;
	g->gc_cpu_ns = seen->gc_cpu_ns;
}

static void keep(const struct gd_gauges *g, struct gd_gauges_seen *seen)
{
	seen->whole = g->has == GD_GAUGES_ALL;
	seen->gomaxprocs = g->gomaxprocs;
	seen->goroutines = g->goroutines;
	seen->heap_live = g->heap_live;
	seen->heap_marked = g->heap_marked;
	seen->heap_goal = g->heap_goal;
	seen->gc_cpu_ns = g->gc_cpu_ns;
}

int gd_gauges_read_again(struct gd_memory *memory, const struct gd_gauges_at *at,
                         struct gd_gauges_seen *seen, bool slept, unsigned wanted,
                         struct gd_gauges *ret, struct gd_error *why)
{
	typedef int (*part)(struct reading *r, struct gd_error *err);
	static const part parts[] = { read_sched, read_ps, read_goroutines, read_heap, read_gc,
		                      read_pauses, read_latency };
	struct gd_gauges gauges;
	struct reading r;
	struct gd_error first = { 0 };

	if (slept && seen->whole && wanted == 0) {
		put_kept(seen, ret);
		return 0;
	}
	/* Its buffers need no zeros. */
	r.memory = memory;
	r.at = at;
	r.gauges = &gauges; /* cleared when it is needed: 12 KiB */
	r.seen = seen;
	r.ps_known = false;
	r.sched_len = 0;
	r.ps_free = 0;
	gauges = (struct gd_gauges){ 0 };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct gd_error err = { 0 };
		int e = parts[i](&r, &err);
		if (e == 0)
			continue;
		/* What only moved is there the next time: nothing to tell. */
		if (first.code == 0 && e != -EAGAIN)
			first = err;
		if (e == -ESRCH)
			break;
	}
	if (first.code != 0 && why != NULL)
		*why = first;
	if (first.code == -ESRCH || gauges.has == 0) {
		memset(seen, 0, sizeof(*seen));
		return first.code;
	}
	keep(&gauges, seen);
	*ret = gauges;
	return 0;
}

int gd_gauges_read(struct gd_memory *memory, const struct gd_gauges_at *at, struct gd_gauges *ret,
                   struct gd_error *why)
{
	struct gd_gauges_seen seen = { 0 };
	return gd_gauges_read_again(memory, at, &seen, false, 0, ret, why);
}
