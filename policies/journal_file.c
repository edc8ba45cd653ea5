#include "policies/journal_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/io.h"

#define HEAD 14 /* "LLLL CCCCCCCC " */
#define OPEN_TRIES 10

struct gd_journal_file {
	int dir_fd;
	int fd;
	uint64_t bytes; /* all of them whole lines */
	bool suspect;
	char name[64];
};

/* ---- lines ---- */

void gd_journal_file_put(struct gd_buf *lines, const char *record)
{
	size_t n = strlen(record);
	assert(n <= GD_JOURNAL_FILE_RECORD_MAX && strchr(record, '\n') == NULL);
	gd_buf_printf(lines, "%04zx %08x %s\n", n, gd_crc32c(0, record, n), record);
}

static bool hex_field(const char *s, size_t n, uint32_t *ret)
{
	uint32_t value = 0;
	for (size_t i = 0; i < n; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = s[i] != '\0' ? strchr(digits, s[i]) : NULL;
		if (digit == NULL)
			return false;
		value = value << 4 | (uint32_t)(digit - digits);
	}
	*ret = value;
	return s[n] == ' ';
}

/* `line` has `n` bytes and then a newline. */
static bool verifies(const char *line, size_t n)
{
	uint32_t len;
	uint32_t crc;
	if (n < HEAD || !hex_field(line, 4, &len) || !hex_field(line + 5, 8, &crc))
		return false;
	return len == n - HEAD && len <= GD_JOURNAL_FILE_RECORD_MAX &&
	       memchr(line + HEAD, '\0', len) == NULL && gd_crc32c(0, line + HEAD, len) == crc;
}

/* Returns the length of what is whole. */
static size_t read_lines(struct gd_buf *text, gd_journal_file_fn *fn, void *arg,
                         struct gd_journal_file_found *found)
{
	size_t pos = 0;
	while (pos < text->len) {
		char *line = text->data + pos;
		char *end = memchr(line, '\n', text->len - pos);
		size_t n = end != NULL ? (size_t)(end - line) : text->len - pos;
		bool last = end == NULL || pos + n + 1 == text->len;
		bool good = end != NULL && verifies(line, n);
		if (!good && last) {
			found->torn = true;
			break;
		}
		if (good) {
			*end = '\0';
			good = fn(arg, line + HEAD) >= 0;
		}
		if (!good)
			found->damaged++;
		pos += n + 1;
	}
	return pos;
}

/* ---- opening ---- */

static int take_lock(int fd, struct gd_error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return gd_fail(err, -EBUSY, "another process has it open");
	return gd_fail_errno(err, -errno, "lock");
}

static int open_locked(int dir_fd, const char *name, int *ret_fd, struct gd_error *err)
{
	/* Somebody may put a new file in its place between our open and our lock. */
	for (int i = 0; i < OPEN_TRIES; i++) {
		struct stat ours;
		struct stat there;
		GD_CLOSE int fd = openat(dir_fd, name,
		                         O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW |
		                                 O_NONBLOCK,
		                         0600);
		if (fd < 0)
			return gd_fail_errno(err, errno == ELOOP ? -EPERM : -errno, "open");
		if (fstat(fd, &ours) < 0)
			return gd_fail_errno(err, -errno, "stat");
		if (!S_ISREG(ours.st_mode))
			return gd_fail(err, -EPERM, "not a regular file");
		int r = take_lock(fd, err);
		if (r < 0)
			return r;
		if (fstatat(dir_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    there.st_ino == ours.st_ino && there.st_dev == ours.st_dev) {
			*ret_fd = gd_steal_fd(&fd);
			return 0;
		}
	}
	return gd_fail(err, -EBUSY, "another process keeps replacing it");
}

/* A second name is enough: the next rewrite gives NAME to a new file. */
static int put_aside(const struct gd_journal_file *file, struct gd_error *err)
{
	char bad[sizeof(file->name) + 8];
	(void)snprintf(bad, sizeof(bad), "%s.bad", file->name);
	if (unlinkat(file->dir_fd, bad, 0) < 0 && errno != ENOENT)
		return gd_fail_errno(err, -errno, "remove %s", bad);
	if (linkat(file->dir_fd, file->name, file->dir_fd, bad, 0) < 0)
		return gd_fail_errno(err, -errno, "keep a copy as %s", bad);
	return 0;
}

static int cut_off(struct gd_journal_file *file, struct gd_error *err)
{
	if (ftruncate(file->fd, (off_t)file->bytes) < 0 || fdatasync(file->fd) < 0)
		return gd_fail_errno(err, -errno, "cut off the torn last line");
	return 0;
}

static int load(struct gd_journal_file *file, gd_journal_file_fn *fn, void *arg,
                struct gd_journal_file_found *found, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_JOURNAL_FILE_BYTES_MAX);
	int r = gd_io_read_all(file->fd, &text, err);
	bool whole = r != -E2BIG;
	if (r < 0 && whole)
		return r;
	file->bytes = read_lines(&text, fn, arg, found);
	if (!whole) {
		/* We never write that much: what is beyond our limit is nobody's. */
		found->torn = false;
		found->damaged++;
	}
	r = found->damaged > 0 ? put_aside(file, err) : 0;
	/* What is put aside stays as it was found. */
	if (r == 0 && found->torn && found->damaged == 0)
		r = cut_off(file, err);
	file->suspect = found->damaged > 0;
	return r;
}

