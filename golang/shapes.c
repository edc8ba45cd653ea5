#include "golang/shapes.h"

#include <string.h>

/* Ceilings of counts that nobody reaches, to tell a count from any other word. */
#define GOROUTINES_MAX (UINT64_C(1) << 32)
#define PROCS_MAX (UINT64_C(1) << 16)
#define SPANS_MAX (UINT64_C(1) << 36)
#define PCS_MAX 1100 /* debug.profstackdepth is at most 1024 */

static bool may_read(const struct gd_shapes *s)
{
	if (s->reads_left == NULL)
		return true;
	if (*s->reads_left == 0)
		return false;
	(*s->reads_left)--;
	return true;
}

/* A field of a struct in the target; false when the release has none or memory is not there. */
static bool u64_of(const struct gd_shapes *s, uint64_t base, int32_t field, uint64_t *ret)
{
	return base != 0 && field >= 0 && may_read(s) &&
	       gd_memory_read_u64(s->memory, base + (uint64_t)field, ret, NULL) == 0;
}

static bool i32_of(const struct gd_shapes *s, uint64_t base, int32_t field, int32_t *ret)
{
	uint32_t v;
	if (base == 0 || field < 0 || !may_read(s) ||
	    gd_memory_read_u32(s->memory, base + (uint64_t)field, &v, NULL) < 0)
		return false;
	*ret = (int32_t)v;
	return true;
}

struct slice {
	uint64_t ptr, len, cap;
};

static bool is_slice(const struct slice *slice, uint64_t max)
{
	return slice->ptr >= 4096 && slice->ptr % 8 == 0 && slice->len >= 1 &&
	       slice->len <= slice->cap && slice->cap <= max;
}

static bool slice_at(const struct gd_shapes *s, uint64_t addr, uint64_t max, struct slice *ret)
{
	return addr != 0 && may_read(s) &&
	       gd_memory_read(s->memory, addr, ret, sizeof(*ret), NULL) == 0 &&
	       is_slice(ret, max);
}

static bool element(const struct gd_shapes *s, const struct slice *slice, uint64_t i, uint64_t *ret)
{
	return u64_of(s, slice->ptr + 8 * i, 0, ret) && *ret % 8 == 0 && *ret >= 4096;
}

/*
 * The distance from a g's status to its goid never changed, the place of both did, and a layout that
 * is still to be calibrated may have it wrong: so it is tried.
 */
enum { STATUS_LOWEST = 104, STATUS_HIGHEST = 232, STATUS_TO_GOID = 8 };

static bool is_g(const struct gd_shapes *s, uint64_t g, int32_t at_status, uint64_t *goid)
{
	uint64_t lo, hi, self;
	int32_t status;

	if (!u64_of(s, g, s->layout->g_stack_lo, &lo) || !u64_of(s, g, s->layout->g_stack_hi, &hi) ||
	    !u64_of(s, g, s->layout->g_sched_g, &self) ||
	    !u64_of(s, g, at_status + STATUS_TO_GOID, goid) || !i32_of(s, g, at_status, &status))
		return false;
	return (lo < hi || (lo == 0 && hi == 0)) && (self == g || self == 0) &&
	       (status & 0xfff) <= 11;
}

/* Goroutine 1 runs main and is never removed, and the list only grows. */
static bool is_allgs(const struct gd_shapes *s, const struct slice *slice, int32_t at_status)
{
	uint64_t g, goid;

	if (!element(s, slice, 0, &g) || !is_g(s, g, at_status, &goid) || goid != 1)
		return false;
	for (uint64_t i = 1; i < slice->len && i < 8; i++)
		if (!element(s, slice, i, &g) || !is_g(s, g, at_status, &goid) || goid == 1)
			return false;
	return true;
}

static enum gd_shape test_allgs(const struct gd_shapes *s, uint64_t addr)
{
	struct slice slice;
	uint64_t g, self;

	if (!slice_at(s, addr, GOROUTINES_MAX, &slice) || !element(s, &slice, 0, &g) ||
	    !u64_of(s, g, s->layout->g_sched_g, &self) || self != g)
		return GD_SHAPE_WRONG;
	if (is_allgs(s, &slice, s->layout->g_atomicstatus))
		return GD_SHAPE_RIGHT;
	for (int32_t at = STATUS_LOWEST; at <= STATUS_HIGHEST; at += 8)
		if (is_allgs(s, &slice, at))
			return GD_SHAPE_RIGHT;
	return GD_SHAPE_WRONG;
}

