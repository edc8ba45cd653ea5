#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int gd_io_read_all(int fd, struct gd_buf *buf, struct gd_error *err)
{
	for (;;) {
		size_t room = buf->ceiling - buf->len;
		size_t want = room < 16384 ? room : 16384;
		char probe;
		char *to = want > 0 ? gd_buf_reserve(buf, want) : &probe;
		if (to == NULL)
			return gd_buf_check(buf, "read", err);
		/* At the ceiling one more byte tells a full buffer from a file that is too long. */
		ssize_t n = read(fd, to, want > 0 ? want : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "read");
		if (n == 0)
			return 0;
		if (want == 0)
			return gd_fail(err, -E2BIG, "read: larger than our limit of %zu bytes",
			               buf->ceiling);
		buf->len += (size_t)n;
	}
}

int gd_io_read_file_at(int dirfd, const char *path, struct gd_buf *buf, struct gd_error *err)
{
	GD_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	int r = gd_io_read_all(fd, buf, err);
	if (r < 0)
		return gd_error_wrap(err, r, "%s", path);
	return 0;
}

int gd_io_write_all(int fd, const void *bytes, size_t n, struct gd_error *err)
{
	const char *p = bytes;
	while (n > 0) {
		ssize_t w = write(fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return gd_fail_errno(err, -errno, "write");
		if (w == 0) /* would go on for ever */
			return gd_fail_errno(err, -EIO, "write took nothing");
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int gd_io_pread_all(int fd, void *bytes, size_t n, off_t offset, struct gd_error *err)
{
	char *p = bytes;
	while (n > 0) {
		ssize_t got = pread(fd, p, n, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gd_fail_errno(err, -errno, "read at offset %lld", (long long)offset);
		if (got == 0)
			return gd_fail(err, -EBADMSG, "file ends before offset %lld",
			               (long long)offset + (long long)n);
		p += got;
		offset += got;
		n -= (size_t)got;
	}
	return 0;
}
