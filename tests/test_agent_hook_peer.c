/*
 * The broker's end against a hook that was taken over: every field of every record, and what it is
 * told in the first place.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/hook.h"
#include "agent/hook_record.h"
#include "agent/hook_table.h"
#include "base/cleanup.h"
#include "base/message.h"
#include "tests/test.h"

static const char text[] =
	"services:\n"
	"  - name: checkout\n"
	"    match: { comm: checkout }\n"
	"    scrape: http://127.0.0.1:9100/metrics\n"
	"  - name: silent\n"
	"    match: { comm: silent }\n"
	"rules:\n"
	"  - name: cpu-hot\n"
	"    service: checkout\n"
	"    when: { metric: cpu, above: 95% }\n"
	"  - name: p99\n"
	"    service: silent\n"
	"    when: { alert: Slow, labels: { team: blue, severity: page } }\n"
	"hook: { listen: \"127.0.0.1:7077\" }\n";

static unsigned n_calls;
static struct gd_hook_trigger seen;

static void on_trigger(void *arg, const struct gd_hook_trigger *trigger,
                       struct gd_hook_verdict *verdict)
{
	(void)arg;
	n_calls++;
	seen = *trigger;
	*verdict = (struct gd_hook_verdict){ .verdict = GD_VERDICT_LIMIT, .id = "one",
		                             .why = "two", .retry_ns = 3 };
}

static void on_operation(void *arg, const char *id, struct gd_hook_operation *operation)
{
	(void)arg;
	n_calls++;
	*operation = (struct gd_hook_operation){ .known = strcmp(id, "20261120T1.2Z-ab") == 0,
		                                 .state = "running", .exit = -1 };
}

static void on_metrics(void *arg, struct gd_buf *to)
{
	(void)arg;
	n_calls++;
	gd_buf_puts(to, "up 1\n");
}

static double last_p99;

static void on_http(void *arg, uint32_t service, double p99_s)
{
	(void)arg;
	n_calls += service == 0;
	last_p99 = p99_s;
}

static const struct gd_hook_ops ops = { on_trigger, on_operation, on_metrics, on_http };

/* A peer, and the other end of it. */
struct pair {
	struct gd_policy *policy;
	struct gd_hook_peer *peer;
	int fd;
	uint32_t generation;
	struct gd_hook_table *table;
};

