/*
 * godiag check as an operator or a pipeline meets it: output and exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/exit.h"
#include "base/io.h"
#include "tests/test.h"

struct run {
	int status; /* exit status, or 128 + signal */
	struct gd_buf out, err;
};

static void run_deinit(struct run *run)
{
	gd_buf_deinit(&run->out);
	gd_buf_deinit(&run->err);
}
#define RUN __attribute__((cleanup(run_deinit))) struct run

static void read_back(const char *name, struct gd_buf *to)
{
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path(name), to, &err), &err);
}

/* `godiag check ARGUMENTS` (NULL-terminated) with files as its output. */
static struct run check(const char *const *arguments)
{
	struct run run = { .out = GD_BUF_INIT(1 << 20), .err = GD_BUF_INIT(1 << 20) };
	const char *argv[12] = { "godiag", "check" };
	char path[4096];
	int status;
	for (size_t i = 0; arguments[i] != NULL; i++) {
		assert_true(i < 9);
		argv[i + 2] = arguments[i];
	}
	(void)snprintf(path, sizeof(path), "%s/godiag", getenv("BUILD"));
	int out = open(test_path("stdout"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = open(test_path("stderr"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(out >= 0 && err >= 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(out, 1) < 0 || dup2(err, 2) < 0)
			_exit(126);
		char *const *args;
		memcpy(&args, &(const char *const *){ argv }, sizeof(args));
		(void)execv(path, args);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)close(out);
	(void)close(err);
	run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	read_back("stdout", &run.out);
	read_back("stderr", &run.err);
	return run;
}

#define CHECK(...) check((const char *const[]){ __VA_ARGS__, NULL })

static const char *put(const char *name, const char *text)
{
	return test_file(name, text, strlen(text));
}

#define GOOD                                                                                       \
	"services:\n"                                                                              \
	"  - {name: shop, match: {comm: shop}}\n"                                                  \
	"rules:\n"                                                                                 \
	"  - {name: pause, service: shop, when: {metric: go_gc_pause_p99, above: 50ms}, clear: "   \
	"20ms,\n"                                                                                  \
	"     unless: {metric: cpu, above: 95%}}\n"                                                \
	"  - {name: page, service: shop, when: {alert: P99, labels: {severity: page}}}\n"

static void a_good_policy_is_one_line(void **state)
{
	(void)state;
	const char *path = put("policy.yaml", GOOD);
	RUN run = CHECK(path);
	assert_int_equal(run.status, GD_EXIT_COMPLETE);
	const char *out = gd_buf_str(&run.out);
	assert_contains(out, "/policy.yaml: 1 service, 2 rules, sha256:");
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	assert_int_equal(run.err.len, 0);
}

static void findings_are_lines_that_editors_understand(void **state)
{
	(void)state;
	char wanted[4200];
	const char *path = put("policy.yaml", "rules:\n  - {name: r, service: shop, when: {metric: "
	                                      "cpus, above: 95%}}\nbudgt: {}\n");
	RUN run = CHECK(path);
	assert_int_equal(run.status, GD_EXIT_USAGE);
	(void)snprintf(wanted, sizeof(wanted),
	               "%s:2:24: error: unknown service \"shop\"\n"
	               "%s:2:45: error: unknown metric \"cpus\"; did you mean \"cpu\"?\n"
	               "%s:3:1: error: unknown key \"budgt\" in a policy; did you mean "
	               "\"budget\"?\n",
	               path, path, path);
	assert_string_equal(gd_buf_str(&run.out), wanted);
}

static void a_warning_is_shown_and_does_not_fail(void **state)
{
	(void)state;
	RUN run = CHECK(put("policy.yaml", "services: [{name: s, match: {uid: 1}}]\nrules: [{name: r, "
	                                   "service: s, when: {every: 1h}, limit: 1/24h}]\n"));
	assert_int_equal(run.status, GD_EXIT_COMPLETE);
	assert_contains(gd_buf_str(&run.out), ":2:57: warning: limit: 24 captures are due");
	assert_contains(gd_buf_str(&run.out), "1 service, 1 rule, sha256:");
}

static void nothing_to_check_is_not_well(void **state)
{
	(void)state;
	RUN run = CHECK(test_path("nowhere"));
	assert_int_equal(run.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&run.err), "No such file");
	assert_int_equal(run.out.len, 0);
	RUN two = CHECK("a", "b");
	assert_int_equal(two.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&two.err), "one PATH at a time");
	RUN bad = CHECK("--wrong");
	assert_int_equal(bad.status, GD_EXIT_USAGE);
}

static void a_place_that_no_upload_can_reach_is_an_error(void **state)
{
	(void)state;
	RUN run = CHECK(put("policy.yaml", "upload: s3://B/x\n"));
	assert_int_equal(run.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&run.out), "/policy.yaml: error: upload: ");
}

