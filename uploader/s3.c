#include "uploader/s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "uploader/sigv4.h"

#define DIGEST_HEADER "x-amz-meta-godiag-sha256"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEADERS_MAX 8

/* All that the requests for one object have in common. */
struct object {
	const struct gd_place *place;
	const struct gd_credentials *credentials;
	const struct gd_upload_digest *digest;
	const struct gd_transfer_options *options;
	struct gd_upload_trouble *trouble;
	const char *path;    /* raw, as it is signed */
	const char *encoded; /* as it stands in the URL */
	int fd;
};

static int make_timestamp(char to[20], struct gd_error *err)
{
	time_t now = time(NULL);
	struct tm tm;
	if (gmtime_r(&now, &tm) == NULL || strftime(to, 20, "%Y%m%dT%H%M%SZ", &tm) == 0)
		return gd_fail(err, -EINVAL, "the clock cannot be expressed as a date");
	return 0;
}

static size_t choose_headers(const struct object *o, bool put, bool conditional,
                             const char *timestamp, struct gd_sigv4_pair headers[HEADERS_MAX])
{
	size_t n = 0;
	headers[n++] = (struct gd_sigv4_pair){ "host", o->place->host };
	headers[n++] = (struct gd_sigv4_pair){ "x-amz-content-sha256",
		                               put ? o->digest->sha256_hex : EMPTY_SHA256 };
	headers[n++] = (struct gd_sigv4_pair){ "x-amz-date", timestamp };
	if (o->credentials->session_token != NULL)
		headers[n++] = (struct gd_sigv4_pair){ "x-amz-security-token",
			                               o->credentials->session_token };
	if (put)
		headers[n++] = (struct gd_sigv4_pair){ DIGEST_HEADER, o->digest->sha256_hex };
	if (put && o->digest->md5_base64[0] != '\0')
		headers[n++] = (struct gd_sigv4_pair){ "content-md5", o->digest->md5_base64 };
	if (conditional)
		headers[n++] = (struct gd_sigv4_pair){ "if-none-match", "*" };
	return n;
}

/* Signs and adds every header of the request; Host is curl's own, but it must be signed. */
static int add_headers(struct gd_transfer *t, const struct object *o, bool put, bool conditional,
                       struct gd_error *err)
{
	char timestamp[20];
	int r = make_timestamp(timestamp, err);
	if (r < 0)
		return r;
	struct gd_sigv4_pair headers[HEADERS_MAX];
	size_t n = choose_headers(o, put, conditional, timestamp, headers);
	const struct gd_sigv4_request request = {
		.method = put ? "PUT" : "HEAD",
		.path = o->path,
		.headers = headers,
		.n_headers = n,
		.payload_sha256 = headers[1].value,
		.access_key = o->credentials->access_key,
		.secret_key = o->credentials->secret_key,
		.region = o->place->region,
		.service = "s3",
		.timestamp = timestamp,
	};
	GD_BUF struct gd_buf authorization = GD_BUF_INIT(8192);
	r = gd_sigv4_sign(&request, &authorization, err);
	for (size_t i = 1; i < n && r == 0; i++)
		r = gd_transfer_header(t, headers[i].name, headers[i].value, err);
	if (r == 0)
		r = gd_transfer_header(t, "authorization", gd_buf_str(&authorization), err);
	if (r == 0 && put)
		r = gd_transfer_header(t, "content-type", "application/x-tar", err);
	return r == 0 ? gd_transfer_header(t, "expect", "", err) : r;
}

static bool is_md5(const char *etag)
{
	return strlen(etag) == 32 && strspn(etag, "0123456789abcdefABCDEF") == 32;
}

/* -EEXIST: it does not claim to be ours; -EIO: it does, and is not. */
static int compare(const struct gd_transfer *t, const struct gd_upload_digest *digest,
                   struct gd_error *err)
{
	curl_off_t length = -1;
	(void)curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	bool ours = strcmp(t->seen_digest, digest->sha256_hex) == 0;
	int r = ours ? -EIO : -EEXIST;
	if (length < 0 || (uint64_t)length != digest->bytes)
		return gd_fail(err, r, "the remote copy has %lld bytes instead of %llu",
		               (long long)length, (unsigned long long)digest->bytes);
	if (!ours)
		return gd_fail(err, r, "the remote copy does not carry our digest in %s",
		               DIGEST_HEADER);
	if (is_md5(t->seen_etag) && digest->md5_hex[0] != '\0' &&
	    strcasecmp(t->seen_etag, digest->md5_hex) != 0)
		return gd_fail(err, r, "the remote copy's ETag %s is not the archive's MD5 %s",
		               t->seen_etag, digest->md5_hex);
	return 0;
}

