#pragma once
/*
 * Packs: the memory of a core as blobs of the archive.  A pack is a run of zstd frames, one per
 * chunk of 1 MiB of address space (content checksum on, level 1), closed by the seek table of
 * zstd's seekable format 0.1.0 in a skippable frame, so `zstd -dc` reads it and `zstd -l` counts
 * its frames.  A pack is known by the SHA-256 of its bytes, as every blob is, and a chunk by its frame's
 * checksum (XXH64): hashing the plain bytes as well would cost a quarter of all the time a core takes
 * (docs/architecture.md).  It is closed when it holds GD_PACK_BYTES or GD_PACK_CHUNKS_MAX, so the memory of a
 * writer is bounded whatever the target's size: 9.2 MiB and zstd's tables.
 *
 * A chunk of a second capture of the same process may have the chunk that lay at its address in the
 * first as prefix: `zstd -d --patch-from` decodes it by hand.
 *
 * A pack is made in memory that has a descriptor, so that another process can take it from there.  A
 * writer is used by one thread; several writers may work side by side.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_PACK_CHUNK (UINT64_C(1) << 20)
#define GD_PACK_BYTES (UINT64_C(8) << 20)
#define GD_PACK_CHUNKS_MAX 1024u /* what one lost pack of nearly empty chunks takes along */
/* Noise grows: zstd's bound is 4 KiB more than the chunk. */
#define GD_PACK_FRAME_MAX ((UINT64_C(1) << 20) + (UINT64_C(64) << 10))
/* No pack is larger: the last chunk may come when one byte is missing, and the seek table. */
#define GD_PACK_BYTES_MAX (GD_PACK_BYTES + GD_PACK_FRAME_MAX + (UINT64_C(16) << 10))
#define GD_PACK_MEDIA_TYPE "application/vnd.godiag.pages.v1+zstd"
#define GD_PACK_LEVEL 1

struct gd_packed_chunk {
	uint64_t offset, stored_bytes; /* of its frame in the pack */
};

struct gd_pack_writer;
int gd_pack_writer_create(struct gd_pack_writer **ret, struct gd_error *err);
void gd_pack_writer_destroy(struct gd_pack_writer *writer); /* NULL allowed */

/*
 * Compresses one chunk into the pack at hand.  `prefix`: NULL, or the plain bytes of the chunk it is
 * compressed against.
 */
int gd_pack_add(struct gd_pack_writer *writer, const uint8_t bytes[GD_PACK_CHUNK],
                const uint8_t *prefix, struct gd_packed_chunk *ret, struct gd_error *err);
bool gd_pack_is_full(const struct gd_pack_writer *writer);
size_t gd_pack_chunks(const struct gd_pack_writer *writer);
/*
 * Closes the pack: *ret_bytes are the writer's until the next add, which begins a new one.
 * -EINVAL: it has no chunks.
 */
int gd_pack_close(struct gd_pack_writer *writer, const void **ret_bytes, size_t *ret_n,
                  struct gd_error *err);
/* The same bytes from offset 0 of a memfd, the writer's. */
int gd_pack_fd(const struct gd_pack_writer *writer);

/*
 * One frame back into exactly GD_PACK_CHUNK bytes; foreign bytes: -EBADMSG, also when its content checksum
 * does not match or it has none.  `to` may hold anything afterwards when this fails.  May run in many
 * threads, each of which keeps its context until it ends.
 */
int gd_pack_decode(const void *frame, size_t n, const uint8_t *prefix, uint8_t to[GD_PACK_CHUNK],
                   struct gd_error *err);

/* The same of n bytes at `at` of fd. */
int gd_pack_read(int fd, uint64_t at, uint64_t n, const uint8_t *prefix, uint8_t to[GD_PACK_CHUNK],
                 struct gd_error *err);