static void explain_says_in_words_what_each_rule_does(void **state)
{
	(void)state;
	RUN run = CHECK(put("policy.yaml", GOOD), "--explain");
	assert_int_equal(run.status, GD_EXIT_COMPLETE);
	assert_contains(gd_buf_str(&run.out),
	                "\nhost\n"
	                "         at most 20 captures in 24h, stops of 1s in 24h, 50ms for one stop\n"
	                "         spool of 2.0 GiB, 15 % of its file system stays free\n"
	                "         uploads nothing; keeps archives while there is room\n"
	                "         hook at unix:/run/godiag-hook/hook.sock\n"
	                "\nservices\n"
	                "  shop   processes with comm shop\n"
	                "\nrules\n"
	                "  pause  when go_gc_pause_p99 is above 50 ms for 30s: a standard capture of "
	                "shop\n"
	                "         at most 5 in 24h, 10m apart\n"
	                "         armed again at 20 ms or less\n"
	                "         only light while cpu is above 95 %\n"
	                "  page   when alert P99 fires with severity=page: a standard capture of shop\n"
	                "         at most 5 in 24h, 10m apart\n");
}

static void explain_has_words_for_every_key(void **state)
{
	(void)state;
	RUN run = CHECK(put("policy.yaml",
	                    "services:\n"
	                    "  - name: s\n"
	                    "    match: {unit: a.service, exe: /a, comm: a, cmdline: a, cgroup: /a,\n"
	                    "            container: '*-a', listen: 80, uid: 7}\n"
	                    "    scrape: http://127.0.0.1/m\n"
	                    "    debug_port: 6060\n"
	                    "rules:\n"
	                    "  - name: r\n"
	                    "    service: s\n"
	                    "    when: {event: restarts, count: 3, within: 90m}\n"
	                    "    sample: 2/fleet\n"
	                    "    dedup: 36h\n"
	                    "    limit: none\n"
	                    "    budget: {captures: 1/1h, bytes: 1MiB/2h, pauses: 2s/48h, pause: 5ms}\n"
	                    "    baseline: true\n"
	                    "  - {name: d, service: s, when: {every: 24h, jitter: 1h}, profile: light}\n"
	                    "  - {name: b, service: s, when: {metric: time_to_limit, below: 5m}, for: 0,\n"
	                    "     clear_for: 1m30s}\n"
	                    "upload: file:///srv/x\n"
	                    "budget: {upload: 1MiB/s}\n"
	                    "retention: {age: 7d, count: 9, bytes: 1GiB}\n"
	                    "fleet: {size: 40}\n"),
	                "--explain");
	static const char *const words[] = {
		"processes with unit a.service and exe /a and comm a and cmdline a and cgroup /a and "
		"container *-a and TCP port 80 open and uid 7",
		"http_p99 from http_request_duration_seconds at http://127.0.0.1/m",
		"its own CPU profile and an execution trace of 1s from TCP port 6060, with profile "
		"standard and full",
		"when it has started 3 times within 1h30m: a standard capture of s",
		"without a limit, 10m apart, on 2 of 40 hosts; the same again within 36h is only "
		"counted",
		"of its own at most 1 capture in 1h, 1.0 MiB in 2h, stops of 2s in 2d, 5ms for one "
		"stop",
		"compared with a light capture of a good time, taken once a day",
		"every 24h and up to 1h later: a light capture of s",
		"when time_to_limit is below 5 m 00 s, at once",
		"armed again at 5 m 30 s or more for 1m30s",
		"uploads to file:///srv/x at up to 1.0 MiB/s; keeps what was uploaded for 7d, the last "
		"9, 1.0 GiB",
		"one of 40 hosts",
	};
	assert_int_equal(run.status, GD_EXIT_COMPLETE);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		assert_contains(gd_buf_str(&run.out), words[i]);
}

