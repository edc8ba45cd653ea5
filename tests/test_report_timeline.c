/*
 * Timelines with a known story, as the agent writes them, and what is told of them; then foreign ones.
 */
#include "report/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/timeline.h"
#include "archive/archive.h"
#include "archive/snapshot.h"
#include "report/report.h"
#include "tests/archives.h"

#define SECOND INT64_C(1000000000)
#define BOOT (1000 * SECOND)
#define WALL (INT64_C(1795179907) * SECOND)

/* What a made-up service did in second s of n: fills what it likes. */
typedef void story(int s, int n, double values[GD_METRICS]);

static struct gd_buf told(story *tell, int n)
{
	struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	struct gd_timeline *t = NULL;
	assert_ok(gd_timeline_create(&t, &err), &err);
	for (int s = 0; s < n; s++) {
		double values[GD_METRICS];
		struct gd_clock at = { .monotonic_ns = BOOT + s * SECOND,
			               .realtime_ns = WALL + s * SECOND };
		for (unsigned i = 0; i < GD_METRICS; i++)
			values[i] = (double)NAN;
		tell(s, n, values);
		gd_timeline_add(t, &at, values);
	}
	gd_timeline_put(t, &text);
	gd_timeline_destroy(t);
	assert_ok(gd_buf_check(&text, "timeline", &err), &err);
	return text;
}

/* What was found in it; until the next call. */
static const struct gd_timeline_moves *find(story *tell, int n, const char *reason)
{
	static struct gd_timeline_moves moves;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = told(tell, n);
	assert_ok(gd_timeline_moves_find(text.data, text.len, BOOT + n * SECOND, reason, &moves,
	                                 &err), &err);
	return &moves;
}

static const struct gd_timeline_move *move_of(const struct gd_timeline_moves *moves,
                                              const char *name)
{
	for (size_t i = 0; i < moves->n; i++)
		if (strcmp(moves->list[i].name, name) == 0)
			return &moves->list[i];
	return NULL;
}

/* Requests get slow and goroutines pile up 34 s before the end; everything else wavers. */
static void tell_slow(int s, int n, double v[GD_METRICS])
{
	bool slow = s >= n - 34;
	double noise = (s * 37 % 11 - 5) / 100.0;
	v[GD_METRIC_CPU] = 0.3 + noise;
	v[GD_METRIC_RSS] = 1e9 * (1 + noise / 4);
	v[GD_METRIC_THREADS] = 20 + s % 3;
	v[GD_METRIC_GO_GOROUTINES] = slow ? 210 + 282 * (s - (n - 34)) : 210 + s % 7;
	v[GD_METRIC_GO_GOROUTINES_GROWTH] = slow ? 160 : 0.1;
	v[GD_METRIC_GO_HEAP_LIVE] = 4e8 * (1 + (s % 10) / 10.0);
	v[GD_METRIC_GO_HEAP_GOAL] = 8e8;
	v[GD_METRIC_GO_GC_PAUSE_P99] = 150e-6;
	v[GD_METRIC_HTTP_P99] = slow ? 0.84 : 0.012 + noise / 100;
}

static void what_moved_most_comes_first(void **state)
{
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_slow, 600, "service: alert Slow");
	assert_int_equal(moves->samples, 600);
	assert_int_equal(moves->span_ns, 600 * SECOND);
	assert_int_equal(moves->n, 2);
	const struct gd_timeline_move *http = &moves->list[0];
	assert_string_equal(http->name, "http_p99");
	assert_int_equal(http->unit, GD_TIMELINE_IN_SECONDS);
	assert_true(http->moved && !http->named);
	assert_true(fabs(http->before - 0.012) < 0.0005 && fabs(http->now - 0.84) < 0.001);
	assert_int_equal(http->since_ns, 34 * SECOND);
	const struct gd_timeline_move *goroutines = &moves->list[1];
	assert_string_equal(goroutines->name, "go_goroutines");
	assert_true(goroutines->before >= 210 && goroutines->before <= 217);
	assert_true(goroutines->now > 8800 && goroutines->now < 9800);
	/* A quarter of the way. */
	assert_true(goroutines->since_ns > 20 * SECOND && goroutines->since_ns < 30 * SECOND);
}