size_t gd_shapes_threads(const struct gd_shapes *s, uint64_t addr)
{
	uint64_t m, g0, back, next, met = 0;
	size_t n = 0, turn = 1;

	if (!u64_of(s, addr, 0, &m))
		return 0;
	for (; m != 0 && n < GD_SHAPES_THREADS_MAX; m = next) {
		/* Brent: who meets the one noted at the last power of two goes round. */
		if (m == met)
			return 0;
		if (++n == turn) {
			turn *= 2;
			met = m;
		}
		if (m % 8 != 0 || !u64_of(s, m, s->layout->m_g0, &g0) || g0 % 8 != 0 ||
		    !u64_of(s, g0, s->layout->g_m, &back) || back != m ||
		    !u64_of(s, m, s->layout->m_alllink, &next))
			return 0;
	}
	return m == 0 ? n : 0;
}

/* Other lists of threads (the idle ones) share the links: a scan takes the longest. */
static enum gd_shape test_allm(const struct gd_shapes *s, uint64_t addr)
{
	return gd_shapes_threads(s, addr) > 0 ? GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

static bool is_p(const struct gd_shapes *s, uint64_t p, uint64_t index)
{
	const struct gd_layout *l = s->layout;
	int32_t id, status, head, tail;

	return i32_of(s, p, l->p_id, &id) && id >= 0 && (uint64_t)id == index &&
	       i32_of(s, p, l->p_status, &status) && status >= 0 && status <= 4 &&
	       i32_of(s, p, l->p_runqhead, &head) && i32_of(s, p, l->p_runqtail, &tail) &&
	       (uint32_t)tail - (uint32_t)head <= 256;
}

static enum gd_shape test_allp(const struct gd_shapes *s, uint64_t addr)
{
	struct slice slice;
	uint64_t p, cache;

	if (!slice_at(s, addr, PROCS_MAX, &slice))
		return GD_SHAPE_WRONG;
	for (uint64_t i = 0; i < slice.len && i < 64; i++)
		if (!element(s, &slice, i, &p) || !is_p(s, p, i))
			return GD_SHAPE_WRONG;
	/* The first is never without its allocation cache; of a list of one this says more. */
	if (!element(s, &slice, 0, &p) || !u64_of(s, p, s->layout->p_mcache, &cache) || cache == 0 ||
	    cache % 8 != 0)
		return GD_SHAPE_WRONG;
	return GD_SHAPE_RIGHT;
}

static enum gd_shape test_gomaxprocs(const struct gd_shapes *s, uint64_t addr)
{
	struct slice allp;
	int32_t n;

	if (!i32_of(s, addr, 0, &n) || n < 1 || (uint64_t)n > PROCS_MAX)
		return GD_SHAPE_WRONG;
	if (!slice_at(s, s->allp, PROCS_MAX, &allp))
		return GD_SHAPE_OPEN;
	return (uint64_t)n == allp.len ? GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

/*
 * As many as there are idle Ps in the list of all, and the head of theirs is one of these.  A P that
 * was just taken for a thread about to look for work has left one list only.
 */
static bool are_idle_ps(const struct gd_shapes *s, uint64_t head, int32_t n, int32_t n_spinning)
{
	const struct gd_layout *l = s->layout;
	struct slice allp;
	uint64_t p;
	int32_t status, idle = 0;
	bool seen = head == 0;

	if ((head == 0) != (n == 0) || !slice_at(s, s->allp, PROCS_MAX, &allp))
		return false;
	for (uint64_t i = 0; i < allp.len; i++) {
		if (!element(s, &allp, i, &p) || !i32_of(s, p, l->p_status, &status))
			return false;
		if (status == 0)
			idle++;
		if (p == head)
			seen = true;
	}
	return seen && idle >= n && idle - n <= n_spinning;
}

static bool is_count(int32_t n, uint64_t max)
{
	return n >= 0 && (uint64_t)n <= max;
}

/*
 * Threads made less threads gone is what the list of threads holds, but for those that come and go
 * meanwhile.  (Goroutine ids go out in batches of 16, but with cgo also one by one, for the spare
 * threads that C may call Go on: runtime.oneNewExtraM.)
 */
static enum gd_shape test_sched(const struct gd_shapes *s, uint64_t addr)
{
	enum { THREADS_MAX = 10000 }; /* unless debug.SetMaxThreads changed it */
	const struct gd_layout *l = s->layout;
	uint64_t goidgen, lastpoll, mnext, nmfreed, pidle;
	int32_t maxmcount, nmidle, npidle, nmspinning;

