#include "policies/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/test.h"

#define S UINT64_C(1000000000)

/* ---- reading ---- */

struct loaded {
	struct gd_policy *policy;
	struct gd_findings findings;
	struct gd_error err;
	int r;
};

static void loaded_deinit(struct loaded *l)
{
	gd_policy_free(l->policy);
	gd_findings_deinit(&l->findings);
}
#define LOADED __attribute__((cleanup(loaded_deinit))) struct loaded

static struct loaded parse(const char *text)
{
	struct loaded l = { 0 };
	l.r = gd_policy_parse("p.yaml", text, strlen(text), &l.policy, &l.findings, &l.err);
	return l;
}

static struct loaded load(const char *path)
{
	struct loaded l = { 0 };
	l.r = gd_policy_load(path, &l.policy, &l.findings, &l.err);
	return l;
}

static void print_all(const struct loaded *l)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	for (size_t i = 0; i < l->findings.n; i++)
		gd_finding_put(&l->findings.list[i], &text);
	print_error("%s", gd_buf_str(&text));
}

static void assert_clean(const struct loaded *l)
{
	if (l->r != 0 || l->findings.n != 0)
		print_all(l);
	assert_ok(l->r, &l->err);
	assert_int_equal(l->findings.n, 0);
	assert_non_null(l->policy);
}

/* Exactly one error, there, which says that. */
static void assert_one(const struct loaded *l, const char *what, unsigned line, unsigned column,
                       const char *says)
{
	const struct gd_finding *f = l->findings.list;
	if (l->r != -EINVAL || l->findings.n != 1 || f->line != line || f->column != column ||
	    strstr(f->text, says) == NULL) {
		print_all(l);
		fail_msg("wanted %u:%u %s of\n%s", line, column, says, what);
	}
	assert_int_equal(f->severity, GD_SEVERITY_ERROR);
	assert_int_equal(l->findings.n_errors, 1);
	assert_null(l->policy);
	assert_contains(l->err.msg, "1 error");
}

/* One service before `rule`, which begins in line 2. */
#define SERVICE "services: [{name: shop, match: {comm: shop}, scrape: \"http://h/m\"}]\n"
#define RULE SERVICE "rules:\n  - name: r\n    service: shop\n"

/* ---- what is right ---- */

static void the_example_of_the_design_loads(void **state)
{
	(void)state;
	LOADED l = parse(
		"services:\n"
		"  - name: checkout\n"
		"    match: { unit: checkout.service }\n"
		"    scrape: http://127.0.0.1:9100/metrics\n"
		"rules:\n"
		"  - name: gc-pause\n"
		"    service: checkout\n"
		"    when: { metric: go_gc_pause_p99, above: 50ms }\n"
		"    for: 40s\n"
		"    clear: 30ms\n"
		"    cooldown: 11m\n"
		"    limit: 6/12h\n"
		"    profile: light\n"
		"  - name: p99-latency\n"
		"    service: checkout\n"
		"    when: { alert: HighRequestLatency, labels: {severity: page, team: pay} }\n"
		"    sample: 3/fleet\n"
		"    unless: { metric: cpu, above: 95% }\n"
		"budget: { captures: 6/1h, concurrent: 1, spool: 5GiB, free: 15%, upload: 20MiB/s, "
		"pause: 50ms }\n"
		"fleet: { size: 500 }\n");
	assert_clean(&l);
	const struct gd_policy *p = l.policy;
	assert_int_equal(p->n_services, 1);
	assert_string_equal(p->services[0].name, "checkout");
	assert_string_equal(p->services[0].match.unit, "checkout.service");
	assert_null(p->services[0].match.exe);
	assert_int_equal(p->services[0].match.uid, -1);
	assert_int_equal(p->services[0].match.listen, 0);
	assert_string_equal(p->services[0].scrape, "http://127.0.0.1:9100/metrics");
	assert_string_equal(p->services[0].scrape_histogram, "http_request_duration_seconds");
	assert_false(p->services[0].debug_port.wanted);
	assert_string_equal(p->services[0].at.file, "p.yaml");
	assert_int_equal(p->services[0].at.line, 2);
	assert_int_equal(p->n_rules, 2);
	const struct gd_rule *gc = gd_policy_rule(p, "gc-pause");
	assert_ptr_equal(gc, &p->rules[0]);
	assert_int_equal(gc->kind, GD_WHEN_METRIC);
	assert_int_equal(gc->when.metric, GD_METRIC_GO_GC_PAUSE_P99);
	assert_false(gc->when.below);
	assert_true(gc->when.level == 0.05);
	assert_true(gc->clear == 0.03);
	assert_true(gc->for_ns == 40 * S && gc->clear_for_ns == 0);
	assert_true(gc->cooldown_ns == 660 * S);
	assert_true(gc->limit.n == 6 && gc->limit.window_ns == 12 * (3600 * S));
	assert_int_equal(gc->profile, GD_POLICY_LIGHT);
	assert_int_equal(gc->at.line, 6);
	assert_int_equal(gc->at.column, 11);
	const struct gd_rule *p99 = gd_policy_rule(p, "p99-latency");
	assert_int_equal(p99->kind, GD_WHEN_ALERT);
	assert_string_equal(p99->alert, "HighRequestLatency");
	assert_int_equal(p99->n_labels, 2);
	assert_string_equal(p99->labels[1].key, "team");
	assert_string_equal(p99->labels[1].value, "pay");
	assert_true(p99->sample_k == 3 && p99->sample_n == 500);
	assert_true(p99->has_unless && p99->unless.metric == GD_METRIC_CPU);
	assert_true(p99->unless.level == 0.95);
	assert_null(gd_policy_rule(p, "gc"));
	assert_true(p->budget.captures.n == 6 && p->budget.captures.window_ns == 3600 * S);
	assert_true(p->budget.spool_bytes == UINT64_C(5) << 30);
	assert_true(p->budget.upload_bytes_per_s == UINT64_C(20) << 20);
	assert_true(p->fleet_size == 500);
	assert_string_equal(p->files[0], "p.yaml");
	assert_null(p->files[1]);
}

static void an_empty_policy_has_the_defaults(void **state)
{
	(void)state;
	LOADED l = parse("# nothing\n");
	assert_clean(&l);
	const struct gd_policy *p = l.policy;
	assert_int_equal(p->n_services, 0);
	assert_int_equal(p->n_rules, 0);
	assert_true(p->budget.captures.n == 20 && p->budget.captures.window_ns == 86400 * S);
	assert_true(p->budget.bytes.n == 0);
	assert_true(p->budget.pause.n == S && p->budget.pause.window_ns == 86400 * S);
	assert_true(p->budget.pause_ns == S / 20);
	assert_true(p->budget.spool_bytes == UINT64_C(2) << 30);
	assert_true(p->budget.free_ratio == 0.15);
	assert_true(p->budget.upload_bytes_per_s == 0);
	assert_null(p->upload);
	assert_string_equal(p->hook.listen, "unix:/run/godiag-hook/hook.sock");
	assert_null(p->hook.tokens);
	assert_true(p->retention.age_ns == 0 && p->retention.count == 0 && p->retention.bytes == 0);
	assert_true(p->fleet_size == 0);
	/* printf '# nothing\n' | sha256sum */
	assert_string_equal(p->digest, "sha256:5e49ea838dc30f3eeacf6ca7815f6e3a"
	                               "dcf77f467a970d978676790fd90377e1");
}

