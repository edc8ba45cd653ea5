/*
 * Windows over made-up readings at made-up times.
 */
#include "golang/gauges_window.h"

#include <math.h>
#include <string.h>

#include "tests/test.h"

#define SECOND INT64_C(1000000000)

static struct gd_gauges_window window;
static struct gd_gauges gauges;

static void begin(void)
{
	memset(&window, 0, sizeof(window));
	memset(&gauges, 0, sizeof(gauges));
	gauges.has = GD_GAUGES_ALL;
	gauges.gomaxprocs = 4;
	gauges.goroutines = 100;
	gauges.heap_live = 30 << 20;
	gauges.heap_goal = 40 << 20;
	gauges.pauses.n = gauges.latency.n = 160;
	gauges.pauses.sub_bits = gauges.latency.sub_bits = 2;
	gauges.pauses.shift = gauges.latency.shift = 6;
}

static struct gd_gauges_values at(double second)
{
	struct gd_gauges_values v;
	gd_gauges_window_add(&window, &gauges, (int64_t)(second * 1e9) + 77 * SECOND, &v);
	return v;
}

/* Counts n events that took ns. */
static void count(struct gd_histogram *h, uint64_t ns, uint64_t n)
{
	size_t i = 0;
	while (i + 1 < h->n && gd_histogram_bound(h, i + 1) <= ns)
		i++;
	h->counts[i] += n;
	h->total += n;
}

/* Within the bucket's width, a quarter of its power of two. */
static void near(double value, double wanted)
{
	if (!(value >= wanted * 0.75 && value <= wanted * 1.34))
		fail_msg("%g is not near %g", value, wanted);
}

static void what_was_before_the_first_reading_does_not_count(void **state)
{
	(void)state;
	begin();
	count(&gauges.pauses, 5000000, 1000);
	count(&gauges.latency, 5000000, 1000);
	struct gd_gauges_values v = at(0);
	assert_true(isnan(v.gc_pause_p99_s) && isnan(v.sched_latency_p99_s));
	assert_true(isnan(v.goroutines_growth) && isnan(v.gc_cpu));
	assert_true(v.goroutines == 100 && v.heap_of_goal == 0.75);
	v = at(1);
	assert_true(isnan(v.gc_pause_p99_s) && isnan(v.sched_latency_p99_s));
}

static void an_event_counts_as_long_as_its_window(void **state)
{
	(void)state;
	begin();
	(void)at(0);
	for (int s = 1; s < 200; s++) {
		if (s == 21) {
			count(&gauges.pauses, 70000000, 1);
			count(&gauges.latency, 3000000, 5);
		}
		struct gd_gauges_values v = at(s);
		if (s >= 21 && s <= 21 + 60)
			near(v.gc_pause_p99_s, 0.07);
		else if (s < 21 || s > 21 + 71)
			assert_true(isnan(v.gc_pause_p99_s));
		if (s >= 21 && s <= 21 + 10)
			near(v.sched_latency_p99_s, 0.003);
		else if (s < 21 || s > 21 + 13)
			assert_true(isnan(v.sched_latency_p99_s));
	}
}

static void one_in_a_hundred_is_the_p99(void **state)
{
	(void)state;
	begin();
	(void)at(0);
	count(&gauges.latency, 100000, 985);
	count(&gauges.latency, 50000000, 15);
	near(at(1).sched_latency_p99_s, 0.05);
	count(&gauges.latency, 100000, 1000);
	near(at(2).sched_latency_p99_s, 0.0001);
}

/* Two million a second: more than a slot's numbers hold, and the rare slow ones are seen. */
static void many_events_fit(void **state)
{
	(void)state;
	begin();
	gauges.latency.counts[4] = UINT32_MAX - 1000;
	(void)at(0);
	for (int s = 1; s < 30; s++) {
		count(&gauges.latency, 1000, 1960000);
		count(&gauges.latency, 20000000, 40000);
		near(at(s).sched_latency_p99_s, 0.02);
	}
}

