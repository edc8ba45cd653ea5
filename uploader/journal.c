#include "uploader/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/io.h"

#define FRAME 14 /* "0019 5f3a90c1 " */
#define RESERVE (32U << 10)

static bool is_text(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return n > 0 && n <= GD_JOURNAL_TEXT_MAX;
}

/* Exactly `digits` lower-case hex digits and a blank. */
static bool take_hex(const char *p, unsigned digits, uint32_t *ret)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < digits; i++) {
		const char *at = memchr("0123456789abcdef", p[i], 16);
		if (at == NULL)
			return false;
		value = value << 4 | (uint32_t)(at - "0123456789abcdef");
	}
	*ret = value;
	return p[digits] == ' ';
}

/* Length of the good line at p with its newline, 0 when there is none. */
static size_t line_at(const char *p, size_t n)
{
	uint32_t len;
	uint32_t crc;
	if (n < FRAME || !take_hex(p, 4, &len) || !take_hex(p + 5, 8, &crc))
		return 0;
	if (len > GD_JOURNAL_TEXT_MAX || n < FRAME + (size_t)len + 1 || p[FRAME + len] != '\n')
		return 0;
	if (!is_text(p + FRAME, len) || gd_crc32c(0, p + FRAME, len) != crc)
		return 0;
	return FRAME + (size_t)len + 1;
}

static void give(const char *p, size_t n, gd_journal_line *line, void *arg)
{
	char text[GD_JOURNAL_TEXT_MAX + 1];
	memcpy(text, p + FRAME, n - FRAME - 1);
	text[n - FRAME - 1] = '\0';
	line(arg, text);
}

/*
 * What a write that was cut short leaves: part of one line, then perhaps zeros where the file had
 * grown but the data had not arrived.
 */
static bool is_torn_line(const char *p, size_t n)
{
	size_t text = 0;
	while (text < n && p[text] != '\0')
		text++;
	for (size_t i = text; i < n; i++)
		if (p[i] != '\0')
			return false;
	const char *newline = memchr(p, '\n', text);
	return newline == NULL || newline == p + text - 1;
}

void gd_journal_parse(const char *bytes, size_t n, gd_journal_line *line, void *arg,
                      struct gd_journal_found *ret)
{
	struct gd_journal_found found = { 0 };
	size_t at = 0;
	size_t bad_at = n;
	while (at < n) {
		size_t len = line_at(bytes + at, n - at);
		if (len > 0) {
			give(bytes + at, len, line, arg);
			found.lines++;
			at += len;
			if (bad_at == n)
				found.good_bytes = at;
			else
				found.damaged = true;
			continue;
		}
		if (bad_at == n)
			bad_at = at;
		const char *newline = memchr(bytes + at, '\n', n - at);
		at = newline != NULL ? (size_t)(newline - bytes) + 1 : n;
	}
	if (bad_at < n && !found.damaged) {
		found.torn_tail = is_torn_line(bytes + bad_at, n - bad_at);
		found.damaged = !found.torn_tail;
	}
	*ret = found;
}

/* So that a line can still be written when the disk is full; not every file system can. */
static void reserve(struct gd_journal *journal)
{
	if (journal->room >= journal->bytes + RESERVE / 4)
		return;
	if (fallocate(journal->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(journal->bytes + RESERVE)) == 0)
		journal->room = journal->bytes + RESERVE;
}

static int open_file(int dir_fd, const char *name, struct gd_error *err)
{
	struct stat st;
	int fd = openat(dir_fd, name,
	                O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == ELOOP || errno == EISDIR))
		return gd_fail(err, -EPERM, "%s is not a regular file", name);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", name);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	(void)close(fd);
	return gd_fail(err, -EPERM, "%s is not a regular file", name);
}