static void a_rule_has_the_defaults_of_its_kind(void **state)
{
	(void)state;
	LOADED l = parse(SERVICE
	                 "rules:\n"
	                 "  - {name: above, service: shop, when: {metric: rss, above: 1000}}\n"
	                 "  - {name: below, service: shop, when: {metric: cpu, below: 10%}}\n"
	                 "  - {name: once, service: shop, when: {metric: cpu, above: 50%}, for: 0}\n"
	                 "  - {name: alert, service: shop, when: {alert: A}}\n"
	                 "  - {name: event, service: shop, when: {event: gone}}\n"
	                 "  - {name: hourly, service: shop, when: {every: 1h, jitter: 5m}}\n"
	                 "  - {name: weekly, service: shop, when: {every: 7d}}\n");
	assert_clean(&l);
	const struct gd_rule *r = l.policy->rules;
	for (size_t i = 0; i < l.policy->n_rules; i++) {
		assert_true(r[i].limit.window_ns == 86400 * S);
		assert_int_equal(r[i].profile, GD_POLICY_STANDARD);
		assert_true(r[i].sample_n == 0 && r[i].dedup_ns == 0 && r[i].clear_for_ns == 0);
		assert_false(r[i].has_unless || r[i].baseline);
		assert_true(r[i].budget.captures.n == 0 && r[i].budget.pause_ns == 0);
		assert_true(r[i].for_ns == (i < 2 ? 30 * S : 0));
		assert_true(r[i].cooldown_ns == (i < 5 ? 600 * S : 0));
		assert_true(r[i].limit.n == (i == 5 ? 25 : 5));
	}
	assert_true(fabs(r[0].clear - 900) < 1e-6);
	assert_true(r[1].when.below && fabs(r[1].clear - 0.11) < 1e-9);
	assert_true(r[5].every_ns == 3600 * S && r[5].jitter_ns == 300 * S);
}

static void every_key_reaches_its_field(void **state)
{
	(void)state;
	LOADED l = parse(
		"services:\n"
		"  - name: a.b_c-1\n"
		"    match: {unit: 'a@*.service', exe: /x/a, comm: a, cmdline: 'a *', cgroup: /a/*,\n"
		"            container: 0123456789ab, listen: 65535, uid: 0}\n"
		"    scrape: {url: \"https://[::1]:1/m\", histogram: my_seconds}\n"
		"    debug_port: {port: 6060, trace: 2s}\n"
		"rules:\n"
		"  - name: r\n"
		"    service: a.b_c-1\n"
		"    when: {event: restarts, count: 3, within: 10m}\n"
		"    cooldown: 0\n"
		"    limit: none\n"
		"    budget: {captures: 2/1h, bytes: 1MiB/2h, pauses: 20ms/3h, pause: 5ms}\n"
		"    sample: 2/7\n"
		"    dedup: 1h\n"
		"    profile: standard\n"
		"    baseline: true\n"
		"  - {name: m, service: a.b_c-1, when: {metric: cpu, below: 10%}, clear: 20%,\n"
		"     clear_for: 3s}\n"
		"budget: {captures: none, bytes: 3GiB/24h, pauses: none}\n"
		"upload: s3://bucket/x\n"
		"retention: {age: 7d, count: 100, bytes: 10GiB}\n"
		"hook: {listen: '[::1]:7077', tokens: /etc/godiag/tokens}\n");
	assert_clean(&l);
	const struct gd_policy *p = l.policy;
	const struct gd_match *m = &p->services[0].match;
	assert_string_equal(m->unit, "a@*.service");
	assert_string_equal(m->exe, "/x/a");
	assert_string_equal(m->comm, "a");
	assert_string_equal(m->cmdline, "a *");
	assert_string_equal(m->cgroup, "/a/*");
	assert_string_equal(m->container, "0123456789ab");
	assert_int_equal(m->listen, 65535);
	assert_int_equal(m->uid, 0);
	assert_string_equal(p->services[0].scrape, "https://[::1]:1/m");
	assert_string_equal(p->services[0].scrape_histogram, "my_seconds");
	const struct gd_debug_port_policy *own = &p->services[0].debug_port;
	assert_true(own->wanted && own->port == 6060 && own->trace_ns == 2 * S);
	const struct gd_rule *r = &p->rules[0];
	assert_int_equal(r->kind, GD_WHEN_EVENT);
	assert_int_equal(r->event, GD_EVENT_RESTARTS);
	assert_true(r->event_count == 3 && r->event_within_ns == 600 * S);
	assert_true(r->cooldown_ns == 0 && r->limit.n == 0);
	assert_true(r->budget.captures.n == 2 && r->budget.captures.window_ns == 3600 * S);
	assert_true(r->budget.bytes.n == UINT64_C(1) << 20 && r->budget.bytes.window_ns == 7200 * S);
	assert_true(r->budget.pause.n == S / 50 && r->budget.pause.window_ns == 10800 * S);
	assert_true(r->budget.pause_ns == S / 200);
	assert_true(r->sample_k == 2 && r->sample_n == 7 && r->dedup_ns == 3600 * S);
	assert_true(r->baseline);
	assert_true(p->rules[1].clear == 0.2 && p->rules[1].clear_for_ns == 3 * S);
	assert_true(p->budget.captures.n == 0 && p->budget.pause.n == 0);
	assert_true(p->budget.bytes.n == UINT64_C(3) << 30);
	assert_string_equal(p->upload, "s3://bucket/x");
	assert_true(p->retention.age_ns == 7 * (86400 * S) && p->retention.count == 100);
	assert_true(p->retention.bytes == UINT64_C(10) << 30);
	assert_string_equal(p->hook.listen, "[::1]:7077");
	assert_string_equal(p->hook.tokens, "/etc/godiag/tokens");
}

static void all_events_and_profiles_are_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < GD_EVENTS; i++) {
		char text[400];
		(void)snprintf(text, sizeof(text), RULE "    when: {event: %s%s}\n",
		               gd_event_names[i],
		               i == GD_EVENT_RESTARTS ? ", count: 2, within: 1m" : "");
		LOADED l = parse(text);
		assert_clean(&l);
		assert_int_equal(l.policy->rules[0].event, i);
	}
	LOADED full = parse(RULE "    when: {alert: A}\n    profile: full\n");
	assert_int_equal(full.r, 0);
	assert_int_equal(full.policy->rules[0].profile, GD_POLICY_FULL);
	assert_int_equal(full.findings.n, 0);
	assert_int_equal(full.policy->rules[0].core, GD_POLICY_CORE_FULL);
}

