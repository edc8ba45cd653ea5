#pragma once
/*
 * The core in an archive, read: its map, and any chunk's plain bytes straight from where its frame
 * lies in the archive file.  Everything is foreign; a chunk's checksum is looked at each time, and that of
 * its pack is verify's.
 *
 * Nothing here keeps a place in a file, so several threads may read from one reader and base.
 */
#include "archive/core_map.h"
#include "archive/pack.h"
#include "archive/reader.h"

struct gd_core_base;

/* -ENOENT: the archive has no core, or lost its map. */
int gd_core_read_map(const struct gd_reader *reader, struct gd_core_map *ret,
                     struct gd_error *err);

/*
 * `base` may be NULL: then chunks that need it are -ENOENT.  `scratch` is the caller's, for the
 * prefix. -EBADMSG: damaged, or not in the file any more; err says how, the caller knows which
 * chunk.
 */
int gd_core_read_chunk(const struct gd_reader *reader, const struct gd_core_base *base,
                       const struct gd_core_chunk *chunk, uint8_t scratch[GD_PACK_CHUNK],
                       uint8_t to[GD_PACK_CHUNK], struct gd_error *err);

/*
 * Collects what was wrong with chunks into few sentences, because a lost pack has a thousand of
 * them: neighbours of one pack are one sentence, "core/pack-00002: 3 chunks from 0x... to 0x...:
 * why".
 */
struct gd_core_bad {
	const struct gd_reader *reader;
	void (*say)(void *arg, const char *sentence); /* NULL: only counted */
	void *arg;
	uint64_t n; /* chunks that were bad in all */
	/* the run at hand */
	uint64_t run, first, last;
	const struct gd_core_chunk *of;
	char why[160];
};
void gd_core_bad_add(struct gd_core_bad *bad, const struct gd_core_chunk *chunk, const char *why);
void gd_core_bad_end(struct gd_core_bad *bad); /* says the last one */
