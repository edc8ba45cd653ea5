/*
 * Recorded metrics: what lines may look like, what is wrong with the others, and that whatever is
 * recorded fires as it fired.
 */
#include "policies/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policies/replay_line.h"
#include "tests/series.h"

#define TWO_SERVICES                                                                               \
	"services:\n"                                                                              \
	"  - { name: a, match: { comm: a } }\n"                                                    \
	"  - { name: b, match: { comm: b } }\n"
#define ONE_SERVICE                                                                                \
	"services:\n"                                                                              \
	"  - { name: a, match: { comm: a } }\n"
#define RULE                                                                                       \
	"rules:\n"                                                                                 \
	"  - { name: r, service: a, when: { metric: go_gc_pause_p99, above: 50ms }, for: 2s }\n"

static void note(void *arg, const struct gd_replay_firing *firing)
{
	gd_replay_put(firing, arg);
}

/* Replays a text and returns what was told; asserts that it is a good one. */
static const char *replayed(const char *yaml, const struct gd_replay_options *with,
                            const char *text, struct gd_replay_stats *stats)
{
	static struct gd_buf told;
	struct gd_replay_options options = with != NULL ? *with : (struct gd_replay_options){ 0 };
	struct gd_replay_stats own;
	struct gd_replay *replay;
	struct gd_error err = { 0 };
	options.policy = series_policy(yaml);
	gd_buf_deinit(&told);
	told = GD_BUF_INIT(1 << 20);
	GD_CLOSE int fd = open(test_file("metrics.jsonl", text, strlen(text)), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_ok(gd_replay_create(&options, note, &told, &replay, &err), &err);
	assert_ok(gd_replay_read(replay, fd, &err), &err);
	gd_replay_stats(replay, stats != NULL ? stats : &own);
	gd_replay_destroy(replay);
	return gd_buf_str(&told);
}

static void a_timeline_says_when_the_rule_would_have_fired(void **state)
{
	(void)state;
	struct gd_replay_stats stats;
	const char *told = replayed(
		ONE_SERVICE RULE, NULL,
		"{\"kind\":\"timeline\",\"version\":1,\"units\":{\"cpu\":\"ratio\"}}\n"
		"{\"t\":\"2026-11-20T13:05:07.123Z\",\"monotonic_ns\":1000,\"go_gc_pause_p99\":0.07}\n"
		"{\"t\":\"2026-11-20T13:05:08.123Z\",\"monotonic_ns\":1000001000,\"cpu\":0.5}\n"
		"\n"
		"{\"t\":\"2026-11-20T13:05:09.123Z\",\"monotonic_ns\":2000001000,"
		"\"go_gc_pause_p99\":0.071}\n",
		&stats);
	assert_string_equal(told, "2026-11-20T13:05:09.123000Z  line 5  r  a  admitted: "
	                          "go_gc_pause_p99 71 ms above 50 ms for 2 s\n");
	assert_int_equal(stats.lines, 5);
	assert_int_equal(stats.fired, 1);
	assert_int_equal(stats.verdicts[GD_VERDICT_ADMITTED], 1);
	assert_int_equal(stats.engine.samples, 3);
	assert_int_equal(stats.step_ns, 1000000000);
	assert_true(stats.last_realtime_ns - stats.first_realtime_ns == INT64_C(2000000000));
	series_end();
}

static void values_may_be_written_as_in_policies(void **state)
{
	(void)state;
	const char *told = replayed(ONE_SERVICE RULE, NULL,
	                            "{\"t\":1795203907,\"go_gc_pause_p99\":\"51ms\"}\n"
	                            "{\"t\":1795203908.5,\"go_gc_pause_p99\":null}\n"
	                            "{\"t\":1795203909,\"go_gc_pause_p99\":\"0.1s\"}",
	                            NULL);
	assert_contains(told, "2026-11-20T");
	assert_contains(told, "line 3  r  a  admitted: go_gc_pause_p99 100 ms above 50 ms for 2 s");
	told = replayed(ONE_SERVICE
	                "rules:\n"
	                "  - { name: r, service: a, when: { metric: time_to_limit, below: 5m }, for: 0, "
	                "clear: 10m, cooldown: 0 }\n",
	                NULL,
	                "{\"t\":1,\"time_to_limit\":60}\n"
	                "{\"t\":2,\"time_to_limit\":\"inf\"}\n"
	                "{\"t\":3,\"time_to_limit\":\"1m\"}\n",
	                NULL);
	assert_contains(told, "line 1  r");
	assert_contains(told, "line 3  r");
	series_end();
}

static void coarser_recordings_are_not_all_gaps(void **state)
{
	(void)state;
	/* Two processes, each every 15 s, in turn; then one is missing for a minute. */
	static const char text[] = "{\"t\":1000,\"pid\":1,\"go_gc_pause_p99\":1}\n"
				   "{\"t\":1002,\"pid\":2,\"go_gc_pause_p99\":1}\n"
				   "{\"t\":1015,\"pid\":1,\"go_gc_pause_p99\":1}\n"
				   "{\"t\":1017,\"pid\":2,\"go_gc_pause_p99\":0}\n"
				   "{\"t\":1032,\"pid\":2,\"go_gc_pause_p99\":1}\n"
				   "{\"t\":1080,\"pid\":2,\"go_gc_pause_p99\":1}\n"
				   "{\"t\":1094,\"pid\":2,\"go_gc_pause_p99\":1}\n";
	struct gd_replay_stats stats;
	const char *told = replayed(ONE_SERVICE RULE, NULL, text, &stats);
	assert_contains(told, "line 3  r  a  admitted");
	assert_contains(told, "line 7  r  a  admitted");
	assert_null(strstr(told, "line 6"));
	assert_int_equal(stats.engine.gaps, 1);
	assert_int_equal(stats.step_ns, 14000000000);
	/* Whoever knows better says so. */
	const struct gd_replay_options fine = { .interval_ns = 1000000000 };
	assert_string_equal(replayed(ONE_SERVICE RULE, &fine, text, &stats), "");
	assert_int_equal(stats.engine.gaps, 5);
	/* As does the head of a timeline: samples that are missing are missing. */
	char timeline[sizeof(text) + 64];
	(void)snprintf(timeline, sizeof(timeline), "{\"kind\":\"timeline\",\"version\":1}\n%s", text);
	assert_string_equal(replayed(ONE_SERVICE RULE, NULL, timeline, &stats), "");
	series_end();
}

static void a_bad_line_is_named_with_what_is_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *line, *why;
	} bad[] = {
		{ "{", "line 2: not JSON: column 1:" },
		{ "[]", "line 2: not a JSON object" },
		{ "7", "line 2: not JSON" },
		{ "{\"t\":1,\"t\":2}", "line 2: not JSON: column" },
		{ "{}", "line 2: no \"t\": when was that?" },
		{ "{\"cpu\":1}", "line 2: no \"t\"" },
		{ "{\"t\":\"yesterday\"}", "line 2: \"t\" is not a time such as" },
		{ "{\"t\":-1}", "line 2: \"t\" is not a time" },
		{ "{\"t\":1e300}", "line 2: \"t\" is not a time" },
		{ "{\"t\":1,\"cpuu\":1}", "line 2: neither a field nor a metric: unknown metric \"cpuu\"" },
		{ "{\"t\":1,\"cpu\":true}", "line 2: \"cpu\" is not a number, a text or null" },
		{ "{\"t\":1,\"cpu\":\"lots\"}", "line 2: \"cpu\": " },
		{ "{\"t\":1,\"monotonic_ns\":1.5}", "line 2: \"monotonic_ns\" is not a number of nanos" },
		{ "{\"t\":1,\"boottime_ns\":-5}", "line 2: \"boottime_ns\" is not a number of nanos" },
		{ "{\"t\":1,\"pid\":0}", "line 2: \"pid\" is not a pid" },
		{ "{\"t\":1,\"pid\":2147483648}", "line 2: \"pid\" is not a pid" },
		{ "{\"t\":1,\"start\":-1}", "line 2: \"start\" is not a start time" },
		{ "{\"t\":1,\"service\":\"c\"}", "line 2: the policy has no such service" },
		{ "{\"t\":1,\"service\":7}", "line 2: \"service\" is not a text" },
		{ "{\"t\":1,\"cpu\":1}", "line 2: which service? The policy has 2 of them" },
		{ "{\"t\":1,\"service\":\"b\",\"pid\":1,\"cpu\":1}",
		  "line 2: pid 1 was of another service before" },
		{ "{\"t\":1,\"event\":\"restarts\"}", "line 2: \"event\" is not one of gone, " },
		{ "{\"t\":1,\"event\":9}", "line 2: \"event\" is not a name" },
		{ "{\"t\":1,\"event\":\"oom\",\"alert\":\"x\"}", "line 2: \"event\" and \"alert\" in one" },
		{ "{\"t\":1,\"alert\":9}", "line 2: \"alert\" is not a text" },
		{ "{\"t\":1,\"alert\":\"x\",\"labels\":[]}", "line 2: \"labels\" is not an object" },
		{ "{\"t\":1,\"alert\":\"x\",\"labels\":{\"a\":1}}", "line 2: \"labels\" is not an object" },
		{ "{\"kind\":\"timeline\",\"version\":2}", "line 2: a timeline of a version that is not 1" },
		{ "{\"kind\":\"other\",\"version\":1}", "line 2: \"kind\" is not \"timeline\"" },
		{ "{\"t\":1,\"\\u001b[31m\":1}", "unknown metric \"\\x1b[31m\"" },
	};
	const struct gd_replay_options options = { .policy = series_policy(TWO_SERVICES RULE) };
	static const char good[] = "{\"t\":1,\"service\":\"a\",\"pid\":1,\"cpu\":1}";
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_replay *replay;
		struct gd_error err = { 0 };
		GD_BUF struct gd_buf told = GD_BUF_INIT(4096);
		assert_ok(gd_replay_create(&options, note, &told, &replay, &err), &err);
		assert_ok(gd_replay_line(replay, good, strlen(good), &err), &err);
		int r = gd_replay_line(replay, bad[i].line, strlen(bad[i].line), &err);
		assert_fails(r, -EBADMSG, &err);
		assert_contains(err.msg, bad[i].why);
		gd_replay_destroy(replay);
	}
	series_end();
}

