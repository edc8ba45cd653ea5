/*
 * Rows in, JSON lines out, read back with jansson.
 */
#include "agent/timeline.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

#define SECOND INT64_C(1000000000)
#define WALL (INT64_C(1795179907) * SECOND)

enum { LINES_MAX = GD_TIMELINE_SECONDS + 2 };

struct lines {
	json_t *list[LINES_MAX];
	size_t n;
};

static void read_back(const struct gd_timeline *t, struct lines *lines)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	gd_timeline_put(t, &text);
	assert_ok(gd_buf_check(&text, "timeline", &err), &err);
	(void)gd_buf_str(&text);
	char *rest = text.data;
	lines->n = 0;
	for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
		json_error_t error;
		assert_true(lines->n < LINES_MAX);
		lines->list[lines->n] = json_loads(line, 0, &error);
		if (lines->list[lines->n] == NULL)
			fail_msg("%s: %s", line, error.text);
		lines->n++;
	}
}

static void release(struct lines *lines)
{
	for (size_t i = 0; i < lines->n; i++)
		json_decref(lines->list[i]);
}

static double value(const json_t *row, enum gd_metric metric)
{
	const json_t *j = json_object_get(row, gd_metrics[metric].name);
	return j != NULL ? json_number_value(j) : (double)NAN;
}

static struct gd_clock at(int64_t ms)
{
	return (struct gd_clock){ .monotonic_ns = 4000 * SECOND + ms * 1000000,
		                  .realtime_ns = WALL + ms * 1000000 };
}

static void nothing(double values[GD_METRICS])
{
	for (unsigned i = 0; i < GD_METRICS; i++)
		values[i] = (double)NAN;
}

static struct gd_timeline *create(void)
{
	struct gd_timeline *t = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_timeline_create(&t, &err), &err);
	return t;
}

static void the_head_names_units_and_rows_their_time(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	struct gd_timeline *t = create();
	struct gd_clock when = at(123);
	nothing(values);
	values[GD_METRIC_CPU] = 0.5;
	gd_timeline_add(t, &when, values);
	read_back(t, &lines);
	assert_int_equal(lines.n, 2);
	const json_t *units = json_object_get(lines.list[0], "units");
	assert_string_equal(json_string_value(json_object_get(lines.list[0], "kind")), "timeline");
	assert_int_equal(json_integer_value(json_object_get(lines.list[0], "version")), 1);
	assert_int_equal(json_object_size(units), GD_METRICS);
	assert_string_equal(json_string_value(json_object_get(units, "go_gc_pause_p99")), "seconds");
	assert_string_equal(json_string_value(json_object_get(units, "rss")), "bytes");
	const json_t *row = lines.list[1];
	assert_string_equal(json_string_value(json_object_get(row, "t")),
	                    "2026-11-20T13:05:07.123Z");
	assert_int_equal(json_integer_value(json_object_get(row, "monotonic_ns")),
	                 when.monotonic_ns);
	/* t, monotonic_ns, cpu: what has no sample is not there. */
	assert_int_equal(json_object_size(row), 3);
	assert_true(value(row, GD_METRIC_CPU) == 0.5);
	release(&lines);
	gd_timeline_destroy(t);
}

/* One row for each, through all units. */
static void values_come_back_to_a_thousandth(void **state)
{
	static const double wanted[] = { 1e-9, 64e-9, 1.234e-6, 0.0499, 0.05, 1, 59.9, 86400 };
	static struct lines lines;
	double values[GD_METRICS];
	enum { N = sizeof(wanted) / sizeof(wanted[0]) };
	(void)state;
	struct gd_timeline *t = create();
	for (int i = 0; i < N; i++) {
		struct gd_clock when = at(1000 * i);
		nothing(values);
		values[GD_METRIC_HTTP_P99] = wanted[i];
		values[GD_METRIC_RSS] = wanted[i] * 1e12;
		values[GD_METRIC_CPU] = wanted[i] * 100;
		values[GD_METRIC_GO_GOROUTINES_GROWTH] = -wanted[i] * 1000;
		gd_timeline_add(t, &when, values);
	}
	read_back(t, &lines);
	for (int i = 0; i < N; i++) {
		const json_t *row = lines.list[1 + i];
		assert_true(fabs(value(row, GD_METRIC_HTTP_P99) / wanted[i] - 1) < 0.0015);
		assert_true(fabs(value(row, GD_METRIC_RSS) / wanted[i] / 1e12 - 1) < 0.0015);
		assert_true(fabs(value(row, GD_METRIC_CPU) / wanted[i] / 100 - 1) < 0.0015);
		assert_true(fabs(value(row, GD_METRIC_GO_GOROUTINES_GROWTH) / wanted[i] / -1000 - 1) <
		            0.0015);
	}
	release(&lines);
	gd_timeline_destroy(t);
}

