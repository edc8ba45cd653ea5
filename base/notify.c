#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define LISTEN_FDS_MAX 16

int gd_notify_open(struct gd_error *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (path == NULL || path[0] == '\0')
		return gd_fail(err, -ENOENT, "$NOTIFY_SOCKET is not set");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path))
		return gd_fail(err, -EINVAL, "$NOTIFY_SOCKET is neither a path nor an @name");
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket for $NOTIFY_SOCKET");
	/* An abstract name ends where the length says, without a NUL. */
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
	                             (path[0] == '/' ? 1 : 0));
	if (connect(fd, (const struct sockaddr *)&address, size) < 0)
		return gd_fail_errno(err, -errno, "$NOTIFY_SOCKET");
	return gd_steal_fd(&fd);
}

int gd_notify_send_to(int fd, const char *text, struct gd_error *err)
{
	ssize_t n;
	do
		n = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? gd_fail_errno(err, -errno, "telling the service manager") : 1;
}

int gd_notify_send(const char *text, struct gd_error *err)
{
	struct gd_error ours = { 0 };
	GD_CLOSE int fd = gd_notify_open(&ours);
	if (fd == -ENOENT && getenv("NOTIFY_SOCKET") == NULL)
		return 0;
	if (fd < 0)
		return gd_fail(err, fd, "%s", ours.msg);
	return gd_notify_send_to(fd, text, err);
}

/* Variables for a process name it, so that its children do not take them for theirs. */
static bool is_for_us(const char *name)
{
	const char *text = getenv(name);
	const char *end;
	uint64_t pid;
	return text != NULL && gd_text_u64(text, &end, 10, &pid) && *end == '\0' &&
	       pid == (uint64_t)getpid();
}

uint64_t gd_notify_watchdog_ns(void)
{
	const char *text = getenv("WATCHDOG_USEC");
	const char *end;
	uint64_t usec;
	uint64_t ns;
	if (text == NULL || !gd_text_u64(text, &end, 10, &usec) || *end != '\0' ||
	    __builtin_mul_overflow(usec, UINT64_C(500), &ns))
		return 0;
	return getenv("WATCHDOG_PID") == NULL || is_for_us("WATCHDOG_PID") ? ns : 0;
}

int gd_notify_listen_fds(void)
{
	const char *text = getenv("LISTEN_FDS");
	const char *end;
	uint64_t n;
	if (!is_for_us("LISTEN_PID") || text == NULL || !gd_text_u64(text, &end, 10, &n) ||
	    *end != '\0' || n > LISTEN_FDS_MAX)
		return 0;
	for (int i = 0; i < (int)n; i++)
		(void)fcntl(GD_NOTIFY_LISTEN_FD + i, F_SETFD, FD_CLOEXEC);
	return (int)n;
}
