#include "tests/test.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "freeze/plan.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define MS INT64_C(1000000)

/* A Go service of 1 GiB on a kernel that can do everything. */
static struct gd_freeze_plan calm(void)
{
	return (struct gd_freeze_plan){
		.facts = {
			.threads = 10, .maps = 200, .rss_bytes = GIB + 20 * MIB, .anon_bytes = GIB,
			.thin_bytes = 100 * MIB, .state = 'S', .dumpable = true, .go_signal = true,
			.memory_headroom_bytes = UINT64_MAX, .pids_headroom = UINT64_MAX,
			.space_bytes = UINT64_MAX, .kernel_soft_dirty = true,
			.kernel_uffd_wp = true, .kernel_pagemap_scan = true,
		},
	};
}

static struct gd_freeze_options usual(void)
{
	return (struct gd_freeze_options){ .max_pause_ns = 50 * MS, .keep_huge = true };
}

static void decide(struct gd_freeze_plan *plan)
{
	struct gd_freeze_options options = usual();
	gd_freeze_plan_decide(&options, plan);
}

/* The table of the plan: a letter per method in ladder order, '+' or what forbids it. */
#define assert_table(plan, table) check_table(plan, table, __FILE__, __LINE__)
static void check_table(const struct gd_freeze_plan *plan, const char *table, const char *file,
                        int line)
{
	char is[64] = "";
	for (int m = 0; m < GD_FREEZE_METHODS; m++) {
		const struct gd_freeze_estimate *e = &plan->methods[m];
		size_t n = strlen(is);
		if (e->method != (enum gd_freeze_method)m || (!e->possible && e->why[0] == '\0'))
			fail_msg("%s:%d: method %d says nothing", file, line, m);
		if (e->possible)
			(void)snprintf(is + n, sizeof(is) - n, "%s+", m > 0 ? " " : "");
		else
			(void)snprintf(is + n, sizeof(is) - n, "%s%u", m > 0 ? " " : "", e->guard);
	}
	if (strcmp(is, table) != 0)
		fail_msg("%s:%d: is '%s', not '%s'", file, line, is, table);
}

static const char *why(const struct gd_freeze_plan *plan, enum gd_freeze_method method)
{
	return plan->methods[method].why;
}

static void a_calm_service_gets_the_first_step_of_the_ladder(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	decide(&plan);
	assert_table(&plan, "+ + + + +");
	assert_int_equal(plan.chosen, GD_FREEZE_SOFT_DIRTY);
	assert_false(plan.refused);
	assert_string_equal(why(&plan, GD_FREEZE_UFFD), "");
	assert_contains(why(&plan, GD_FREEZE_TORN), "not of one instant");
}

static void what_the_kernel_lacks_is_passed_over(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.kernel_soft_dirty = false;
	decide(&plan);
	assert_table(&plan, "0 + + + +");
	assert_int_equal(plan.chosen, GD_FREEZE_UFFD);
	assert_contains(why(&plan, GD_FREEZE_SOFT_DIRTY), "CONFIG_MEM_SOFT_DIRTY");
	plan.facts.kernel_pagemap_scan = false;
	decide(&plan);
	assert_table(&plan, "0 0 + + +");
	assert_int_equal(plan.chosen, GD_FREEZE_FORK);
	plan = calm();
	plan.facts.userfaultfd = true;
	decide(&plan);
	assert_table(&plan, "+ 0 + + +");
	assert_contains(why(&plan, GD_FREEZE_UFFD), "userfaultfd");
}

static void predictions_are_the_figures_of_the_page(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	decide(&plan);
	/* 10 threads and 200 mappings: 0.4 ms; 4 MiB left to read: 1.4 ms. */
	int64_t fixed = 400000;
	int64_t rest = 358 * MS * 4 / 1024;
	assert_int_equal(plan.methods[GD_FREEZE_SOFT_DIRTY].pause_ns, fixed + 8 * MS + rest);
	assert_int_equal(plan.methods[GD_FREEZE_UFFD].pause_ns, fixed + 1400000 + rest);
	assert_int_equal(plan.methods[GD_FREEZE_FORK].pause_ns, fixed + 100000 + 28 * MS + MS / 2);
	assert_int_equal(plan.methods[GD_FREEZE_COPY].pause_ns, 50 * MS);
	assert_contains(why(&plan, GD_FREEZE_COPY), "only what fits the pause of 1.0 GiB");
	assert_int_equal(plan.methods[GD_FREEZE_TORN].pause_ns, 0);
	assert_int_equal(plan.methods[GD_FREEZE_TORN].total_ns, 1700 * MS);
	assert_true(plan.methods[GD_FREEZE_FORK].extra_bytes > GIB / 512);

	/* In huge pages a fork has 512 times less to copy. */
	plan.facts.huge_bytes = GIB;
	decide(&plan);
	assert_int_equal(plan.methods[GD_FREEZE_FORK].pause_ns, fixed + 100000 + MS + MS / 2);
}

