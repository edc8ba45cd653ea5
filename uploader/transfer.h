#pragma once
/*
 * One HTTP request by libcurl, under rules that no URL and no answer can change: http and https only,
 * no redirects, no proxies, no .netrc, addresses checked when connecting (address.h), a limited rate,
 * an end when nothing moves.  Knows nothing of S3 but where to look in answers.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "uploader/place.h"

/* Why an upload did not succeed, for whoever decides when to try again. */
struct gd_upload_trouble {
	bool permanent;          /* people have to mend it: credentials, bucket, name, size */
	bool archive_only;       /* of this archive, not of the place: others may well succeed */
	uint64_t retry_after_ns; /* what the server asked for, six hours at most; 0: nothing */
	long status;             /* of the last answer; 0: none came */
};

struct gd_transfer_options {
	uint64_t bytes_per_s; /* 0: no limit */
	unsigned stall_s;     /* below 1 KiB/s for so long ends it; 0: 30 */
	/* Asked while something moves, at least once a second; true ends it (-ECANCELED). NULL: never. */
	bool (*stop)(void *arg);
	void *stop_arg;
};

struct gd_transfer {
	bool cut; /* the connection ended before an answer was read */
	CURL *curl;
	struct curl_slist *headers;
	struct gd_buf body;      /* of the answer; bounded, for its error text */
	int fd;                  /* what to send, read with pread so that a rewind is free */
	uint64_t at, bytes;
	const char *digest_header; /* of the answer, to keep in seen_digest */
	char seen_digest[65];
	char seen_etag[80];
	const struct gd_place *place;
	const struct gd_transfer_options *options;
	struct gd_error refused; /* an address */
};

int gd_transfer_init(struct gd_transfer *t, const struct gd_place *place,
                     const struct gd_transfer_options *options, struct gd_error *err);
void gd_transfer_deinit(struct gd_transfer *t);
#define GD_TRANSFER __attribute__((cleanup(gd_transfer_deinit)))

/* An empty value takes a header of libcurl's own out. */
int gd_transfer_header(struct gd_transfer *t, const char *name, const char *value,
                       struct gd_error *err);

/* The request has `bytes` of fd as its body. */
void gd_transfer_send(struct gd_transfer *t, int fd, uint64_t bytes);

/*
 * Runs it.  The HTTP status (also 4xx and 5xx), or negative when there was no answer.  `path` is
 * percent-encoded, `what` goes into messages.
 */
long gd_transfer_perform(struct gd_transfer *t, const char *path, const char *what,
                         struct gd_upload_trouble *trouble, struct gd_error *err);

/* The sentence and the errno for an answer that is no success; fills trouble. */
int gd_transfer_fail(struct gd_transfer *t, const char *what, long status,
                     struct gd_upload_trouble *trouble, struct gd_error *err);
