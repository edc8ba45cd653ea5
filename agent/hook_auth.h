#pragma once
/*
 * Whether a caller is who it says: bearer tokens at once, HMAC signatures when the body is there,
 * each signature once (a ring of nonces), and not too many requests of one name per second.
 *
 *	Authorization: Bearer TOKEN
 * or
 *	X-Godiag-Timestamp: seconds since 1970
 *	X-Godiag-Nonce: 16 to 64 of A-Z a-z 0-9 - _
 *	X-Godiag-Signature: v1=hex(HMAC-SHA256(key, TIMESTAMP "." NONCE "." METHOD "." PATH "." BODY))
 *
 * Pure: clocks are given.
 */
#include "agent/hook_tokens.h"
#include "base/clock.h"

#define GD_HOOK_WINDOW_S 300
#define GD_HOOK_NONCES 4096
#define GD_HOOK_NONCE_KEPT_NS (INT64_C(600) * 1000000000)
#define GD_HOOK_RATE_PER_S 5

struct gd_hook_auth;

int gd_hook_auth_create(const struct gd_clock *now, struct gd_hook_auth **ret,
                        struct gd_error *err);
void gd_hook_auth_destroy(struct gd_hook_auth *auth); /* NULL allowed */

/* Takes the tokens; NULL: there are none. */
void gd_hook_auth_tokens(struct gd_hook_auth *auth, struct gd_hook_tokens *tokens);
bool gd_hook_auth_has_tokens(const struct gd_hook_auth *auth);

struct gd_hook_credentials { /* as the headers say; NULL: not there */
	const char *authorization, *timestamp, *nonce, *signature;
};

/* What a request has proved.  Valid until the tokens change. */
enum gd_hook_proof {
	GD_HOOK_PROOF_NONE,   /* nothing, or wrong: 401 */
	GD_HOOK_PROOF_LATER,  /* signed: wants gd_hook_auth_verify once the body is there */
	GD_HOOK_PROOF_KNOWN,  /* *ret is who */
	GD_HOOK_PROOF_REPLAY, /* signed well, but a second time: 409 */
	GD_HOOK_PROOF_FULL,   /* signed well, but the ring of nonces is full: 429 */
};

enum gd_hook_proof gd_hook_auth_begin(const struct gd_hook_auth *auth,
                                      const struct gd_hook_credentials *credentials,
                                      const struct gd_clock *now,
                                      const struct gd_hook_token **ret);

/* `method` and `path` as sent; never NONE for a reason that the time it takes would tell. */
enum gd_hook_proof gd_hook_auth_verify(struct gd_hook_auth *auth,
                                       const struct gd_hook_credentials *credentials,
                                       const char *method, const char *path, const void *body,
                                       size_t n, const struct gd_clock *now,
                                       const struct gd_hook_token **ret);

/* Whether a caller of that name may have one more request now: GD_HOOK_RATE_PER_S, bursts of twice
 * that. */
bool gd_hook_auth_rate(struct gd_hook_auth *auth, const char *name, const struct gd_clock *now);
