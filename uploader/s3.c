#include "uploader/s3.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "uploader/sigv4.h"

#define DIGEST_HEADER "x-amz-meta-godiag-sha256"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEADERS_MAX 8

struct transfer {
	CURL *curl;
	struct curl_slist *headers;
	struct gd_buf body;      /* of the answer; bounded, for its error text */
	int fd;                  /* source, read with pread so that a rewind is free */
	uint64_t at, bytes;
	char seen_digest[65];    /* what a HEAD answered */
	char seen_etag[80];
};

static void cleanup_transfer(struct transfer *t)
{
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	gd_buf_deinit(&t->body);
}

int gd_s3_credentials_from_env(struct gd_s3_credentials *ret, struct gd_error *err)
{
	const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY" };
	const char *values[2];
	for (size_t i = 0; i < 2; i++) {
		values[i] = getenv(names[i]);
		if (values[i] == NULL || *values[i] == '\0')
			return gd_fail(err, -ENOKEY,
			               "no S3 credentials: %s is not set (sudo drops it; use "
			               "sudo --preserve-env=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY)",
			               names[i]);
	}
	const char *token = getenv("AWS_SESSION_TOKEN");
	*ret = (struct gd_s3_credentials){
		.access_key = values[0],
		.secret_key = values[1],
		.session_token = token != NULL && *token != '\0' ? token : NULL,
	};
	return 0;
}

static size_t send_body(char *to, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	uint64_t left = t->bytes - t->at;
	size_t want = size * n < left ? size * n : (size_t)left;
	ssize_t got = want > 0 ? pread(t->fd, to, want, (off_t)t->at) : 0;
	if (got < 0)
		return CURL_READFUNC_ABORT;
	t->at += (uint64_t)got;
	return (size_t)got;
}

static size_t keep_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t room = t->body.ceiling - t->body.len;
	gd_buf_append(&t->body, bytes, size * n < room ? size * n : room);
	return size * n;
}

/* Copies the value of "name: value\r\n" when it is that header. */
static void take_header(const char *line, size_t n, const char *name, char *to, size_t size)
{
	size_t len = strlen(name);
	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return;
	const char *value = line + len + 1;
	const char *end = line + n;
	while (value < end && (*value == ' ' || *value == '"'))
		value++;
	while (end > value && (isspace((unsigned char)end[-1]) || end[-1] == '"'))
		end--;
	(void)snprintf(to, size, "%.*s", (int)(end - value), value);
}

static size_t keep_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	take_header(line, size * n, DIGEST_HEADER, t->seen_digest, sizeof(t->seen_digest));
	take_header(line, size * n, "ETag", t->seen_etag, sizeof(t->seen_etag));
	return size * n;
}

/* The text between <tag> and </tag> of an XML error, escaped; "" when there is none. */
static void take_element(const char *body, const char *tag, char *to, size_t size)
{
	char open[32];
	(void)snprintf(open, sizeof(open), "<%s>", tag);
	const char *start = strstr(body, open);
	to[0] = '\0';
	if (start == NULL)
		return;
	start += strlen(open);
	gd_text_escape(to, size, start, strcspn(start, "<"));
}

static int fail_status(struct transfer *t, const char *what, long status, struct gd_error *err)
{
	char code[48];
	char message[120];
	const char *body = gd_buf_str(&t->body);
	take_element(body, "Code", code, sizeof(code));
	take_element(body, "Message", message, sizeof(message));
	int r = status == 403 || status == 401 ? -EACCES : status == 404 ? -ENOENT : -EIO;
	return gd_fail(err, r, "%s: HTTP %ld%s%s%s%s", what, status, code[0] ? " " : "", code,
	               message[0] ? ": " : "", message);
}

