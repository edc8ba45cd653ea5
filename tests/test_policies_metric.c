#include "policies/metric.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "tests/test.h"

static void every_metric_has_a_name_of_its_own_and_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < GD_METRICS; i++) {
		enum gd_metric found = GD_METRICS;
		struct gd_error err = { 0 };
		assert_non_null(gd_metrics[i].name);
		assert_true(strlen(gd_metrics[i].summary) > 5);
		assert_ok(gd_metric_find(gd_metrics[i].name, &found, &err), &err);
		assert_int_equal(found, i);
	}
}

static void metrics_of_the_runtime_say_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < GD_METRICS; i++)
		assert_int_equal(gd_metrics[i].source == GD_SOURCE_GO,
		                 strncmp(gd_metrics[i].name, "go_", 3) == 0);
	assert_int_equal(gd_metrics[GD_METRIC_HTTP_P99].source, GD_SOURCE_HTTP);
}

static void the_manual_names_every_metric(void **state)
{
	(void)state;
	GD_BUF struct gd_buf page = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, "docs/godiag-policy.5", &page, &err), &err);
	const char *metrics = strstr(gd_buf_str(&page), ".SH METRICS");
	assert_non_null(metrics);
	for (size_t i = 0; i < GD_METRICS; i++)
		assert_contains(metrics, gd_metrics[i].name);
}

static void the_nearest_name_is_suggested(void **state)
{
	(void)state;
	static const struct {
		const char *wrong, *right;
	} words[] = {
		{ "gc_pause_p99", "go_gc_pause_p99" },     { "go_gc_pause_p9", "go_gc_pause_p99" },
		{ "go-goroutines", "go_goroutines" },      { "RSS", "rss" },
		{ "memory_of_limt", "memory_of_limit" },   { "psi_memory_fll", "psi_memory_full" },
		{ "time_too_limit", "time_to_limit" },     { "htpt_p99", "http_p99" },
		{ "go_gorountines_growth", "go_goroutines_growth" }, { "cpus", "cpu" },
		{ "fds_of_limits", "fds_of_limit" },       { "sched_latency_p99", "go_sched_latency_p99" },
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		enum gd_metric metric = GD_METRICS;
		char wanted[80];
		struct gd_error err = { 0 };
		assert_fails(gd_metric_find(words[i].wrong, &metric, &err), -ENOENT, &err);
		(void)snprintf(wanted, sizeof(wanted), "did you mean \"%s\"?", words[i].right);
		assert_contains(err.msg, wanted);
		assert_int_equal(metric, GD_METRICS);
	}
}

static void what_is_near_to_nothing_is_not_guessed(void **state)
{
	(void)state;
	static const char *const words[] = {
		"", "latency", "xyzzy",
		("a metric with a very long name that goes on and on and on and on and on and on"),
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		enum gd_metric metric;
		struct gd_error err = { 0 };
		assert_fails(gd_metric_find(words[i], &metric, &err), -ENOENT, &err);
		assert_contains(err.msg, "godiag-policy(5)");
	}
}

static void levels_are_read_in_the_metrics_unit(void **state)
{
	(void)state;
	static const struct {
		enum gd_metric metric;
		const char *text;
		double level;
	} good[] = {
		{ GD_METRIC_CPU, "95%", 0.95 },
		{ GD_METRIC_CPU, "95 %", 0.95 },
		{ GD_METRIC_CPU, "0.95", 0.95 },
		{ GD_METRIC_CPU, "0", 0 },
		{ GD_METRIC_CPU, "1", 1 },
		{ GD_METRIC_CPU, "12.5%", 0.125 },
		{ GD_METRIC_GO_HEAP_OF_GOAL, "110%", 1.1 },
		{ GD_METRIC_RSS, "512MiB", 536870912 },
		{ GD_METRIC_RSS, "1.5 GiB", 1610612736 },
		{ GD_METRIC_GO_HEAP_LIVE, "4096", 4096 },
		{ GD_METRIC_GO_GC_PAUSE_P99, "50ms", 0.05 },
		{ GD_METRIC_GO_GC_PAUSE_P99, "1m30s", 90 },
		{ GD_METRIC_TIME_TO_LIMIT, "0", 0 },
		{ GD_METRIC_GO_GOROUTINES, "10000", 10000 },
		{ GD_METRIC_THREADS, "999999999999999", 999999999999999 },
		{ GD_METRIC_MAJOR_FAULTS, "100/s", 100 },
		{ GD_METRIC_MAJOR_FAULTS, "100", 100 },
		{ GD_METRIC_GO_GOROUTINES_GROWTH, "0.5/s", 0.5 },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		double level = -1;
		struct gd_error err = { 0 };
		assert_ok(gd_metric_parse_level(good[i].metric, good[i].text, &level, &err), &err);
		if (fabs(level - good[i].level) > 1e-9)
			fail_msg("%s became %f", good[i].text, level);
	}
}