/* What the server says it holds: length, our digest, and its ETag where that is an MD5. */
static int verify_object(const struct object *o, struct gd_error *err)
{
	static const char what[] = "HEAD after the PUT";
	GD_TRANSFER struct gd_transfer t = { .fd = -1 };
	int r = gd_transfer_init(&t, o->place, o->options, err);
	if (r == 0)
		r = add_headers(&t, o, false, false, err);
	if (r < 0)
		return r;
	t.digest_header = DIGEST_HEADER;
	(void)curl_easy_setopt(t.curl, CURLOPT_NOBODY, 1L);
	long status = gd_transfer_perform(&t, o->encoded, what, o->trouble, err);
	if (status < 0)
		return (int)status;
	if (status < 200 || status > 299)
		return gd_transfer_fail(&t, what, status, o->trouble, err);
	return compare(&t, o->digest, err);
}

static bool is_there(const struct object *o)
{
	struct gd_upload_trouble unused = { .permanent = false };
	struct object again = *o;
	again.trouble = &unused;
	return verify_object(&again, NULL) == 0;
}

/* 0: stored; 1: something has that name already; 2: the server knows no conditions. */
static int put_object(const struct object *o, bool conditional, struct gd_error *err)
{
	GD_TRANSFER struct gd_transfer t = { .fd = -1 };
	int r = gd_transfer_init(&t, o->place, o->options, err);
	if (r == 0)
		r = add_headers(&t, o, true, conditional, err);
	if (r < 0)
		return r;
	gd_transfer_send(&t, o->fd, o->digest->bytes);
	long status = gd_transfer_perform(&t, o->encoded, "PUT", o->trouble, err);
	/* Who says no before it has read all, and hangs up, may have its answer lost with the connection. */
	if (status < 0 && conditional && t.cut && is_there(o))
		return 1;
	if (status < 0)
		return (int)status;
	if (status == 412 && conditional)
		return 1;
	if (status == 501 && conditional)
		return 2;
	if (status < 200 || status > 299)
		return gd_transfer_fail(&t, "PUT", status, o->trouble, err);
	return 0;
}

static int put_and_verify(const struct object *o, struct gd_error *err)
{
	int r = put_object(o, true, err);
	bool was_there = r == 1;
	if (r == 2)
		r = put_object(o, false, err);
	if (r < 0)
		return r;
	r = verify_object(o, err);
	/* Ours and broken: what an earlier attempt left may be replaced, anybody else's may not. */
	if (was_there && r == -EIO && o->trouble->status >= 200 && o->trouble->status <= 299) {
		r = put_object(o, false, err);
		return r < 0 ? r : verify_object(o, err);
	}
	if (was_there && r == -EEXIST) {
		o->trouble->permanent = o->trouble->archive_only = true;
		return gd_error_wrap(err, r, "another object has this name");
	}
	return r == -EEXIST ? gd_error_wrap(err, -EIO, "stored, but") : r;
}

int gd_s3_put(const struct gd_place *place, const struct gd_credentials *credentials,
              const char *name, int fd, const struct gd_upload_digest *digest,
              const struct gd_transfer_options *options, struct gd_upload_trouble *trouble,
              struct gd_error *err)
{
	if (digest->bytes > GD_S3_PUT_MAX) {
		trouble->permanent = trouble->archive_only = true;
		return gd_fail(err, -E2BIG, "%llu bytes are more than one PUT may carry (5 GiB)",
		               (unsigned long long)digest->bytes);
	}
	GD_BUF struct gd_buf path = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf encoded = GD_BUF_INIT(16384);
	gd_buf_printf(&path, "/%s%s%s%s", place->bucket, place->bucket[0] != '\0' ? "/" : "",
	              place->prefix, name);
	int r = gd_buf_check(&path, "object key", err);
	if (r < 0)
		return r;
	gd_sigv4_encode(&encoded, gd_buf_str(&path), true);
	r = gd_buf_check(&encoded, "object key", err);
	if (r < 0)
		return r;
	const struct object object = {
		.place = place,
		.credentials = credentials,
		.digest = digest,
		.options = options,
		.trouble = trouble,
		.path = gd_buf_str(&path),
		.encoded = gd_buf_str(&encoded),
		.fd = fd,
	};
	return put_and_verify(&object, err);
}