static void json_is_one_object(void **state)
{
	(void)state;
	RUN good = CHECK(put("policy.yaml", GOOD), "--json");
	RUN bad = CHECK(put("bad.yaml", "\"\\e[31m\": 1\n"), "--json");
	assert_int_equal(good.status, GD_EXIT_COMPLETE);
	assert_int_equal(bad.status, GD_EXIT_USAGE);
	json_t *object = json_loadb(good.out.data, good.out.len, 0, NULL);
	assert_true(json_is_true(json_object_get(object, "ok")));
	assert_int_equal(json_integer_value(json_object_get(object, "rules")), 2);
	assert_int_equal(json_array_size(json_object_get(object, "findings")), 0);
	json_decref(object);
	object = json_loadb(bad.out.data, bad.out.len, 0, NULL);
	assert_true(json_is_false(json_object_get(object, "ok")));
	assert_true(json_is_null(json_object_get(object, "digest")));
	const json_t *finding = json_array_get(json_object_get(object, "findings"), 0);
	assert_string_equal(json_string_value(json_object_get(finding, "severity")), "error");
	assert_int_equal(json_integer_value(json_object_get(finding, "line")), 1);
	assert_int_equal(json_integer_value(json_object_get(finding, "column")), 1);
	json_decref(object);
}

/* A metric that holds for three seconds, an alert, the same alert again. */
#define SERIES                                                                                     \
	"{\"t\":\"2026-11-20T10:00:00Z\",\"go_gc_pause_p99\":0.01}\n"                             \
	"{\"t\":\"2026-11-20T10:00:01Z\",\"go_gc_pause_p99\":\"71ms\"}\n"                         \
	"{\"t\":\"2026-11-20T10:00:02Z\",\"go_gc_pause_p99\":0.072,\"cpu\":0.97}\n"               \
	"{\"t\":\"2026-11-20T10:00:03Z\",\"go_gc_pause_p99\":0.073,\"cpu\":0.97}\n"               \
	"{\"t\":\"2026-11-20T10:00:04Z\",\"alert\":\"P99\",\"labels\":{\"severity\":\"page\"},"    \
	"\"fingerprint\":\"aa\",\"starts_at\":\"x\"}\n"                                             \
	"{\"t\":\"2026-11-20T10:00:05Z\",\"alert\":\"P99\",\"labels\":{\"severity\":\"page\"},"    \
	"\"fingerprint\":\"aa\",\"starts_at\":\"x\"}\n"                                             \
	"{\"t\":\"2026-11-20T10:00:06Z\",\"alert\":\"P99\",\"labels\":{\"severity\":\"info\"}}\n"

