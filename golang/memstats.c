/*
 * A reading is plain data that can be compared with memcmp: the runtime's deltas, the pacer, the
 * sums over the caches of all Ps.  Two equal ones in a row are of one instant.
 */
#include "golang/memstats.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "golang/pacer.h"

#define READINGS_MAX 6
#define PS_MAX 65536
/* runtime.consistentHeapStats keeps three of these; its readers add them up. */
#define DELTAS 3
#define DELTA_WORDS_MAX 147
#define SPAN_CLASSES (2 * GD_MEMSTATS_CLASSES)
#define SPAN_BYTES_MAX 256
#define MCACHE_BYTES_MAX (64 + 8 * SPAN_CLASSES)
/* fixalloc.inuse lies behind size, first, arg, list, chunk, nchunk and nalloc in all releases. */
#define FIXALLOC_INUSE 48

/* runtime.heapStatsDelta summed up; its fields in their order.  Negative deltas wrap and sum up. */
struct deltas {
	uint64_t committed, released, in_heap, in_stacks, in_work_bufs, in_ptr_scalar_bits;
	uint64_t tiny_allocs, large_alloc, large_allocs, small_allocs[GD_MEMSTATS_CLASSES];
	uint64_t large_free, large_frees, small_frees[GD_MEMSTATS_CLASSES];
};

struct caches {
	uint64_t allocs[GD_MEMSTATS_CLASSES]; /* made from cached spans, not in the deltas yet */
	uint64_t tiny_allocs;
	uint64_t stale; /* spans that the collection in progress has not swept yet */
};

struct reading {
	struct deltas deltas;
	struct gd_pacer pacer;
	struct caches caches;
	uint64_t stacks_sys, mspan_sys, mcache_sys, buckhash_sys, gc_sys, other_sys;
	uint64_t mspan_inuse, mcache_inuse;
};

static const uint16_t class_bytes[GD_MEMSTATS_CLASSES] = {
	0,     8,     16,    24,    32,    48,    64,    80,    96,    112,   128,   144,
	160,   176,   192,   208,   224,   240,   256,   288,   320,   352,   384,   416,
	448,   480,   512,   576,   640,   704,   768,   896,   1024,  1152,  1280,  1408,
	1536,  1792,  2048,  2304,  2688,  3072,  3200,  3456,  4096,  4864,  5376,  6144,
	6528,  6784,  6912,  8192,  9472,  9728,  10240, 10880, 12288, 13568, 14336, 16384,
	18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
};

uint32_t gd_memstats_class_bytes(unsigned i)
{
	return i < GD_MEMSTATS_CLASSES ? class_bytes[i] : 0;
}

/* --- the runtime's own sums --- */

static int read_deltas(struct gd_go *go, struct deltas *to, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	uint64_t words[DELTAS * DELTA_WORDS_MAX];
	uint64_t sum[DELTA_WORDS_MAX] = { 0 };
	size_t n = 0;

	if (l->mstats_heap_stats >= 0 && l->mstats_heap_stats_gen > l->mstats_heap_stats)
		n = (size_t)(l->mstats_heap_stats_gen - l->mstats_heap_stats) / (8 * DELTAS);
	/* Go 1.25 dropped inPtrScalarBits; 1.18 to 1.18.3 padded the record. */
	if (n != DELTA_WORDS_MAX && n != DELTA_WORDS_MAX - 1)
		return gd_fail(err, -ENOTSUP, "the layout of heapStatsDelta is not known");
	int r = gd_memory_read(go->memory, go->globals.memstats + (uint64_t)l->mstats_heap_stats,
	                       words, DELTAS * n * sizeof(words[0]), err);
	if (r < 0)
		return gd_error_wrap(err, r, "memstats.heapStats");
	for (size_t i = 0; i < DELTAS * n; i++)
		sum[i % n] += words[i];

	const uint64_t *w = sum;
	to->committed = *w++;
	to->released = *w++;
	to->in_heap = *w++;
	to->in_stacks = *w++;
	to->in_work_bufs = *w++;
	if (n == DELTA_WORDS_MAX)
		to->in_ptr_scalar_bits = *w++;
	to->tiny_allocs = *w++;
	to->large_alloc = *w++;
	to->large_allocs = *w++;
	memcpy(to->small_allocs, w, sizeof(to->small_allocs));
	w += GD_MEMSTATS_CLASSES;
	to->large_free = *w++;
	to->large_frees = *w++;
	memcpy(to->small_frees, w, sizeof(to->small_frees));
	return 0;
}

