/*
 * When rules fire.  Every series here is fed to the engine as the agent feeds it and replayed from
 * JSON lines as well; tests/series.c asserts that both say the same.
 */
#include "policies/engine.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/series.h"

#define YAML_MAX 8192

/* What people write for half the level, and for the level. */
static const char *const levels[][2] = {
	[GD_UNIT_RATIO] = { "25%", "50%" },
	[GD_UNIT_BYTES] = { "256MiB", "512MiB" },
	[GD_UNIT_SECONDS] = { "25ms", "50ms" },
	[GD_UNIT_COUNT] = { "500", "1000" },
	[GD_UNIT_PER_SECOND] = { "50/s", "100/s" },
};

static const struct gd_policy *policy_of(enum gd_metric metric, bool below, const char *keys)
{
	char yaml[YAML_MAX];
	const char *const *level = levels[gd_metrics[metric].unit];
	(void)snprintf(yaml, sizeof(yaml),
	               "services:\n"
	               "  - name: s\n"
	               "    match: { comm: s }\n"
	               "    scrape: http://127.0.0.1:9100/metrics\n"
	               "rules:\n"
	               "  - name: r\n"
	               "    service: s\n"
	               "    when: { metric: %s, %s: %s }\n"
	               "    clear: %s\n"
	               "    cooldown: 0\n"
	               "    limit: 1000/24h\n"
	               "    %s\n"
	               "budget: { captures: 100000/1h }\n",
	               gd_metrics[metric].name, below ? "below" : "above", level[!below],
	               level[below], keys);
	return series_policy(yaml);
}

/* Seconds at which the rule of the policy fired. */
static const char *times(const struct gd_policy *policy)
{
	static char to[1024];
	size_t n = 0;
	to[0] = '\0';
	for (const char *line = series_play(policy); *line != '\0';
	     line += strcspn(line, "\n") + 1) {
		n += (size_t)snprintf(to + n, sizeof(to) - n, "%s%.*s", n > 0 ? " " : "",
		                      (int)strcspn(line, " "), line);
		assert_true(n < sizeof(to));
	}
	return to;
}

struct row {
	const char *row, *fires;
};

static void check_rows(const char *keys, const struct row *rows, size_t n)
{
	for (unsigned m = 0; m < GD_METRICS; m++) {
		for (int below = 0; below < 2; below++) {
			const struct gd_policy *policy = policy_of((enum gd_metric)m, below, keys);
			for (size_t i = 0; i < n; i++) {
				series_begin();
				series_row(0, 100, &policy->rules[0], rows[i].row);
				const char *fired = times(policy);
				if (strcmp(fired, rows[i].fires) != 0)
					fail_msg("%s %s, %s, %s: fires at \"%s\", not at \"%s\"",
					         gd_metrics[m].name, below ? "below" : "above", keys,
					         rows[i].row, fired, rows[i].fires);
			}
		}
	}
	series_end();
}
#define ROWS(keys, rows) check_rows(keys, rows, sizeof(rows) / sizeof((rows)[0]))

static void every_metric_fires_at_once_without_for(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "LLHLL", "2" },
		{ "H", "0" },
		{ "HHHHHH", "0" },      /* once */
		{ "HMHMMH", "0" },      /* never clear */
		{ "HLHLH", "0 2 4" },
		{ "HCH", "0 2" },       /* at the clear level is clear */
		{ "EEEE", "" },         /* at the level is not above it */
		{ "H-H--H", "0" },      /* no value clears nothing */
		{ "---H", "3" },
		{ "----", "" },
		{ "H.....H", "0" },     /* a gap clears nothing either */
		{ "H.....LH", "0 7" },
	};
	ROWS("for: 0", rows);
}

static void every_metric_has_to_hold_on_every_sample(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "HHHHH", "" },
		{ "HHHHHH", "5" },
		{ "HHHHHHHHHHHHHHHHH", "5" },
		{ "HHHHHLHHHHHH", "11" },
		{ "HHHMHHHHHH", "9" },
		{ "HHHEHHHHHH", "9" },
		{ "HHHCHHHHHH", "9" },
		{ "HHHHHEHHHHH", "" },
	};
	ROWS("for: 5s", rows);
}

static void a_sample_without_a_value_neither_holds_nor_breaks(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "HHH-HH", "5" },
		{ "HHHHH-H", "6" },        /* only a value fires */
		{ "HHHHH--H", "7" },
		{ "-HHHHHH", "6" },        /* the row begins with a value */
		{ "HHH--HHH", "5" },
		{ "HHH---HHHHHH", "11" },  /* more than three intervals: another row */
		{ "H-H-H-H", "6" },
		{ "H--H--H", "6" },
		{ "H---H---H---H", "" },
	};
	ROWS("for: 5s", rows);
	/* A long row is patient for half its length. */
	static const struct row patient[] = {
		{ "H---------H---------H", "20" },
		{ "H---------H----------H", "" },
		{ "H----------H---------H", "" },
		{ "HHHHHHHHHHH---------H", "20" },
		{ "HHHHHHHHHHH----------H", "" },
	};
	ROWS("for: 20s", patient);
}

