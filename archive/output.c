#include "archive/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"

/* Room for the smallest archive: asked for first, so that a full disk is known before any work. */
#define RESERVE_BYTES (256 * 1024)

int gd_output_fail(const struct gd_output *output, int code, uint64_t n, struct gd_error *err)
{
	if (code != -ENOSPC && code != -EDQUOT && code != -EFBIG)
		return gd_fail_errno(err, code, "%.100s", output->dir);
	char written[GD_UNITS_TEXT];
	char needed[GD_UNITS_TEXT];
	char room[GD_UNITS_TEXT];
	struct statvfs fs;
	bool known = fstatvfs(output->fd >= 0 ? output->fd : output->dir_fd, &fs) == 0;
	uint64_t free_bytes = known ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
	const char *what = code == -EDQUOT  ? "quota used up"
	                   : code == -EFBIG ? "file size limit reached"
	                                    : "no space left";
	return gd_fail(err, -ENOSPC,
	               "%.100s: %s: at least %s needed beyond the %s written, %s free%s",
	               output->dir, what, gd_units_bytes(needed, n),
	               gd_units_bytes(written, output->bytes), gd_units_bytes(room, free_bytes),
	               known && fs.f_files > 0 && fs.f_favail == 0 ? ", no inodes" : "");
}

static int open_unnamed(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* EISDIR and EINVAL: kernels and file systems that take O_TMPFILE for O_DIRECTORY. */
static bool has_no_tmpfile(int code)
{
	return code == -EOPNOTSUPP || code == -EISDIR || code == -EINVAL || code == -ENOSYS;
}

static int open_named(int dir_fd, char temp[40])
{
	for (int attempt = 0; attempt < 16; attempt++) {
		uint64_t salt[2];
		if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
			return -errno;
		(void)snprintf(temp, 40, ".godiag-%016" PRIx64 "%08x.tmp", salt[0],
		               (unsigned)salt[1]);
		int fd = openat(dir_fd, temp, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
		                0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			break;
	}
	int code = -errno;
	temp[0] = '\0';
	return code;
}

int gd_output_scratch(struct gd_output *output, struct gd_error *err)
{
	int fd = output->scratch != NULL ? output->scratch(output->scratch_arg)
	                                 : open_unnamed(output->dir_fd);
	if (output->scratch == NULL && has_no_tmpfile(fd)) {
		char temp[40];
		fd = open_named(output->dir_fd, temp);
		if (fd >= 0)
			(void)unlinkat(output->dir_fd, temp, 0);
	}
	if (fd < 0)
		return gd_output_fail(output, fd, 0, err);
	return fd;
}

static int fail_create(const char *dir, int code, struct gd_error *err)
{
	switch (code) {
	case -ENOENT:
		return gd_fail(err, code, "%.150s: no such directory (create it, or name another)",
		               dir);
	case -ENOTDIR:
		return gd_fail(err, code, "%.150s: not a directory", dir);
	case -EACCES:
		return gd_fail(err, code, "%.150s: no permission to write there", dir);
	case -EROFS:
		return gd_fail(err, code, "%.150s: read-only file system", dir);
	default:
		return gd_fail_errno(err, code, "%.150s", dir);
	}
}

int gd_output_create(const char *dir, bool named, struct gd_output *ret, struct gd_error *err)
{
	GD_CLEANUP(gd_output_deinit) struct gd_output output = GD_OUTPUT_INIT;
	output.dir = strdup(dir);
	if (output.dir == NULL)
		return gd_fail_errno(err, -ENOMEM, "%.150s", dir);
	output.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (output.dir_fd < 0)
		return fail_create(dir, -errno, err);
	int fd = named ? -EOPNOTSUPP : open_unnamed(output.dir_fd);
	if (has_no_tmpfile(fd))
		fd = open_named(output.dir_fd, output.temp);
	if (fd == -ENOSPC || fd == -EDQUOT)
		return gd_output_fail(&output, fd, RESERVE_BYTES, err);
	if (fd < 0)
		return fail_create(dir, fd, err);
	output.fd = fd;
	/* File systems that cannot reserve (EOPNOTSUPP) are found full when they are. */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, RESERVE_BYTES) < 0 &&
	    (errno == ENOSPC || errno == EDQUOT))
		return gd_output_fail(&output, -errno, RESERVE_BYTES, err);
	*ret = output;
	output = GD_OUTPUT_INIT;
	return 0;
}

/*
 * A large write has the page cache look for memory in pieces just as large, and those are the ones that nobody
 * has touched for longest: small ones are found where something was freed a moment ago.
 */
#define PIECE_BYTES ((size_t)64 << 10)

int gd_output_write(struct gd_output *output, const void *bytes, size_t n, struct gd_error *err)
{
	const char *from = bytes;
	for (size_t at = 0; at < n; at += PIECE_BYTES) {
		size_t len = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;
		int r = gd_io_write_all(output->fd, from + at, len, NULL);
		if (r < 0)
			return gd_output_fail(output, r, n, err);
		output->bytes += len;
	}
	return 0;
}

static int link_unnamed(const struct gd_output *output, const char *name)
{
	/* Needs CAP_DAC_READ_SEARCH before Linux 6.10, but no /proc. */
	if (linkat(output->fd, "", output->dir_fd, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT && errno != EPERM)
		return -errno;
	char self[32];
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", output->fd);
	if (linkat(AT_FDCWD, self, output->dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

/* Never overwrites; a file system without RENAME_NOREPLACE usually has hard links (NFS). */
static int rename_named(struct gd_output *output, const char *name)
{
	if (renameat2(output->dir_fd, output->temp, output->dir_fd, name, RENAME_NOREPLACE) == 0) {
		output->temp[0] = '\0';
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(output->dir_fd, output->temp, output->dir_fd, name, 0) < 0)
		return -errno;
	return 0; /* deinit removes the hidden name */
}

int gd_output_publish(struct gd_output *output, const char *name, struct gd_error *err)
{
	/* Gives back what create reserved beyond the end. */
	if (ftruncate(output->fd, (off_t)output->bytes) < 0)
		return gd_output_fail(output, -errno, 0, err);
	if (fdatasync(output->fd) < 0)
		return gd_output_fail(output, -errno, 0, err);
	int r = output->temp[0] != '\0' ? rename_named(output, name) : link_unnamed(output, name);
	if (r == -EEXIST)
		return gd_fail(err, r, "%.100s/%.80s exists already", output->dir, name);
	if (r < 0)
		return gd_output_fail(output, r, 0, err);
	/*
	 * Without a durable directory entry the file is not safe: better no archive than that.
	 * EINVAL comes from file systems that know no fsync on directories.
	 */
	if (fsync(output->dir_fd) < 0 && errno != EINVAL) {
		r = -errno;
		(void)unlinkat(output->dir_fd, name, 0);
		return gd_output_fail(output, r, 0, err);
	}
	return 0;
}

void gd_output_deinit(struct gd_output *output)
{
	if (output->temp[0] != '\0')
		(void)unlinkat(output->dir_fd, output->temp, 0);
	if (output->fd >= 0)
		(void)close(output->fd);
	if (output->dir_fd >= 0)
		(void)close(output->dir_fd);
	free(output->dir);
	*output = GD_OUTPUT_INIT;
}