int gd_journal_file_open(const char *dir, const char *name, gd_journal_file_fn *fn, void *arg,
                         struct gd_journal_file **ret, struct gd_journal_file_found *ret_found,
                         struct gd_error *err)
{
	struct gd_journal_file_found found = { 0 };
	struct gd_journal_file *file = calloc(1, sizeof(*file));
	if (file == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s/%s", dir, name);
	file->dir_fd = file->fd = -1;
	assert(strlen(name) < sizeof(file->name) - 8);
	(void)snprintf(file->name, sizeof(file->name), "%s", name);
	int r = 0;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		r = gd_fail_errno(err, -errno, "make the directory");
	if (r == 0)
		file->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && file->dir_fd < 0)
		r = gd_fail_errno(err, -errno, "open the directory");
	if (r == 0)
		r = open_locked(file->dir_fd, name, &file->fd, err);
	if (r == 0)
		r = load(file, fn, arg, &found, err);
	/* Its name may be new: without this a crash could lose the file and all that is in it. */
	if (r == 0 && fsync(file->dir_fd) < 0)
		r = gd_fail_errno(err, -errno, "sync the directory");
	if (r < 0) {
		gd_journal_file_close(file);
		return gd_error_wrap(err, r, "%s/%s", dir, name);
	}
	*ret_found = found;
	*ret = file;
	return 0;
}

void gd_journal_file_close(struct gd_journal_file *file)
{
	if (file == NULL)
		return;
	if (file->fd >= 0)
		(void)close(file->fd);
	if (file->dir_fd >= 0)
		(void)close(file->dir_fd);
	free(file);
}

/* ---- writing ---- */

int gd_journal_file_append(struct gd_journal_file *file, const struct gd_buf *lines, bool sync,
                           struct gd_error *err)
{
	int r = gd_buf_check(lines, file->name, err);
	if (r < 0)
		return r;
	if (file->suspect)
		return gd_fail(err, -EIO, "%s: an earlier write failed", file->name);
	r = gd_io_write_all(file->fd, lines->data, lines->len, err);
	if (r == 0 && sync && fdatasync(file->fd) < 0) {
		r = gd_fail_errno(err, -errno, "fdatasync");
		file->suspect = true;
	}
	if (r == 0) {
		file->bytes += lines->len;
		return 0;
	}
	if (ftruncate(file->fd, (off_t)file->bytes) < 0)
		file->suspect = true;
	return gd_error_wrap(err, r, "%s", file->name);
}

static int write_new(int dir_fd, const char *name, const struct gd_buf *lines, int *ret_fd,
                     struct gd_error *err)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return gd_fail_errno(err, -errno, "remove");
	GD_CLOSE int fd = openat(dir_fd, name,
	                         O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "create");
	int r = take_lock(fd, err);
	if (r == 0)
		r = gd_io_write_all(fd, lines->data, lines->len, err);
	if (r == 0 && fdatasync(fd) < 0)
		r = gd_fail_errno(err, -errno, "fdatasync");
	if (r == 0)
		*ret_fd = gd_steal_fd(&fd);
	return r;
}

int gd_journal_file_rewrite(struct gd_journal_file *file, const struct gd_buf *lines,
                            struct gd_error *err)
{
	char name[sizeof(file->name) + 8];
	int fd = -1;
	(void)snprintf(name, sizeof(name), "%s.new", file->name);
	int r = gd_buf_check(lines, file->name, err);
	if (r == 0)
		r = write_new(file->dir_fd, name, lines, &fd, err);
	if (r == 0 && renameat(file->dir_fd, name, file->dir_fd, file->name) < 0) {
		r = gd_fail_errno(err, -errno, "rename");
		(void)close(fd);
	}
	if (r < 0) {
		(void)unlinkat(file->dir_fd, name, 0);
		return gd_error_wrap(err, r, "%s", name);
	}
	(void)close(file->fd);
	file->fd = fd;
	file->bytes = lines->len;
	/* Both files are whole, so either may be there after a crash; but only the new one holds what
	 * is appended from now on. */
	file->suspect = fsync(file->dir_fd) < 0;
	if (file->suspect)
		return gd_fail_errno(err, -errno, "%s: sync the directory", file->name);
	return 0;
}

uint64_t gd_journal_file_bytes(const struct gd_journal_file *file)
{
	return file->bytes;
}

bool gd_journal_file_suspect(const struct gd_journal_file *file)
{
	return file->suspect;
}