static void a_gap_of_more_than_three_intervals_ends_a_row(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "HHH..H", "5" },
		{ "HHH...H", "" },
		{ "HHH...HHHHHH", "11" },
		{ "HHHHH................................H", "" },
		{ "HHH...-HHHHHH", "12" }, /* also when what follows has no value */
		{ "HHHHH.H", "6" },
	};
	ROWS("for: 5s", rows);
	/* However patient it is with samples that have no value. */
	static const struct row patient[] = {
		{ "HHHHHHHHHHHHHHHHHHH...HHHHHHHHHHHHHHHHHHHHH", "42" },
		{ "HHHHHHHHHHHHHHHHHHH..HHHHHHHHHHH", "21" },
	};
	ROWS("for: 20s", patient);
}

static void it_fires_again_after_the_clear_level_was_there_long_enough(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "HHHHHHLLLLHHHHHH", "5 15" },
		{ "HHHHHHLLLHHHHHHHHHH", "5" },     /* two seconds are not three */
		{ "HHHHHHMMMMMMHHHHHHHH", "5" },    /* between the levels is not clear */
		{ "HHHHHHLLMLLLLHHHHHH", "5 18" },
		{ "HHHHHHLLMLLLHHHHHHHHH", "5" },
		{ "HHHHHHLLELLLHHHHHHHHH", "5" },
		{ "HHHHHHCCCCHHHHHH", "5 15" },
		{ "HHHHHHL--LHHHHHH", "5 15" },     /* nothing said against it */
		{ "HHHHHHL---LHHHHHHHH", "5" },     /* but not for that long */
		{ "HHHHHHL..LHHHHHH", "5 15" },
		{ "HHHHHHL...LHHHHHHHH", "5" },
		{ "HHHHHHL...LLLLHHHHHH", "5 19" },
		{ "HHHHHHLLLL----HHHHHH", "5 19" },
	};
	ROWS("for: 5s\n    clear_for: 3s", rows);
}

/* ---- the same from the definition ---- */

/*
 * The sentences of engine.h taken literally, looking back over the whole row at every sample: is
 * there a first sample from which on all held, without a break, for long enough?  Slow, and without
 * states.
 */
static bool is_row(const char *row, long first, long last, const char *good, double need_s)
{
	double patience = need_s / 2 > 3 ? need_s / 2 : 3;
	long value = first;
	long sample = first;
	if (strchr(good, row[first]) == NULL || (double)(last - first) < need_s)
		return false;
	for (long i = first + 1; i <= last; i++) {
		if (row[i] == '.')
			continue;
		if (i - sample > 3)
			return false;
		sample = i;
		if (row[i] == '-')
			continue;
		if (strchr(good, row[i]) == NULL || (double)(i - value) > patience)
			return false;
		value = i;
	}
	return true;
}

static bool ends_a_row(const char *row, long begin, long last, const char *good, double need_s)
{
	if (strchr(good, row[last]) == NULL)
		return false;
	for (long first = begin; first <= last; first++)
		if (is_row(row, first, last, good, need_s))
			return true;
	return false;
}

static void by_definition(const char *row, double for_s, double clear_for_s, char *to, size_t size)
{
	bool armed = true;
	long begin = 0; /* rows may begin here: after the sample that fired, or cleared */
	size_t n = 0;
	to[0] = '\0';
	for (long i = 0; row[i] != '\0'; i++) {
		if (armed && ends_a_row(row, begin, i, "H", for_s)) {
			n += (size_t)snprintf(to + n, size - n, "%s%ld", n > 0 ? " " : "", i);
			assert_true(n < size);
			armed = false;
			begin = i + 1;
		} else if (!armed && ends_a_row(row, begin, i, "CL", clear_for_s)) {
			armed = true;
			begin = i + 1;
		}
	}
}

