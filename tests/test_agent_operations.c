#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/operations.h"

static struct gd_operations *fresh(void)
{
	struct gd_operations *operations = calloc(1, sizeof(*operations));
	assert_non_null(operations);
	return operations;
}

static void the_queue_is_short(void **state)
{
	(void)state;
	struct gd_operations *operations = fresh();
	for (int i = 0; i < GD_OPERATIONS_QUEUE; i++)
		assert_non_null(gd_operations_add(operations));
	assert_null(gd_operations_add(operations));
	gd_operations_next(operations)->state = GD_OPERATION_RUNNING;
	assert_non_null(gd_operations_add(operations));
	free(operations);
}

static void crashes_go_before_alerts_before_baselines_and_each_in_order(void **state)
{
	(void)state;
	static const enum gd_spool_class classes[] = { GD_SPOOL_PERIODIC, GD_SPOOL_ALERT,
		                                       GD_SPOOL_CRASH, GD_SPOOL_ALERT,
		                                       GD_SPOOL_CRASH };
	static const int expected[] = { 2, 4, 1, 3, 0 };
	struct gd_operations *operations = fresh();
	for (int i = 0; i < 5; i++) {
		struct gd_operation *o = gd_operations_add(operations);
		o->class = classes[i];
		o->subject.pid = i;
	}
	for (int i = 0; i < 5; i++) {
		struct gd_operation *o = gd_operations_next(operations);
		assert_int_equal(o->subject.pid, expected[i]);
		o->state = GD_OPERATION_SUCCEEDED;
	}
	assert_null(gd_operations_next(operations));
	free(operations);
}

static void the_oldest_ended_one_makes_room_and_running_ones_never(void **state)
{
	(void)state;
	struct gd_operations *operations = fresh();
	struct gd_operation *running = gd_operations_add(operations);
	(void)strcpy(running->id, "running");
	running->state = GD_OPERATION_RUNNING;
	for (int i = 0; i < 3 * GD_OPERATIONS_MAX; i++) {
		struct gd_operation *o = gd_operations_add(operations);
		assert_non_null(o);
		(void)snprintf(o->id, sizeof(o->id), "%d", i);
		o->state = i % 2 == 0 ? GD_OPERATION_FAILED : GD_OPERATION_PARTIAL;
	}
	assert_ptr_equal(gd_operations_find(operations, "running"), running);
	assert_ptr_equal(gd_operations_running(operations), running);
	assert_null(gd_operations_find(operations, "0"));
	assert_string_equal(gd_operations_newest(operations, 0)->id, "383");
	assert_string_equal(gd_operations_newest(operations, 100)->id, "283");
	assert_null(gd_operations_newest(operations, GD_OPERATIONS_MAX));
	free(operations);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_queue_is_short),
		test_case(crashes_go_before_alerts_before_baselines_and_each_in_order),
		test_case(the_oldest_ended_one_makes_room_and_running_ones_never),
	};
	return test_run(tests);
}
