#pragma once
/*
 * What a file to be uploaded contains: its length, SHA-256 (signed with the request, compared with
 * the remote copy) and MD5 (Content-MD5 and ETag: the checksum that every S3 server checks).
 */
#include <stdint.h>

#include "base/error.h"

struct gd_upload_digest {
	uint64_t bytes;
	char sha256_hex[65];
	char md5_hex[33];     /* "" when this libcrypto has no MD5 (FIPS) */
	char md5_base64[25];
};

/* Reads fd from offset 0 to its end; the file offset is left alone. */
int gd_upload_digest(int fd, struct gd_upload_digest *ret, struct gd_error *err);
