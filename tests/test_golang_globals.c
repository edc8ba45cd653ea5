/*
 * The truth is the victim's own symbol table: plain, PIE and cgo builds have one.  Of a stripped
 * build the two ways are each other's truth.
 */
#include "golang/globals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "tests/go_target.h"

#define BIT(member) (UINT32_C(1) << GD_GLOBAL_##member)

/* What memory alone finds in any process; the others need a collection or a profile first. */
static const uint32_t always_by_shape = BIT(allgs) | BIT(allm) | BIT(allp) | BIT(sched) |
	BIT(gc_controller) | BIT(mheap) | BIT(wait_reason_strings) | BIT(build_version);

static struct gd_layout layout_of(const struct go_target *go)
{
	struct gd_layout layout;
	struct gd_error err = { 0 };

	go_assert_ok(go, gd_layout_of(&go->version, &layout, &err), &err);
	assert_int_equal(layout.trust, GD_LAYOUT_EXACT);
	return layout;
}

static uint64_t truth(const struct go_target *go, enum gd_global which)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "runtime.%s", gd_globals_name(which));
	return go_target_symbol(go, name);
}

static unsigned count(uint32_t bits)
{
	return (unsigned)__builtin_popcount(bits);
}

static void print_names(const char *what, uint32_t bits)
{
	print_message("#   %s:", what);
	for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++)
		if ((bits >> i & 1) != 0)
			print_message(" %s", gd_globals_name((enum gd_global)i));
	print_message("\n");
}

/* The scheduler is not to be recognised while a thread is being made: then a moment later. */
static void find_by_shape(struct go_target *go, const struct gd_layout *layout,
                          struct gd_globals *shape)
{
	static const struct timespec moment = { .tv_nsec = 5 * 1000 * 1000 };

	for (int i = 0; i < 40; i++) {
		gd_globals_by_shape(&go->modules, go->target->memory, layout, shape);
		if ((shape->by_shape & always_by_shape) == always_by_shape)
			return;
		(void)nanosleep(&moment, NULL);
	}
}

static void check_all(struct go_target *go)
{
	struct gd_layout layout = layout_of(go);
	struct gd_memory *memory = go->target->memory;
	struct gd_globals code, shape, both;
	struct gd_error err = { 0 };
	uint32_t all = (UINT32_C(1) << GD_GLOBAL_COUNT) - 1;

	gd_globals_by_operands(&go->modules, memory, &layout, &code);
	find_by_shape(go, &layout, &shape);
	go_assert_ok(go, gd_globals_find(&go->modules, memory, &layout, &both, &err), &err);
	for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++) {
		enum gd_global which = (enum gd_global)i;
		uint64_t want = truth(go, which);
		uint64_t by_code = gd_globals_get(&code, which);
		uint64_t by_shape = gd_globals_get(&shape, which);
		if (want != 0 && by_code != want)
			go_target_fail(go, "%s is at %#" PRIx64 ", code says %#" PRIx64,
			               gd_globals_name(which), want, by_code);
		if (by_code == 0)
			go_target_fail(go, "code does not say where %s is", gd_globals_name(which));
		if (by_shape != 0 && by_shape != by_code)
			go_target_fail(go, "%s: code says %#" PRIx64 ", its shape %#" PRIx64,
			               gd_globals_name(which), by_code, by_shape);
		if (gd_globals_get(&both, which) != by_code)
			go_target_fail(go, "%s: both ways together say %#" PRIx64,
			               gd_globals_name(which), gd_globals_get(&both, which));
	}
	if ((shape.by_shape & always_by_shape) != always_by_shape)
		print_names("not found by shape", always_by_shape & ~shape.by_shape);
	assert_int_equal(shape.by_shape & always_by_shape, always_by_shape);
	assert_int_equal(code.by_operands, all);
	assert_int_equal(both.by_operands, all);
	assert_int_equal(both.disagreements, 0);
	print_message("#   symbols: %s; both ways: %u of %u\n",
	              truth(go, GD_GLOBAL_allgs) != 0 ? "all equal" : "none",
	              count(both.by_operands & both.by_shape), GD_GLOBAL_COUNT);
	print_names("by code alone", both.by_operands & ~both.by_shape);
}

static void a_service_in_all_states_shows_every_global(void **state)
{
	(void)state;
	go_target_each("states", check_all);
}

static void the_smallest_program_shows_every_global(void **state)
{
	(void)state;
	go_target_each("quiet", check_all);
}

