#include "uploader/backoff.h"

#include "tests/test.h"

#define S UINT64_C(1000000000)

static struct gd_backoff fresh(uint64_t seed)
{
	struct gd_backoff backoff;
	gd_backoff_init(&backoff, 0, 0);
	backoff.seed = seed;
	return backoff;
}

static void the_bound_doubles_from_a_second_to_a_quarter_of_an_hour(void **state)
{
	(void)state;
	uint64_t longest[14] = { 0 };
	uint64_t shortest[14];
	for (unsigned k = 0; k < 14; k++)
		shortest[k] = UINT64_MAX;
	for (uint64_t seed = 0; seed < 4000; seed++) {
		struct gd_backoff backoff = fresh(seed * 7919);
		for (unsigned k = 0; k < 14; k++) {
			uint64_t wait = gd_backoff_failed(&backoff, false, 0);
			longest[k] = wait > longest[k] ? wait : longest[k];
			shortest[k] = wait < shortest[k] ? wait : shortest[k];
		}
	}
	for (unsigned k = 0; k < 14; k++) {
		uint64_t bound = k < 10 ? S << k : 900 * S;
		assert_true(longest[k] <= bound);
		assert_true(longest[k] > bound / 100 * 97); /* all of it is used: full jitter */
		assert_true(shortest[k] < bound / 100 * 3);
	}
}

static void hosts_do_not_wait_the_same(void **state)
{
	(void)state;
	struct gd_backoff a;
	struct gd_backoff b;
	gd_backoff_init(&a, 0, 0);
	gd_backoff_init(&b, 0, 0);
	assert_true(gd_backoff_failed(&a, false, 0) != gd_backoff_failed(&b, false, 0));
}

static void five_failures_in_a_row_open_the_circuit(void **state)
{
	(void)state;
	struct gd_backoff backoff = fresh(1);
	for (unsigned i = 0; i < 5; i++) {
		assert_false(gd_backoff_is_open(&backoff));
		(void)gd_backoff_failed(&backoff, false, 0);
	}
	assert_true(gd_backoff_is_open(&backoff));
	gd_backoff_succeeded(&backoff);
	assert_false(gd_backoff_is_open(&backoff));
	assert_true(gd_backoff_failed(&backoff, false, 0) <= S);
}

static void what_people_must_mend_is_asked_slowly(void **state)
{
	(void)state;
	struct gd_backoff backoff = fresh(2);
	for (unsigned i = 0; i < 50; i++)
		assert_in_range(gd_backoff_failed(&backoff, true, 0), 450 * S, 900 * S);
}

static void the_server_may_ask_for_more_but_not_for_days(void **state)
{
	(void)state;
	struct gd_backoff backoff = fresh(3);
	assert_int_equal(gd_backoff_failed(&backoff, false, 120 * S), 120 * S);
	gd_backoff_succeeded(&backoff);
	assert_int_equal(gd_backoff_failed(&backoff, false, 1000000 * S), 3600 * S);
	gd_backoff_succeeded(&backoff);
	assert_true(gd_backoff_failed(&backoff, true, 1) >= 450 * S);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_bound_doubles_from_a_second_to_a_quarter_of_an_hour),
		test_case(hosts_do_not_wait_the_same),
		test_case(five_failures_in_a_row_open_the_circuit),
		test_case(what_people_must_mend_is_asked_slowly),
		test_case(the_server_may_ask_for_more_but_not_for_days),
	};
	return test_run(tests);
}
