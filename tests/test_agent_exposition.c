/*
 * What services write, whole and in pieces; then what none would.
 */
#include "agent/exposition.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

static struct gd_exposition e;

static int read_text(const char *histogram, const char *text, struct gd_error *err)
{
	assert_ok(gd_exposition_begin(&e, histogram, err), err);
	gd_exposition_feed(&e, text, strlen(text));
	return gd_exposition_end(&e, err);
}

/* As client_golang writes it, with neighbours. */
static const char service[] =
	"# HELP http_request_duration_seconds How long requests took, \"all\" of them\\n.\n"
	"# TYPE http_request_duration_seconds histogram\n"
	"http_request_duration_seconds_bucket{code=\"200\",path=\"/a\",le=\"0.1\"} 90\n"
	"http_request_duration_seconds_bucket{code=\"200\",path=\"/a\",le=\"0.5\"} 95\n"
	"http_request_duration_seconds_bucket{code=\"200\",path=\"/a\",le=\"+Inf\"} 100\n"
	"http_request_duration_seconds_sum{code=\"200\",path=\"/a\"} 12.5\n"
	"http_request_duration_seconds_count{code=\"200\",path=\"/a\"} 100\n"
	"http_request_duration_seconds_bucket{code=\"500\",path=\"/} le=\\\"9\\\" \\\\\",le=\"0.1\"} 10\n"
	"http_request_duration_seconds_bucket{code=\"500\",path=\"/} le=\\\"9\\\" \\\\\",le=\"0.5\"} 15\n"
	"http_request_duration_seconds_bucket{code=\"500\",path=\"/} le=\\\"9\\\" \\\\\",le=\"+Inf\"} 20\n"
	"http_request_duration_seconds_bucket_total{le=\"7\"} 999\n"
	"other_bucket{le=\"0.1\"} 999\n"
	"go_goroutines 12\n";

static void check_service(void)
{
	assert_int_equal(e.buckets.n, 3);
	assert_true(e.buckets.list[0].le == 0.1 && e.buckets.list[0].count == 100);
	assert_true(e.buckets.list[1].le == 0.5 && e.buckets.list[1].count == 110);
	assert_true(isinf(e.buckets.list[2].le) && e.buckets.list[2].count == 120);
	assert_int_equal(e.bad, 0);
}

static void series_of_one_histogram_are_added_up(void **state)
{
	struct gd_error err = { 0 };
	(void)state;
	assert_ok(read_text("http_request_duration_seconds", service, &err), &err);
	check_service();
}

#define BUCKET \
	"http_request_duration_seconds_bucket{code=\"200\",path=\"/odd\\\"\\\\{le=\\\"9\\\"}\",le="

/* One series of what client_golang 1.20.5 answers to who takes OpenMetrics, word by word. */
static const char client_golang[] =
	"go_gc_duration_seconds{quantile=\"0.5\"} 0.0\n"
	"# HELP go_threads Number of OS threads created.\n"
	"# TYPE go_threads gauge\n"
	"go_threads 6.0\n"
	"# TYPE http_request_duration_seconds histogram\n"
	BUCKET "\"0.005\"} 0\n"
	BUCKET "\"0.01\"} 0\n"
	BUCKET "\"0.025\"} 50"
	" # {trace_id=\"c6\"} 0.02 1.7952044535921369e+09\n"
	BUCKET "\"0.05\"} 50\n"
	BUCKET "\"0.1\"} 50\n"
	BUCKET "\"0.25\"} 50\n"
	BUCKET "\"0.5\"} 50\n"
	BUCKET "\"1.0\"} 50\n"
	BUCKET "\"2.5\"} 50\n"
	BUCKET "\"5.0\"} 50\n"
	BUCKET "\"10.0\"} 50\n"
	BUCKET "\"+Inf\"} 50\n"
	"http_request_duration_seconds_count{code=\"200\",path=\"/odd\\\"\\\\{le=\\\"9\\\"}\"} 50\n"
	"# EOF\n";

static void exemplars_and_odd_labels_of_a_real_service_are_read(void **state)
{
	struct gd_error err = { 0 };
	(void)state;
	assert_ok(read_text("http_request_duration_seconds", client_golang, &err), &err);
	assert_int_equal(e.bad, 0);
	assert_int_equal(e.buckets.n, 12);
	assert_true(e.buckets.list[0].le == 0.005 && e.buckets.list[0].count == 0);
	assert_true(e.buckets.list[2].le == 0.025 && e.buckets.list[2].count == 50);
	assert_true(isinf(e.buckets.list[11].le) && e.buckets.list[11].count == 50);
	double p99 = gd_exposition_quantile(&e.buckets, 0.99);
	assert_true(p99 > 0.024 && p99 <= 0.025);
}

