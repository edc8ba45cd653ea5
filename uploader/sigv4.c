#include "uploader/sigv4.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define HASH_BYTES 32
#define TEXT_MAX (256 * 1024)
#define PAIRS_MAX 128

static void put_hex(struct gd_buf *to, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		gd_buf_putc(to, "0123456789abcdef"[bytes[i] >> 4]);
		gd_buf_putc(to, "0123456789abcdef"[bytes[i] & 15]);
	}
}

static int hmac(const void *key, size_t key_len, const void *text, size_t n,
                unsigned char to[HASH_BYTES], struct gd_error *err)
{
	unsigned len = 0;
	if (HMAC(EVP_sha256(), key, (int)key_len, text, n, to, &len) == NULL || len != HASH_BYTES)
		return gd_fail(err, -EIO, "HMAC-SHA256 failed in libcrypto");
	return 0;
}

void gd_sigv4_encode(struct gd_buf *to, const char *text, bool keep_slash)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool plain = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
		             (*p >= '0' && *p <= '9') || strchr("-_.~", *p) != NULL;
		if (plain || (*p == '/' && keep_slash))
			gd_buf_putc(to, (char)*p);
		else
			gd_buf_printf(to, "%%%02X", *p);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int gd_sigv4_query(struct gd_buf *to, const struct gd_sigv4_pair *query, size_t n,
                   struct gd_error *err)
{
	if (n > PAIRS_MAX)
		return gd_fail(err, -E2BIG, "more than %d query parameters", PAIRS_MAX);
	/* "-", "." and "%" sort below "=": with \x01 between name and value, "a" still comes
	 * before "a-b" when whole pairs are compared. */
	char *texts[PAIRS_MAX] = { NULL };
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		GD_BUF struct gd_buf pair = GD_BUF_INIT(TEXT_MAX);
		gd_sigv4_encode(&pair, query[i].name, false);
		gd_buf_putc(&pair, '\x01');
		gd_sigv4_encode(&pair, query[i].value, false);
		r = gd_buf_check(&pair, "query parameter", err);
		if (r == 0 && (texts[i] = strdup(gd_buf_str(&pair))) == NULL)
			r = gd_fail_errno(err, -ENOMEM, "query parameter");
	}
	if (r == 0)
		qsort(texts, n, sizeof(*texts), by_text);
	for (size_t i = 0; i < n && r == 0; i++) {
		*strchr(texts[i], '\x01') = '=';
		if (i > 0)
			gd_buf_putc(to, '&');
		gd_buf_puts(to, texts[i]);
	}
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	return r;
}

static int by_name(const void *a, const void *b)
{
	const struct gd_sigv4_pair *left = a;
	const struct gd_sigv4_pair *right = b;
	return strcmp(left->name, right->name);
}

/* Trims the value and folds runs of spaces, as the canonical form demands. */
static void put_header_value(struct gd_buf *to, const char *value)
{
	value += strspn(value, " \t");
	for (const char *p = value; *p != '\0'; p++) {
		size_t blanks = strspn(p, " \t");
		if (blanks > 0 && p[blanks] == '\0')
			return;
		if (blanks > 0)
			p += blanks - 1;
		gd_buf_putc(to, blanks > 0 ? ' ' : *p);
	}
}

static int put_canonical(const struct gd_sigv4_request *request, struct gd_buf *canonical,
                         struct gd_buf *signed_names, struct gd_error *err)
{
	struct gd_sigv4_pair headers[PAIRS_MAX];
	if (request->n_headers > PAIRS_MAX)
		return gd_fail(err, -E2BIG, "more than %d headers", PAIRS_MAX);
	memcpy(headers, request->headers, request->n_headers * sizeof(*headers));
	qsort(headers, request->n_headers, sizeof(*headers), by_name);