static void counts_up_to_1024_are_exact(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	for (int from = 0; from <= 1024; from += 500) {
		struct gd_timeline *t = create();
		for (int i = 0; i < 500; i++) {
			struct gd_clock when = at(1000 * i);
			nothing(values);
			values[GD_METRIC_GO_GOROUTINES] = from + i > 1024 ? 1024 : from + i;
			values[GD_METRIC_THREADS] = values[GD_METRIC_GO_GOROUTINES];
			gd_timeline_add(t, &when, values);
		}
		read_back(t, &lines);
		assert_int_equal(lines.n, 501);
		for (int i = 0; i < 500; i++) {
			double n = from + i > 1024 ? 1024 : from + i;
			assert_true(value(lines.list[1 + i], GD_METRIC_GO_GOROUTINES) == n);
			assert_true(value(lines.list[1 + i], GD_METRIC_THREADS) == n);
		}
		release(&lines);
		gd_timeline_destroy(t);
	}
}

static void what_is_out_of_range_is_the_nearest(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	struct gd_timeline *t = create();
	struct gd_clock when = at(0);
	nothing(values);
	values[GD_METRIC_RSS] = 1e300;
	values[GD_METRIC_CPU] = -1e300;
	values[GD_METRIC_TIME_TO_LIMIT] = INFINITY;
	values[GD_METRIC_GO_GC_PAUSE_P99] = 1e-30;
	values[GD_METRIC_GO_GOROUTINES_GROWTH] = -1e300;
	values[GD_METRIC_THREADS] = -INFINITY;
	gd_timeline_add(t, &when, values);
	read_back(t, &lines);
	assert_true(value(lines.list[1], GD_METRIC_RSS) > 1e17);
	assert_true(value(lines.list[1], GD_METRIC_CPU) < -1e10);
	assert_string_equal(json_string_value(json_object_get(lines.list[1], "time_to_limit")),
	                    "inf");
	assert_null(json_object_get(lines.list[1], "threads"));
	assert_true(value(lines.list[1], GD_METRIC_GO_GC_PAUSE_P99) == 0);
	assert_true(value(lines.list[1], GD_METRIC_GO_GOROUTINES_GROWTH) < -1e10);
	release(&lines);
	gd_timeline_destroy(t);
}

static void the_oldest_are_forgotten_when_it_is_full(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	struct gd_timeline *t = create();
	for (int i = 0; i < 1000; i++) {
		struct gd_clock when = at(1000 * i);
		nothing(values);
		values[GD_METRIC_THREADS] = i;
		gd_timeline_add(t, &when, values);
	}
	read_back(t, &lines);
	assert_int_equal(lines.n, 1 + GD_TIMELINE_SECONDS);
	for (size_t i = 1; i < lines.n; i++) {
		double n = 1000 - GD_TIMELINE_SECONDS + (double)i - 1;
		assert_true(value(lines.list[i], GD_METRIC_THREADS) == n);
		assert_true((double)json_integer_value(json_object_get(lines.list[i],
		                                                      "monotonic_ns")) ==
		            (4000 + n) * 1e9);
	}
	release(&lines);
	gd_timeline_destroy(t);
}

