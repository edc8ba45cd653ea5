#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "report/tuples.h"

static void each_row_is_kept_once_and_in_order(void **state)
{
	(void)state;
	struct gd_tuples t = GD_TUPLES_INIT(3, 1U << 20);
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 50000; i++) {
			uint64_t row[] = { i, i << 32, ~i };
			assert_int_equal(gd_tuples_keep(&t, row), i);
		}
	}
	assert_int_equal(t.n, 50000);
	for (uint32_t i = 0; i < t.n; i++)
		assert_true(gd_tuples_at(&t, i)[2] == ~(uint64_t)i);
	assert_ok(gd_tuples_check(&t, "rows", NULL), NULL);
	gd_tuples_deinit(&t);
}

static void one_number_is_enough_to_differ(void **state)
{
	(void)state;
	struct gd_tuples t = GD_TUPLES_INIT(2, 100);
	uint32_t a = gd_tuples_keep(&t, (uint64_t[]){ 1, 2 });
	assert_int_not_equal(gd_tuples_keep(&t, (uint64_t[]){ 2, 1 }), a);
	assert_int_not_equal(gd_tuples_keep(&t, (uint64_t[]){ 1, UINT64_C(2) << 32 }), a);
	assert_int_equal(gd_tuples_keep(&t, (uint64_t[]){ 1, 2 }), a);
	gd_tuples_deinit(&t);
}

static void the_ceiling_is_an_error_that_sticks(void **state)
{
	(void)state;
	struct gd_tuples t = GD_TUPLES_INIT(1, 70);
	struct gd_error err = { 0 };
	for (uint64_t i = 0; i < 70; i++)
		assert_int_equal(gd_tuples_keep(&t, &i), i);
	assert_ok(gd_tuples_check(&t, "threads", &err), &err);
	assert_int_equal(gd_tuples_keep(&t, (uint64_t[]){ 70 }), 0);
	assert_int_equal(gd_tuples_keep(&t, (uint64_t[]){ 69 }), 69); /* what is there stays */
	assert_int_equal(t.n, 70);
	assert_fails(gd_tuples_check(&t, "threads", &err), -E2BIG, &err);
	assert_string_equal(err.msg, "more than 70 threads");
	gd_tuples_deinit(&t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(each_row_is_kept_once_and_in_order),
		test_case(one_number_is_enough_to_differ),
		test_case(the_ceiling_is_an_error_that_sticks),
	};
	return test_run(tests);
}
