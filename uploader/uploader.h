#pragma once
/*
 * Puts one sealed archive where --upload points and verifies that it arrived:
 *   file:///DIR or file://DIR   the embedded default store: a directory
 *   s3://BUCKET/PREFIX          AWS, or any S3 endpoint named by AWS_ENDPOINT_URL(_S3)
 *   http(s)://HOST[:PORT]/BUCKET/PREFIX   an S3 endpoint, path style
 * Credentials come from $CREDENTIALS_DIRECTORY or the environment (credentials.h), the region from
 * AWS_REGION (AWS_DEFAULT_REGION).  One plain PUT, signed with our own SigV4; multipart and resume
 * belong into files beside this one.
 */
#include <stdint.h>

#include "base/error.h"
#include "uploader/credentials.h"
#include "uploader/transfer.h"

struct gd_uploaded {
	char location[4096]; /* where it is now, as a URL without credentials */
	uint64_t bytes;
};

/* -EINVAL: the URL cannot be used (also when only checked); says what was expected. */
int gd_uploader_check_url(const char *url, struct gd_error *err);

/*
 * Uploads the file `path`; `sha256_hex` is not known to the caller and computed here.  Returns 0
 * only after the remote copy was verified.  Idempotent: the same archive again is a success.
 */
int gd_uploader_put(const char *path, const char *url, struct gd_uploaded *ret,
                    struct gd_error *err);

/*
 * The same for a descriptor, which stays the caller's.  `credentials` NULL: there are none, which will do
 * for directories.  On failure `trouble` (not NULL) says whether and when to try again.
 */
int gd_uploader_put_fd(int fd, const char *name, const char *url,
                       const struct gd_credentials *credentials,
                       const struct gd_transfer_options *options, struct gd_uploaded *ret,
                       struct gd_upload_trouble *trouble, struct gd_error *err);