	if (!u64_of(s, addr, l->sched_goidgen, &goidgen) ||
	    !u64_of(s, addr, l->sched_lastpoll, &lastpoll) ||
	    !u64_of(s, addr, l->sched_mnext, &mnext) ||
	    !u64_of(s, addr, l->sched_nmfreed, &nmfreed) ||
	    !u64_of(s, addr, l->sched_pidle, &pidle) ||
	    !i32_of(s, addr, l->sched_maxmcount, &maxmcount) ||
	    !i32_of(s, addr, l->sched_nmidle, &nmidle) ||
	    !i32_of(s, addr, l->sched_npidle, &npidle) ||
	    !i32_of(s, addr, l->sched_nmspinning, &nmspinning))
		return GD_SHAPE_WRONG;
	if (goidgen == 0 || goidgen >> 56 != 0 || lastpoll >> 63 != 0 || mnext <= nmfreed ||
	    mnext >> 32 != 0)
		return GD_SHAPE_WRONG;
	uint64_t counted = mnext - nmfreed;
	if (maxmcount < 1 || counted > (uint64_t)maxmcount || !is_count(nmidle, counted) ||
	    !is_count(npidle, PROCS_MAX) || !is_count(nmspinning, PROCS_MAX))
		return GD_SHAPE_WRONG;
	if (s->allm == 0)
		return GD_SHAPE_OPEN;
	uint64_t listed = gd_shapes_threads(s, s->allm);
	uint64_t off = listed > counted ? listed - counted : counted - listed;
	if (listed == 0 || off > 1 + listed / 8)
		return GD_SHAPE_WRONG;
	bool sure = maxmcount == THREADS_MAX && are_idle_ps(s, pidle, npidle, nmspinning);
	return sure ? GD_SHAPE_RIGHT : GD_SHAPE_OPEN;
}

uint64_t gd_shapes_bucket_hash(const uint64_t *pcs, size_t n, uint64_t size)
{
	uint64_t h = 0;
	for (size_t i = 0; i <= n; i++) {
		h += i < n ? pcs[i] : size;
		h += h << 10;
		h ^= h >> 6;
	}
	h += h << 3;
	return h ^ (h >> 11);
}

/* The hash authenticates a bucket: chance would have to guess 64 bits. */
static enum gd_shape test_buckets(const struct gd_shapes *s, uint64_t addr, uint64_t want)
{
	const struct gd_layout *l = s->layout;
	uint64_t bucket, typ, hash, size, n, pcs[PCS_MAX];

	if (addr % 8 != 0 || !u64_of(s, addr, 0, &bucket))
		return GD_SHAPE_WRONG;
	if (bucket == 0)
		return GD_SHAPE_OPEN;
	if (!u64_of(s, bucket, l->bucket_typ, &typ) || typ != want ||
	    !u64_of(s, bucket, l->bucket_hash, &hash) || !u64_of(s, bucket, l->bucket_size, &size) ||
	    !u64_of(s, bucket, l->bucket_nstk, &n) || n == 0 || n > PCS_MAX ||
	    gd_memory_read(s->memory, bucket + (uint64_t)l->bucket_nstk + 8, pcs, 8 * n, NULL) < 0)
		return GD_SHAPE_WRONG;
	return gd_shapes_bucket_hash(pcs, n, size) == hash ? GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

/* The end of the last collection is noted twice, as a time of day and in a ring by its number. */
static enum gd_shape test_memstats(const struct gd_shapes *s, uint64_t addr)
{
	const struct gd_layout *l = s->layout;
	uint64_t last, total, end;
	int32_t n;