static void cores_are_read(void **state)
{
	(void)state;
	LOADED none = parse(RULE "    when: {alert: A}\n");
	assert_clean(&none);
	assert_int_equal(none.policy->rules[0].core, GD_POLICY_CORE_NONE);
	assert_false(none.policy->rules[0].consistent || none.policy->rules[0].force_core);
	assert_true(none.policy->core.keep_huge && !none.policy->core.zero_noscan);
	assert_int_equal(none.policy->core.workers, 0);
	LOADED thin = parse(RULE "    when: {alert: A}\n    core: thin\n    consistent: true\n"
	                         "    force_core: true\n"
	                         "core: {zero_noscan: true, keep_huge: false, workers: 3}\n");
	assert_clean(&thin);
	assert_int_equal(thin.policy->rules[0].core, GD_POLICY_CORE_THIN);
	assert_true(thin.policy->rules[0].consistent && thin.policy->rules[0].force_core);
	assert_true(!thin.policy->core.keep_huge && thin.policy->core.zero_noscan);
	assert_int_equal(thin.policy->core.workers, 3);
}

static void cores_that_make_no_sense_are_errors(void **state)
{
	(void)state;
	static const struct {
		const char *more, *says;
	} rows[] = {
		{ "    core: fat\n", "there are none, thin and full" },
		{ "    core: none\n    profile: full\n", "what standard is" },
		{ "    force_core: true\n", "goes with a core" },
		{ "    consistent: perhaps\n", "neither true nor false" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[400];
		(void)snprintf(text, sizeof(text), RULE "    when: {alert: A}\n%s", rows[i].more);
		LOADED l = parse(text);
		assert_int_not_equal(l.r, 0);
		assert_contains(l.findings.list[0].text, rows[i].says);
	}
}

/* ---- what is wrong ---- */

static void mistakes_outside_of_rules_are_errors_at_their_place(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
	} rows[] = {
		{ "- a\n", 1, 1, "a policy is written as a map, not as a list" },
		{ "x\n", 1, 1, "a policy is written as a map, not as a text" },
		{ "rule: []\n", 1, 1, "unknown key \"rule\" in a policy; did you mean \"rules\"?" },
		{ "redaction: {}\n", 1, 1, "unknown key \"redaction\" in a policy" },
		{ "xyzzy: 1\n", 1, 1,
		  "keys are services, rules, budget, upload, retention, core, samples, hook or fleet" },
		{ "samples: { duration: 50ms }\n", 1, 22, "from 100ms to 10m" },
		{ "samples: { duration: 11m }\n", 1, 22, "from 100ms to 10m" },
		{ "samples: { frequency: 0 }\n", 1, 23, "not a whole number from 1" },
		{ "samples: { frequency: 2000 }\n", 1, 23, "from 1 to 1000" },
		{ "samples: { syscalls: perhaps }\n", 1, 22, "neither true nor false" },
		{ "rules:\n", 1, 1, "\"rules\" has no value" },
		{ "rules: {}\n", 1, 8, "rules: expected a list, found a map" },
		{ "services: shop\n", 1, 11, "services: expected a list, found a text" },
		{ "services:\n  - shop\n", 2, 5, "a service is written as a map, not as a text" },
		{ "services:\n  - {name: s}\n", 2, 5, "service \"s\" has no match" },
		{ "services:\n  - {match: {comm: s}}\n", 2, 5, "a service has no name" },
		{ "services:\n  - {name: s, match: {}}\n", 2, 22, "would take every process" },
		{ "services:\n  - {name: s, match: {exe: '*', cmdline: '**'}}\n", 2, 22,
		  "would take every process" },
		{ "services:\n  - {name: 'a b', match: {comm: s}}\n", 2, 12, "is not a name" },
		{ "services:\n  - {name: -a, match: {comm: s}}\n", 2, 12, "is not a name" },
		{ "services:\n  - {name: \"\", match: {comm: s}}\n", 2, 12, "is not a name" },
		{ "services:\n  - {name: [a], match: {comm: s}}\n", 2, 12,
		  "expected a name, found a list" },
		{ "services:\n  - {name: a, match: {comm: s}, ports: 1}\n", 2, 33,
		  "unknown key \"ports\" in a service; keys are name, match, scrape or "
		  "debug_port" },
		{ "services:\n  - {name: a, match: {comm: s}}\n  - {name: a, match: {comm: b}}\n", 3,
		  12, "two services are named \"a\"; the first is at p.yaml:2:12" },
		{ "services:\n  - {name: a, match: {com: s}}\n", 2, 23, "did you mean \"comm\"?" },
		{ "services:\n  - {name: a, match: {units: s.service}}\n", 2, 23,
		  "did you mean \"unit\"?" },
		{ "services:\n  - {name: a, match: {unit: s}}\n", 2, 29,
		  "did you mean \"s.service\"?" },
		{ "services:\n  - {name: a, match: {exe: shop}}\n", 2, 28,
		  "did you mean \"*/shop\"?" },
		{ "services:\n  - {name: a, match: {cgroup: a/b}}\n", 2, 31,
		  "cgroup: \"a/b\" is a path and begins with / or *" },
		{ "services:\n  - {name: a, match: {comm: a-very-long-name}}\n", 2, 29,
		  "write \"a-very-long-nam\"" },
		{ "services:\n  - {name: a, match: {comm: '[a'}}\n", 2, 29, "[ without ]" },
		{ "services:\n  - {name: a, match: {comm: \"\"}}\n", 2, 29, "an empty text" },
		{ "services:\n  - {name: a, match: {comm: \"a\\tb\"}}\n", 2, 29,
		  "control character" },
		{ "services:\n  - {name: a, match: {comm: [a]}}\n", 2, 29,
		  "comm: expected a text, found a list" },
		{ "services:\n  - {name: a, match: {container: 0123456789a}}\n", 2, 34,
		  "12 to 64 hex digits" },
		{ "services:\n  - {name: a, match: {container: shop}}\n", 2, 34,
		  "12 to 64 hex digits" },
		{ "services:\n  - {name: a, match: {listen: 0}}\n", 2, 31, "not a TCP port" },
		{ "services:\n  - {name: a, match: {listen: 65536}}\n", 2, 31, "write 1 to 65535" },
		{ "services:\n  - {name: a, match: {listen: http}}\n", 2, 31, "not a TCP port" },
		{ "services:\n  - {name: a, match: {uid: root}}\n", 2, 28, "write the number" },
		{ "services:\n  - {name: a, match: {uid: 4294967295}}\n", 2, 28, "not a user id" },
		{ "services:\n  - {name: a, match: {uid: -1}}\n", 2, 28, "not a user id" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    scrape: ftp://h/x\n", 4, 13,
		  "is not a URL such as" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    scrape: http:///x\n", 4, 13,
		  "is not a URL such as" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    scrape: http://u:p@h/x\n", 4, 13,
		  "a user or password in the URL" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    scrape: {histogram: h}\n", 4, 13,
		  "scrape has no url" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    scrape: {uri: \"http://h\"}\n",
		  4, 14, "did you mean \"url\"?" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    debug_port: yes\n", 4, 17,
		  "write 1 to 65535, any or off" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    debug_port: 65536\n", 4, 17,
		  "is not a TCP port" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    debug_port: [6060]\n", 4, 17,
		  "debug_port is written as a map, not as a list" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    debug_port: {trace: 1s}\n", 4,
		  17, "debug_port has no port" },
		{ "services:\n  - name: a\n    match: {comm: a}\n    debug_port: {port: any, trace: "
		  "2m}\n", 4, 36, "from 10ms to 1m, or 0" },
		{ "budget: 5\n", 1, 9, "budget is written as a map, not as a text" },
		{ "budget: {capture: 5/1h}\n", 1, 10, "did you mean \"captures\"?" },
		{ "budget: {captures: 5}\n", 1, 20, "write 5/24h or none" },
		{ "budget: {captures: x/1h}\n", 1, 20, "is not a rate" },
		{ "budget: {captures: 0/1h}\n", 1, 20, "is not a rate" },
		{ "budget: {captures: 5/h}\n", 1, 20, "\"h\" is not a duration" },
		{ "budget: {captures: 5/0}\n", 1, 20, "has no time in it" },
		{ "budget: {captures: 5/400d}\n", 1, 20, "longer than a year" },
		{ "budget: {captures: [5]}\n", 1, 20, "expected 5/24h or none, found a list" },
		{ "budget: {bytes: 5/1h/1h}\n", 1, 17, "\"1h/1h\" is not a duration" },
		{ "budget: {bytes: 5GB}\n", 1, 17, "write 2GiB/24h or none" },
		{ "budget: {pause: 1s/24h}\n", 1, 17, "for their sum write pauses: 1s/24h" },
		{ "budget: {pause: 50}\n", 1, 17, "\"50\" is not a duration" },
		{ "budget: {pauses: 50ms}\n", 1, 18, "write 1s/24h or none" },
		{ "budget: {spool: 5G}\n", 1, 17, "\"5G\" is not a size" },
		{ "budget: {spool: 0}\n", 1, 17, "no room for anything" },
		{ "budget: {free: 15}\n", 1, 16, "did you mean 15%?" },
		{ "budget: {free: 100%}\n", 1, 16, "leaves nothing" },
		{ "budget: {upload: 20MiB}\n", 1, 18, "such as 20MiB/s" },
		{ "budget: {upload: 0/s}\n", 1, 18, "such as 20MiB/s" },
		{ "budget: {concurrent: 2}\n", 1, 22, "one capture at a time" },
		{ "upload: ftp://x\n", 1, 9, "write s3://BUCKET/PREFIX" },
		{ "upload: s3://\n", 1, 9, "is no place" },
		{ "upload: https://key:secret@h/b\n", 1, 9, "credentials do not belong" },
		{ "retention: {age: 7}\n", 1, 18, "\"7\" is not a duration" },
		{ "retention: {ages: 7d}\n", 1, 13, "did you mean \"age\"?" },
		{ "retention: {count: 1.5}\n", 1, 20, "not a whole number" },
		{ "retention: {bytes: 10%}\n", 1, 20, "is not a size" },
		{ "hook: {listen: 0.0.0.0:7077}\n", 1, 16, "no loopback address" },
		{ "hook: {listen: \"[::]:7077\"}\n", 1, 16, "no loopback address" },
		{ "hook: {listen: localhost:7077}\n", 1, 16, "no place to listen" },
		{ "hook: {listen: 127.0.0.1}\n", 1, 16, "no place to listen" },
		{ "hook: {listen: \"::1:7077\"}\n", 1, 16, "no place to listen" },
		{ "hook: {listen: \"[127.0.0.1]:7077\"}\n", 1, 16, "no place to listen" },
		{ "hook: {listen: 127.0.0.1:0}\n", 1, 16, "no place to listen" },
		{ "hook: {listen: unix:run/x}\n", 1, 16, "absolute path" },
		{ "hook: {tokens: tokens}\n", 1, 16, "not an absolute path" },
		{ "hook: {socket: x}\n", 1, 8, "keys are listen or tokens" },
		{ "fleet: {size: 0}\n", 1, 15, "a whole number from 1" },
		{ "fleet: {size: 99999999999}\n", 1, 15, "a whole number from 1" },
		{ "fleet: 500\n", 1, 8, "keys are size" },
		{ "a: b: c\n", 1, 5, "not YAML" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		LOADED l = parse(rows[i].text);
		assert_one(&l, rows[i].text, rows[i].line, rows[i].column, rows[i].says);
	}
}

/* `text` follows RULE: its first line is line 5. */
static void mistakes_in_rules_are_errors_at_their_place(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
	} rows[] = {
		{ "    when: {metric: go_gc_pause_p9, above: 50ms}\n", 5, 20,
		  "unknown metric \"go_gc_pause_p9\"; did you mean \"go_gc_pause_p99\"?" },
		{ "    when: {metric: cpu, above: 50ms}\n", 5, 32,
		  "above of cpu: \"50ms\" is not a part of a whole; write 95% or 0.95" },
		{ "    when: {metric: cpu, above: 95}\n", 5, 32, "did you mean 95%?" },
		{ "    when: {metric: go_gc_pause_p99, above: 50}\n", 5, 44, "such as 250ms" },
		{ "    when: {metric: rss, above: 50%}\n", 5, 32, "is not a size" },
		{ "    when: {metric: cpu, above: 100%}\n", 5, 32, "cpu is never above 100 %" },
		{ "    when: {metric: rss, below: 0}\n", 5, 32, "rss is never below 0" },
		{ "    when: {metric: cpu}\n", 5, 11, "neither above nor below" },
		{ "    when: {metric: cpu, above: 1%, below: 2%}\n", 5, 11,
		  "both above and below" },
		{ "    when: {metric: cpu, abov: 95%}\n", 5, 25,
		  "unknown key \"abov\" in a condition; did you mean \"above\"?" },
		{ "    when: {metric: cpu, above: 5%, within: 1m}\n", 5, 36,
		  "unknown key \"within\" in a condition" },
		{ "    when: {metric: [cpu], above: 5%}\n", 5, 20, "expected the name of a metric" },
		{ "    when: {metric: , above: 5%}\n", 5, 12, "\"metric\" has no value" },
		{ "    when: {metric: cpu, above: }\n", 5, 25, "\"above\" has no value" },
		{ "    when: {metrics: cpu, above: 5%}\n", 5, 12, "did you mean \"metric\"?" },
		{ "    when: {above: 5%}\n", 5, 11, "when is one of {metric: NAME" },
		{ "    when: {}\n", 5, 11, "when is one of {metric: NAME" },
		{ "    when: cpu\n", 5, 11, "when is written as a map" },
		{ "    when:\n", 5, 5, "\"when\" has no value" },
		{ "    when: {metric: cpu, above: 5%, alert: A}\n", 5, 36,
		  "when has both metric and alert; make it two rules" },
		{ "    when: {alert: \"\"}\n", 5, 19, "alert: an empty text" },
		{ "    when: {alert: A, label: {a: b}}\n", 5, 22, "did you mean \"labels\"?" },
		{ "    when: {alert: A, labels: [a]}\n", 5, 30, "labels: expected a map" },
		{ "    when: {alert: A, labels: {a: [b]}}\n", 5, 34, "a: expected a text" },
		{ "    when: {event: restart, count: 3, within: 1m}\n", 5, 19,
		  "unknown event \"restart\"; did you mean \"restarts\"?" },
		{ "    when: {event: crash}\n", 5, 19, "events are gone, restarts" },
		{ "    when: {event: restarts}\n", 5, 11, "restarts has no count" },
		{ "    when: {event: restarts, count: 3}\n", 5, 11, "restarts has no within" },
		{ "    when: {event: restarts, count: 3, within: 0}\n", 5, 47,
		  "nothing happens within 0" },
		{ "    when: {event: restarts, count: 0, within: 1m}\n", 5, 36,
		  "a whole number from 1" },
		{ "    when: {event: gone, count: 3}\n", 5, 25,
		  "\"count\" goes with event: restarts, not with gone" },
		{ "    when: {event: oom, within: 1m}\n", 5, 24,
		  "\"within\" goes with event: restarts, not with oom" },
		{ "    when: {every: 10s}\n", 5, 19, "at least a minute" },
		{ "    when: {every: 1h, jitter: 1h}\n", 5, 31, "less than every" },
		{ "    when: {every: daily}\n", 5, 19, "\"daily\" is not a duration" },
		{ "    when: {alert: A}\n    for: 5s\n", 6, 5,
		  "\"for\" goes with a metric, not with an alert" },
		{ "    when: {event: gone}\n    for: 5s\n", 6, 5,
		  "\"for\" goes with a metric, not with an event" },
		{ "    when: {every: 1h}\n    for: 5s\n", 6, 5, "not with a schedule" },
		{ "    when: {alert: A}\n    clear: 5\n", 6, 5, "\"clear\" goes with a metric" },
		{ "    when: {alert: A}\n    clear_for: 5s\n", 6, 5, "\"clear_for\" goes with a" },
		{ "    when: {metric: cpu, above: 90%}\n    for: 30\n", 6, 10,
		  "for: \"30\" is not a duration" },
		{ "    when: {metric: cpu, above: 90%}\n    for: -30s\n", 6, 10,
		  "for: \"-30s\" is not a duration" },
		{ "    when: {metric: cpu, above: 90%}\n    clear: 95%\n", 6, 12,
		  "95 % is on the wrong side: above 90 % re-arms at 90 % or less" },
		{ "    when: {metric: cpu, below: 10%}\n    clear: 5%\n", 6, 12,
		  "5 % is on the wrong side: below 10 % re-arms at 10 % or more" },
		{ "    when: {metric: cpu, above: 90%}\n    clear: 5ms\n", 6, 12,
		  "clear of cpu: \"5ms\"" },
		{ "    when: {metric: cpu, above: 90%}\n    clear: {}\n", 6, 12,
		  "clear: expected a level, found a map" },
		{ "    when: {metric: cpu, above: 90%}\n    cooldwn: 5m\n", 6, 5,
		  "unknown key \"cooldwn\" in a rule; did you mean \"cooldown\"?" },
		{ "    when: {alert: A}\n    cooldown: 5\n", 6, 15, "\"5\" is not a duration" },
		{ "    when: {alert: A}\n    cooldown: [5]\n", 6, 15,
		  "expected a duration such as 250ms" },
		{ "    when: {alert: A}\n    limit: 5\n", 6, 12, "does not say in which time" },
		{ "    when: {alert: A}\n    limit: 5/24\n", 6, 12, "\"24\" is not a duration" },
		{ "    when: {alert: A}\n    profile: ligth\n", 6, 14,
		  "unknown profile \"ligth\"; did you mean \"light\"?" },
		{ "    when: {alert: A}\n    profile: everything\n", 6, 14,
		  "profiles are light, standard and full" },
		{ "    when: {alert: A}\n    baseline: yes\n", 6, 15, "neither true nor false" },
		{ "    when: {alert: A}\n    sample: 3/fleet\n", 6, 13,
		  "write fleet: {size: 500} at the top" },
		{ "    when: {alert: A}\n    sample: 5/3\n", 6, 13, "5 of 3 hosts are more" },
		{ "    when: {alert: A}\n    sample: 10%\n", 6, 13, "\"10%\" is no sample" },
		{ "    when: {alert: A}\n    sample: 3/flet\n", 6, 13, "is no sample" },
		{ "    when: {alert: A}\n    sample: 0/5\n", 6, 13, "is no sample" },
		{ "    when: {alert: A}\n    sample: 1/5x\n", 6, 13, "is no sample" },
		{ "    when: {alert: A}\n    unless: {metric: cpu, above: 95}\n", 6, 34,
		  "did you mean 95%?" },
		{ "    when: {alert: A}\n    unless: {cpu: 95%}\n", 6, 14,
		  "unknown key \"cpu\" in a condition; keys are metric, above or below" },
		{ "    whne: {alert: A}\n", 5, 5, "did you mean \"when\"?" },
		{ "    when: {metric: cpu, above: 5%}\n    clear:\n", 6, 5,
		  "\"clear\" has no value" },
		{ "    when: {alert: A}\n    unless: {metric: cpu, above: 5%}\n    profile: light\n",
		  6, 5, "\"unless\" degrades to light" },
		{ "    when: {alert: A}\n    budget: {spool: 1GiB}\n", 6, 14,
		  "\"spool\" is the host's" },
		{ "    when: {alert: A}\n    budget: {free: 5%}\n", 6, 14, "\"free\" is the host's" },
		{ "    when: {every: 1h}\n    cooldown: 2h\n", 6, 15,
		  "longer than the 1 h 00 m between captures" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[600];
		(void)snprintf(text, sizeof(text), RULE "%s", rows[i].text);
		LOADED l = parse(text);
		assert_one(&l, rows[i].text, rows[i].line, rows[i].column, rows[i].says);
	}
}

static void what_a_rule_lacks_is_said_at_the_rule(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
	} rows[] = {
		{ SERVICE "rules:\n  - {service: shop, when: {alert: A}}\n", 3, 5,
		  "a rule has no name" },
		{ SERVICE "rules:\n  - {name: r, when: {alert: A}}\n", 3, 5,
		  "rule \"r\" has no service" },
		{ SERVICE "rules:\n  - {name: r, service: shop}\n", 3, 5, "rule \"r\" has no when" },
		{ SERVICE "rules:\n  - r\n", 3, 5, "a rule is written as a map" },
		{ SERVICE "rules:\n  - {name: r, service: shp, when: {alert: A}}\n", 3, 24,
		  "unknown service \"shp\"; did you mean \"shop\"?" },
		{ "rules:\n  - {name: r, service: shop, when: {alert: A}}\n", 2, 24,
		  "unknown service \"shop\"" },
		{ SERVICE "rules:\n  - {name: r, service: shop, when: {alert: A}}\n"
		          "  - {name: s, service: shop, when: {alert: A}}\n"
		          "  - {name: r, service: shop, when: {alert: A}}\n",
		  5, 12, "two rules are named \"r\"; the first is at p.yaml:3:12" },
		{ "services: [{name: a, match: {comm: a}}]\n"
		  "rules: [{name: r, service: a, when: {metric: http_p99, above: 1s}}]\n",
		  2, 28, "service \"a\" has no scrape, where http_p99 would come from" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		LOADED l = parse(rows[i].text);
		assert_one(&l, rows[i].text, rows[i].line, rows[i].column, rows[i].says);
	}
}

static void all_mistakes_are_found_in_one_run_in_their_order(void **state)
{
	(void)state;
	LOADED l = parse("rules:\n"
	                 "  - name: r\n"
	                 "    service: shpo\n"
	                 "    when: {metric: gc_pause_p99, above: 50ms}\n"
	                 "    coldown: 5m\n"
	                 "services:\n"
	                 "  - name: shop\n"
	                 "    match: {comm: &x shop, port: 5}\n"
	                 "budget: {captures: 5}\n"
	                 "budgets: {}\n");
	static const char *const wanted[] = {
		"p.yaml:3:14: error: unknown service \"shpo\"; did you mean \"shop\"?\n",
		"p.yaml:4:20: error: unknown metric \"gc_pause_p99\"; did you mean "
		"\"go_gc_pause_p99\"?\n",
		"p.yaml:5:5: error: unknown key \"coldown\" in a rule; did you mean "
		"\"cooldown\"?\n",
		"p.yaml:8:19: error: anchor \"&x\": anchors are not allowed here\n",
		"p.yaml:8:28: error: unknown key \"port\" in a match; keys are unit, exe, comm, "
		"cmdline, cgroup, container, listen or uid\n",
		"p.yaml:9:20: error: captures: \"5\" does not say in which time; write 5/24h or "
		"none\n",
		"p.yaml:10:1: error: unknown key \"budgets\" in a policy; did you mean "
		"\"budget\"?\n",
	};
	assert_int_equal(l.r, -EINVAL);
	assert_int_equal(l.findings.n, 7);
	for (size_t i = 0; i < l.findings.n; i++) {
		GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
		gd_finding_put(&l.findings.list[i], &text);
		assert_string_equal(gd_buf_str(&text), wanted[i]);
	}
	assert_contains(l.err.msg, "7 errors, first p.yaml:3:14: error: unknown service");
}

static void errors_beyond_a_hundred_are_counted(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_puts(&text, "services:\n");
	for (unsigned i = 0; i < 250; i++)
		gd_buf_printf(&text, "  - {name: s%u}\n", i);
	LOADED l = parse(gd_buf_str(&text));
	assert_int_equal(l.r, -EINVAL);
	assert_int_equal(l.findings.n, GD_FINDINGS_MAX);
	assert_int_equal(l.findings.n_errors, 250);
	assert_contains(l.err.msg, "250 errors");
}

static void services_and_rules_have_ceilings(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_puts(&text, "services:\n");
	for (unsigned i = 0; i <= GD_POLICY_SERVICES_MAX; i++)
		gd_buf_printf(&text, "  - {name: s%u, match: {uid: %u}}\n", i, i);
	LOADED l = parse(gd_buf_str(&text));
	assert_one(&l, "services", GD_POLICY_SERVICES_MAX + 2, 5, "more than 256 services");
	gd_buf_reset(&text);
	gd_buf_puts(&text, SERVICE "rules:\n");
	for (unsigned i = 0; i <= GD_POLICY_RULES_MAX; i++)
		gd_buf_printf(&text, "  - {name: r%u, service: shop, when: {alert: A}}\n", i);
	LOADED m = parse(gd_buf_str(&text));
	assert_one(&m, "rules", GD_POLICY_RULES_MAX + 3, 5, "more than 1024 rules");
}

static void labels_have_a_ceiling(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_puts(&text, RULE "    when:\n      alert: A\n      labels:\n");
	for (unsigned i = 0; i <= GD_POLICY_LABELS_MAX; i++)
		gd_buf_printf(&text, "        l%u: v\n", i);
	LOADED l = parse(gd_buf_str(&text));
	assert_one(&l, "labels", 8 + GD_POLICY_LABELS_MAX, 9, "more than 16 labels");
}

static void a_schedule_that_its_limit_starves_is_a_warning(void **state)
{
	(void)state;
	LOADED l = parse(RULE "    when: {every: 1h}\n    limit: 5/24h\n");
	assert_int_equal(l.r, 0);
	assert_non_null(l.policy);
	assert_int_equal(l.findings.n, 1);
	assert_int_equal(l.findings.n_errors, 0);
	assert_int_equal(l.findings.list[0].severity, GD_SEVERITY_WARNING);
	assert_int_equal(l.findings.list[0].line, 6);
	assert_int_equal(l.findings.list[0].column, 12);
	assert_contains(l.findings.list[0].text, "24 captures are due in that time, 5 get through");
}

static void what_can_never_happen_is_a_warning(void **state)
{
	(void)state;
	LOADED l = parse("services:\n"
	                 "  - {name: a, match: {comm: a, uid: 1}}\n"
	                 "  - {name: b, match: {comm: a, uid: 2}}\n"
	                 "  - {name: c, match: {uid: 1, comm: a}}\n"
	                 "rules:\n"
	                 "  - {name: r, service: a, when: {alert: A}}\n"
	                 "hook: {listen: off}\n");
	assert_int_equal(l.r, 0);
	assert_int_equal(l.findings.n, 2);
	assert_int_equal(l.findings.n_errors, 0);
	assert_int_equal(l.findings.list[0].line, 4);
	assert_int_equal(l.findings.list[0].column, 22);
	assert_string_equal(l.findings.list[0].text,
	                    "\"c\" never has a process: \"a\" at p.yaml:2:12 takes the same");
	assert_int_equal(l.findings.list[1].line, 6);
	assert_int_equal(l.findings.list[1].column, 41);
	assert_string_equal(l.findings.list[1].text, "alert: never arrives, the hook is off");
	assert_string_equal(l.policy->hook.listen, "off");
}

static void foreign_bytes_in_findings_are_escaped(void **state)
{
	(void)state;
	LOADED l = parse("\"\\e[31mred\": 1\n");
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	assert_int_equal(l.findings.n, 1);
	gd_finding_put(&l.findings.list[0], &text);
	assert_contains(gd_buf_str(&text), "p.yaml:1:1: error: unknown key \"\\x1b[31mred\"");
}

/* ---- files and folders ---- */

static const char *put(const char *name, const char *text)
{
	return test_file(name, text, strlen(text));
}

static const char *folder(const char *name)
{
	const char *path = test_path(name);
	assert_int_equal(mkdir(path, 0755), 0);
	return path;
}

static void drop_ins_add_up_in_the_order_of_their_names(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "rules: [{name: r, service: late, when: {alert: A}, sample: 1/fleet}]\n"
	                       "budget: {spool: 1GiB, free: 1%}\nhook: {listen: 127.0.0.1:1}\n");
	put("etc/policy.d/10-a.yaml", "services: [{name: early, match: {uid: 1}}]\n"
	                              "budget: {spool: 3GiB}\n");
	put("etc/policy.d/20-b.yaml", "services: [{name: late, match: {uid: 2}}]\n"
	                              "budget: {spool: 4GiB}\nfleet: {size: 9}\n");
	put("etc/policy.d/.hidden.yaml", "{{{");
	put("etc/policy.d/README", "{{{");
	LOADED l = load(test_path("etc"));
	assert_clean(&l);
	assert_int_equal(l.policy->n_services, 2);
	assert_string_equal(l.policy->services[0].name, "early");
	assert_int_equal(l.policy->rules[0].service, 1);
	assert_true(l.policy->rules[0].sample_n == 9);
	assert_true(l.policy->budget.spool_bytes == UINT64_C(4) << 30);
	assert_true(l.policy->budget.free_ratio == 0.01);
	assert_string_equal(l.policy->hook.listen, "127.0.0.1:1");
	assert_contains(l.policy->files[0], "/etc/policy.yaml");
	assert_contains(l.policy->files[1], "/etc/policy.d/10-a.yaml");
	assert_contains(l.policy->files[2], "/etc/policy.d/20-b.yaml");
	assert_null(l.policy->files[3]);
	assert_contains(l.policy->services[1].at.file, "20-b.yaml");
}

static void a_file_by_itself_and_drop_ins_by_themselves_will_do(void **state)
{
	(void)state;
	put("one.yaml", "fleet: {size: 1}\n");
	LOADED l = load(test_path("one.yaml"));
	assert_clean(&l);
	assert_true(l.policy->fleet_size == 1);
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.d/a.yaml", "fleet: {size: 2}\n");
	LOADED m = load(test_path("etc"));
	assert_clean(&m);
	assert_true(m.policy->fleet_size == 2);
}

static void names_used_twice_in_two_files_name_both_places(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "services:\n  - {name: a, match: {uid: 1}}\n");
	put("etc/policy.d/x.yaml", "# again\nservices:\n  - {name: a, match: {uid: 2}}\n");
	LOADED l = load(test_path("etc"));
	assert_one(&l, "", 3, 12, "two services are named \"a\"; the first is at ");
	assert_contains(l.findings.list[0].file, "/etc/policy.d/x.yaml");
	assert_contains(l.findings.list[0].text, "/etc/policy.yaml:2:12");
}

