#include "uploader/place.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMS "write file:///DIR, s3://BUCKET/PREFIX or http(s)://HOST/BUCKET/PREFIX"

static void cleanup_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

/* One decoded part of the URL into a fixed array; "" when the URL has none. */
static int part(CURLU *url, CURLUPart which, unsigned flags, char *to, size_t size)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(url, which, &text, flags);
	int n = snprintf(to, size, "%s", code == CURLUE_OK ? text : "");
	curl_free(text);
	return n >= 0 && (size_t)n < size ? 0 : -E2BIG;
}

static const char *first_set(const char *a, const char *b, const char *otherwise)
{
	const char *const names[] = { a, b };
	for (size_t i = 0; i < 2; i++) {
		const char *value = getenv(names[i]);
		if (value != NULL && *value != '\0')
			return value;
	}
	return otherwise;
}

static bool is_bucket_name(const char *name)
{
	size_t n = strlen(name);
	for (const char *p = name; *p != '\0'; p++)
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) &&
		    strchr(".-_", *p) == NULL)
			return false;
	return n >= 3 && n <= 63;
}

/* "prefix" or "prefix/" -> "prefix/"; "" stays "". */
static int set_prefix(struct gd_place *place, const char *text)
{
	text += strspn(text, "/");
	size_t n = strlen(text);
	bool slash = n > 0 && text[n - 1] != '/';
	int w = snprintf(place->prefix, sizeof(place->prefix), "%s%s", text, slash ? "/" : "");
	return w >= 0 && (size_t)w < sizeof(place->prefix) ? 0 : -E2BIG;
}

/* Host (with port) and scheme of an endpoint URL; its decoded path goes to `path`. */
static int parse_endpoint(const char *text, struct gd_place *place, char *path, size_t path_size,
                          struct gd_error *err)
{
	__attribute__((cleanup(cleanup_url))) CURLU *url = curl_url();
	char scheme[16];
	char host[256];
	char port[16];
	char user[8];
	if (url == NULL)
		return gd_fail_errno(err, -ENOMEM, "upload URL");
	if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return gd_fail(err, -EINVAL, "\"%s\" is not a URL; " FORMS, text);
	if (part(url, CURLUPART_USER, 0, user, sizeof(user)) < 0 || user[0] != '\0')
		return gd_fail(err, -EINVAL, "credentials do not belong into the upload URL; set "
		                             "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
	if (part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) < 0 ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return gd_fail(err, -EINVAL, "\"%s\": cannot upload there; " FORMS, text);
	if (part(url, CURLUPART_HOST, 0, host, sizeof(host)) < 0 ||
	    part(url, CURLUPART_PORT, 0, port, sizeof(port)) < 0 ||
	    part(url, CURLUPART_PATH, CURLU_URLDECODE, path, path_size) < 0)
		return gd_fail(err, -EINVAL, "upload URL \"%.80s...\" is too long", text);
	place->tls = strcmp(scheme, "https") == 0;
	/* The Host header is signed, and curl leaves a scheme's own port out of it. */
	if (strcmp(port, place->tls ? "443" : "80") == 0)
		port[0] = '\0';
	(void)snprintf(place->host, sizeof(place->host), "%s%s%s", host, port[0] ? ":" : "", port);
	return 0;
}

static int parse_http(const char *text, struct gd_place *place, struct gd_error *err)
{
	char path[1200];
	int r = parse_endpoint(text, place, path, sizeof(path), err);
	if (r < 0)
		return r;
	const char *bucket = path + strspn(path, "/");
	size_t n = strcspn(bucket, "/");
	(void)snprintf(place->bucket, sizeof(place->bucket), "%.*s", (int)(n < 64 ? n : 63), bucket);
	if (n >= sizeof(place->bucket) || !is_bucket_name(place->bucket))
		return gd_fail(err, -EINVAL, "\"%s\" names no bucket; " FORMS, text);
	if (set_prefix(place, bucket + n) < 0)
		return gd_fail(err, -EINVAL, "upload prefix of \"%.80s...\" is too long", text);
	return 0;
}

static int parse_s3(const char *text, struct gd_place *place, struct gd_error *err)
{
	const char *bucket = text + strlen("s3://");
	size_t n = strcspn(bucket, "/");
	(void)snprintf(place->bucket, sizeof(place->bucket), "%.*s", (int)(n < 64 ? n : 63), bucket);
	if (n >= sizeof(place->bucket) || !is_bucket_name(place->bucket))
		return gd_fail(err, -EINVAL, "\"%s\" names no bucket; " FORMS, text);
	if (set_prefix(place, bucket + n) < 0)
		return gd_fail(err, -EINVAL, "upload prefix of \"%.80s...\" is too long", text);

	const char *endpoint = first_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", NULL);
	if (endpoint != NULL) {
		char ignored[1200];
		int r = parse_endpoint(endpoint, place, ignored, sizeof(ignored), err);
		return r < 0 ? gd_error_wrap(err, r, "AWS_ENDPOINT_URL") : 0;
	}
	place->tls = true;
	/* A dot in the bucket's name would not match Amazon's wildcard certificate: path style. */
	if (strchr(place->bucket, '.') != NULL) {
		(void)snprintf(place->host, sizeof(place->host), "s3.%s.amazonaws.com",
		               place->region);
		return 0;
	}
	(void)snprintf(place->host, sizeof(place->host), "%s.s3.%s.amazonaws.com", place->bucket,
	               place->region);
	place->bucket[0] = '\0';
	return 0;
}

static int parse_file(const char *text, struct gd_place *place, struct gd_error *err)
{
	const char *path = text + strlen("file://");
	int n = snprintf(place->directory, sizeof(place->directory), "%s", path);
	if (path[0] == '\0' || n < 0 || (size_t)n >= sizeof(place->directory))
		return gd_fail(err, -EINVAL, "\"%.80s\" names no directory; write file:///DIR", text);
	place->is_directory = true;
	return 0;
}

int gd_place_parse(const char *url, struct gd_place *ret, struct gd_error *err)
{
	struct gd_place place = { .is_directory = false };
	(void)snprintf(place.region, sizeof(place.region), "%s",
	               first_set("AWS_REGION", "AWS_DEFAULT_REGION", "us-east-1"));
	int r;
	if (strncmp(url, "file://", 7) == 0)
		r = parse_file(url, &place, err);
	else if (strncmp(url, "s3://", 5) == 0)
		r = parse_s3(url, &place, err);
	else if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
		r = parse_http(url, &place, err);
	else
		r = gd_fail(err, -EINVAL, "\"%s\": cannot upload there; " FORMS, url);
	if (r == 0)
		*ret = place;
	return r;
}
