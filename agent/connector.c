#include "agent/connector.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "base/cleanup.h"
#include "base/message.h"

enum { MESSAGE_CONNECT = 1, MESSAGE_CONNECTED };

#define ANSWER_MS (GD_CONNECTOR_WAIT_MS + 2000)

struct question {
	struct sockaddr_storage to;
};

struct answer {
	int32_t code;     /* 0, or a negative errno */
	uint32_t entering; /* it was the namespace that could not be entered */
};

/* ---- in the connector ----------------------------------------------------------------------- */

struct place {
	int ask_fd;
	dev_t dev; /* the network namespace we are in */
	ino_t ino;
};

static int enter(struct place *p, int namespace_fd)
{
	struct stat st;
	if (fstat(namespace_fd, &st) < 0)
		return -errno;
	if (st.st_dev == p->dev && st.st_ino == p->ino)
		return 0;
	if (setns(namespace_fd, CLONE_NEWNET) < 0)
		return -errno;
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	return 0;
}

static socklen_t length_of(const struct sockaddr_storage *to)
{
	return to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int wait_connected(int fd)
{
	struct pollfd at = { .fd = fd, .events = POLLOUT };
	int code = 0;
	socklen_t len = sizeof(code);
	int r = poll(&at, 1, GD_CONNECTOR_WAIT_MS);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 ? -errno : -code;
}

static int make_connection(const struct sockaddr_storage *to, int *ret_fd)
{
	if (to->ss_family != AF_INET && to->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	GD_CLOSE int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int r = connect(fd, (const struct sockaddr *)to, length_of(to)) < 0 ? -errno : 0;
	if (r == -EINPROGRESS)
		r = wait_connected(fd);
	if (r == 0)
		*ret_fd = gd_steal_fd(&fd);
	return r;
}

static int on_question(struct place *p, const struct gd_message *m, const struct question *q)
{
	struct answer answer = { .code = -EBADMSG };
	GD_CLOSE int fd = -1;
	if (m->type == MESSAGE_CONNECT && m->len == sizeof(*q) && m->n_fds == 1) {
		answer.code = enter(p, m->fds[0]);
		answer.entering = answer.code < 0;
		if (answer.code == 0)
			answer.code = make_connection(&q->to, &fd);
	}
	return gd_message_send(p->ask_fd, MESSAGE_CONNECTED, m->seq, &answer, sizeof(answer), &fd,
	                       fd >= 0 ? 1 : 0, NULL);
}

static int run(void *arg)
{
	struct place *p = arg;
	for (;;) {
		GD_MESSAGE struct gd_message m = { .n_fds = 0 };
		struct question q;
		int r = gd_message_recv(p->ask_fd, &m, &q, sizeof(q), NULL);
		if (r <= 0)
			return r < 0 ? 1 : 0;
		if (on_question(p, &m, &q) < 0)
			return 1;
	}
}

/* ---- whoever asks --------------------------------------------------------------------------- */

int gd_connector_start(struct gd_connector *ret, struct gd_error *err)
{
	GD_CLOSE int its = -1;
	GD_CLOSE int ours = -1;
	int ends[2];
	struct stat st = { 0 };
	pid_t pid;
	int r = gd_message_pair(ends, err);
	if (r < 0)
		return r;
	ours = ends[0];
	its = ends[1];
	/* It has no files to look there itself; none: then every one has to be entered. */
	(void)stat("/proc/self/ns/net", &st);
	struct place place = { .ask_fd = its, .dev = st.st_dev, .ino = st.st_ino };
	r = gd_role_fork(GD_ROLE_CONNECTOR, &its, 1, run, &place, &pid, NULL, err);
	if (r == 0)
		*ret = (struct gd_connector){ .pid = pid, .fd = gd_steal_fd(&ours) };
	return r;
}

void gd_connector_stop(struct gd_connector *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	if (c->pid != 0) {
		(void)kill(c->pid, SIGKILL);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*c = GD_CONNECTOR_INIT;
}

static int explain(const struct answer *answer, struct gd_error *err)
{
	if (answer->entering != 0)
		return gd_fail_errno(err, answer->code, "its network namespace is another one, which "
		                     "may not be entered");
	return gd_fail_errno(err, answer->code, "connect");
}

/* An answer to an earlier question, whose asker has died, is not ours. */
static int await(struct gd_connector *c, struct gd_message *m, struct answer *answer,
                 struct gd_error *err)
{
	for (;;) {
		struct pollfd at = { .fd = c->fd, .events = POLLIN };
		int r = poll(&at, 1, ANSWER_MS);
		if (r == 0)
			return gd_fail(err, -ETIMEDOUT, "the connector does not answer");
		if (r < 0 && errno == EINTR)
			continue;
		r = gd_message_recv(c->fd, m, answer, sizeof(*answer), err);
		if (r <= 0)
			return r < 0 ? r : gd_fail(err, -EPIPE, "the connector has ended");
		if (m->seq == c->seq && m->type == MESSAGE_CONNECTED && m->len == sizeof(*answer))
			return 0;
		gd_message_close_fds(m);
	}
}

int gd_connector_connect(struct gd_connector *c, int namespace_fd,
                         const struct sockaddr_storage *to, int *ret_fd, struct gd_error *err)
{
	const struct question q = { .to = *to };
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	struct answer answer = { .code = -EBADMSG };
	int r = c->fd < 0 ? gd_fail(err, -EPIPE, "there is no connector")
	                  : gd_message_send(c->fd, MESSAGE_CONNECT, ++c->seq, &q, sizeof(q),
	                                    &namespace_fd, 1, err);
	if (r == 0)
		r = await(c, &m, &answer, err);
	if (r < 0)
		return r;
	if (answer.code < 0 || m.n_fds != 1)
		return answer.code < 0 ? explain(&answer, err)
		                       : gd_fail(err, -EBADMSG, "the connector's answer makes no sense");
	*ret_fd = m.fds[0];
	m.n_fds = 0;
	return 0;
}
