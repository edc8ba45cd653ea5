#include "agent/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"

/* A question, as it goes over the wire. */
struct question {
	enum gd_request type;
	size_t n;
	union {
		struct gd_request_path path;
		struct gd_request_group group;
		struct gd_request_perf perf;
		struct gd_perf_wanted sampler;
	};
};

/* An answer: its head, then bytes. */
union answer {
	struct gd_answer_head head;
	char bytes[sizeof(struct gd_answer_head) + GD_ANSWER_BYTES_MAX];
};

/* One that was asked before it was wanted. */
struct prepared {
	struct question question;
	struct gd_answer_head head;
	struct gd_buf bytes;
	int fd;
	bool waiting; /* for whoever wants it */
};

struct asking {
	struct gd_access access;
	int fd;
	uint32_t seq;
	volatile uint64_t *progress;
	union answer answer;
	struct prepared prepared[GD_ACCESS_WANTED_MAX];
	size_t n_prepared;
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

static void put(struct asking *a, const struct question *q)
{
	(*a->progress)++;
	if (gd_message_send(a->fd, (uint16_t)q->type, ++a->seq, &q->path, q->n, NULL, 0, NULL) < 0)
		broker_is_gone();
}

/* The answer to question number `seq` into a->answer; its descriptor or -1. */
static int get(struct asking *a, uint32_t seq)
{
	struct gd_message m = { .n_fds = 0 };
	if (gd_message_recv(a->fd, &m, &a->answer, sizeof(a->answer), NULL) <= 0)
		broker_is_gone();
	const struct gd_answer_head *head = &a->answer.head;
	if (m.type != GD_ANSWER || m.seq != seq || m.len < sizeof(*head) ||
	    m.len - sizeof(*head) != head->n || m.n_fds != head->has_fd ||
	    memchr(head->why, '\0', sizeof(head->why)) == NULL)
		broker_is_gone();
	return m.n_fds == 1 ? m.fds[0] : -1;
}

/* How much is wanted at most does not make it another question. */
static bool is_same(const struct question *a, const struct question *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == GD_REQUEST_GROUP)
		return a->group.exists == b->group.exists &&
		       strcmp(a->group.name, b->group.name) == 0 &&
		       strcmp(a->group.relative, b->group.relative) == 0 &&
		       strcmp(a->group.mount, b->group.mount) == 0;
	return a->type != GD_REQUEST_PERF && a->type != GD_REQUEST_SAMPLER && strcmp(a->path.path, b->path.path) == 0;
}

static bool was_prepared(struct asking *a, const struct question *q, int *ret_fd)
{
	for (size_t i = 0; i < a->n_prepared; i++) {
		struct prepared *p = &a->prepared[i];
		if (!p->waiting || !is_same(&p->question, q))
			continue;
		p->waiting = false;
		a->answer.head = p->head;
		if (p->bytes.len > 0)
			memcpy(a->answer.bytes + sizeof(p->head), p->bytes.data, p->bytes.len);
		*ret_fd = gd_steal_fd(&p->fd);
		return true;
	}
	return false;
}

/* Asks; -errno as the broker says, or 0 with the answer in `a` and its descriptor (-1: none). */
static int ask(struct asking *a, const struct question *q, int *ret_fd, struct gd_error *err)
{
	int fd = -1;
	if (!was_prepared(a, q, &fd)) {
		put(a, q);
		fd = get(a, a->seq);
	}
	const struct gd_answer_head *head = &a->answer.head;
	if (head->code < 0) {
		if (fd >= 0)
			(void)close(fd);
		return gd_fail(err, head->code, "%s", head->why);
	}
	*ret_fd = fd;
	return 0;
}

static int question_path(struct question *q, enum gd_request type, const char *path, size_t max,
                         struct gd_error *err)
{
	*q = (struct question){ .type = type, .n = sizeof(q->path) };
	q->path.max = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
	if ((size_t)snprintf(q->path.path, sizeof(q->path.path), "%s", path) >=
	    sizeof(q->path.path))
		return gd_fail(err, -ENAMETOOLONG, "%s", path);
	return 0;
}