	if (!u64_of(s, addr, l->mstats_last_gc_unix, &last) ||
	    !u64_of(s, addr, l->mstats_pause_total_ns, &total) ||
	    !i32_of(s, addr, l->mstats_numgc, &n))
		return GD_SHAPE_WRONG;
	if (n == 0)
		return last == 0 && total == 0 ? GD_SHAPE_OPEN : GD_SHAPE_WRONG;
	int32_t at = l->mstats_pause_end + (int32_t)(((uint32_t)n + 255) % 256) * 8;
	if (!u64_of(s, addr, at, &end))
		return GD_SHAPE_WRONG;
	if (end == last && last != 0)
		return GD_SHAPE_RIGHT;
	/* A collection ending this very moment: the pair is torn, the total still makes sense. */
	return last != 0 && end != 0 && total != 0 ? GD_SHAPE_OPEN : GD_SHAPE_WRONG;
}

/* Go computes it so, also for GOGC=off (-1), where it wraps. */
static uint64_t heap_minimum(int32_t gc_percent)
{
	return (UINT64_C(4) << 20) * (uint64_t)(int64_t)gc_percent / 100;
}

static enum gd_shape test_gc_controller(const struct gd_shapes *s, uint64_t addr)
{
	const struct gd_layout *l = s->layout;
	uint64_t minimum, marked, in_use, limit;
	int32_t percent;

	if (!i32_of(s, addr, l->gcc_gc_percent, &percent) || percent < -1 ||
	    !u64_of(s, addr, l->gcc_heap_minimum, &minimum) || minimum != heap_minimum(percent) ||
	    !u64_of(s, addr, l->gcc_heap_marked, &marked) || marked >> 56 != 0)
		return GD_SHAPE_WRONG;
	/* From 1.19 on there is more: a limit, and the bytes in use, which are whole pages. */
	if (l->gcc_memory_limit >= 0 &&
	    (!u64_of(s, addr, l->gcc_memory_limit, &limit) || limit >> 63 != 0 ||
	     !u64_of(s, addr, l->gcc_heap_in_use, &in_use) || in_use == 0 || in_use % 4096 != 0))
		return GD_SHAPE_WRONG;
	/* GOGC=0 makes both zero, as much other memory is. */
	return minimum == 0 ? GD_SHAPE_OPEN : GD_SHAPE_RIGHT;
}

static bool is_span(const struct gd_shapes *s, uint64_t span)
{
	uint64_t start, pages;

	return u64_of(s, span, s->layout->mspan_start_addr, &start) &&
	       u64_of(s, span, s->layout->mspan_npages, &pages) && start % 8192 == 0 &&
	       pages < UINT64_C(1) << 40;
}

static enum gd_shape test_mheap(const struct gd_shapes *s, uint64_t addr)
{
	struct slice spans;
	uint64_t span, pages, start, used = 0;

	if (addr == 0 || s->layout->mheap_allspans < 0 ||
	    !slice_at(s, addr + (uint64_t)s->layout->mheap_allspans, SPANS_MAX, &spans) ||
	    !u64_of(s, addr, s->layout->mheap_pages_in_use, &pages) || pages == 0 ||
	    pages > UINT64_C(1) << 40)
		return GD_SHAPE_WRONG;
	for (uint64_t i = 0; i < spans.len && i < 16; i++) {
		if (!element(s, &spans, i, &span) || !is_span(s, span))
			return GD_SHAPE_WRONG;
		/* free ones may be all zero, the first ones are hardly ever */
		if (u64_of(s, span, s->layout->mspan_start_addr, &start) && start != 0)
			used++;
	}
	return used > 0 ? GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

static enum gd_shape test_rate(const struct gd_shapes *s, uint64_t addr)
{
	uint64_t rate;

	if (!u64_of(s, addr, 0, &rate) || rate >> 56 != 0)
		return GD_SHAPE_WRONG;
	return GD_SHAPE_OPEN;
}

/* Its first entries are the same in all releases. */
static enum gd_shape test_wait_reasons(const struct gd_shapes *s, uint64_t addr)
{
	static const char *const first[] = { "", "GC assist marking", "IO wait" };
	char text[32];

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		ssize_t n = gd_memory_read_go_string(s->memory, addr + 16 * i, text, sizeof(text),
		                                     NULL);
		if (n < 0 || strcmp(text, first[i]) != 0)
			return GD_SHAPE_WRONG;
	}
	return GD_SHAPE_RIGHT;
}

static enum gd_shape test_build_version(const struct gd_shapes *s, uint64_t addr)
{
	char text[64];

