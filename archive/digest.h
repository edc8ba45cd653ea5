#pragma once
/*
 * SHA-256 through OpenSSL's EVP (which picks the CPU's instructions).  The algorithm is fetched
 * once per process and a digest object is reused from blob to blob, because both cost more than
 * hashing a small file.  One object belongs to one thread.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_DIGEST_HEX 65 /* 64 digits and NUL */

struct gd_digest;

int gd_digest_create(struct gd_digest **ret, struct gd_error *err);
void gd_digest_destroy(struct gd_digest *digest); /* NULL allowed */

static inline void gd_cleanup_digest(struct gd_digest **digest)
{
	gd_digest_destroy(*digest);
}
#define GD_DIGEST __attribute__((cleanup(gd_cleanup_digest)))

/* Starts afresh; what was hashed so far is forgotten. */
int gd_digest_begin(struct gd_digest *digest, struct gd_error *err);
int gd_digest_update(struct gd_digest *digest, const void *bytes, size_t n, struct gd_error *err);
/* Lower-case hex; begin must be called before the next update. */
int gd_digest_end(struct gd_digest *digest, char hex[GD_DIGEST_HEX], struct gd_error *err);

/* Hashes n bytes of fd from `offset`; -EBADMSG when the file ends before. */
int gd_digest_range(struct gd_digest *digest, int fd, uint64_t offset, uint64_t n,
                    char hex[GD_DIGEST_HEX], struct gd_error *err);
