#include "agent/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/loop.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/message.h"

#define CONNECTIONS_MAX 32
#define TEXT_MAX (16u << 20)

struct connection {
	struct gd_loop_source source;
	struct gd_control *control;
	uint64_t number; /* 0: free */
	uint32_t uid;
	int32_t pid;
};

struct gd_control {
	struct gd_loop *loop;
	struct gd_loop_source listener;
	struct connection list[CONNECTIONS_MAX];
	uint64_t connected;
	const struct gd_control_ops *ops;
	void *arg;
};

static void hang_up(struct connection *c)
{
	gd_loop_remove(c->control->loop, &c->source);
	(void)close(c->source.fd);
	c->number = 0;
}

static int answer(struct connection *c, uint32_t seq, enum gd_control_type type, const void *body,
                  size_t len)
{
	return gd_message_send(c->source.fd, (uint16_t)type, seq, body, len, NULL, 0, NULL);
}

/* Text may be long: it travels as a descriptor, so that a slow reader costs us nothing. */
static int answer_text(struct connection *c, uint32_t seq, struct gd_buf *text)
{
	GD_CLOSE int fd = memfd_create("godiag-status", MFD_CLOEXEC);
	if (fd < 0 || gd_buf_check(text, "status", NULL) < 0 ||
	    gd_io_write_all(fd, text->data, text->len, NULL) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -EIO;
	return gd_message_send(c->source.fd, GD_CONTROL_TEXT, seq, NULL, 0, &fd, 1, NULL);
}

static int grant_capture(struct connection *c, const struct gd_message *m, void *body)
{
	struct gd_control_capture *request = body;
	struct gd_control_verdict verdict = { 0 };
	if (gd_message_body(m, sizeof(*request), NULL) < 0 || request->pid < 0 ||
	    request->profile > GD_PROFILE_FULL)
		return -EBADMSG;
	request->unit[sizeof(request->unit) - 1] = '\0';
	request->service[sizeof(request->service) - 1] = '\0';
	request->reason[sizeof(request->reason) - 1] = '\0';
	request->trigger[sizeof(request->trigger) - 1] = '\0';
	request->exit_json[sizeof(request->exit_json) - 1] = '\0';
	gd_log(GD_LOG_INFO, "capture asked for by uid %u, pid %d: pid %d unit \"%s\" service \"%s\"",
	       c->uid, c->pid, request->pid, request->unit, request->service);
	c->control->ops->capture(c->control->arg, request, c->number, &verdict);
	return answer(c, m->seq,
	              verdict.verdict == GD_VERDICT_ADMITTED ? GD_CONTROL_ADMITTED
	                                                     : GD_CONTROL_REFUSED,
	              &verdict, sizeof(verdict));
}

static int grant_command(struct connection *c, const struct gd_message *m, void *body)
{
	struct gd_control_name *name = body;
	struct gd_control_done done = { 0 };
	bool named = m->type == GD_CONTROL_ENABLE;
	if (gd_message_body(m, named ? sizeof(*name) : 0, NULL) < 0)
		return -EBADMSG;
	if (named)
		name->name[sizeof(name->name) - 1] = '\0';
	done.code = c->control->ops->command(c->control->arg, (enum gd_control_type)m->type,
	                                     named ? name->name : "", done.text);
	return answer(c, m->seq, GD_CONTROL_DONE, &done, sizeof(done));
}

static int grant(struct connection *c, const struct gd_message *m, void *body)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	switch (m->type) {
	case GD_CONTROL_STATUS:
		c->control->ops->status(c->control->arg, &text);
		return answer_text(c, m->seq, &text);
	case GD_CONTROL_CAPTURE:
		return grant_capture(c, m, body);
	case GD_CONTROL_ENABLE:
	case GD_CONTROL_RELOAD:
	case GD_CONTROL_PRUNE:
		return grant_command(c, m, body);
	default:
		return -EBADMSG;
	}
}

static void on_request(void *arg)
{
	struct connection *c = arg;
	/* One thread and one request at a time: the buffer may be static, and aligned for structs. */
	static _Alignas(16) char body[GD_MESSAGE_MAX];
	GD_MESSAGE struct gd_message m = { 0 };
	int r = gd_message_recv(c->source.fd, &m, body, sizeof(body), NULL);
	if (r == -EAGAIN)
		return;
	if (r == 1)
		r = grant(c, &m, body) < 0 ? 0 : 1;
	if (r != 1)
		hang_up(c);
}

static void on_connect(void *arg)
{
	struct gd_control *control = arg;
	uint32_t uid;
	int32_t pid;
	int fd = gd_loop_accept(control->listener.fd, &uid, &pid, NULL);
	if (fd < 0)
		return;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *c = &control->list[i];
		if (c->number != 0)
			continue;
		*c = (struct connection){ { fd, on_request, c }, control, ++control->connected,
			                  uid, pid };
		if (gd_loop_add(control->loop, &c->source, NULL) == 0)
			return;
		c->number = 0;
		break;
	}
	(void)close(fd); /* too many at once: they see a hang-up and try again */
}

int gd_control_create(struct gd_loop *loop, const char *path, const char *group,
                      const struct gd_control_ops *ops, void *arg, struct gd_control **ret,
                      struct gd_error *err)
{
	struct gd_control *control = calloc(1, sizeof(*control));
	if (control == NULL)
		return gd_fail_errno(err, -ENOMEM, "control socket");
	int fd = gd_loop_listen(path, group, err);
	if (fd < 0) {
		free(control);
		return fd;
	}
	control->loop = loop;
	control->listener = (struct gd_loop_source){ fd, on_connect, control };
	control->ops = ops;
	control->arg = arg;
	int r = gd_loop_add(loop, &control->listener, err);
	if (r < 0) {
		(void)close(fd);
		free(control);
		return r;
	}
	*ret = control;
	return 0;
}

void gd_control_destroy(struct gd_control *control)
{
	if (control == NULL)
		return;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (control->list[i].number != 0)
			hang_up(&control->list[i]);
	gd_loop_remove(control->loop, &control->listener);
	(void)close(control->listener.fd);
	free(control);
}

void gd_control_ended(struct gd_control *control, uint64_t waiter, const struct gd_operation *o)
{
	struct gd_control_ended ended = { .exit = (int32_t)o->exit,
		                          .bytes = o->bytes,
		                          .pause_ns = o->pause_ns };
	(void)snprintf(ended.id, sizeof(ended.id), "%s", o->id);
	memcpy(ended.path, o->path, sizeof(ended.path));
	memcpy(ended.digest, o->digest, sizeof(ended.digest));
	memcpy(ended.error, o->error, sizeof(ended.error));
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (waiter != 0 && control->list[i].number == waiter)
			(void)answer(&control->list[i], 0, GD_CONTROL_ENDED, &ended, sizeof(ended));
}