static void any_row_fires_as_the_definition_says(void **state)
{
	(void)state;
	static const char *const moods[] = { "HHHHHHHHHHH-.", "CCLLLL-.", "HHH---...", "HEMCL-.HHHHHLLLL" };
	static const int times_s[][2] = { { 0, 0 }, { 1, 0 }, { 3, 2 }, { 5, 5 }, { 9, 1 }, { 12, 10 } };
	unsigned seed = 3;
	unsigned n = 0;
	for (size_t k = 0; k < sizeof(times_s) / sizeof(times_s[0]); k++) {
		char keys[64];
		(void)snprintf(keys, sizeof(keys), "for: %ds\n    clear_for: %ds", times_s[k][0],
		               times_s[k][1]);
		const struct gd_policy *policy = policy_of(GD_METRIC_CPU, k & 1, keys);
		for (int run = 0; run < 150; run++) {
			char row[201];
			char expected[1024];
			const char *mood = moods[0];
			for (size_t i = 0; i < sizeof(row) - 1; i++) {
				if (rand_r(&seed) % 14 == 0)
					mood = moods[rand_r(&seed) % 4];
				row[i] = mood[(size_t)rand_r(&seed) % strlen(mood)];
			}
			row[sizeof(row) - 1] = '\0';
			series_begin();
			series_row(0, 100, &policy->rules[0], row);
			by_definition(row, times_s[k][0], times_s[k][1], expected, sizeof(expected));
			const char *fired = times(policy);
			if (strcmp(fired, expected) != 0)
				fail_msg("%s: %s fires at \"%s\", not at \"%s\"", keys, row, fired, expected);
			n += fired[0] != '\0';
		}
	}
	assert_true(n > 400);
	series_end();
}

static void samples_that_come_late_or_early_change_nothing(void **state)
{
	(void)state;
	static const char *const rows[] = { "HHHHHHHHHH",         "HHH..HHHHHH", "HHH...HHHHHHH",
		                            "HHH--HHHHH",         "HHH---HHHHHHHH", "HHHHHHLLLLHHHHHH",
		                            "HHHHHHL--LHHHHHHHH", "HHHHHHL...LHHHHHHHH" };
	unsigned seed = 5;
	const struct gd_policy *policy =
		policy_of(GD_METRIC_CPU, false, "for: 5s\n    clear_for: 3s");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char sharp[64];
		series_begin();
		series_row(0, 100, &policy->rules[0], rows[i]);
		(void)snprintf(sharp, sizeof(sharp), "%s", times(policy));
		for (int run = 0; run < 100; run++) {
			char blurred[64] = "";
			size_t n = 0;
			series_begin();
			for (size_t k = 0; rows[i][k] != '\0'; k++) {
				/* Whole ms, as timelines keep them. */
				double at = (double)k + 1 + (rand_r(&seed) % 99 - 49) / 1000.0;
				series_row(at, 100, &policy->rules[0], (char[]){ rows[i][k], '\0' });
			}
			for (const char *line = series_play(policy); *line != '\0';
			     line += strcspn(line, "\n") + 1)
				n += (size_t)snprintf(blurred + n, sizeof(blurred) - n, "%s%.0f",
				                      n > 0 ? " " : "", strtod(line, NULL) - 1);
			assert_string_equal(blurred, sharp);
		}
	}
	series_end();
}

/* ---- one rule, other things around it ---- */

#define SERVICES                                                                                   \
	"services:\n"                                                                              \
	"  - { name: a, match: { comm: a } }\n"                                                    \
	"  - { name: b, match: { comm: b } }\n"                                                    \
	"budget: { captures: 100000/1h }\n"                                                       \
	"rules:\n"
#define OPEN "cooldown: 0, limit: 1000/24h"

static const struct gd_policy *cpu_rule(const char *keys)
{
	char yaml[YAML_MAX];
	(void)snprintf(yaml, sizeof(yaml),
	               SERVICES "  - { name: r, service: a, when: { metric: cpu, above: 80%% }, "
	                        "clear: 50%%, %s }\n",
	               keys);
	return series_policy(yaml);
}

static void each_process_has_a_machine_of_its_own(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 3s, " OPEN);
	for (int t = 0; t < 10; t++) {
		series_sample(t, 100, "a", GD_METRIC_CPU, t < 6 ? 0.9 : 0.1);
		series_sample(t, 101, "a", GD_METRIC_CPU, t >= 2 ? 0.9 : 0.1);
		series_sample(t, 102, "b", GD_METRIC_CPU, 0.9);
	}
	assert_string_equal(series_play(policy), "3 r 100 admitted\n5 r 101 admitted\n");
	assert_contains(series_reasons(), "cpu 90 % above 80 % for 3 s: ");
	series_end();
}

