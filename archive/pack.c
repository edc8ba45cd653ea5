/*
 * The writer compresses straight into the pack, which is one buffer made once; a chunk is copied never.  Contexts are the dear part and live as long as
 * the writer, those for decoding as long as their thread.
 */
#include "archive/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"

#define SKIPPABLE_MAGIC 0x184D2A5Eu
#define SEEKABLE_MAGIC 0x8F92EAB1u
#define ENTRY_BYTES 8u  /* stored and plain size; no checksum, the frame has its own */
#define FOOTER_BYTES 9u /* number of frames, a descriptor, the magic */
#define TABLE_BYTES (8u + ENTRY_BYTES * GD_PACK_CHUNKS_MAX + FOOTER_BYTES)

/*
 * Level 1 looks back half a chunk and keeps 16,384 places in mind, which a prefix overwrites many
 * times before the chunk begins.  With these it finds the same place in the prefix: of a calm heap
 * 17 s later 1.6 MB were stored instead of 13.6, at twice the speed.
 */
#define PREFIX_WINDOW_LOG 21
#define PREFIX_HASH_LOG 18

struct gd_pack_writer {
	ZSTD_CCtx *plain, *against; /* against a prefix: made when first needed */
	int fd;        /* of the memory at `pack`, GD_PACK_BYTES_MAX bytes */
	uint8_t *pack; /* NULL: none yet */
	size_t used, chunks;
	uint32_t stored[GD_PACK_CHUNKS_MAX];
	bool closed; /* the pack is the caller's until the next add */
};

static ZSTD_CCtx *new_context(bool prefix)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	if (ctx == NULL)
		return NULL;
	size_t r = ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, GD_PACK_LEVEL);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
	if (!ZSTD_isError(r) && prefix)
		r = ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, PREFIX_WINDOW_LOG);
	if (!ZSTD_isError(r) && prefix)
		r = ZSTD_CCtx_setParameter(ctx, ZSTD_c_hashLog, PREFIX_HASH_LOG);
	if (!ZSTD_isError(r))
		return ctx;
	(void)ZSTD_freeCCtx(ctx);
	return NULL;
}

