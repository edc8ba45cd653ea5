#include "agent/hook_head.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* A line without its CRLF. */
struct line {
	const char *at;
	size_t n;
};

/* What the fields said; each of them may come once. */
struct fields {
	unsigned n;
	bool length, authorization, signature, host, chunked, expect, encoded;
	uint64_t length_bytes;
};

static bool is_token(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= 0x20 || s[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s[i]) != NULL)
			return false;
	return n > 0;
}

/* Every byte so far, complete or not: a NUL or a stray CR or LF never becomes a good request. */
static bool bytes_ok(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c == '\r' ? i + 1 < n && bytes[i + 1] != '\n' :
		    c == '\n' ? i == 0 || bytes[i - 1] != '\r' :
		                (c < 0x20 && c != '\t') || c >= 0x7f)
			return false;
	}
	return true;
}

static int check_request_line(struct line line)
{
	const char *end = line.at + line.n;
	const char *target = memchr(line.at, ' ', line.n);
	const char *version = target != NULL ?
	                              memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
	if (version == NULL || !is_token(line.at, (size_t)(target - line.at)))
		return 400;
	size_t n_target = (size_t)(version - target - 1);
	size_t n_version = (size_t)(end - version - 1);
	if (n_version < 5 || memcmp(version + 1, "HTTP/", 5) != 0 || n_target == 0 ||
	    target[1] != '/')
		return 400;
	if (n_version != 8 ||
	    (memcmp(version + 1, "HTTP/1.1", 8) != 0 && memcmp(version + 1, "HTTP/1.0", 8) != 0))
		return memchr(version + 1, ' ', n_version) != NULL ? 400 : 505;
	if (n_target > GD_HOOK_TARGET_MAX)
		return 414;
	for (const char *c = target + 1; c < version; c++)
		if (*c < 0x21)
			return 400;
	size_t n_method = (size_t)(target - line.at);
	bool known = (n_method == 3 && memcmp(line.at, "GET", 3) == 0) ||
	             (n_method == 4 && memcmp(line.at, "POST", 4) == 0);
	return known ? 200 : 405;
}

/* Twice the same field is somebody's trick to be read in two ways. */
static bool once(bool *seen)
{
	bool first = !*seen;
	*seen = true;
	return first;
}

static int note_length(struct fields *fields, const char *value, size_t n)
{
	char digits[16];
	const char *end;
	if (!once(&fields->length) || n == 0 || n >= sizeof(digits))
		return 400;
	memcpy(digits, value, n);
	digits[n] = '\0';
	return gd_text_u64(digits, &end, 10, &fields->length_bytes) && *end == '\0' ? 200 : 400;
}

static int note_field(struct fields *fields, struct line line)
{
	const char *colon = memchr(line.at, ':', line.n);
	/* A folded line begins with a blank and so has no name. */
	if (colon == NULL || !is_token(line.at, (size_t)(colon - line.at)))
		return 400;
	size_t n_name = (size_t)(colon - line.at);
	const char *value = colon + 1;
	const char *end = line.at + line.n;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
#define IS(name) (n_name == sizeof(name) - 1 && strncasecmp(line.at, name, n_name) == 0)
	if (IS("content-length"))
		return note_length(fields, value, (size_t)(end - value));
	if (IS("authorization"))
		return once(&fields->authorization) ? 200 : 400;
	if (IS("x-godiag-signature"))
		return once(&fields->signature) ? 200 : 400;
	if (IS("host"))
		return once(&fields->host) ? 200 : 400;
	if (IS("transfer-encoding"))
		fields->chunked = true;
	if (IS("expect"))
		fields->expect = true;
	if (IS("content-encoding"))
		fields->encoded = true;
#undef IS
	return 200;
}

static int judge(const struct fields *fields, bool post, bool old)
{
	if (fields->chunked || (post && !fields->length))
		return 411;
	if (fields->length_bytes > GD_HOOK_BODY_MAX)
		return 413;
	if (fields->encoded)
		return 415;
	if (fields->expect)
		return 417;
	return fields->host || old ? 200 : 400;
}

int gd_hook_head_check(const char *bytes, size_t n)
{
	static const char crlf[] = "\r\n";
	if (n > GD_HOOK_HEAD_MAX)
		n = GD_HOOK_HEAD_MAX;
	const char *blank = memmem(bytes, n, "\r\n\r\n", 4);
	size_t n_head = blank != NULL ? (size_t)(blank - bytes) + 4 : n;
	if (!bytes_ok(bytes, n_head))
		return 400;
	if (blank == NULL)
		return n >= GD_HOOK_HEAD_MAX ? 431 : 0;
	struct line line = { .at = bytes };
	struct fields fields = { 0 };
	const char *end = memmem(bytes, n_head, crlf, 2);
	line.n = (size_t)(end - bytes);
	int status = check_request_line(line);
	bool post = line.n > 0 && line.at[0] == 'P';
	bool old = line.n > 0 && line.at[line.n - 1] == '0'; /* HTTP/1.0 */
	while (status == 200 && end < blank) {
		line.at = end + 2;
		end = memmem(line.at, (size_t)(blank + 2 - line.at), crlf, 2);
		if (end == NULL)
			return 400;
		line.n = (size_t)(end - line.at);
		if (++fields.n > GD_HOOK_FIELDS_MAX)
			return 431;
		status = note_field(&fields, line);
	}
	return status == 200 ? judge(&fields, post, old) : status;
}

const char *gd_hook_head_status(int status)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{ 200, "200 OK" },
		{ 202, "202 Accepted" },
		{ 400, "400 Bad Request" },
		{ 401, "401 Unauthorized" },
		{ 404, "404 Not Found" },
		{ 405, "405 Method Not Allowed" },
		{ 408, "408 Request Timeout" },
		{ 409, "409 Conflict" },
		{ 411, "411 Length Required" },
		{ 413, "413 Content Too Large" },
		{ 414, "414 URI Too Long" },
		{ 415, "415 Unsupported Media Type" },
		{ 417, "417 Expectation Failed" },
		{ 429, "429 Too Many Requests" },
		{ 431, "431 Request Header Fields Too Large" },
		{ 503, "503 Service Unavailable" },
		{ 505, "505 HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].status == status)
			return rows[i].text;
	return "500 Internal Server Error";
}
