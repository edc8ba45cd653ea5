/* Opening the spool: whose directories these are, one process at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uploader/spool_state.h"

/* Made when missing; never one that somebody else could have put there or can write to. */
static int open_dir(int at_fd, const char *name, struct gd_error *err)
{
	struct stat st;
	bool made = mkdirat(at_fd, name, 0700) == 0;
	if (!made && errno != EEXIST)
		return gd_fail_errno(err, -errno, "%.150s", name);
	GD_CLOSE int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return gd_fail(err, -EPERM, "%.150s is not a directory, or a link to one; "
		                            "the spool must be a directory itself", name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return gd_fail_errno(err, -errno, "%.150s", name);
	if (st.st_uid != geteuid())
		return gd_fail(err, -EPERM, "%.150s belongs to uid %u and we are %u: whoever owns "
		                            "the spool must use it", name, st.st_uid, geteuid());
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return gd_fail(err, -EPERM, "%.150s can be written by others (mode %04o); chmod "
		                            "go-w it and look at what is in there", name,
		               st.st_mode & 07777U);
	if (made && fsync(at_fd == AT_FDCWD ? fd : at_fd) < 0 && errno != EINVAL)
		return gd_fail_errno(err, -errno, "fsync above %.150s", name);
	return gd_steal_fd(&fd);
}

/*
 * A POSIX lock, because it is the process's own: children forked for captures do not keep it when we
 * die, as they would one of flock(2).
 */
static int lock(struct gd_spool *spool, struct gd_error *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	spool->lock_fd = openat(spool->dir_fd, "lock",
	                        O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (spool->lock_fd < 0)
		return gd_fail_errno(err, -errno, "lock");
	if (fcntl(spool->lock_fd, F_SETLK, &whole) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return gd_fail_errno(err, -errno, "lock");
	if (fcntl(spool->lock_fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
		return gd_fail(err, -EBUSY, "process %d has the spool open", whole.l_pid);
	return gd_fail(err, -EBUSY, "another process has the spool open");
}

static int open_all(struct gd_spool *spool, const char *dir, struct gd_spool_recovery *recovery,
                    struct gd_error *err)
{
	if (asprintf(&spool->dir, "%s", dir) < 0 || asprintf(&spool->ready, "%s/ready", dir) < 0)
		return gd_fail_errno(err, -ENOMEM, "spool");
	spool->dir_fd = open_dir(AT_FDCWD, dir, err);
	if (spool->dir_fd < 0)
		return spool->dir_fd;
	int r = lock(spool, err);
	if (r < 0)
		return r;
	struct {
		const char *name;
		int *fd;
	} parts[] = { { "ready", &spool->ready_fd },
		      { "done", &spool->done_fd },
		      { "quarantine", &spool->quarantine_fd } };
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		*parts[i].fd = open_dir(spool->dir_fd, parts[i].name, err);
		if (*parts[i].fd < 0)
			return *parts[i].fd;
	}
	return gd_spool_recover(spool, recovery, err);
}

int gd_spool_open(const char *dir, struct gd_spool **ret, struct gd_spool_recovery *recovery,
                  struct gd_error *err)
{
	struct gd_spool *spool = calloc(1, sizeof(*spool));
	if (spool == NULL)
		return gd_fail_errno(err, -ENOMEM, "spool");
	spool->dir_fd = spool->ready_fd = spool->done_fd = spool->quarantine_fd = -1;
	spool->lock_fd = -1;
	spool->journal = GD_JOURNAL_INIT;
	struct gd_spool_recovery found = { 0 };
	int r = open_all(spool, dir, &found, err);
	if (r < 0) {
		gd_spool_close(spool);
		return gd_error_wrap(err, r, "spool %.100s", dir);
	}
	if (recovery != NULL)
		*recovery = found;
	*ret = spool;
	return 0;
}

void gd_spool_close(struct gd_spool *spool)
{
	if (spool == NULL)
		return;
	gd_journal_close(&spool->journal);
	const int fds[] = { spool->ready_fd, spool->done_fd, spool->quarantine_fd, spool->lock_fd,
		            spool->dir_fd };
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	while (spool->n_items > 0)
		gd_spool_remove(spool, &spool->items[spool->n_items - 1]);
	free(spool->items);
	free(spool->dir);
	free(spool->ready);
	free(spool);
}
