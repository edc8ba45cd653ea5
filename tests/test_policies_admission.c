/*
 * What is admitted, what is refused and why, and that nothing of it is forgotten: restarts,
 * reboots, clocks that are set, full disks, damaged files, SIGKILL.
 */
#include "policies/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/fault.h"
#include "tests/test.h"

#define S INT64_C(1000000000)
#define H (3600 * S)
#define D (24 * H)
#define GIB (UINT64_C(1) << 30)

/* One host: its clocks, its policy, and the agent's admission on it. */
static struct {
	struct gd_admission *admission;
	struct gd_policy *policy;
	char note[248];
	char boot[40];
	char host[64];
	struct gd_clock now;
	struct gd_load load;
	struct gd_decision decision;
	unsigned n;     /* capture ids given out */
	char id[64];    /* the last one */
} w;

static void load_policy(const char *rules)
{
	char yaml[4096];
	struct gd_error err = { 0 };
	(void)snprintf(yaml, sizeof(yaml),
	               "services:\n"
	               "  - { name: a, match: { comm: a } }\n"
	               "  - { name: b, match: { comm: b } }\n"
	               "%s",
	               rules);
	struct gd_policy *policy;
	assert_ok(gd_policy_parse("test.yaml", yaml, strlen(yaml), &policy, NULL, &err), &err);
	if (w.admission != NULL)
		gd_admission_policy(w.admission, policy);
	gd_policy_free(w.policy);
	w.policy = policy;
}

static int try_open(struct gd_error *err)
{
	char dir[256];
	(void)snprintf(dir, sizeof(dir), "%s", test_path("state"));
	const struct gd_admission_options options = {
		.dir = dir,
		.host = w.host,
		.boot_id = w.boot,
		.now = &w.now,
	};
	int r = gd_admission_open_with(&options, &w.admission, w.note, err);
	if (r == 0)
		gd_admission_policy(w.admission, w.policy);
	return r;
}

static void start(void)
{
	struct gd_error err = { 0 };
	assert_ok(try_open(&err), &err);
}

static void stop(void)
{
	gd_admission_close(w.admission);
	w.admission = NULL;
}

/* The agent ends and starts anew. */
static void restart(void)
{
	stop();
	start();
}

/* The machine ends, is off for a while and starts anew. */
static void reboot(int64_t off_ns)
{
	static unsigned boots;
	stop();
	(void)snprintf(w.boot, sizeof(w.boot), "boot-%u", ++boots);
	w.now.boottime_ns = 20 * S;
	w.now.realtime_ns += off_ns;
	start();
}

static void begin(const char *rules)
{
	memset(&w, 0, sizeof(w));
	(void)snprintf(w.boot, sizeof(w.boot), "boot-first");
	(void)snprintf(w.host, sizeof(w.host), "host-1");
	w.now = (struct gd_clock){ .boottime_ns = 5000 * S, .realtime_ns = 1795203907 * S };
	w.load = (struct gd_load){ .queue_max = 8, .has_target = true };
	load_policy(rules);
	start();
}

static void end(void)
{
	stop();
	gd_policy_free(w.policy);
	w.policy = NULL;
}

static void pass(int64_t ns)
{
	w.now.boottime_ns += ns;
	w.now.realtime_ns += ns;
}

static const struct gd_rule *rule_of(const char *name)
{
	const struct gd_rule *rule = gd_policy_rule(w.policy, name);
	assert_non_null(rule);
	return rule;
}

static struct gd_trigger trigger_of(const char *rule, int pid)
{
	struct gd_trigger trigger = { .service = "a", .now = w.now, .capture_id = w.id };
	trigger.subject = (struct gd_subject_id){ pid, pid > 0 ? 7000 : 0 };
	if (rule != NULL) {
		trigger.rule = rule_of(rule);
		trigger.service = w.policy->services[trigger.rule->service].name;
	}
	(void)snprintf(w.id, sizeof(w.id), "c-%u", ++w.n);
	return trigger;
}

static const char *decide(const struct gd_trigger *trigger)
{
	struct gd_error err = { 0 };
	assert_ok(gd_admission_decide(w.admission, trigger, &w.load, &w.decision, &err), &err);
	return gd_verdict_names[w.decision.verdict];
}

/* NULL: by hand. */
static const char *ask(const char *rule, int pid)
{
	struct gd_trigger trigger = trigger_of(rule, pid);
	return decide(&trigger);
}

static const char *unit_failed(int pid, const char *service)
{
	struct gd_trigger trigger = trigger_of(NULL, pid);
	trigger.rule = &gd_admission_unit_rule;
	trigger.service = service;
	return decide(&trigger);
}

static const char *alert(const char *rule, const char *fingerprint, const char *starts_at)
{
	struct gd_trigger trigger = trigger_of(rule, 0);
	trigger.fingerprint = fingerprint;
	trigger.starts_at = starts_at;
	return decide(&trigger);
}

static void capture_ended(const char *id, bool failed, uint64_t bytes, uint64_t pause_ns)
{
	struct gd_error err = { 0 };
	assert_ok(gd_admission_ended(w.admission, id, failed, bytes, pause_ns, &w.now, &err), &err);
}

static const struct gd_admission_count *count_of(const char *rule)
{
	const struct gd_admission_count *counts;
	size_t n = gd_admission_counts(w.admission, &counts);
	for (size_t i = 0; i < n; i++)
		if (strcmp(counts[i].rule, rule) == 0)
			return &counts[i];
	fail_msg("no counts of rule \"%s\"", rule);
	return NULL;
}

static off_t journal_bytes(void)
{
	struct stat st;
	assert_int_equal(stat(test_path("state/admission.journal"), &st), 0);
	return st.st_size;
}

#define RULE(name, keys)                                                                           \
	"  - { name: " name ", service: a, when: { metric: cpu, above: 80% }, for: 0, " keys " }\n"
