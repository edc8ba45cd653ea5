#pragma once
/*
 * One object into an S3 bucket by one PUT, verified by a HEAD.  Never over something else: the PUT is
 * conditional (If-None-Match) where the server knows that, and 412 is a success when what is there
 * verifies.  Nothing is retried: the caller keeps the file and may try again.
 */
#include "base/error.h"
#include "uploader/credentials.h"
#include "uploader/digest.h"
#include "uploader/place.h"
#include "uploader/transfer.h"

/* The largest object a single PUT may carry (S3 API: 5 GiB). */
#define GD_S3_PUT_MAX (UINT64_C(5) << 30)

/*
 * Uploads fd as <prefix><name>.  Errors name what the server answered (its code and message), trouble
 * says whether to try again.  -EIO also when the remote copy does not match; -EEXIST when another
 * object has that name; -E2BIG above GD_S3_PUT_MAX.
 */
int gd_s3_put(const struct gd_place *place, const struct gd_credentials *credentials,
              const char *name, int fd, const struct gd_upload_digest *digest,
              const struct gd_transfer_options *options, struct gd_upload_trouble *trouble,
              struct gd_error *err);
