#include "agent/loop.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

int gd_loop_init(struct gd_loop *loop, struct gd_error *err)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "epoll_create1");
	loop->epoll_fd = fd;
	return 0;
}

void gd_loop_deinit(struct gd_loop *loop)
{
	if (loop->epoll_fd >= 0)
		(void)close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

int gd_loop_add(struct gd_loop *loop, struct gd_loop_source *source, struct gd_error *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return gd_fail_errno(err, -errno, "epoll_ctl");
	return 0;
}

void gd_loop_remove(struct gd_loop *loop, const struct gd_loop_source *source)
{
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
}

int gd_loop_turn(struct gd_loop *loop, struct gd_error *err)
{
	/* One event per call: a handler may remove any other source, so no second one is kept. */
	struct epoll_event event;
	int n = epoll_wait(loop->epoll_fd, &event, 1, -1);
	if (n < 0 && errno != EINTR)
		return gd_fail_errno(err, -errno, "epoll_wait");
	if (n == 1) {
		const struct gd_loop_source *source = event.data.ptr;
		source->ready(source->arg);
	}
	return 0;
}

static void give_to_group(const char *path, const char *name)
{
	const struct group *group = getgrnam(name);
	if (group != NULL)
		(void)!chown(path, (uid_t)-1, group->gr_gid);
}

int gd_loop_listen(const char *path, const char *group, struct gd_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path))
		return gd_fail(err, -ENAMETOOLONG, "%s: longer than %zu bytes", path,
		               sizeof(address.sun_path) - 1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	(void)unlink(path);
	/* Born closed to others: between bind and chmod nobody else can connect. */
	mode_t mask = umask(0177);
	int r = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	int code = -errno;
	(void)umask(mask);
	if (r < 0)
		return gd_fail_errno(err, code, "%s", path);
	give_to_group(path, group);
	if (chmod(path, 0660) < 0 || listen(fd, 64) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	return gd_steal_fd(&fd);
}

int gd_loop_accept(int listen_fd, uint32_t *ret_uid, int32_t *ret_pid, struct gd_error *err)
{
	GD_CLOSE int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "accept");
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return gd_fail_errno(err, -errno, "SO_PEERCRED");
	*ret_uid = peer.uid;
	*ret_pid = peer.pid;
	return gd_steal_fd(&fd);
}
