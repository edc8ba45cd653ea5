/*
 * Threads leave and come back in an order we choose, told in another one.
 */
#include "collectors/samples_switches.h"

#include <string.h>

#include "tests/test.h"

struct told {
	uint32_t tid, stack;
	enum gd_switch_state state;
	uint64_t weight;
	int64_t ns;
};

static struct told told[64];
static size_t n_told;

static void tell(void *arg, uint32_t tid, uint32_t stack, enum gd_switch_state state,
                 uint64_t weight, int64_t since_ns, int64_t ns)
{
	(void)arg;
	assert_true(since_ns >= 0);
	assert_true(n_told < 64);
	told[n_told++] = (struct told){ tid, stack, state, weight, ns };
}

static struct gd_samples_switches *begin(void)
{
	struct gd_samples_switches *s = NULL;
	struct gd_error err = { 0 };
	n_told = 0;
	assert_ok(gd_samples_switches_create(&s, &err), &err);
	return s;
}

static void out(struct gd_samples_switches *s, uint32_t tid, int64_t ns, uint32_t stack,
                bool preempted)
{
	gd_samples_switches_sampled(s, tid, ns, stack, 1);
	gd_samples_switches_switched(s, tid, ns + 1, true, preempted);
}

static void expect(size_t i, uint32_t tid, uint32_t stack, enum gd_switch_state state, int64_t ns)
{
	assert_true(i < n_told);
	assert_int_equal(told[i].tid, tid);
	assert_int_equal(told[i].stack, stack);
	assert_int_equal(told[i].state, state);
	assert_int_equal(told[i].ns, ns);
}

static void away_is_from_leaving_to_coming_back(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	out(s, 7, 1000, 1, false);
	gd_samples_switches_switched(s, 7, 1500, false, false);
	out(s, 7, 2000, 2, true);
	gd_samples_switches_switched(s, 7, 2100, false, false);
	gd_samples_switches_settle(s, 10000, tell, NULL);
	assert_int_equal(n_told, 2);
	expect(0, 7, 1, GD_SWITCH_BLOCKED, 500);
	expect(1, 7, 2, GD_SWITCH_PREEMPTED, 100);
	gd_samples_switches_destroy(s);
}

/* Leaves one CPU, comes back on another whose ring was read first. */
static void order_of_cpus_does_not_matter(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	gd_samples_switches_switched(s, 7, 1500, false, false);
	out(s, 7, 3000, 3, false);
	out(s, 7, 1000, 1, false);
	gd_samples_switches_switched(s, 7, 3500, false, false);
	gd_samples_switches_settle(s, 10000, tell, NULL);
	assert_int_equal(n_told, 2);
	expect(0, 7, 1, GD_SWITCH_BLOCKED, 500);
	expect(1, 7, 3, GD_SWITCH_BLOCKED, 500);
	gd_samples_switches_destroy(s);
}

static void what_is_too_new_waits(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	out(s, 7, 1000, 1, false);
	gd_samples_switches_switched(s, 7, 1500, false, false);
	gd_samples_switches_settle(s, 1200, tell, NULL);
	assert_int_equal(n_told, 0);
	gd_samples_switches_settle(s, 1501, tell, NULL);
	assert_int_equal(n_told, 1);
	gd_samples_switches_destroy(s);
}

static void who_never_comes_back_is_away_until_the_end(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	out(s, 7, 1000, 1, false);
	out(s, 8, 1200, 2, true);
	gd_samples_switches_switched(s, 8, 1300, false, false);
	gd_samples_switches_end(s, 5000, tell, NULL);
	assert_int_equal(n_told, 2);
	expect(0, 8, 2, GD_SWITCH_PREEMPTED, 100);
	expect(1, 7, 1, GD_SWITCH_BLOCKED, 4000);
	gd_samples_switches_destroy(s);
}