/* The wall clock is set back an hour, and the ms since boot go over 2^32. */
static void clocks_that_jump_are_told_as_they_were(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	struct gd_timeline *t = create();
	nothing(values);
	for (int64_t i = 0; i < 4; i++) {
		struct gd_clock when = {
			.monotonic_ns = (INT64_C(4294967294) + i) * 1000000,
			.realtime_ns = WALL + i * 1000000 - (i < 2 ? 0 : 3600 * SECOND),
		};
		gd_timeline_add(t, &when, values);
	}
	read_back(t, &lines);
	static const char *const times[] = { "2026-11-20T13:05:07.000Z", "2026-11-20T13:05:07.001Z",
		                             "2026-11-20T12:05:07.002Z", "2026-11-20T12:05:07.003Z" };
	for (int i = 0; i < 4; i++) {
		assert_string_equal(json_string_value(json_object_get(lines.list[1 + i], "t")),
		                    times[i]);
		assert_true(json_integer_value(json_object_get(lines.list[1 + i], "monotonic_ns")) ==
		            (INT64_C(4294967294) + i) * 1000000);
	}
	release(&lines);
	gd_timeline_destroy(t);
}

/* Ten minutes of a process that does nothing, of one that does something, and of noise. */
static void memory_follows_what_changes(void **state)
{
	static const size_t most[] = { 7000, 22000, 40000 };
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct gd_timeline *t = create();
		double values[GD_METRICS];
		unsigned seed = 1;
		for (int s = 0; s < 2000; s++) {
			struct gd_clock when = at(1000 * s + s % 2);
			unsigned changing = kind == 0 ? 1 : kind == 1 ? GD_METRICS / 2 : GD_METRICS;
			for (unsigned i = 0; i < GD_METRICS; i++)
				values[i] = i < changing ? rand_r(&seed) : 5.0;
			gd_timeline_add(t, &when, values);
		}
		if (gd_timeline_bytes(t) > most[kind])
			fail_msg("kind %d: %zu bytes", kind, gd_timeline_bytes(t));
		gd_timeline_destroy(t);
	}
}

/* The wall clock is slewed by a ms a second; no row is off by more than a few. */
static void a_slewed_clock_is_followed(void **state)
{
	static struct lines lines;
	double values[GD_METRICS];
	(void)state;
	struct gd_timeline *t = create();
	nothing(values);
	for (int i = 0; i < 900; i++) {
		struct gd_clock when = at(1000 * i);
		when.realtime_ns += i * INT64_C(1000000);
		gd_timeline_add(t, &when, values);
	}
	read_back(t, &lines);
	assert_int_equal(lines.n, 1 + GD_TIMELINE_SECONDS);
	/* The 300th is the first that is left: 5 m and 300 ms after the start. */
	const char *text = json_string_value(json_object_get(lines.list[1], "t"));
	assert_true(strcmp(text, "2026-11-20T13:10:07.297Z") >= 0 &&
	            strcmp(text, "2026-11-20T13:10:07.303Z") <= 0);
	text = json_string_value(json_object_get(lines.list[600], "t"));
	assert_true(strcmp(text, "2026-11-20T13:20:06.896Z") >= 0 &&
	            strcmp(text, "2026-11-20T13:20:06.902Z") <= 0);
	release(&lines);
	gd_timeline_destroy(t);
}

static void without_rows_there_is_the_head(void **state)
{
	static struct lines lines;
	(void)state;
	struct gd_timeline *t = create();
	read_back(t, &lines);
	assert_int_equal(lines.n, 1);
	release(&lines);
	gd_timeline_destroy(t);
	gd_timeline_destroy(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_head_names_units_and_rows_their_time),
		test_case(values_come_back_to_a_thousandth),
		test_case(counts_up_to_1024_are_exact),
		test_case(what_is_out_of_range_is_the_nearest),
		test_case(the_oldest_are_forgotten_when_it_is_full),
		test_case(clocks_that_jump_are_told_as_they_were),
		test_case(memory_follows_what_changes),
		test_case(a_slewed_clock_is_followed),
		test_case(without_rows_there_is_the_head),
	};
	return test_run(tests);
}