#define ALERT(name, keys) "  - { name: " name ", service: a, when: { alert: Slow }, " keys " }\n"
#define PLENTY "budget: { captures: 100000/1h, pauses: 10000s/1h }\n"
#define FREE "cooldown: 0, limit: 100000/24h"

/* ---- what is asked ---- */

static void cooldown_is_between_captures_of_one_rule_and_process(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 10m, limit: 100/24h") RULE("q", "cooldown: 10m"));
	assert_string_equal(ask("r", 100), "admitted");
	pass(S);
	assert_string_equal(ask("r", 100), "cooldown");
	assert_true(w.decision.retry_ns == 599 * S);
	assert_string_equal(w.decision.why, "captured 1 s ago as c-1, the cooldown is 10 m 00 s");
	assert_string_equal(ask("r", 101), "admitted"); /* another process */
	assert_string_equal(ask("q", 100), "admitted"); /* another rule */
	pass(598 * S);
	assert_string_equal(ask("r", 100), "cooldown");
	pass(S - 1);
	assert_string_equal(ask("r", 100), "cooldown");
	assert_true(w.decision.retry_ns == 1);
	pass(1);
	assert_string_equal(ask("r", 100), "admitted");
	/* The same pid with another start is another process. */
	struct gd_trigger reused = trigger_of("r", 100);
	reused.subject.start_ticks = 9999;
	assert_string_equal(decide(&reused), "admitted");
	restart();
	assert_string_equal(ask("r", 100), "cooldown");
	end();
}

static void a_limit_slides_and_knows_no_pids(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h") RULE("q", "cooldown: 0"));
	for (int i = 0; i < 3; i++) {
		assert_string_equal(ask("r", 100 + i), "admitted");
		pass(H);
	}
	assert_string_equal(ask("r", 200), "limit");
	assert_true(w.decision.retry_ns == 21 * H);
	assert_string_equal(w.decision.why,
	                    "3 captures within 24 h 00 m already; the next in 21 h 00 m");
	assert_string_equal(ask("q", 200), "admitted"); /* by rule */
	restart();
	assert_string_equal(ask("r", 201), "limit");
	pass(21 * H - 1);
	assert_string_equal(ask("r", 202), "limit");
	pass(1);
	assert_string_equal(ask("r", 203), "admitted"); /* the first has left, to the nanosecond */
	assert_string_equal(ask("r", 204), "limit");
	assert_true(w.decision.retry_ns == H);
	end();
}

static void budgets_of_the_host_hold_for_all_rules_together(void **state)
{
	(void)state;
	begin("budget: { captures: 4/1h }\n"
	      "rules:\n" RULE("r", FREE) RULE("q", FREE));
	assert_string_equal(ask("r", 1), "admitted");
	assert_string_equal(ask("q", 2), "admitted");
	assert_string_equal(ask(NULL, 3), "admitted"); /* takes nothing from incidents */
	assert_string_equal(ask("q", 4), "admitted");
	assert_string_equal(unit_failed(7, "b"), "admitted");
	assert_string_equal(ask("r", 5), "budget");
	assert_contains(w.decision.why, "the host's budget: 4 captures within 1 h 00 m already");
	assert_true(w.decision.retry_ns == H);
	assert_string_equal(ask(NULL, 6), "admitted"); /* but is not bound by it */
	restart();
	assert_string_equal(ask("q", 5), "budget");
	pass(H);
	assert_string_equal(ask("q", 5), "admitted");
	end();
}

static void budgets_of_bytes_and_pauses_count_what_has_ended(void **state)
{
	(void)state;
	begin("budget: { captures: 100/1h, bytes: 1GiB/24h, pauses: 1s/24h }\n"
	      "rules:\n" RULE("r", FREE) RULE("q", FREE ", budget: { bytes: 100MiB/1h }"));
	assert_string_equal(ask("q", 1), "admitted");
	assert_string_equal(ask("q", 1), "admitted"); /* nothing is known of the first yet */
	capture_ended("c-1", false, 60 << 20, 0);
	assert_string_equal(ask("q", 1), "admitted");
	capture_ended("c-2", false, 40 << 20, 0);
	assert_string_equal(ask("q", 1), "budget");
	assert_contains(w.decision.why, "the rule's budget: 100 MiB captured within 1 h 00 m already");
	assert_string_equal(ask("r", 1), "admitted");
	capture_ended(w.id, false, GIB - (100 << 20), 400000000);
	assert_string_equal(ask("r", 1), "budget");
	assert_contains(w.decision.why, "the host's budget: 1.0 GiB captured within 24 h 00 m");
	restart();
	assert_string_equal(ask("r", 1), "budget");
	pass(D);
	assert_string_equal(ask(NULL, 1), "admitted"); /* by hand it costs as much */
	capture_ended(w.id, false, 1, 600000000);
	assert_string_equal(ask("r", 1), "admitted");
	capture_ended(w.id, false, 1, 400000000);
	assert_string_equal(ask("r", 1), "budget");
	assert_contains(w.decision.why, "the host's budget: targets stopped for 1 s within 24 h 00 m");
	end();
}

static void one_alert_is_one_capture(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" ALERT("r", FREE) ALERT("q", FREE));
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	assert_string_equal(alert("r", "f1", "t1"), "duplicate");
	assert_string_equal(w.decision.first, "c-1");
	assert_string_equal(alert("r", "f1", "t2"), "admitted"); /* it began anew */
	assert_string_equal(alert("r", "f2", "t1"), "admitted");
	assert_string_equal(alert("q", "f1", "t1"), "admitted"); /* another rule wants its own */
	assert_string_equal(alert("r", "", ""), "admitted"); /* without a name nothing is the same */
	assert_string_equal(alert("r", NULL, NULL), "admitted");
	capture_ended("c-1", false, 1, 0);
	restart();
	pass(7 * D - 1);
	assert_string_equal(alert("r", "f1", "t1"), "duplicate");
	assert_string_equal(w.decision.first, "c-1");
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_DUPLICATE], 2);
	end();
}

