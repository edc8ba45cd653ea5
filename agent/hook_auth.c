#include "agent/hook_auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/hook_head.h"
#include "base/text.h"

#define SECOND INT64_C(1000000000)
#define BURST (2 * GD_HOOK_RATE_PER_S)
#define NAMES_MAX (GD_HOOK_TOKENS_MAX + 16) /* and some uids of unix peers */

struct nonce {
	uint8_t digest[16];
	int64_t until_ns; /* CLOCK_BOOTTIME; 0: free */
};

struct bucket {
	char name[GD_POLICY_NAME_MAX];
	double left;
	int64_t at_ns;
};

struct gd_hook_auth {
	struct gd_hook_tokens *tokens;
	int64_t since_s; /* older signatures may have been seen by a process before this one */
	struct nonce nonces[GD_HOOK_NONCES];
	struct bucket buckets[NAMES_MAX];
};

int gd_hook_auth_create(const struct gd_clock *now, struct gd_hook_auth **ret,
                        struct gd_error *err)
{
	struct gd_hook_auth *auth = calloc(1, sizeof(*auth));
	if (auth == NULL)
		return gd_fail(err, -ENOMEM, "nonces");
	auth->since_s = now->realtime_ns / SECOND;
	*ret = auth;
	return 0;
}

void gd_hook_auth_destroy(struct gd_hook_auth *auth)
{
	if (auth == NULL)
		return;
	gd_hook_tokens_destroy(auth->tokens);
	free(auth);
}

void gd_hook_auth_tokens(struct gd_hook_auth *auth, struct gd_hook_tokens *tokens)
{
	gd_hook_tokens_destroy(auth->tokens);
	auth->tokens = tokens;
}

bool gd_hook_auth_has_tokens(const struct gd_hook_auth *auth)
{
	return auth->tokens != NULL;
}

/* ---- signatures ---- */

struct signature {
	int64_t at_s;
	uint8_t mac[32];
	uint8_t nonce[16]; /* digest of it */
};

static int hex_byte(const char *s)
{
	int value = 0;
	for (int i = 0; i < 2; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (d < 0)
			return -1;
		value = value << 4 | d;
	}
	return value;
}

