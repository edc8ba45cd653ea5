/*
 * The hook as its callers and its broker meet it: real processes, real sockets, a broker that
 * decides as the test says.
 */
#include "agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/exit.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tests/hook_world.h"
#include "tests/test.h"

#define LATENCY                                                                                    \
	"{\"status\":\"%s\",\"labels\":{\"alertname\":\"HighRequestLatency\",\"severity\":\"%s\","  \
	"\"instance\":\"10.0.0.7:9100\"},\"annotations\":{},\"startsAt\":\"2026-11-20T13:05:07.123Z\"," \
	"\"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\"http://p/\",\"fingerprint\":\"%s\"}"
#define PAYLOAD                                                                                    \
	"{\"version\":\"4\",\"groupKey\":\"{}:{}\",\"truncatedAlerts\":0,\"status\":\"firing\","     \
	"\"receiver\":\"godiag\",\"groupLabels\":{},\"commonLabels\":{},\"commonAnnotations\":{}," \
	"\"externalURL\":\"http://a/\",\"alerts\":[%s]}"
#define ALERTMANAGER "/v1/hooks/alertmanager"

/* One alert of Alertmanager's; `status` and `severity` as given. */
static const char *payload(const char *status, const char *severity, const char *fingerprint)
{
	static char text[4096];
	char alert[2048];
	(void)snprintf(alert, sizeof(alert), LATENCY, status, severity, fingerprint);
	(void)snprintf(text, sizeof(text), PAYLOAD, alert);
	return text;
}

static struct hook_answer answer;

static void an_alert_is_captured_once(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "warning", "aa01"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"admitted\"");
	assert_contains(answer.body, "\"rule\":\"p99-latency\"");
	assert_contains(answer.body, "\"id\":\"capture-0\"");
	assert_int_equal(world->seen->n_triggers, 1);
	assert_int_equal(world->seen->last.rule, 0);
	assert_string_equal(world->seen->last.fingerprint, "aa01");
	assert_string_equal(world->seen->last.starts_at, "2026-11-20T13:05:07.123Z");
	assert_string_equal(world->seen->last.token, "am");
	assert_contains(world->seen->last.reason, "HighRequestLatency instance=10.0.0.7:9100");
	for (int i = 0; i < 3; i++) {
		hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "warning", "aa01"),
		         &answer);
		assert_int_equal(answer.status, 200);
		assert_contains(answer.body, "\"verdict\":\"duplicate\"");
		assert_contains(answer.body, "\"id\":\"capture-0\"");
	}
	assert_int_equal(world->seen->n_keys, 1);
	hook_world_stop(world);
}

static void an_alert_means_every_rule_whose_labels_it_has(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa02"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"rule\":\"p99-latency\"");
	assert_contains(answer.body, "\"rule\":\"p99-page\"");
	assert_int_equal(world->seen->n_keys, 2);
	hook_world_stop(world);
}

static void what_is_resolved_or_unknown_captures_nothing(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("resolved", "page", "aa03"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"resolved\"");
	char text[512];
	(void)snprintf(text, sizeof(text), PAYLOAD,
	               "{\"status\":\"firing\",\"labels\":{\"alertname\":\"DiskFull\"},"
	               "\"startsAt\":\"2026-11-20T13:05:07Z\",\"fingerprint\":\"aa04\"}");
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, text, &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"no rule\"");
	assert_int_equal(world->seen->n_triggers, 0);
	hook_world_stop(world);
}

static void a_busy_agent_is_asked_again_by_alertmanager(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	world->seen->busy_rule = 0;
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa05"), &answer);
	assert_int_equal(answer.status, 503);
	assert_contains(answer.head, "Retry-After: 1");
	assert_contains(answer.body, "\"verdict\":\"busy\"");
	/* The other rule of the same request was asked nevertheless. */
	assert_contains(answer.body, "\"verdict\":\"admitted\"");
	assert_int_equal(world->seen->n_keys, 1);
	world->seen->busy_rule = ~0U;
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa05"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"duplicate\"");
	assert_int_equal(world->seen->n_keys, 2);
	hook_world_stop(world);
}

static void without_the_agent_it_says_503_and_finds_it_again(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_world_stop_broker(world);
	hook_world_wait(world, 503);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa06"), &answer);
	assert_int_equal(answer.status, 503);
	assert_contains(answer.head, "Retry-After:");
	hook_ask(world, HOOK_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "godiag_hook_broker_up 0");
	hook_world_start_broker(world);
	hook_world_wait(world, 200);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa06"), &answer);
	assert_int_equal(answer.status, 200);
	hook_world_stop(world);
}