static void a_broken_file_does_not_make_others_look_broken(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "services:\n  - {name: a, match: {uid: 1}\nfleet: {size: 3}\n");
	put("etc/policy.d/x.yaml",
	    "rules:\n  - {name: r, service: a, when: {alert: A}, sample: 1/fleet, prfile: light}\n");
	LOADED l = load(test_path("etc"));
	assert_int_equal(l.r, -EINVAL);
	assert_int_equal(l.findings.n, 2);
	assert_contains(l.findings.list[0].text, "not YAML");
	assert_contains(l.findings.list[1].text, "did you mean \"profile\"?");
}

static void nothing_to_read_is_not_an_empty_policy(void **state)
{
	(void)state;
	LOADED l = load(test_path("nowhere"));
	assert_fails(l.r, -ENOENT, &l.err);
	(void)folder("etc");
	LOADED m = load(test_path("etc"));
	assert_fails(m.r, -ENOENT, &m.err);
	assert_contains(m.err.msg, "neither policy.yaml nor policy.d/*.yaml");
	assert_int_equal(m.findings.n, 0);
}

/* One finding about a whole file. */
static void assert_whole_file(const struct loaded *l, const char *file, const char *says)
{
	if (l->findings.n != 1)
		print_all(l);
	assert_int_equal(l->r, -EINVAL);
	assert_int_equal(l->findings.n, 1);
	assert_int_equal(l->findings.list[0].line, 0);
	assert_contains(l->findings.list[0].file, file);
	assert_contains(l->findings.list[0].text, says);
}