static void a_reused_pid_is_another_process(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 3s, " OPEN);
	series_start(0, 100, 7000, "a");
	series_row(0, 100, &policy->rules[0], "HH");
	series_start(2, 100, 9000, "a");
	series_row(2, 100, &policy->rules[0], "HHHHHHHH");
	/* Four in a row would have been at 3; of the second one they are at 5. */
	assert_string_equal(series_play(policy), "5 r 100 admitted\n");
	series_begin();
	/* It fired and was never clear, but the next one is not it. */
	series_start(0, 100, 7000, "a");
	series_row(0, 100, &policy->rules[0], "HHHHH");
	series_event(5, 100, "a", GD_EVENT_GONE);
	series_start(5, 100, 9000, "a");
	series_row(5, 100, &policy->rules[0], "HHHHH");
	assert_string_equal(series_play(policy), "3 r 100 admitted\n8 r 100 admitted\n");
	series_end();
}

static void a_restart_of_the_agent_arms_rules_but_forgets_no_limits(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 3s, cooldown: 0, limit: 2/24h");
	series_row(0, 100, &policy->rules[0], "HHHHHH");
	series_agent_start(6);
	series_row(6, 100, &policy->rules[0], "HHHHHH");
	series_agent_start(12);
	series_row(12, 100, &policy->rules[0], "HHHHHH");
	assert_string_equal(series_play(policy),
	                    "3 r 100 admitted\n9 r 100 admitted\n15 r 100 limit\n");
	assert_contains(series_reasons(), "2 captures within 24 h 00 m already; the next in 23 h 59 m");
	series_end();
}

static void a_clock_that_is_set_changes_nothing(void **state)
{
	(void)state;
	static const double jumps[] = { -86400, -3, -0.5, 0.5, 3, 86400, 1e8, -7e8 };
	const struct gd_policy *policy = cpu_rule("for: 5s, cooldown: 20s, limit: 3/60s");
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		series_begin();
		series_row(0, 100, &policy->rules[0], "HHH");
		series_set_clock(jumps[i]);
		series_row(3, 100, &policy->rules[0], "HHHHHLHHHHHHHHHLHHHHHHLHHHHHHHLHHHHHH");
		assert_string_equal(series_play(policy),
		                    "5 r 100 admitted\n14 r 100 cooldown\n24 r 100 cooldown\n"
		                    "31 r 100 admitted\n39 r 100 cooldown\n");
	}
	series_end();
}

static void without_another_clock_samples_from_the_past_are_ignored(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 5s, " OPEN);
	series_forget_steady_clock();
	series_row(0, 100, &policy->rules[0], "HHH");
	series_set_clock(-4);
	/* -1 to 1 are older than 2; from there on it goes on. */
	series_row(3, 100, &policy->rules[0], "LLLHHHHHH");
	assert_string_equal(series_play(policy), "5 r 100 admitted\n");
	assert_int_equal(series_ignored(), 3);
	series_begin();
	series_forget_steady_clock();
	series_row(0, 100, &policy->rules[0], "HHH");
	series_set_clock(100); /* looks like a gap, as a suspend does */
	series_row(3, 100, &policy->rules[0], "HHHHHH");
	assert_string_equal(series_play(policy), "108 r 100 admitted\n");
	series_end();
}

static void a_suspend_ends_the_row_that_it_interrupts(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 5s, " OPEN);
	series_row(0, 100, &policy->rules[0], "HHHHH");
	series_row(3600, 100, &policy->rules[0], "HHHHHH");
	assert_string_equal(series_play(policy), "3605 r 100 admitted\n");
	series_end();
}

/* ---- unless ---- */

static void danger_degrades_what_fires(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { metric: rss, above: 1GiB }, for: 0, " OPEN
			 ", unless: { metric: cpu, above: 95% } }\n");
	double gib = 1 << 30;
	const struct {
		double cpu;
		const char *fires;
	} cases[] = {
		{ 0.5, "0 r 100 admitted\n" },
		{ 0.95, "0 r 100 admitted\n" }, /* at the level */
		{ 0.96, "0 r 100 admitted light\n" },
		{ NAN, "0 r 100 admitted\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		series_begin();
		series_sample(0, 100, "a", GD_METRIC_RSS, 2 * gib);
		series_also(GD_METRIC_CPU, cases[i].cpu);
		assert_string_equal(series_play(policy), cases[i].fires);
	}
	series_end();
}

