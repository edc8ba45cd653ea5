#include "archive/content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <zstd.h>

#include "archive/pack.h"
#include "base/cleanup.h"
#include "base/io.h"

#define PIECE_BYTES (256 * 1024)

struct run {
	struct gd_content *content;
	struct gd_digest *digest;
	ZSTD_DCtx *dctx; /* NULL: the bytes are as stored */
	char *in;
	char *out;
	bool in_frame; /* zstd wants more of the frame it is in */
};

static void end_run(struct run *run)
{
	gd_digest_destroy(run->digest);
	(void)ZSTD_freeDCtx(run->dctx);
	free(run->in);
	free(run->out);
}

static int begin_run(struct run *run, struct gd_error *err)
{
	int r = gd_digest_create(&run->digest, err);
	if (r == 0)
		r = gd_digest_begin(run->digest, err);
	if (r < 0)
		return r;
	uint64_t stored = run->content->stored_bytes;
	run->in = malloc(stored < PIECE_BYTES ? (size_t)stored + 1 : PIECE_BYTES);
	if (run->content->zstd) {
		run->out = malloc(PIECE_BYTES);
		run->dctx = ZSTD_createDCtx();
		if (run->out == NULL || run->dctx == NULL)
			return gd_fail_errno(err, -ENOMEM, "zstd");
		(void)ZSTD_DCtx_setParameter(run->dctx, ZSTD_d_windowLogMax,
		                             GD_CONTENT_WINDOW_LOG);
	}
	return run->in == NULL ? gd_fail_errno(err, -ENOMEM, "read") : 0;
}

static int hand_out(struct gd_content *c, const void *bytes, size_t n, struct gd_error *err)
{
	if (n > c->limit - c->bytes)
		return gd_fail(err, -E2BIG, "content is larger than the %" PRIu64
		               " bytes it may be (a decompression bomb?)", c->limit);
	c->bytes += n;
	int r = c->piece != NULL && n > 0 ? c->piece(c->arg, bytes, n) : 0;
	return r < 0 ? gd_fail_errno(err, r, "content not taken") : 0;
}

static int decompress(struct run *run, size_t n, struct gd_error *err)
{
	ZSTD_inBuffer in = { .src = run->in, .size = n };
	for (;;) {
		ZSTD_outBuffer out = { .dst = run->out, .size = PIECE_BYTES };
		size_t hint = ZSTD_decompressStream(run->dctx, &out, &in);
		if (ZSTD_isError(hint))
			return gd_fail(err, -EBADMSG, "zstd: %s", ZSTD_getErrorName(hint));
		int r = hand_out(run->content, run->out, out.pos, err);
		if (r < 0)
			return r;
		run->in_frame = hint != 0;
		/* A full output piece may mean that more waits inside, unless the frame is over. */
		if (in.pos == in.size && (out.pos < out.size || hint == 0))
			return 0;
	}
}

static int run_through(struct run *run, struct gd_error *err)
{
	struct gd_content *c = run->content;
	for (uint64_t at = 0; at < c->stored_bytes;) {
		uint64_t left = c->stored_bytes - at;
		size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
		int r = gd_io_pread_all(c->fd, run->in, n, (off_t)(c->offset + at), err);
		if (r == 0)
			r = gd_digest_update(run->digest, run->in, n, err);
		if (r == 0)
			r = run->dctx != NULL ? decompress(run, n, err)
			                      : hand_out(c, run->in, n, err);
		if (r < 0)
			return r;
		at += n;
	}
	int r = gd_digest_end(run->digest, c->hex, err);
	if (r == 0 && run->in_frame)
		r = gd_fail(err, -EBADMSG, "zstd: the last frame is not whole");
	return r;
}

int gd_content_run(struct gd_content *content, struct gd_error *err)
{
	GD_CLEANUP(end_run) struct run run = { .content = content };
	content->bytes = 0;
	content->hex[0] = '\0';
	int r = begin_run(&run, err);
	return r < 0 ? r : run_through(&run, err);
}

uint64_t gd_content_limit(uint64_t claimed, uint64_t stored_bytes, bool zstd)
{
	uint64_t limit = stored_bytes;
	if (zstd && (__builtin_mul_overflow(stored_bytes, GD_CONTENT_RATIO, &limit) ||
	             __builtin_add_overflow(limit, GD_CONTENT_FREE_BYTES, &limit)))
		limit = UINT64_MAX;
	return claimed < limit ? claimed : limit;
}

bool gd_content_is_zstd(const char *media_type)
{
	size_t n = strlen(media_type);
	/* A pack is taken apart frame by frame, some of which need the base capture to do so. */
	if (strcmp(media_type, GD_PACK_MEDIA_TYPE) == 0)
		return false;
	return n >= 5 && strcmp(media_type + n - 5, "+zstd") == 0;
}
