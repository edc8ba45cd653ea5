#include "target/target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/identity.h"

#define PF_KTHREAD_FLAG 0x00200000u

/* About 600,000 mappings; the text is freed as soon as it is parsed. */
#define MAPS_TEXT_MAX (64u << 20)

static int open_member(struct gd_target *target, const char *name, int *ret, struct gd_error *err)
{
	char path[sizeof(target->via) + 8];
	(void)snprintf(path, sizeof(path), "%s%s", target->via, name);
	/* Of exe the kernel resolves the link itself, to the very file, deleted or not and in
	 * whatever mount namespace: no path of the target's is ever walked. */
	int fd = openat(target->fds.proc_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return gd_access_explain(target->pid, target->uid, name, -errno, err);
	*ret = fd;
	return 0;
}

/* The main thread has exited, the process has not: finds a thread that still has its memory. */
static void find_stand_in(struct gd_target *target)
{
	GD_FREE pid_t *tids = NULL;
	size_t n;
	if (gd_target_threads(target, &tids, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char path[40];
		GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
		struct gd_stat stat;
		(void)snprintf(path, sizeof(path), "task/%d/stat", tids[i]);
		if (gd_target_read_file(target, path, &text, NULL) < 0 ||
		    gd_stat_parse(text.data, text.len, &stat, NULL) < 0 || stat.state == 'Z' ||
		    stat.state == 'X')
			continue;
		(void)snprintf(target->via, sizeof(target->via), "task/%d/", tids[i]);
		return;
	}
}

static int read_identity(struct gd_target *target, pid_t pid, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat = { 0 };
	int r = gd_target_read_file(target, "stat", &text, err);
	if (r == 0)
		r = gd_stat_parse(text.data, text.len, &stat, err);
	if (r < 0)
		return gd_error_wrap(err, r, "pid %d", pid);
	if (stat.pid != pid)
		return gd_fail(err, -EINVAL, "pid %d: the descriptors are of pid %d", pid,
		               stat.pid);
	target->start_ticks = stat.start_ticks;
	memcpy(target->comm, stat.comm, sizeof(target->comm) - 1);
	target->kernel_thread = (stat.flags & PF_KTHREAD_FLAG) != 0;
	target->zombie = gd_identity_ended(target->fds.pid_fd);
	if (stat.state == 'Z' && !target->zombie)
		find_stand_in(target);
	return 0;
}

/* True when there is nothing to open; says why in all three errors. */
static bool has_no_memory(struct gd_target *target)
{
	if (target->kernel_thread)
		(void)gd_fail(&target->mem_error, -EFAULT, "pid %d: a kernel thread: it has no "
		              "memory and no executable of its own", target->pid);
	else if (target->zombie)
		(void)gd_fail(&target->mem_error, -ESRCH, "pid %d: a zombie: it has exited and "
		              "waits for its parent to notice", target->pid);
	else
		return false;
	target->exe_error = target->mem_error;
	target->maps_error = target->mem_error;
	return true;
}

static void forget_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Makes the parts of a target that may be missing from its descriptors. */
static int finish(struct gd_target *target, struct gd_error *err)
{
	if (has_no_memory(target)) {
		forget_fd(&target->fds.mem_fd);
		forget_fd(&target->fds.exe_fd);
		return 0;
	}
	(void)gd_target_refresh_maps(target, &target->maps_error);
	if (target->fds.proc_fd >= 0)
		target->exec_mark = gd_identity_exec_mark(target->fds.proc_fd, target->via);
	if (target->fds.mem_fd < 0)
		return 0;
	return gd_memory_live(target->fds.mem_fd, &target->memory, err);
}

/* Takes over the descriptors and, when there is one, the access; also on failure. */
static int new_target(pid_t pid, const struct gd_target_fds *fds, struct gd_access *access,
                      uint32_t uid, struct gd_target **ret, struct gd_error *err)
{
	struct gd_target *target = calloc(1, sizeof(*target));
	if (target == NULL) {
		struct gd_target_fds owned = *fds;
		forget_fd(&owned.pid_fd);
		forget_fd(&owned.proc_fd);
		forget_fd(&owned.mem_fd);
		forget_fd(&owned.exe_fd);
		gd_access_close(access);
		return gd_fail_errno(err, -ENOMEM, "pid %d", pid);
	}
	struct stat owner;
	target->pid = pid;
	target->fds = *fds;
	target->access = access;
	target->uid = uid;
	if (fds->proc_fd >= 0 && fstat(fds->proc_fd, &owner) == 0)
		target->uid = owner.st_uid;
	int r = 0;
	if (access == NULL)
		r = gd_access_direct(fds->proc_fd, fds->pid_fd, pid, target->uid, &target->access,
		                     err);
	if (r < 0) {
		gd_target_close(target);
		return r;
	}
	*ret = target;
	return 0;
}

static int open_identity(pid_t pid, struct gd_target **ret, struct gd_error *err)
{
	struct gd_target_fds fds = { -1, -1, -1, -1 };
	int r = gd_identity_open(pid, &fds.pid_fd, &fds.proc_fd, err);
	if (r < 0)
		return r;
	GD_TARGET struct gd_target *target = NULL;
	r = new_target(pid, &fds, NULL, 0, &target, err);
	if (r < 0)
		return r;
	r = read_identity(target, pid, err);
	if (r < 0)
		return r;
	if (!has_no_memory(target)) {
		/* Memory first: what is read afterwards is checked against this address space. */
		(void)open_member(target, "mem", &target->fds.mem_fd, &target->mem_error);
		(void)open_member(target, "exe", &target->fds.exe_fd, &target->exe_error);
	}
	*ret = gd_steal_ptr(&target);
	return 0;
}

int gd_target_open_unread(pid_t pid, struct gd_target **ret, struct gd_error *err)
{
	struct gd_target *target = NULL;
	int r = open_identity(pid, &target, err);
	if (r < 0)
		return r;
	target->exec_mark = gd_identity_exec_mark(target->fds.proc_fd, target->via);
	*ret = target;
	return 0;
}

int gd_target_open(pid_t pid, struct gd_target **ret, struct gd_error *err)
{
	GD_TARGET struct gd_target *target = NULL;
	int r = open_identity(pid, &target, err);
	if (r == 0)
		r = finish(target, err);
	if (r < 0)
		return r;
	*ret = gd_steal_ptr(&target);
	return 0;
}

int gd_target_open_access(const struct gd_target_fds *fds, struct gd_access *access, pid_t pid,
                          uint32_t uid, struct gd_target **ret, struct gd_error *err)
{
	GD_TARGET struct gd_target *target = NULL;
	int r = new_target(pid, fds, access, uid, &target, err);
	if (r == 0)
		r = read_identity(target, pid, err);
	if (r < 0)
		return r;
	if (fds->mem_fd < 0)
		(void)gd_fail(&target->mem_error, -EACCES, "pid %d: mem: no descriptor was "
		              "passed", pid);
	if (fds->exe_fd < 0)
		(void)gd_fail(&target->exe_error, -EACCES, "pid %d: exe: no descriptor was "
		              "passed", pid);
	r = finish(target, err);
	if (r < 0)
		return r;
	*ret = gd_steal_ptr(&target);
	return 0;
}

int gd_target_open_fds(const struct gd_target_fds *fds, pid_t pid, struct gd_target **ret,
                       struct gd_error *err)
{
	return gd_target_open_access(fds, NULL, pid, 0, ret, err);
}

void gd_target_close(struct gd_target *target)
{
	if (target == NULL)
		return;
	gd_memory_close(target->memory);
	gd_maps_deinit(&target->maps);
	gd_access_close(target->access);
	forget_fd(&target->fds.exe_fd);
	forget_fd(&target->fds.mem_fd);
	forget_fd(&target->fds.proc_fd);
	forget_fd(&target->fds.pid_fd);
	free(target);
}

int gd_target_check(struct gd_target *target, struct gd_error *err)
{
	int r = gd_identity_check(&target->fds, target->via, target->exec_mark, err);
	return r < 0 ? gd_error_wrap(err, r, "pid %d", target->pid) : 0;
}

int gd_target_open_file(struct gd_target *target, const char *path, int *ret_fd,
                        struct gd_error *err)
{
	return target->access->ops->open_file(target->access, path, ret_fd, err);
}

int gd_target_read_file(struct gd_target *target, const char *path, struct gd_buf *buf,
                        struct gd_error *err)
{
	return target->access->ops->read_file(target->access, path, buf, err);
}

ssize_t gd_target_read_link(struct gd_target *target, const char *path, char *to, size_t size,
                            struct gd_error *err)
{
	return target->access->ops->read_link(target->access, path, to, size, err);
}

int gd_target_refresh_maps(struct gd_target *target, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(MAPS_TEXT_MAX);
	char path[sizeof(target->via) + 8];
	(void)snprintf(path, sizeof(path), "%smaps", target->via);
	int r = gd_target_read_file(target, path, &text, err);
	if (r < 0)
		return r;
	struct gd_maps maps;
	r = gd_maps_parse(text.data, text.len, &maps, err);
	if (r < 0)
		return r;
	gd_maps_deinit(&target->maps);
	target->maps = maps;
	target->maps_error = (struct gd_error){ 0 };
	return 0;
}