static void a_refusal_is_a_200_with_its_reason(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	world->seen->verdict = GD_VERDICT_COOLDOWN;
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "warning", "aa07"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"cooldown\"");
	assert_contains(answer.body, "\"why\":\"as the test says\"");
	hook_world_stop(world);
}

static void a_capture_by_name_has_an_address(void **state)
{
	(void)state;
	static const char body[] = "{\"rule\":\"gc-pause\",\"reason\":\"deploy 41\"}";
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", body, &answer);
	assert_int_equal(answer.status, 202);
	assert_contains(answer.head, "Location: /v1/captures/capture-0");
	assert_string_equal(world->seen->last.reason, "deploy 41");
	assert_int_equal(world->seen->last.rule, 2);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", body, &answer);
	assert_int_equal(answer.status, 409);
	hook_ask(world, HOOK_TOKEN, "/v1/captures/capture-0", NULL, &answer);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.body, "{\"id\":\"capture-0\",\"state\":\"partial\",\"exit\":4,"
	                                 "\"digest\":\"sha256:0123\"}");
	hook_ask(world, HOOK_TOKEN, "/v1/captures/capture-1", NULL, &answer);
	assert_int_equal(answer.status, 404);
	hook_ask(world, HOOK_TOKEN, "/v1/captures/../../etc", NULL, &answer);
	assert_int_equal(answer.status, 404);
	hook_world_stop(world);
}

static void a_refused_capture_says_when_to_come_back(void **state)
{
	(void)state;
	static const char body[] = "{\"rule\":\"gc-pause\"}";
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	world->seen->verdict = GD_VERDICT_LIMIT;
	world->seen->retry_ns = INT64_C(90500000000);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", body, &answer);
	assert_int_equal(answer.status, 429);
	assert_contains(answer.head, "Retry-After: 91");
	world->seen->verdict = GD_VERDICT_BUSY;
	world->seen->retry_ns = 0;
	hook_ask(world, HOOK_TOKEN, "/v1/captures", body, &answer);
	assert_int_equal(answer.status, 503);
	assert_contains(answer.head, "Retry-After: 1");
	hook_world_stop(world);
}

/* Without its Date. */
static void strip_date(struct hook_answer *a)
{
	char *date = strstr(a->head, "Date: ");
	if (date != NULL)
		memset(date, '-', strcspn(date, "\r"));
}

static void an_unknown_rule_looks_like_a_bad_token(void **state)
{
	(void)state;
	static struct hook_answer others[3];
	static const char body[] = "{\"rule\":\"gc-pause\"}";
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, "wrong", "/v1/captures", body, &answer);
	hook_ask(world, NULL, "/v1/captures", body, &others[0]);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", "{\"rule\":\"no-such\"}", &others[1]);
	/* A rule, but not one that callers may trigger. */
	hook_ask(world, HOOK_TOKEN, "/v1/captures", "{\"rule\":\"cpu-hot\"}", &others[2]);
	assert_int_equal(answer.status, 401);
	assert_contains(answer.head, "WWW-Authenticate: Bearer");
	strip_date(&answer);
	for (size_t i = 0; i < 3; i++) {
		strip_date(&others[i]);
		assert_string_equal(others[i].head, answer.head);
		assert_string_equal(others[i].body, answer.body);
	}
	assert_int_equal(world->seen->n_triggers, 0);
	hook_world_stop(world);
}

static void a_token_triggers_only_its_own_rules(void **state)
{
	(void)state;
	static const char narrow[] = "narrow-" HOOK_TOKEN;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, narrow, "/v1/captures", "{\"rule\":\"p99-latency\"}", &answer);
	assert_int_equal(answer.status, 401);
	hook_ask(world, narrow, ALERTMANAGER, payload("firing", "page", "aa08"), &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.body, "\"verdict\":\"no rule\"");
	hook_ask(world, narrow, "/v1/captures", "{\"rule\":\"gc-pause\"}", &answer);
	assert_int_equal(answer.status, 202);
	assert_string_equal(world->seen->last.token, "narrow");
	hook_world_stop(world);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_alert_is_captured_once),
		test_case(an_alert_means_every_rule_whose_labels_it_has),
		test_case(what_is_resolved_or_unknown_captures_nothing),
		test_case(a_busy_agent_is_asked_again_by_alertmanager),
		test_case(without_the_agent_it_says_503_and_finds_it_again),
		test_case(a_refusal_is_a_200_with_its_reason),
		test_case(a_capture_by_name_has_an_address),
		test_case(a_refused_capture_says_when_to_come_back),
		test_case(an_unknown_rule_looks_like_a_bad_token),
		test_case(a_token_triggers_only_its_own_rules),
	};
	return test_run(tests);
}
