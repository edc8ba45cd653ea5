#include "agent/hook_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* What the kernel queues when thousands knock at once; it cuts it to net.core.somaxconn. */
#define BACKLOG 4096
#define UNIX "unix:"

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

static bool is_loopback(const union address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohl(address->in.sin_addr.s_addr) >> 24 == 127;
	return address->any.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
}

/* "HOST:PORT" with numbers only: no name is looked up. */
static int parse_tcp(const char *text, union address *ret, socklen_t *ret_len,
                     struct gd_error *err)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	const char *end;
	uint64_t port;
	if (colon == NULL || !gd_text_u64(colon + 1, &end, 10, &port) || *end != '\0' ||
	    port > 65535 || (size_t)(colon - text) >= sizeof(host))
		return gd_fail(err, -EINVAL,
		               "%s: wants unix:/PATH, 127.0.0.1:PORT or [::1]:PORT", text);
	bool six = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - (six ? 2 : 0),
	               text + (six ? 1 : 0));
	*ret = (union address){ .storage = { .ss_family = AF_UNSPEC } };
	if (six && inet_pton(AF_INET6, host, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(ret->in6);
	} else if (!six && inet_pton(AF_INET, host, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons((uint16_t)port);
		*ret_len = sizeof(ret->in);
	} else {
		return gd_fail(err, -EINVAL,
		               "%s: wants unix:/PATH, 127.0.0.1:PORT or [::1]:PORT", text);
	}
	if (!is_loopback(ret))
		return gd_fail(err, -EPERM,
		               "%s: not a loopback address; put a proxy that speaks TLS in front",
		               text);
	return 0;
}

/* A socket file that nobody listens at any more is only in the way. */
static int clear_path(const char *path, const union address *address, socklen_t len,
                      struct gd_error *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return 0; /* bind says what is wrong with the rest of it */
	if (!S_ISSOCK(st.st_mode))
		return gd_fail(err, -EEXIST, "%s: there is something that is no socket", path);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	if (connect(fd, &address->any, len) == 0 || errno == EAGAIN)
		return gd_fail(err, -EADDRINUSE, "%s: somebody listens there already", path);
	if (errno == ECONNREFUSED && unlink(path) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	return 0;
}

static int open_unix(const char *path, struct gd_error *err)
{
	union address address = { .un = { .sun_family = AF_UNIX } };
	size_t n = strlen(path);
	if (path[0] != '/' || n >= sizeof(address.un.sun_path))
		return gd_fail(err, -EINVAL, UNIX "%s: wants an absolute path of at most %zu bytes",
		               path, sizeof(address.un.sun_path) - 1);
	memcpy(address.un.sun_path, path, n + 1);
	int r = clear_path(path, &address, sizeof(address.un), err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	mode_t mask = umask(0117);
	r = bind(fd, &address.any, sizeof(address.un)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return gd_fail_errno(err, r, "%s", path);
	if (listen(fd, BACKLOG) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	return gd_steal_fd(&fd);
}

static int open_tcp(const char *text, struct gd_error *err)
{
	union address address = { .storage = { .ss_family = AF_UNSPEC } };
	socklen_t len = 0;
	int one = 1;
	int r = parse_tcp(text, &address, &len, err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = socket(address.any.sa_family,
	                         SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0)
		return gd_fail_errno(err, -errno, "%s", text);
	return gd_steal_fd(&fd);
}

int gd_hook_listen_open(const char *text, bool *ret_tcp, struct gd_error *err)
{
	bool tcp = strncmp(text, UNIX, strlen(UNIX)) != 0;
	int fd = tcp ? open_tcp(text, err) : open_unix(text + strlen(UNIX), err);
	if (fd >= 0)
		*ret_tcp = tcp;
	return fd;
}

int gd_hook_listen_adopt(int fd, bool *ret_tcp, struct gd_error *err)
{
	union address address = { .storage = { .ss_family = AF_UNSPEC } };
	socklen_t len = sizeof(address);
	int listening = 0;
	socklen_t listening_len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) < 0 ||
	    listening == 0 || getsockname(fd, &address.any, &len) < 0)
		return gd_fail(err, -EINVAL, "descriptor %d: not a listening socket", fd);
	if (address.any.sa_family != AF_UNIX && !is_loopback(&address))
		return gd_fail(err, -EPERM, "descriptor %d: listens beyond loopback", fd);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "descriptor %d", fd);
	*ret_tcp = address.any.sa_family != AF_UNIX;
	return fd;
}

void gd_hook_listen_forget(const char *text)
{
	if (strncmp(text, UNIX, strlen(UNIX)) == 0)
		(void)unlink(text + strlen(UNIX));
}