static void an_alert_whose_capture_came_to_nothing_may_try_again(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" ALERT("r", FREE));
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	capture_ended("c-1", true, 0, 0);
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	/* The agent dies while it captures. */
	restart();
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	capture_ended(w.id, false, 1, 0);
	assert_string_equal(alert("r", "f1", "t1"), "duplicate");
	end();
}

static void what_is_refused_is_not_consumed(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" ALERT("r", "cooldown: 0, limit: 1/24h"));
	w.load.running = 1;
	w.load.queued = 8;
	assert_string_equal(alert("r", "f1", "t1"), "busy");
	assert_string_equal(w.decision.why, "1 running and 8 waiting, there is no room for more");
	w.load.has_target = false;
	assert_string_equal(alert("r", "f1", "t1"), "no_target");
	w.load = (struct gd_load){ .has_target = true, .queue_max = 8, .fs_bytes = 100,
		                   .fs_free_bytes = 14 };
	assert_string_equal(alert("r", "f1", "t1"), "space");
	w.load = (struct gd_load){ .has_target = true, .queue_max = 8, .running = 1, .queued = 7 };
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	w.load = (struct gd_load){ .has_target = true };
	w.load.running = 1;
	assert_string_equal(alert("r", "f2", "t1"), "limit");
	/* Busy comes last: it promises that asking again is worth while. */
	end();
}

static void dedup_makes_the_same_again_seen_again(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" RULE("r", FREE ", dedup: 1h") ALERT("q", FREE ", dedup: 1h"));
	assert_string_equal(ask("r", 100), "admitted");
	pass(H - 1);
	assert_string_equal(ask("r", 101), "duplicate"); /* the same rule and service */
	assert_string_equal(w.decision.first, "c-1");
	pass(1);
	assert_string_equal(ask("r", 102), "admitted");
	assert_string_equal(alert("q", "f1", "t1"), "admitted");
	assert_string_equal(alert("q", "f1", "t2"), "duplicate"); /* flapping */
	assert_string_equal(alert("q", "f2", "t1"), "admitted");
	pass(H);
	assert_string_equal(alert("q", "f1", "t2"), "admitted");
	end();
}

static void k_of_n_hosts_capture_and_always_the_same(void **state)
{
	(void)state;
	unsigned chosen = 0;
	begin(PLENTY "rules:\n" RULE("r", FREE ", sample: 3/10"));
	for (unsigned i = 0; i < 400; i++) {
		stop();
		(void)snprintf(w.host, sizeof(w.host), "host-%u.example.org", i);
		start();
		const char *first = ask("r", 100);
		assert_string_equal(ask("r", 100), first);
		if (strcmp(first, "admitted") == 0)
			chosen++;
		else
			assert_contains(w.decision.why, "3 of 10 hosts capture this");
	}
	assert_in_range(chosen, 85, 155); /* 120 expected, 3.8 standard deviations */
	end();
}

static void a_rule_that_keeps_failing_disables_itself(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" RULE("r", FREE) RULE("q", FREE));
	for (int i = 0; i < 2; i++) {
		assert_string_equal(ask("r", 100), "admitted");
		capture_ended(w.id, true, 0, 0);
	}
	assert_string_equal(ask("r", 100), "admitted");
	capture_ended(w.id, false, 1, 0); /* not in a row */
	for (int i = 0; i < 3; i++) {
		assert_false(count_of("r")->disabled);
		if (i == 1)
			restart();
		assert_string_equal(ask("r", 100), "admitted");
		capture_ended(w.id, true, 0, 0);
	}
	assert_true(count_of("r")->disabled);
	assert_string_equal(ask("r", 100), "disabled");
	assert_string_equal(w.decision.why,
	                    "3 captures in a row failed, the last was c-6; it waits for a reload");
	assert_string_equal(ask("q", 100), "admitted");
	assert_string_equal(ask(NULL, 100), "admitted");
	restart();
	assert_true(count_of("r")->disabled);
	assert_string_equal(ask("r", 100), "disabled");
	load_policy(PLENTY "rules:\n" RULE("r", FREE));
	assert_string_equal(ask("r", 100), "admitted");
	restart();
	assert_string_equal(ask("r", 100), "admitted");
	end();
}

static void a_rule_can_be_enabled_by_name(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	begin(PLENTY "rules:\n" RULE("r", FREE) RULE("q", FREE));
	for (int i = 0; i < 6; i++) {
		assert_string_equal(ask(i < 3 ? "r" : "q", 100), "admitted");
		capture_ended(w.id, true, 0, 0);
	}
	assert_string_equal(ask("r", 100), "disabled");
	assert_string_equal(ask("q", 100), "disabled");
	assert_ok(gd_admission_enable(w.admission, "r", &err), &err);
	assert_fails(gd_admission_enable(w.admission, "nobody", &err), -ENOENT, &err);
	restart();
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("q", 100), "disabled");
	assert_ok(gd_admission_enable(w.admission, NULL, &err), &err);
	assert_string_equal(ask("q", 100), "admitted");
	end();
}

static void by_hand_knows_no_limits_but_space(void **state)
{
	(void)state;
	begin("budget: { captures: 1/1h }\nrules:\n" RULE("r", FREE));
	for (int i = 0; i < 20; i++)
		assert_string_equal(ask(NULL, 100), "admitted");
	w.load.spool_bytes = 2 * GIB;
	assert_string_equal(ask(NULL, 100), "space");
	assert_string_equal(w.decision.why, "the spool holds 2.0 GiB of 2.0 GiB");
	w.load.spool_bytes = 2 * GIB - 1;
	assert_string_equal(ask(NULL, 100), "admitted");
	w.load.has_target = false;
	assert_string_equal(ask(NULL, 100), "no_target");
	w.load.has_target = true;
	w.load.running = 1;
	w.load.queued = 8;
	assert_string_equal(ask(NULL, 100), "busy");
	assert_int_equal(count_of("")->verdicts[GD_VERDICT_ADMITTED], 21);
	end();
}

