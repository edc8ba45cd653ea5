/*
 * Dirty pages by userfaultfd: a descriptor that the target opens by injection and we take over
 * makes the kernel write-protect pages for us and note who writes (WP_ASYNC, Linux 6.7): the target gets
 * no signal and waits for nobody.  We hold the only reference: when we die, all of it is undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "freeze/precopy.h"

/* Newer than Debian 12's headers (linux/userfaultfd.h of 6.7). */
#define FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC (UINT64_C(1) << 15)
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* An injection takes half a millisecond; more than this is a machine that stands. */
#define INJECT_DEADLINE_NS INT64_C(2000000000)

struct opening {
	struct gd_target *target;
	int to_parent;
	bool ask_dumpable;
};

static int send_fd(int socket, int fd, struct gd_error *err)
{
	char byte = 'u';
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
		              .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == 1
		? 0 : gd_fail_errno(err, -errno, "passing a userfaultfd on");
}

static int receive_fd(int socket, struct gd_error *err)
{
	char byte;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
		              .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n == 1 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c == NULL || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return gd_fail(err, -EIO, "the tracer passed no userfaultfd on");
	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* In the target's name: userfaultfd, then close what we have a copy of. */
static int open_there(struct gd_tracer *tracer, const struct opening *o, int *ret_fd,
                      struct gd_error *err)
{
	struct gd_inject_call make = {
		.nr = SYS_userfaultfd,
		.args = { O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY },
	};
	int r = gd_inject_call(tracer, &make, err);
	if (r < 0)
		return r;
	if (make.ret < 0)
		return gd_fail_errno(err, (int)make.ret, "the target's userfaultfd");
	int fd = (int)syscall(SYS_pidfd_getfd, o->target->fds.pid_fd, (int)make.ret, 0);
	int code = fd < 0 ? -errno : 0;
	struct gd_inject_call shut = { .nr = SYS_close, .args = { (uint64_t)make.ret } };
	r = gd_inject_call(tracer, &shut, err);
	if (r == 0 && code < 0)
		r = gd_fail_errno(err, code, "taking a userfaultfd over");
	if (r < 0) {
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int open_in_tracer(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	const struct opening *o = arg;
	GD_CLOSE int fd = -1;
	int r = gd_stop_seize(tracer, true, err);
	if (r == 0)
		r = gd_inject_begin(tracer, err);
	if (r == 0) {
		r = o->ask_dumpable ? gd_inject_ask_dumpable(tracer, err) : 0;
		if (r == 0)
			r = open_there(tracer, o, &fd, err);
		int end = gd_inject_end(tracer, r == 0 ? err : NULL);
		r = r < 0 ? r : end;
	}
	gd_stop_detach(tracer);
	return r < 0 ? r : send_fd(o->to_parent, fd, err);
}

static int open_uffd(struct gd_freeze_work *work, struct gd_error *err)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return gd_fail_errno(err, -errno, "socketpair");
	struct opening opening = { work->target, ends[1], gd_freeze_asks_dumpable(work) };
	struct gd_stop_report report = { .left_fd = -1 };
	struct gd_stop_job job = {
		.target = work->target,
		.run = open_in_tracer,
		.arg = &opening,
		.deadline_ns = INJECT_DEADLINE_NS,
		.stop_deadline_ns = work->options->max_pause_ns,
		.keep = &ends[1],
		.n_keep = 1,
	};
	int r = gd_stop_run(&job, &report, err);
	if (r == 0)
		r = receive_fd(ends[0], err);
	struct gd_error why = { 0 };
	if (report.left_fd >= 0 && gd_freeze_close_left(work->target, report.left_fd, &why) < 0)
		gd_freeze_note(work->result, "a userfaultfd was left open in the target: %s",
		               why.msg);
	else if (report.left_fd == GD_STOP_FD_UNKNOWN)
		gd_freeze_note(work->result, "a userfaultfd may have been left open in the target");
	(void)close(ends[0]);
	(void)close(ends[1]);
	return r;
}

static int protect(struct gd_freeze_work *work, int fd, struct gd_error *err)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	if (ioctl(fd, UFFDIO_API, &api) != 0)
		return gd_fail_errno(err, errno == EINVAL ? -ENOTSUP : -errno,
		                     "userfaultfd: write-protection without waiting");
	struct gd_wanted *w = &work->wanted;
	w->n_tracked = 0;
	for (size_t i = 0; i < w->maps.n; i++) {
		const struct gd_map *map = &w->maps.list[i];
		const struct gd_wanted_range *skip = gd_wanted_find(w->skip, w->n_skip, map->start);
		bool whole = skip != NULL && skip->start <= map->start && skip->end >= map->end;
		struct uffdio_register range = {
			.range = { map->start, map->end - map->start },
			.mode = UFFDIO_REGISTER_MODE_WP,
		};
		/* What cannot be protected counts as written, and is read in the stop. */
		if (!map->shared && !whole && strncmp(map->path, "[v", 2) != 0 &&
		    ioctl(fd, UFFDIO_REGISTER, &range) == 0)
			w->tracked[w->n_tracked++] =
				(struct gd_wanted_range){ map->start, map->end, GD_IMAGE_KEPT };
	}
	if (w->n_tracked == 0)
		return gd_fail(err, -ENOTSUP, "userfaultfd: none of its mappings can be "
		               "write-protected");
	return 0;
}

int gd_freeze_precopy_uffd(struct gd_freeze_work *work, struct gd_error *err)
{
	static const struct gd_precopy_tracker tracker = {
		.name = "uffd",
		.dirty = GD_PAGE_WRITTEN,
		.ask = GD_PAGEMAP_PROTECT,
		.max_rounds = 12,
	};
	if (!work->pagemap.scan)
		return gd_fail(err, -ENOTSUP, "this kernel has no PAGEMAP_SCAN");
	GD_CLOSE int fd = open_uffd(work, err);
	if (fd < 0)
		return fd;
	int r = protect(work, fd, err);
	return r < 0 ? r : gd_precopy_run(work, &tracker, err);
}