static int make_memory(struct gd_pack_writer *w, struct gd_error *err)
{
	w->fd = memfd_create("godiag-pack", MFD_CLOEXEC);
	if (w->fd < 0 || ftruncate(w->fd, (off_t)GD_PACK_BYTES_MAX) != 0)
		return gd_fail_errno(err, -errno, "memory of a pack");
	void *at = mmap(NULL, GD_PACK_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	if (at == MAP_FAILED)
		return gd_fail_errno(err, -errno, "memory of a pack: mmap");
	w->pack = at;
	return 0;
}

int gd_pack_writer_create(struct gd_pack_writer **ret, struct gd_error *err)
{
	struct gd_pack_writer *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return gd_fail_errno(err, -ENOMEM, "pack");
	w->plain = new_context(false);
	int r = make_memory(w, err);
	if (r == 0 && w->plain == NULL)
		r = gd_fail_errno(err, -ENOMEM, "pack");
	if (r < 0) {
		gd_pack_writer_destroy(w);
		return r;
	}
	*ret = w;
	return 0;
}

void gd_pack_writer_destroy(struct gd_pack_writer *w)
{
	if (w == NULL)
		return;
	(void)ZSTD_freeCCtx(w->plain);
	(void)ZSTD_freeCCtx(w->against);
	if (w->pack != NULL)
		(void)munmap(w->pack, GD_PACK_BYTES_MAX);
	if (w->fd >= 0)
		(void)close(w->fd);
	free(w);
}

/* The context to compress with, ready for one frame; NULL and *err. */
static ZSTD_CCtx *context(struct gd_pack_writer *w, const uint8_t *prefix, struct gd_error *err)
{
	if (prefix == NULL)
		return w->plain;
	if (w->against == NULL)
		w->against = new_context(true);
	if (w->against == NULL ||
	    ZSTD_isError(ZSTD_CCtx_refPrefix(w->against, prefix, GD_PACK_CHUNK))) {
		(void)gd_fail_errno(err, -ENOMEM, "pack");
		return NULL;
	}
	return w->against;
}

int gd_pack_add(struct gd_pack_writer *w, const uint8_t bytes[GD_PACK_CHUNK],
                const uint8_t *prefix, struct gd_packed_chunk *ret, struct gd_error *err)
{
	if (w->closed) {
		w->used = 0;
		w->chunks = 0;
		w->closed = false;
	}
	if (gd_pack_is_full(w))
		return gd_fail(err, -E2BIG, "pack is full");
	ZSTD_CCtx *ctx = context(w, prefix, err);
	if (ctx == NULL)
		return -ENOMEM;
	size_t n = ZSTD_compress2(ctx, w->pack + w->used,
	                          GD_PACK_BYTES_MAX - w->used - TABLE_BYTES, bytes, GD_PACK_CHUNK);
	if (ZSTD_isError(n)) {
		(void)ZSTD_CCtx_reset(ctx, ZSTD_reset_session_only);
		return gd_fail(err, -ENOMEM, "pack: zstd: %s", ZSTD_getErrorName(n));
	}
	*ret = (struct gd_packed_chunk){ .offset = w->used, .stored_bytes = n };
	w->stored[w->chunks++] = (uint32_t)n;
	w->used += n;
	return 0;
}

bool gd_pack_is_full(const struct gd_pack_writer *w)
{
	return !w->closed && (w->used >= GD_PACK_BYTES || w->chunks >= GD_PACK_CHUNKS_MAX);
}

size_t gd_pack_chunks(const struct gd_pack_writer *w)
{
	return w->closed ? 0 : w->chunks;
}

static void put_u32(struct gd_pack_writer *w, uint32_t value)
{
	for (unsigned shift = 0; shift < 32; shift += 8)
		w->pack[w->used++] = (uint8_t)(value >> shift);
}

int gd_pack_close(struct gd_pack_writer *w, const void **ret_bytes, size_t *ret_n,
                  struct gd_error *err)
{
	if (gd_pack_chunks(w) == 0)
		return gd_fail(err, -EINVAL, "a pack without chunks");
	put_u32(w, SKIPPABLE_MAGIC);
	put_u32(w, (uint32_t)(ENTRY_BYTES * w->chunks + FOOTER_BYTES));
	for (size_t i = 0; i < w->chunks; i++) {
		put_u32(w, w->stored[i]);
		put_u32(w, (uint32_t)GD_PACK_CHUNK);
	}
	put_u32(w, (uint32_t)w->chunks);
	w->pack[w->used++] = 0; /* descriptor: no checksums in the table */
	put_u32(w, SEEKABLE_MAGIC);
	w->closed = true;
	*ret_bytes = w->pack;
	*ret_n = w->used;
	return 0;
}

int gd_pack_fd(const struct gd_pack_writer *w)
{
	return w->fd;
}

/* --- reading ------------------------------------------------------------------------------- */

/* What one thread decodes with, made by its first reading; the key frees it when the thread ends. */
struct reading {
	ZSTD_DCtx *ctx;
	uint8_t *frame;
};

static _Thread_local struct reading this_threads;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

static void end_reading(void *arg)
{
	struct reading *reading = arg;
	(void)ZSTD_freeDCtx(reading->ctx);
	free(reading->frame);
	*reading = (struct reading){ .ctx = NULL };
}

static void make_key(void)
{
	key_made = pthread_key_create(&key, end_reading) == 0;
}

/* This thread's, or NULL and *err. */
static struct reading *begin_reading(struct gd_error *err)
{
	struct reading *reading = &this_threads;
	if (reading->ctx != NULL)
		return reading;
	if (pthread_once(&key_once, make_key) != 0 || !key_made) {
		(void)gd_fail(err, -ENOMEM, "pack: no key for threads");
		return NULL;
	}
	reading->ctx = ZSTD_createDCtx();
	reading->frame = malloc(GD_PACK_FRAME_MAX);
	if (reading->ctx == NULL || reading->frame == NULL ||
	    pthread_setspecific(key, reading) != 0) {
		end_reading(reading);
		(void)gd_fail_errno(err, -ENOMEM, "pack");
		return NULL;
	}
	return reading;
}

/* RFC 8878, 3.1.1.1.1: a flag in the byte behind the magic number. */
static bool has_checksum(const uint8_t *frame, size_t n)
{
	return n > 4 && (frame[4] & 4) != 0;
}

static int decode(ZSTD_DCtx *ctx, const void *frame, size_t n, const uint8_t *prefix,
                  uint8_t to[GD_PACK_CHUNK], struct gd_error *err)
{
	/* Skippable frames have no content, those of unknown size none that we would write. */
	if (ZSTD_getFrameContentSize(frame, n) != GD_PACK_CHUNK)
		return gd_fail(err, -EBADMSG, "no zstd frame of a chunk");
	if (ZSTD_findFrameCompressedSize(frame, n) != n)
		return gd_fail(err, -EBADMSG, "not exactly one zstd frame");
	if (!has_checksum(frame, n))
		return gd_fail(err, -EBADMSG, "a zstd frame without checksum");
	(void)ZSTD_DCtx_reset(ctx, ZSTD_reset_session_and_parameters);
	if (prefix != NULL && ZSTD_isError(ZSTD_DCtx_refPrefix(ctx, prefix, GD_PACK_CHUNK)))
		return gd_fail_errno(err, -ENOMEM, "zstd");
	size_t got = ZSTD_decompressDCtx(ctx, to, GD_PACK_CHUNK, frame, n);
	if (ZSTD_isError(got))
		return gd_fail(err, -EBADMSG, "zstd: %s", ZSTD_getErrorName(got));
	return got == GD_PACK_CHUNK ? 0 : gd_fail(err, -EBADMSG, "zstd: a short frame");
}

int gd_pack_decode(const void *frame, size_t n, const uint8_t *prefix, uint8_t to[GD_PACK_CHUNK],
                   struct gd_error *err)
{
	struct reading *reading = begin_reading(err);
	return reading == NULL ? -ENOMEM : decode(reading->ctx, frame, n, prefix, to, err);
}

int gd_pack_read(int fd, uint64_t at, uint64_t n, const uint8_t *prefix, uint8_t to[GD_PACK_CHUNK],
                 struct gd_error *err)
{
	struct reading *reading = begin_reading(err);
	if (reading == NULL)
		return -ENOMEM;
	if (n > GD_PACK_FRAME_MAX || at > INT64_MAX)
		return gd_fail(err, -EBADMSG, "no chunk has %" PRIu64 " stored bytes", n);
	int r = gd_io_pread_all(fd, reading->frame, (size_t)n, (off_t)at, err);
	return r < 0 ? r : decode(reading->ctx, reading->frame, (size_t)n, prefix, to, err);
}