static void a_unit_that_fails_in_a_loop_is_no_hand(void **state)
{
	(void)state;
	unsigned admitted = 0;
	begin(PLENTY "rules:\n" RULE("r", FREE));
	for (int i = 0; i < 50; i++) {
		const char *verdict = unit_failed(100 + i, "a");
		assert_string_equal(verdict, i == 0 ? "admitted" : "duplicate");
		pass(6 * S / 5);
	}
	assert_string_equal(w.decision.first, "c-1");
	assert_string_equal(unit_failed(300, "b"), "admitted"); /* by service */
	for (int i = 0; i < 1000; i++) {
		admitted += strcmp(unit_failed(400, "a"), "admitted") == 0;
		pass(60 * S);
	}
	assert_int_equal(admitted, 4); /* five a day */
	assert_string_equal(ask(NULL, 100), "admitted");
	restart();
	assert_string_equal(unit_failed(500, "a"), "limit");
	end();
}

static void space_has_a_floor_and_a_ceiling(void **state)
{
	(void)state;
	static const struct {
		const char *budget;
		uint64_t spool, fs, free;
		const char *verdict;
	} cases[] = {
		{ "spool: 1GiB, free: 10%", GIB - 1, 1000, 100, "admitted" },
		{ "spool: 1GiB, free: 10%", GIB, 1000, 100, "space" },
		{ "spool: 1GiB, free: 10%", 0, 1000, 99, "space" },
		{ "captures: 9/1h", 0, 1000, 150, "admitted" }, /* 15 % when nobody says */
		{ "captures: 9/1h", 0, 1000, 149, "space" },
		{ "captures: 9/1h", 0, 0, 0, "admitted" }, /* nobody knows */
		{ "free: 0%", 0, 1000, 0, "admitted" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char rules[512];
		(void)snprintf(rules, sizeof(rules), "budget: { %s }\nrules:\n%s", cases[i].budget,
		               RULE("r", FREE));
		if (i == 0)
			begin(rules);
		else
			load_policy(rules);
		w.load.spool_bytes = cases[i].spool;
		w.load.fs_bytes = cases[i].fs;
		w.load.fs_free_bytes = cases[i].free;
		const char *verdict = ask("r", 100 + (int)i);
		if (strcmp(verdict, cases[i].verdict) != 0)
			fail_msg("case %zu: %s: %s", i, verdict, w.decision.why);
	}
	end();
}

static void the_first_no_is_the_verdict(void **state)
{
	(void)state;
	begin("budget: { captures: 2/1h }\nrules:\n" ALERT("r", "cooldown: 10m, limit: 2/24h"));
	struct gd_trigger one = trigger_of("r", 100);
	one.fingerprint = "f1";
	one.starts_at = "t1";
	assert_string_equal(decide(&one), "admitted");
	w.load = (struct gd_load){ .spool_bytes = 3 * GIB, .running = 1 };
	struct gd_trigger again = trigger_of("r", 100);
	again.fingerprint = "f1";
	again.starts_at = "t1";
	assert_string_equal(decide(&again), "duplicate");
	again.starts_at = "t2";
	assert_string_equal(decide(&again), "no_target");
	w.load.has_target = true;
	assert_string_equal(decide(&again), "cooldown");
	w.load.spool_bytes = 0;
	w.load.queue_max = 9;
	again.subject.pid = 101;
	assert_string_equal(decide(&again), "admitted");
	w.load.spool_bytes = 3 * GIB;
	w.load.queue_max = 0;
	again = trigger_of("r", 102);
	assert_string_equal(decide(&again), "limit");
	pass(22 * H);
	load_policy("budget: { captures: 2/24h }\nrules:\n" ALERT("r", "cooldown: 10m, limit: 3/24h"));
	again = trigger_of("r", 102);
	assert_string_equal(decide(&again), "budget");
	load_policy("budget: { captures: 3/24h }\nrules:\n" ALERT("r", "cooldown: 10m, limit: 3/24h"));
	again = trigger_of("r", 102);
	assert_string_equal(decide(&again), "space");
	w.load.spool_bytes = 0;
	assert_string_equal(decide(&again), "busy");
	end();
}

static void our_own_mistakes_are_errors(void **state)
{
	(void)state;
	char text[100];
	struct gd_error err = { 0 };
	begin("rules:\n" RULE("r", FREE));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct gd_trigger trigger = trigger_of("r", 100);
	trigger.capture_id = "";
	assert_fails(gd_admission_decide(w.admission, &trigger, &w.load, &w.decision, &err), -EINVAL,
	             &err);
	trigger = trigger_of("r", 100);
	trigger.fingerprint = text;
	assert_fails(gd_admission_decide(w.admission, &trigger, &w.load, &w.decision, &err), -EINVAL,
	             &err);
	trigger = trigger_of("r", 100);
	assert_string_equal(decide(&trigger), "admitted");
	assert_fails(gd_admission_decide(w.admission, &trigger, &w.load, &w.decision, &err), -EEXIST,
	             &err);
	assert_fails(gd_admission_ended(w.admission, "nobody", false, 0, 0, &w.now, &err), -ENOENT,
	             &err);
	end();
}

static void a_rule_that_was_taken_away_has_its_limits_when_it_comes_back(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h") RULE("q", FREE));
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "admitted");
	load_policy("rules:\n" RULE("q", FREE));
	assert_string_equal(ask("q", 100), "admitted");
	restart();
	load_policy("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h"));
	assert_string_equal(ask("r", 100), "limit");
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_ADMITTED], 2);
	/* And another limit counts what was under the one before. */
	load_policy("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h"));
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "limit");
	end();
}

