#pragma once
/*
 * Who may call the hook, as the tokens file says:
 *
 *	# name        secret                       rules it may trigger (all when left out)
 *	alertmanager  <SHA-256 of the token, hex>
 *	deploy        hmac:<key, hex>              p99-latency,gc-pause
 *
 * A name may stand there twice, so that a token can be replaced while the old one still works.
 * Every comparison looks at every line in constant time.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "policies/policy.h"

#define GD_HOOK_TOKENS_MAX 64
#define GD_HOOK_TOKENS_FILE_MAX 32768
#define GD_HOOK_TOKEN_RULES 64

struct gd_hook_token {
	char name[GD_POLICY_NAME_MAX];
	bool hmac;
	uint8_t secret[64]; /* SHA-256 of a bearer token, or the key */
	size_t n_secret;
	char (*rules)[GD_POLICY_NAME_MAX]; /* NULL: all */
	size_t n_rules;
};

struct gd_hook_tokens {
	struct gd_hook_token list[GD_HOOK_TOKENS_MAX];
	size_t n;
};

/* -EINVAL names file and line.  `file` is what messages call it. */
int gd_hook_tokens_parse(const char *file, const char *text, size_t len,
                         struct gd_hook_tokens **ret, struct gd_error *err);
void gd_hook_tokens_destroy(struct gd_hook_tokens *tokens); /* NULL allowed; wipes it */

/* Appends the file.  -EPERM: readable or writable for those it should not be. */
int gd_hook_tokens_read(const char *path, struct gd_buf *to, struct gd_error *err);

/* Whose token that is; NULL: nobody's. */
const struct gd_hook_token *gd_hook_tokens_bearer(const struct gd_hook_tokens *tokens,
                                                  const char *token);

/* Whose key made this HMAC-SHA256 over `bytes`; NULL: nobody's. */
const struct gd_hook_token *gd_hook_tokens_hmac(const struct gd_hook_tokens *tokens,
                                                const void *bytes, size_t n,
                                                const uint8_t mac[32]);

bool gd_hook_token_may(const struct gd_hook_token *token, const char *rule);

/* A fresh token of 32 random bytes, and the line for the file. */
#define GD_HOOK_TOKEN_TEXT 48
int gd_hook_tokens_new(const char *name, char ret_token[GD_HOOK_TOKEN_TEXT], struct gd_buf *line,
                       struct gd_error *err);
