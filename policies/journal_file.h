#pragma once
/*
 * A file of records, appended one line each: "LLLL CCCCCCCC record\n", length and CRC-32C of the
 * record in hex.  What a record says is the caller's business; it is text without newline.
 *
 * What was appended with `sync` and reported as done survives SIGKILL and power loss.  A line that
 * could not be written whole is taken back.  One process has it open (a lock of the process, so a
 * forked child does not hold it).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define GD_JOURNAL_FILE_RECORD_MAX 2048
#define GD_JOURNAL_FILE_BYTES_MAX (16U << 20) /* of a file that is read */

struct gd_journal_file;

struct gd_journal_file_found {
	bool torn;        /* the last line was not whole and has been cut off */
	unsigned damaged; /* other lines that do not verify or make no sense; NAME.bad has a copy */
};

/* One whole record, NUL-terminated, may be changed in place; negative: it makes no sense. */
typedef int gd_journal_file_fn(void *arg, char *record);

/*
 * Opens `dir`/`name` (makes both when missing) and gives every record to `fn`.  When something was
 * damaged the caller should rewrite it.  -EBUSY: another process has it; -EPERM: not a file.
 */
int gd_journal_file_open(const char *dir, const char *name, gd_journal_file_fn *fn, void *arg,
                         struct gd_journal_file **ret, struct gd_journal_file_found *ret_found,
                         struct gd_error *err);
void gd_journal_file_close(struct gd_journal_file *file); /* NULL allowed */

/* Appends the line of a record to `lines`, for the two below. */
void gd_journal_file_put(struct gd_buf *lines, const char *record);

/* All of `lines` or nothing; on failure of fdatasync see gd_journal_file_suspect. */
int gd_journal_file_append(struct gd_journal_file *file, const struct gd_buf *lines, bool sync,
                           struct gd_error *err);

/* Puts a new file with just `lines` in its place: whole or not at all; 0: it is durable. */
int gd_journal_file_rewrite(struct gd_journal_file *file, const struct gd_buf *lines,
                            struct gd_error *err);

uint64_t gd_journal_file_bytes(const struct gd_journal_file *file);

/* A write could not be taken back or a sync failed: what is on disk is unknown (an fdatasync that
 * is tried again would lie).  Appending fails until it was rewritten. */
bool gd_journal_file_suspect(const struct gd_journal_file *file);