static void danger_degrades_events_and_alerts_by_the_last_sample(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: e, service: a, when: { event: oom }, " OPEN
			 ", unless: { metric: cpu, above: 95% } }\n"
			 "  - { name: p, service: a, when: { alert: Slow }, " OPEN
			 ", unless: { metric: cpu, above: 95% } }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0.99);
	series_event(0.5, 100, "a", GD_EVENT_OOM);
	series_sample(1, 100, "a", GD_METRIC_CPU, 0.5);
	series_sample(1, 101, "a", GD_METRIC_CPU, 0.99); /* of another process */
	series_event(1.5, 100, "a", GD_EVENT_OOM);
	series_alert(2, "Slow", "page", "f1", "t1"); /* of the service: any process counts */
	series_sample(3, 100, "a", GD_METRIC_CPU, 0.99);
	series_event(13, 100, "a", GD_EVENT_OOM);
	series_event(13.5, 100, "a", GD_EVENT_OOM); /* too long ago */
	series_sample(14, 100, "a", GD_METRIC_CPU, NAN);
	series_event(14.5, 100, "a", GD_EVENT_OOM); /* not known */
	assert_string_equal(series_play(policy), "0.5 e 100 admitted light\n"
	                                         "1.5 e 100 admitted\n"
	                                         "2 p 0 admitted light\n"
	                                         "13 e 100 admitted light\n"
	                                         "13.5 e 100 admitted\n"
	                                         "14.5 e 100 admitted\n");
	assert_contains(series_reasons(), "a: oom in the cgroup of pid 100: ");
	assert_contains(series_reasons(), "a: alert Slow: ");
	series_end();
}

/* ---- events ---- */

static void events_fire_each_time_for_the_rules_that_wait_for_them(void **state)
{
	(void)state;
	static const enum gd_event cgroup_events[] = { GD_EVENT_MEMORY_HIGH, GD_EVENT_MEMORY_MAX,
		                                       GD_EVENT_OOM, GD_EVENT_OOM_KILL };
	char yaml[YAML_MAX];
	char fires[256];
	for (size_t i = 0; i < sizeof(cgroup_events) / sizeof(cgroup_events[0]); i++) {
		const char *name = gd_event_names[cgroup_events[i]];
		(void)snprintf(yaml, sizeof(yaml),
		               SERVICES "  - { name: r, service: a, when: { event: %s }, " OPEN " }\n",
		               name);
		const struct gd_policy *policy = series_policy(yaml);
		for (size_t k = 0; k < sizeof(cgroup_events) / sizeof(cgroup_events[0]); k++) {
			series_event((double)k, 100, "a", cgroup_events[k]);
			series_event((double)k, 200, "b", cgroup_events[k]);
		}
		series_event(9, 100, "a", cgroup_events[i]);
		(void)snprintf(fires, sizeof(fires), "%zu r 100 admitted\n9 r 100 admitted\n", i);
		assert_string_equal(series_play(policy), fires);
	}
	series_end();
}

static void a_process_that_ends_is_gone(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { event: gone }, " OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0);
	series_sample(0, 101, "a", GD_METRIC_CPU, 0);
	series_sample(0, 200, "b", GD_METRIC_CPU, 0);
	series_event(5, 100, "a", GD_EVENT_GONE);
	series_event(6, 200, "b", GD_EVENT_GONE);
	series_event(7, 101, "a", GD_EVENT_GONE); /* the last one too: it says who it was */
	/* What is gone cannot be the one to capture. */
	assert_string_equal(series_play(policy), "5 r 0 admitted\n7 r 0 admitted\n");
	assert_contains(series_reasons(), "a: pid 101 ended: ");
	series_end();
}

static void restarts_are_counted_by_service_within_their_time(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { event: restarts, count: 3, within: 10s }, "
			 OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0); /* was there before */
	series_sample(0, 101, "a", GD_METRIC_CPU, 0);
	series_start(1, 102, 1, "a");
	series_start(2, 202, 1, "b"); /* of another service */
	series_start(5, 103, 1, "a");
	series_start(11, 104, 1, "a");  /* the third within exactly 10 s; then it counts anew */
	series_start(12, 105, 1, "a");
	series_start(13, 106, 1, "a");
	series_start(22.5, 107, 1, "a"); /* 12 has left */
	series_start(22.6, 108, 1, "a"); /* 13, 22.5, 22.6 */
	assert_string_equal(series_play(policy), "11 r 104 admitted\n22.6 r 108 admitted\n");
	assert_contains(series_reasons(), "a: 3 starts within 10 s, the last is pid 104: ");
	series_end();
}

static void a_storm_of_restarts_fires_once_in_count(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { event: restarts, count: 5, within: 1m }, "
			 "cooldown: 0, limit: 3/24h }\n");
	for (int i = 0; i < 50; i++)
		series_start(i * 1.2, 100 + (i & 1), (uint64_t)i + 1, "a");
	assert_string_equal(series_play(policy),
	                    "4.8 r 100 admitted\n10.8 r 101 admitted\n16.8 r 100 admitted\n"
	                    "22.8 r 101 limit\n28.8 r 100 limit\n34.8 r 101 limit\n"
	                    "40.8 r 100 limit\n46.8 r 101 limit\n52.8 r 100 limit\n58.8 r 101 limit\n");
	series_end();
}