/* ---- clocks and boots ---- */

static void limits_hold_across_a_reboot(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 10m, limit: 3/24h"));
	for (int i = 0; i < 3; i++) {
		assert_string_equal(ask("r", 100 + i), "admitted");
		pass(H);
	}
	reboot(2 * H);
	assert_string_equal(ask("r", 100), "limit"); /* of a process with the same pid and start */
	assert_true(w.decision.retry_ns == 19 * H);
	pass(19 * H);
	/* Not "cooldown": nobody survives a reboot, whatever the numbers say. */
	assert_string_equal(ask("r", 102), "admitted");
	end();
}

static void a_clock_that_is_set_widens_no_limit(void **state)
{
	(void)state;
	static const int64_t jumps[] = { -40 * 365 * D, -D, -1, 1, D, 40 * 365 * D };
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h"));
		assert_string_equal(ask("r", 100), "admitted");
		w.now.realtime_ns += jumps[i];
		pass(H);
		assert_string_equal(ask("r", 100), "admitted");
		assert_string_equal(ask("r", 100), "limit");
		assert_true(w.decision.retry_ns == 23 * H);
		restart();
		assert_string_equal(ask("r", 100), "limit");
		w.now.realtime_ns -= jumps[i];
		restart();
		assert_string_equal(ask("r", 100), "limit");
		assert_true(w.decision.retry_ns == 23 * H);
		end();
		(void)unlink(test_path("state/admission.journal"));
	}
}

static void a_machine_without_a_clock_counts_what_it_knows_has_passed(void **state)
{
	(void)state;
	/* Begun in 2026; then boots in 1970, as without a battery; then the time is known again. */
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h"));
	int64_t real = w.now.realtime_ns;
	assert_string_equal(ask("r", 100), "admitted");
	pass(H);
	reboot(0);
	w.now.realtime_ns = 0;
	reboot(0);
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "limit");
	assert_true(w.decision.retry_ns <= 23 * H);
	assert_true(w.decision.retry_ns > 22 * H);
	pass(2 * H);
	w.now.realtime_ns = real + 4 * H;
	reboot(0);
	/* The one of 1970 is not 56 years old: it came after the first, which is 4 hours old. */
	assert_string_equal(ask("r", 100), "limit");
	assert_true(w.decision.retry_ns >= 20 * H);
	end();
}

static void a_clock_that_was_ahead_makes_nothing_last_for_ever(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 1/24h"));
	w.now.realtime_ns += 30 * 365 * D;
	assert_string_equal(ask("r", 100), "admitted");
	w.now.realtime_ns -= 30 * 365 * D;
	/* Its age is now only what the machine has run: five boots of five hours are enough. */
	for (int i = 0; i < 5; i++) {
		pass(5 * H);
		if (i < 4)
			assert_string_equal(ask("r", 100), "limit");
		if (i < 4)
			reboot(H);
	}
	assert_string_equal(ask("r", 100), "admitted");
	end();
}

static void boottime_never_goes_back(void **state)
{
	(void)state;
	/* A virtual machine that went back to an earlier state, but not its disk. */
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 1/24h"));
	assert_string_equal(ask("r", 100), "admitted");
	w.now.boottime_ns -= 4000 * S;
	restart();
	assert_string_equal(ask("r", 100), "limit");
	assert_true(w.decision.retry_ns <= D);
	end();
}

/* ---- the file ---- */

static void counters_survive(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h") RULE("q", FREE));
	for (int i = 0; i < 10; i++)
		(void)ask("r", 100);
	(void)ask("q", 100);
	(void)ask(NULL, 100);
	for (int i = 0; i < 3; i++) {
		const struct gd_admission_count *count = count_of("r");
		assert_int_equal(count->verdicts[GD_VERDICT_ADMITTED], 2);
		assert_int_equal(count->verdicts[GD_VERDICT_LIMIT], 8);
		assert_int_equal(count_of("q")->verdicts[GD_VERDICT_ADMITTED], 1);
		assert_int_equal(count_of("")->verdicts[GD_VERDICT_ADMITTED], 1);
		if (i == 0)
			restart();
		else
			reboot(H);
	}
	end();
}

static void a_storm_of_refusals_is_a_line_a_second(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" ALERT("r", "cooldown: 0, limit: 2/24h"));
	assert_string_equal(alert("r", "f1", "t1"), "admitted");
	assert_string_equal(alert("r", "f2", "t2"), "admitted");
	off_t before = journal_bytes();
	for (int i = 0; i < 100000; i++) {
		pass(600000); /* within a minute */
		(void)alert("r", "f3", "t3");
		if (i % 2 == 0)
			(void)alert("r", "f1", "t1");
	}
	assert_true(journal_bytes() - before < 61 * 2 * 100);
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_LIMIT], 100000);
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_DUPLICATE], 50000);
	restart();
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_LIMIT], 100000);
	assert_int_equal(count_of("r")->verdicts[GD_VERDICT_DUPLICATE], 50000);
	end();
}

static void the_journal_is_bounded(void **state)
{
	(void)state;
	/* Three months of refusals every second of a storm, and of captures by hand. */
	off_t largest = 0;
	begin(PLENTY "rules:\n" RULE("r", "cooldown: 0, limit: 5/24h"));
	for (int i = 0; i < 30000; i++) {
		pass(S);
		(void)ask("r", 100);
		off_t bytes = journal_bytes();
		largest = bytes > largest ? bytes : largest;
	}
	assert_true(largest <= 260 << 10);
	end();
}

