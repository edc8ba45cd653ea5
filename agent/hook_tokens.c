#include "agent/hook_tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"

#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
#define KEY_MIN 16

static int sha256(const void *bytes, size_t n, uint8_t to[32])
{
	return EVP_Digest(bytes, n, to, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

/* ---- the file ---- */

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Bytes written, or -EINVAL. */
static int unhex(const char *text, uint8_t *to, size_t size)
{
	size_t n = strlen(text);
	if (n % 2 != 0 || n / 2 > size)
		return -EINVAL;
	for (size_t i = 0; i < n / 2; i++) {
		int high = nibble(text[2 * i]);
		int low = nibble(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return (int)(n / 2);
}

static int copy_name(const char *name, char to[GD_POLICY_NAME_MAX])
{
	size_t n = strlen(name);
	if (n == 0 || n >= GD_POLICY_NAME_MAX || strspn(name, NAME_LETTERS) != n)
		return -EINVAL;
	memcpy(to, name, n + 1);
	return 0;
}

static int take_secret(struct gd_hook_token *token, const char *text, const char *where,
                       struct gd_error *err)
{
	token->hmac = strncmp(text, "hmac:", 5) == 0;
	int n = unhex(token->hmac ? text + 5 : text, token->secret, sizeof(token->secret));
	if (token->hmac && n < KEY_MIN)
		return gd_fail(err, -EINVAL, "%s: hmac: wants 16 to 64 bytes in hex", where);
	if (!token->hmac && n != 32)
		return gd_fail(err, -EINVAL,
		               "%s: wants the SHA-256 of a token in hex, or hmac:KEY; make one "
		               "with godiag hook --new-token NAME", where);
	token->n_secret = (size_t)n;
	return 0;
}

static int take_rules(struct gd_hook_token *token, char *text, const char *where,
                      struct gd_error *err)
{
	char *rest = NULL;
	token->rules = calloc(GD_HOOK_TOKEN_RULES, sizeof(*token->rules));
	if (token->rules == NULL)
		return gd_fail(err, -ENOMEM, "%s", where);
	for (char *rule = strtok_r(text, ",", &rest); rule != NULL;
	     rule = strtok_r(NULL, ",", &rest)) {
		if (token->n_rules == GD_HOOK_TOKEN_RULES)
			return gd_fail(err, -E2BIG, "%s: more than %d rules", where,
			               GD_HOOK_TOKEN_RULES);
		if (copy_name(rule, token->rules[token->n_rules++]) < 0)
			return gd_fail(err, -EINVAL, "%s: a rule has an impossible name", where);
	}
	return 0;
}

static int take_line(struct gd_hook_tokens *tokens, char *line, const char *where,
                     struct gd_error *err)
{
	char *rest = NULL;
	const char *name = strtok_r(line, " \t", &rest);
	const char *secret = strtok_r(NULL, " \t", &rest);
	char *rules = strtok_r(NULL, " \t", &rest);
	if (name == NULL || name[0] == '#')
		return 0;
	if (tokens->n == GD_HOOK_TOKENS_MAX)
		return gd_fail(err, -E2BIG, "%s: more than %d tokens", where, GD_HOOK_TOKENS_MAX);
	struct gd_hook_token *token = &tokens->list[tokens->n];
	if (copy_name(name, token->name) < 0)
		return gd_fail(err, -EINVAL, "%s: a name is letters, digits, - _ . (at most %d)",
		               where, GD_POLICY_NAME_MAX - 1);
	if (secret == NULL || strtok_r(NULL, " \t", &rest) != NULL)
		return gd_fail(err, -EINVAL, "%s: wants NAME SECRET [RULE,RULE...]", where);
	unsigned same = 0;
	for (size_t i = 0; i < tokens->n; i++)
		same += strcmp(tokens->list[i].name, name) == 0;
	if (same > 1)
		return gd_fail(err, -EINVAL, "%s: a third secret of one name", where);
	int r = take_secret(token, secret, where, err);
	if (r < 0)
		return r;
	tokens->n++; /* from here on destroy releases it */
	return rules != NULL ? take_rules(token, rules, where, err) : 0;
}

int gd_hook_tokens_parse(const char *file, const char *text, size_t len,
                         struct gd_hook_tokens **ret, struct gd_error *err)
{
	if (len > GD_HOOK_TOKENS_FILE_MAX || memchr(text, 0, len) != NULL)
		return gd_fail(err, -EINVAL, "%s: not a tokens file", file);
	GD_FREE char *copy = strndup(text, len);
	struct gd_hook_tokens *tokens = calloc(1, sizeof(*tokens));
	if (copy == NULL || tokens == NULL) {
		free(tokens);
		return gd_fail(err, -ENOMEM, "%s", file);
	}
	unsigned number = 1;
	int r = 0;
	for (char *line = copy; line != NULL && r == 0; number++) {
		char where[160];
		char *end = strchr(line, '\n');
		if (end != NULL)
			*end = '\0';
		(void)snprintf(where, sizeof(where), "%s:%u", file, number);
		line[strcspn(line, "\r")] = '\0';
		r = take_line(tokens, line, where, err);
		line = end != NULL ? end + 1 : NULL;
	}
	OPENSSL_cleanse(copy, len);
	if (r < 0) {
		gd_hook_tokens_destroy(tokens);
		return r;
	}
	*ret = tokens;
	return 0;
}

void gd_hook_tokens_destroy(struct gd_hook_tokens *tokens)
{
	if (tokens == NULL)
		return;
	for (size_t i = 0; i < tokens->n; i++)
		free(tokens->list[i].rules);
	OPENSSL_cleanse(tokens, sizeof(*tokens));
	free(tokens);
}

int gd_hook_tokens_read(const char *path, struct gd_buf *to, struct gd_error *err)
{
	struct stat st;
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return gd_fail(err, -EINVAL, "%s: not a regular file", path);
	if ((st.st_mode & 027) != 0)
		return gd_fail(err, -EPERM,
		               "%s: mode %03o lets others read or change it; chmod 0640 it", path,
		               (unsigned)st.st_mode & 0777);
	int r = gd_io_read_all(fd, to, err);
	return r < 0 ? gd_error_wrap(err, r, "%s", path) : 0;
}

/* ---- whose is it ---- */

const struct gd_hook_token *gd_hook_tokens_bearer(const struct gd_hook_tokens *tokens,
                                                  const char *token)
{
	const struct gd_hook_token *found = NULL;
	uint8_t digest[32];
	if (sha256(token, strlen(token), digest) < 0)
		return NULL;
	for (size_t i = 0; i < tokens->n; i++) {
		const struct gd_hook_token *t = &tokens->list[i];
		/* Compared also where it cannot be: the time says nothing about the list. */
		bool same = CRYPTO_memcmp(t->secret, digest, sizeof(digest)) == 0;
		if (same & !t->hmac)
			found = t;
	}
	return found;
}

const struct gd_hook_token *gd_hook_tokens_hmac(const struct gd_hook_tokens *tokens,
                                                const void *bytes, size_t n,
                                                const uint8_t mac[32])
{
	const struct gd_hook_token *found = NULL;
	for (size_t i = 0; i < tokens->n; i++) {
		const struct gd_hook_token *t = &tokens->list[i];
		uint8_t ours[EVP_MAX_MD_SIZE];
		if (!t->hmac ||
		    HMAC(EVP_sha256(), t->secret, (int)t->n_secret, bytes, n, ours, NULL) == NULL)
			continue;
		if (CRYPTO_memcmp(ours, mac, 32) == 0)
			found = t;
	}
	return found;
}

bool gd_hook_token_may(const struct gd_hook_token *token, const char *rule)
{
	if (token->rules == NULL)
		return true;
	bool may = false;
	for (size_t i = 0; i < token->n_rules; i++)
		may |= strcmp(token->rules[i], rule) == 0;
	return may;
}

int gd_hook_tokens_new(const char *name, char ret_token[GD_HOOK_TOKEN_TEXT], struct gd_buf *line,
                       struct gd_error *err)
{
	char checked[GD_POLICY_NAME_MAX];
	uint8_t random[32];
	uint8_t digest[32];
	uint8_t text[GD_HOOK_TOKEN_TEXT];
	if (copy_name(name, checked) < 0)
		return gd_fail(err, -EINVAL, "a name is letters, digits, - _ . (at most %d)",
		               GD_POLICY_NAME_MAX - 1);
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return gd_fail_errno(err, -EIO, "getrandom");
	/* base64url without padding: nothing in it wants quoting in YAML, a shell or a header. */
	size_t n = (size_t)EVP_EncodeBlock(text, random, sizeof(random));
	for (size_t i = 0; i < n; i++) {
		char c = (char)text[i];
		if (c == '+' || c == '/')
			c = c == '+' ? '-' : '_';
		if (c == '=')
			c = '\0';
		ret_token[i] = c;
	}
	ret_token[n] = '\0';
	if (sha256(ret_token, strlen(ret_token), digest) < 0)
		return gd_fail(err, -EIO, "SHA-256");
	gd_buf_printf(line, "%s ", checked);
	for (size_t i = 0; i < sizeof(digest); i++)
		gd_buf_printf(line, "%02x", digest[i]);
	OPENSSL_cleanse(random, sizeof(random));
	return gd_buf_check(line, "a line", err);
}
