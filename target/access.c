#include "target/access.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "target/identity.h"

struct direct {
	struct gd_access access;
	int proc_fd, pid_fd; /* borrowed */
	pid_t pid;
	uint32_t uid;
	struct gd_perf_programs programs;
};

int gd_access_explain(pid_t pid, uint32_t uid, const char *name, int code, struct gd_error *err)
{
	if (code != -EACCES && code != -EPERM)
		return gd_fail_errno(err, code, "pid %d: %s", pid, name);
	if (uid != (uint32_t)geteuid())
		return gd_fail(err, code, "pid %d: %s: not permitted: it belongs to uid %u and we "
		               "are uid %u; run as root, or with CAP_SYS_PTRACE and "
		               "CAP_DAC_READ_SEARCH", pid, name, uid, geteuid());
	return gd_fail(err, code, "pid %d: %s: not permitted although the uid is ours (Yama's "
	               "ptrace_scope, a process that is not dumpable, or a security module); "
	               "run as root, or with CAP_SYS_PTRACE", pid, name);
}

static int explain(const struct direct *d, const char *path, int code, struct gd_error *err)
{
	if (path[0] == '/')
		return gd_fail_errno(err, code, "%s", path);
	/* Files of a process that was reaped are ENOENT on some kernels and ESRCH on others. */
	if (code == -ENOENT && gd_identity_ended(d->pid_fd))
		return gd_fail(err, -ESRCH, "%s: the target has exited", path);
	return gd_access_explain(d->pid, d->uid, path, code, err);
}

/*
 * A unit that may not see the kernel's addresses (systemd/godiagd.service.in) has a copy of its own, which root
 * made for it.
 */
static const char *where_is(const char *path)
{
	const char *copy = strcmp(path, "/proc/kallsyms") == 0 ? getenv("GODIAG_KALLSYMS") : NULL;
	return copy != NULL ? copy : path;
}

static int open_file(struct gd_access *access, const char *path, int *ret_fd, struct gd_error *err)
{
	const struct direct *d = (struct direct *)access;
	int fd = openat(d->proc_fd, where_is(path),
	                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return explain(d, path, -errno, err);
	*ret_fd = fd;
	return 0;
}

static int read_file(struct gd_access *access, const char *path, struct gd_buf *buf,
                     struct gd_error *err)
{
	const struct direct *d = (struct direct *)access;
	GD_CLOSE int fd = -1;
	int r = open_file(access, path, &fd, err);
	if (r < 0)
		return r;
	r = gd_io_read_all(fd, buf, err);
	if (r == -EACCES || r == -EPERM)
		return explain(d, path, r, err);
	return r < 0 ? gd_error_wrap(err, r, "%s", path) : 0;
}

static ssize_t read_link(struct gd_access *access, const char *path, char *to, size_t size,
                         struct gd_error *err)
{
	const struct direct *d = (struct direct *)access;
	/* A buffer of its own: `to` stays untouched on failure, and a cut link shows. */
	char link[4096 + 1];
	ssize_t n = readlinkat(d->proc_fd, path, link, sizeof(link));
	if (n < 0)
		return explain(d, path, -errno, err);
	if ((size_t)n >= size || (size_t)n >= sizeof(link))
		return gd_fail(err, -E2BIG, "%s: the link is longer than %zu bytes", path, size);
	memcpy(to, link, (size_t)n);
	to[n] = '\0';
	return n;
}

static int list_numbers(DIR *dir, const char *path, size_t max, struct gd_buf *to,
                        struct gd_error *err)
{
	for (size_t n = 0;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		uint64_t number;
		const char *end;
		if (entry == NULL && errno != 0)
			return gd_fail_errno(err, -errno, "%s", path);
		if (entry == NULL)
			return gd_buf_check(to, path, err);
		if (!gd_text_u64(entry->d_name, &end, 10, &number) || *end != '\0' ||
		    number > INT32_MAX)
			continue;
		if (n++ == max)
			return gd_fail(err, -E2BIG, "%s: more than %zu", path, max);
		int32_t value = (int32_t)number;
		gd_buf_append(to, &value, sizeof(value));
	}
}

static int list(struct gd_access *access, const char *path, size_t max, struct gd_buf *to,
                struct gd_error *err)
{
	const struct direct *d = (struct direct *)access;
	int fd = openat(d->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return explain(d, path, -errno, err);
	GD_CLOSEDIR DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		int code = -errno;
		(void)close(fd);
		return gd_fail_errno(err, code, "%s", path);
	}
	return list_numbers(dir, path, max, to, err);
}

int gd_access_open_beneath(int dir_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	/* Some sandboxes know no openat2; there is no ".." in path, and no link in a cgroupfs. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(dir_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int open_group(struct gd_access *access, const char *mount, const char *relative,
                      const char *name, int *ret_fd, struct gd_error *err)
{
	(void)access;
	GD_CLOSE int mount_fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mount_fd < 0)
		return gd_fail_errno(err, -errno, "%s", mount);
	GD_CLOSE int dir_fd =
		gd_access_open_beneath(mount_fd, relative[0] != '\0' ? relative : ".");
	if (dir_fd < 0)
		return gd_fail_errno(err, dir_fd, "group below %s", mount);
	if (name == NULL)
		return 0;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", name);
	*ret_fd = fd;
	return 0;
}

/* Bits of perf_event_attr.sample_regs_user (asm/perf_regs.h). */
#if defined(__x86_64__)
enum { REG_SP = 7, REG_PC = 8 };
#elif defined(__aarch64__)
enum { REG_SP = 31, REG_PC = 32 };
#else
#error "which numbers do sp and pc have here?"
#endif

#define PERIOD_NS 100000 /* of CPU time until the sample */

int gd_access_open_perf(pid_t tid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = PERIOD_NS,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
		.sample_regs_user = UINT64_C(1) << REG_SP | UINT64_C(1) << REG_PC,
		.sample_stack_user = GD_ACCESS_STACK_BYTES,
		.wakeup_events = 1,
		.exclude_hv = 1,
	};
	long fd = syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		attr.exclude_kernel = 1; /* all that perf_event_paranoid 2 leaves to one's own */
		fd = syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	}
	return fd < 0 ? -errno : (int)fd;
}

