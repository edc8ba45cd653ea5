#include "uploader/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PIECE (256 * 1024)

static void cleanup_ctx(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}
#define CTX __attribute__((cleanup(cleanup_ctx)))

static void to_hex(char *to, const unsigned char *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)snprintf(to + (size_t)i * 2, 3, "%02x", bytes[i]);
}

int gd_upload_digest(int fd, struct gd_upload_digest *ret, struct gd_error *err)
{
	struct gd_upload_digest digest = { .bytes = 0 };
	CTX EVP_MD_CTX *sha = EVP_MD_CTX_new();
	CTX EVP_MD_CTX *md5 = EVP_MD_CTX_new();
	GD_FREE unsigned char *piece = malloc(PIECE);
	if (sha == NULL || md5 == NULL || piece == NULL)
		return gd_fail_errno(err, -ENOMEM, "digest");
	if (EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1)
		return gd_fail(err, -EIO, "SHA-256 is not available in libcrypto");
	bool has_md5 = EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1;

	for (;;) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)digest.bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "read");
		if (n == 0)
			break;
		(void)EVP_DigestUpdate(sha, piece, (size_t)n);
		if (has_md5)
			(void)EVP_DigestUpdate(md5, piece, (size_t)n);
		digest.bytes += (uint64_t)n;
	}
	unsigned char out[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	if (EVP_DigestFinal_ex(sha, out, &len) != 1 || len != 32)
		return gd_fail(err, -EIO, "SHA-256 failed in libcrypto");
	to_hex(digest.sha256_hex, out, len);
	if (has_md5 && EVP_DigestFinal_ex(md5, out, &len) == 1 && len == 16) {
		to_hex(digest.md5_hex, out, len);
		(void)EVP_EncodeBlock((unsigned char *)digest.md5_base64, out, (int)len);
	}
	*ret = digest;
	return 0;
}