static void what_everybody_may_write_is_refused(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "fleet: {size: 1}\n");
	put("etc/policy.d/a.yaml", "fleet: {size: 2}\n");
	assert_int_equal(chmod(test_path("etc/policy.d/a.yaml"), 0666), 0);
	LOADED file = load(test_path("etc"));
	assert_whole_file(&file, "/etc/policy.d/a.yaml", "everybody may write it");
	assert_int_equal(chmod(test_path("etc/policy.d/a.yaml"), 0664), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(test_path("etc/policy.d/a.yaml"), 0, 4711), 0);
		LOADED group = load(test_path("etc"));
		assert_int_equal(group.r, 0);
		assert_int_equal(group.findings.n, 1);
		assert_contains(group.findings.list[0].text, "group 4711 may write it");
		assert_int_equal(chown(test_path("etc/policy.d/a.yaml"), 0, 0), 0);
	}
	assert_int_equal(chmod(test_path("etc/policy.d"), 0777), 0);
	LOADED drop_ins = load(test_path("etc"));
	assert_whole_file(&drop_ins, "/etc/policy.d", "chmod o-w");
	assert_int_equal(chmod(test_path("etc/policy.d"), 0755), 0);
	assert_int_equal(chmod(test_path("etc"), 0777), 0);
	LOADED whole = load(test_path("etc"));
	assert_whole_file(&whole, "/etc", "everybody may write it");
	assert_int_equal(chmod(test_path("etc"), 01777), 0);
	LOADED sticky = load(test_path("etc"));
	assert_clean(&sticky);
}

