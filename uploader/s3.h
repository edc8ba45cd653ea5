#pragma once
/*
 * One object into an S3 bucket by one PUT, verified by a HEAD.  No redirects are followed, no
 * credentials leave in a URL, nothing is retried: the caller keeps the file and may try again.
 */
#include "base/error.h"
#include "uploader/digest.h"
#include "uploader/place.h"

/* The largest object a single PUT may carry (S3 API: 5 GiB). */
#define GD_S3_PUT_MAX (UINT64_C(5) << 30)

struct gd_s3_credentials {
	const char *access_key, *secret_key;
	const char *session_token; /* NULL: none */
};

/* From the environment, which keeps owning them; -ENOKEY names the missing variable. */
int gd_s3_credentials_from_env(struct gd_s3_credentials *ret, struct gd_error *err);

/*
 * Uploads fd as <prefix><name>.  Errors name what the server answered (its code and message).
 * -EIO also when the remote copy does not match; -E2BIG above GD_S3_PUT_MAX.
 */
int gd_s3_put(const struct gd_place *place, const struct gd_s3_credentials *credentials,
              const char *name, int fd, const struct gd_upload_digest *digest,
              struct gd_error *err);