static int read_word(struct gd_go *go, uint64_t base, int32_t at, const char *name, uint64_t *to,
                     struct gd_error *err)
{
	if (base == 0)
		return gd_fail(err, -ENOENT, "%s: not found in this program", name);
	if (at < 0)
		return gd_fail(err, -ENOTSUP, "%s: where it is kept is not known", name);
	int r = gd_memory_read_u64(go->memory, base + (uint64_t)at, to, err);
	return r < 0 ? gd_error_wrap(err, r, "%s", name) : 0;
}

static int read_sys(struct gd_go *go, struct reading *to, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	const struct {
		const char *name;
		uint64_t base;
		int32_t at;
		uint64_t *to;
	} words[] = {
		{ "memstats.stacks_sys", go->globals.memstats, l->mstats_stacks_sys,
		  &to->stacks_sys },
		{ "memstats.mspan_sys", go->globals.memstats, l->mstats_mspan_sys, &to->mspan_sys },
		{ "memstats.mcache_sys", go->globals.memstats, l->mstats_mcache_sys,
		  &to->mcache_sys },
		{ "memstats.buckhash_sys", go->globals.memstats, l->mstats_buckhash_sys,
		  &to->buckhash_sys },
		{ "memstats.gcMiscSys", go->globals.memstats, l->mstats_gc_sys, &to->gc_sys },
		{ "memstats.other_sys", go->globals.memstats, l->mstats_other_sys, &to->other_sys },
		{ "mheap_.spanalloc", go->globals.mheap,
		  l->mheap_spanalloc < 0 ? -1 : l->mheap_spanalloc + FIXALLOC_INUSE,
		  &to->mspan_inuse },
		{ "mheap_.cachealloc", go->globals.mheap,
		  l->mheap_cachealloc < 0 ? -1 : l->mheap_cachealloc + FIXALLOC_INUSE,
		  &to->mcache_inuse },
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		int r = read_word(go, words[i].base, words[i].at, words[i].name, words[i].to, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Until Go 1.18 memstats had what the pacer has since; ceilings as ReadMemStats checks them. */
static int read_heap_1_18(struct gd_go *go, struct gd_pacer *to, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	uint64_t sys;
	int r = read_word(go, go->globals.memstats, l->mstats_heap_sys, "memstats.heap_sys", &sys,
	                  err);
	if (r == 0)
		r = read_word(go, go->globals.memstats, l->mstats_heap_inuse, "memstats.heap_inuse",
		              &to->heap_in_use, err);
	if (r == 0)
		r = read_word(go, go->globals.memstats, l->mstats_heap_released,
		              "memstats.heap_released", &to->heap_released, err);
	if (r == 0)
		to->heap_free = sys - to->heap_in_use - to->heap_released;
	return r;
}

/* --- what Ps hold in their caches --- */

static uint64_t field(const uint8_t *bytes, size_t len, int32_t at, size_t size)
{
	uint64_t v = 0;
	if (at >= 0 && (size_t)at + size <= len)
		memcpy(&v, bytes + at, size);
	return v;
}

static int add_span(struct gd_go *go, uint64_t addr, unsigned class, uint32_t sweepgen,
                    struct caches *to, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	uint8_t span[SPAN_BYTES_MAX];
	size_t len = (size_t)l->mspan_size;
	int r = gd_memory_read(go->memory, addr, span, len, err);
	if (r < 0)
		return gd_error_wrap(err, r, "cached span");
	/* Both were words until Go 1.21, halves since; they never exceed 8192. */
	uint64_t count = field(span, len, l->mspan_alloc_count, 2);
	if (l->mspan_alloc_count_before_cache >= 0)
		to->allocs[class] += count - field(span, len, l->mspan_alloc_count_before_cache, 2);
	else
		/* Until Go 1.18 caching a span counted all of its slots in advance. */
		to->allocs[class] -= field(span, len, l->mspan_nelems, 2) - count;
	/* See runtime.mspan.sweepgen: cached and swept since the last collection. */
	if ((uint32_t)field(span, len, l->mspan_sweepgen, 4) != sweepgen + 3)
		to->stale++;
	return 0;
}

/*
 * Where mcache.alloc begins, for releases whose offsets nobody measured: spans for large objects
 * are never cached, so its first two entries are the same empty span; tinyAllocs is the word
 * before.
 */
static int32_t find_alloc(const uint8_t *mcache)
{
	for (int32_t at = 40; at <= 48; at += 8) {
		uint64_t first = gd_load_u64(mcache + at);
		if (first > (1u << 20) && first == gd_load_u64(mcache + at + 8))
			return at;
	}
	return GD_ABSENT;
}

static int add_cache(struct gd_go *go, uint64_t addr, uint32_t sweepgen, struct caches *to,
                     struct gd_error *err)
{
	uint8_t mcache[MCACHE_BYTES_MAX];
	int r = gd_memory_read(go->memory, addr, mcache, sizeof(mcache), err);
	if (r < 0)
		return gd_error_wrap(err, r, "cache of a P");
	int32_t alloc = go->layout.mcache_alloc;
	if (alloc < 0)
		alloc = find_alloc(mcache);
	if (alloc < 8 || (size_t)alloc + 8 * SPAN_CLASSES > sizeof(mcache))
		return gd_fail(err, -ENOTSUP, "the layout of mcache is not known");
	to->tiny_allocs += gd_load_u64(mcache + alloc - 8);
	uint64_t empty = gd_load_u64(mcache + alloc);
	for (unsigned i = 2; i < SPAN_CLASSES; i++) {
		uint64_t span = gd_load_u64(mcache + alloc + 8 * i);
		if (span == empty || span == 0)
			continue;
		r = add_span(go, span, i / 2, sweepgen, to, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_caches(struct gd_go *go, struct caches *to, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	uint64_t slice[2];
	uint64_t sweepgen;
	if (go->globals.allp == 0)
		return gd_fail(err, -ENOENT, "runtime.allp was not found");
	if (l->p_mcache < 0 || l->mspan_size <= 0 || l->mspan_size > SPAN_BYTES_MAX ||
	    l->mspan_alloc_count < 0)
		return gd_fail(err, -ENOTSUP, "the layout of P or mspan is not known");
	int r = read_word(go, go->globals.mheap, l->mheap_sweepgen, "mheap_.sweepgen", &sweepgen,
	                  err);
	if (r == 0)
		r = gd_memory_read(go->memory, go->globals.allp, slice, sizeof(slice), err);
	if (r == 0 && slice[1] > PS_MAX)
		r = gd_fail(err, -EBADMSG, "runtime.allp: %" PRIu64 " Ps", slice[1]);
	for (uint64_t i = 0; r == 0 && i < slice[1]; i++) {
		uint64_t p;
		uint64_t mcache;
		r = gd_memory_read_u64(go->memory, slice[0] + 8 * i, &p, err);
		if (r == 0)
			r = gd_memory_read_u64(go->memory, p + (uint64_t)l->p_mcache, &mcache, err);
		if (r == 0 && mcache != 0)
			r = add_cache(go, mcache, (uint32_t)sweepgen, to, err);
	}
	return r < 0 ? gd_error_wrap(err, r, "caches of Ps") : 0;
}

/* --- together --- */

static int read_all(struct gd_go *go, struct reading *to, struct gd_error *err)
{
	memset(to, 0, sizeof(*to));
	if (go->globals.memstats == 0)
		return gd_fail(err, -ENOENT, "runtime.memstats was not found");
	int r = read_deltas(go, &to->deltas, err);
	if (r == 0)
		r = gd_pacer_read(go->memory, &go->layout, go->globals.gc_controller, &to->pacer,
		                  err);
	if (r == 0 && !to->pacer.has_totals)
		r = read_heap_1_18(go, &to->pacer, err);
	if (r == 0)
		r = read_sys(go, to, err);
	if (r == 0)
		r = read_caches(go, &to->caches, err);
	return r;
}

static void sum_up(const struct reading *r, int minor, struct gd_memstats *m)
{
	const struct deltas *d = &r->deltas;
	uint64_t cached = 0;
	uint64_t freed = d->large_free;
	uint64_t tiny = d->tiny_allocs + r->caches.tiny_allocs;

	memset(m, 0, sizeof(*m));
	m->total_alloc = d->large_alloc;
	m->mallocs = d->large_allocs + tiny;
	m->frees = d->large_frees + tiny;
	for (unsigned i = 0; i < GD_MEMSTATS_CLASSES; i++) {
		m->by_size[i].size = class_bytes[i];
		m->by_size[i].mallocs = d->small_allocs[i] + r->caches.allocs[i];
		m->by_size[i].frees = d->small_frees[i];
		m->mallocs += m->by_size[i].mallocs;
		m->frees += m->by_size[i].frees;
		m->total_alloc += m->by_size[i].mallocs * class_bytes[i];
		cached += r->caches.allocs[i] * class_bytes[i];
		freed += m->by_size[i].frees * class_bytes[i];
	}
	uint64_t gc = d->in_work_bufs + d->in_ptr_scalar_bits;
	m->heap_alloc = m->total_alloc - freed;
	m->heap_objects = m->mallocs - m->frees;
	m->heap_inuse = r->pacer.heap_in_use;
	m->heap_released = r->pacer.heap_released;
	m->heap_idle = r->pacer.heap_free + r->pacer.heap_released;
	m->heap_sys = m->heap_inuse + m->heap_idle;
	m->stack_inuse = d->in_stacks;
	m->stack_sys = d->in_stacks + r->stacks_sys;
	m->mspan_inuse = r->mspan_inuse;
	m->mspan_sys = r->mspan_sys;
	m->mcache_inuse = r->mcache_inuse;
	m->mcache_sys = r->mcache_sys;
	m->buck_hash_sys = r->buckhash_sys;
	m->gc_sys = r->gc_sys + gc;
	m->other_sys = r->other_sys;
	m->sys = m->heap_sys + m->stack_sys + m->mspan_sys + m->mcache_sys + m->buck_hash_sys +
	         m->gc_sys + m->other_sys;
	m->next_gc = gd_pacer_goal(&r->pacer, minor, cached);
}

/* What readmemstats_m asserts, before the caches are added. */
static bool agrees(const struct reading *r, const struct gd_memstats *m)
{
	const struct deltas *d = &r->deltas;
	const struct gd_pacer *p = &r->pacer;
	uint64_t retained = d->committed - d->in_stacks - d->in_work_bufs - d->in_ptr_scalar_bits;
	if (p->heap_in_use != d->in_heap || p->heap_released != d->released ||
	    p->heap_in_use + p->heap_free != retained)
		return false;
	if (!p->has_totals)
		return true;
	uint64_t alloc = d->large_alloc;
	uint64_t freed = d->large_free;
	for (unsigned i = 0; i < GD_MEMSTATS_CLASSES; i++) {
		alloc += d->small_allocs[i] * class_bytes[i];
		freed += d->small_frees[i] * class_bytes[i];
	}
	return p->total_alloc == alloc && p->total_free == freed &&
	       p->mapped_ready == m->sys - d->released;
}

int gd_memstats_read(struct gd_go *go, struct gd_memstats *ret, struct gd_error *err)
{
	struct reading readings[2];
	struct gd_memstats m;
	int r = read_all(go, &readings[0], err);
	if (r < 0)
		return r;
	for (unsigned i = 1;; i++) {
		r = read_all(go, &readings[i % 2], err);
		if (r < 0)
			return r;
		sum_up(&readings[i % 2], go->version.minor, &m);
		m.exact = memcmp(&readings[0], &readings[1], sizeof(readings[0])) == 0 &&
		          readings[0].caches.stale == 0 && agrees(&readings[i % 2], &m);
		m.repeated = i - 1;
		if (m.exact || i == READINGS_MAX)
			break;
	}
	*ret = m;
	return 0;
}