static void what_belongs_to_somebody_else_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root to give a file away");
	put("p.yaml", "fleet: {size: 1}\n");
	assert_int_equal(chown(test_path("p.yaml"), 65534, 65534), 0);
	LOADED l = load(test_path("p.yaml"));
	assert_whole_file(&l, "/p.yaml", "belongs to uid 65534");
}

static void an_unreadable_drop_in_is_an_error(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "rules: [{name: r, service: gone, when: {alert: A}}]\n");
	assert_int_equal(symlink("nowhere", test_path("etc/policy.d/a.yaml")), 0);
	LOADED l = load(test_path("etc"));
	assert_whole_file(&l, "/etc/policy.d/a.yaml", "No such file");
	assert_int_equal(unlink(test_path("etc/policy.d/a.yaml")), 0);
	assert_int_equal(mkfifo(test_path("etc/policy.d/a.yaml"), 0644), 0);
	LOADED fifo = load(test_path("etc"));
	assert_whole_file(&fifo, "/etc/policy.d/a.yaml", "not a file");
	assert_int_equal(unlink(test_path("etc/policy.d/a.yaml")), 0);
	assert_int_equal(rmdir(test_path("etc/policy.d")), 0);
	put("etc/policy.d", "a file");
	LOADED file = load(test_path("etc"));
	assert_whole_file(&file, "/etc/policy.d", "Not a directory");
}