static void sizes_beyond_all_machines_do_not_overflow(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.threads = plan.facts.maps = UINT64_MAX;
	plan.facts.anon_bytes = plan.facts.huge_bytes = UINT64_MAX;
	decide(&plan);
	for (int m = 0; m < GD_FREEZE_METHODS; m++) {
		assert_true(plan.methods[m].pause_ns >= 0);
		assert_true(plan.methods[m].total_ns > 0);
	}
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
}

static void a_pause_above_the_budget_is_guard_15(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.kernel_soft_dirty = false;
	plan.facts.anon_bytes = 2 * GIB;
	decide(&plan);
	assert_table(&plan, "0 + 15 + +");
	assert_contains(why(&plan, GD_FREEZE_FORK), "about 57 ms, allowed are 50 ms");
	assert_contains(why(&plan, GD_FREEZE_FORK), "10 threads, 200 mappings");
	/* Too many threads to stop: no method but the torn read. */
	plan = calm();
	plan.facts.threads = 8000;
	decide(&plan);
	assert_table(&plan, "15 15 15 15 +");
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
	assert_contains(why(&plan, GD_FREEZE_COPY), "8000 threads");
}

static void no_pause_at_all_leaves_the_torn_read(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	struct gd_freeze_options options = usual();
	options.max_pause_ns = 0;
	gd_freeze_plan_decide(&options, &plan);
	assert_table(&plan, "15 15 15 15 +");
	assert_int_equal(plan.chosen, GD_FREEZE_TORN);
	assert_false(plan.refused);
	assert_contains(why(&plan, GD_FREEZE_UFFD), "no pause is allowed");
}

/* Facts that forbid or warn, each alone. */
static const struct row {
	const char *name, *table;
	enum gd_freeze_method method; /* whose sentence */
	const char *says;
	struct gd_freeze_facts change; /* what is not 0 here */
} rows[] = {
	{ "traced", "6 6 6 6 +", GD_FREEZE_COPY, "pid 4711 traces it", { .tracer_pid = 4711 } },
	{ "frozen", "8 8 8 8 +", GD_FREEZE_FORK, "thawed", { .frozen = true } },
	{ "stopped", "8 8 8 + +", GD_FREEZE_COPY, "stopped already", { .state = 'T' } },
	{ "seccomp", "+ 4 4 + +", GD_FREEZE_UFFD, "Seccomp: 2", { .seccomp = 2 } },
	{ "shadow stack", "+ 1 1 + +", GD_FREEZE_UFFD, "shadow stack", { .shadow_stack = true } },
	{ "32 bit", "+ 1 1 + +", GD_FREEZE_FORK, "32-bit", { .native_32bit = true } },
	{ "all in D", "+ 7 7 + +", GD_FREEZE_FORK, "state D", { .uninterruptible = 10 } },
	{ "one in D", "+ + + + +", GD_FREEZE_COPY, "1 threads in state D",
	  { .uninterruptible = 1 } },
	{ "throttled", "+ + + + +", GD_FREEZE_SOFT_DIRTY, "CPU quota", { .throttled = true } },
	{ "init", "+ + + + +", GD_FREEZE_FORK, "PID 1", { .namespace_init = true } },
	{ "hugetlb", "+ + + + +", GD_FREEZE_TORN, "2.0 MiB of hugetlb",
	  { .hugetlb_bytes = 2 * MIB } },
	{ "dontdump", "+ + + + +", GD_FREEZE_UFFD, "MADV_DONTDUMP", { .dontdump_bytes = MIB } },
	{ "pinned", "12 12 + + +", GD_FREEZE_UFFD, "pinned pages", { .vm_pinned = true } },
	{ "io_uring", "12 12 + + +", GD_FREEZE_SOFT_DIRTY, "io_uring", { .io_uring = true } },
};

static void change(struct gd_freeze_facts *facts, const struct gd_freeze_facts *by)
{
	facts->tracer_pid = by->tracer_pid;
	facts->frozen = by->frozen;
	facts->state = by->state != '\0' ? by->state : facts->state;
	facts->seccomp = by->seccomp;
	facts->shadow_stack = by->shadow_stack;
	facts->native_32bit = by->native_32bit;
	facts->uninterruptible = by->uninterruptible;
	facts->throttled = by->throttled;
	facts->namespace_init = by->namespace_init;
	facts->hugetlb_bytes = by->hugetlb_bytes;
	facts->dontdump_bytes = by->dontdump_bytes;
	facts->vm_pinned = by->vm_pinned;
	facts->io_uring = by->io_uring;
}

