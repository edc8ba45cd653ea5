#include "agent/hook_auth.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(1800000000) * SECOND)

static const char key_line[] = "ci hmac:00112233445566778899aabbccddeeff\n";

static struct gd_hook_auth *auth_with(const char *text, const struct gd_clock *now)
{
	struct gd_hook_tokens *tokens = NULL;
	struct gd_hook_auth *auth = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_hook_auth_create(now, &auth, &err), &err);
	assert_ok(gd_hook_tokens_parse("tokens", text, strlen(text), &tokens, &err), &err);
	gd_hook_auth_tokens(auth, tokens);
	return auth;
}

/* The four texts of a signed request with an empty body. */
struct texts {
	char timestamp[24], nonce[32], signature[80];
};

static struct gd_hook_credentials sign(struct texts *t, int64_t at_s, unsigned number)
{
	static const unsigned char key[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
		                               0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	unsigned char mac[EVP_MAX_MD_SIZE];
	char text[256];
	(void)snprintf(t->timestamp, sizeof(t->timestamp), "%lld", (long long)at_s);
	(void)snprintf(t->nonce, sizeof(t->nonce), "nonce-%010u", number);
	int n = snprintf(text, sizeof(text), "%s.%s.POST./x.", t->timestamp, t->nonce);
	assert_non_null(HMAC(EVP_sha256(), key, sizeof(key), (const unsigned char *)text,
	                     (size_t)n, mac, NULL));
	memcpy(t->signature, "v1=", 4);
	for (size_t i = 0; i < 32; i++)
		(void)snprintf(t->signature + 3 + 2 * i, 3, "%02x", mac[i]);
	return (struct gd_hook_credentials){ NULL, t->timestamp, t->nonce, t->signature };
}

static enum gd_hook_proof verify(struct gd_hook_auth *auth,
                                 const struct gd_hook_credentials *credentials,
                                 const struct gd_clock *now)
{
	const struct gd_hook_token *token = NULL;
	enum gd_hook_proof proof =
		gd_hook_auth_verify(auth, credentials, "POST", "/x", "", 0, now, &token);
	assert_int_equal(proof == GD_HOOK_PROOF_KNOWN, token != NULL);
	return proof;
}

static void signatures_hold_for_five_minutes_both_ways(void **state)
{
	(void)state;
	struct gd_clock now = { .realtime_ns = START, .boottime_ns = SECOND };
	struct gd_hook_auth *auth = auth_with(key_line, &now);
	const struct gd_hook_token *token = NULL;
	struct texts t;
	now.realtime_ns += 1000 * SECOND;
	now.boottime_ns += 1000 * SECOND;
	int64_t now_s = now.realtime_ns / SECOND;
	static const struct {
		int64_t off_s;
		bool good;
	} rows[] = { { 0, true }, { -300, true }, { 300, true }, { -301, false }, { 301, false } };
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct gd_hook_credentials c = sign(&t, now_s + rows[i].off_s, i);
		assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token),
		                 rows[i].good ? GD_HOOK_PROOF_LATER : GD_HOOK_PROOF_NONE);
		assert_int_equal(verify(auth, &c, &now),
		                 rows[i].good ? GD_HOOK_PROOF_KNOWN : GD_HOOK_PROOF_NONE);
	}
	gd_hook_auth_destroy(auth);
}

static void a_signature_from_before_the_start_may_be_a_replay(void **state)
{
	(void)state;
	struct gd_clock now = { .realtime_ns = START, .boottime_ns = SECOND };
	struct gd_hook_auth *auth = auth_with(key_line, &now);
	struct texts t;
	struct gd_hook_credentials c = sign(&t, START / SECOND - 1, 1);
	assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_NONE);
	c = sign(&t, START / SECOND, 1);
	assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_KNOWN);
	gd_hook_auth_destroy(auth);
}

static void a_full_ring_of_nonces_refuses_and_never_forgets_early(void **state)
{
	(void)state;
	struct gd_clock now = { .realtime_ns = START, .boottime_ns = SECOND };
	struct gd_hook_auth *auth = auth_with(key_line, &now);
	struct texts t;
	for (unsigned i = 0; i < GD_HOOK_NONCES; i++) {
		struct gd_hook_credentials c = sign(&t, START / SECOND, i);
		assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_KNOWN);
	}
	struct gd_hook_credentials c = sign(&t, START / SECOND, GD_HOOK_NONCES);
	assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_FULL);
	c = sign(&t, START / SECOND, 0);
	assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_REPLAY);
	/* Ten minutes later the first may go: what they belonged to is too old by then. */
	now.realtime_ns += 601 * SECOND;
	now.boottime_ns += 601 * SECOND;
	c = sign(&t, now.realtime_ns / SECOND, GD_HOOK_NONCES);
	assert_int_equal(verify(auth, &c, &now), GD_HOOK_PROOF_KNOWN);
	gd_hook_auth_destroy(auth);
}

