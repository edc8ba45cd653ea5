#include "archive/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/io.h"

struct gd_digest {
	EVP_MD_CTX *ctx;
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256; /* lives as long as the process */

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

int gd_digest_create(struct gd_digest **ret, struct gd_error *err)
{
	if (pthread_once(&fetch_once, fetch) != 0 || sha256 == NULL)
		return gd_fail(err, -ENOTSUP, "libcrypto has no SHA-256");
	struct gd_digest *digest = calloc(1, sizeof(*digest));
	if (digest == NULL)
		return gd_fail_errno(err, -ENOMEM, "digest");
	digest->ctx = EVP_MD_CTX_new();
	if (digest->ctx == NULL) {
		free(digest);
		return gd_fail_errno(err, -ENOMEM, "digest");
	}
	*ret = digest;
	return 0;
}

void gd_digest_destroy(struct gd_digest *digest)
{
	if (digest == NULL)
		return;
	EVP_MD_CTX_free(digest->ctx);
	free(digest);
}

int gd_digest_begin(struct gd_digest *digest, struct gd_error *err)
{
	if (EVP_DigestInit_ex2(digest->ctx, sha256, NULL) != 1)
		return gd_fail(err, -ENOMEM, "SHA-256 could not be started");
	return 0;
}

int gd_digest_update(struct gd_digest *digest, const void *bytes, size_t n, struct gd_error *err)
{
	if (n > 0 && EVP_DigestUpdate(digest->ctx, bytes, n) != 1)
		return gd_fail(err, -EIO, "SHA-256 failed");
	return 0;
}

int gd_digest_end(struct gd_digest *digest, char hex[GD_DIGEST_HEX], struct gd_error *err)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (EVP_DigestFinal_ex(digest->ctx, raw, &n) != 1 || n != 32)
		return gd_fail(err, -EIO, "SHA-256 failed");
	for (size_t i = 0; i < 32; i++) {
		hex[2 * i] = digits[raw[i] >> 4];
		hex[2 * i + 1] = digits[raw[i] & 15];
	}
	hex[64] = '\0';
	return 0;
}

int gd_digest_range(struct gd_digest *digest, int fd, uint64_t offset, uint64_t n,
                    char hex[GD_DIGEST_HEX], struct gd_error *err)
{
	enum { PIECE = 256 * 1024 };
	GD_FREE char *piece = malloc(n < PIECE ? (size_t)n + 1 : PIECE);
	if (piece == NULL)
		return gd_fail_errno(err, -ENOMEM, "digest");
	int r = gd_digest_begin(digest, err);
	while (r == 0 && n > 0) {
		size_t want = n < PIECE ? (size_t)n : PIECE;
		r = gd_io_pread_all(fd, piece, want, (off_t)offset, err);
		if (r == 0)
			r = gd_digest_update(digest, piece, want, err);
		offset += want;
		n -= want;
	}
	return r < 0 ? r : gd_digest_end(digest, hex, err);
}