static void a_calm_process_has_no_story(void **state)
{
	(void)state;
	/* Only what came before the trouble. */
	GD_BUF struct gd_buf text = told(tell_slow, 600);
	struct gd_timeline_moves moves = { 0 };
	struct gd_error err = { 0 };
	size_t n = 0;
	for (int line = 0; line < 400; line++)
		n = (size_t)((const char *)memchr(text.data + n, '\n', text.len - n) - text.data) + 1;
	assert_ok(gd_timeline_moves_find(text.data, n, 0, NULL, &moves, &err), &err);
	assert_int_equal(moves.n, 0);
	assert_int_equal(moves.span_ns, 398 * SECOND);
}

static void what_the_trigger_names_is_shown_moved_or_not(void **state)
{
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_slow, 600, "go_gc_pause_p99 71 ms above 50 ms");
	assert_int_equal(moves->n, 3);
	assert_string_equal(moves->list[0].name, "go_gc_pause_p99");
	assert_true(moves->list[0].named && !moves->list[0].moved);
	assert_int_equal(moves->list[0].since_ns, -1);
	assert_string_equal(moves->list[1].name, "http_p99");
	/* Names are words: this is about growth only. */
	moves = find(tell_slow, 600, "go_goroutines_growth 160/s above 100/s");
	assert_string_equal(moves->list[0].name, "go_goroutines_growth");
	assert_true(moves->list[0].named && moves->list[0].moved);
	assert_null(move_of(moves, "go_goroutines"));
	moves = find(tell_slow, 600, "xhttp_p99 and cpus");
	assert_false(moves->list[0].named);
}

static void tell_spike(int s, int n, double v[GD_METRICS])
{
	v[GD_METRIC_CPU] = s == n - 100 || s == n - 20 ? 1 : 0.1;
	v[GD_METRIC_HTTP_P99] = s % 2 == 0 ? 0.2 : 0.01; /* it always did */
}

static void a_spike_or_what_always_wavers_did_not_move(void **state)
{
	(void)state;
	assert_int_equal(find(tell_spike, 600, "")->n, 0);
}

static void tell_falls(int s, int n, double v[GD_METRICS])
{
	v[GD_METRIC_GO_GOROUTINES] = s < n - 60 ? 5000 : 12;
	v[GD_METRIC_GO_GOROUTINES_GROWTH] = s < n - 60 ? 0 : -83;
	v[GD_METRIC_PSI_CPU_SOME] = s < n - 60 ? 0.01 : 0.6;
	v[GD_METRIC_PSI_CPU_FULL] = s < n - 60 ? 0.01 : 0.5;
	v[GD_METRIC_TIME_TO_LIMIT] = s < n - 60 ? (double)NAN : 30;
}

static void related_metrics_are_shown_once_and_falling_is_moving(void **state)
{
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_falls, 300, "");
	assert_int_equal(moves->n, 2);
	assert_non_null(move_of(moves, "go_goroutines"));
	const struct gd_timeline_move *psi = move_of(moves, "psi_cpu_some");
	assert_int_equal(psi != NULL ? psi->since_ns : -1, 60 * SECOND);
	/* Without earlier samples nothing can be said to have moved; named, it is shown. */
	moves = find(tell_falls, 300, "time_to_limit 30 s below 1 m");
	assert_string_equal(moves->list[0].name, "time_to_limit");
	assert_true(isnan(moves->list[0].before) && !moves->list[0].moved);
	assert_true(fabs(moves->list[0].now - 30) < 0.1);
}

static void tell_fills(int s, int n, double v[GD_METRICS])
{
	v[GD_METRIC_TIME_TO_LIMIT] = s < n - 50 ? (double)INFINITY : n - s;
}

