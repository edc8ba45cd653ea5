#include "agent/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"

struct asking {
	struct gd_access access;
	int fd;
	uint32_t seq;
	volatile uint64_t *progress;
	/* An answer: its head, then bytes. */
	union {
		struct gd_answer_head head;
		char bytes[sizeof(struct gd_answer_head) + GD_ANSWER_BYTES_MAX];
	} answer;
};

int gd_ask_tell(int fd, enum gd_request type, const void *body, size_t n, struct gd_error *err)
{
	return gd_message_send(fd, (uint16_t)type, 0, body, n, NULL, 0, err);
}

/* There is nobody to report to and nothing that could be read without it. */
static _Noreturn void broker_is_gone(void)
{
	_exit(1);
}

/* Asks; -errno as the broker says, or 0 with the answer in `a` and its descriptor (-1: none). */
static int ask(struct asking *a, enum gd_request type, const void *body, size_t n, int *ret_fd,
               struct gd_error *err)
{
	struct gd_message m = { .n_fds = 0 };
	uint32_t seq = ++a->seq;
	(*a->progress)++;
	if (gd_message_send(a->fd, (uint16_t)type, seq, body, n, NULL, 0, NULL) < 0 ||
	    gd_message_recv(a->fd, &m, &a->answer, sizeof(a->answer), NULL) <= 0)
		broker_is_gone();
	const struct gd_answer_head *head = &a->answer.head;
	if (m.type != GD_ANSWER || m.seq != seq || m.len < sizeof(*head) ||
	    m.len - sizeof(*head) != head->n || m.n_fds > 1 ||
	    memchr(head->why, '\0', sizeof(head->why)) == NULL)
		broker_is_gone();
	if (head->code < 0) {
		gd_message_close_fds(&m);
		return gd_fail(err, head->code, "%s", head->why);
	}
	*ret_fd = m.n_fds == 1 ? m.fds[0] : -1;
	return 0;
}

static int ask_path(struct asking *a, enum gd_request type, const char *path, size_t max,
                    int *ret_fd, struct gd_error *err)
{
	struct gd_request_path body = { .max = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX };
	if ((size_t)snprintf(body.path, sizeof(body.path), "%s", path) >= sizeof(body.path))
		return gd_fail(err, -ENAMETOOLONG, "%s", path);
	return ask(a, type, &body, sizeof(body), ret_fd, err);
}

static int ask_file(struct gd_access *access, const char *path, int *ret_fd, struct gd_error *err)
{
	int fd = -1;
	int r = ask_path((struct asking *)access, GD_REQUEST_OPEN, path, 0, &fd, err);
	if (r == 0 && fd < 0)
		broker_is_gone();
	if (r == 0)
		*ret_fd = fd;
	return r;
}

/* Few bytes come in the answer, many as something to read them from. */
static int take_bytes(struct asking *a, int fd, const char *path, struct gd_buf *buf,
                      struct gd_error *err)
{
	if (fd >= 0) {
		int r = gd_io_read_all(fd, buf, err);
		return r < 0 ? gd_error_wrap(err, r, "%s", path) : 0;
	}
	gd_buf_append(buf, a->answer.bytes + sizeof(a->answer.head), a->answer.head.n);
	int r = gd_buf_check(buf, path, err);
	return r;
}

static int ask_read(struct gd_access *access, const char *path, struct gd_buf *buf,
                    struct gd_error *err)
{
	struct asking *a = (struct asking *)access;
	GD_CLOSE int fd = -1;
	/* One more than fits: the buffer itself says that it was too much, as it does elsewhere. */
	int r = ask_path(a, GD_REQUEST_READ, path, buf->ceiling - buf->len + 1, &fd, err);
	return r < 0 ? r : take_bytes(a, fd, path, buf, err);
}

static ssize_t ask_link(struct gd_access *access, const char *path, char *to, size_t size,
                        struct gd_error *err)
{
	struct asking *a = (struct asking *)access;
	GD_CLOSE int fd = -1;
	int r = ask_path(a, GD_REQUEST_LINK, path, 0, &fd, err);
	if (r < 0)
		return r;
	size_t n = a->answer.head.n;
	if (n >= size)
		return gd_fail(err, -E2BIG, "%s: the link is longer than %zu bytes", path, size);
	memcpy(to, a->answer.bytes + sizeof(a->answer.head), n);
	to[n] = '\0';
	return (ssize_t)n;
}

static int ask_list(struct gd_access *access, const char *path, size_t max, struct gd_buf *to,
                    struct gd_error *err)
{
	struct asking *a = (struct asking *)access;
	GD_CLOSE int fd = -1;
	int r = ask_path(a, GD_REQUEST_LIST, path, max, &fd, err);
	if (r == 0)
		r = take_bytes(a, fd, path, to, err);
	if (r == 0 && to->len > max * sizeof(int32_t)) {
		/* One more than asked for says that there are more. */
		to->len = max * sizeof(int32_t);
		return gd_fail(err, -E2BIG, "%s: more than %zu", path, max);
	}
	return r;
}

static int ask_group(struct gd_access *access, const char *mount, const char *relative,
                     const char *name, int *ret_fd, struct gd_error *err)
{
	struct gd_request_group body = { .exists = name == NULL };
	int fd = -1;
	if ((size_t)snprintf(body.mount, sizeof(body.mount), "%s", mount) >= sizeof(body.mount) ||
	    (size_t)snprintf(body.name, sizeof(body.name), "%s", name != NULL ? name : "") >=
	            sizeof(body.name) ||
	    (size_t)snprintf(body.relative, sizeof(body.relative), "%s", relative) >=
	            sizeof(body.relative))
		return gd_fail(err, -ENAMETOOLONG, "group below %s", mount);
	int r = ask((struct asking *)access, GD_REQUEST_GROUP, &body, sizeof(body), &fd, err);
	if (r < 0)
		return r;
	if ((name == NULL) != (fd < 0))
		broker_is_gone();
	if (name != NULL)
		*ret_fd = fd;
	return 0;
}

static int ask_perf(struct gd_access *access, pid_t tid, int *ret_fd, struct gd_error *err)
{
	const struct gd_request_perf body = { .tid = tid };
	int fd = -1;
	if (tid <= 0)
		return gd_fail_errno(err, -ESRCH, "thread %d", tid);
	int r = ask((struct asking *)access, GD_REQUEST_PERF, &body, sizeof(body), &fd, err);
	if (r == 0 && fd < 0)
		broker_is_gone();
	if (r == 0)
		*ret_fd = fd;
	return r;
}

static void close_asking(struct gd_access *access)
{
	free(access);
}

static const struct gd_access_ops asking_ops = {
	.open_file = ask_file,
	.read_file = ask_read,
	.read_link = ask_link,
	.list = ask_list,
	.open_group = ask_group,
	.open_perf = ask_perf,
	.close = close_asking,
};

int gd_ask_create(int fd, volatile uint64_t *progress, struct gd_access **ret,
                  struct gd_error *err)
{
	struct asking *a = calloc(1, sizeof(*a));
	if (a == NULL)
		return gd_fail_errno(err, -ENOMEM, "asking");
	a->access.ops = &asking_ops;
	a->fd = fd;
	a->progress = progress;
	*ret = (struct gd_access *)a;
	return 0;
}

void gd_ask_rebind(struct gd_access *access, int fd)
{
	struct asking *a = (struct asking *)access;
	a->fd = fd;
	a->seq = 0;
}