	if (gd_memory_read_go_string(s->memory, addr, text, sizeof(text), NULL) < 0)
		return GD_SHAPE_WRONG;
	return strncmp(text, "go1.", 4) == 0 || strncmp(text, "devel ", 6) == 0 ? GD_SHAPE_RIGHT :
	                                                                          GD_SHAPE_WRONG;
}

enum gd_shape gd_shapes_test(const struct gd_shapes *s, enum gd_global which, uint64_t addr)
{
	switch (which) {
	case GD_GLOBAL_allgs:
		return test_allgs(s, addr);
	case GD_GLOBAL_allm:
		return test_allm(s, addr);
	case GD_GLOBAL_allp:
		return test_allp(s, addr);
	case GD_GLOBAL_gomaxprocs:
		return test_gomaxprocs(s, addr);
	case GD_GLOBAL_sched:
		return test_sched(s, addr);
	case GD_GLOBAL_mbuckets:
		return test_buckets(s, addr, 1);
	case GD_GLOBAL_bbuckets:
		return test_buckets(s, addr, 2);
	case GD_GLOBAL_xbuckets:
		return test_buckets(s, addr, 3);
	case GD_GLOBAL_memstats:
		return test_memstats(s, addr);
	case GD_GLOBAL_gc_controller:
		return test_gc_controller(s, addr);
	case GD_GLOBAL_mheap:
		return test_mheap(s, addr);
	case GD_GLOBAL_mem_profile_rate:
	case GD_GLOBAL_block_profile_rate:
	case GD_GLOBAL_mutex_profile_fraction:
		return test_rate(s, addr);
	case GD_GLOBAL_wait_reason_strings:
		return test_wait_reasons(s, addr);
	case GD_GLOBAL_build_version:
		return test_build_version(s, addr);
	case GD_GLOBAL_COUNT:
		break;
	}
	return GD_SHAPE_WRONG;
}

static bool slice_in(const uint64_t *words, size_t n, uint64_t max)
{
	return n >= 3 && is_slice(&(struct slice){ words[0], words[1], words[2] }, max);
}

/* The scanned word that holds a field, 0 when it lies beyond what was read. */
static uint64_t field_in(const uint64_t *words, size_t n, int32_t field)
{
	return field >= 0 && (size_t)field / 8 < n ? words[field / 8] : 0;
}

static bool pointer_like(uint64_t word)
{
	return word >= 4096 && word % 8 == 0 && word >> 47 == 0;
}

bool gd_shapes_worth_testing(const struct gd_shapes *s, enum gd_global which,
                             const uint64_t *words, size_t n)
{
	const struct gd_layout *l = s->layout;
	uint64_t w = words[0];

	switch (which) {
	case GD_GLOBAL_allgs:
		return slice_in(words, n, GOROUTINES_MAX);
	case GD_GLOBAL_allp:
		return slice_in(words, n, PROCS_MAX);
	case GD_GLOBAL_allm:
	case GD_GLOBAL_mbuckets:
	case GD_GLOBAL_bbuckets:
	case GD_GLOBAL_xbuckets:
		return pointer_like(w);
	case GD_GLOBAL_sched:
		w = field_in(words, n, l->sched_mnext);
		return words[0] != 0 && words[0] >> 56 == 0 && w != 0 && w >> 32 == 0;
	case GD_GLOBAL_memstats:
		/* nanoseconds since 1970, from 2017 to 2096 */
		return field_in(words, n, l->mstats_last_gc_unix) >> 61 == 0 &&
		       field_in(words, n, l->mstats_last_gc_unix) > UINT64_C(1500000000000000000) &&
		       field_in(words, n, l->mstats_numgc) != 0;
	case GD_GLOBAL_gc_controller:
		w = field_in(words, n, l->gcc_gc_percent);
		if (l->gcc_gc_percent % 8 != 0)
			w >>= 32;
		return field_in(words, n, l->gcc_heap_minimum) == heap_minimum((int32_t)w) && w != 0;
	case GD_GLOBAL_mheap:
		return l->mheap_allspans >= 0 && (size_t)l->mheap_allspans / 8 + 3 <= n &&
		       slice_in(words + l->mheap_allspans / 8, 3, SPANS_MAX);
	case GD_GLOBAL_wait_reason_strings:
		return n >= 6 && words[1] == 0 && words[3] == strlen("GC assist marking") &&
		       words[5] == strlen("IO wait");
	case GD_GLOBAL_build_version:
		return n >= 2 && w >= 4096 && w >> 47 == 0 && words[1] >= 5 && words[1] < 64;
	case GD_GLOBAL_gomaxprocs:
	case GD_GLOBAL_mem_profile_rate:
	case GD_GLOBAL_block_profile_rate:
	case GD_GLOBAL_mutex_profile_fraction:
	case GD_GLOBAL_COUNT:
		break;
	}
	return false;
}