static void a_level_in_another_unit_says_what_was_expected(void **state)
{
	(void)state;
	static const struct {
		enum gd_metric metric;
		const char *text, *says;
	} bad[] = {
		{ GD_METRIC_CPU, "95", "did you mean 95%?" },
		{ GD_METRIC_CPU, "50ms", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "%", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "95%%", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "-5%", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "1e1%", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "nan", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "0x10", "write 95% or 0.95" },
		{ GD_METRIC_CPU, ".5", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "5.", "write 95% or 0.95" },
		{ GD_METRIC_CPU, "1000000000000000000%", "write 95% or 0.95" },
		{ GD_METRIC_RSS, "95%", "such as 5GiB" },
		{ GD_METRIC_RSS, "512mb", "such as 5GiB" },
		{ GD_METRIC_RSS, "9999999999GiB", "more than 8 EiB" },
		{ GD_METRIC_GO_GC_PAUSE_P99, "50", "such as 250ms" },
		{ GD_METRIC_GO_GC_PAUSE_P99, "50MiB", "such as 250ms" },
		{ GD_METRIC_GO_GC_PAUSE_P99, "400000d", "longer than 292 years" },
		{ GD_METRIC_GO_GOROUTINES, "10k", "write 10000" },
		{ GD_METRIC_GO_GOROUTINES, "1.5", "write 10000" },
		{ GD_METRIC_GO_GOROUTINES, "1e4", "write 10000" },
		{ GD_METRIC_MAJOR_FAULTS, "100/m", "write 100/s" },
		{ GD_METRIC_MAJOR_FAULTS, "100 per second", "write 100/s" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		double level = -1;
		struct gd_error err = { 0 };
		assert_fails(gd_metric_parse_level(bad[i].metric, bad[i].text, &level, &err),
		             -EINVAL, &err);
		assert_contains(err.msg, bad[i].says);
		assert_true(level == -1);
	}
}

static void values_are_written_for_people(void **state)
{
	(void)state;
	static const struct {
		enum gd_metric metric;
		double value;
		const char *text;
	} values[] = {
		{ GD_METRIC_CPU, 0.95, "95 %" },
		{ GD_METRIC_CPU, 0.0123, "1.23 %" },
		{ GD_METRIC_GO_HEAP_OF_GOAL, 123.456, "12346 %" },
		{ GD_METRIC_RSS, 1395864371, "1.3 GiB" },
		{ GD_METRIC_GO_GC_PAUSE_P99, 0.071, "71 ms" },
		{ GD_METRIC_TIME_TO_LIMIT, 90, "1 m 30 s" },
		{ GD_METRIC_TIME_TO_LIMIT, (double)INFINITY, "endless" },
		{ GD_METRIC_GO_GOROUTINES, 10000, "10000" },
		{ GD_METRIC_GO_GOROUTINES_GROWTH, 12, "12/s" },
		{ GD_METRIC_GO_GOROUTINES_GROWTH, -0.25, "-0.25/s" },
		{ GD_METRIC_MAJOR_FAULTS, 123456, "123456/s" },
		{ GD_METRIC_CPU, (double)NAN, "-" },
	};
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		char text[GD_METRIC_TEXT];
		assert_string_equal(gd_metric_text(text, values[i].metric, values[i].value),
		                    values[i].text);
	}
}

static void no_value_is_too_long_for_its_text(void **state)
{
	(void)state;
	static const double values[] = { 0, -0.0, 1e-300, -1e300, 1e300, 1.7e308, 9.2e18, -9.3e18,
		                         18446744073709551616.0, 999.9999, 99.999, (double)-INFINITY };
	for (size_t m = 0; m < GD_METRICS; m++) {
		for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
			char text[GD_METRIC_TEXT + 8];
			memset(text, 'x', sizeof(text));
			(void)gd_metric_text(text, (enum gd_metric)m, values[i]);
			assert_non_null(memchr(text, '\0', GD_METRIC_TEXT));
			assert_int_equal(text[GD_METRIC_TEXT], 'x');
			assert_true(strlen(text) + 1 < GD_METRIC_TEXT);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_metric_has_a_name_of_its_own_and_words),
		test_case(metrics_of_the_runtime_say_so),
		test_case(the_manual_names_every_metric),
		test_case(the_nearest_name_is_suggested),
		test_case(what_is_near_to_nothing_is_not_guessed),
		test_case(levels_are_read_in_the_metrics_unit),
		test_case(a_level_in_another_unit_says_what_was_expected),
		test_case(values_are_written_for_people),
		test_case(no_value_is_too_long_for_its_text),
	};
	return test_run(tests);
}