static int add_header(struct transfer *t, const char *name, const char *value,
                      struct gd_error *err)
{
	GD_BUF struct gd_buf line = GD_BUF_INIT(16384);
	gd_buf_printf(&line, "%s:%s%s", name, *value != '\0' ? " " : "", value);
	int r = gd_buf_check(&line, name, err);
	if (r < 0)
		return r;
	struct curl_slist *longer = curl_slist_append(t->headers, gd_buf_str(&line));
	if (longer == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", name);
	t->headers = longer;
	return 0;
}

/* Signs and adds every header of the request; Host is curl's own, but it must be signed. */
static int add_headers(struct transfer *t, const struct gd_place *place,
                       const struct gd_s3_credentials *credentials, const char *method,
                       const char *path, const struct gd_upload_digest *digest,
                       struct gd_error *err)
{
	char timestamp[20];
	time_t now = time(NULL);
	struct tm tm;
	if (gmtime_r(&now, &tm) == NULL ||
	    strftime(timestamp, sizeof(timestamp), "%Y%m%dT%H%M%SZ", &tm) == 0)
		return gd_fail(err, -EINVAL, "the clock cannot be expressed as a date");

	bool put = strcmp(method, "PUT") == 0;
	const char *payload = put ? digest->sha256_hex : EMPTY_SHA256;
	struct gd_sigv4_pair headers[HEADERS_MAX];
	size_t n = 0;
	headers[n++] = (struct gd_sigv4_pair){ "host", place->host };
	headers[n++] = (struct gd_sigv4_pair){ "x-amz-content-sha256", payload };
	headers[n++] = (struct gd_sigv4_pair){ "x-amz-date", timestamp };
	if (credentials->session_token != NULL)
		headers[n++] = (struct gd_sigv4_pair){ "x-amz-security-token",
			                               credentials->session_token };
	if (put)
		headers[n++] = (struct gd_sigv4_pair){ DIGEST_HEADER, digest->sha256_hex };
	if (put && digest->md5_base64[0] != '\0')
		headers[n++] = (struct gd_sigv4_pair){ "content-md5", digest->md5_base64 };

	const struct gd_sigv4_request request = {
		.method = method,
		.path = path,
		.headers = headers,
		.n_headers = n,
		.payload_sha256 = payload,
		.access_key = credentials->access_key,
		.secret_key = credentials->secret_key,
		.region = place->region,
		.service = "s3",
		.timestamp = timestamp,
	};
	GD_BUF struct gd_buf authorization = GD_BUF_INIT(8192);
	int r = gd_sigv4_sign(&request, &authorization, err);
	for (size_t i = 1; i < n && r == 0; i++)
		r = add_header(t, headers[i].name, headers[i].value, err);
	if (r == 0)
		r = add_header(t, "authorization", gd_buf_str(&authorization), err);
	if (r == 0 && put)
		r = add_header(t, "content-type", "application/x-tar", err);
	return r == 0 ? add_header(t, "expect", "", err) : r;
}

static int perform(struct transfer *t, const struct gd_place *place, const char *path,
                   const char *what, struct gd_error *err)
{
	GD_BUF struct gd_buf url = GD_BUF_INIT(16384);
	gd_buf_printf(&url, "%s://%s", place->tls ? "https" : "http", place->host);
	gd_sigv4_encode(&url, path, true);
	int r = gd_buf_check(&url, "upload URL", err);
	if (r < 0)
		return r;
	char text[CURL_ERROR_SIZE] = "";
	(void)curl_easy_setopt(t->curl, CURLOPT_URL, gd_buf_str(&url));
	(void)curl_easy_setopt(t->curl, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, place->tls ? "https" : "http");
	(void)curl_easy_setopt(t->curl, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(t->curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, 10L);
	(void)curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
	(void)curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, 30L);
	(void)curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
	(void)curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, keep_body);
	(void)curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, keep_header);
	(void)curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, text);
	CURLcode code = curl_easy_perform(t->curl);
	if (code != CURLE_OK)
		return gd_fail(err, -EIO, "%s %s: %s", what, place->host,
		               text[0] != '\0' ? text : curl_easy_strerror(code));
	long status = 0;
	(void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 299)
		return fail_status(t, what, status, err);
	return 0;
}