static void one_restart_can_be_enough(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { event: restarts, count: 1, within: 10s }, "
			 OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0);
	series_start(1, 101, 1, "a");
	series_agent_start(2);
	series_sample(2, 101, "a", GD_METRIC_CPU, 0); /* the agent's first look */
	series_sample(5, 102, "a", GD_METRIC_CPU, 0); /* came later: was started */
	assert_string_equal(series_play(policy), "1 r 101 admitted\n5 r 102 admitted\n");
	series_end();
}

/* ---- alerts ---- */

static void an_alert_is_one_capture_while_it_is_the_same(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { alert: Slow, labels: { severity: page } }, "
			 OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0);
	series_alert(1, "Slow", "page", "f1", "t1");
	series_alert(2, "Slow", "page", "f1", "t1");
	series_alert(3, "Slow", "warn", "f2", "t1"); /* not the label */
	series_alert(4, "Fast", "page", "f3", "t1"); /* not the alert */
	series_alert(5, "Slow", "page", "f4", "t1");
	series_alert(6, "Slow", "page", "f1", "t2"); /* it was resolved and came again */
	series_alert(7, "Slow", "page", "f1", "t1");
	assert_string_equal(series_play(policy), "1 r 0 admitted\n2 r 0 duplicate\n"
	                                         "5 r 0 admitted\n6 r 0 admitted\n"
	                                         "7 r 0 duplicate\n");
	assert_contains(series_reasons(), "captured already 1 s ago: replay-1");
	series_end();
}

static void an_alert_without_a_process_has_no_target(void **state)
{
	(void)state;
	const struct gd_policy *policy =
		series_policy(SERVICES "  - { name: r, service: a, when: { alert: Slow }, " OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0);
	series_event(1, 100, "a", GD_EVENT_GONE);
	series_alert(2, "Slow", "page", "f1", "t1");
	series_sample(3, 101, "a", GD_METRIC_CPU, 0);
	series_alert(4, "Slow", "page", "f1", "t1"); /* a refusal made nothing a duplicate */
	assert_string_equal(series_play(policy), "2 r 0 no_target\n4 r 0 admitted\n");
	assert_contains(series_reasons(), "no running process of service a");
	series_end();
}

/* ---- schedules ---- */

static void a_schedule_is_due_each_period_whoever_restarts(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { every: 100s, jitter: 0s }, " OPEN " }\n");
	/* The machine has been up for 5000 s when a series begins: due at 0, 100, 200... */
	for (int t = 50; t <= 450; t++) {
		series_sample(t, 100, "a", GD_METRIC_CPU, 0);
		if (t == 151)
			series_agent_start(151.5);
	}
	assert_string_equal(series_play(policy),
	                    "100 r 0 admitted\n200 r 0 admitted\n300 r 0 admitted\n"
	                    "400 r 0 admitted\n");
	assert_contains(series_reasons(), "a: every 1 m 40 s: ");
	series_begin();
	/* Asleep, or down, over several of them: they are not caught up. */
	series_sample(50, 100, "a", GD_METRIC_CPU, 0);
	series_sample(350, 100, "a", GD_METRIC_CPU, 0);
	series_sample(351, 100, "a", GD_METRIC_CPU, 0);
	series_agent_start(400.5);
	series_sample(401, 100, "a", GD_METRIC_CPU, 0);
	series_sample(402, 100, "a", GD_METRIC_CPU, 0);
	assert_string_equal(series_play(policy), "350 r 0 admitted\n");
	series_end();
}

struct due {
	int64_t first_ns, second_ns;
};

static void note_due(void *arg, const struct gd_fired *fired)
{
	struct due *due = arg;
	if (due->first_ns == 0)
		due->first_ns = fired->at_ns;
	else if (due->second_ns == 0)
		due->second_ns = fired->at_ns;
}

static struct due schedule_with_seed(const struct gd_policy *policy, uint64_t seed)
{
	struct due due = { 0 };
	struct gd_engine *engine;
	struct gd_error err = { 0 };
	assert_ok(gd_engine_create(policy, note_due, &due, &engine, &err), &err);
	for (int64_t t = 1; t < 400; t++)
		gd_engine_tick(engine, t * INT64_C(1000000000), seed);
	gd_engine_destroy(engine);
	return due;
}

static void jitter_spreads_hosts_and_stays_the_same_on_each(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: r, service: a, when: { every: 100s, jitter: 60s }, " OPEN " }\n");
	bool seen[64] = { false };
	unsigned n = 0;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct due due = schedule_with_seed(policy, seed);
		struct due again = schedule_with_seed(policy, seed);
		int64_t s = due.first_ns / INT64_C(1000000000);
		assert_true(due.first_ns == again.first_ns);
		assert_true(due.second_ns - due.first_ns == INT64_C(100000000000));
		/* From the offset on; the tick after it is the one that sees it. */
		s %= 100;
		assert_true(s >= 1 && s <= 60 + 1);
		n += !seen[s];
		seen[s] = true;
	}
	assert_true(n > 45); /* 200 hosts over 60 s: 58 of them on average */
	series_end();
}