static void endless_is_a_level_too(void **state)
{
	char text[GD_TIMELINE_TEXT];
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_fills, 300, "");
	assert_int_equal(moves->n, 1);
	assert_true(moves->list[0].before >= GD_TIMELINE_ENDLESS && moves->list[0].now <= 5);
	assert_int_equal(moves->list[0].since_ns, 50 * SECOND);
	assert_string_equal(gd_timeline_text(text, moves->list[0].unit, moves->list[0].before),
	                    "endless");
}

static void tell_recovers(int s, int n, double v[GD_METRICS])
{
	v[GD_METRIC_TIME_TO_LIMIT] = s < n - 60 ? 900 : 40000;
	v[GD_METRIC_FDS_OF_LIMIT] = s < n - 60 ? 0.9 : 0.1;
}

static void that_the_limit_is_farther_away_is_no_news(void **state)
{
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_recovers, 300, "");
	assert_int_equal(moves->n, 1);
	assert_string_equal(moves->list[0].name, "fds_of_limit");
}

static void tell_all(int s, int n, double v[GD_METRICS])
{
	for (unsigned i = 0; i < GD_METRICS; i++)
		v[i] = (s < n - 30 ? 1 : 2 + i) * 1e6;
}

static void no_more_than_a_few_are_shown(void **state)
{
	(void)state;
	const struct gd_timeline_moves *moves = find(tell_all, 300, "cpu 1 above 2, rss 3 above 2");
	assert_int_equal(moves->n, GD_TIMELINE_MOVES_MAX);
	assert_true(moves->list[0].named && moves->list[1].named);
	assert_false(moves->list[2].named || moves->list[3].named);
}

static void a_short_timeline_says_so(void **state)
{
	struct gd_timeline_moves moves = { 0 };
	struct gd_error err = { 0 };
	(void)state;
	GD_BUF struct gd_buf text = told(tell_slow, 5);
	assert_fails(gd_timeline_moves_find(text.data, text.len, 0, "", &moves, &err), -ENODATA,
	             &err);
	assert_fails(gd_timeline_moves_find("", 0, 0, "", &moves, &err), -EBADMSG, &err);
	assert_fails(gd_timeline_moves_find("{\"units\":7}", 11, 0, "", &moves, &err), -EBADMSG,
	             &err);
	/* Nothing but its first seconds: it is as it always was. */
	assert_int_equal(find(tell_slow, 30, "")->n, 1);
}

static void foreign_names_and_times_are_left_out(void **state)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_timeline_moves moves = { 0 };
	struct gd_error err = { 0 };
	(void)state;
	gd_buf_puts(&text, "{\"units\":{\"\\u001b[2J\":\"count\",\"a b\":\"count\",\"x\":\"parsec\","
	                   "\"new_metric\":\"bytes\",\"new_metric\":\"count\"}}\n");
	for (int i = 0; i < 40; i++)
		gd_buf_printf(&text, "{\"monotonic_ns\":%d,\"new_metric\":%s,\"a b\":%d,\"x\":[{}]}\n"
		              "{\"monotonic_ns\":3,\"new_metric\":77777777}\n"
		              "{\"monotonic_ns\":-5}\n{}\n", i + 10, i < 30 ? "1e308" : "5e6", i);
	assert_ok(gd_timeline_moves_find(gd_buf_str(&text), text.len, INT64_MAX, "", &moves, &err),
	          &err);
	assert_int_equal(moves.samples, 40);
	assert_int_equal(moves.span_ns, 39);
	assert_int_equal(moves.n, 1);
	assert_string_equal(moves.list[0].name, "new_metric");
	assert_int_equal(moves.list[0].unit, GD_TIMELINE_IN_BYTES);
	assert_true(moves.list[0].now == 5e6);
	/* More lines than there is room for: the newest count. */
	gd_buf_reset(&text);
	gd_buf_puts(&text, "{\"units\":{\"m\":\"count\"}}\n");
	for (int i = 1; i < 5000; i++)
		gd_buf_printf(&text, "{\"monotonic_ns\":%d,\"m\":1}\n", i);
	assert_ok(gd_timeline_moves_find(gd_buf_str(&text), text.len, 0, "", &moves, &err), &err);
	assert_int_equal(moves.span_ns, 4998);
	/* Cut off in the middle of a line. */
	assert_ok(gd_timeline_moves_find(text.data, text.len / 9, 0, "", &moves, &err), &err);
}