static int question_group(struct question *q, const char *mount, const char *relative,
                          const char *name, struct gd_error *err)
{
	*q = (struct question){ .type = GD_REQUEST_GROUP, .n = sizeof(q->group) };
	struct gd_request_group *g = &q->group;
	g->exists = name == NULL;
	if (name == NULL)
		name = "";
	if ((size_t)snprintf(g->mount, sizeof(g->mount), "%s", mount) >= sizeof(g->mount) ||
	    (size_t)snprintf(g->name, sizeof(g->name), "%s", name) >= sizeof(g->name) ||
	    (size_t)snprintf(g->relative, sizeof(g->relative), "%s", relative) >=
	            sizeof(g->relative))
		return gd_fail(err, -ENAMETOOLONG, "group below %s", mount);
	return 0;
}

static int ask_path(struct asking *a, enum gd_request type, const char *path, size_t max,
                    int *ret_fd, struct gd_error *err)
{
	struct question q;
	int r = question_path(&q, type, path, max, err);
	return r < 0 ? r : ask(a, &q, ret_fd, err);
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
	struct question q;
	int fd = -1;
	int r = question_group(&q, mount, relative, name, err);
	if (r == 0)
		r = ask((struct asking *)access, &q, &fd, err);
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
	const struct question q = { .type = GD_REQUEST_PERF, .n = sizeof(q.perf),
		                    .perf = { .tid = tid } };
	int fd = -1;
	if (tid <= 0)
		return gd_fail_errno(err, -ESRCH, "thread %d", tid);
	int r = ask((struct asking *)access, &q, &fd, err);
	if (r == 0 && fd < 0)
		broker_is_gone();
	if (r == 0)
		*ret_fd = fd;
	return r;
}

static int ask_sampler(struct gd_access *access, const struct gd_perf_wanted *wanted,
                       struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err)
{
	struct asking *a = (struct asking *)access;
	const struct question q = { .type = GD_REQUEST_SAMPLER, .n = sizeof(q.sampler),
		                    .sampler = *wanted };
	int fd = -1;
	int r = ask(a, &q, &fd, err);
	if (r == 0 && (fd < 0 || a->answer.head.n != sizeof(*ret)))
		broker_is_gone();
	if (r == 0) {
		memcpy(ret, a->answer.bytes + sizeof(a->answer.head), sizeof(*ret));
		*ret_fd = fd;
	}
	return r;
}

static void forget_prepared(struct asking *a)
{
	for (size_t i = 0; i < a->n_prepared; i++) {
		if (a->prepared[i].fd >= 0)
			(void)close(a->prepared[i].fd);
		gd_buf_deinit(&a->prepared[i].bytes);
	}
	a->n_prepared = 0;
}

static int question_of(struct question *q, const struct gd_access_wanted *wanted)
{
	switch (wanted->kind) {
	case GD_ACCESS_OPEN:
		return question_path(q, GD_REQUEST_OPEN, wanted->path, 0, NULL);
	case GD_ACCESS_READ:
		return question_path(q, GD_REQUEST_READ, wanted->path, UINT32_MAX, NULL);
	case GD_ACCESS_LINK:
		return question_path(q, GD_REQUEST_LINK, wanted->path, 0, NULL);
	case GD_ACCESS_GROUP:
		return question_group(q, wanted->mount, wanted->relative, wanted->path, NULL);
	}
	return -EINVAL;
}

/* The questions of these, in one message; its number. */
static uint32_t put_many(struct asking *a, const struct prepared *list, size_t n)
{
	static _Alignas(8) char bytes[GD_REQUEST_MANY_MAX *
	                              (sizeof(struct gd_request_part) + sizeof(struct question))];
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		const struct question *q = &list[i].question;
		const struct gd_request_part part = { .type = q->type, .n = (uint32_t)q->n };
		memcpy(bytes + at, &part, sizeof(part));
		memcpy(bytes + at + sizeof(part), &q->path, q->n);
		at += sizeof(part) + ((q->n + 7) & ~(size_t)7);
	}
	(*a->progress)++;
	if (gd_message_send(a->fd, GD_REQUEST_MANY, ++a->seq, bytes, at, NULL, 0, NULL) < 0)
		broker_is_gone();
	return a->seq;
}

