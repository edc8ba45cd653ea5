/*
 * First pass: walk the list, prove each bucket by its hash, keep stack and counters.  Second pass:
 * read the counters again.  Counters only grow and only in steps (a collection publishes them), so
 * when a pass changes nothing all values were valid together between the passes; else it is made
 * again a few times.
 *
 * Failure modes: a head that is no bucket at all (wrong global), a list cut by memory that is not
 * there, hostile lists (circles, absurd depths): all end the walk, none is trusted.
 */
#include "golang/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "golang/shapes.h"

#define PASSES_MAX 8
#define WINDOW_BYTES 16384
#define HEADER_BYTES_MAX 64
#define RECORD_BYTES_MAX 128
/* memRecord.future is a ring of this many cycles. */
#define CYCLES 3

/* Buckets lie next to each other in the runtime's persistent memory: read it in pieces. */
struct window {
	struct gd_memory *memory;
	uint64_t addr;
	size_t len;
	uint8_t bytes[WINDOW_BYTES];
};

static int window_read(struct window *w, uint64_t addr, void *to, size_t len, struct gd_error *err)
{
	if (addr - w->addr >= w->len || w->len - (addr - w->addr) < len) {
		w->addr = addr & ~(uint64_t)(WINDOW_BYTES - 1);
		ssize_t n = gd_memory_read_some(w->memory, w->addr, w->bytes, sizeof(w->bytes));
		w->len = n > 0 ? (size_t)n : 0;
		/* Across two pieces, or the piece begins before what is mapped. */
		if (addr - w->addr >= w->len || w->len - (addr - w->addr) < len)
			return gd_memory_read(w->memory, addr, to, len, err);
	}
	memcpy(to, w->bytes + (addr - w->addr), len);
	return 0;
}

struct walk {
	struct window window; /* first: it is large */
	const struct gd_layout *layout;
	struct gd_profile_read *profile;
	uint64_t numgc_addr;
	uint32_t cycle; /* index in memRecord.future that Go would publish now */
	size_t header_bytes, record_bytes;
	size_t cap, pcs_cap;
};

/* What Go's conversion does within range; outside of it C leaves everything open. */
static int64_t whole(double value)
{
	if (!(value > -0x1p63))
		return INT64_MIN;
	return value < 0x1p63 ? (int64_t)value : INT64_MAX;
}

void gd_profile_scale(int64_t *count, int64_t *bytes, int64_t rate)
{
	if (*count == 0 || *bytes == 0) {
		*count = *bytes = 0;
		return;
	}
	if (rate <= 1)
		return;
	double average = (double)*bytes / (double)*count;
	double scale = 1 / (1 - exp(-average / (double)rate));
	*count = whole((double)*count * scale);
	*bytes = whole((double)*bytes * scale);
}

void gd_profile_deinit(struct gd_profile_read *profile)
{
	free(profile->list);
	free(profile->pcs);
	*profile = (struct gd_profile_read){ .type = profile->type };
}

/* --- what a record says --- */

static uint64_t word(const uint8_t *record, size_t at, size_t len)
{
	return at <= len - 8 ? gd_load_u64(record + at) : 0;
}

/* Adds memRecordCycle number i (-1: active) to the counts of objects of `size` bytes. */
static void add_cycle(const struct walk *w, const uint8_t *record, int i, uint64_t size,
                      struct gd_memory_counts *to)
{
	const struct gd_layout *l = w->layout;
	size_t cycle_bytes = (size_t)(l->memrec_size - l->memrec_future) / CYCLES;
	size_t at = i < 0 ? (size_t)l->memrec_active
	                  : (size_t)l->memrec_future + (size_t)i * cycle_bytes;
	size_t base = at - (size_t)l->memrec_active;
	uint64_t allocs = word(record, base + (size_t)l->memrec_active_allocs, w->record_bytes);
	uint64_t frees = word(record, base + (size_t)l->memrec_active_frees, w->record_bytes);
	uint64_t alloc_bytes = allocs * size;
	uint64_t free_bytes = frees * size;

	/* Go 1.27 counts objects only: all objects of a bucket have its size. */
	if (l->memrec_active_alloc_bytes != GD_ABSENT) {
		alloc_bytes = word(record, base + (size_t)l->memrec_active_alloc_bytes,
		                   w->record_bytes);
		free_bytes = word(record, base + (size_t)l->memrec_active_free_bytes,
		                  w->record_bytes);
	}
	to->allocs = (int64_t)((uint64_t)to->allocs + allocs);
	to->frees = (int64_t)((uint64_t)to->frees + frees);
	to->alloc_bytes = (int64_t)((uint64_t)to->alloc_bytes + alloc_bytes);
	to->free_bytes = (int64_t)((uint64_t)to->free_bytes + free_bytes);
}