/* ---- the rest of the interface ---- */

static void a_firing_that_the_queue_refused_comes_again_while_it_holds(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: one, service: a, when: { metric: cpu, above: 80% }, for: 0, " OPEN
			 " }\n"
			 "  - { name: two, service: a, when: { metric: rss, above: 1KiB }, for: 3s, " OPEN
			 " }\n");
	series_captures_take(5, 0);
	for (int t = 0; t < 10; t++) {
		series_sample(t, 100, "a", GD_METRIC_CPU, 0.9);
		series_also(GD_METRIC_RSS, 4096);
	}
	assert_string_equal(series_play(policy), "0 one 100 admitted\n3 two 100 busy\n"
	                                         "4 two 100 busy\n5 two 100 admitted\n");
	assert_contains(series_reasons(), "rss 4.0 KiB above 1.0 KiB for 5 s: ");
	series_begin();
	series_captures_take(5, 0);
	for (int t = 0; t < 10; t++) {
		series_sample(t, 100, "a", GD_METRIC_CPU, 0.9);
		series_also(GD_METRIC_RSS, t < 4 ? 4096 : 0); /* it is over */
	}
	assert_string_equal(series_play(policy), "0 one 100 admitted\n3 two 100 busy\n");
	series_end();
}

static void ignore_fired(void *arg, const struct gd_fired *fired)
{
	(void)fired;
	++*(unsigned *)arg;
}

static void states_are_told_as_words(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 2s, clear_for: 2s, " OPEN);
	const struct gd_rule *rule = &policy->rules[0];
	static const struct {
		double value;
		const char *word;
	} steps[] = {
		{ 0.1, "armed" },    { 0.9, "pending" }, { NAN, "pending" }, { 0.9, "fired" },
		{ 0.7, "fired" },    { 0.1, "clearing" }, { NAN, "clearing" }, { 0.1, "armed" },
	};
	const struct gd_subject_id id = { 100, 7 };
	const struct gd_subject_id other = { 100, 8 };
	struct gd_engine *engine;
	struct gd_error err = { 0 };
	unsigned n = 0;
	assert_ok(gd_engine_create(policy, ignore_fired, &n, &engine, &err), &err);
	assert_string_equal(gd_engine_state(engine, rule, id), "none");
	assert_ok(gd_engine_process(engine, id, 0, true, 0, &err), &err);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		double values[GD_METRICS];
		for (size_t m = 0; m < GD_METRICS; m++)
			values[m] = NAN;
		values[GD_METRIC_CPU] = steps[i].value;
		gd_engine_sample(engine, id, (int64_t)i * INT64_C(1000000000), values);
		assert_string_equal(gd_engine_state(engine, rule, id), steps[i].word);
		gd_engine_sample(engine, other, (int64_t)i * INT64_C(1000000000), values);
	}
	assert_int_equal(n, 1);
	assert_string_equal(gd_engine_state(engine, rule, other), "none");
	struct gd_engine_stats stats;
	gd_engine_stats(engine, &stats);
	assert_int_equal(stats.samples, 8);
	assert_int_equal(stats.ignored, 8); /* of a process nobody announced */
	assert_int_equal(stats.fired, 1);
	assert_int_equal(stats.processes, 1);
	gd_engine_gone(engine, id, 0);
	gd_engine_stats(engine, &stats);
	assert_int_equal(stats.processes, 0);
	gd_engine_destroy(engine);
	series_end();
}

static void danger_of_a_service_can_be_asked_for(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: p, service: a, when: { alert: Slow }, " OPEN
			 ", unless: { metric: cpu, above: 95% } }\n");
	const struct gd_rule *rule = &policy->rules[0];
	const struct gd_subject_id id = { 100, 7 };
	struct gd_engine *engine;
	struct gd_error err = { 0 };
	double values[GD_METRICS] = { 0 };
	unsigned n = 0;
	assert_ok(gd_engine_create(policy, ignore_fired, &n, &engine, &err), &err);
	assert_false(gd_engine_degraded(engine, rule, 0));
	assert_ok(gd_engine_process(engine, id, 0, true, 0, &err), &err);
	assert_false(gd_engine_degraded(engine, rule, 0));
	values[GD_METRIC_CPU] = 0.96;
	gd_engine_sample(engine, id, 0, values);
	assert_true(gd_engine_degraded(engine, rule, INT64_C(10000000000)));
	assert_false(gd_engine_degraded(engine, rule, INT64_C(10000000001)));
	gd_engine_alert(engine, rule, 0);
	assert_int_equal(n, 1);
	gd_engine_gone(engine, id, 0);
	assert_false(gd_engine_degraded(engine, rule, 0));
	gd_engine_destroy(engine);
	series_end();
}