static void every_fact_forbids_what_its_guard_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gd_freeze_plan plan = calm();
		change(&plan.facts, &rows[i].change);
		decide(&plan);
		print_message("%s: %s\n", rows[i].name, why(&plan, rows[i].method));
		assert_table(&plan, rows[i].table);
		assert_contains(why(&plan, rows[i].method), rows[i].says);
		assert_false(plan.refused);
	}
}

static void without_a_safe_frame_nothing_is_injected(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	(void)gd_fail(&plan.facts.no_injection, -ENOTSUP, "no gadget");
	decide(&plan);
	assert_table(&plan, "+ 1 1 + +");
	assert_contains(why(&plan, GD_FREEZE_FORK), "no gadget");
}

static void a_stopped_target_is_not_paused_by_a_copy(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.state = 'T';
	plan.facts.anon_bytes = 64 * GIB;
	decide(&plan);
	assert_int_equal(plan.chosen, GD_FREEZE_COPY);
	assert_int_equal(plan.methods[GD_FREEZE_COPY].pause_ns, 0);
	assert_int_equal(plan.methods[GD_FREEZE_COPY].total_ns, 64 * 1700 * MS);
	/* Which a budget of nothing allows, too. */
	struct gd_freeze_options options = usual();
	options.max_pause_ns = 0;
	gd_freeze_plan_decide(&options, &plan);
	assert_int_equal(plan.chosen, GD_FREEZE_COPY);
}

static void a_fork_keeps_away_from_limits(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.memory_headroom_bytes = gd_freeze_plan_fork_bytes(&plan.facts) - 1;
	decide(&plan);
	assert_table(&plan, "+ + 5 + +");
	assert_contains(why(&plan, GD_FREEZE_FORK), "memory limit leaves 162 MiB");
	plan.facts.memory_headroom_bytes++;
	decide(&plan);
	assert_table(&plan, "+ + + + +");
	plan.facts.pids_headroom = 1;
	decide(&plan);
	assert_table(&plan, "+ + 11 + +");
	assert_contains(why(&plan, GD_FREEZE_FORK), "1 more tasks (pids.max)");
}

static void pinned_pages_are_a_warning_where_nothing_better_is_left(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.vm_pinned = true;
	plan.facts.pids_headroom = 0;
	decide(&plan);
	assert_table(&plan, "+ + 11 + +");
	assert_contains(why(&plan, GD_FREEZE_SOFT_DIRTY), "may be old");
}

static void huge_pages_are_a_warning_unless_they_are_given_back(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	struct gd_freeze_options options = usual();
	plan.facts.huge_bytes = 512 * MIB;
	gd_freeze_plan_decide(&options, &plan);
	assert_string_equal(why(&plan, GD_FREEZE_FORK), "");
	options.keep_huge = false;
	gd_freeze_plan_decide(&options, &plan);
	assert_contains(why(&plan, GD_FREEZE_FORK), "split 512 MiB");
	assert_string_equal(why(&plan, GD_FREEZE_SOFT_DIRTY), "");
}

static void warnings_that_do_not_fit_stay_away_whole(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.uninterruptible = 1;
	plan.facts.throttled = true;
	plan.facts.namespace_init = true;
	plan.facts.hugetlb_bytes = MIB;
	decide(&plan);
	const char *text = why(&plan, GD_FREEZE_FORK);
	assert_contains(text, "state D");
	assert_contains(text, "CPU quota");
	assert_true(strlen(text) < sizeof(plan.methods[0].why));
	assert_int_not_equal(text[strlen(text) - 1], ' ');
}

static void secrets_are_refused_unless_allowed(void **state)
{
	(void)state;
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan = calm();
	plan.facts.dumpable = false;
	gd_freeze_plan_decide(&options, &plan);
	assert_true(plan.refused);
	assert_contains(plan.why, "not dumpable");
	/* What it would be like is told all the same. */
	assert_table(&plan, "+ + + + +");
	options.secret = true;
	plan = calm();
	plan.facts.dumpable = false;
	gd_freeze_plan_decide(&options, &plan);
	assert_false(plan.refused);

	plan = calm();
	plan.facts.core_limit_zero = true;
	decide(&plan);
	assert_true(plan.refused);
	assert_contains(plan.why, "hard limit for core files is 0");

	plan = calm();
	plan.facts.dumpable = false;
	plan.facts.dumpable_unknown = true;
	decide(&plan);
	/* Who makes the target do a call asks it. */
	assert_false(plan.refused);
	assert_table(&plan, "10 + + 10 10");
	assert_int_equal(plan.chosen, GD_FREEZE_UFFD);

	plan = calm();
	plan.facts.dumpable = false;
	plan.facts.dumpable_unknown = true;
	plan.facts.seccomp = 2;
	decide(&plan);
	assert_true(plan.refused);
	assert_contains(plan.why, "cannot be told");
}

