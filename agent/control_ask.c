#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"

int gd_control_connect(const char *path, int *ret_fd, struct gd_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path))
		return gd_fail(err, -ENAMETOOLONG, "%s: longer than %zu bytes", path,
		               sizeof(address.sun_path) - 1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = -errno;
		if (code == -ENOENT || code == -ECONNREFUSED)
			return gd_fail(err, code, "no agent listens at %s; start godiagd", path);
		if (code == -EACCES)
			return gd_fail(err, code, "%s: not permitted; become root or a member of "
			               "the group \"godiag\"", path);
		return gd_fail_errno(err, code, "%s", path);
	}
	*ret_fd = gd_steal_fd(&fd);
	return 0;
}

/* The next record, which must be of `size` bytes (0: none) if its type is `type`. */
static int receive(int fd, struct gd_message *m, void *body, size_t size, struct gd_error *err)
{
	int r = gd_message_recv(fd, m, body, size, err);
	if (r == 0)
		return gd_fail(err, -EPIPE, "the agent hung up");
	return r < 0 ? r : 0;
}

int gd_control_ask_status(int fd, struct gd_buf *ret, struct gd_error *err)
{
	GD_MESSAGE struct gd_message m = { 0 };
	int r = gd_message_send(fd, GD_CONTROL_STATUS, 1, NULL, 0, NULL, 0, err);
	if (r == 0)
		r = receive(fd, &m, NULL, 0, err);
	if (r < 0)
		return r;
	if (m.type != GD_CONTROL_TEXT || m.n_fds != 1)
		return gd_fail(err, -EBADMSG, "the agent answered something else");
	return gd_io_read_all(m.fds[0], ret, err);
}

int gd_control_ask(int fd, enum gd_control_type type, const void *body, size_t len, char text[248],
                   struct gd_error *err)
{
	struct gd_control_done done;
	GD_MESSAGE struct gd_message m = { 0 };
	int r = gd_message_send(fd, (uint16_t)type, 1, body, len, NULL, 0, err);
	if (r == 0)
		r = receive(fd, &m, &done, sizeof(done), err);
	if (r == 0)
		r = gd_message_body(&m, sizeof(done), err);
	if (r < 0)
		return r;
	done.text[sizeof(done.text) - 1] = '\0';
	if (done.code < 0)
		return gd_fail(err, done.code, "%.240s", done.text);
	memcpy(text, done.text, sizeof(done.text));
	return 0;
}

int gd_control_ask_capture(int fd, const struct gd_control_capture *request,
                           struct gd_control_verdict *verdict, struct gd_control_ended *ended,
                           struct gd_error *err)
{
	union {
		struct gd_control_verdict verdict;
		struct gd_control_ended ended;
	} body;
	GD_MESSAGE struct gd_message m = { 0 };
	int r = gd_message_send(fd, GD_CONTROL_CAPTURE, 1, request, sizeof(*request), NULL, 0, err);
	if (r == 0)
		r = receive(fd, &m, &body, sizeof(body), err);
	if (r == 0)
		r = gd_message_body(&m, sizeof(body.verdict), err);
	if (r < 0)
		return r;
	body.verdict.id[sizeof(body.verdict.id) - 1] = '\0';
	body.verdict.why[sizeof(body.verdict.why) - 1] = '\0';
	*verdict = body.verdict;
	if (m.type == GD_CONTROL_REFUSED)
		return 1;
	r = receive(fd, &m, &body, sizeof(body), err);
	if (r == 0)
		r = gd_message_body(&m, sizeof(body.ended), err);
	if (r < 0)
		return r;
	*ended = body.ended;
	ended->path[sizeof(ended->path) - 1] = '\0';
	ended->digest[sizeof(ended->digest) - 1] = '\0';
	ended->error[sizeof(ended->error) - 1] = '\0';
	return 0;
}
