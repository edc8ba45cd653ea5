#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

static void the_three_clocks_are_those_of_the_kernel(void **state)
{
	(void)state;
	struct gd_clock a = gd_clock_now();
	struct gd_clock b = gd_clock_now();
	assert_true(b.monotonic_ns >= a.monotonic_ns);
	assert_true(b.boottime_ns >= a.boottime_ns);
	/* suspend can only add; the two were read one after the other */
	assert_true(a.boottime_ns >= a.monotonic_ns);
	assert_true(llabs(a.realtime_ns / 1000000000 - (int64_t)time(NULL)) <= 2);
	assert_true(gd_clock_monotonic_ns() >= b.monotonic_ns);
}

static void two_looks_at_the_counter_make_a_line_in_time(void **state)
{
	(void)state;
	struct gd_clock_tsc a[3];
	int64_t before = gd_clock_monotonic_ns();
	if (!gd_clock_tsc(&a[0]))
		test_skip("no time stamp counter here");
	(void)usleep(20000);
	assert_true(gd_clock_tsc(&a[1]));
	(void)usleep(20000);
	assert_true(gd_clock_tsc(&a[2]));
	assert_true(before <= a[0].monotonic_ns && a[2].monotonic_ns <= gd_clock_monotonic_ns());
	assert_true(a[0].tsc < a[1].tsc && a[1].tsc < a[2].tsc);
	/* The one between lies on the line of the others, but for what interrupted us at the clock. */
	double slope = (double)(a[2].monotonic_ns - a[0].monotonic_ns) / (double)(a[2].tsc - a[0].tsc);
	int64_t placed = a[0].monotonic_ns + (int64_t)(slope * (double)(a[1].tsc - a[0].tsc));
	assert_true(llabs(placed - a[1].monotonic_ns) < 1000000);
}

static void sleeping_takes_time_but_no_cpu(void **state)
{
	(void)state;
	int64_t wall = gd_clock_monotonic_ns();
	int64_t cpu = gd_clock_cpu_ns();
	(void)usleep(50000);
	wall = gd_clock_monotonic_ns() - wall;
	cpu = gd_clock_cpu_ns() - cpu;
	assert_true(wall >= 50000000);
	assert_true(cpu >= 0 && cpu < wall / 2);
}

static void instants_are_printed_in_utc_with_microseconds(void **state)
{
	(void)state;
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00.000000Z" },
		{ INT64_C(1795179907123456789), "2026-11-20T13:05:07.123456Z" },
		{ INT64_C(951782399999999999), "2000-02-28T23:59:59.999999Z" },
		{ -1, "1969-12-31T23:59:59.999999Z" },
		{ INT64_MAX, "2262-04-11T23:47:16.854775Z" },
		{ INT64_MIN, "1677-09-21T00:12:43.145224Z" },
	};
	assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
	tzset();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[GD_CLOCK_TEXT];
		assert_string_equal(gd_clock_text(text, rows[i].ns), rows[i].text);
	}
	assert_int_equal(unsetenv("TZ"), 0);
	tzset();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_three_clocks_are_those_of_the_kernel),
		test_case(two_looks_at_the_counter_make_a_line_in_time),
		test_case(sleeping_takes_time_but_no_cpu),
		test_case(instants_are_printed_in_utc_with_microseconds),
	};
	return test_run(tests);
}