static void a_line_without_end_is_refused(void **state)
{
	(void)state;
	const struct gd_replay_options options = { .policy = series_policy(ONE_SERVICE RULE) };
	struct gd_replay *replay;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf told = GD_BUF_INIT(4096);
	char *blanks = malloc(1 << 20);
	assert_non_null(blanks);
	memset(blanks, ' ', 1 << 20);
	assert_ok(gd_replay_create(&options, note, &told, &replay, &err), &err);
	GD_CLOSE int fd = open(test_file("long", blanks, 1 << 20), O_RDONLY | O_CLOEXEC);
	assert_fails(gd_replay_read(replay, fd, &err), -EBADMSG, &err);
	assert_string_equal(err.msg, "line 1: longer than 65536 bytes");
	gd_replay_destroy(replay);
	free(blanks);
	series_end();
}

static void times_are_rfc_3339(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-20T13:05:07Z", INT64_C(1795179907) * 1000000000 },
		{ "2026-11-20T13:05:07.1Z", INT64_C(1795179907) * 1000000000 + 100000000 },
		{ "2026-11-20T13:05:07.123456789Z", INT64_C(1795179907) * 1000000000 + 123456789 },
		{ "2026-11-20T13:05:07.1234567899Z", INT64_C(1795179907) * 1000000000 + 123456789 },
		{ "2026-11-20T14:35:07+01:30", INT64_C(1795179907) * 1000000000 },
		{ "2026-11-20T05:05:07-08:00", INT64_C(1795179907) * 1000000000 },
	};
	static const char *const bad[] = {
		"",
		"2026-11-20",
		"2026-11-20T13:05:07",
		"2026-11-20 13:05:07Z",
		"2026-13-20T13:05:07Z",
		"2026-11-20T24:05:07Z",
		"2026-11-20T13:05:07Zx",
		"2026-11-20T13:05:07+0100",
		"2026-11-20T13:05:07+25:00",
		"1969-12-31T23:59:59Z",
		"2115-01-01T00:00:00Z",
		"1970-01-01T00:30:00+01:00",
		"-026-11-20T13:05:07Z",
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ns = -1;
		if (!gd_replay_line_time(good[i].text, &ns) || ns != good[i].ns)
			fail_msg("%s became %" PRId64, good[i].text, ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ns = -1;
		if (gd_replay_line_time(bad[i], &ns) || ns != -1)
			fail_msg("%s was taken for a time", bad[i]);
	}
}