/* Takes one answer of many to its question; what is left of the message. */
static size_t take_part(struct prepared *p, const char *at, size_t len, const int *fds,
                        size_t n_fds, size_t *used_fds)
{
	struct gd_answer_head *head = &p->head;
	if (len < sizeof(*head))
		broker_is_gone();
	memcpy(head, at, sizeof(*head));
	size_t n = (sizeof(*head) + (size_t)head->n + 7) & ~(size_t)7;
	if (n > len || head->has_fd > n_fds - *used_fds ||
	    memchr(head->why, '\0', sizeof(head->why)) == NULL)
		broker_is_gone();
	p->fd = head->has_fd != 0 ? fds[(*used_fds)++] : -1;
	p->bytes = GD_BUF_INIT(GD_ANSWER_BYTES_MAX);
	gd_buf_append(&p->bytes, at + sizeof(*head), head->n);
	/* Without memory or descriptor for it, it is asked again. */
	p->waiting = gd_buf_check(&p->bytes, "answer", NULL) == 0 && head->code != -EAGAIN;
	return len - n;
}

static void get_many(struct asking *a, uint32_t seq, struct prepared *list, size_t n)
{
	static _Alignas(8) char bytes[GD_MESSAGE_MAX];
	struct gd_message m = { .n_fds = 0 };
	size_t used_fds = 0;
	if (gd_message_recv(a->fd, &m, bytes, sizeof(bytes), NULL) <= 0 ||
	    m.type != GD_ANSWER_MANY || m.seq != seq)
		broker_is_gone();
	size_t left = m.len;
	for (size_t i = 0; i < n; i++)
		left = take_part(&list[i], bytes + (m.len - left), left, m.fds, m.n_fds, &used_fds);
	if (left != 0 || used_fds != m.n_fds)
		broker_is_gone();
}

/* How many of them fit into one question, and their answers into one message. */
static size_t together(const struct prepared *list, size_t n)
{
	size_t fds = 0;
	size_t part = 0;
	for (; part < n && part < GD_REQUEST_MANY_MAX; part++) {
		enum gd_request type = list[part].question.type;
		fds += type == GD_REQUEST_OPEN || type == GD_REQUEST_GROUP;
		if (fds > GD_MESSAGE_FDS)
			break;
	}
	return part;
}

/* As many at once as a message takes: one wait instead of n. */
static void prepare(struct gd_access *access, const struct gd_access_wanted *wanted, size_t n)
{
	struct asking *a = (struct asking *)access;
	forget_prepared(a);
	for (size_t i = 0; i < n && a->n_prepared < GD_ACCESS_WANTED_MAX; i++) {
		struct prepared *p = &a->prepared[a->n_prepared];
		*p = (struct prepared){ .fd = -1 };
		if (question_of(&p->question, &wanted[i]) == 0)
			a->n_prepared++;
	}
	for (size_t i = 0; i < a->n_prepared;) {
		size_t part = together(a->prepared + i, a->n_prepared - i);
		get_many(a, put_many(a, a->prepared + i, part), a->prepared + i, part);
		i += part;
	}
}

static void close_asking(struct gd_access *access)
{
	forget_prepared((struct asking *)access);
	free(access);
}

static const struct gd_access_ops asking_ops = {
	.open_file = ask_file,
	.read_file = ask_read,
	.read_link = ask_link,
	.list = ask_list,
	.open_group = ask_group,
	.open_perf = ask_perf,
	.open_sampler = ask_sampler,
	.prepare = prepare,
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

void gd_ask_rebind(struct gd_access *access, int fd, volatile uint64_t *progress)
{
	struct asking *a = (struct asking *)access;
	a->fd = fd;
	a->progress = progress;
	a->seq = 0;
}