	gd_buf_printf(canonical, "%s\n", request->method);
	if (request->encode_path_twice) {
		GD_BUF struct gd_buf once = GD_BUF_INIT(TEXT_MAX);
		gd_sigv4_encode(&once, request->path, true);
		gd_sigv4_encode(canonical, gd_buf_str(&once), true);
	} else {
		gd_sigv4_encode(canonical, request->path, true);
	}
	gd_buf_putc(canonical, '\n');
	int r = gd_sigv4_query(canonical, request->query, request->n_query, err);
	if (r < 0)
		return r;
	gd_buf_putc(canonical, '\n');
	for (size_t i = 0; i < request->n_headers; i++) {
		gd_buf_printf(canonical, "%s:", headers[i].name);
		put_header_value(canonical, headers[i].value);
		gd_buf_putc(canonical, '\n');
		gd_buf_printf(signed_names, "%s%s", i > 0 ? ";" : "", headers[i].name);
	}
	gd_buf_printf(canonical, "\n%s\n%s", gd_buf_str(signed_names), request->payload_sha256);
	r = gd_buf_check(signed_names, "signed header names", err);
	return r < 0 ? r : gd_buf_check(canonical, "canonical request", err);
}

/* The chain date -> region -> service -> "aws4_request". */
static int derive_key(const struct gd_sigv4_request *request, const char *date,
                      unsigned char key[HASH_BYTES], struct gd_error *err)
{
	GD_BUF struct gd_buf secret = GD_BUF_INIT(4096);
	gd_buf_printf(&secret, "AWS4%s", request->secret_key);
	int r = gd_buf_check(&secret, "secret key", err);
	if (r == 0)
		r = hmac(secret.data, secret.len, date, strlen(date), key, err);
	const char *const steps[] = { request->region, request->service, "aws4_request" };
	for (size_t i = 0; i < 3 && r == 0; i++) {
		unsigned char next[HASH_BYTES];
		r = hmac(key, HASH_BYTES, steps[i], strlen(steps[i]), next, err);
		if (r == 0)
			memcpy(key, next, HASH_BYTES);
		explicit_bzero(next, sizeof(next));
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.len);
	return r;
}

int gd_sigv4_sign(const struct gd_sigv4_request *request, struct gd_buf *ret, struct gd_error *err)
{
	if (strlen(request->timestamp) != 16 || request->timestamp[8] != 'T')
		return gd_fail(err, -EINVAL, "timestamp \"%s\" is not YYYYMMDDTHHMMSSZ",
		               request->timestamp);
	char date[9] = "";
	memcpy(date, request->timestamp, 8);

	GD_BUF struct gd_buf canonical = GD_BUF_INIT(TEXT_MAX);
	GD_BUF struct gd_buf names = GD_BUF_INIT(8192);
	int r = put_canonical(request, &canonical, &names, err);
	if (r < 0)
		return r;
	unsigned char digest[HASH_BYTES];
	if (EVP_Digest(canonical.data, canonical.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return gd_fail(err, -EIO, "SHA-256 failed in libcrypto");

	GD_BUF struct gd_buf to_sign = GD_BUF_INIT(4096);
	gd_buf_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n",
	              request->timestamp, date, request->region, request->service);
	put_hex(&to_sign, digest, sizeof(digest));
	r = gd_buf_check(&to_sign, "string to sign", err);

	unsigned char key[HASH_BYTES];
	unsigned char signature[HASH_BYTES] = { 0 };
	if (r == 0)
		r = derive_key(request, date, key, err);
	if (r == 0)
		r = hmac(key, sizeof(key), to_sign.data, to_sign.len, signature, err);
	explicit_bzero(key, sizeof(key));
	if (r < 0)
		return r;
	gd_buf_printf(ret, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, ",
	              request->access_key, date, request->region, request->service,
	              gd_buf_str(&names));
	gd_buf_puts(ret, "Signature=");
	put_hex(ret, signature, sizeof(signature));
	return gd_buf_check(ret, "Authorization header", err);
}
