/*
 * Goals and triggers by hand.  That they are what the runtime computes for itself is asked by
 * test_golang_memstats.c (NextGC) and test_golang_stats.c.
 */
#include "golang/pacer.h"

#include <errno.h>
#include <string.h>

#include "golang/go_version.h"
#include "tests/test.h"

#define MIB (1ull << 20)

static struct gd_pacer ordinary(void)
{
	return (struct gd_pacer){
		.gc_percent = 100,
		.has_totals = 1,
		.memory_limit = INT64_MAX,
		.heap_marked = 100 * MIB,
		.heap_live = 120 * MIB,
		.percent_goal = 200 * MIB,
		.triggered = UINT64_MAX,
		.total_alloc = 500 * MIB,
		.total_free = 380 * MIB,
		.heap_free = 10 * MIB,
		.mapped_ready = 150 * MIB,
		.runway = 8 * MIB,
	};
}

static void without_a_limit_the_percentage_is_the_goal(void **state)
{
	struct gd_pacer p = ordinary();
	(void)state;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 200 * MIB);
}

/* 150 MiB mapped, of these 120 objects and 10 free: 20 MiB are needed by others. */
static void a_limit_leaves_what_others_do_not_need(void **state)
{
	struct gd_pacer p = ordinary();
	(void)state;
	p.memory_limit = 180 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 20, 0), 160 * MIB - MIB);
	/* since 1.21 the headroom is 3 % */
	assert_int_equal(gd_pacer_goal(&p, 21, 0), 160 * MIB - 160 * MIB / 100 * 3);
	/* what the caches hold counts as objects */
	assert_int_equal(gd_pacer_goal(&p, 20, 5 * MIB), 165 * MIB - MIB);
	/* never below what survived */
	p.memory_limit = 90 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 100 * MIB);
	p.memory_limit = 10 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 100 * MIB);
}

static void a_torn_reading_does_not_make_a_goal(void **state)
{
	struct gd_pacer p = ordinary();
	(void)state;
	p.memory_limit = 180 * MIB;
	p.heap_free = 1000 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 200 * MIB);
}

static void sweeping_and_a_late_start_push_the_goal(void **state)
{
	struct gd_pacer p = ordinary();
	(void)state;
	p.sweep_min_trigger = 210 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 210 * MIB);
	p.triggered = 220 * MIB;
	assert_int_equal(gd_pacer_goal(&p, 22, 0), 220 * MIB + 65536);
}

static void the_trigger_keeps_its_bounds(void **state)
{
	struct gd_pacer p = ordinary();
	uint64_t part = (200 * MIB - 100 * MIB) / 64;
	(void)state;
	p.runway = 20 * MIB;
	assert_int_equal(gd_pacer_trigger(&p, 22), 180 * MIB);
	p.runway = 1;
	/* at most 95 %, but not more than 4 MiB before the goal */
	assert_int_equal(gd_pacer_trigger(&p, 22), 196 * MIB);
	p.runway = 90 * MIB;
	assert_int_equal(gd_pacer_trigger(&p, 22), 100 * MIB + 45 * part);
	p.runway = 900 * MIB;
	assert_int_equal(gd_pacer_trigger(&p, 22), 100 * MIB + 45 * part);
	p.heap_marked = 300 * MIB;
	assert_int_equal(gd_pacer_trigger(&p, 22), 200 * MIB);
}

static void go_1_18_stored_both(void **state)
{
	struct gd_pacer p = { .percent_goal = 77, .trigger_1_18 = 66 };
	(void)state;
	assert_int_equal(gd_pacer_goal(&p, 18, 0), 77);
	assert_int_equal(gd_pacer_trigger(&p, 18), 66);
}

static void members_come_from_their_offsets(void **state)
{
	uint8_t bytes[512] = { 0 };
	struct gd_error err = { 0 };
	struct gd_go_version version;
	struct gd_layout layout;
	struct gd_pacer p;
	GD_MEMORY struct gd_memory *memory = NULL;
	(void)state;
	assert_ok(gd_go_version_parse("go1.22.5", &version, &err), &err);
	assert_ok(gd_layout_of(&version, &layout, &err), &err);
	for (size_t i = 0; i < sizeof(bytes) / 8; i++)
		memcpy(bytes + 8 * i, &i, sizeof(i));
	assert_ok(gd_memory_bytes(0x1000, bytes, sizeof(bytes), &memory, &err), &err);
	assert_ok(gd_pacer_read(memory, &layout, 0x1000, &p, &err), &err);
	assert_int_equal(p.memory_limit, 1);
	assert_int_equal(p.heap_live, 104 / 8);
	assert_int_equal(p.heap_marked, 152 / 8);
	assert_int_equal(p.heap_in_use, 272 / 8);
	assert_int_equal(p.total_alloc, 296 / 8);
	assert_true(p.has_totals);
	assert_fails(gd_pacer_read(memory, &layout, 0, &p, &err), -ENOENT, &err);
	assert_fails(gd_pacer_read(memory, &layout, 0x1100, &p, &err), -EFAULT, &err);
	layout.gcc_size = GD_ABSENT;
	assert_fails(gd_pacer_read(memory, &layout, 0x1000, &p, &err), -ENOTSUP, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(without_a_limit_the_percentage_is_the_goal),
		test_case(a_limit_leaves_what_others_do_not_need),
		test_case(a_torn_reading_does_not_make_a_goal),
		test_case(sweeping_and_a_late_start_push_the_goal),
		test_case(the_trigger_keeps_its_bounds),
		test_case(go_1_18_stored_both),
		test_case(members_come_from_their_offsets),
	};
	return test_run(tests);
}