static void captures_by_hand_push_out_none_that_have_limits(void **state)
{
	(void)state;
	begin(PLENTY "rules:\n" RULE("r", "cooldown: 0, limit: 5/24h"));
	for (int i = 0; i < 5; i++)
		assert_string_equal(ask("r", 100), "admitted");
	stop();
	/* In memory: 5000 times fdatasync is for another day. */
	const struct gd_admission_options options = { .host = "h", .boot_id = "b", .now = &w.now };
	assert_int_equal(gd_admission_open_with(&options, &w.admission, w.note, NULL), 0);
	gd_admission_policy(w.admission, w.policy);
	for (int i = 0; i < 5; i++)
		assert_string_equal(ask("r", 100), "admitted");
	for (int i = 0; i < 5000; i++)
		assert_string_equal(ask(NULL, 100), "admitted");
	assert_string_equal(ask("r", 100), "limit");
	end();
}

static void only_one_process_has_it_open(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", FREE));
	(void)ask("r", 100);
	pid_t pid = fork();
	if (pid == 0) {
		struct gd_admission *other;
		char note[248];
		struct gd_error err = { 0 };
		int r = gd_admission_open(test_path("state"), "h", &other, note, &err);
		_exit(r == -EBUSY ? 0 : 1);
	}
	test_child_exits(pid, 0);
	stop();
	pid = fork();
	if (pid == 0) {
		struct gd_admission *other;
		char note[248];
		_exit(gd_admission_open(test_path("state"), "h", &other, note, NULL) == 0 ? 0 : 1);
	}
	test_child_exits(pid, 0);
	start();
	end();
}

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	begin("rules:\n" RULE("r", FREE));
	stop();
	char path[256];
	(void)snprintf(path, sizeof(path), "%s", test_path("state/admission.journal"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_int_equal(unlink(path), 0);
	start();
	end();
}

static void its_folder_is_made_but_none_above(void **state)
{
	(void)state;
	struct gd_admission *admission;
	struct gd_error err = { 0 };
	struct stat st;
	char note[248];
	char dir[256];
	(void)snprintf(dir, sizeof(dir), "%s", test_path("made"));
	assert_ok(gd_admission_open(dir, "host", &admission, note, &err), &err);
	gd_admission_close(admission);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	(void)snprintf(dir, sizeof(dir), "%s", test_path("no/such"));
	assert_fails(gd_admission_open(dir, "host", &admission, note, &err), -ENOENT, &err);
	assert_contains(err.msg, "no/such: make the directory");
	(void)snprintf(dir, sizeof(dir), "%s", test_path("made/admission.journal"));
	assert_fails(gd_admission_open(dir, "host", &admission, note, &err), -ENOTDIR, &err);
}

static void slurp(struct gd_buf *to)
{
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("state/admission.journal"), to, &err), &err);
}

static void spill(const void *bytes, size_t n)
{
	GD_CLOSE int fd = open(test_path("state/admission.journal"), O_WRONLY | O_TRUNC | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(gd_io_write_all(fd, bytes, n, NULL), 0);
}

static void a_journal_torn_anywhere_in_its_last_line_loses_only_that(void **state)
{
	(void)state;
	GD_BUF struct gd_buf whole = GD_BUF_INIT(1 << 20);
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 4/24h"));
	for (int i = 0; i < 2; i++)
		(void)ask("r", 100);
	stop();
	slurp(&whole);
	size_t two = whole.len;
	start();
	(void)ask("r", 100);
	stop();
	gd_buf_reset(&whole);
	slurp(&whole);
	assert_true(whole.len > two);
	for (size_t cut = two + 1; cut < whole.len; cut++) {
		spill(whole.data, cut);
		start();
		/* The third stands once its line is whole; its counter follows. */
		unsigned left = 0;
		while (strcmp(ask("r", 100), "admitted") == 0)
			left++;
		assert_in_range(left, 1, 2);
		assert_string_equal(w.note,
		                    whole.data[cut - 1] == '\n'
		                            ? ""
		                            : "admission.journal: the last line was torn and is cut off");
		/* What was appended afterwards does not hang on to the rest of a torn line. */
		restart();
		assert_string_equal(w.note, "");
		assert_string_equal(ask("r", 100), "limit");
		stop();
	}
	assert_int_not_equal(access(test_path("state/admission.journal.bad"), F_OK), 0);
	/* A file that grew but was never written, as after a power cut. */
	gd_buf_append(&whole, (char[4096]){ 0 }, 4096);
	spill(whole.data, whole.len);
	start();
	assert_contains(w.note, "torn");
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "limit");
	end();
}

static void damage_is_put_aside_and_the_rest_is_kept(void **state)
{
	(void)state;
	GD_BUF struct gd_buf whole = GD_BUF_INIT(1 << 20);
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h"));
	for (int i = 0; i < 3; i++)
		(void)ask("r", 100);
	stop();
	slurp(&whole);
	(void)gd_buf_str(&whole);
	char *second = strstr(whole.data, " c-2 ");
	assert_non_null(second);
	second[3] = '7';
	spill(whole.data, whole.len);
	start();
	assert_contains(w.note, "1 lines were damaged");
	assert_int_equal(access(test_path("state/admission.journal.bad"), F_OK), 0);
	assert_string_equal(ask("r", 100), "admitted"); /* two are known */
	assert_string_equal(ask("r", 100), "limit");
	restart();
	assert_string_equal(w.note, ""); /* written anew */
	assert_string_equal(ask("r", 100), "limit");
	/* Nothing of it is ours. */
	stop();
	for (size_t i = 0; i < whole.len; i++)
		whole.data[i] = (char)(i * 7 % 251);
	spill(whole.data, whole.len);
	start();
	assert_string_equal(ask("r", 100), "admitted");
	end();
}

static void every_flipped_byte_is_noticed(void **state)
{
	(void)state;
	GD_BUF struct gd_buf whole = GD_BUF_INIT(1 << 20);
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h"));
	(void)ask("r", 100);
	(void)ask("r", 100);
	stop();
	slurp(&whole);
	for (size_t i = 0; i < whole.len; i++) {
		whole.data[i] ^= 0x10;
		spill(whole.data, whole.len);
		start();
		assert_string_not_equal(w.note, "");
		stop();
		whole.data[i] ^= 0x10;
	}
	end();
}

