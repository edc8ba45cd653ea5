#include "base/journal.h"

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
#define OPEN_TRIES 10

/* --- lines --------------------------------------------------------------------------------- */

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
		const char *known = "0123456789abcdef";
		const char *digit = p[i] != '\0' ? strchr(known, p[i]) : NULL;
		if (digit == NULL)
			return false;
		value = value << 4 | (uint32_t)(digit - known);
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

static int give(const char *p, size_t n, gd_journal_line *line, void *arg)
{
	char text[GD_JOURNAL_TEXT_MAX + 1];
	memcpy(text, p + FRAME, n - FRAME - 1);
	text[n - FRAME - 1] = '\0';
	return line(arg, text);
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
	unsigned n_bad = 0;
	bool goes_on = false; /* after a bad one */
	size_t at = 0;
	while (at < n) {
		size_t len = line_at(bytes + at, n - at);
		if (len == 0) {
			const char *newline = memchr(bytes + at, '\n', n - at);
			at = newline != NULL ? (size_t)(newline - bytes) + 1 : n;
			n_bad++;
			continue;
		}
		if (give(bytes + at, len, line, arg) < 0)
			found.damaged++;
		else
			found.lines++;
		at += len;
		if (n_bad == 0)
			found.good_bytes = at;
		else
			goes_on = true;
	}
	found.torn_tail = n_bad > 0 && !goes_on && found.damaged == 0 &&
	                  is_torn_line(bytes + found.good_bytes, n - found.good_bytes);
	if (!found.torn_tail)
		found.damaged += n_bad;
	*ret = found;
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

static size_t count_lines(const struct gd_buf *lines)
{
	size_t n = 0;
	for (size_t i = 0; i < lines->len; i++)
		n += lines->data[i] == '\n';
	return n;
}

/* --- opening ------------------------------------------------------------------------------- */

/* So that a line can still be written when the disk is full; not every file system can. */
static void reserve(struct gd_journal *journal)
{
	if (journal->room >= journal->bytes + RESERVE / 4)
		return;
	if (fallocate(journal->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(journal->bytes + RESERVE)) == 0)
		journal->room = journal->bytes + RESERVE;
}

static int take_lock(int fd, struct gd_error *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(fd, F_SETLK, &whole) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return gd_fail(err, -EBUSY, "another process has it open");
	return gd_fail_errno(err, -errno, "lock");
}

static int open_file(int dir_fd, const char *name, struct gd_error *err)
{
	/* Somebody may put a new file in its place between our open and our lock. */
	for (int i = 0; i < OPEN_TRIES; i++) {
		struct stat ours;
		struct stat there;
		GD_CLOSE int fd = openat(dir_fd, name,
		                         O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK |
		                                 O_CLOEXEC,
		                         0600);
		if (fd < 0 && errno != ELOOP && errno != EISDIR)
			return gd_fail_errno(err, -errno, "open");
		if (fd >= 0 && fstat(fd, &ours) < 0)
			return gd_fail_errno(err, -errno, "stat");
		if (fd < 0 || !S_ISREG(ours.st_mode))
			return gd_fail(err, -EPERM, "not a regular file");
		int r = take_lock(fd, err);
		if (r < 0)
			return r;
		if (fstatat(dir_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
			return gd_steal_fd(&fd);
	}
	return gd_fail(err, -EBUSY, "another process keeps replacing it");
}

static int sync_dir(int dir_fd, struct gd_error *err)
{
	if (fsync(dir_fd) < 0 && errno != EINVAL) /* one that cannot be synced */
		return gd_fail_errno(err, -errno, "fsync of its directory");
	return 0;
}

static int load(int fd, gd_journal_line *line, void *arg, struct gd_journal_found *ret,
                struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_JOURNAL_BYTES_MAX);
	struct gd_journal_found found;
	int r = gd_io_read_all(fd, &text, err);
	if (r < 0 && r != -E2BIG)
		return r;
	gd_journal_parse(text.data != NULL ? text.data : "", text.len, line, arg, &found);
	if (r == -E2BIG) {
		/* We never write that much: what is beyond our limit is nobody's. */
		found.torn_tail = false;
		found.damaged++;
	}
	if (found.torn_tail && (ftruncate(fd, (off_t)found.good_bytes) < 0 || fdatasync(fd) < 0))
		return gd_fail_errno(err, -errno, "cutting its torn last line");
	*ret = found;
	return 0;
}

int gd_journal_open(int dir_fd, const char *name, gd_journal_line *line, void *arg,
                    struct gd_journal *ret, struct gd_journal_found *found, struct gd_error *err)
{
	struct gd_journal_found seen = { 0 };
	GD_CLOSE int fd = open_file(dir_fd, name, err);
	int r = fd < 0 ? fd : load(fd, line, arg, &seen, err);
	/* Its name may be new: without this a crash could lose the file and all that is in it. */
	if (r == 0)
		r = sync_dir(dir_fd, err);
	if (r < 0)
		return gd_error_wrap(err, r, "%s", name);
	*ret = (struct gd_journal){ .dir_fd = dir_fd, .fd = gd_steal_fd(&fd), .name = name,
		                    .bytes = seen.good_bytes, .lines = seen.lines,
		                    .broken = seen.damaged > 0 };
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

int gd_journal_keep(const struct gd_journal *journal, int dir_fd, const char *name,
                    struct gd_error *err)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return gd_fail_errno(err, -errno, "remove %s", name);
	if (linkat(journal->dir_fd, journal->name, dir_fd, name, 0) < 0)
		return gd_fail_errno(err, -errno, "keep %s as %s", journal->name, name);
	return 0;
}

/* --- writing ------------------------------------------------------------------------------- */

int gd_journal_append(struct gd_journal *journal, const struct gd_buf *lines, bool sync,
                      struct gd_error *err)
{
	int r = gd_buf_check(lines, journal->name, err);
	if (r < 0)
		return r;
	if (journal->broken)
		return gd_fail(err, -EIO, "%s could not be written before", journal->name);
	r = gd_io_write_all(journal->fd, lines->data, lines->len, err);
	/* A failed sync is never tried again: the kernel may have dropped the page and say yes. */
	if (r == 0 && sync && fdatasync(journal->fd) < 0) {
		r = gd_fail_errno(err, -errno, "fdatasync");
		journal->broken = true;
	}
	if (r < 0) {
		/* Half a line must not stay: the next one would follow it. */
		if (ftruncate(journal->fd, (off_t)journal->bytes) < 0)
			journal->broken = true;
		journal->room = 0;
		return gd_error_wrap(err, r, "%s", journal->name);
	}
	journal->bytes += lines->len;
	journal->lines += count_lines(lines);
	reserve(journal);
	return 0;
}

static int write_new(int dir_fd, const char *name, const struct gd_buf *lines, struct gd_error *err)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT) /* of one who was killed here */
		return gd_fail_errno(err, -errno, "remove");
	GD_CLOSE int fd = openat(dir_fd, name,
	                         O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
	                         0600);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "create");
	int r = take_lock(fd, err);
	if (r == 0)
		r = gd_io_write_all(fd, lines->data, lines->len, err);
	if (r == 0 && fdatasync(fd) < 0)
		r = gd_fail_errno(err, -errno, "fdatasync");
	return r < 0 ? r : gd_steal_fd(&fd);
}

int gd_journal_replace(struct gd_journal *journal, const struct gd_buf *lines, struct gd_error *err)
{
	char temp[80];
	(void)snprintf(temp, sizeof(temp), "%.70s.new", journal->name);
	int r = gd_buf_check(lines, journal->name, err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = write_new(journal->dir_fd, temp, lines, err);
	r = fd < 0 ? fd : 0;
	if (r == 0 && renameat(journal->dir_fd, temp, journal->dir_fd, journal->name) < 0)
		r = gd_fail_errno(err, -errno, "rename");
	if (r < 0) {
		(void)unlinkat(journal->dir_fd, temp, 0);
		return gd_error_wrap(err, r, "%s", temp);
	}
	(void)close(journal->fd);
	journal->fd = gd_steal_fd(&fd);
	journal->bytes = lines->len;
	journal->lines = count_lines(lines);
	journal->room = 0;
	/* The name may still mean the old file after a power cut: write no line into the new one. */
	r = sync_dir(journal->dir_fd, err);
	journal->broken = r < 0;
	if (r < 0)
		return gd_error_wrap(err, r, "%s", journal->name);
	reserve(journal);
	return 0;
}