/* Of switches that were not sampled nobody knows where; records that were lost make no time up. */
static void what_was_not_seen_is_not_told(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	gd_samples_switches_switched(s, 7, 1000, true, false);
	gd_samples_switches_switched(s, 7, 1500, false, false);
	gd_samples_switches_switched(s, 9, 1600, false, false);
	out(s, 8, 2000, 1, false); /* its coming back is lost */
	out(s, 8, 4000, 2, false);
	gd_samples_switches_switched(s, 8, 4100, false, false);
	gd_samples_switches_settle(s, 10000, tell, NULL);
	assert_int_equal(n_told, 1);
	expect(0, 8, 2, GD_SWITCH_BLOCKED, 100);
	gd_samples_switches_destroy(s);
}

/* Told on whichever CPU, and maybe twice. */
static void who_was_woken_is_runnable_until_it_runs(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	gd_samples_switches_woken(s, 7, 1400);
	gd_samples_switches_woken(s, 7, 1450);
	out(s, 7, 1000, 1, false);
	gd_samples_switches_switched(s, 7, 1500, false, false);
	gd_samples_switches_settle(s, 10000, tell, NULL);
	assert_int_equal(n_told, 2);
	expect(0, 7, 1, GD_SWITCH_BLOCKED, 400);
	expect(1, 7, 1, GD_SWITCH_RUNNABLE, 100);
	/* A wake-up belongs to one absence; also one that lasts until the end. */
	out(s, 7, 20000, 2, false);
	gd_samples_switches_switched(s, 7, 20500, false, false);
	out(s, 7, 21000, 3, false);
	gd_samples_switches_woken(s, 7, 21200);
	gd_samples_switches_end(s, 22000, tell, NULL);
	assert_int_equal(n_told, 5);
	expect(2, 7, 2, GD_SWITCH_BLOCKED, 500);
	expect(3, 7, 3, GD_SWITCH_BLOCKED, 200);
	expect(4, 7, 3, GD_SWITCH_RUNNABLE, 800);
	gd_samples_switches_destroy(s);
}

static void a_wakeup_of_who_need_not_be_woken_is_nothing(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	gd_samples_switches_woken(s, 9, 500); /* a thread nobody has seen */
	gd_samples_switches_woken(s, 7, 900); /* it was about to go, and stays */
	out(s, 7, 1000, 1, true);
	gd_samples_switches_woken(s, 7, 1100); /* preempted is not blocked */
	gd_samples_switches_switched(s, 7, 1500, false, false);
	gd_samples_switches_woken(s, 7, 1600); /* it runs */
	out(s, 7, 2000, 2, false);
	gd_samples_switches_switched(s, 7, 2300, false, false);
	gd_samples_switches_settle(s, 10000, tell, NULL);
	assert_int_equal(n_told, 2);
	expect(0, 7, 1, GD_SWITCH_PREEMPTED, 500);
	expect(1, 7, 2, GD_SWITCH_BLOCKED, 300);
	gd_samples_switches_destroy(s);
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(gd_switch_state_name(GD_SWITCH_BLOCKED), "blocked");
	assert_string_equal(gd_switch_state_name(GD_SWITCH_PREEMPTED), "preempted");
	assert_string_equal(gd_switch_state_name(GD_SWITCH_RUNNABLE), "runnable");
}

static void a_flood_has_a_ceiling(void **state)
{
	(void)state;
	struct gd_samples_switches *s = begin();
	for (uint32_t i = 0; i < GD_SWITCHES_MAX + 100; i++)
		gd_samples_switches_sampled(s, i, (int64_t)i, 1, 1);
	assert_true(gd_samples_switches_dropped(s) >= 100);
	gd_samples_switches_settle(s, INT64_MAX, tell, NULL);
	assert_true(gd_samples_switches_dropped(s) >= GD_SWITCHES_MAX - GD_SWITCHES_THREADS_MAX);
	assert_int_equal(n_told, 0);
	gd_samples_switches_destroy(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(away_is_from_leaving_to_coming_back),
		test_case(order_of_cpus_does_not_matter),
		test_case(what_is_too_new_waits),
		test_case(who_never_comes_back_is_away_until_the_end),
		test_case(what_was_not_seen_is_not_told),
		test_case(who_was_woken_is_runnable_until_it_runs),
		test_case(a_wakeup_of_who_need_not_be_woken_is_nothing),
		test_case(states_have_names),
		test_case(a_flood_has_a_ceiling),
	};
	return test_run(tests);
}
