#pragma once
/*
 * Reads an archive that somebody else may have made: hostile input.  Only tar is enabled in
 * libarchive, only regular files named oci-layout, index.json and blobs/sha256/<64 hex> are looked
 * at, everything else (links, devices, "..", absolute names) is counted and never touched.  Sizes,
 * counts and zstd windows are capped.  Does not verify digests by itself: verify.h does.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/snapshot.h"
#include "base/buf.h"
#include "base/error.h"

struct gd_blob {
	char hex[65];     /* digest from its name */
	uint64_t offset;  /* of its first byte in the archive file */
	uint64_t bytes;
	bool truncated;   /* the file ends before the blob does */
};

struct gd_reader {
	int fd;
	uint64_t file_bytes;
	struct gd_blob *blobs; /* in the order they are stored */
	size_t n_blobs;
	bool has_index;   /* index.json is there: the archive was sealed */
	bool truncated;   /* the tar ends in the middle */
	size_t n_foreign; /* members that do not belong into an archive of ours */
	char manifest_digest[72]; /* from index.json; "" without it */
	struct gd_snapshot snapshot; /* from the manifest's config blob; zeroed when unreadable */
	bool has_snapshot;
};

/* -EBADMSG when it is no tar of ours at all; a truncated one opens (see the flags). */
int gd_reader_open(const char *path, struct gd_reader *ret, struct gd_error *err);
void gd_reader_close(struct gd_reader *reader);

const struct gd_blob *gd_reader_blob(const struct gd_reader *reader, const char *digest);

/* The artifact's row by name ("goroutines.txt"), or NULL. */
const struct gd_artifact_row *gd_reader_artifact(const struct gd_reader *reader, const char *name);

/*
 * The artifact's content, decompressed, in pieces; stops when `piece` returns negative.  At most
 * row->bytes bytes are produced (a bomb: -E2BIG); a digest mismatch is -EBADMSG at the end.
 */
int gd_reader_content(const struct gd_reader *reader, const struct gd_artifact_row *row,
                      int (*piece)(void *arg, const void *bytes, size_t n), void *arg,
                      struct gd_error *err);

/* The same into a buffer, whose ceiling bounds it. */
int gd_reader_load(const struct gd_reader *reader, const char *name, struct gd_buf *buf,
                   struct gd_error *err);
