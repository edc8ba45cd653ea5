#pragma once
/*
 * AWS Signature Version 4 over one request.  Pure computation: no clock, no environment, no network,
 * so that the published vectors can be replayed.  Ours, because libcurl 7.88 signs several requests
 * wrongly (see docs/architecture.md).  Source: AWS "Signature Version 4 signing process" pages; S3
 * encodes the path once, not twice.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct gd_sigv4_pair {
	const char *name;  /* headers: lower case */
	const char *value;
};

struct gd_sigv4_request {
	const char *method;
	const char *path; /* raw (not percent-encoded), begins with "/" */
	const struct gd_sigv4_pair *query; /* raw names and values, any order */
	size_t n_query;
	/* Every header that shall be signed, host included; any order, unique names. */
	const struct gd_sigv4_pair *headers;
	size_t n_headers;
	const char *payload_sha256; /* hex, or "UNSIGNED-PAYLOAD" */
	const char *access_key, *secret_key;
	const char *region, *service; /* "us-east-1", "s3" */
	const char *timestamp;        /* "20261120T130507Z", also sent as x-amz-date */
	bool encode_path_twice;       /* every service but S3 */
};

/* Appends the value of the Authorization header.  -EINVAL for a malformed timestamp. */
int gd_sigv4_sign(const struct gd_sigv4_request *request, struct gd_buf *ret,
                  struct gd_error *err);

/* Appends `text` percent-encoded as SigV4 demands: all but A-Za-z0-9-_.~ (and "/" if kept). */
void gd_sigv4_encode(struct gd_buf *to, const char *text, bool keep_slash);

/* Appends "%20"-encoded, sorted "a=b&c=d", as it must also stand in the URL. */
int gd_sigv4_query(struct gd_buf *to, const struct gd_sigv4_pair *query, size_t n,
                   struct gd_error *err);