static void links_are_followed_as_container_mounts_need(void **state)
{
	(void)state;
	(void)folder("data");
	(void)folder("etc");
	put("data/policy.yaml", "fleet: {size: 7}\n");
	assert_int_equal(symlink("../data/policy.yaml", test_path("etc/policy.yaml")), 0);
	LOADED l = load(test_path("etc"));
	assert_clean(&l);
	assert_true(l.policy->fleet_size == 7);
}

static void a_drop_in_with_the_wrong_ending_is_a_warning(void **state)
{
	(void)state;
	(void)folder("etc");
	(void)folder("etc/policy.d");
	put("etc/policy.yaml", "");
	put("etc/policy.d/a.yml", "fleet: {size: 2}\n");
	LOADED l = load(test_path("etc"));
	assert_int_equal(l.r, 0);
	assert_int_equal(l.findings.n, 1);
	assert_int_equal(l.findings.list[0].severity, GD_SEVERITY_WARNING);
	assert_contains(l.findings.list[0].text, "a.yml is not read: drop-ins end in .yaml");
}

static void a_file_larger_than_the_ceiling_is_an_error(void **state)
{
	(void)state;
	char *text = malloc((1 << 20) + 1);
	assert_non_null(text);
	memset(text, '\n', (1 << 20) + 1);
	(void)test_file("big.yaml", text, (1 << 20) + 1);
	LOADED l = load(test_path("big.yaml"));
	assert_whole_file(&l, "/big.yaml", "larger than our limit of 1048576 bytes");
	(void)test_file("big.yaml", text, 1 << 20);
	LOADED m = load(test_path("big.yaml"));
	assert_clean(&m);
	free(text);
}

