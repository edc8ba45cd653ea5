#include "base/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x67644d31u /* "1Mdg" */

struct head {
	uint32_t magic;
	uint32_t seq;
	uint16_t type;
	uint16_t n_fds;
	uint32_t len;
};

/* A union, because control data wants the alignment of a cmsghdr. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(GD_MESSAGE_FDS * sizeof(int))];
};

int gd_message_pair(int ret_fds[2], struct gd_error *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return gd_fail_errno(err, -errno, "socketpair");
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

static void attach(struct msghdr *msg, union control *control, const int *fds, size_t n_fds)
{
	if (n_fds == 0)
		return;
	memset(control, 0, sizeof(*control));
	msg->msg_control = control->bytes;
	msg->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	if (c == NULL) /* not with a buffer of this size, but the analyzer cannot know */
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
}

int gd_message_send(int fd, uint16_t type, uint32_t seq, const void *body, size_t len,
                    const int *fds, size_t n_fds, struct gd_error *err)
{
	if (len > GD_MESSAGE_MAX || n_fds > GD_MESSAGE_FDS)
		return gd_fail(err, -E2BIG, "message %u: %zu bytes, %zu descriptors", type, len,
		               n_fds);
	struct head head = { MAGIC, seq, type, (uint16_t)n_fds, (uint32_t)len };
	/* sendmsg does not write through it; iovec is shared with recvmsg and has no const. */
	union {
		const void *in;
		void *out;
	} bytes = { .in = body };
	struct iovec parts[2] = { { &head, sizeof(head) }, { bytes.out, len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = len > 0 ? 2 : 1 };
	union control control;
	attach(&msg, &control, fds, n_fds);
	ssize_t n;
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	/* A peer that died with our bytes unread resets the connection: it is gone all the same. */
	if (n < 0 && errno == ECONNRESET)
		errno = EPIPE;
	if (n < 0)
		return gd_fail_errno(err, -errno, "message %u", type);
	return 0;
}

static void take_fds(struct msghdr *msg, struct gd_message *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ret->n_fds < GD_MESSAGE_FDS)
				ret->fds[ret->n_fds++] = fd;
			else
				(void)close(fd);
		}
	}
}

int gd_message_recv(int fd, struct gd_message *ret, void *body, size_t size, struct gd_error *err)
{
	struct head head;
	struct iovec parts[2] = { { &head, sizeof(head) }, { body, size } };
	union control control;
	struct msghdr msg = { .msg_iov = parts,
		              .msg_iovlen = 2,
		              .msg_control = control.bytes,
		              .msg_controllen = sizeof(control.bytes) };
	ssize_t n;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	/* A peer that died with our bytes unread resets the connection: it is gone all the same. */
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 0;
	if (n < 0)
		return gd_fail_errno(err, -errno, "receiving a message");
	struct gd_message got = { .n_fds = 0 };
	take_fds(&msg, &got);
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || (size_t)n < sizeof(head) ||
	    head.magic != MAGIC || head.len != (size_t)n - sizeof(head) ||
	    head.n_fds != got.n_fds) {
		gd_message_close_fds(&got);
		return gd_fail(err, -EBADMSG, "a message of %zd bytes that is none of ours", n);
	}
	got.type = head.type;
	got.seq = head.seq;
	got.len = head.len;
	*ret = got;
	return 1;
}

void gd_message_close_fds(struct gd_message *message)
{
	for (size_t i = 0; i < message->n_fds; i++)
		if (message->fds[i] >= 0)
			(void)close(message->fds[i]);
	message->n_fds = 0;
}

int gd_message_body(const struct gd_message *message, size_t size, struct gd_error *err)
{
	if (message->len != size)
		return gd_fail(err, -EBADMSG, "message %u: %zu bytes instead of %zu", message->type,
		               message->len, size);
	return 0;
}