static void take_table(struct pair *pair)
{
	struct gd_error err = { 0 };
	struct gd_hook_blob blob;
	char body[64];
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	GD_FREE char *bytes = NULL;
	assert_int_equal(gd_message_recv(pair->fd, &message, body, sizeof(body), &err), 1);
	assert_int_equal(message.type, GD_HOOK_POLICY);
	assert_int_equal(message.n_fds, 1);
	memcpy(&blob, body, sizeof(blob));
	assert_ok(gd_hook_table_read(message.fds[0], blob.size, GD_HOOK_TABLE_MAX, &bytes, &err),
	          &err);
	/* Nobody changes it behind our back. */
	assert_int_equal(fcntl(message.fds[0], F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
	gd_hook_table_destroy(pair->table);
	pair->table = NULL;
	assert_ok(gd_hook_table_parse(bytes, blob.size, blob.generation, &pair->table, &err), &err);
	pair->generation = blob.generation;
}

static struct pair make_pair(void)
{
	struct pair pair = { .fd = -1 };
	struct gd_findings findings = { .n = 0 };
	struct gd_error err = { 0 };
	int fds[2];
	assert_ok(gd_policy_parse("policy.yaml", text, strlen(text), &pair.policy, &findings, &err),
	          &err);
	gd_findings_deinit(&findings);
	assert_ok(gd_message_pair(fds, &err), &err);
	assert_ok(gd_hook_peer_create(fds[0], pair.policy, &ops, NULL, &pair.peer, &err), &err);
	pair.fd = fds[1];
	assert_int_equal(fcntl(pair.fd, F_SETFL, O_NONBLOCK), 0);
	take_table(&pair);
	n_calls = 0;
	return pair;
}

static void end_pair(struct pair *pair)
{
	gd_hook_peer_destroy(pair->peer);
	gd_hook_table_destroy(pair->table);
	gd_policy_free(pair->policy);
	if (pair->fd >= 0)
		(void)close(pair->fd);
}

static struct gd_hook_question good_question(const struct pair *pair)
{
	struct gd_hook_question q;
	memset(&q, 0, sizeof(q));
	q.generation = pair->generation;
	q.trigger.rule = 1;
	memcpy(q.trigger.fingerprint, "00ff", 5);
	memcpy(q.trigger.starts_at, "2026-11-20T13:05:07Z", 21);
	memcpy(q.trigger.reason, "Slow team=blue", 15);
	memcpy(q.trigger.token, "am", 3);
	return q;
}

static void the_hook_is_told_what_it_needs(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	const struct gd_hook_table *table = pair.table;
	assert_string_equal(table->listen, "127.0.0.1:7077");
	assert_int_equal(table->n_rules, 1); /* not the one on a metric */
	assert_int_equal(table->rules[0].index, 1);
	assert_string_equal(table->rules[0].name, "p99");
	assert_string_equal(table->rules[0].service, "silent");
	assert_int_equal(table->rules[0].n_labels, 2);
	assert_int_equal(table->n_scrapes, 1);
	assert_string_equal(table->scrapes[0].url, "http://127.0.0.1:9100/metrics");
	assert_string_equal(table->scrapes[0].histogram, "http_request_duration_seconds");
	static const struct gd_hook_label labels[] = { { "a", "b" }, { "severity", "page" },
		                                       { "team", "blue" } };
	size_t position = 0;
	assert_non_null(gd_hook_table_match(table, "Slow", labels, 3, &position));
	assert_null(gd_hook_table_match(table, "Slow", labels, 3, &position));
	position = 0;
	assert_null(gd_hook_table_match(table, "Slow", labels, 2, &position));
	position = 0;
	assert_null(gd_hook_table_match(table, "slow", labels, 3, &position));
	end_pair(&pair);
}

/* Of a policy with this rule for the service that is scraped. */
static bool is_scraped_fast(const char *rule)
{
	GD_BUF struct gd_buf policy_text = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf blob = GD_BUF_INIT(4096);
	struct gd_findings findings = { .n = 0 };
	struct gd_error err = { 0 };
	struct gd_policy *policy;
	struct gd_hook_table *table;
	gd_buf_printf(&policy_text,
	              "services:\n"
	              "  - { name: a, match: { comm: a }, scrape: http://127.0.0.1:9100/metrics }\n"
	              "  - { name: b, match: { comm: b } }\n"
	              "rules:\n"
	              "  - { name: r, %s }\n", rule);
	assert_ok(gd_policy_parse("policy.yaml", policy_text.data, policy_text.len, &policy,
	                          &findings, &err), &err);
	gd_findings_deinit(&findings);
	gd_hook_table_put(policy, &blob);
	assert_ok(gd_hook_table_parse(blob.data, blob.len, 1, &table, &err), &err);
	assert_int_equal(table->n_scrapes, 1);
	bool fast = table->scrapes[0].fast;
	gd_hook_table_destroy(table);
	gd_policy_free(policy);
	return fast;
}

static void only_what_a_rule_waits_for_is_scraped_fast(void **state)
{
	(void)state;
	assert_true(is_scraped_fast("service: a, when: { metric: http_p99, above: 1s }"));
	assert_true(is_scraped_fast("service: a, when: { alert: X }, "
	                            "unless: { metric: http_p99, above: 1s }"));
	assert_false(is_scraped_fast("service: a, when: { metric: cpu, above: 95% }"));
	assert_false(is_scraped_fast("service: b, when: { alert: X }"));
}

static void questions_are_answered_by_number(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	struct gd_hook_question q = good_question(&pair);
	struct gd_hook_id id = { "20261120T1.2Z-ab" };
	struct gd_hook_sample sample = { pair.generation, 0, 0.25 };
	char body[1024];
	assert_ok(gd_message_send(pair.fd, GD_HOOK_ASK_TRIGGER, 7, &q, sizeof(q), NULL, 0, &err), &err);
	assert_ok(gd_message_send(pair.fd, GD_HOOK_ASK_OPERATION, 8, &id, sizeof(id), NULL, 0, &err),
	          &err);
	assert_ok(gd_message_send(pair.fd, GD_HOOK_ASK_METRICS, 9, NULL, 0, NULL, 0, &err), &err);
	assert_ok(gd_message_send(pair.fd, GD_HOOK_HTTP_SAMPLE, 0, &sample, sizeof(sample), NULL, 0,
	                          &err), &err);
	assert_ok(gd_hook_peer_handle(pair.peer, &err), &err);
	assert_int_equal(n_calls, 4);
	assert_true(last_p99 == 0.25);
	assert_memory_equal(&seen, &q.trigger, sizeof(seen));
	static const uint16_t types[] = { GD_HOOK_VERDICT, GD_HOOK_OPERATION, GD_HOOK_METRICS };
	for (uint32_t i = 0; i < 3; i++) {
		GD_MESSAGE struct gd_message message = { .n_fds = 0 };
		assert_int_equal(gd_message_recv(pair.fd, &message, body, sizeof(body), &err), 1);
		assert_int_equal(message.type, types[i]);
		assert_int_equal(message.seq, 7 + i);
		if (i == 0) {
			struct gd_hook_answer answer;
			memcpy(&answer, body, sizeof(answer));
			assert_int_equal(answer.verdict, GD_VERDICT_LIMIT);
			assert_string_equal(answer.id, "one");
			assert_int_equal(answer.retry_ns, 3);
		}
	}
	end_pair(&pair);
}

static void questions_about_an_older_policy_are_stale(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	struct gd_hook_question q = good_question(&pair);
	struct gd_hook_answer answer;
	char body[1024];
	q.trigger.rule = 999; /* was one of the old policy's */
	assert_ok(gd_hook_peer_policy(pair.peer, pair.policy, &err), &err);
	take_table(&pair);
	assert_ok(gd_message_send(pair.fd, GD_HOOK_ASK_TRIGGER, 7, &q, sizeof(q), NULL, 0, &err), &err);
	assert_ok(gd_hook_peer_handle(pair.peer, &err), &err);
	struct gd_message message = { .n_fds = 0 };
	assert_int_equal(gd_message_recv(pair.fd, &message, body, sizeof(body), &err), 1);
	memcpy(&answer, body, sizeof(answer));
	assert_int_equal(answer.verdict, GD_HOOK_STALE);
	assert_int_equal(n_calls, 0);
	end_pair(&pair);
}

/* The peer refuses it, and nobody was called. */
static void refuses(uint16_t type, const void *body, size_t n, int fd_to_send)
{
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	assert_ok(gd_message_send(pair.fd, type, 1, body, n, &fd_to_send, fd_to_send >= 0, &err), &err);
	assert_fails(gd_hook_peer_handle(pair.peer, &err), -EBADMSG, &err);
	assert_int_equal(n_calls, 0);
	end_pair(&pair);
}

static void one_bad_field_ends_the_connection(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_hook_question good = good_question(&pair);
	end_pair(&pair);
	struct gd_hook_question q = good;
#define BAD(change)                                                                                \
	do {                                                                                       \
		q = good;                                                                          \
		change;                                                                            \
		refuses(GD_HOOK_ASK_TRIGGER, &q, sizeof(q), -1);                                   \
	} while (0)
	BAD(q.trigger.rule = 0); /* the one on a metric */
	BAD(q.trigger.rule = 2);
	BAD(q.trigger.rule = UINT32_MAX);
	BAD(q.trigger.fingerprint[0] = 'G');
	BAD(memset(q.trigger.fingerprint, '0', sizeof(q.trigger.fingerprint)));
	BAD(q.trigger.starts_at[3] = '\n');
	BAD(memset(q.trigger.starts_at, '0', sizeof(q.trigger.starts_at)));
	BAD(q.trigger.reason[0] = '\x1b');
	BAD(q.trigger.reason[0] = '\x80');
	BAD(memset(q.trigger.reason, 'r', sizeof(q.trigger.reason)));
	BAD(q.trigger.token[0] = '\0');
	BAD(q.trigger.token[0] = '/');
	BAD(memset(q.trigger.token, 't', sizeof(q.trigger.token)));
#undef BAD
	refuses(GD_HOOK_ASK_TRIGGER, &good, sizeof(good) - 1, -1);
	refuses(GD_HOOK_ASK_TRIGGER, &good, sizeof(good), 0); /* a descriptor for the broker */
	struct gd_hook_id id = { "../x" };
	refuses(GD_HOOK_ASK_OPERATION, &id, sizeof(id), -1);
	memset(&id, 'a', sizeof(id));
	refuses(GD_HOOK_ASK_OPERATION, &id, sizeof(id), -1);
	memset(&id, 0, sizeof(id));
	refuses(GD_HOOK_ASK_OPERATION, &id, sizeof(id), -1);
	refuses(GD_HOOK_ASK_OPERATION, &id, 1, -1);
	refuses(GD_HOOK_ASK_METRICS, "x", 1, -1);
	struct gd_hook_sample samples[] = { { 1, 1, 0.1 },   /* is not scraped */
		                            { 1, 2, 0.1 },   { 1, UINT32_MAX, 0.1 },
		                            { 1, 0, -1 },    { 1, 0, INFINITY },
		                            { 1, 0, 1e300 } };
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++)
		refuses(GD_HOOK_HTTP_SAMPLE, &samples[i], sizeof(samples[i]), -1);
	refuses(GD_HOOK_HTTP_SAMPLE, samples, sizeof(samples), -1);
	struct gd_hook_text says = { "a\nb" };
	refuses(GD_HOOK_SAYS, &says, sizeof(says), -1);
	memset(&says, 'a', sizeof(says));
	refuses(GD_HOOK_SAYS, &says, sizeof(says), -1);
	refuses(GD_HOOK_VERDICT, NULL, 0, -1);
	refuses(0, NULL, 0, -1);
	refuses(UINT16_MAX, NULL, 0, -1);
	static char large[60000];
	refuses(GD_HOOK_ASK_TRIGGER, large, sizeof(large), -1);
}

static void a_hook_that_goes_is_epipe(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	assert_ok(gd_hook_peer_handle(pair.peer, &err), &err); /* nothing there */
	(void)close(pair.fd);
	pair.fd = -1;
	assert_fails(gd_hook_peer_handle(pair.peer, &err), -EPIPE, &err);
	end_pair(&pair);
}

static void a_hook_that_does_not_read_is_left(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	struct gd_hook_question q = good_question(&pair);
	int r = 0;
	for (int i = 0; i < 100000 && r == 0; i++) {
		while (gd_message_send(pair.fd, GD_HOOK_ASK_TRIGGER, 1, &q, sizeof(q), NULL, 0,
		                       NULL) == 0)
			;
		r = gd_hook_peer_handle(pair.peer, &err);
	}
	assert_fails(r, -EBADMSG, &err);
	assert_contains(err.msg, "does not read");
	end_pair(&pair);
}

static void a_table_that_is_none_is_refused(void **state)
{
	(void)state;
	struct pair pair = make_pair();
	struct gd_error err = { 0 };
	struct gd_hook_table *table = NULL;
	GD_BUF struct gd_buf blob = GD_BUF_INIT(1 << 20);
	gd_hook_table_put(pair.policy, &blob);
	for (size_t n = 0; n < blob.len; n++)
		assert_fails(gd_hook_table_parse(blob.data, n, 1, &table, &err), -EBADMSG, &err);
	assert_ok(gd_hook_table_parse(blob.data, blob.len, 1, &table, &err), &err);
	gd_hook_table_destroy(table);
	/* A descriptor with less, more, or of another kind. */
	char *bytes = NULL;
	GD_CLOSE int fd = gd_hook_table_memfd(blob.data, blob.len, &err);
	assert_ok(fd, &err);
	assert_fails(gd_hook_table_read(fd, (uint32_t)blob.len + 1, 1 << 20, &bytes, &err), -EBADMSG,
	             &err);
	assert_fails(gd_hook_table_read(fd, (uint32_t)blob.len, 10, &bytes, &err), -EBADMSG, &err);
	assert_fails(gd_hook_table_read(pair.fd, 0, 10, &bytes, &err), -EBADMSG, &err);
	end_pair(&pair);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_hook_is_told_what_it_needs),
		test_case(only_what_a_rule_waits_for_is_scraped_fast),
		test_case(questions_are_answered_by_number),
		test_case(questions_about_an_older_policy_are_stale),
		test_case(one_bad_field_ends_the_connection),
		test_case(a_hook_that_goes_is_epipe),
		test_case(a_hook_that_does_not_read_is_left),
		test_case(a_table_that_is_none_is_refused),
	};
	return test_run(tests);
}