/* Reads the counters of bucket b anew; returns 1 when they differ from what was there. */
static int read_record(struct walk *w, struct gd_bucket *b, struct gd_error *err)
{
	uint8_t record[RECORD_BYTES_MAX];
	uint64_t at = b->addr + w->header_bytes + 8ull * b->depth;
	int r = window_read(&w->window, at, record, w->record_bytes, err);
	if (r < 0)
		return r;
	if (w->profile->type == GD_PROFILE_MEMORY) {
		struct gd_memory_counts counts = { 0 };
		add_cycle(w, record, -1, b->size, &counts);
		/* runtime.MemProfile first publishes the cycle that a collection just ended. */
		for (int i = 0; i < CYCLES; i++)
			if (w->profile->unpublished || (uint32_t)i == w->cycle)
				add_cycle(w, record, i, b->size, &counts);
		r = memcmp(&b->memory, &counts, sizeof(counts)) != 0;
		b->memory = counts;
		return r;
	}
	struct gd_block_counts counts;
	uint64_t count = word(record, (size_t)w->layout->blockrec_count, w->record_bytes);
	memcpy(&counts.count, &count, sizeof(count));
	counts.cycles = (int64_t)word(record, (size_t)w->layout->blockrec_cycles, w->record_bytes);
	r = memcmp(&b->block, &counts, sizeof(counts)) != 0;
	b->block = counts;
	return r;
}

/* --- the list --- */

static void *grow(void *list, size_t *cap, size_t want, size_t element)
{
	if (want <= *cap)
		return list;
	size_t cap2 = *cap < 256 ? 256 : *cap * 2;
	if (cap2 < want)
		cap2 = want;
	void *list2 = reallocarray(list, cap2, element);
	if (list2 != NULL)
		*cap = cap2;
	return list2;
}

static int room(struct walk *w, uint64_t depth, struct gd_error *err)
{
	struct gd_profile_read *p = w->profile;
	if (p->n >= GD_PROFILE_BUCKETS_MAX)
		return gd_fail(err, -E2BIG, "more than %d buckets", GD_PROFILE_BUCKETS_MAX);
	if (p->n_pcs + depth > GD_PROFILE_PCS_MAX)
		return gd_fail(err, -E2BIG, "more than %u program counters in the stacks",
		               GD_PROFILE_PCS_MAX);
	void *list = grow(p->list, &w->cap, p->n + 1, sizeof(p->list[0]));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu buckets", p->n);
	p->list = list;
	void *pcs = grow(p->pcs, &w->pcs_cap, p->n_pcs + depth, sizeof(p->pcs[0]));
	if (pcs == NULL)
		return gd_fail_errno(err, -ENOMEM, "stacks of %zu buckets", p->n);
	p->pcs = pcs;
	return 0;
}

/* Takes the bucket at addr into the profile and says which one comes after it. */
static int read_bucket(struct walk *w, uint64_t addr, uint64_t *ret_next, struct gd_error *err)
{
	const struct gd_layout *l = w->layout;
	struct gd_profile_read *p = w->profile;
	uint8_t header[HEADER_BYTES_MAX];
	int r = window_read(&w->window, addr, header, w->header_bytes, err);
	if (r < 0)
		return gd_error_wrap(err, r, "profile bucket");
	uint64_t type = word(header, (size_t)l->bucket_typ, w->header_bytes);
	uint64_t depth = word(header, (size_t)l->bucket_nstk, w->header_bytes);
	uint64_t hash = word(header, (size_t)l->bucket_hash, w->header_bytes);
	if (type != (uint64_t)p->type || depth == 0 || depth > GD_PROFILE_DEPTH_MAX)
		return gd_fail(err, -EBADMSG,
		               "0x%" PRIx64 " is no bucket: type %" PRIu64 ", %" PRIu64 " frames",
		               addr, type, depth);
	r = room(w, depth, err);
	if (r < 0)
		return r;

	struct gd_bucket *b = &p->list[p->n];
	*b = (struct gd_bucket){
		.addr = addr,
		.stack = p->n_pcs,
		.depth = (uint32_t)depth,
		.size = word(header, (size_t)l->bucket_size, w->header_bytes),
	};
	uint64_t *pcs = p->pcs + p->n_pcs;
	r = window_read(&w->window, addr + w->header_bytes, pcs, depth * sizeof(pcs[0]), err);
	if (r < 0)
		return gd_error_wrap(err, r, "stack of profile bucket");
	if (gd_shapes_bucket_hash(pcs, depth, b->size) != hash)
		return gd_fail(err, -EBADMSG, "profile bucket at 0x%" PRIx64
		               ": its hash does not match its stack", addr);
	r = read_record(w, b, err);
	if (r < 0)
		return gd_error_wrap(err, r, "counters of profile bucket");
	*ret_next = word(header, (size_t)l->bucket_allnext, w->header_bytes);
	p->n_pcs += depth;
	p->n++;
	return 0;
}