static bool parse_signature(const struct gd_hook_credentials *credentials, struct signature *ret)
{
	const char *end;
	uint64_t at;
	uint8_t digest[32];
	const char *hex = credentials->signature;
	const char *nonce = credentials->nonce;
	if (hex == NULL || nonce == NULL || credentials->timestamp == NULL)
		return false;
	if (!gd_text_u64(credentials->timestamp, &end, 10, &at) || *end != '\0' ||
	    at > (uint64_t)(INT64_MAX / SECOND))
		return false;
	size_t n = strlen(nonce);
	if (n < 16 || n > 64 || strspn(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                                      "abcdefghijklmnopqrstuvwxyz0123456789-_") != n)
		return false;
	if (strncmp(hex, "v1=", 3) != 0 || strlen(hex) != 3 + 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		int byte = hex_byte(hex + 3 + 2 * i);
		if (byte < 0)
			return false;
		ret->mac[i] = (uint8_t)byte;
	}
	if (EVP_Digest(nonce, n, digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	memcpy(ret->nonce, digest, sizeof(ret->nonce));
	ret->at_s = (int64_t)at;
	return true;
}

static bool is_recent(const struct gd_hook_auth *auth, const struct signature *signature,
                      const struct gd_clock *now)
{
	int64_t now_s = now->realtime_ns / SECOND;
	return signature->at_s >= now_s - GD_HOOK_WINDOW_S &&
	       signature->at_s <= now_s + GD_HOOK_WINDOW_S && signature->at_s >= auth->since_s;
}

static enum gd_hook_proof use_nonce(struct gd_hook_auth *auth, const uint8_t digest[16],
                                    int64_t now_ns)
{
	struct nonce *free_one = NULL;
	for (size_t i = 0; i < GD_HOOK_NONCES; i++) {
		struct nonce *nonce = &auth->nonces[i];
		if (nonce->until_ns <= now_ns)
			free_one = free_one != NULL ? free_one : nonce;
		else if (memcmp(nonce->digest, digest, sizeof(nonce->digest)) == 0)
			return GD_HOOK_PROOF_REPLAY;
	}
	/* Forgetting one early would let it be used twice. */
	if (free_one == NULL)
		return GD_HOOK_PROOF_FULL;
	memcpy(free_one->digest, digest, sizeof(free_one->digest));
	free_one->until_ns = now_ns + GD_HOOK_NONCE_KEPT_NS;
	return GD_HOOK_PROOF_KNOWN;
}

enum gd_hook_proof gd_hook_auth_begin(const struct gd_hook_auth *auth,
                                      const struct gd_hook_credentials *credentials,
                                      const struct gd_clock *now,
                                      const struct gd_hook_token **ret)
{
	static const char scheme[] = "Bearer ";
	struct signature signature;
	if (auth->tokens == NULL)
		return GD_HOOK_PROOF_NONE;
	if (credentials->authorization != NULL) {
		const char *value = credentials->authorization;
		if (strncasecmp(value, scheme, sizeof(scheme) - 1) != 0)
			return GD_HOOK_PROOF_NONE;
		value += sizeof(scheme) - 1;
		const struct gd_hook_token *found =
			gd_hook_tokens_bearer(auth->tokens, value + strspn(value, " "));
		if (found == NULL)
			return GD_HOOK_PROOF_NONE;
		*ret = found;
		return GD_HOOK_PROOF_KNOWN;
	}
	return parse_signature(credentials, &signature) && is_recent(auth, &signature, now) ?
	               GD_HOOK_PROOF_LATER : GD_HOOK_PROOF_NONE;
}

enum gd_hook_proof gd_hook_auth_verify(struct gd_hook_auth *auth,
                                       const struct gd_hook_credentials *credentials,
                                       const char *method, const char *path, const void *body,
                                       size_t n, const struct gd_clock *now,
                                       const struct gd_hook_token **ret)
{
	struct signature signature;
	if (auth->tokens == NULL || !parse_signature(credentials, &signature) ||
	    !is_recent(auth, &signature, now))
		return GD_HOOK_PROOF_NONE;
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_HOOK_BODY_MAX + GD_HOOK_HEAD_MAX);
	gd_buf_printf(&text, "%s.%s.%s.%s.", credentials->timestamp, credentials->nonce, method,
	              path);
	gd_buf_append(&text, body, n);
	if (gd_buf_check(&text, "a signed text", NULL) < 0)
		return GD_HOOK_PROOF_NONE;
	const struct gd_hook_token *found =
		gd_hook_tokens_hmac(auth->tokens, text.data, text.len, signature.mac);
	if (found == NULL)
		return GD_HOOK_PROOF_NONE;
	enum gd_hook_proof proof = use_nonce(auth, signature.nonce, now->boottime_ns);
	if (proof == GD_HOOK_PROOF_KNOWN)
		*ret = found;
	return proof;
}

/* ---- rate ---- */

static struct bucket *bucket_of(struct gd_hook_auth *auth, const char *name, int64_t now_ns)
{
	struct bucket *oldest = &auth->buckets[0];
	for (size_t i = 0; i < NAMES_MAX; i++) {
		struct bucket *bucket = &auth->buckets[i];
		if (strcmp(bucket->name, name) == 0)
			return bucket;
		if (bucket->at_ns < oldest->at_ns)
			oldest = bucket;
	}
	*oldest = (struct bucket){ .left = BURST, .at_ns = now_ns };
	(void)snprintf(oldest->name, sizeof(oldest->name), "%s", name);
	return oldest;
}

bool gd_hook_auth_rate(struct gd_hook_auth *auth, const char *name, const struct gd_clock *now)
{
	struct bucket *bucket = bucket_of(auth, name, now->boottime_ns);
	double since = (double)(now->boottime_ns - bucket->at_ns) / (double)SECOND;
	bucket->left += since > 0 ? since * GD_HOOK_RATE_PER_S : 0;
	bucket->left = bucket->left > BURST ? BURST : bucket->left;
	bucket->at_ns = now->boottime_ns;
	if (bucket->left < 1)
		return false;
	bucket->left -= 1;
	return true;
}