/* ---- the examples ---- */

/* As the tests' own, for the checkout may belong to anybody. */
static struct loaded load_example(const char *name)
{
	char from[200];
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	(void)snprintf(from, sizeof(from), "policies/examples/%s", name);
	assert_ok(gd_io_read_file_at(AT_FDCWD, from, &text, &err), &err);
	return load(test_file(name, text.data, text.len));
}

static void the_examples_load_without_findings(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		size_t services, rules;
	} rows[] = {
		{ "policy.yaml", 0, 0 },
		{ "web-service.yaml", 1, 11 },
		{ "batch-job.yaml", 1, 6 },
		{ "memory-limited-pod.yaml", 1, 8 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		LOADED l = load_example(rows[i].name);
		assert_clean(&l);
		assert_int_equal(l.policy->n_services, rows[i].services);
		assert_int_equal(l.policy->n_rules, rows[i].rules);
	}
}

static void the_example_of_the_manual_loads(void **state)
{
	(void)state;
	GD_BUF struct gd_buf page = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, "docs/godiag-policy.5", &page, &err), &err);
	const char *p = strstr(gd_buf_str(&page), ".SH EXAMPLES");
	assert_non_null(p);
	p = strstr(p, "\n.EX\n");
	assert_non_null(p);
	for (p += 5; strncmp(p, "\n.EE", 4) != 0 && *p != '\0'; p++)
		if (*p != '\\') /* "\-" is roff for a minus sign */
			gd_buf_putc(&text, *p);
	LOADED l = parse(gd_buf_str(&text));
	assert_clean(&l);
	assert_int_equal(l.policy->n_rules, 3);
}

/* Takes the '#' off every line that is YAML; sentences have a blank and a letter behind it. */
static void uncomment(const struct gd_buf *from, struct gd_buf *to)
{
	for (size_t i = 0; i < from->len; i++) {
		bool starts_line = i == 0 || from->data[i - 1] == '\n';
		bool sentence = i + 2 < from->len && from->data[i + 1] == ' ' &&
		                from->data[i + 2] != ' ';
		if (!starts_line || from->data[i] != '#' || sentence)
			gd_buf_putc(to, from->data[i]);
	}
}

static void a_debug_port_has_three_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool wanted;
		uint16_t port;
		uint64_t trace_ns;
	} rows[] = {
		{ "off", false, 0, S },
		{ "any", true, 0, S },
		{ "6060", true, 6060, S },
		{ "{port: any, trace: 0}", true, 0, 0 },
		{ "{port: off, trace: 3s}", false, 0, 3 * S },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256];
		(void)snprintf(text, sizeof(text), "services:\n  - name: a\n    match: {comm: a}\n"
		               "    debug_port: %s\n", rows[i].text);
		LOADED l = parse(text);
		assert_clean(&l);
		const struct gd_debug_port_policy *own = &l.policy->services[0].debug_port;
		assert_int_equal(own->wanted, rows[i].wanted);
		assert_int_equal(own->port, rows[i].port);
		assert_int_equal(own->trace_ns, rows[i].trace_ns);
	}
}

static void the_defaults_that_the_example_shows_are_the_defaults(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf open = GD_BUF_INIT(1 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, "policies/examples/policy.yaml", &text, &err), &err);
	uncomment(&text, &open);
	LOADED shown = parse(gd_buf_str(&open));
	LOADED defaults = parse(RULE "    when: {metric: go_gc_pause_p99, above: 50ms}\n");
	assert_clean(&shown);
	assert_clean(&defaults);
	const struct gd_policy *a = shown.policy;
	const struct gd_policy *b = defaults.policy;
	assert_memory_equal(&a->budget, &b->budget, sizeof(a->budget));
	assert_memory_equal(&a->retention, &b->retention, sizeof(a->retention));
	assert_int_equal(a->samples.duration_ns, b->samples.duration_ns);
	assert_int_equal(a->samples.frequency_hz, b->samples.frequency_hz);
	assert_int_equal(a->samples.syscalls, b->samples.syscalls);
	assert_string_equal(a->hook.listen, b->hook.listen);
	assert_null(a->upload);
	assert_memory_equal(&a->services[0].debug_port, &b->services[0].debug_port,
	                    sizeof(a->services[0].debug_port));
	assert_string_equal(a->services[0].scrape_histogram, b->services[0].scrape_histogram);
	assert_int_equal(a->n_rules, 1);
	const struct gd_rule *x = &a->rules[0];
	const struct gd_rule *y = &b->rules[0];
	assert_memory_equal(&x->when, &y->when, sizeof(x->when));
	assert_true(fabs(x->clear - y->clear) < 1e-12);
	assert_true(x->for_ns == y->for_ns && x->clear_for_ns == y->clear_for_ns);
	assert_true(x->cooldown_ns == y->cooldown_ns && x->limit.n == y->limit.n);
	assert_true(x->limit.window_ns == y->limit.window_ns && x->profile == y->profile);
	assert_true(x->baseline == y->baseline);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_example_of_the_design_loads),
		test_case(an_empty_policy_has_the_defaults),
		test_case(a_rule_has_the_defaults_of_its_kind),
		test_case(every_key_reaches_its_field),
		test_case(all_events_and_profiles_are_known),
		test_case(cores_are_read),
		test_case(cores_that_make_no_sense_are_errors),
		test_case(mistakes_outside_of_rules_are_errors_at_their_place),
		test_case(mistakes_in_rules_are_errors_at_their_place),
		test_case(what_a_rule_lacks_is_said_at_the_rule),
		test_case(all_mistakes_are_found_in_one_run_in_their_order),
		test_case(errors_beyond_a_hundred_are_counted),
		test_case(services_and_rules_have_ceilings),
		test_case(labels_have_a_ceiling),
		test_case(a_schedule_that_its_limit_starves_is_a_warning),
		test_case(what_can_never_happen_is_a_warning),
		test_case(foreign_bytes_in_findings_are_escaped),
		test_case(drop_ins_add_up_in_the_order_of_their_names),
		test_case(a_file_by_itself_and_drop_ins_by_themselves_will_do),
		test_case(names_used_twice_in_two_files_name_both_places),
		test_case(a_broken_file_does_not_make_others_look_broken),
		test_case(nothing_to_read_is_not_an_empty_policy),
		test_case(what_everybody_may_write_is_refused),
		test_case(what_belongs_to_somebody_else_is_refused),
		test_case(an_unreadable_drop_in_is_an_error),
		test_case(links_are_followed_as_container_mounts_need),
		test_case(a_drop_in_with_the_wrong_ending_is_a_warning),
		test_case(a_file_larger_than_the_ceiling_is_an_error),
		test_case(the_examples_load_without_findings),
		test_case(the_example_of_the_manual_loads),
		test_case(a_debug_port_has_three_forms),
		test_case(the_defaults_that_the_example_shows_are_the_defaults),
	};
	return test_run(tests);
}