/* ---- disks that fail ---- */

static unsigned admitted_in_file(void)
{
	restart();
	const struct gd_admission_count *counts;
	size_t n = gd_admission_counts(w.admission, &counts);
	for (size_t i = 0; i < n; i++)
		if (strcmp(counts[i].rule, "r") == 0)
			return (unsigned)counts[i].verdicts[GD_VERDICT_ADMITTED];
	return 0;
}

static void a_disk_that_fails_at_any_call_admits_nothing_it_does_not_know(void **state)
{
	(void)state;
	static const int errors[] = { ENOSPC, EIO, FAULT_SHORT };
	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		for (unsigned n = 1;; n++) {
			begin("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h"));
			unsigned admitted = 0;
			bool refused = false;
			fault_arm(FAULT_WRITE | FAULT_FSYNC, n, errors[e]);
			for (int i = 0; i < 6; i++) {
				const char *verdict = ask("r", 100);
				admitted += strcmp(verdict, "admitted") == 0;
				refused |= strcmp(verdict, "space") == 0;
			}
			bool fired = fault_disarm();
			assert_int_equal(admitted, 3);
			assert_int_equal(admitted_in_file(), 3);
			assert_string_equal(ask("r", 100), "limit");
			end();
			assert_int_equal(unlink(test_path("state/admission.journal")), 0);
			if (!fired)
				break;
			(void)refused;
		}
	}
}

static void opening_and_compacting_may_fail_anywhere_and_lose_nothing(void **state)
{
	(void)state;
	static const int errors[] = { ENOSPC, EIO };
	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		for (unsigned n = 1;; n++) {
			struct gd_error err = { 0 };
			begin("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h"));
			assert_string_equal(ask("r", 100), "admitted");
			assert_string_equal(ask("r", 100), "admitted");
			stop();
			/* Another boot: it is written anew. */
			(void)snprintf(w.boot, sizeof(w.boot), "boot-%u-%zu", n, e);
			fault_arm(FAULT_FILES | FAULT_NAMES | FAULT_MEMORY, n, errors[e]);
			bool opened = try_open(&err) == 0;
			bool told = opened && strcmp(ask("r", 100), "admitted") == 0;
			bool fired = fault_disarm();
			if (!opened)
				assert_string_not_equal(err.msg, "");
			if (!opened)
				start();
			if (!told)
				assert_string_equal(ask("r", 100), "admitted");
			assert_string_equal(ask("r", 100), "limit");
			restart();
			assert_string_equal(w.note, "");
			assert_string_equal(ask("r", 100), "limit");
			end();
			assert_int_equal(unlink(test_path("state/admission.journal")), 0);
			if (!fired)
				break;
		}
	}
}

static void a_full_disk_admits_nothing_until_there_is_room(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 3/24h"));
	assert_string_equal(ask("r", 100), "admitted");
	fault_arm_from(FAULT_WRITE, 1, ENOSPC);
	for (int i = 0; i < 5; i++) {
		assert_string_equal(ask("r", 100), "space");
		assert_contains(w.decision.why, "No space left on device");
		pass(2 * S);
	}
	/* The agent starts all the same. */
	reboot(H);
	assert_string_equal(ask("r", 100), "space");
	assert_true(fault_disarm());
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "admitted");
	assert_string_equal(ask("r", 100), "limit");
	restart();
	assert_string_equal(ask("r", 100), "limit");
	end();
}

