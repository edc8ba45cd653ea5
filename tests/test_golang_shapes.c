/*
 * Memory made up to look right, and then wrong in one point after the other.  What real memory looks
 * like is tested in test_golang_globals.c.
 */
#include "golang/shapes.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { BASE = 0x10000, WORDS = 8192, BYTES = WORDS * 8 };

struct world {
	uint64_t words[WORDS];
	struct gd_layout layout;
};

static struct world *make_world(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gd_go_version version = { .minor = 22, .patch = 5 };
	struct gd_error err = { 0 };

	assert_non_null(w);
	assert_ok(gd_layout_of(&version, &w->layout, &err), &err);
	return w;
}

static uint64_t *at(struct world *w, uint64_t addr, int32_t field)
{
	uint64_t off = addr - BASE + (uint64_t)field;
	assert_true(field >= 0 && off + 8 <= BYTES && off % 8 == 0);
	return &w->words[off / 8];
}

static void put_u32(struct world *w, uint64_t addr, int32_t field, uint32_t value)
{
	memcpy((char *)w->words + (addr - BASE) + field, &value, sizeof(value));
}

static enum gd_shape test_with(const struct world *w, struct gd_shapes shapes, enum gd_global which,
                               uint64_t addr)
{
	struct gd_error err = { 0 };

	assert_ok(gd_memory_bytes(BASE, w->words, BYTES, &shapes.memory, &err), &err);
	shapes.layout = &w->layout;
	enum gd_shape shape = gd_shapes_test(&shapes, which, addr);
	gd_memory_close(shapes.memory);
	return shape;
}

static enum gd_shape test(const struct world *w, enum gd_global which, uint64_t addr)
{
	return test_with(w, (struct gd_shapes){ 0 }, which, addr);
}

static size_t threads_of(const struct world *w, uint64_t addr)
{
	struct gd_shapes shapes = { .layout = &w->layout };
	struct gd_error err = { 0 };

	assert_ok(gd_memory_bytes(BASE, w->words, BYTES, &shapes.memory, &err), &err);
	size_t n = gd_shapes_threads(&shapes, addr);
	gd_memory_close(shapes.memory);
	return n;
}

static void put_slice(struct world *w, uint64_t addr, uint64_t ptr, uint64_t len, uint64_t cap)
{
	*at(w, addr, 0) = ptr;
	*at(w, addr, 8) = len;
	*at(w, addr, 16) = cap;
}

enum { HEAD = BASE + 0x100, ARRAY = BASE + 0x200, FIRST = BASE + 0x1000, APART = 0x400 };

static void put_goroutines(struct world *w, unsigned n)
{
	put_slice(w, HEAD, ARRAY, n, n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t g = FIRST + i * APART;
		*at(w, ARRAY, (int32_t)i * 8) = g;
		*at(w, g, w->layout.g_stack_lo) = 0x5000;
		*at(w, g, w->layout.g_stack_hi) = 0x7000;
		*at(w, g, w->layout.g_sched_g) = g;
		*at(w, g, w->layout.g_goid) = i + 1;
		put_u32(w, g, w->layout.g_atomicstatus, 4);
	}
}

static void a_list_of_goroutines_starts_with_number_1(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_goroutines(w, 3);
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD), GD_SHAPE_RIGHT);
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD + 8), GD_SHAPE_WRONG);
	assert_int_equal(test(w, GD_GLOBAL_allgs, 0), GD_SHAPE_WRONG);
	assert_int_equal(test(w, GD_GLOBAL_allgs, BASE + BYTES), GD_SHAPE_WRONG);
	*at(w, FIRST, w->layout.g_goid) = 2;
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD), GD_SHAPE_WRONG);
	free(w);
}

static void goroutines_are_known_whatever_the_layout_says_of_their_status(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_goroutines(w, 3);
	w->layout.g_atomicstatus += 8;
	w->layout.g_goid += 8;
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD), GD_SHAPE_RIGHT);
	free(w);
}