static void it_does_not_matter_where_pieces_end(void **state)
{
	struct gd_error err = { 0 };
	size_t n = sizeof(service) - 1;
	(void)state;
	for (size_t step = 1; step < 200; step += step < 10 ? 1 : 37) {
		assert_ok(gd_exposition_begin(&e, "http_request_duration_seconds", &err), &err);
		for (size_t at = 0; at < n; at += step)
			gd_exposition_feed(&e, service + at, n - at < step ? n - at : step);
		assert_ok(gd_exposition_end(&e, &err), &err);
		check_service();
	}
}

static void all_forms_of_a_line_are_read(void **state)
{
	static const char *const lines[] = {
		"d_bucket{le=\"+Inf\"} 7\n",
		"d_bucket{le=\"+Inf\"} 7",
		"d_bucket{le=\"+Inf\"} 7\r\n",
		"d_bucket{le=\"+Inf\",} 7\n",
		"d_bucket{ a = \"x\" , le = \"+Inf\" , } 7\n",
		"d_bucket {le=\"+Inf\"}\t7\n",
		"d_bucket{le=\"+Inf\"} 7 1700000000000\n",
		"d_bucket{le=\"+Inf\"} 7.0 # {trace_id=\"4bf9\"} 0.67 1.7e9\n",
		"d_bucket{le=\"+Inf\"}7\n",
		"d_bucket{le=\"Inf\"} 7e0\n",
		"{\"d_bucket\",le=\"+Inf\"} 7\n",
		"{ \"d_bucket\" , le=\"+Inf\"} 7\n",
		"{le=\"+Inf\",\"d_bucket\"} 7\n",
		"d_bucket{\"quoted.label\"=\"v\",le=\"+Inf\"} 7\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct gd_error err = { 0 };
		if (read_text("d", lines[i], &err) < 0 || e.buckets.n != 1 ||
		    e.buckets.list[0].count != 7)
			fail_msg("%s (%s)", lines[i], err.msg);
	}
}

static void what_is_not_a_bucket_is_counted_and_left_out(void **state)
{
	static const char *const lines[] = {
		"d_bucket{le=\"+Inf\" 7\n",
		"d_bucket{le=\"+Inf\"} \n",
		"d_bucket{le=\"+Inf\"} -1\n",
		"d_bucket{le=\"+Inf\"} NaN\n",
		"d_bucket{le=\"+Inf\"} 0x7\n",
		"d_bucket{le=\"+Inf\"} 7x\n",
		"d_bucket{le=\"NaN\"} 7\n",
		"d_bucket{le=\"\"} 7\n",
		"d_bucket{le=\"1} 7\n",
		"d_bucket{le=1} 7\n",
		"d_bucket{=\"1\"} 7\n",
		"d_bucket{} 7\n",
		"d_bucket{le=\"1\" b=\"2\"} 7\n",
		"d_bucket{",
		"d_bucket{le=\"1\\",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct gd_error err = { 0 };
		if (read_text("d", lines[i], &err) != -EBADMSG || e.bad != 1)
			fail_msg("%s (%s)", lines[i], err.msg);
	}
}

static void a_histogram_that_is_not_there_is_enoent(void **state)
{
	struct gd_error err = { 0 };
	(void)state;
	assert_fails(read_text("grpc_seconds", service, &err), -ENOENT, &err);
	assert_contains(err.msg, "grpc_seconds_bucket");
	assert_fails(read_text("d", "", &err), -ENOENT, &err);
	assert_fails(read_text("d", "d_bucket 5\nd_bucket_x{le=\"1\"} 4\n", &err), -ENOENT, &err);
	assert_fails(read_text("d", "d_bucket{le=\"1\"} 5\n", &err), -EBADMSG, &err);
	assert_contains(err.msg, "+Inf");
	assert_fails(gd_exposition_begin(&e, "", &err), -EINVAL, &err);
	assert_fails(gd_exposition_begin(&e, "a{b=\"c\"}", &err), -EINVAL, &err);
}

