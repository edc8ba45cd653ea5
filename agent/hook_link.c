#include "agent/hook_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WAITING_MAX 64
#define ROUND 32
/* Any answer fits; the text of /metrics and the table come in memfds. */
#define ANSWER_MAX 1024

struct waiting {
	uint32_t seq; /* 0: free */
	gd_hook_link_fn *done;
	void *arg;
};

struct gd_hook_link {
	int fd;
	uint32_t seq;
	struct waiting waiting[WAITING_MAX];
	struct gd_hook_table *table;
	bool fresh; /* the table came over this connection */
	gd_hook_link_table_fn *on_table;
	void *arg;
};

int gd_hook_link_create(gd_hook_link_table_fn *table, void *arg, struct gd_hook_link **ret,
                        struct gd_error *err)
{
	struct gd_hook_link *link = calloc(1, sizeof(*link));
	if (link == NULL)
		return gd_fail(err, -ENOMEM, "the connection to the broker");
	link->fd = -1;
	link->on_table = table;
	link->arg = arg;
	*ret = link;
	return 0;
}

/* Everybody who waits learns that there is no answer. */
static void hang_up(struct gd_hook_link *link)
{
	if (link->fd >= 0)
		(void)close(link->fd);
	link->fd = -1;
	link->fresh = false;
	for (size_t i = 0; i < WAITING_MAX; i++) {
		struct waiting w = link->waiting[i];
		link->waiting[i].seq = 0;
		if (w.seq != 0)
			w.done(w.arg, NULL, NULL);
	}
}

void gd_hook_link_destroy(struct gd_hook_link *link)
{
	if (link == NULL)
		return;
	hang_up(link);
	gd_hook_table_destroy(link->table);
	free(link);
}

int gd_hook_link_connect(struct gd_hook_link *link, int fd, struct gd_error *err)
{
	GD_CLOSE int ours = fd;
	hang_up(link);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "the connection to the broker");
	link->fd = gd_steal_fd(&ours);
	return 0;
}

int gd_hook_link_fd(const struct gd_hook_link *link)
{
	return link->fd;
}

const struct gd_hook_table *gd_hook_link_table(const struct gd_hook_link *link)
{
	return link->table;
}

bool gd_hook_link_is_up(const struct gd_hook_link *link)
{
	return link->fd >= 0 && link->fresh;
}

int gd_hook_link_ask(struct gd_hook_link *link, uint16_t type, const void *body, size_t n,
                     gd_hook_link_fn *done, void *arg, struct gd_error *err)
{
	struct waiting *w = NULL;
	if (!gd_hook_link_is_up(link))
		return gd_fail(err, -EPIPE, "no connection to the broker");
	for (size_t i = 0; i < WAITING_MAX && w == NULL; i++)
		if (link->waiting[i].seq == 0)
			w = &link->waiting[i];
	if (w == NULL)
		return gd_fail(err, -E2BIG, "%d questions wait for the broker", WAITING_MAX);
	uint32_t seq = ++link->seq != 0 ? link->seq : ++link->seq;
	int r = gd_message_send(link->fd, type, seq, body, n, NULL, 0, err);
	if (r < 0)
		return r;
	*w = (struct waiting){ seq, done, arg };
	return 0;
}

int gd_hook_link_tell(struct gd_hook_link *link, uint16_t type, const void *body, size_t n,
                      struct gd_error *err)
{
	if (!gd_hook_link_is_up(link))
		return gd_fail(err, -EPIPE, "no connection to the broker");
	return gd_message_send(link->fd, type, 0, body, n, NULL, 0, err);
}

void gd_hook_link_cancel(struct gd_hook_link *link, void *arg)
{
	for (size_t i = 0; i < WAITING_MAX; i++)
		if (link->waiting[i].arg == arg)
			link->waiting[i].seq = 0;
}

static int take_table(struct gd_hook_link *link, const struct gd_message *message,
                      const void *body, struct gd_error *err)
{
	struct gd_hook_blob blob;
	GD_FREE char *bytes = NULL;
	int r = gd_message_body(message, sizeof(blob), err);
	if (r < 0)
		return r;
	memcpy(&blob, body, sizeof(blob));
	if (message->n_fds != 1)
		return gd_fail(err, -EBADMSG, "a policy without its table");
	r = gd_hook_table_read(message->fds[0], blob.size, GD_HOOK_TABLE_MAX, &bytes, err);
	if (r < 0)
		return r;
	struct gd_hook_table *table = NULL;
	r = gd_hook_table_parse(bytes, blob.size, blob.generation, &table, err);
	if (r < 0)
		return r;
	gd_hook_table_destroy(link->table);
	link->table = table;
	link->fresh = true;
	link->on_table(link->arg, table);
	return 0;
}

static int handle_one(struct gd_hook_link *link, struct gd_message *message, const void *body,
                      struct gd_error *err)
{
	if (message->type == GD_HOOK_POLICY)
		return take_table(link, message, body, err);
	for (size_t i = 0; i < WAITING_MAX; i++) {
		struct waiting w = link->waiting[i];
		if (w.seq == 0 || w.seq != message->seq)
			continue;
		link->waiting[i].seq = 0;
		w.done(w.arg, message, body);
		break;
	}
	return 0; /* or whoever asked has given up */
}

int gd_hook_link_handle(struct gd_hook_link *link, struct gd_error *err)
{
	char body[ANSWER_MAX];
	for (int i = 0; i < ROUND && link->fd >= 0; i++) {
		GD_MESSAGE struct gd_message message = { .n_fds = 0 };
		int r = gd_message_recv(link->fd, &message, body, sizeof(body), err);
		if (r == -EAGAIN)
			return 0;
		if (r == 0)
			r = gd_fail(err, -EPIPE, "the broker has gone");
		else if (r > 0)
			r = handle_one(link, &message, body, err);
		if (r < 0) {
			hang_up(link);
			return r;
		}
	}
	return 0;
}
