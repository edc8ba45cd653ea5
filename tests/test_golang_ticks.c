/*
 * The rate of cputicks as the victim itself computes it, which it does when it writes a profile of
 * blocking for the first time.
 */
#include "golang/ticks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golang/reference.h"
#include "tests/go_target.h"

static void check_rate(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_ticks before;
	struct gd_ticks after;
	char command[4096];
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	go_assert_ok(go, gd_ticks_read(runtime, &before, &err), &err);
	(void)snprintf(command, sizeof(command), "profile block %s", test_path("block"));
	victim_tell(go->victim, command);
	assert_string_equal(victim_line(go->victim), "written");
	go_assert_ok(go, gd_ticks_read(runtime, &after, &err), &err);

	assert_true(before.measured);
	assert_false(after.measured);
	int64_t off = before.per_second - after.per_second;
	if (llabs(off) > after.per_second / 50)
		go_target_fail(go, "%" PRId64 " ticks a second, the victim says %" PRId64,
		               before.per_second, after.per_second);
	/* A core of it would say the same. */
	struct gd_memory_ops core = *go->target->memory->ops;
	core.kind = "core";
	const struct gd_memory_ops *live = go->target->memory->ops;
	go->target->memory->ops = &core;
	int r = gd_ticks_read(runtime, &before, &err);
	go->target->memory->ops = live;
	go_assert_ok(go, r, &err);
	assert_int_equal(before.per_second, after.per_second);
}

static void the_rate_is_what_the_process_believes(void **state)
{
	(void)state;
	go_target_each("totals", check_rate);
}

/* Another machine's counter says nothing of a process that never needed it. */
static void a_core_without_a_rate_is_enoent(void **state)
{
	struct gd_error err = { 0 };
	struct gd_ticks ticks;
	uint8_t nothing[16] = { 0 };
	GD_MEMORY struct gd_memory *memory = NULL;
	(void)state;
	assert_ok(gd_memory_bytes(0x1000, nothing, sizeof(nothing), &memory, &err), &err);
	struct gd_go go = { .memory = memory };
	assert_fails(gd_ticks_read(&go, &ticks, &err), -ENOENT, &err);
	assert_contains(err.msg, "cputicks");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_rate_is_what_the_process_believes),
		test_case(a_core_without_a_rate_is_enoent),
	};
	return test_run(tests);
}
