/*
 * Variables found through code, against the symbol table of victims that have one.
 */
#include "golang/reference.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tests/go_target.h"

static void check(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	uint64_t gcphase = go_target_symbol(go, "runtime.gcphase");
	uint64_t ticks = go_target_symbol(go, "runtime.ticks");
	bool new = go->version.minor >= 22;
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	uint64_t phase = gd_reference_find(runtime, "runtime.gcMarkDone", GD_OPERAND_CMP, 4);
	uint64_t val = gd_reference_find(runtime, new ? "runtime.ticksPerSecond" :
	                                                "runtime.tickspersecond",
	                                 GD_OPERAND_LOAD, 8);
	assert_true(phase != 0 && val != 0);
	assert_int_equal(gd_reference_find(runtime, "runtime.noSuchThing", GD_OPERAND_LOAD, 8), 0);
	assert_int_equal(gd_reference_find(runtime, "main.main", GD_OPERAND_OTHER, 3), 0);
	/* lock, then startTicks and startTime since 1.22, then val */
	uint64_t at = new ? 24 : go->version.minor >= 20 ? 8 : 16;
	if (gcphase != 0 && phase != gcphase)
		go_target_fail(go, "gcphase is at 0x%" PRIx64 ", found 0x%" PRIx64, gcphase, phase);
	if (ticks != 0 && val != ticks + at)
		go_target_fail(go, "ticks is at 0x%" PRIx64 ", found 0x%" PRIx64, ticks, val);
	if (strcmp(go->variant, "plain") == 0)
		assert_true(gcphase != 0 && ticks != 0);
}

static void references_equal_the_symbol_table(void **state)
{
	(void)state;
	go_target_each("totals", check);
}

static void without_a_module_there_is_none(void **state)
{
	static const struct gd_go go = { 0 };
	(void)state;
	assert_int_equal(gd_reference_find(&go, "runtime.gcMarkDone", GD_OPERAND_CMP, 4), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(references_equal_the_symbol_table),
		test_case(without_a_module_there_is_none),
	};
	return test_run(tests);
}
