#pragma once
/*
 * Reads an archive that somebody else may have made: hostile input.  Only regular members named
 * oci-layout, index.json and blobs/sha256/<64 hex> are looked at, everything else (links, devices,
 * "..", absolute names) is counted and never touched.  Sizes, counts, zstd windows and expansion
 * are capped.  Whatever is handed out was compared with its digest by the time the call returns;
 * the archive as a whole is verify.h's business.
 *
 * A truncated or damaged archive opens: what it lost is found in the flags.  A blob whose header is
 * damaged is found by its digest as long as the manifest is there; without snapshot.json the
 * artifacts are named by the labels in the tar headers.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/layout.h"
#include "archive/snapshot.h"
#include "archive/tarfile.h"
#include "base/buf.h"
#include "base/error.h"

struct gd_blob {
	char hex[65];     /* digest from its name */
	uint64_t offset;  /* of its first byte in the archive file */
	uint64_t bytes;
	bool truncated;   /* the file ends before the blob does */
	/* labels from its tar header: a claim, not evidence */
	char title[GD_TARFILE_LABEL], collector[GD_TARFILE_LABEL];
};

/* Bytes between two members: a header that was damaged, and what followed it. */
struct gd_gap {
	uint64_t at, end;
};

#define GD_READER_BLOBS_MAX 65536U
#define GD_READER_GAPS_MAX 16

struct gd_reader {
	int fd;
	uint64_t file_bytes;
	struct gd_blob *blobs; /* in the order they are stored */
	size_t n_blobs;
	size_t *by_hex;   /* their indices, sorted by digest */
	bool has_index;   /* index.json is there: the archive was sealed */
	bool truncated;   /* the tar ends in the middle */
	size_t n_foreign; /* members that do not belong into an archive of ours */
	size_t n_damaged; /* places where no sound tar header was found */
	struct gd_gap gaps[GD_READER_GAPS_MAX]; /* the first of them */
	size_t n_gaps;
	uint64_t mtime_s; /* of the first member: when the archive was begun */
	char manifest_digest[72]; /* from index.json; "" without it */
	struct gd_manifest manifest; /* zeroed when unreadable */
	bool has_manifest;
	struct gd_blob manifest_blob; /* where it was found */
	struct gd_snapshot snapshot; /* from the manifest's config blob; rows alone without it */
	bool has_snapshot;
	struct gd_error trouble; /* the first thing that was unreadable; code 0 when nothing */
};

/* Libraries open files when they are used first: for whoever reads archives in a jail, before it. */
void gd_reader_prepare(void);

/* -EBADMSG when it is no tar of ours at all; a truncated one opens (see the flags). */
int gd_reader_open(const char *path, struct gd_reader *ret, struct gd_error *err);
/* The same on a descriptor, which is taken over, also on failure. */
int gd_reader_open_fd(int fd, struct gd_reader *ret, struct gd_error *err);
void gd_reader_close(struct gd_reader *reader);

#define GD_READER_INIT ((struct gd_reader){ .fd = -1 })
#define GD_READER __attribute__((cleanup(gd_reader_close)))

/* What is wrong with the archive as far as opening it showed: a short sentence, or NULL. */
const char *gd_reader_complaint(const struct gd_reader *reader);

/* By "sha256:<hex>"; NULL when it is not stored. */
const struct gd_blob *gd_reader_blob(const struct gd_reader *reader, const char *digest);

/* The artifact's row by name ("goroutines.txt"), or NULL. */
const struct gd_artifact_row *gd_reader_artifact(const struct gd_reader *reader, const char *name);

/*
 * The artifact's content, decompressed, in pieces; stops when `piece` returns negative.  At most
 * row->bytes bytes are produced (a bomb: -E2BIG); a digest mismatch is -EBADMSG at the end, so what
 * was handed out before is only good when this returns 0.  -ENOENT: the row has no bytes, or they
 * are not in the file.
 */
int gd_reader_content(const struct gd_reader *reader, const struct gd_artifact_row *row,
                      int (*piece)(void *arg, const void *bytes, size_t n), void *arg,
                      struct gd_error *err);

/* The same into a buffer, whose ceiling bounds it. */
int gd_reader_load(const struct gd_reader *reader, const char *name, struct gd_buf *buf,
                   struct gd_error *err);

/* A blob as stored into a buffer, compared with its digest. */
int gd_reader_load_blob(const struct gd_reader *reader, const struct gd_blob *blob,
                        struct gd_buf *buf, struct gd_error *err);
