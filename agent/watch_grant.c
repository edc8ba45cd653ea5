#include "agent/watch_grant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "agent/watch_find.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"
#include "target/identity.h"
#include "target/sockets.h"
#include "target/target.h"

#define TIDS_MAX 16384

/* /proc/PID of exactly that process.  What is opened through it later cannot be another's. */
static int open_process(const struct gd_watch_who *who, int *ret_proc_fd, struct gd_stat *ret_stat,
                        struct gd_error *err)
{
	GD_CLOSE int pid_fd = -1;
	GD_CLOSE int proc_fd = -1;
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat;
	int r = gd_identity_open(who->pid, &pid_fd, &proc_fd, err);
	if (r == 0)
		r = gd_io_read_file_at(proc_fd, "stat", &text, err);
	if (r == 0)
		r = gd_stat_parse(text.data, text.len, &stat, err);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	if (stat.start_ticks != who->start_ticks)
		return gd_fail(err, -ESRCH, "pid %d is another process now", who->pid);
	*ret_proc_fd = gd_steal_fd(&proc_fd);
	*ret_stat = stat;
	return 0;
}

/* Our own memory is nobody's business: the agent's processes all run one program. */
static bool is_our_program(int proc_fd)
{
	struct stat theirs;
	struct stat ours;
	return fstatat(proc_fd, "exe", &theirs, 0) == 0 && stat("/proc/self/exe", &ours) == 0 &&
	       theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

static int open_strange(const struct gd_watch_who *who, int *ret_proc_fd, struct gd_error *err)
{
	GD_CLOSE int proc_fd = -1;
	struct gd_stat stat;
	int r = open_process(who, &proc_fd, &stat, err);
	if (r < 0)
		return r;
	if ((stat.flags & 0x00200000u) != 0)
		return gd_fail(err, -EPERM, "pid %d is a kernel thread", who->pid);
	if (is_our_program(proc_fd))
		return gd_fail(err, -EPERM, "pid %d is one of us", who->pid);
	*ret_proc_fd = gd_steal_fd(&proc_fd);
	return 0;
}

int gd_watch_grant_found(const struct gd_watch_who *who, struct gd_error *err)
{
	GD_CLOSE int proc_fd = -1;
	return open_strange(who, &proc_fd, err);
}

void gd_watch_grant_exe(const struct gd_watch_who *who, struct gd_watch_exe *ret)
{
	GD_CLOSE int proc_fd = -1;
	struct gd_stat stat;
	ret->len = 0;
	ret->code = open_process(who, &proc_fd, &stat, NULL);
	if (ret->code < 0)
		return;
	ssize_t n = readlinkat(proc_fd, "exe", ret->path, sizeof(ret->path));
	if (n < 0)
		ret->code = -errno;
	else if ((size_t)n == sizeof(ret->path))
		ret->code = -E2BIG;
	else
		ret->len = (uint32_t)n;
}

void gd_watch_grant_sockets(const struct gd_watch_who *who, struct gd_watch_sockets *ret)
{
	GD_CLOSE int proc_fd = -1;
	struct gd_stat stat;
	uint64_t n_fds = 0;
	ret->n = 0;
	ret->n_fds = 0;
	ret->code = open_process(who, &proc_fd, &stat, NULL);
	if (ret->code < 0)
		return;
	ssize_t n = gd_sockets_read(proc_fd, ret->inodes, GD_WATCH_SOCKETS_MAX, &n_fds, NULL);
	if (n < 0) {
		ret->code = (int)n;
		return;
	}
	ret->n = (uint32_t)n;
	ret->n_fds = n_fds;
}

/* Numbers below task/; how many, 0 when there is no knowing. */
static size_t list_threads(int proc_fd, pid_t *to, size_t max)
{
	GD_CLOSE int dir_fd = openat(proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *dir = dir_fd >= 0 ? fdopendir(dir_fd) : NULL;
	if (dir == NULL)
		return 0;
	dir_fd = -1;
	size_t n = 0;
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		uint64_t tid;
		if (!gd_text_u64(entry->d_name, NULL, 10, &tid) || tid > INT32_MAX)
			continue;
		if (n == max)
			return 0; /* half a list would call the other half wrong */
		to[n++] = (pid_t)tid;
	}
	return n;
}

void gd_watch_grant_reap(struct gd_watch_finder *finder, bool end)
{
	if (finder->pid == 0)
		return;
	if (end)
		(void)syscall(SYS_pidfd_send_signal, finder->pid_fd, SIGKILL, NULL, 0);
	pid_t r;
	do {
		r = waitpid(finder->pid, NULL, end ? 0 : WNOHANG);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return;
	(void)close(finder->pid_fd);
	*finder = (struct gd_watch_finder){ .pid_fd = -1 };
}

static int start_finder(int proc_fd, int mem_fd, int to_fd, struct gd_watch_finder *finder,
                        struct gd_error *err)
{
	GD_CLOSE int maps_fd = openat(proc_fd, "maps", O_RDONLY | O_CLOEXEC);
	if (maps_fd < 0)
		return gd_fail_errno(err, -errno, "maps");
	GD_FREE pid_t *tids = malloc(TIDS_MAX * sizeof(*tids));
	if (tids == NULL)
		return gd_fail_errno(err, -ENOMEM, "threads");
	struct gd_watch_find find = {
		.mem_fd = mem_fd,
		.maps_fd = maps_fd,
		.to_fd = to_fd,
		.tids = tids,
		.n_tids = list_threads(proc_fd, tids, TIDS_MAX),
	};
	const int keep[] = { mem_fd, maps_fd, to_fd };
	return gd_role_fork(GD_ROLE_PARSER, keep, 3, gd_watch_find_run, &find, &finder->pid,
	                    &finder->pid_fd, err);
}

int gd_watch_grant_memory(const struct gd_watch_who *who, struct gd_watch_finder *finder,
                          int *ret_mem_fd, int *ret_runtime_fd, struct gd_error *err)
{
	GD_CLOSE int proc_fd = -1;
	int pair[2];
	int r = open_strange(who, &proc_fd, err);
	if (r < 0)
		return r;
	GD_CLOSE int mem_fd = openat(proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (mem_fd < 0)
		return gd_fail_errno(err, -errno, "its memory may not be read");
	gd_watch_grant_reap(finder, true);
	r = gd_message_pair(pair, err);
	if (r < 0)
		return r;
	r = start_finder(proc_fd, mem_fd, pair[1], finder, err);
	(void)close(pair[1]);
	if (r < 0) {
		(void)close(pair[0]);
		return r;
	}
	*ret_mem_fd = gd_steal_fd(&mem_fd);
	*ret_runtime_fd = pair[0];
	return 0;
}