static void alerts_that_are_resolved_or_nobody_waits_for_are_counted(void **state)
{
	(void)state;
	struct gd_replay_stats stats;
	const char *told = replayed(
		TWO_SERVICES "rules:\n"
			     "  - { name: r, service: a, when: { alert: Slow, labels: { x: y } } }\n",
		NULL,
		"{\"t\":1,\"alert\":\"Slow\",\"labels\":{\"x\":\"y\"},\"fingerprint\":\"a1\","
		"\"starts_at\":\"t\"}\n"
		"{\"t\":2,\"alert\":\"Slow\",\"labels\":{\"x\":\"y\"},\"fingerprint\":\"a1\","
		"\"starts_at\":\"t\"}\n"
		"{\"t\":3,\"alert\":\"Slow\",\"labels\":{\"x\":\"y\"},\"status\":\"resolved\"}\n"
		"{\"t\":4,\"alert\":\"Slow\",\"labels\":{\"x\":\"z\"}}\n"
		"{\"t\":5,\"alert\":\"Fast\",\"labels\":{}}\n",
		&stats);
	assert_contains(told, "line 1  r  a  admitted: a: alert Slow");
	assert_contains(told, "line 2  r  a  duplicate: a: alert Slow; captured already 1 s ago");
	assert_int_equal(stats.fired, 2);
	assert_int_equal(stats.alerts_ignored, 3);
	series_end();
}

