#include "tests/test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/ranges.h"
#include "base/cleanup.h"

static void what_was_put_is_taken(void **state)
{
	(void)state;
	static const struct gd_range put[] = { { 0x1000, 0x3000 }, { 0x3000, 0x4000 },
		                               { 0x7f0000000000, 0x7f0000001000 } };
	GD_CLEANUP(gd_ranges_deinit) struct gd_ranges got = GD_RANGES_INIT;
	struct gd_error err = { 0 };
	GD_CLOSE int fd = gd_ranges_create(&err);
	assert_ok(fd, &err);
	assert_ok(gd_ranges_take(fd, &got, &err), &err);
	assert_int_equal(got.n, 0);
	gd_ranges_deinit(&got);
	assert_ok(gd_ranges_put(fd, put, 3, &err), &err);
	assert_ok(gd_ranges_take(fd, &got, &err), &err);
	assert_int_equal(got.n, 3);
	assert_memory_equal(got.list, put, sizeof(put));
}

/* The reader may have been taken over by what it read. */
static void ranges_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	static const struct gd_range bad[][2] = {
		{ { 0x1001, 0x3000 }, { 0, 0 } },            /* no page */
		{ { 0x3000, 0x1000 }, { 0, 0 } },            /* backwards */
		{ { 0x1000, 0x1000 }, { 0, 0 } },            /* empty */
		{ { 0x1000, 0x3000 }, { 0x2000, 0x4000 } }, /* overlapping */
		{ { 0x5000, 0x6000 }, { 0x1000, 0x2000 } }, /* descending */
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_ranges got = GD_RANGES_INIT;
		struct gd_error err = { 0 };
		GD_CLOSE int fd = gd_ranges_create(&err);
		assert_ok(gd_ranges_put(fd, bad[i], bad[i][1].end != 0 ? 2 : 1, &err), &err);
		assert_fails(gd_ranges_take(fd, &got, &err), -EBADMSG, &err);
		assert_null(got.list);
	}
	struct gd_ranges got = GD_RANGES_INIT;
	struct gd_error err = { 0 };
	GD_CLOSE int fd = gd_ranges_create(&err);
	uint64_t n = UINT64_MAX;
	assert_int_equal(pwrite(fd, &n, sizeof(n), 0), sizeof(n));
	assert_fails(gd_ranges_take(fd, &got, &err), -EBADMSG, &err);
	n = GD_RANGES_MAX;
	assert_int_equal(pwrite(fd, &n, sizeof(n), 0), sizeof(n));
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_fails(gd_ranges_take(fd, &got, &err), -EBADMSG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_was_put_is_taken),
		test_case(ranges_that_make_no_sense_are_refused),
	};
	return test_run(tests);
}