static void milliseconds_become_seconds(void **state)
{
	struct gd_error err = { 0 };
	(void)state;
	assert_ok(read_text("rpc_duration_milliseconds",
	                    "rpc_duration_milliseconds_bucket{le=\"250\"} 5\n"
	                    "rpc_duration_milliseconds_bucket{le=\"+Inf\"} 5\n", &err), &err);
	assert_true(fabs(e.buckets.list[0].le - 0.25) < 1e-12);
	assert_true(isinf(e.buckets.list[1].le));
}

static void an_endless_line_is_passed_over(void **state)
{
	static char line[3 * GD_EXPOSITION_LINE_MAX];
	struct gd_error err = { 0 };
	(void)state;
	memset(line, 'd', sizeof(line));
	memcpy(line, "d_bucket{a=\"", 12);
	assert_ok(gd_exposition_begin(&e, "d", &err), &err);
	for (unsigned i = 0; i < 100; i++)
		gd_exposition_feed(&e, line, sizeof(line));
	gd_exposition_feed(&e, "\nd_bucket{le=\"+Inf\"} 3\n", 24);
	assert_ok(gd_exposition_end(&e, &err), &err);
	assert_true(e.buckets.n == 1 && e.buckets.list[0].count == 3);
}

static void too_many_bounds_are_refused(void **state)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	(void)state;
	for (unsigned i = 0; i <= GD_EXPOSITION_BUCKETS_MAX; i++)
		gd_buf_printf(&text, "d_bucket{le=\"%u\"} 1\n", i);
	assert_fails(read_text("d", gd_buf_str(&text), &err), -E2BIG, &err);
}

static const struct gd_exposition_buckets four = {
	.n = 4,
	.list = { { 0.1, 50 }, { 0.5, 90 }, { 1, 100 }, { INFINITY, 100 } },
};

static void quantiles_are_those_of_prometheus(void **state)
{
	(void)state;
	assert_true(fabs(gd_exposition_quantile(&four, 0.99) - 0.95) < 1e-9);
	assert_true(fabs(gd_exposition_quantile(&four, 0.25) - 0.05) < 1e-9);
	assert_true(fabs(gd_exposition_quantile(&four, 0.7) - 0.3) < 1e-9);
	/* Beyond the last bound nothing is known. */
	struct gd_exposition_buckets slow = four;
	slow.list[3].count = 200;
	assert_true(gd_exposition_quantile(&slow, 0.99) == 1);
	slow.list[3].count = 0;
	assert_true(isnan(gd_exposition_quantile(&slow, 0.99)));
	slow = (struct gd_exposition_buckets){ .n = 1, .list = { { INFINITY, 5 } } };
	assert_true(isnan(gd_exposition_quantile(&slow, 0.99)));
	slow.n = 0;
	assert_true(isnan(gd_exposition_quantile(&slow, 0.99)));
}

static void only_what_came_in_between_counts(void **state)
{
	static struct gd_exposition_buckets now, delta;
	(void)state;
	now = four;
	for (size_t i = 0; i < 4; i++)
		now.list[i].count += i > 1 ? 10 : 0;
	assert_true(gd_exposition_delta(&now, &four, &delta));
	assert_true(delta.list[3].count == 10 && delta.list[1].count == 0);
	double p99 = gd_exposition_quantile(&delta, 0.99);
	assert_true(p99 > 0.99 && p99 <= 1);
	/* Restarted; other bounds. */
	assert_false(gd_exposition_delta(&four, &now, &delta));
	now = four;
	now.list[0].le = 0.2;
	assert_false(gd_exposition_delta(&now, &four, &delta));
	now.n = 3;
	assert_false(gd_exposition_delta(&now, &four, &delta));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(series_of_one_histogram_are_added_up),
		test_case(exemplars_and_odd_labels_of_a_real_service_are_read),
		test_case(it_does_not_matter_where_pieces_end),
		test_case(all_forms_of_a_line_are_read),
		test_case(what_is_not_a_bucket_is_counted_and_left_out),
		test_case(a_histogram_that_is_not_there_is_enoent),
		test_case(milliseconds_become_seconds),
		test_case(an_endless_line_is_passed_over),
		test_case(too_many_bounds_are_refused),
		test_case(quantiles_are_those_of_prometheus),
		test_case(only_what_came_in_between_counts),
	};
	return test_run(tests);
}
