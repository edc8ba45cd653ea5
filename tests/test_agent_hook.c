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
#include "agent/hook_tokens.h"
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

/* ---- signatures ---- */

struct signed_request {
	const char *key_hex, *nonce, *path, *body;
	long long at;
	const char *sent_body; /* NULL: `body` */
};

static void ask_signed(const struct hook_world *world, const struct signed_request *r)
{
	unsigned char key[64];
	unsigned char mac[EVP_MAX_MD_SIZE];
	char hex[65];
	char text[2048];
	size_t n_key = strlen(r->key_hex) / 2;
	for (size_t i = 0; i < n_key; i++)
		key[i] = (unsigned char)strtoul((char[]){ r->key_hex[2 * i],
			                                  r->key_hex[2 * i + 1], '\0' }, NULL,
		                                16);
	int n = snprintf(text, sizeof(text), "%lld.%s.POST.%s.%s", r->at, r->nonce, r->path,
	                 r->body);
	unsigned n_mac = 0;
	assert_non_null(HMAC(EVP_sha256(), key, (int)n_key, (const unsigned char *)text, (size_t)n,
	                     mac, &n_mac));
	for (size_t i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", mac[i]);
	const char *sent = r->sent_body != NULL ? r->sent_body : r->body;
	n = snprintf(text, sizeof(text),
	             "POST %s HTTP/1.1\r\nHost: a\r\nX-Godiag-Timestamp: %lld\r\n"
	             "X-Godiag-Nonce: %s\r\nX-Godiag-Signature: v1=%s\r\nContent-Length: %zu\r\n\r\n%s",
	             r->path, r->at, r->nonce, hex, strlen(sent), sent);
	hook_send(world, text, (size_t)n, &answer);
}

static void a_signature_is_good_once_and_for_what_it_signs(void **state)
{
	(void)state;
	static const char body[] = "{\"rule\":\"gc-pause\"}";
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	struct signed_request good = { HOOK_KEY_HEX, "nonce-0123456789", "/v1/captures", body,
		                       (long long)time(NULL) + 2, NULL };
	ask_signed(world, &good);
	assert_int_equal(answer.status, 202);
	assert_string_equal(world->seen->last.token, "deploy");
	ask_signed(world, &good);
	assert_int_equal(answer.status, 409);
	assert_contains(answer.body, "used before");
	struct signed_request bad = good;
	bad.nonce = "nonce-0123456780";
	bad.sent_body = "{\"rule\":\"cpu-hot!\"}";
	ask_signed(world, &bad);
	assert_int_equal(answer.status, 401);
	bad = good;
	bad.nonce = "nonce-0123456781";
	bad.key_hex = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	ask_signed(world, &bad);
	assert_int_equal(answer.status, 401);
	bad = good;
	bad.nonce = "nonce-0123456782";
	bad.at += 400;
	ask_signed(world, &bad);
	assert_int_equal(answer.status, 401);
	/* From before it started: an earlier process may have seen it. */
	bad.at = good.at - 60;
	ask_signed(world, &bad);
	assert_int_equal(answer.status, 401);
	assert_int_equal(world->seen->n_triggers, 1);
	hook_world_stop(world);
}

/* ---- tokens ---- */

static void write_tokens(const struct hook_world *world, const char *text)
{
	(void)test_file("tokens", text, strlen(text));
	(void)world;
}

static void tokens_are_replaced_without_a_gap(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	hook_ask(world, HOOK_OLD_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	hook_ask(world, HOOK_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	/* Only the new one. */
	char text[1024];
	(void)snprintf(text, sizeof(text), "%s", hook_tokens());
	char *second = strstr(strchr(text, '\n') + 1, "\nam ");
	assert_non_null(second);
	memset(second + 1, '#', 1);
	write_tokens(world, text);
	assert_int_equal(kill(world->hook, SIGHUP), 0);
	hook_world_wait_log(world, "tokens read again");
	hook_ask(world, HOOK_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	hook_ask(world, HOOK_OLD_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 401);
	/* What is broken changes nothing. */
	write_tokens(world, "am notadigest\n");
	assert_int_equal(kill(world->hook, SIGHUP), 0);
	hook_world_wait_log(world, "the old tokens stay");
	hook_ask(world, HOOK_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(unlink(world->tokens), 0);
	assert_int_equal(kill(world->hook, SIGHUP), 0);
	usleep(300000);
	hook_ask(world, NULL, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 401);
	hook_world_stop(world);
}

static void tcp_without_tokens_is_refused(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", NULL, false);
	pid_t pid = world->hook;
	world->hook = 0;
	test_child_exits(pid, GD_EXIT_USAGE);
	hook_world_wait_log(world, "no tokens file: without it only a unix socket is served");
	hook_world_stop(world);
}

static void tokens_that_others_may_read_are_refused(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("unix", "am 00\n", false);
	pid_t pid = world->hook;
	world->hook = 0;
	test_child_exits(pid, GD_EXIT_USAGE);
	hook_world_wait_log(world, "tokens:1: wants the SHA-256 of a token");
	struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_error err = { 0 };
	(void)chmod(world->tokens, 0644);
	assert_fails(gd_hook_tokens_read(world->tokens, &text, &err), -EPERM, &err);
	gd_buf_deinit(&text);
	hook_world_stop(world);
}

static void a_unix_socket_trusts_whom_its_permissions_let_in(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("unix", NULL, true);
	struct stat st;
	char who[32];
	assert_int_equal(stat(world->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	hook_ask(world, NULL, "/v1/captures", "{\"rule\":\"gc-pause\"}", &answer);
	assert_int_equal(answer.status, 202);
	(void)snprintf(who, sizeof(who), "uid:%u", getuid());
	assert_string_equal(world->seen->last.token, who);
	hook_world_stop(world);
	struct hook_world *strict = hook_world_start("unix", hook_tokens(), true);
	hook_ask(strict, NULL, "/v1/captures", "{\"rule\":\"gc-pause\"}", &answer);
	assert_int_equal(answer.status, 401);
	assert_int_equal(kill(strict->hook, SIGTERM), 0);
	test_child_exits(strict->hook, GD_EXIT_COMPLETE);
	strict->hook = 0;
	assert_int_equal(stat(strict->socket, &st), -1); /* tidied up */
	hook_world_stop(strict);
}

/* ---- requests that are none ---- */

#define GOOD_TOKEN "Host: a\r\nAuthorization: Bearer " HOOK_TOKEN "\r\n"

static void what_is_no_plain_request_gets_its_status(void **state)
{
	(void)state;
#define ROW(status, text) { status, text, sizeof(text) - 1 }
	static const struct {
		int status;
		const char *text;
		size_t n;
	} rows[] = {
		ROW(400, "GARBAGE\r\n\r\n"),
		ROW(400, "GET /healthz HTTP/1.1\nHost: a\n\n"),
		ROW(400, "GET /healthz HTTP/1.1\r\nHost: a\r\nA: b\rc: d\r\n\r\n"),
		ROW(400, "GET /heal\0thz HTTP/1.1\r\n\r\n"),
		ROW(400, "GET /healthz HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n"),
		ROW(400, "GET /healthz HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
		ROW(400, "GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(400, "GET /healthz HTTP/1.1\r\n\r\n"),
		ROW(400, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
		         "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
		ROW(400, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN "Content-Length: -1\r\n\r\n"),
		ROW(400, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
		         "Authorization: x\r\nContent-Length: 2\r\n\r\n{}"),
		ROW(400, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN "Content-Length: 2\r\n\r\n{]"),
		ROW(404, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(404, "GET /%68ealthz HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(405, "DELETE /v1/captures HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(405, "GET /v1/captures HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(405, "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
		ROW(411, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN "\r\n"),
		ROW(411, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
		         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		ROW(413, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN "Content-Length: 65537\r\n\r\n"),
		ROW(415, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
		         "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
		ROW(417, "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
		         "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"),
		ROW(505, "GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n"),
	};
#undef ROW
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		hook_send(world, rows[i].text, rows[i].n, &answer);
		if (answer.status != rows[i].status)
			fail_msg("row %zu: %d instead of %d", i, answer.status, rows[i].status);
		assert_contains(answer.head, "Connection: close");
		assert_contains(answer.body, "\"error\":");
	}
	/* Many fields, a long line, a long target. */
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_puts(&text, "GET /healthz HTTP/1.1\r\n");
	for (int i = 0; i < 33; i++)
		gd_buf_printf(&text, "X-%d: y\r\n", i);
	gd_buf_puts(&text, "\r\n");
	hook_send(world, text.data, text.len, &answer);
	assert_int_equal(answer.status, 431);
	gd_buf_reset(&text);
	gd_buf_puts(&text, "GET /healthz HTTP/1.1\r\nX: ");
	for (int i = 0; i < 9000; i++)
		gd_buf_putc(&text, 'y');
	hook_send(world, text.data, text.len, &answer);
	assert_int_equal(answer.status, 431);
	gd_buf_reset(&text);
	gd_buf_puts(&text, "GET /");
	for (int i = 0; i < 300; i++)
		gd_buf_putc(&text, 'y');
	gd_buf_puts(&text, " HTTP/1.1\r\n\r\n");
	hook_send(world, text.data, text.len, &answer);
	assert_int_equal(answer.status, 414);
	assert_int_equal(world->seen->n_triggers, 0);
	hook_world_stop(world);
}

static void slow_heads_and_bodies_have_a_deadline(void **state)
{
	(void)state;
	static const char half[] = "GET /healthz HTT";
	static const char head[] = "POST /v1/captures HTTP/1.1\r\n" GOOD_TOKEN
	                           "Content-Length: 100\r\n\r\n{";
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	int fd = hook_connect(world);
	assert_int_equal(send(fd, half, sizeof(half) - 1, 0), sizeof(half) - 1);
	hook_read(fd, &answer);
	assert_int_equal(answer.status, 408);
	(void)close(fd);
	fd = hook_connect(world);
	assert_int_equal(send(fd, head, sizeof(head) - 1, 0), sizeof(head) - 1);
	hook_read(fd, &answer); /* would wait 20 s */
	assert_int_equal(answer.status, 0);
	(void)close(fd);
	hook_world_stop(world);
}

static void too_many_requests_of_one_name_are_told_to_wait(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	int refused = 0;
	for (int i = 0; i < 40 && refused == 0; i++) {
		hook_ask(world, HOOK_TOKEN, "/metrics", NULL, &answer);
		refused = answer.status != 200;
	}
	assert_int_equal(answer.status, 429);
	assert_contains(answer.head, "Retry-After: 1");
	/* Alertmanager comes back after a 503, after a 429 only with the next group. */
	for (int i = 0; i < 40; i++) {
		hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("resolved", "page", "aa09"),
		         &answer);
		if (answer.status != 200)
			break;
	}
	assert_int_equal(answer.status, 503);
	/* Other names are not concerned. */
	hook_ask(world, "narrow-" HOOK_TOKEN, "/metrics", NULL, &answer);
	assert_int_equal(answer.status, 200);
	hook_world_stop(world);
}

/* ---- policies and processes that come and go ---- */

static void a_reloaded_policy_has_other_rules(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start(NULL, hook_tokens(), true);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", "{\"rule\":\"heap\"}", &answer);
	assert_int_equal(answer.status, 401);
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_printf(&text,
	              "services:\n  - name: checkout\n    match: { comm: checkout }\n"
	              "rules:\n  - name: heap\n    service: checkout\n    when: { alert: BigHeap }\n"
	              "hook: { listen: \"unix:%s\" }\n",
	              world->socket);
	memcpy(world->seen->policy, gd_buf_str(&text), text.len + 1);
	assert_int_equal(kill(world->broker, SIGHUP), 0);
	hook_world_wait_log(world, "1 rules with an alert");
	hook_ask(world, HOOK_TOKEN, "/v1/captures", "{\"rule\":\"heap\"}", &answer);
	assert_int_equal(answer.status, 202);
	assert_int_equal(world->seen->last.rule, 0);
	hook_world_stop(world);
}

static void a_policy_with_another_place_moves_the_hook(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start(NULL, hook_tokens(), true);
	char *place = strstr(world->seen->policy, "unix:");
	struct stat st;
	char old[256];
	(void)snprintf(old, sizeof(old), "%s", world->socket);
	(void)snprintf(world->socket, sizeof(world->socket), "%s", test_path("moved.sock"));
	(void)snprintf(place, 512, "unix:%s\" }\n", world->socket);
	assert_int_equal(kill(world->broker, SIGHUP), 0);
	hook_world_wait(world, 200);
	assert_int_equal(stat(old, &st), -1);
	/* A place that cannot be had is said, and is no end. */
	(void)snprintf(place, 512, "unix:%s/none/hook.sock\" }\n", test_dir());
	assert_int_equal(kill(world->broker, SIGHUP), 0);
	hook_world_wait_log(world, "not listening: ");
	for (int i = 0; i < 200 && world->seen->problem[0] == '\0'; i++)
		usleep(50000);
	assert_contains(world->seen->problem, "none/hook.sock: No such file");
	(void)snprintf(place, 512, "unix:%s\" }\n", world->socket);
	assert_int_equal(kill(world->broker, SIGHUP), 0);
	hook_world_wait(world, 200);
	for (int i = 0; i < 200 && world->seen->problem[0] != '\0'; i++)
		usleep(50000);
	assert_string_equal(world->seen->problem, "");
	hook_world_stop(world);
}

static void a_server_that_dies_has_a_successor(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	pid_t first = hook_world_server(world);
	assert_true(first > 0);
	assert_int_equal(kill(first, SIGKILL), 0);
	hook_world_wait_log(world, "the server died of signal 9");
	hook_world_wait(world, 200);
	assert_int_not_equal(hook_world_server(world), first);
	hook_ask(world, HOOK_TOKEN, "/v1/captures", "{\"rule\":\"gc-pause\"}", &answer);
	assert_int_equal(answer.status, 202);
	hook_world_stop(world);
}

static void an_agent_that_does_not_answer_is_busy(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	assert_int_equal(kill(world->broker, SIGSTOP), 0);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa10"), &answer);
	assert_int_equal(answer.status, 503);
	assert_contains(answer.head, "Retry-After: 1");
	assert_int_equal(kill(world->broker, SIGCONT), 0);
	hook_ask(world, HOOK_TOKEN, ALERTMANAGER, payload("firing", "page", "aa10"), &answer);
	assert_int_equal(answer.status, 200);
	hook_world_stop(world);
}

static void a_place_that_is_taken_is_named(void **state)
{
	(void)state;
	struct hook_world *first = hook_world_start("unix", NULL, true);
	struct hook_world *second = hook_world_start("unix", NULL, false);
	pid_t pid = second->hook;
	second->hook = 0;
	test_child_exits(pid, GD_EXIT_USAGE);
	hook_world_wait_log(second, "somebody listens there already");
	hook_world_wait(first, 200);
	hook_world_stop(second);
	hook_world_stop(first);
}

static void what_a_service_says_of_itself_reaches_the_agent(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start(NULL, hook_tokens(), true);
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	/* Nobody listens at that port: a sample without a value is one, too. */
	gd_buf_printf(&text,
	              "services:\n  - name: checkout\n    match: { comm: checkout }\n"
	              "    scrape: http://127.0.0.1:1/metrics\n"
	              "rules:\n  - name: heap\n    service: checkout\n    when: { alert: BigHeap }\n"
	              "hook: { listen: \"unix:%s\" }\n",
	              world->socket);
	memcpy(world->seen->policy, gd_buf_str(&text), text.len + 1);
	assert_int_equal(kill(world->broker, SIGHUP), 0);
	hook_world_wait_log(world, "http_p99 of service 0: ");
	for (int i = 0; i < 200 && world->seen->n_samples == 0; i++)
		usleep(50000);
	assert_true(world->seen->n_samples > 0);
	/* It is a child of its own; when it dies, another one goes on. */
	pid_t scraper = hook_world_scraper(world);
	assert_true(scraper > 0);
	assert_int_equal(kill(scraper, SIGKILL), 0);
	hook_world_wait_log(world, "the scraper ended");
	unsigned before = world->seen->n_samples;
	for (int i = 0; i < 400 && world->seen->n_samples <= before; i++)
		usleep(50000);
	assert_true(world->seen->n_samples > before);
	assert_int_not_equal(hook_world_scraper(world), scraper);
	hook_world_stop(world);
}

static void nobody_outlives_the_launcher(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	pid_t server = hook_world_server(world);
	assert_true(server > 0);
	assert_int_equal(kill(world->hook, SIGKILL), 0);
	assert_int_equal(waitpid(world->hook, NULL, 0), world->hook);
	world->hook = 0;
	for (int i = 0; i < 200 && kill(server, 0) == 0; i++)
		usleep(50000);
	assert_int_equal(kill(server, 0), -1);
	hook_world_stop(world);
}

static void sockets_of_systemd_are_served(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("unix", NULL, true);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = test_path("activated.sock");
	memcpy(un.sun_path, path, strlen(path) + 1);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(kill(world->hook, SIGTERM), 0);
	test_child_exits(world->hook, GD_EXIT_COMPLETE);
	world->hook = fork();
	assert_true(world->hook >= 0);
	if (world->hook == 0) {
		struct gd_hook_options options = { .agent_socket = world->agent };
		char pid[24];
		int log = open(world->log, O_WRONLY | O_TRUNC | O_APPEND | O_CLOEXEC);
		(void)dup2(log, 2);
		(void)dup2(fd, 3);
		(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
		(void)setenv("LISTEN_FDS", "1", 1);
		(void)setenv("LISTEN_PID", pid, 1);
		_exit(gd_hook_main(&options));
	}
	(void)snprintf(world->socket, sizeof(world->socket), "%s", path);
	hook_world_wait(world, 200);
	hook_ask(world, NULL, "/v1/captures", "{\"rule\":\"gc-pause\"}", &answer);
	assert_int_equal(answer.status, 202);
	hook_world_stop(world);
	struct stat st;
	assert_int_equal(stat(path, &st), 0); /* not ours to remove */
}

/* ---- systemd's part ---- */

static void systemd_hears_that_it_is_ready(void **state)
{
	(void)state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = test_path("notify");
	memcpy(un.sun_path, path, strlen(path) + 1);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof(un)), 0);
	(void)setenv("NOTIFY_SOCKET", path, 1);
	(void)setenv("WATCHDOG_USEC", "400000", 1);
	(void)unsetenv("WATCHDOG_PID");
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	bool ready = false;
	bool fed = false;
	struct timeval patience = { .tv_sec = 10 };
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < 20 && !(ready && fed); i++) {
		char text[256] = "";
		assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
		ready |= strncmp(text, "READY=1", 7) == 0;
		fed |= strcmp(text, "WATCHDOG=1") == 0;
	}
	assert_true(ready && fed);
	hook_world_stop(world);
}

static void curl_gets_along_with_it(void **state)
{
	(void)state;
	struct hook_world *world = hook_world_start("unix", hook_tokens(), true);
	const char *out = test_path("curl.out");
	const char *body = payload("firing", "page", "aa11");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		(void)dup2(fd, 1);
		(void)execlp("curl", "curl", "-sS", "-m", "20", "--unix-socket", world->socket, "-H",
		             "Authorization: Bearer " HOOK_TOKEN, "-H",
		             "Content-Type: application/json", "-w", "\n%{http_code}", "-d", body,
		             "http://localhost" ALERTMANAGER, (char *)NULL);
		_exit(127);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	(void)gd_io_read_file_at(AT_FDCWD, out, &text, NULL);
	hook_world_stop(world);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		test_skip("no curl here");
	assert_int_equal(status, 0);
	assert_contains(gd_buf_str(&text), "\"verdict\":\"admitted\"");
	assert_contains(gd_buf_str(&text), "\n200");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		hook_case(an_alert_is_captured_once),
		hook_case(an_alert_means_every_rule_whose_labels_it_has),
		hook_case(what_is_resolved_or_unknown_captures_nothing),
		hook_case(a_busy_agent_is_asked_again_by_alertmanager),
		hook_case(without_the_agent_it_says_503_and_finds_it_again),
		hook_case(a_refusal_is_a_200_with_its_reason),
		hook_case(a_capture_by_name_has_an_address),
		hook_case(a_refused_capture_says_when_to_come_back),
		hook_case(an_unknown_rule_looks_like_a_bad_token),
		hook_case(a_token_triggers_only_its_own_rules),
		hook_case(a_signature_is_good_once_and_for_what_it_signs),
		hook_case(tokens_are_replaced_without_a_gap),
		hook_case(tcp_without_tokens_is_refused),
		hook_case(tokens_that_others_may_read_are_refused),
		hook_case(a_unix_socket_trusts_whom_its_permissions_let_in),
		hook_case(what_is_no_plain_request_gets_its_status),
		hook_case(slow_heads_and_bodies_have_a_deadline),
		hook_case(too_many_requests_of_one_name_are_told_to_wait),
		hook_case(a_reloaded_policy_has_other_rules),
		hook_case(a_policy_with_another_place_moves_the_hook),
		hook_case(a_server_that_dies_has_a_successor),
		hook_case(an_agent_that_does_not_answer_is_busy),
		hook_case(a_place_that_is_taken_is_named),
		hook_case(what_a_service_says_of_itself_reaches_the_agent),
		hook_case(nobody_outlives_the_launcher),
		hook_case(sockets_of_systemd_are_served),
		hook_case(systemd_hears_that_it_is_ready),
		hook_case(curl_gets_along_with_it),
	};
	return test_run(tests);
}
