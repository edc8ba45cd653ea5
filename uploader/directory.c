#include "uploader/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int copy(int to, int from, uint64_t bytes, struct gd_error *err)
{
	off_t offset = 0;
	while ((uint64_t)offset < bytes) {
		uint64_t left = bytes - (uint64_t)offset;
		ssize_t n = sendfile(to, from, &offset, left < (1U << 30) ? left : (1U << 30));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "copy");
		if (n == 0)
			return gd_fail(err, -EIO, "archive became shorter while it was copied");
	}
	return 0;
}

static int verify(int fd, const struct gd_upload_digest *expected, struct gd_error *err)
{
	struct gd_upload_digest found;
	int r = gd_upload_digest(fd, &found, err);
	if (r < 0)
		return r;
	if (found.bytes != expected->bytes || strcmp(found.sha256_hex, expected->sha256_hex) != 0)
		return gd_fail(err, -EEXIST, "holds other content than the archive");
	return 0;
}

int gd_directory_put(const char *directory, const char *name, int fd,
                     const struct gd_upload_digest *digest, struct gd_error *err)
{
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return gd_fail_errno(err, -errno, "%s", directory);
	GD_CLOSE int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return gd_fail_errno(err, -errno, "%s", directory);

	GD_CLOSE int existing = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (existing >= 0) {
		int r = verify(existing, digest, err);
		return r < 0 ? gd_error_wrap(err, r, "%s/%s", directory, name) : 0;
	}

	char temporary[300];
	(void)snprintf(temporary, sizeof(temporary), ".%.255s.part", name);
	GD_CLOSE int to = openat(dir, temporary,
	                         O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0 && errno == EEXIST && unlinkat(dir, temporary, 0) == 0) /* ours, interrupted */
		to = openat(dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		            0600);
	if (to < 0)
		return gd_fail_errno(err, -errno, "%s/%s", directory, temporary);
	int r = copy(to, fd, digest->bytes, err);
	if (r == 0 && fsync(to) < 0)
		r = gd_fail_errno(err, -errno, "fsync");
	if (r == 0)
		r = verify(to, digest, err);
	if (r == 0 && linkat(dir, temporary, dir, name, 0) < 0)
		r = gd_fail_errno(err, -errno, "link");
	(void)unlinkat(dir, temporary, 0);
	if (r == 0 && fsync(dir) < 0)
		r = gd_fail_errno(err, -errno, "fsync of the directory");
	return r < 0 ? gd_error_wrap(err, r, "%s/%s", directory, name) : 0;
}