static void a_goroutine_that_does_not_know_itself_is_none(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_goroutines(w, 2);
	*at(w, FIRST, w->layout.g_sched_g) = FIRST + 8;
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD), GD_SHAPE_WRONG);
	put_goroutines(w, 2);
	*at(w, FIRST + APART, w->layout.g_stack_lo) = 0x8000; /* above its end */
	assert_int_equal(test(w, GD_GLOBAL_allgs, HEAD), GD_SHAPE_WRONG);
	free(w);
}

/* m i at FIRST + 2i, its g0 right behind it */
static uint64_t m_at(unsigned i)
{
	return FIRST + 2 * i * APART;
}

static void put_threads(struct world *w, unsigned n)
{
	*at(w, HEAD, 0) = m_at(0);
	for (unsigned i = 0; i < n; i++) {
		*at(w, m_at(i), w->layout.m_g0) = m_at(i) + APART;
		*at(w, m_at(i) + APART, w->layout.g_m) = m_at(i);
		*at(w, m_at(i), w->layout.m_alllink) = i + 1 < n ? m_at(i + 1) : 0;
	}
}

static void threads_are_counted_to_the_end_of_their_list(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_threads(w, 5);
	assert_int_equal(threads_of(w, HEAD), 5);
	assert_int_equal(test(w, GD_GLOBAL_allm, HEAD), GD_SHAPE_RIGHT);
	*at(w, m_at(3) + APART, w->layout.g_m) = m_at(2);
	assert_int_equal(threads_of(w, HEAD), 0);
	*at(w, HEAD, 0) = 0;
	assert_int_equal(test(w, GD_GLOBAL_allm, HEAD), GD_SHAPE_WRONG);
	free(w);
}

static void a_list_of_threads_that_has_no_end_is_none(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_threads(w, 5);
	*at(w, m_at(4), w->layout.m_alllink) = m_at(1);
	assert_int_equal(threads_of(w, HEAD), 0);
	free(w);
}

static void put_bucket(struct world *w, uint64_t typ)
{
	static const uint64_t pcs[] = { 0x401000, 0x402345, 0x403fff };
	const struct gd_layout *l = &w->layout;

	*at(w, HEAD, 0) = FIRST;
	*at(w, FIRST, l->bucket_typ) = typ;
	*at(w, FIRST, l->bucket_size) = 48;
	*at(w, FIRST, l->bucket_nstk) = 3;
	for (int32_t i = 0; i < 3; i++)
		*at(w, FIRST, l->bucket_nstk + 8 + 8 * i) = pcs[i];
	*at(w, FIRST, l->bucket_hash) = gd_shapes_bucket_hash(pcs, 3, 48);
}

static void a_bucket_is_proven_by_its_hash(void **state)
{
	(void)state;
	struct world *w = make_world();

	assert_int_equal(test(w, GD_GLOBAL_mbuckets, HEAD), GD_SHAPE_OPEN);
	put_bucket(w, 1);
	assert_int_equal(test(w, GD_GLOBAL_mbuckets, HEAD), GD_SHAPE_RIGHT);
	assert_int_equal(test(w, GD_GLOBAL_bbuckets, HEAD), GD_SHAPE_WRONG);
	put_bucket(w, 3);
	assert_int_equal(test(w, GD_GLOBAL_xbuckets, HEAD), GD_SHAPE_RIGHT);
	*at(w, FIRST, w->layout.bucket_nstk + 16) ^= 1;
	assert_int_equal(test(w, GD_GLOBAL_xbuckets, HEAD), GD_SHAPE_WRONG);
	put_bucket(w, 3);
	*at(w, FIRST, w->layout.bucket_nstk) = UINT64_MAX / 4;
	assert_int_equal(test(w, GD_GLOBAL_xbuckets, HEAD), GD_SHAPE_WRONG);
	/* of zeros the hash is zero */
	memset(w->words, 0, sizeof(w->words));
	*at(w, HEAD, 0) = FIRST;
	*at(w, FIRST, w->layout.bucket_typ) = 3;
	assert_int_equal(test(w, GD_GLOBAL_xbuckets, HEAD), GD_SHAPE_WRONG);
	free(w);
}

