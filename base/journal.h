#pragma once
/*
 * A text file that only grows: one line per event, each with its length and CRC-32C, on the disk
 * (fdatasync) before append returns when asked for.
 *
 *	0019 5f3a90c1 B 20261120T130507.123Z-1\n
 *
 * Killed in the middle of a line, the next open cuts that line off.  Damage before the last line is
 * reported, never mended in place: the owner knows what ought to be there, keeps what was found and
 * replaces the whole.  Knows nothing of what lines mean.  One process has it open: a lock of the
 * process, so a forked child does not hold it; closing any descriptor of the file gives it up.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define GD_JOURNAL_TEXT_MAX 2000         /* of one line, without its frame */
#define GD_JOURNAL_BYTES_MAX (32U << 20) /* a larger one is damaged */

struct gd_journal {
	int dir_fd;       /* borrowed */
	int fd;           /* -1: not open */
	const char *name; /* borrowed */
	uint64_t bytes;   /* of good lines */
	uint64_t room;    /* so many are allocated: a full disk leaves it writable for a while */
	size_t lines;
	bool broken;      /* what the disk holds is not known: only replace helps */
};

#define GD_JOURNAL_INIT ((struct gd_journal){ .dir_fd = -1, .fd = -1 })

/* One good line's text, NUL-terminated, printable, its own to change.  Negative: it makes no sense,
 * which counts as damage. */
typedef int gd_journal_line(void *arg, char *text);

struct gd_journal_found {
	size_t lines;
	size_t good_bytes; /* from the start to the end of the last line before any that is none */
	bool torn_tail;    /* what follows is the beginning of one line, no more */
	unsigned damaged;  /* lines that do not belong there; all good ones were given out */
};

/* Any bytes. */
void gd_journal_parse(const char *bytes, size_t n, gd_journal_line *line, void *arg,
                      struct gd_journal_found *ret);

/*
 * Opens or makes it, gives out its lines, cuts a torn tail.  After `damaged` it is as it was found,
 * and broken.  -EPERM: it is not a regular file; -EBUSY: another process has it.
 */
int gd_journal_open(int dir_fd, const char *name, gd_journal_line *line, void *arg,
                    struct gd_journal *ret, struct gd_journal_found *found, struct gd_error *err);
void gd_journal_close(struct gd_journal *journal);

/* Gives the file a second name, instead of what has that now: for one that is damaged, before
 * replace gives its name to another. */
int gd_journal_keep(const struct gd_journal *journal, int dir_fd, const char *name,
                    struct gd_error *err);

/* Appends a framed line to `to`, for the two below.  Too long or unprintable: a sticky -EINVAL. */
void gd_journal_put(struct gd_buf *to, const char *text);

/* All of these lines or none: on failure the journal is as before, or broken (then -EIO). */
int gd_journal_append(struct gd_journal *journal, const struct gd_buf *lines, bool sync,
                      struct gd_error *err);

/* These lines instead of all; atomic and durable.  On failure the old file is still in place, or
 * the journal is broken. */
int gd_journal_replace(struct gd_journal *journal, const struct gd_buf *lines,
                       struct gd_error *err);