static void processes_are_counted_and_bounded(void **state)
{
	(void)state;
	const struct gd_policy *policy = cpu_rule("for: 2s, " OPEN);
	struct gd_engine *engine;
	struct gd_error err = { 0 };
	unsigned n = 0;
	assert_ok(gd_engine_create(policy, ignore_fired, &n, &engine, &err), &err);
	for (int i = 1; i <= GD_ENGINE_PROCESSES_MAX; i++)
		assert_ok(gd_engine_process(engine, (struct gd_subject_id){ i, 1 }, 0, true, 0, &err),
		          &err);
	const struct gd_subject_id more = { 100000, 1 };
	assert_fails(gd_engine_process(engine, more, 0, true, 0, &err), -E2BIG, &err);
	/* One that is known takes no room; a reused pid takes the room of the one before. */
	const struct gd_subject_id known = { 77, 1 };
	const struct gd_subject_id reused = { 77, 2 };
	assert_ok(gd_engine_process(engine, known, 0, true, 0, &err), &err);
	assert_ok(gd_engine_process(engine, reused, 0, true, 0, &err), &err);
	assert_string_equal(gd_engine_state(engine, &policy->rules[0], known), "none");
	gd_engine_gone(engine, reused, 0);
	assert_ok(gd_engine_process(engine, more, 0, true, 0, &err), &err);
	assert_fails(gd_engine_process(engine, known, 2, true, 0, &err), -EINVAL, &err);
	gd_engine_destroy(engine);
	series_end();
}

static void rules_fire_in_the_order_of_the_policy(void **state)
{
	(void)state;
	const struct gd_policy *policy = series_policy(
		SERVICES "  - { name: z, service: a, when: { metric: cpu, above: 80% }, for: 0, " OPEN " }\n"
			 "  - { name: y, service: b, when: { metric: cpu, above: 80% }, for: 0, " OPEN " }\n"
			 "  - { name: x, service: a, when: { metric: cpu, above: 70% }, for: 0, " OPEN " }\n"
			 "  - { name: w, service: a, when: { metric: cpu, above: 95% }, for: 0, " OPEN " }\n");
	series_sample(0, 100, "a", GD_METRIC_CPU, 0.9);
	series_sample(0, 200, "b", GD_METRIC_CPU, 0.9);
	assert_string_equal(series_play(policy),
	                    "0 z 100 admitted\n0 x 100 admitted\n0 y 200 admitted\n");
	series_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_metric_fires_at_once_without_for),
		test_case(every_metric_has_to_hold_on_every_sample),
		test_case(a_sample_without_a_value_neither_holds_nor_breaks),
		test_case(a_gap_of_more_than_three_intervals_ends_a_row),
		test_case(it_fires_again_after_the_clear_level_was_there_long_enough),
		test_case(any_row_fires_as_the_definition_says),
		test_case(samples_that_come_late_or_early_change_nothing),
		test_case(each_process_has_a_machine_of_its_own),
		test_case(a_reused_pid_is_another_process),
		test_case(a_restart_of_the_agent_arms_rules_but_forgets_no_limits),
		test_case(a_clock_that_is_set_changes_nothing),
		test_case(without_another_clock_samples_from_the_past_are_ignored),
		test_case(a_suspend_ends_the_row_that_it_interrupts),
		test_case(danger_degrades_what_fires),
		test_case(danger_degrades_events_and_alerts_by_the_last_sample),
		test_case(events_fire_each_time_for_the_rules_that_wait_for_them),
		test_case(a_process_that_ends_is_gone),
		test_case(restarts_are_counted_by_service_within_their_time),
		test_case(a_storm_of_restarts_fires_once_in_count),
		test_case(one_restart_can_be_enough),
		test_case(an_alert_is_one_capture_while_it_is_the_same),
		test_case(an_alert_without_a_process_has_no_target),
		test_case(a_schedule_is_due_each_period_whoever_restarts),
		test_case(jitter_spreads_hosts_and_stays_the_same_on_each),
		test_case(a_firing_that_the_queue_refused_comes_again_while_it_holds),
		test_case(states_are_told_as_words),
		test_case(danger_of_a_service_can_be_asked_for),
		test_case(processes_are_counted_and_bounded),
		test_case(rules_fire_in_the_order_of_the_policy),
	};
	return test_run(tests);
}