/* What Go computes for {1, 2, 3} and 16 bytes (runtime.stkbucket's loop run by Go itself). */
static void the_hash_is_the_one_go_computes(void **state)
{
	(void)state;
	static const uint64_t pcs[] = { 1, 2, 3 };
	assert_true(gd_shapes_bucket_hash(pcs, 3, 16) == UINT64_C(9949387696330));
	assert_true(gd_shapes_bucket_hash(NULL, 0, 0) == 0);
}

static void put_collections(struct world *w, uint32_t n)
{
	const struct gd_layout *l = &w->layout;
	*at(w, HEAD, l->mstats_last_gc_unix) = UINT64_C(1700000000000000000);
	*at(w, HEAD, l->mstats_pause_total_ns) = 1000 * n;
	put_u32(w, HEAD, l->mstats_numgc, n);
	*at(w, HEAD, l->mstats_pause_end + (int32_t)((n + 255) % 256) * 8) =
		UINT64_C(1700000000000000000);
}

static void the_last_collection_is_noted_twice(void **state)
{
	(void)state;
	struct world *w = make_world();

	assert_int_equal(test(w, GD_GLOBAL_memstats, HEAD), GD_SHAPE_OPEN); /* none yet */
	put_collections(w, 300); /* the ring has turned */
	assert_int_equal(test(w, GD_GLOBAL_memstats, HEAD), GD_SHAPE_RIGHT);
	assert_int_not_equal(test(w, GD_GLOBAL_memstats, HEAD + 8), GD_SHAPE_RIGHT);
	*at(w, HEAD, w->layout.mstats_last_gc_unix) += 5; /* being noted right now */
	assert_int_equal(test(w, GD_GLOBAL_memstats, HEAD), GD_SHAPE_OPEN);
	*at(w, HEAD, w->layout.mstats_pause_total_ns) = 0;
	assert_int_equal(test(w, GD_GLOBAL_memstats, HEAD), GD_SHAPE_WRONG);
	free(w);
}

static void put_pacer(struct world *w, int32_t percent, uint64_t minimum)
{
	put_u32(w, HEAD, w->layout.gcc_gc_percent, (uint32_t)percent);
	*at(w, HEAD, w->layout.gcc_heap_minimum) = minimum;
	*at(w, HEAD, w->layout.gcc_heap_in_use) = 1 << 20;
}

static void the_smallest_heap_follows_from_gogc(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_pacer(w, 100, 4 << 20);
	assert_int_equal(test(w, GD_GLOBAL_gc_controller, HEAD), GD_SHAPE_RIGHT);
	put_pacer(w, 200, 8 << 20);
	assert_int_equal(test(w, GD_GLOBAL_gc_controller, HEAD), GD_SHAPE_RIGHT);
	put_pacer(w, 100, 8 << 20);
	assert_int_equal(test(w, GD_GLOBAL_gc_controller, HEAD), GD_SHAPE_WRONG);
	/* GOGC=off: -1, which Go multiplies as an unsigned number */
	put_pacer(w, -1, UINT64_C(184467440737053573));
	assert_int_equal(test(w, GD_GLOBAL_gc_controller, HEAD), GD_SHAPE_RIGHT);
	put_pacer(w, 0, 0);
	assert_int_equal(test(w, GD_GLOBAL_gc_controller, HEAD), GD_SHAPE_OPEN);
	free(w);
}