/* ---- the same as the agent, whatever happens ---- */

static const char everything[] =
	TWO_SERVICES
	"budget: { captures: 12/10m }\n"
	"rules:\n"
	"  - { name: cpu, service: a, when: { metric: cpu, above: 80% }, for: 3s, clear: 50%, "
	"clear_for: 2s, cooldown: 20s, limit: 20/1h, unless: { metric: rss, above: 1GiB } }\n"
	"  - { name: now, service: a, when: { metric: threads, above: 100 }, for: 0, cooldown: 5s }\n"
	"  - { name: low, service: b, when: { metric: time_to_limit, below: 5m }, for: 10s, "
	"cooldown: 0, dedup: 30s }\n"
	"  - { name: gone, service: a, when: { event: gone }, cooldown: 0 }\n"
	"  - { name: oom, service: b, when: { event: oom_kill }, cooldown: 1m, "
	"unless: { metric: cpu, above: 95% } }\n"
	"  - { name: storm, service: a, when: { event: restarts, count: 3, within: 30s }, sample: 1/2 }\n"
	"  - { name: alert, service: a, when: { alert: Slow, labels: { severity: page } }, "
	"cooldown: 0, limit: 30/1h }\n"
	"  - { name: base, service: b, when: { every: 1m, jitter: 20s }, profile: light }\n";

static double any_value(unsigned *seed)
{
	static const double values[] = { 0.1, 0.5, 0.6, 0.8, 0.9, 0.97, 1 };
	return values[(unsigned)rand_r(seed) % 7];
}

static void sample_all(double t, unsigned *seed)
{
	for (int pid = 100; pid < 106; pid++) {
		if (rand_r(seed) % 8 == 0)
			continue; /* no sample */
		const char *service = pid < 104 ? "a" : "b";
		bool calm = rand_r(seed) % 4 != 0;
		series_sample(t, pid, service, GD_METRIC_CPU,
		              calm ? 0.9 : rand_r(seed) % 3 == 0 ? NAN : any_value(seed));
		series_also(GD_METRIC_THREADS, rand_r(seed) % 20 == 0 ? 200 : 10);
		series_also(GD_METRIC_RSS, rand_r(seed) % 5 == 0 ? 2e9 : 1e6);
		series_also(GD_METRIC_TIME_TO_LIMIT, calm ? 100 : INFINITY);
	}
}

static void something_happens(double t, unsigned *seed)
{
	static const char *const fingerprints[] = { "f0", "f1", "f2", "f3" };
	switch (rand_r(seed) % 12) {
	case 0:
		series_event(t, 100 + rand_r(seed) % 4, "a", GD_EVENT_GONE);
		break;
	case 1:
		series_start(t, 100 + rand_r(seed) % 4, 1 + (unsigned)rand_r(seed) % 1000, "a");
		break;
	case 2:
		series_event(t, 104 + rand_r(seed) % 2, "b", GD_EVENT_OOM_KILL);
		break;
	case 3:
		series_alert(t, "Slow", rand_r(seed) % 3 == 0 ? "warn" : "page",
		             fingerprints[rand_r(seed) % 4], "t");
		break;
	case 4:
		series_set_clock((rand_r(seed) % 2000) - 1000);
		break;
	case 5:
		if (rand_r(seed) % 10 == 0)
			series_agent_start(t);
		break;
	default:
		break;
	}
}

static void whatever_happens_the_replay_tells_what_the_agent_did(void **state)
{
	(void)state;
	unsigned fired = 0;
	const struct gd_policy *policy = series_policy(everything);
	for (unsigned run = 0; run < 100; run++) {
		unsigned seed = run * 7919 + 1;
		double t = 0;
		series_begin();
		series_captures_take(run % 3 * 4, run % 2);
		for (int second = 0; second < 250; second++) {
			t += rand_r(&seed) % 40 == 0 ? rand_r(&seed) % 8 : 1;
			sample_all(t, &seed);
			something_happens(t, &seed);
		}
		for (const char *c = series_play(policy); *c != '\0'; c++)
			fired += *c == '\n';
	}
	print_message("100 series, %u firings\n", fired);
	assert_true(fired > 1000);
	series_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_timeline_says_when_the_rule_would_have_fired),
		test_case(values_may_be_written_as_in_policies),
		test_case(coarser_recordings_are_not_all_gaps),
		test_case(a_bad_line_is_named_with_what_is_wrong),
		test_case(a_line_without_end_is_refused),
		test_case(times_are_rfc_3339),
		test_case(alerts_that_are_resolved_or_nobody_waits_for_are_counted),
		test_case(whatever_happens_the_replay_tells_what_the_agent_did),
	};
	return test_run(tests);
}
