#pragma once
/*
 * Whole reads and writes on file descriptors.  EINTR is retried, short transfers are continued.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Appends everything up to end of file; the buffer's ceiling bounds it (-E2BIG). */
int gd_io_read_all(int fd, struct gd_buf *buf, struct gd_error *err);

/*
 * Opens path below dirfd (O_CLOEXEC, O_NOFOLLOW on the last component, O_NONBLOCK so that a FIFO
 * cannot hang us) and appends its content.  `path` is also what error messages name.
 */
int gd_io_read_file_at(int dirfd, const char *path, struct gd_buf *buf, struct gd_error *err);

int gd_io_write_all(int fd, const void *bytes, size_t n, struct gd_error *err);

/* Exactly n bytes at offset, or -EBADMSG when the file ends before. */
int gd_io_pread_all(int fd, void *bytes, size_t n, off_t offset, struct gd_error *err);
