#include "tests/test.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "agent/watched.h"

#define SECOND INT64_C(1000000000)

static struct gd_process *add(struct gd_watched_table *table, uint32_t slot, int32_t pid,
                              uint32_t service, int64_t now)
{
	struct gd_watched info = { .slot = slot, .id = { pid, 7 }, .service = service };
	struct gd_process *p = NULL;
	assert_int_equal(gd_watched_add(table, &info, now, &p), 0);
	return p;
}

static struct gd_watched_table *fresh(void)
{
	struct gd_watched_table *table = calloc(1, sizeof(*table));
	assert_non_null(table);
	return table;
}

static void drop(struct gd_watched_table *table)
{
	gd_watched_deinit(table);
	assert_int_equal(table->n_alive + table->n_gone, 0);
	free(table);
}

static void the_largest_living_process_stands_for_its_service(void **state)
{
	(void)state;
	struct gd_watched_table *table = fresh();
	add(table, 0, 100, 1, SECOND)->last[GD_METRIC_RSS] = 1e6;
	add(table, 1, 101, 1, SECOND)->last[GD_METRIC_RSS] = 5e6;
	(void)add(table, 2, 102, 1, SECOND); /* no sample yet */
	add(table, 3, 103, 0, SECOND)->last[GD_METRIC_RSS] = 9e9;
	assert_int_equal(gd_watched_main_of(table, 1)->info.id.pid, 101);
	gd_watched_gone(table, 1, 2 * SECOND);
	assert_int_equal(gd_watched_main_of(table, 1)->info.id.pid, 100);
	assert_null(gd_watched_main_of(table, 2));
	drop(table);
}

static void what_is_gone_is_remembered_ten_minutes(void **state)
{
	(void)state;
	struct gd_watched_table *table = fresh();
	struct gd_subject_id id = { 100, 7 };
	(void)add(table, 0, 100, 0, SECOND);
	gd_watched_gone(table, 0, 10 * SECOND);
	gd_watched_expire(table, 609 * SECOND);
	assert_non_null(gd_watched_find(table, &id));
	assert_non_null(gd_watched_last_gone(table, 0, 10 * SECOND));
	assert_null(gd_watched_last_gone(table, 0, 11 * SECOND));
	gd_watched_expire(table, 611 * SECOND);
	assert_null(gd_watched_find(table, &id));
	drop(table);
}

static void found_again_it_keeps_its_past(void **state)
{
	(void)state;
	struct gd_watched_table *table = fresh();
	struct gd_process *p = add(table, 3, 100, 0, SECOND);
	(void)add(table, 4, 101, 0, SECOND);
	gd_watched_all_gone(table, 5 * SECOND);
	assert_int_equal(table->n_alive, 0);
	assert_ptr_equal(add(table, 9, 100, 1, 6 * SECOND), p);
	assert_int_equal(p->seen_ns, SECOND);
	assert_int_equal(p->gone_ns, 0);
	assert_int_equal(table->n_alive, 1);
	assert_int_equal(table->n_gone, 1);
	assert_ptr_equal(gd_watched_at(table, 9), p);
	drop(table);
}

static void a_restart_storm_keeps_the_last_64(void **state)
{
	(void)state;
	struct gd_watched_table *table = fresh();
	for (int i = 0; i < 1000; i++) {
		(void)add(table, 5, 1000 + i, 0, (i + 1) * SECOND / 100);
		gd_watched_expire(table, (i + 1) * SECOND / 100);
	}
	assert_int_equal(table->n_alive, 1);
	assert_int_equal(table->n_gone, GD_WATCHED_GONE_MAX);
	assert_int_equal(gd_watched_last_gone(table, 0, 1)->info.id.pid, 1998);
	drop(table);
}

static void a_slot_that_cannot_be_is_refused(void **state)
{
	(void)state;
	struct gd_watched_table *table = fresh();
	struct gd_watched info = { .slot = GD_WATCHED_MAX };
	struct gd_process *p;
	assert_int_equal(gd_watched_add(table, &info, 1, &p), -EINVAL);
	assert_null(gd_watched_at(table, GD_WATCHED_MAX));
	gd_watched_gone(table, GD_WATCHED_MAX + 1, 1);
	drop(table);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_largest_living_process_stands_for_its_service),
		test_case(what_is_gone_is_remembered_ten_minutes),
		test_case(found_again_it_keeps_its_past),
		test_case(a_restart_storm_keeps_the_last_64),
		test_case(a_slot_that_cannot_be_is_refused),
	};
	return test_run(tests);
}
