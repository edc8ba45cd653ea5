/*
 * Tokens files and the headers that prove something: the input is split at NULs into a file, the four
 * headers, and a body.  Nobody is let in by the wrong kind of proof, and no signature works twice.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hook_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS 6
#define NOW_S INT64_C(1800000000)

static void try_headers(struct gd_hook_auth *auth, char *const parts[PARTS],
                        const struct gd_clock *now)
{
	const struct gd_hook_token *token = NULL;
	struct gd_hook_credentials c = { parts[1][0] != '\0' ? parts[1] : NULL, parts[2], parts[3],
		                         parts[4] };
	enum gd_hook_proof proof = gd_hook_auth_begin(auth, &c, now, &token);
	if ((proof == GD_HOOK_PROOF_KNOWN) != (token != NULL))
		abort();
	if (token != NULL && token->hmac)
		abort();
	token = NULL;
	proof = gd_hook_auth_verify(auth, &c, "POST", "/v1/captures", parts[5], strlen(parts[5]), now,
	                            &token);
	if ((proof == GD_HOOK_PROOF_KNOWN) != (token != NULL) || (token != NULL && !token->hmac))
		abort();
	if (proof == GD_HOOK_PROOF_KNOWN &&
	    gd_hook_auth_verify(auth, &c, "POST", "/v1/captures", parts[5], strlen(parts[5]), now,
	                        &token) != GD_HOOK_PROOF_REPLAY)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gd_hook_auth *auth;
	const struct gd_clock now = { .realtime_ns = NOW_S * 1000000000, .boottime_ns = 1 };
	struct gd_hook_tokens *tokens = NULL;
	char *copy = calloc(1, size + PARTS);
	char *parts[PARTS];
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	char *at = copy;
	for (size_t i = 0; i < PARTS; i++) {
		parts[i] = at;
		at += strlen(at) + 1;
		if (at > copy + size)
			at = copy + size;
	}
	/* Nonces of one input must not fill the ring for the next. */
	if (gd_hook_auth_create(&now, &auth, NULL) == 0) {
		if (gd_hook_tokens_parse("tokens", parts[0], strlen(parts[0]), &tokens, NULL) == 0) {
			if (tokens->n > GD_HOOK_TOKENS_MAX)
				abort();
			gd_hook_auth_tokens(auth, tokens);
			try_headers(auth, parts, &now);
		}
		gd_hook_auth_destroy(auth);
	}
	free(copy);
	return 0;
}