static void the_buckets_of_old_releases_are_understood(void **state)
{
	static const uint64_t durations[] = { 3, 100, 4096, 77777, 1000000, 123456789, 5000000000 };
	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		begin();
		gauges.pauses.n = 720;
		gauges.pauses.sub_bits = 4;
		gauges.pauses.shift = 0;
		(void)at(0);
		count(&gauges.pauses, durations[i], 10);
		double s = (double)durations[i] / 1e9;
		if (durations[i] < 64)
			assert_true(at(1).gc_pause_p99_s <= 64e-9);
		else
			near(at(1).gc_pause_p99_s, s * 1.06);
	}
}

static void a_pause_of_hours_is_the_longest(void **state)
{
	(void)state;
	begin();
	(void)at(0);
	gauges.pauses.overflow = gauges.pauses.total = 1;
	assert_true(at(1).gc_pause_p99_s > 200);
}

static void after_a_gap_nothing_old_is_left(void **state)
{
	(void)state;
	begin();
	(void)at(0);
	count(&gauges.pauses, 70000000, 1);
	count(&gauges.latency, 3000000, 5);
	near(at(1).gc_pause_p99_s, 0.07);
	struct gd_gauges_values v = at(400);
	assert_true(isnan(v.gc_pause_p99_s) && isnan(v.sched_latency_p99_s));
	assert_true(isnan(v.goroutines_growth) && isnan(v.gc_cpu));
	count(&gauges.latency, 3000000, 5);
	near(at(401).sched_latency_p99_s, 0.003);
}

/* Readings 7 s apart: each ends three slots of latencies. */
static void rare_readings_move_the_window_too(void **state)
{
	(void)state;
	begin();
	(void)at(0);
	count(&gauges.latency, 3000000, 5);
	near(at(7).sched_latency_p99_s, 0.003);
	near(at(14).sched_latency_p99_s, 0.003);
	assert_true(isnan(at(21).sched_latency_p99_s));
}

static void growth_is_the_slope_of_the_last_minute(void **state)
{
	struct gd_gauges_values v = { 0 };
	(void)state;
	begin();
	for (int s = 0; s < 10; s++) {
		gauges.goroutines = 1000 + 50 * (uint64_t)s;
		assert_true(isnan(at(s).goroutines_growth));
	}
	for (int s = 10; s < 100; s++) {
		gauges.goroutines = 1000 + 50 * (uint64_t)s;
		v = at(s);
		assert_true(fabs(v.goroutines_growth - 50) < 1e-6);
	}
	/* Then none for more than a minute. */
	for (int s = 100; s < 170; s++)
		v = at(s);
	assert_true(fabs(v.goroutines_growth) < 1e-6);
	for (int s = 170; s < 240; s++) {
		gauges.goroutines -= 7;
		v = at(s);
	}
	assert_true(fabs(v.goroutines_growth + 7) < 1e-6);
}

static void a_spike_is_no_trend(void **state)
{
	(void)state;
	begin();
	for (int s = 0; s < 90; s++)
		(void)at(s);
	gauges.goroutines += 6200;
	assert_true(at(90).goroutines_growth < 50);
}

static void cpu_of_the_collector_is_a_part_of_all_cpus(void **state)
{
	struct gd_gauges_values v = { 0 };
	(void)state;
	begin();
	for (int s = 0; s < 300; s++) {
		/* 4 CPUs, one of them collects; from second 100 on none. */
		if (s < 100)
			gauges.gc_cpu_ns += 1000000000;
		v = at(s);
		if (s >= 5 && s < 100)
			assert_true(fabs(v.gc_cpu - 0.25) < 1e-6);
		if (s > 171)
			assert_true(v.gc_cpu == 0);
	}
	gauges.gc_cpu_ns += UINT64_C(1) << 60;
	assert_true(at(300).gc_cpu == 1);
}