static void check_one(const struct go_target *go, const struct gd_globals *found,
                      enum gd_global which)
{
	uint64_t want = truth(go, which), got = gd_globals_get(found, which);
	if (got != want)
		go_target_fail(go, "%s is at %#" PRIx64 ", not %#" PRIx64, gd_globals_name(which), want,
		               got);
}

/* Lists change under our hands: what is found must be right all the same. */
static void check_busy(struct go_target *go)
{
	struct gd_layout layout = layout_of(go);
	struct gd_globals found;
	struct gd_error err = { 0 };

	for (unsigned round = 0; round < 20; round++) {
		go_assert_ok(go, gd_globals_find(&go->modules, go->target->memory, &layout, &found,
		                                 &err), &err);
		for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++)
			check_one(go, &found, (enum gd_global)i);
		assert_int_equal(found.disagreements, 0);
	}
}

static void a_program_that_never_rests_confuses_nothing(void **state)
{
	(void)state;
	go_target_each("churn", check_busy);
}

/*
 * Where a wrong layout sends the operands astray, memory says so: sched by its second rule, memstats
 * (both of its rules go through a field) by a scan.
 */
static void check_astray(struct go_target *go)
{
	struct gd_layout layout = layout_of(go);
	struct gd_globals found;
	struct gd_error err = { 0 };
	uint64_t sched = truth(go, GD_GLOBAL_sched), memstats = truth(go, GD_GLOBAL_memstats);

	if (sched == 0)
		return;
	layout.sched_lastpoll += 8;
	layout.mstats_buckhash_sys += 16;
	layout.mstats_enablegc += 24;
	go_assert_ok(go, gd_globals_find(&go->modules, go->target->memory, &layout, &found, &err),
	             &err);
	assert_int_equal(found.sched, sched);
	assert_int_equal(found.memstats, memstats);
	assert_int_equal(found.by_operands & BIT(memstats), 0);
	assert_int_not_equal(found.by_shape & BIT(memstats), 0);
	assert_true(found.disagreements >= 3);
}

static void a_refuted_operand_loses_against_memory(void **state)
{
	(void)state;
	go_target_each("quiet", check_astray);
}

/* The layout of another release: whatever is found then, it is found or not, and nothing breaks. */
static void check_foreign(struct go_target *go)
{
	for (int minor = 18; minor <= 27; minor++) {
		struct gd_go_version version = { .minor = minor };
		struct gd_layout layout;
		struct gd_globals found;
		struct gd_error err = { 0 };
		go_assert_ok(go, gd_layout_of(&version, &layout, &err), &err);
		go_assert_ok(go, gd_globals_find(&go->modules, go->target->memory, &layout, &found,
		                                 &err), &err);
		/* goroutines are found whatever the layout says of them */
		if (truth(go, GD_GLOBAL_allgs) != 0)
			assert_int_equal(found.allgs, truth(go, GD_GLOBAL_allgs));
	}
}

static void goroutines_are_found_with_the_layout_of_any_release(void **state)
{
	(void)state;
	go_target_each("quiet", check_foreign);
}

static void without_a_module_there_is_nothing_to_find(void **state)
{
	(void)state;
	static const struct gd_modules none;
	GD_MEMORY struct gd_memory *memory = NULL;
	struct gd_go_version version = { .minor = 22 };
	struct gd_layout layout;
	struct gd_globals found = { .allgs = 7 };
	struct gd_error err = { 0 };

	assert_ok(gd_memory_bytes(4096, "", 1, &memory, &err), &err);
	assert_ok(gd_layout_of(&version, &layout, &err), &err);
	assert_fails(gd_globals_find(&none, memory, &layout, &found, &err), -ENOENT, &err);
	assert_int_equal(found.allgs, 7);
	gd_globals_by_operands(&none, memory, &layout, &found);
	assert_int_equal(found.by_operands, 0);
	assert_int_equal(found.allgs, 0);
	gd_globals_by_shape(&none, memory, &layout, &found);
	assert_int_equal(found.by_shape, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_service_in_all_states_shows_every_global),
		test_case(the_smallest_program_shows_every_global),
		test_case(a_program_that_never_rests_confuses_nothing),
		test_case(a_refuted_operand_loses_against_memory),
		test_case(goroutines_are_found_with_the_layout_of_any_release),
		test_case(without_a_module_there_is_nothing_to_find),
	};
	return test_run(tests);
}
