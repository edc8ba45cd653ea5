#include "archive/staging.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"

struct gd_staging {
	struct gd_output *output; /* borrowed */
	struct gd_digest *digest;
	ZSTD_CCtx *cctx;     /* made when first needed */
	char *squeezed;      /* zstd's output piece */
	size_t squeezed_size;
	struct gd_buf raw;   /* written, not yet compressed */
	struct gd_buf stored;
	int scratch_fd;      /* -1 as long as `stored` holds it all */
	int spare_fd;        /* an empty scratch file, -1 none */
	bool compress, streaming;
	size_t memory_bytes;
	uint64_t bytes, stored_bytes;
};

int gd_staging_create(struct gd_staging **ret, struct gd_error *err)
{
	struct gd_staging *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "staging");
	s->scratch_fd = -1;
	s->spare_fd = -1;
	s->raw = GD_BUF_INIT(GD_STAGING_RAW_BYTES);
	s->stored = GD_BUF_INIT(GD_STAGING_LARGE_BYTES);
	int r = gd_digest_create(&s->digest, err);
	if (r < 0) {
		gd_staging_destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

void gd_staging_destroy(struct gd_staging *s)
{
	if (s == NULL)
		return;
	gd_staging_reset(s);
	if (s->spare_fd >= 0)
		(void)close(s->spare_fd);
	gd_digest_destroy(s->digest);
	(void)ZSTD_freeCCtx(s->cctx);
	free(s->squeezed);
	gd_buf_deinit(&s->raw);
	gd_buf_deinit(&s->stored);
	free(s);
}

void gd_staging_reset(struct gd_staging *s)
{
	/* Kept, because the writer may not be allowed to make another one. */
	if (s->scratch_fd >= 0 &&
	    (ftruncate(s->scratch_fd, 0) < 0 || lseek(s->scratch_fd, 0, SEEK_SET) < 0))
		(void)close(s->scratch_fd);
	else if (s->scratch_fd >= 0)
		s->spare_fd = s->scratch_fd;
	s->scratch_fd = -1;
	gd_buf_reset(&s->raw);
	gd_buf_reset(&s->stored);
	s->streaming = false;
	s->bytes = 0;
	s->stored_bytes = 0;
}

int gd_staging_begin(struct gd_staging *s, struct gd_output *output, bool compress,
                     size_t memory_bytes, struct gd_error *err)
{
	gd_staging_reset(s);
	s->memory_bytes = memory_bytes;
	s->output = output;
	s->compress = compress;
	return gd_digest_begin(s->digest, err);
}

static int scratch_write(struct gd_staging *s, const void *bytes, size_t n, struct gd_error *err)
{
	int r = gd_io_write_all(s->scratch_fd, bytes, n, NULL);
	/* The blob's bytes are needed a second time, in the archive itself. */
	return r < 0 ? gd_output_fail(s->output, r, s->stored_bytes + n, err) : 0;
}

/* The stored form of the blob grows by n bytes. */
static int store(struct gd_staging *s, const void *bytes, size_t n, struct gd_error *err)
{
	int r = gd_digest_update(s->digest, bytes, n, err);
	if (r < 0)
		return r;
	if (s->scratch_fd < 0 && n <= s->memory_bytes - s->stored.len) {
		gd_buf_append(&s->stored, bytes, n);
		r = gd_buf_check(&s->stored, "blob", err);
	} else {
		if (s->scratch_fd < 0) {
			s->scratch_fd = s->spare_fd;
			s->spare_fd = -1;
			if (s->scratch_fd < 0)
				s->scratch_fd = gd_output_scratch(s->output, err);
			if (s->scratch_fd < 0)
				return s->scratch_fd;
			r = scratch_write(s, s->stored.data, s->stored.len, err);
			gd_buf_reset(&s->stored);
		}
		if (r == 0)
			r = scratch_write(s, bytes, n, err);
	}
	s->stored_bytes += n;
	return r;
}

static int prepare_zstd(struct gd_staging *s, struct gd_error *err)
{
	if (s->cctx == NULL)
		s->cctx = ZSTD_createCCtx();
	if (s->squeezed == NULL) {
		s->squeezed_size = ZSTD_CStreamOutSize();
		s->squeezed = malloc(s->squeezed_size);
	}
	if (s->cctx == NULL || s->squeezed == NULL)
		return gd_fail_errno(err, -ENOMEM, "zstd");
	(void)ZSTD_CCtx_reset(s->cctx, ZSTD_reset_session_and_parameters);
	if (ZSTD_isError(ZSTD_CCtx_setParameter(s->cctx, ZSTD_c_compressionLevel,
	                                        GD_STAGING_LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->cctx, ZSTD_c_checksumFlag, 1)))
		return gd_fail(err, -EINVAL, "zstd does not take its parameters");
	return 0;
}

static int squeeze(struct gd_staging *s, const void *bytes, size_t n, bool last,
                   struct gd_error *err)
{
	ZSTD_inBuffer in = { .src = bytes, .size = n };
	for (;;) {
		ZSTD_outBuffer out = { .dst = s->squeezed, .size = s->squeezed_size };
		size_t left = ZSTD_compressStream2(s->cctx, &out, &in,
		                                   last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return gd_fail(err, -ENOMEM, "zstd: %s", ZSTD_getErrorName(left));
		int r = out.pos > 0 ? store(s, s->squeezed, out.pos, err) : 0;
		if (r < 0)
			return r;
		if (last ? left == 0 : in.pos == in.size)
			return 0;
	}
}

int gd_staging_write(struct gd_staging *s, const void *bytes, size_t n, struct gd_error *err)
{
	s->bytes += n;
	if (!s->compress)
		return store(s, bytes, n, err);
	if (s->streaming)
		return squeeze(s, bytes, n, false, err);
	if (n <= GD_STAGING_RAW_BYTES - s->raw.len) {
		gd_buf_append(&s->raw, bytes, n);
		return gd_buf_check(&s->raw, "blob", err);
	}
	int r = prepare_zstd(s, err);
	if (r == 0)
		r = squeeze(s, s->raw.data, s->raw.len, false, err);
	s->streaming = true;
	gd_buf_reset(&s->raw);
	return r < 0 ? r : squeeze(s, bytes, n, false, err);
}

/* The whole blob is known: zstd picks tables that fit its size. */
static int squeeze_whole(struct gd_staging *s, struct gd_error *err)
{
	int r = prepare_zstd(s, err);
	if (r < 0)
		return r;
	(void)ZSTD_CCtx_setPledgedSrcSize(s->cctx, s->raw.len);
	return squeeze(s, s->raw.data, s->raw.len, true, err);
}

int gd_staging_end(struct gd_staging *s, struct gd_staged *ret, struct gd_error *err)
{
	bool compressed = s->compress && (s->streaming || s->raw.len > GD_STAGING_PLAIN_BYTES);
	int r = 0;
	if (s->streaming)
		r = squeeze(s, NULL, 0, true, err);
	else if (compressed)
		r = squeeze_whole(s, err);
	else if (s->raw.len > 0)
		r = store(s, s->raw.data, s->raw.len, err);
	struct gd_staged staged = { .bytes = s->bytes, .stored_bytes = s->stored_bytes,
		                    .compressed = compressed };
	if (r == 0)
		r = gd_digest_end(s->digest, staged.hex, err);
	if (r < 0)
		return r;
	*ret = staged;
	return 0;
}

int gd_staging_emit(struct gd_staging *s,
                    int (*piece)(void *arg, const void *bytes, size_t n, struct gd_error *err),
                    void *arg, struct gd_error *err)
{
	if (s->scratch_fd < 0)
		return s->stored.len > 0 ? piece(arg, s->stored.data, s->stored.len, err) : 0;
	gd_buf_reset(&s->stored);
	char *to = gd_buf_reserve(&s->stored, GD_STAGING_MEMORY_BYTES);
	if (to == NULL)
		return gd_buf_check(&s->stored, "blob", err);
	for (uint64_t at = 0; at < s->stored_bytes;) {
		uint64_t left = s->stored_bytes - at;
		size_t n = left < GD_STAGING_MEMORY_BYTES ? (size_t)left : GD_STAGING_MEMORY_BYTES;
		int r = gd_io_pread_all(s->scratch_fd, to, n, (off_t)at, err);
		if (r == 0)
			r = piece(arg, to, n, err);
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}
