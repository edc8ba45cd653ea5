#include "uploader/retention.h"

#include <stdio.h>
#include <string.h>

#include "tests/test.h"

#define HOUR INT64_C(3600000000000)
#define NOW (1000 * HOUR)

static const struct gd_retention_space roomy = { .fs_bytes = 10000, .fs_free_bytes = 9000 };

static struct gd_spool_item item(const char *id, enum gd_spool_class class, int64_t age_h,
                                 uint64_t bytes, bool uploaded)
{
	struct gd_spool_item made = { .class = class, .bytes = bytes, .uploaded = uploaded,
		                      .sealed_realtime_ns = NOW - age_h * HOUR };
	(void)snprintf(made.id, sizeof(made.id), "%s", id);
	return made;
}

/* "a:age b:floor": what goes, in order. */
static const char *choose(const struct gd_spool_item *items, size_t n,
                          const struct gd_spool_keep *keep, const struct gd_retention_space *space)
{
	static const char *const words[] = { "age", "count", "bytes", "spool", "floor" };
	static char text[1000];
	struct gd_retention_choice chosen[32];
	bool gone[32];
	size_t m = gd_retention_choose(items, n, keep, space, NOW, chosen, gone);
	size_t at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < m; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s:%s", i > 0 ? " " : "",
		                       chosen[i].item == SIZE_MAX ? "quarantine"
		                                                  : items[chosen[i].item].id,
		                       words[chosen[i].why]);
	return text;
}

#define CHOOSE(items, keep, space) choose(items, sizeof(items) / sizeof(*(items)), keep, space)

static void without_limits_everything_stays(void **state)
{
	(void)state;
	const struct gd_spool_item items[] = { item("a", GD_SPOOL_PERIODIC, 900, 5000, true),
		                               item("b", GD_SPOOL_PERIODIC, 800, 5000, false) };
	const struct gd_spool_keep keep = { .free_ratio = 0 };
	const struct gd_retention_space full = { .fs_bytes = 10000 };
	assert_string_equal(CHOOSE(items, &keep, &full), "");
}

static void age_count_and_bytes_take_the_oldest_of_what_is_uploaded(void **state)
{
	(void)state;
	const struct gd_spool_item items[] = {
		item("a", GD_SPOOL_CRASH, 50, 100, true),  item("b", GD_SPOOL_CRASH, 40, 100, false),
		item("c", GD_SPOOL_CRASH, 30, 100, true),  item("d", GD_SPOOL_CRASH, 20, 100, true),
		item("e", GD_SPOOL_CRASH, -10, 100, true), /* from the future: as of now */
	};
	const struct gd_spool_keep by_age = { .age_ns = 25 * HOUR };
	const struct gd_spool_keep by_count = { .count = 3 };
	const struct gd_spool_keep by_bytes = { .bytes = 250 };
	const struct gd_spool_keep by_all = { .age_ns = 45 * HOUR, .count = 2, .bytes = 100 };
	assert_string_equal(CHOOSE(items, &by_age, &roomy), "a:age c:age");
	assert_string_equal(CHOOSE(items, &by_count, &roomy), "a:count");
	assert_string_equal(CHOOSE(items, &by_bytes, &roomy), "a:bytes c:bytes");
	assert_string_equal(CHOOSE(items, &by_all, &roomy), "a:age c:count d:bytes");
}

static void with_nowhere_to_go_they_hold_for_all(void **state)
{
	(void)state;
	const struct gd_spool_item items[] = { item("a", GD_SPOOL_CRASH, 50, 100, false),
		                               item("b", GD_SPOOL_CRASH, 40, 100, true),
		                               item("c", GD_SPOOL_CRASH, 30, 100, false) };
	const struct gd_spool_keep keep = { .count = 1, .local = true };
	assert_string_equal(CHOOSE(items, &keep, &roomy), "a:count b:count");
}

static void for_space_done_goes_first_then_quarantine_then_periodic_and_crashes_last(void **state)
{
	(void)state;
	const struct gd_spool_item items[] = {
		item("crash", GD_SPOOL_CRASH, 90, 100, false),
		item("alert", GD_SPOOL_ALERT, 80, 100, false),
		item("manual", GD_SPOOL_MANUAL, 70, 100, false),
		item("old", GD_SPOOL_PERIODIC, 60, 100, false),
		item("new", GD_SPOOL_PERIODIC, 50, 100, false),
		item("done1", GD_SPOOL_CRASH, 40, 100, true),
		item("done2", GD_SPOOL_CRASH, 30, 100, true),
	};
	const struct gd_retention_space space = { .fs_bytes = 10000, .fs_free_bytes = 9000,
		                                  .quarantined_bytes = 100 };
	static const char *const expected[] = {
		"done1:spool", "done1:spool done2:spool",
		"done1:spool done2:spool quarantine:spool",
		"done1:spool done2:spool quarantine:spool old:spool",
		"done1:spool done2:spool quarantine:spool old:spool new:spool",
		"done1:spool done2:spool quarantine:spool old:spool new:spool manual:spool",
		"done1:spool done2:spool quarantine:spool old:spool new:spool manual:spool alert:spool",
	};
	for (size_t i = 0; i < 7; i++) {
		const struct gd_spool_keep keep = { .spool_bytes = 700 - i * 100 };
		assert_string_equal(CHOOSE(items, &keep, &space), expected[i]);
	}
}

static void the_floor_takes_only_what_reaches_it(void **state)
{
	(void)state;
	const struct gd_spool_item items[] = {
		item("done", GD_SPOOL_CRASH, 90, 300, true),
		item("crash", GD_SPOOL_CRASH, 80, 300, false),
		item("periodic", GD_SPOOL_PERIODIC, 70, 300, false),
	};
	const struct gd_spool_keep keep = { .free_ratio = 0.15 }; /* 1500 of 10000 */
	struct gd_retention_space space = { .fs_bytes = 10000, .fs_free_bytes = 1500 };
	assert_string_equal(CHOOSE(items, &keep, &space), "");
	space.fs_free_bytes = 1499;
	assert_string_equal(CHOOSE(items, &keep, &space), "done:floor");
	space.fs_free_bytes = 1100;
	assert_string_equal(CHOOSE(items, &keep, &space), "done:floor periodic:floor");
	space.fs_free_bytes = 800;
	assert_string_equal(CHOOSE(items, &keep, &space), "done:floor periodic:floor crash:floor");
	/* all three would not do: somebody else filled the disk, and the evidence stays */
	space.fs_free_bytes = 500;
	assert_string_equal(CHOOSE(items, &keep, &space), "done:floor");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(without_limits_everything_stays),
		test_case(age_count_and_bytes_take_the_oldest_of_what_is_uploaded),
		test_case(with_nowhere_to_go_they_hold_for_all),
		test_case(for_space_done_goes_first_then_quarantine_then_periodic_and_crashes_last),
		test_case(the_floor_takes_only_what_reaches_it),
	};
	return test_run(tests);
}