/* Circles are found by Brent's method: remember one bucket, at positions of powers of two. */
static int read_list(struct walk *w, uint64_t addr, struct gd_error *err)
{
	struct gd_profile_read *p = w->profile;
	uint64_t seen = 0;
	while (addr != 0) {
		if (addr == seen)
			return gd_fail(err, -EBADMSG, "profile buckets run in a circle");
		if ((p->n & (p->n - 1)) == 0)
			seen = addr;
		int r = read_bucket(w, addr, &addr, &p->why);
		if (r == -ESRCH || r == -ENOMEM || (r < 0 && p->n == 0)) {
			if (err != NULL)
				*err = p->why;
			return r;
		}
		if (r < 0)
			break;
	}
	return 0;
}

/* --- counters of one instant --- */

static bool published(const struct gd_profile_read *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].memory.allocs != 0 || p->list[i].memory.frees != 0)
			return true;
	return false;
}

/* mProfCycle advances together with numgc, in the same stop of the world. */
static int read_cycle(struct walk *w, uint32_t *ret_numgc, struct gd_error *err)
{
	uint32_t numgc = 0;
	int r = 0;
	w->cycle = CYCLES; /* none */
	if (w->numgc_addr == 0 || w->profile->type != GD_PROFILE_MEMORY)
		return 0;
	r = gd_memory_read_u32(w->window.memory, w->numgc_addr, &numgc, err);
	if (r < 0)
		return r;
	w->cycle = numgc % CYCLES;
	*ret_numgc = numgc;
	return 0;
}

/* One more pass over the counters: 1 when any of them changed. */
static int read_again(struct walk *w, struct gd_error *err)
{
	int changed = 0;
	w->window.len = 0;
	for (size_t i = 0; i < w->profile->n; i++) {
		int r = read_record(w, &w->profile->list[i], err);
		if (r < 0)
			return r;
		changed |= r;
	}
	return changed;
}

static int settle(struct walk *w, uint32_t numgc, struct gd_error *err)
{
	struct gd_profile_read *p = w->profile;
	/* Without any published count Go adds up the cycles that are still being counted. */
	if (p->type == GD_PROFILE_MEMORY && p->n > 0 && !published(p)) {
		p->unpublished = true;
		int r = read_again(w, err);
		if (r < 0)
			return r;
	}
	for (unsigned pass = 0; pass < PASSES_MAX && !p->consistent; pass++) {
		uint32_t before = numgc;
		int r = read_again(w, err);
		if (r >= 0) {
			int c = read_cycle(w, &numgc, err);
			r = c < 0 ? c : r;
		}
		if (r < 0)
			return r;
		p->consistent = r == 0 && before == numgc;
		p->repeated = pass;
	}
	return 0;
}

static int prepare(struct walk *w, struct gd_error *err)
{
	const struct gd_layout *l = w->layout;
	bool memory = w->profile->type == GD_PROFILE_MEMORY;
	bool known = l->bucket_bytes >= 48 && l->bucket_bytes <= HEADER_BYTES_MAX &&
	             l->bucket_allnext >= 0 && l->bucket_typ >= 0 && l->bucket_hash >= 0 &&
	             l->bucket_size >= 0 && l->bucket_nstk >= 0;
	if (memory)
		known = known && l->memrec_size >= 8 && l->memrec_size <= RECORD_BYTES_MAX &&
		        l->memrec_active >= 0 && l->memrec_future >= 0 &&
		        l->memrec_future <= l->memrec_size && l->memrec_active_allocs >= 0 &&
		        l->memrec_active_frees >= 0;
	else
		known = known && l->blockrec_count >= 0 && l->blockrec_cycles >= 0;
	if (!known)
		return gd_fail(err, -ENOTSUP, "the layout of profile buckets is not known");
	w->header_bytes = (size_t)l->bucket_bytes;
	w->record_bytes = memory ? (size_t)l->memrec_size : 16;
	return 0;
}

int gd_profile_read(struct gd_memory *memory, const struct gd_layout *layout,
                    enum gd_profile_type type, uint64_t head, uint64_t numgc,
                    struct gd_profile_read *ret, struct gd_error *err)
{
	struct gd_profile_read profile = { .type = type };
	struct walk *w = calloc(1, sizeof(*w));
	uint32_t numgc_value = 0;
	uint64_t first;
	if (w == NULL)
		return gd_fail_errno(err, -ENOMEM, "profile buckets");
	w->window.memory = memory;
	w->layout = layout;
	w->profile = &profile;
	w->numgc_addr = numgc;
	int r = prepare(w, err);
	if (r == 0)
		r = read_cycle(w, &numgc_value, err);
	if (r == 0)
		r = gd_memory_read_u64(memory, head, &first, err);
	if (r == 0)
		r = read_list(w, first, err);
	if (r == 0)
		r = settle(w, numgc_value, err);
	free(w);
	if (r < 0) {
		gd_profile_deinit(&profile);
		return r;
	}
	*ret = profile;
	return 0;
}