static void without_room_no_method_is_possible(void **state)
{
	(void)state;
	struct gd_freeze_plan plan = calm();
	plan.facts.space_bytes = GIB - 1;
	decide(&plan);
	assert_table(&plan, "0 0 0 0 0");
	assert_true(plan.refused);
	assert_contains(plan.why, "needs 1.0 GiB");
	/* What is left out needs none. */
	struct gd_freeze_options options = usual();
	options.scope = GD_FREEZE_THIN;
	plan = calm();
	plan.facts.space_bytes = GIB - 1;
	gd_freeze_plan_decide(&options, &plan);
	assert_table(&plan, "+ + + + +");
	assert_false(plan.refused);
}

static void methods_are_switched_off_by_request(void **state)
{
	(void)state;
	struct gd_freeze_options options = usual();
	struct gd_freeze_plan plan = calm();
	options.methods_off[GD_FREEZE_SOFT_DIRTY] = options.methods_off[GD_FREEZE_UFFD] = true;
	gd_freeze_plan_decide(&options, &plan);
	assert_table(&plan, "0 0 + + +");
	assert_int_equal(plan.chosen, GD_FREEZE_FORK);
	assert_contains(why(&plan, GD_FREEZE_UFFD), "switched off");
	for (int m = 0; m < GD_FREEZE_METHODS; m++)
		options.methods_off[m] = true;
	gd_freeze_plan_decide(&options, &plan);
	assert_true(plan.refused);
}

static void the_plan_is_json(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 16);
	struct gd_json json = GD_JSON_INIT(&text);
	struct gd_freeze_plan plan = calm();
	plan.facts.tracer_pid = 7;
	decide(&plan);
	gd_json_object(&json, NULL);
	gd_freeze_plan_put(&plan, &json);
	gd_json_object_end(&json);
	json_t *root = json_loads(gd_buf_str(&text), 0, NULL);
	assert_non_null(root);
	const json_t *freeze = json_object_get(root, "freeze");
	assert_string_equal(json_string_value(json_object_get(freeze, "method")), "torn");
	assert_true(json_is_false(json_object_get(freeze, "refused")));
	const json_t *methods = json_object_get(freeze, "methods");
	assert_int_equal(json_array_size(methods), GD_FREEZE_METHODS);
	const json_t *uffd = json_array_get(methods, GD_FREEZE_UFFD);
	assert_string_equal(json_string_value(json_object_get(uffd, "method")), "uffd");
	assert_int_equal(json_integer_value(json_object_get(uffd, "guard")), 6);
	const json_t *facts = json_object_get(freeze, "facts");
	assert_string_equal(json_string_value(json_object_get(facts, "state")), "S");
	assert_true(json_is_null(json_object_get(facts, "pids_headroom")));
	json_decref(root);
}

static void every_method_has_a_name(void **state)
{
	(void)state;
	for (int m = 0; m < GD_FREEZE_METHODS; m++)
		assert_string_not_equal(gd_freeze_method_name((enum gd_freeze_method)m), "?");
	assert_string_equal(gd_freeze_method_name(GD_FREEZE_METHODS), "?");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_calm_service_gets_the_first_step_of_the_ladder),
		test_case(what_the_kernel_lacks_is_passed_over),
		test_case(predictions_are_the_figures_of_the_page),
		test_case(sizes_beyond_all_machines_do_not_overflow),
		test_case(a_pause_above_the_budget_is_guard_15),
		test_case(no_pause_at_all_leaves_the_torn_read),
		test_case(every_fact_forbids_what_its_guard_says),
		test_case(without_a_safe_frame_nothing_is_injected),
		test_case(a_stopped_target_is_not_paused_by_a_copy),
		test_case(a_fork_keeps_away_from_limits),
		test_case(pinned_pages_are_a_warning_where_nothing_better_is_left),
		test_case(huge_pages_are_a_warning_unless_they_are_given_back),
		test_case(warnings_that_do_not_fit_stay_away_whole),
		test_case(secrets_are_refused_unless_allowed),
		test_case(without_room_no_method_is_possible),
		test_case(methods_are_switched_off_by_request),
		test_case(the_plan_is_json),
		test_case(every_method_has_a_name),
	};
	return test_run(tests);
}