static void malformed_headers_prove_nothing(void **state)
{
	(void)state;
	struct gd_clock now = { .realtime_ns = START, .boottime_ns = SECOND };
	struct gd_hook_auth *auth = auth_with(key_line, &now);
	const struct gd_hook_token *token = NULL;
	struct texts t;
	struct gd_hook_credentials good = sign(&t, START / SECOND, 1);
	static const char *const timestamps[] = { NULL, "", "-1", "x", "1800000000x",
		                                  "99999999999999999999", "0x6b49d200" };
	static const char *const nonces[] = { NULL, "", "short", "nonce 0123456789", "nonce.0123456789" };
	static const char *const signatures[] = { NULL, "", "v1=", "v2=00", "v1=zz" };
	for (size_t i = 0; i < sizeof(timestamps) / sizeof(*timestamps); i++) {
		struct gd_hook_credentials c = good;
		c.timestamp = timestamps[i];
		assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token), GD_HOOK_PROOF_NONE);
	}
	for (size_t i = 0; i < sizeof(nonces) / sizeof(*nonces); i++) {
		struct gd_hook_credentials c = good;
		c.nonce = nonces[i];
		assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token), GD_HOOK_PROOF_NONE);
	}
	for (size_t i = 0; i < sizeof(signatures) / sizeof(*signatures); i++) {
		struct gd_hook_credentials c = good;
		c.signature = signatures[i];
		assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token), GD_HOOK_PROOF_NONE);
	}
	struct gd_hook_credentials c = { .authorization = "Basic YTpi" };
	assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token), GD_HOOK_PROOF_NONE);
	/* The key itself is no token, however one presents it. */
	c.authorization = "Bearer 00112233445566778899aabbccddeeff";
	assert_int_equal(gd_hook_auth_begin(auth, &c, &now, &token), GD_HOOK_PROOF_NONE);
	assert_null(token);
	gd_hook_auth_destroy(auth);
}

static void five_a_second_and_a_burst_of_ten(void **state)
{
	(void)state;
	struct gd_clock now = { .realtime_ns = START, .boottime_ns = SECOND };
	struct gd_hook_auth *auth = auth_with(key_line, &now);
	unsigned n = 0;
	while (gd_hook_auth_rate(auth, "a", &now))
		n++;
	assert_int_equal(n, 10);
	assert_true(gd_hook_auth_rate(auth, "b", &now));
	for (int s = 0; s < 3; s++) {
		now.boottime_ns += SECOND;
		for (n = 0; gd_hook_auth_rate(auth, "a", &now); n++)
			;
		assert_int_equal(n, 5);
	}
	/* More names than are remembered: nobody is locked out by strangers. */
	for (int i = 0; i < 1000; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "uid:%d", i);
		now.boottime_ns += 1000000;
		assert_true(gd_hook_auth_rate(auth, name, &now));
	}
	gd_hook_auth_destroy(auth);
}

static void a_tokens_file_is_read_strictly(void **state)
{
	(void)state;
#define SHA "0000000000000000000000000000000000000000000000000000000000000000"
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "am\n", "tokens:1: wants NAME SECRET" },
		{ "# fine\n\nam " SHA " r1,r2 extra\n", "tokens:3: wants NAME SECRET" },
		{ "am " SHA "00\n", "wants the SHA-256" },
		{ "am token\n", "wants the SHA-256" },
		{ "a/m " SHA "\n", "a name is letters" },
		{ "am hmac:0011\n", "wants 16 to 64 bytes" },
		{ "am " SHA " a b\n", "wants NAME SECRET" },
		{ "am " SHA " a,b/c\n", "impossible name" },
		{ "am " SHA "\nam " SHA "\nam " SHA "\n", "tokens:3: a third secret" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct gd_hook_tokens *tokens = NULL;
		struct gd_error err = { 0 };
		assert_fails(gd_hook_tokens_parse("tokens", rows[i].text, strlen(rows[i].text),
		                                  &tokens, &err), -EINVAL, &err);
		assert_contains(err.msg, rows[i].why);
		assert_null(strstr(err.msg, SHA));
	}
#undef SHA
}

static void a_new_token_opens_what_its_line_closes(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char token[GD_HOOK_TOKEN_TEXT];
	char again[GD_HOOK_TOKEN_TEXT];
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	assert_ok(gd_hook_tokens_new("am", token, &line, &err), &err);
	assert_int_equal(strlen(token), 43);
	struct gd_hook_tokens *tokens = NULL;
	gd_buf_puts(&line, " gc-pause,heap\n");
	assert_ok(gd_hook_tokens_parse("tokens", line.data, line.len, &tokens, &err), &err);
	const struct gd_hook_token *found = gd_hook_tokens_bearer(tokens, token);
	assert_non_null(found);
	assert_string_equal(found->name, "am");
	assert_true(gd_hook_token_may(found, "heap"));
	assert_false(gd_hook_token_may(found, "hea"));
	token[0] = token[0] == 'A' ? 'B' : 'A';
	assert_null(gd_hook_tokens_bearer(tokens, token));
	assert_null(gd_hook_tokens_bearer(tokens, ""));
	gd_hook_tokens_destroy(tokens);
	gd_buf_reset(&line);
	assert_ok(gd_hook_tokens_new("am", again, &line, &err), &err);
	assert_string_not_equal(again + 1, token + 1);
	assert_fails(gd_hook_tokens_new("a b", again, &line, &err), -EINVAL, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(signatures_hold_for_five_minutes_both_ways),
		test_case(a_signature_from_before_the_start_may_be_a_replay),
		test_case(a_full_ring_of_nonces_refuses_and_never_forgets_early),
		test_case(malformed_headers_prove_nothing),
		test_case(five_a_second_and_a_burst_of_ten),
		test_case(a_tokens_file_is_read_strictly),
		test_case(a_new_token_opens_what_its_line_closes),
	};
	return test_run(tests);
}