static void values_are_written_as_people_do(void **state)
{
	static const struct {
		enum gd_timeline_unit unit;
		double value;
		const char *text;
	} cases[] = {
		{ GD_TIMELINE_IN_SECONDS, 0.84, "840 ms" },
		{ GD_TIMELINE_IN_COUNT, 9800, "9,800" },
		{ GD_TIMELINE_IN_RATIO, 0.95, "95 %" },
		{ GD_TIMELINE_IN_RATIO, 12.5, "1250 %" },
		{ GD_TIMELINE_IN_BYTES, 1.5 * 1024 * 1024 * 1024, "1.5 GiB" },
		{ GD_TIMELINE_IN_PER_SECOND, 160, "160/s" },
		{ GD_TIMELINE_IN_PER_SECOND, -7, "-7/s" },
		{ GD_TIMELINE_IN_PER_SECOND, -1234, "-1,234/s" },
		{ GD_TIMELINE_IN_SECONDS, 1e30, "endless" },
		{ GD_TIMELINE_IN_COUNT, NAN, "-" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[GD_TIMELINE_TEXT];
		assert_string_equal(gd_timeline_text(text, cases[i].unit, cases[i].value),
		                    cases[i].text);
	}
}

static void bars_follow_the_values(void **state)
{
	struct gd_timeline_move move = { .unit = GD_TIMELINE_IN_COUNT };
	char spark[GD_TIMELINE_SPARK];
	(void)state;
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++)
		move.points[i] = i < 10 ? (double)NAN : i < 30 ? 1 : i < 35 ? 50 : 100;
	(void)gd_timeline_spark(spark, &move);
	assert_string_equal(spark, "          ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▄▄▄▄▄█████");
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++)
		move.points[i] = 1000 + (double)(i % 3);
	(void)gd_timeline_spark(spark, &move);
	assert_null(strstr(spark, "▂"));
}

/* --- through an archive --- */

static const char *trigger = "rule";

static char *shown(const struct gd_buf *timeline, bool json, unsigned width)
{
	static char *text;
	struct gd_error err = { 0 };
	struct gd_archive *archive = NULL;
	struct gd_snapshot snapshot = { .pid = 4711 };
	static char texts[4][16] = { "rule", "p99-latency", "service", "checkout" };
	struct gd_label labels[] = { { texts[0], texts[1] }, { texts[2], texts[3] } };
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_sealed sealed;
	size_t n = 0;
	assert_ok(gd_archive_create(test_dir(), "{}\n", 3, &archive, &err), &err);
	if (timeline != NULL) {
		struct gd_artifact artifact = { .name = "timeline.jsonl",
			                        .media_type = "application/jsonl",
			                        .collector = "watcher", .compress = true };
		assert_ok(gd_sink_put(gd_archive_sink(archive), &artifact, timeline->data,
		                      timeline->len, &GD_OUTCOME_COMPLETE, &err), &err);
	}
	(void)snprintf(snapshot.id, sizeof(snapshot.id), "20261120T130507Z-1");
	snapshot.started.realtime_ns = WALL + 600 * SECOND;
	snapshot.started.monotonic_ns = BOOT + 600 * SECOND;
	snapshot.comm = strdup("checkout");
	snapshot.trigger = strdup(trigger);
	snapshot.reason = strdup("http_p99 840 ms above 500 ms for 30 s\x1b[2J");
	snapshot.labels = labels;
	snapshot.n_labels = 2;
	assert_ok(gd_archive_seal(archive, &snapshot, "t.tar", &sealed, &err), &err);
	snapshot.labels = NULL;
	snapshot.n_labels = 0;
	gd_snapshot_deinit(&snapshot);
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	free(text);
	text = NULL;
	FILE *out = open_memstream(&text, &n);
	assert_non_null(out);
	if (json)
		assert_ok(gd_report_show_json(&reader, out, &err), &err);
	else
		assert_ok(gd_report_show(&reader, out, false, width, &err), &err);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(remove(sealed.path), 0);
	return text;
}