static void what_was_not_read_is_no_number(void **state)
{
	(void)state;
	begin();
	gauges.has = 0;
	(void)at(0);
	struct gd_gauges_values v = at(30);
	const double *all = &v.goroutines;
	for (size_t i = 0; i < sizeof(v) / sizeof(double); i++)
		assert_true(isnan(all[i]));
	begin();
	gauges.heap_goal = UINT64_MAX;
	v = at(0);
	assert_true(isnan(v.heap_goal) && isnan(v.heap_of_goal) && v.heap_live > 0);
}

static void a_window_is_small(void **state)
{
	(void)state;
	assert_true(sizeof(struct gd_gauges_window) < 5120);
}

static bool same_value(double a, double b)
{
	return a == b || (isnan(a) && isnan(b));
}

/* Histograms that did not change are left out unless they are wanted: that makes no difference. */
static void what_is_left_out_changes_nothing(void **state)
{
	static struct gd_gauges_window spared;
	unsigned left_out = 0;
	uint64_t pauses = 0;
	uint64_t latency = 0;
	uint32_t random = 12345;
	(void)state;
	begin();
	memset(&spared, 0, sizeof(spared));
	for (int s = 0; s < 2000; s++) {
		/* Busy, then rarely anything, then nothing for minutes, over and over. */
		unsigned mood = (unsigned)s / 100 % 4;
		random = random * 1664525 + 1013904223;
		if (mood == 0 || (mood == 1 && random >> 28 == 0)) {
			count(&gauges.latency, random >> 8, 1 + random % 7);
			count(&gauges.pauses, random >> 6, random >> 30);
		}
		double second = s + (mood == 2 ? 0.001 * (random >> 24) : 0);
		int64_t now_ns = (int64_t)(second * 1e9) + 77 * SECOND;
		unsigned wanted = gd_gauges_window_wants(&spared, now_ns);
		static struct gd_gauges less;
		struct gd_gauges_values a = at(second);
		struct gd_gauges_values b;
		less = gauges;
		if ((wanted & GD_GAUGES_PAUSES) == 0 && gauges.pauses.total == pauses && s > 0)
			less.same |= GD_GAUGES_PAUSES;
		if ((wanted & GD_GAUGES_LATENCY) == 0 && gauges.latency.total == latency && s > 0)
			less.same |= GD_GAUGES_LATENCY;
		pauses = gauges.pauses.total;
		latency = gauges.latency.total;
		if ((less.same & GD_GAUGES_PAUSES) != 0)
			memset(&less.pauses, 0, sizeof(less.pauses));
		if ((less.same & GD_GAUGES_LATENCY) != 0)
			memset(&less.latency, 0, sizeof(less.latency));
		left_out += less.same == (GD_GAUGES_PAUSES | GD_GAUGES_LATENCY);
		gd_gauges_window_add(&spared, &less, now_ns, &b);
		if (!same_value(a.gc_pause_p99_s, b.gc_pause_p99_s) ||
		    !same_value(a.sched_latency_p99_s, b.sched_latency_p99_s))
			fail_msg("second %d: pauses %g and %g, latency %g and %g", s,
			         a.gc_pause_p99_s, b.gc_pause_p99_s, a.sched_latency_p99_s,
			         b.sched_latency_p99_s);
	}
	assert_true(left_out > 1000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_was_before_the_first_reading_does_not_count),
		test_case(an_event_counts_as_long_as_its_window),
		test_case(one_in_a_hundred_is_the_p99),
		test_case(many_events_fit),
		test_case(the_buckets_of_old_releases_are_understood),
		test_case(a_pause_of_hours_is_the_longest),
		test_case(after_a_gap_nothing_old_is_left),
		test_case(rare_readings_move_the_window_too),
		test_case(growth_is_the_slope_of_the_last_minute),
		test_case(a_spike_is_no_trend),
		test_case(cpu_of_the_collector_is_a_part_of_all_cpus),
		test_case(what_was_not_read_is_no_number),
		test_case(a_window_is_small),
		test_case(what_is_left_out_changes_nothing),
	};
	return test_run(tests);
}