static void a_line_that_does_not_fit_is_taken_back(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 4/24h"));
	assert_string_equal(ask("r", 100), "admitted");
	off_t before = journal_bytes();
	struct rlimit usual;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	for (rlim_t room = 0; room < 60; room += 7) {
		/* So many bytes of the line are written before the next write fails. */
		const struct rlimit small = { (rlim_t)before + room, usual.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		const char *verdict = ask("r", 100);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
		assert_string_equal(verdict, "space");
		assert_int_equal(journal_bytes(), before);
	}
	(void)signal(SIGXFSZ, SIG_DFL);
	for (int i = 0; i < 3; i++)
		assert_string_equal(ask("r", 100), "admitted");
	restart();
	assert_string_equal(w.note, "");
	assert_string_equal(ask("r", 100), "limit");
	end();
}

static ino_t journal_inode(void)
{
	struct stat st;
	assert_int_equal(stat(test_path("state/admission.journal"), &st), 0);
	return st.st_ino;
}

static void a_file_whose_sync_failed_is_not_trusted_again(void **state)
{
	(void)state;
	begin("rules:\n" RULE("r", "cooldown: 0, limit: 2/24h"));
	assert_string_equal(ask("r", 100), "admitted");
	ino_t before = journal_inode();
	fault_arm(FAULT_FSYNC, 1, EIO);
	assert_string_equal(ask("r", 100), "space");
	assert_true(fault_disarm());
	/* The kernel may have dropped what it could not write and say 0 from now on. */
	assert_string_equal(ask("r", 100), "admitted");
	assert_true(journal_inode() != before);
	assert_string_equal(ask("r", 100), "limit");
	restart();
	assert_string_equal(ask("r", 100), "limit");
	end();
}

/* ---- SIGKILL ---- */

/* Admits as fast as it can and says so, until it is killed. */
static void admit_until_killed(int tell_fd, unsigned life)
{
	struct gd_admission *admission;
	char note[248];
	char id[64];
	const struct gd_rule *rule = &w.policy->rules[0];
	if (gd_admission_open(test_path("state"), "host", &admission, note, NULL) < 0)
		_exit(1);
	gd_admission_policy(admission, w.policy);
	for (unsigned i = 0;; i++) {
		(void)snprintf(id, sizeof(id), "k-%u-%u", life, i);
		struct gd_trigger trigger = { .rule = rule,
			                      .service = "a",
			                      .subject = { 100, 1 },
			                      .capture_id = id,
			                      .now = gd_clock_now() };
		struct gd_decision decision;
		if (gd_admission_decide(admission, &trigger, &w.load, &decision, NULL) < 0)
			_exit(2);
		if (decision.verdict == GD_VERDICT_ADMITTED) {
			if (write(tell_fd, id, sizeof(id)) != (ssize_t)sizeof(id))
				_exit(3);
			(void)gd_admission_ended(admission, id, false, 1000, 0, &trigger.now, NULL);
		} else if (decision.verdict != GD_VERDICT_LIMIT) {
			_exit(4);
		}
		/* Reopening compacts, so that kills hit that as well. */
		if (i % 16 == 15) {
			gd_admission_close(admission);
			if (gd_admission_open(test_path("state"), "host", &admission, note, NULL) < 0)
				_exit(5);
			gd_admission_policy(admission, w.policy);
		}
	}
}

static void killed_at_any_moment_it_loses_and_exceeds_nothing(void **state)
{
	(void)state;
	enum { KILLS = 300, LIMIT = 700 };
	static char told[LIMIT + 64][64];
	unsigned n_told = 0;
	unsigned seed = 1;
	struct gd_error err = { 0 };
	memset(&w, 0, sizeof(w));
	(void)test_dir(); /* ours, not one of each child's own */
	load_policy("budget: { captures: 1000000/1h, bytes: 100GiB/1h }\n"
	            "rules:\n" RULE("r", "cooldown: 0, limit: 700/24h"));
	w.load = (struct gd_load){ .queue_max = 8, .has_target = true };
	for (unsigned life = 0; life < KILLS; life++) {
		int fds[2];
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid_t pid = fork();
		if (pid == 0)
			admit_until_killed(fds[1], life);
		(void)close(fds[1]);
		(void)usleep((useconds_t)(rand_r(&seed) % 20000));
		assert_int_equal(kill(pid, SIGKILL), 0);
		while (n_told < LIMIT + 64 &&
		       read(fds[0], told[n_told], 64) == 64)
			n_told++;
		(void)close(fds[0]);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	(void)snprintf(w.host, sizeof(w.host), "host");
	assert_ok(gd_admission_open(test_path("state"), "host", &w.admission, w.note, &err), &err);
	gd_admission_policy(w.admission, w.policy);
	/* All that were told are known: telling their end finds them. */
	w.now = gd_clock_now();
	for (unsigned i = 0; i < n_told; i++)
		capture_ended(told[i], false, 1000, 0);
	uint64_t admitted = count_of("r")->verdicts[GD_VERDICT_ADMITTED];
	print_message("%d kills, %u admitted and told, %" PRIu64 " on disk\n", KILLS, n_told, admitted);
	assert_true(n_told > 0);
	/* What was written but not told yet when the kill came is counted, and only that. */
	assert_true(admitted >= n_told && admitted <= n_told + KILLS);
	assert_true(admitted <= LIMIT);
	w.n = 0;
	while (strcmp(ask("r", 100), "admitted") == 0)
		admitted++;
	assert_string_equal(gd_verdict_names[w.decision.verdict], "limit");
	assert_true(admitted == LIMIT);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(cooldown_is_between_captures_of_one_rule_and_process),
		test_case(a_limit_slides_and_knows_no_pids),
		test_case(budgets_of_the_host_hold_for_all_rules_together),
		test_case(budgets_of_bytes_and_pauses_count_what_has_ended),
		test_case(one_alert_is_one_capture),
		test_case(an_alert_whose_capture_came_to_nothing_may_try_again),
		test_case(what_is_refused_is_not_consumed),
		test_case(dedup_makes_the_same_again_seen_again),
		test_case(k_of_n_hosts_capture_and_always_the_same),
		test_case(a_rule_that_keeps_failing_disables_itself),
		test_case(a_rule_can_be_enabled_by_name),
		test_case(by_hand_knows_no_limits_but_space),
		test_case(a_unit_that_fails_in_a_loop_is_no_hand),
		test_case(space_has_a_floor_and_a_ceiling),
		test_case(the_first_no_is_the_verdict),
		test_case(our_own_mistakes_are_errors),
		test_case(a_rule_that_was_taken_away_has_its_limits_when_it_comes_back),
		test_case(limits_hold_across_a_reboot),
		test_case(a_clock_that_is_set_widens_no_limit),
		test_case(a_machine_without_a_clock_counts_what_it_knows_has_passed),
		test_case(a_clock_that_was_ahead_makes_nothing_last_for_ever),
		test_case(boottime_never_goes_back),
		test_case(counters_survive),
		test_case(a_storm_of_refusals_is_a_line_a_second),
		test_case(the_journal_is_bounded),
		test_case(captures_by_hand_push_out_none_that_have_limits),
		test_case(only_one_process_has_it_open),
		test_case(what_is_no_file_is_refused),
		test_case(its_folder_is_made_but_none_above),
		test_case(a_journal_torn_anywhere_in_its_last_line_loses_only_that),
		test_case(damage_is_put_aside_and_the_rest_is_kept),
		test_case(every_flipped_byte_is_noticed),
		test_case(a_disk_that_fails_at_any_call_admits_nothing_it_does_not_know),
		test_case(opening_and_compacting_may_fail_anywhere_and_lose_nothing),
		test_case(a_full_disk_admits_nothing_until_there_is_room),
		test_case(a_line_that_does_not_fit_is_taken_back),
		test_case(a_file_whose_sync_failed_is_not_trusted_again),
		test_case(killed_at_any_moment_it_loses_and_exceeds_nothing),
	};
	return test_run(tests);
}