static void show_names_the_rule_and_what_moved(void **state)
{
	(void)state;
	GD_BUF struct gd_buf timeline = told(tell_slow, 600);
	assert_int_equal(setenv("LC_ALL", "C.UTF-8", 1), 0);
	const char *text = shown(&timeline, false, 0);
	assert_contains(text, "\nBEFORE THE TRIGGER  600 samples in 10 m 00 s\n"
	                      "  rule p99-latency of checkout: http_p99 840 ms above 500 ms "
	                      "for 30 s\\x1b[2J\n"
	                      "  http_p99              12 ms -> 840 ms         34 s before the capture\n"
	                      "  go_goroutines         213 -> ");
	assert_null(strstr(text, "█"));
	/* On a terminal. */
	text = shown(&timeline, false, 160);
	assert_contains(text, "34 s before the capture      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁███\n");
	assert_int_equal(setenv("LC_ALL", "C", 1), 0);
	assert_null(strstr(shown(&timeline, false, 160), "█"));
}

static void json_says_the_same(void **state)
{
	(void)state;
	GD_BUF struct gd_buf timeline = told(tell_slow, 600);
	json_error_t error;
	json_t *report = json_loads(shown(&timeline, true, 0), 0, &error);
	assert_non_null(report);
	json_t *before = json_object_get(report, "before_trigger");
	assert_int_equal(json_integer_value(json_object_get(before, "samples")), 600);
	json_t *first = json_array_get(json_object_get(before, "metrics"), 0);
	assert_string_equal(json_string_value(json_object_get(first, "metric")), "http_p99");
	assert_string_equal(json_string_value(json_object_get(first, "unit")), "seconds");
	assert_true(json_is_true(json_object_get(first, "named_by_trigger")));
	assert_int_equal(json_integer_value(json_object_get(first, "since_ns")), 34 * SECOND);
	assert_int_equal(json_array_size(json_object_get(first, "points")), GD_TIMELINE_POINTS);
	json_decref(report);
	report = json_loads(shown(NULL, true, 0), 0, &error);
	assert_true(json_is_null(json_object_get(report, "before_trigger")));
	json_decref(report);
}

static void without_a_story_show_says_why(void **state)
{
	(void)state;
	assert_null(strstr(shown(NULL, false, 0), "BEFORE THE TRIGGER"));
	GD_BUF struct gd_buf few = told(tell_slow, 3);
	trigger = "alert";
	assert_contains(shown(&few, false, 0), "BEFORE THE TRIGGER\n  alert, rule p99-latency of ");
	trigger = "rule";
	assert_contains(shown(&few, false, 0), "not watched for long enough");
	struct gd_buf junk = { .data = (char[]){ "junk" }, .len = 4 };
	assert_contains(shown(&junk, false, 0), "its timeline cannot be read");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_moved_most_comes_first),
		test_case(a_calm_process_has_no_story),
		test_case(what_the_trigger_names_is_shown_moved_or_not),
		test_case(a_spike_or_what_always_wavers_did_not_move),
		test_case(related_metrics_are_shown_once_and_falling_is_moving),
		test_case(endless_is_a_level_too),
		test_case(that_the_limit_is_farther_away_is_no_news),
		test_case(no_more_than_a_few_are_shown),
		test_case(a_short_timeline_says_so),
		test_case(foreign_names_and_times_are_left_out),
		test_case(values_are_written_as_people_do),
		test_case(bars_follow_the_values),
		test_case(show_names_the_rule_and_what_moved),
		test_case(json_says_the_same),
		test_case(without_a_story_show_says_why),
	};
	return test_run(tests);
}