static void wait_reasons_start_with_the_three_that_never_changed(void **state)
{
	(void)state;
	struct world *w = make_world();

	memcpy(at(w, FIRST, 0), "GC assist markingIO wait", 24);
	*at(w, HEAD, 16) = FIRST;
	*at(w, HEAD, 24) = 17;
	*at(w, HEAD, 32) = FIRST + 17;
	*at(w, HEAD, 40) = 7;
	assert_int_equal(test(w, GD_GLOBAL_wait_reason_strings, HEAD), GD_SHAPE_RIGHT);
	*at(w, HEAD, 40) = 6;
	assert_int_equal(test(w, GD_GLOBAL_wait_reason_strings, HEAD), GD_SHAPE_WRONG);
	*at(w, HEAD, 40) = UINT64_MAX;
	assert_int_equal(test(w, GD_GLOBAL_wait_reason_strings, HEAD), GD_SHAPE_WRONG);
	free(w);
}

static void processors_are_numbered_and_counted(void **state)
{
	(void)state;
	struct world *w = make_world();

	put_slice(w, HEAD, ARRAY, 2, 2);
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t p = FIRST + i * 0xa00;
		*at(w, ARRAY, (int32_t)i * 8) = p;
		put_u32(w, p, w->layout.p_id, i);
		*at(w, p, w->layout.p_mcache) = 0x7000;
	}
	assert_int_equal(test(w, GD_GLOBAL_allp, HEAD), GD_SHAPE_RIGHT);
	put_u32(w, BASE, 0, 2);
	put_u32(w, BASE, 4, 3);
	struct gd_shapes known = { .allp = HEAD };
	assert_int_equal(test_with(w, known, GD_GLOBAL_gomaxprocs, BASE), GD_SHAPE_RIGHT);
	assert_int_equal(test_with(w, known, GD_GLOBAL_gomaxprocs, BASE + 4), GD_SHAPE_WRONG);
	assert_int_equal(test(w, GD_GLOBAL_gomaxprocs, BASE), GD_SHAPE_OPEN);
	put_u32(w, FIRST + 0xa00, w->layout.p_id, 7);
	assert_int_equal(test(w, GD_GLOBAL_allp, HEAD), GD_SHAPE_WRONG);
	free(w);
}

/* A scan asks for the cheap test first: it must never turn away what the real one accepts. */
static void what_is_right_is_worth_testing(void **state)
{
	(void)state;
	struct world *w = make_world();
	struct gd_shapes shapes = { .layout = &w->layout };
	size_t head = (HEAD - BASE) / 8;

	put_goroutines(w, 3);
	assert_true(gd_shapes_worth_testing(&shapes, GD_GLOBAL_allgs, w->words + head, 3));
	assert_false(gd_shapes_worth_testing(&shapes, GD_GLOBAL_allgs, w->words + head, 2));
	memset(w->words, 0, sizeof(w->words));
	put_collections(w, 5);
	assert_true(gd_shapes_worth_testing(&shapes, GD_GLOBAL_memstats, w->words + head,
	                                    WORDS - head));
	assert_false(gd_shapes_worth_testing(&shapes, GD_GLOBAL_memstats, w->words + head, 1));
	memset(w->words, 0, sizeof(w->words));
	put_pacer(w, -1, UINT64_C(184467440737053573));
	assert_true(gd_shapes_worth_testing(&shapes, GD_GLOBAL_gc_controller, w->words + head,
	                                    WORDS - head));
	free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_list_of_goroutines_starts_with_number_1),
		test_case(goroutines_are_known_whatever_the_layout_says_of_their_status),
		test_case(a_goroutine_that_does_not_know_itself_is_none),
		test_case(threads_are_counted_to_the_end_of_their_list),
		test_case(a_list_of_threads_that_has_no_end_is_none),
		test_case(a_bucket_is_proven_by_its_hash),
		test_case(the_hash_is_the_one_go_computes),
		test_case(the_last_collection_is_noted_twice),
		test_case(the_smallest_heap_follows_from_gogc),
		test_case(wait_reasons_start_with_the_three_that_never_changed),
		test_case(processors_are_numbered_and_counted),
		test_case(what_is_right_is_worth_testing),
	};
	return test_run(tests);
}
