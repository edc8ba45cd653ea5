#include "target/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define PF_EXITING_FLAG 0x4u /* PF_EXITING of <linux/sched.h>, which is not exported */

/* glibc has a wrapper from 2.36 on; the number is the same on every architecture. */
static int pidfd_open_raw(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* The Pid: line of our own fdinfo: the number the pidfd's process still holds, -1 once reaped. */
static int pid_of_pidfd(int pid_fd, pid_t *ret)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pid_fd);
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	int r = gd_io_read_file_at(AT_FDCWD, path, &text, NULL);
	if (r < 0)
		return r;
	const char *line = strstr(gd_buf_str(&text), "\nPid:");
	if (line == NULL)
		return -EBADMSG;
	*ret = (pid_t)strtol(line + strlen("\nPid:"), NULL, 10);
	return 0;
}

static int no_such_process(pid_t pid, struct gd_error *err)
{
	return gd_fail(err, -ESRCH, "pid %d: no such process", pid);
}

static int open_pid_fd(pid_t pid, int *ret, struct gd_error *err)
{
	if (pid <= 0)
		return no_such_process(pid, err);
	int fd = pidfd_open_raw(pid);
	if (fd >= 0) {
		*ret = fd;
		return 0;
	}
	int code = -errno;
	if (code == -ESRCH)
		return no_such_process(pid, err);
	/* -EINVAL up to 6.15, -ENOENT later: the number of a thread. */
	if (code == -EINVAL || code == -ENOENT)
		return gd_fail(err, -EINVAL, "pid %d: a thread of another process; "
		               "name the process (Tgid in /proc/%d/status)", pid, pid);
	return gd_fail_errno(err, code, "pid %d: pidfd_open", pid);
}

int gd_identity_open(pid_t pid, int *ret_pid_fd, int *ret_proc_fd, struct gd_error *err)
{
	GD_CLOSE int pid_fd = -1;
	int r = open_pid_fd(pid, &pid_fd, err);
	if (r < 0)
		return r;

	char path[32];
	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	GD_CLOSE int proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int open_errno = errno;

	/*
	 * Asked after the open: a pid that its process still holds (a zombie holds it too) was not
	 * reused before, so the directory is that process's.  It also catches a /proc of another
	 * pid namespace than ours, where the numbers differ.
	 */
	pid_t holds;
	r = pid_of_pidfd(pid_fd, &holds);
	if (r < 0)
		return gd_fail_errno(err, r, "pid %d: /proc/self/fdinfo", pid);
	if (holds == -1)
		return no_such_process(pid, err);
	if (holds != pid)
		return gd_fail(err, -ENOTSUP, "pid %d: is %d in the pid namespace of /proc; "
		               "mount a /proc of our own namespace", pid, holds);
	if (proc_fd < 0 && open_errno == ENOENT)
		return gd_fail(err, -EACCES, "pid %d: exists, but /proc hides it (hidepid); "
		               "run as root", pid);
	if (proc_fd < 0)
		return gd_fail_errno(err, -open_errno, "%s", path);

	*ret_pid_fd = gd_steal_fd(&pid_fd);
	*ret_proc_fd = gd_steal_fd(&proc_fd);
	return 0;
}

bool gd_identity_ended(int pid_fd)
{
	/* Readable from when the last thread has exited; the leader alone exiting does not count. */
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };
	int r;
	do {
		r = poll(&p, 1, 0);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

uint64_t gd_identity_exec_mark(int proc_fd, const char *via)
{
	/* auxv is written by execve and by nothing else but checkpoint/restore; with address space
	 * randomisation AT_RANDOM alone makes it differ between two runs of one program. */
	GD_BUF struct gd_buf auxv = GD_BUF_INIT(4096);
	char path[40];
	(void)snprintf(path, sizeof(path), "%sauxv", via);
	if (gd_io_read_file_at(proc_fd, path, &auxv, NULL) < 0 || auxv.len == 0)
		return 0;
	uint64_t mark = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < auxv.len; i++)
		mark = (mark ^ (unsigned char)auxv.data[i]) * UINT64_C(0x100000001b3);
	return mark != 0 ? mark : 1;
}

/*
 * The address space our mem descriptor was opened on has no users any more.  A read of 0 bytes says
 * just that: an unmapped address of a living one is EIO.
 */
static bool memory_abandoned(int mem_fd)
{
	char byte;
	ssize_t n;
	do {
		n = pread(mem_fd, &byte, 1, 0x1000);
	} while (n < 0 && errno == EINTR);
	return n == 0;
}

/* Between dropping its memory and becoming a zombie: no longer alive, not yet readable by poll. */
static bool is_exiting(int proc_fd)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat;
	if (gd_io_read_file_at(proc_fd, "stat", &text, NULL) < 0 ||
	    gd_stat_parse(text.data, text.len, &stat, NULL) < 0)
		return true;
	return (stat.flags & PF_EXITING_FLAG) != 0 || stat.state == 'Z' || stat.state == 'X';
}

int gd_identity_check(const struct gd_target_fds *fds, const char *via, uint64_t exec_mark,
                      struct gd_error *err)
{
	if (gd_identity_ended(fds->pid_fd))
		return gd_fail(err, -ESRCH, "the target has exited");
	/*
	 * Two signs of an execve, because each has a blind spot.  The old address space dying is
	 * certain and cannot be forged, but a vfork child shares its parent's, which lives on after
	 * the child's execve.  The auxiliary vector changes there too, but is a guess when address
	 * space randomisation is off.  Comm, executable and start of maps may all stay the same
	 * when a program executes itself, so they prove nothing and are not asked.
	 */
	bool abandoned = fds->mem_fd >= 0 && memory_abandoned(fds->mem_fd);
	uint64_t mark = exec_mark;
	if (exec_mark != 0 && !abandoned)
		mark = gd_identity_exec_mark(fds->proc_fd, via);
	if (!abandoned && mark == exec_mark)
		return 0;
	if (gd_identity_ended(fds->pid_fd) || is_exiting(fds->proc_fd))
		return gd_fail(err, -ESRCH, "the target has exited");
	/* No vector to read although it runs: its rights changed under us, not its program. */
	if (!abandoned && mark == 0)
		return 0;
	return gd_fail(err, -ESTALE, "the target has called execve: it is another program now");
}