static int begin(struct transfer *t, struct gd_error *err)
{
	*t = (struct transfer){ .curl = curl_easy_init(), .body = GD_BUF_INIT(16384), .fd = -1 };
	return t->curl != NULL ? 0 : gd_fail_errno(err, -ENOMEM, "libcurl");
}

static int put_object(const struct gd_place *place, const struct gd_s3_credentials *credentials,
                      const char *path, int fd, const struct gd_upload_digest *digest,
                      struct gd_error *err)
{
	__attribute__((cleanup(cleanup_transfer))) struct transfer t;
	int r = begin(&t, err);
	if (r == 0)
		r = add_headers(&t, place, credentials, "PUT", path, digest, err);
	if (r < 0)
		return r;
	t.fd = fd;
	t.bytes = digest->bytes;
	(void)curl_easy_setopt(t.curl, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(t.curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)digest->bytes);
	(void)curl_easy_setopt(t.curl, CURLOPT_READFUNCTION, send_body);
	(void)curl_easy_setopt(t.curl, CURLOPT_READDATA, &t);
	(void)curl_easy_setopt(t.curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
	return perform(&t, place, path, "PUT", err);
}

static bool is_md5(const char *etag)
{
	return strlen(etag) == 32 && strspn(etag, "0123456789abcdefABCDEF") == 32;
}

/* What the server says it holds: length, our digest, and its ETag where that is an MD5. */
static int verify_object(const struct gd_place *place, const struct gd_s3_credentials *credentials,
                         const char *path, const struct gd_upload_digest *digest,
                         struct gd_error *err)
{
	__attribute__((cleanup(cleanup_transfer))) struct transfer t;
	int r = begin(&t, err);
	if (r == 0)
		r = add_headers(&t, place, credentials, "HEAD", path, digest, err);
	if (r < 0)
		return r;
	(void)curl_easy_setopt(t.curl, CURLOPT_NOBODY, 1L);
	r = perform(&t, place, path, "HEAD after the PUT", err);
	if (r < 0)
		return r;
	curl_off_t length = -1;
	(void)curl_easy_getinfo(t.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (length < 0 || (uint64_t)length != digest->bytes)
		return gd_fail(err, -EIO, "the remote copy has %lld bytes instead of %llu",
		               (long long)length, (unsigned long long)digest->bytes);
	if (strcmp(t.seen_digest, digest->sha256_hex) != 0)
		return gd_fail(err, -EIO, "the remote copy does not carry our digest in %s",
		               DIGEST_HEADER);
	if (is_md5(t.seen_etag) && digest->md5_hex[0] != '\0' &&
	    strcasecmp(t.seen_etag, digest->md5_hex) != 0)
		return gd_fail(err, -EIO, "the remote copy's ETag %s is not the archive's MD5 %s",
		               t.seen_etag, digest->md5_hex);
	return 0;
}

int gd_s3_put(const struct gd_place *place, const struct gd_s3_credentials *credentials,
              const char *name, int fd, const struct gd_upload_digest *digest,
              struct gd_error *err)
{
	if (digest->bytes > GD_S3_PUT_MAX)
		return gd_fail(err, -E2BIG, "%llu bytes are more than one PUT may carry (5 GiB)",
		               (unsigned long long)digest->bytes);
	GD_BUF struct gd_buf path = GD_BUF_INIT(4096);
	gd_buf_printf(&path, "/%s%s%s%s", place->bucket, place->bucket[0] != '\0' ? "/" : "",
	              place->prefix, name);
	int r = gd_buf_check(&path, "object key", err);
	if (r == 0)
		r = put_object(place, credentials, gd_buf_str(&path), fd, digest, err);
	if (r == 0)
		r = verify_object(place, credentials, gd_buf_str(&path), digest, err);
	return r;
}
