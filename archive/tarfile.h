#pragma once
/*
 * The tar around the blobs, both ways.
 *
 * Writing is libarchive's: plain ustar, no blocking, so that each header and each blob goes
 * straight to the output; owner ids are 0 and the time is the capture's.  The owner's *names* are
 * used as labels: user = artifact, group = collector.  `tar tvf` then reads as a table of contents,
 * and a file that lost its end still knows what its blobs are.
 *
 * Reading is ours, for hostile files: one 512-byte header at a time, exact offsets, every byte of
 * the file accounted for, and after a damaged header a search for the next sound one.  It looks at
 * nothing but headers.  Not a general tar reader: pax and GNU extension records are members of
 * another type to it, which archives of ours do not have.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/output.h"
#include "base/error.h"

#define GD_TARFILE_BLOCK 512
#define GD_TARFILE_LABEL 33 /* 32 bytes of the header field and NUL */

struct gd_tarfile_writer;

/* Borrows output until close or abandon. */
int gd_tarfile_create(struct gd_output *output, int64_t mtime_s, struct gd_tarfile_writer **ret,
                      struct gd_error *err);
/*
 * A member's header; exactly `bytes` bytes of data must follow.  Labels may be NULL; those which
 * do not fit are left out.
 */
int gd_tarfile_begin(struct gd_tarfile_writer *writer, const char *name, uint64_t bytes,
                     const char *user, const char *group, struct gd_error *err);
int gd_tarfile_data(struct gd_tarfile_writer *writer, const void *bytes, size_t n,
                    struct gd_error *err);
/* The two empty blocks at the end; frees the writer in any case. */
int gd_tarfile_close(struct gd_tarfile_writer *writer, struct gd_error *err);
void gd_tarfile_abandon(struct gd_tarfile_writer *writer); /* NULL allowed */

struct gd_tarfile_member {
	char name[101];
	char user[GD_TARFILE_LABEL], group[GD_TARFILE_LABEL];
	char type;           /* '0' or NUL: a regular file */
	bool plain;          /* regular, no name prefix, header exactly as tar writers make it */
	uint64_t gap_at;     /* where it should have begun ... */
	uint64_t header_at;  /* ... and where it does: between them is damage */
	uint64_t data_at;
	uint64_t bytes;
	uint64_t mtime_s;
	bool truncated;      /* the file ends before the member does */
};

struct gd_tarfile_walk {
	int fd;
	uint64_t file_bytes;
	uint64_t at;      /* of the next header */
	uint64_t end_at;  /* of the empty blocks, once reached */
	bool ended;       /* no more members */
	bool has_end;     /* by an empty block, as it should be */
};

#define GD_TARFILE_WALK(file, size) ((struct gd_tarfile_walk){ .fd = (file), .file_bytes = (size) })

/* 1 and a member, 0 at the end, or a read error. */
int gd_tarfile_next(struct gd_tarfile_walk *walk, struct gd_tarfile_member *ret,
                    struct gd_error *err);
