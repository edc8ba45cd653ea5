#include "tests/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

static atomic_uint armed; /* enum fault_call, 0: nothing fails */
static atomic_uint seen;
static atomic_bool fired;
static unsigned fail_at;
static bool fail_on; /* and all that follow */
static int fail_error;

static void arm(unsigned calls, unsigned n, int error, bool and_on)
{
	fail_at = n;
	fail_on = and_on;
	fail_error = error;
	atomic_store(&seen, 0);
	atomic_store(&fired, false);
	atomic_store(&armed, calls);
}

void fault_arm(unsigned calls, unsigned n, int error)
{
	arm(calls, n, error, false);
}

void fault_arm_from(unsigned calls, unsigned n, int error)
{
	arm(calls, n, error, true);
}

bool fault_disarm(void)
{
	atomic_store(&armed, 0);
	return atomic_load(&fired);
}

unsigned fault_count(void)
{
	return atomic_load(&seen);
}

/* Whether this call is the one; then errno is set (0 for FAULT_SHORT). */
static bool fails(enum fault_call call)
{
	if ((atomic_load(&armed) & call) == 0)
		return false;
	unsigned n = atomic_fetch_add(&seen, 1) + 1;
	if (n != fail_at && !(fail_on && n > fail_at))
		return false;
	atomic_store(&fired, true);
	errno = fail_error == FAULT_SHORT ? 0 : fail_error;
	return true;
}

static bool is_short(void)
{
	return fail_error == FAULT_SHORT;
}

/* The linker's --wrap=x turns our calls of x into __wrap_x and __real_x into x. */
#define WRAPPED(type, name, ...)                                                                   \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, malloc, size_t n)
{
	return fails(FAULT_MALLOC) ? NULL : __real_malloc(n);
}

WRAPPED(char *, strdup, const char *s)
{
	return fails(FAULT_MALLOC) ? NULL : __real_strdup(s);
}

WRAPPED(void *, calloc, size_t n, size_t size)
{
	return fails(FAULT_CALLOC) ? NULL : __real_calloc(n, size);
}

WRAPPED(void *, realloc, void *p, size_t n)
{
	return fails(FAULT_REALLOC) ? NULL : __real_realloc(p, n);
}

WRAPPED(ssize_t, read, int fd, void *to, size_t n)
{
	if (fails(FAULT_READ))
		return is_short() ? __real_read(fd, to, n < 1 ? n : 1) : -1;
	return __real_read(fd, to, n);
}

/* What _FORTIFY_SOURCE makes of read and pread when it knows the size of the array. */
WRAPPED(ssize_t, __read_chk, int fd, void *to, size_t n, size_t size)
{
	if (fails(FAULT_READ))
		return is_short() ? __real___read_chk(fd, to, n < 1 ? n : 1, size) : -1;
	return __real___read_chk(fd, to, n, size);
}

WRAPPED(ssize_t, pread, int fd, void *to, size_t n, off_t offset)
{
	if (fails(FAULT_PREAD))
		return is_short() ? __real_pread(fd, to, n < 1 ? n : 1, offset) : -1;
	return __real_pread(fd, to, n, offset);
}

WRAPPED(ssize_t, __pread_chk, int fd, void *to, size_t n, off_t offset, size_t size)
{
	if (fails(FAULT_PREAD))
		return is_short() ? __real___pread_chk(fd, to, n < 1 ? n : 1, offset, size) : -1;
	return __real___pread_chk(fd, to, n, offset, size);
}

WRAPPED(ssize_t, write, int fd, const void *from, size_t n)
{
	if (fails(FAULT_WRITE))
		return is_short() ? __real_write(fd, from, n < 1 ? n : 1) : -1;
	return __real_write(fd, from, n);
}

WRAPPED(int, openat, int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
		va_list args;
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return fails(FAULT_OPENAT) ? -1 : __real_openat(dirfd, path, flags, mode);
}

WRAPPED(int, __openat_2, int dirfd, const char *path, int flags)
{
	return fails(FAULT_OPENAT) ? -1 : __real___openat_2(dirfd, path, flags);
}

WRAPPED(int, fsync, int fd)
{
	return fails(FAULT_FSYNC) ? -1 : __real_fsync(fd);
}

WRAPPED(int, fdatasync, int fd)
{
	return fails(FAULT_FSYNC) ? -1 : __real_fdatasync(fd);
}

WRAPPED(int, linkat, int from_dirfd, const char *from, int to_dirfd, const char *to, int flags)
{
	return fails(FAULT_LINKAT) ? -1
	                           : __real_linkat(from_dirfd, from, to_dirfd, to, flags);
}

WRAPPED(int, renameat, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
	return fails(FAULT_NAMES) ? -1 : __real_renameat(from_dirfd, from, to_dirfd, to);
}

WRAPPED(int, unlinkat, int dirfd, const char *path, int flags)
{
	return fails(FAULT_NAMES) ? -1 : __real_unlinkat(dirfd, path, flags);
}

WRAPPED(int, ftruncate, int fd, off_t bytes)
{
	return fails(FAULT_NAMES) ? -1 : __real_ftruncate(fd, bytes);
}