static int open_perf(struct gd_access *access, pid_t tid, int *ret_fd, struct gd_error *err)
{
	const struct direct *d = (struct direct *)access;
	char path[32];
	/* The number comes from foreign memory: only a thread of the target's is sampled. */
	(void)snprintf(path, sizeof(path), "task/%d", tid);
	if (faccessat(d->proc_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return gd_fail_errno(err, -ESRCH, "thread %d", tid);
	int fd = gd_access_open_perf(tid);
	if (fd < 0)
		return gd_fail_errno(err, fd, "thread %d: perf_event_open", tid);
	*ret_fd = fd;
	return 0;
}

static int open_sampler(struct gd_access *access, const struct gd_perf_wanted *wanted,
                        struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err)
{
	struct direct *d = (struct direct *)access;
	char path[32];
	if (!gd_perf_wanted_is_sound(wanted))
		return gd_fail(err, -EINVAL, "a perf event nobody could want");
	(void)snprintf(path, sizeof(path), "task/%d", wanted->tid);
	if (wanted->tid != 0 && faccessat(d->proc_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return gd_fail_errno(err, -ESRCH, "thread %d", wanted->tid);
	/* A pid that is another's by now would have its samples. */
	if (gd_identity_ended(d->pid_fd))
		return gd_fail(err, -ESRCH, "the target has exited");
	return gd_perf_open(wanted, d->pid, &d->programs, ret, ret_fd, err);
}

static void close_direct(struct gd_access *access)
{
	struct direct *d = (struct direct *)access;
	gd_perf_programs_close(&d->programs);
	free(d);
}

static const struct gd_access_ops direct_ops = {
	.open_file = open_file,
	.read_file = read_file,
	.read_link = read_link,
	.list = list,
	.open_group = open_group,
	.open_perf = open_perf,
	.open_sampler = open_sampler,
	.close = close_direct,
};

int gd_access_direct(int proc_fd, int pid_fd, pid_t pid, uint32_t uid, struct gd_access **ret,
                     struct gd_error *err)
{
	struct direct *d = calloc(1, sizeof(*d));
	if (d == NULL)
		return gd_fail_errno(err, -ENOMEM, "pid %d", pid);
	*d = (struct direct){ .access.ops = &direct_ops, .proc_fd = proc_fd, .pid_fd = pid_fd,
		              .pid = pid, .uid = uid, .programs = GD_PERF_PROGRAMS_INIT };
	*ret = (struct gd_access *)d;
	return 0;
}

void gd_access_close(struct gd_access *access)
{
	if (access != NULL)
		access->ops->close(access);
}