int gd_journal_open(int dir_fd, const char *name, gd_journal_line *line, void *arg,
                    struct gd_journal *ret, struct gd_journal_found *found, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_JOURNAL_BYTES_MAX);
	GD_CLOSE int fd = open_file(dir_fd, name, err);
	if (fd < 0)
		return fd;
	int r = gd_io_read_all(fd, &text, err);
	if (r < 0 && r != -E2BIG)
		return gd_error_wrap(err, r, "%s", name);
	struct gd_journal_found seen;
	gd_journal_parse(text.data != NULL ? text.data : "", text.len, line, arg, &seen);
	seen.damaged = seen.damaged || r == -E2BIG;
	if (seen.torn_tail &&
	    (ftruncate(fd, (off_t)seen.good_bytes) < 0 || fdatasync(fd) < 0))
		return gd_fail_errno(err, -errno, "%s: cutting its torn last line", name);
	*ret = (struct gd_journal){ .dir_fd = dir_fd, .fd = gd_steal_fd(&fd), .name = name,
		                    .bytes = seen.good_bytes, .lines = seen.lines,
		                    .broken = seen.damaged };
	if (!ret->broken)
		reserve(ret);
	*found = seen;
	return 0;
}

void gd_journal_close(struct gd_journal *journal)
{
	if (journal->fd >= 0)
		(void)close(journal->fd);
	*journal = GD_JOURNAL_INIT;
}

void gd_journal_put(struct gd_buf *to, const char *text)
{
	size_t n = strlen(text);
	if (!is_text(text, n)) {
		to->failed = to->failed != 0 ? to->failed : -EINVAL;
		return;
	}
	gd_buf_printf(to, "%04zx %08x %s\n", n, gd_crc32c(0, text, n), text);
}

int gd_journal_append(struct gd_journal *journal, const char *text, struct gd_error *err)
{
	GD_BUF struct gd_buf line = GD_BUF_INIT(FRAME + GD_JOURNAL_TEXT_MAX + 8);
	if (journal->broken)
		return gd_fail(err, -EIO, "%s could not be written before", journal->name);
	gd_journal_put(&line, text);
	int r = gd_buf_check(&line, journal->name, err);
	if (r == 0)
		r = gd_io_write_all(journal->fd, line.data, line.len, err);
	if (r < 0) {
		/* Half a line must not stay: the next one would follow it. */
		if (ftruncate(journal->fd, (off_t)journal->bytes) < 0)
			journal->broken = true;
		journal->room = 0;
		return gd_error_wrap(err, r, "%s", journal->name);
	}
	/* A failed sync is never tried again: the kernel may have dropped the page and say yes. */
	if (fdatasync(journal->fd) < 0) {
		r = -errno;
		journal->broken = true;
		return gd_fail_errno(err, r, "%s: fdatasync", journal->name);
	}
	journal->bytes += line.len;
	journal->lines++;
	reserve(journal);
	return 0;
}

static int write_new(int fd, const struct gd_buf *lines, struct gd_error *err)
{
	int r = lines->len > 0 ? gd_io_write_all(fd, lines->data, lines->len, err) : 0;
	if (r == 0 && fdatasync(fd) < 0)
		r = gd_fail_errno(err, -errno, "fdatasync");
	return r;
}

int gd_journal_replace(struct gd_journal *journal, struct gd_buf *lines, size_t n,
                       struct gd_error *err)
{
	char temp[80];
	(void)snprintf(temp, sizeof(temp), "%.70s.new", journal->name);
	int r = gd_buf_check(lines, journal->name, err);
	if (r < 0)
		return r;
	(void)unlinkat(journal->dir_fd, temp, 0); /* of one who was killed here */
	GD_CLOSE int fd = openat(journal->dir_fd, temp,
	                         O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
	                         0600);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", temp);
	r = write_new(fd, lines, err);
	if (r == 0 && renameat(journal->dir_fd, temp, journal->dir_fd, journal->name) < 0)
		r = gd_fail_errno(err, -errno, "rename");
	if (r < 0) {
		(void)unlinkat(journal->dir_fd, temp, 0);
		return gd_error_wrap(err, r, "%s", temp);
	}
	if (journal->fd >= 0)
		(void)close(journal->fd);
	journal->fd = gd_steal_fd(&fd);
	journal->bytes = lines->len;
	journal->lines = n;
	journal->room = 0;
	/* The name may still mean the old file after a power cut: write no line into the new one. */
	journal->broken = fsync(journal->dir_fd) < 0 && errno != EINVAL;
	if (journal->broken)
		return gd_fail_errno(err, -errno, "%s: fsync of its directory", journal->name);
	reserve(journal);
	return 0;
}