static void replay_shows_when_rules_fire_and_what_becomes_of_it(void **state)
{
	(void)state;
	const char *policy = put("policy.yaml", "services:\n"
	                                        "  - {name: shop, match: {comm: shop}}\n"
	                                        "rules:\n"
	                                        "  - {name: pause, service: shop, for: 2s,\n"
	                                        "     when: {metric: go_gc_pause_p99, above: 50ms},\n"
	                                        "     unless: {metric: cpu, above: 95%}}\n"
	                                        "  - {name: page, service: shop, cooldown: 0,\n"
	                                        "     when: {alert: P99, labels: {severity: page}}}\n");
	RUN run = CHECK(policy, "--replay", put("series.jsonl", SERIES));
	const char *out = gd_buf_str(&run.out);
	assert_int_equal(run.status, GD_EXIT_COMPLETE);
	assert_contains(out, "\n2026-11-20T10:00:03.000000Z  line 4  pause  shop  admitted: "
	                     "go_gc_pause_p99 73 ms above 50 ms for 2 s (light only: unless)");
	assert_contains(out, "\n2026-11-20T10:00:04.000000Z  line 5  page  shop  admitted: ");
	assert_contains(out, "\n2026-11-20T10:00:05.000000Z  line 6  page  shop  duplicate: ");
	assert_contains(out, "\n7 lines from 2026-11-20T10:00:00.000000Z to "
	                     "2026-11-20T10:00:06.000000Z\n"
	                     "3 fired: 2 admitted, 1 duplicate\n"
	                     "1 alerts were resolved, or no rule waits for them\n");
}

static void a_bad_line_of_a_recording_is_named(void **state)
{
	(void)state;
	const char *policy = put("policy.yaml", GOOD);
	RUN run = CHECK(policy, "--replay",
	                put("series.jsonl", "{\"t\":1,\"cpu\":0.5}\n{\"t\":2,\"cpus\":0.5}\n"));
	assert_int_equal(run.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&run.err), "line 2: ");
	RUN none = CHECK(policy, "--replay", test_path("nowhere"));
	assert_int_equal(none.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&none.err), "No such file");
	RUN odd = CHECK(policy, "--host", "x");
	assert_int_equal(odd.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&odd.err), "--service and --host go with --replay");
}

static void the_host_decides_whether_it_is_in_the_sample(void **state)
{
	(void)state;
	unsigned n = 0;
	(void)put("policy.yaml", "services:\n"
	                         "  - {name: a, match: {comm: a}}\n"
	                         "  - {name: b, match: {comm: b}}\n"
	                         "rules:\n"
	                         "  - {name: r, service: a, when: {alert: P99}, sample: 10/40}\n");
	(void)put("series.jsonl", "{\"t\":1,\"alert\":\"P99\",\"service\":\"a\","
	                          "\"fingerprint\":\"aa\",\"starts_at\":\"x\"}\n");
	for (unsigned i = 0; i < 40; i++) {
		char host[16];
		(void)snprintf(host, sizeof(host), "host-%u", i);
		RUN run = CHECK(test_path("policy.yaml"), "--replay", test_path("series.jsonl"),
		                "--host", host, "--service", "a");
		assert_int_equal(run.status, GD_EXIT_COMPLETE);
		bool admitted = strstr(gd_buf_str(&run.out), "1 fired: 1 admitted") != NULL;
		if (!admitted)
			assert_contains(gd_buf_str(&run.out), "1 fired: 1 sampled");
		n += admitted;
	}
	/* a hash, not a dice: about a quarter of any names, and always the same ones */
	assert_in_range(n, 4, 18);
}

static void a_file_of_somebody_else_says_whose(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root to give a file away");
	const char *path = put("policy.yaml", GOOD);
	assert_int_equal(chown(path, 65534, 65534), 0);
	RUN run = CHECK(path);
	assert_int_equal(run.status, GD_EXIT_USAGE);
	assert_contains(gd_buf_str(&run.out), "error: belongs to uid 65534");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_good_policy_is_one_line),
		test_case(findings_are_lines_that_editors_understand),
		test_case(a_warning_is_shown_and_does_not_fail),
		test_case(nothing_to_check_is_not_well),
		test_case(a_place_that_no_upload_can_reach_is_an_error),
		test_case(explain_says_in_words_what_each_rule_does),
		test_case(explain_has_words_for_every_key),
		test_case(json_is_one_object),
		test_case(replay_shows_when_rules_fire_and_what_becomes_of_it),
		test_case(a_bad_line_of_a_recording_is_named),
		test_case(the_host_decides_whether_it_is_in_the_sample),
		test_case(a_file_of_somebody_else_says_whose),
	};
	return test_run(tests);
}
