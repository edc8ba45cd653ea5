#include "agent/watch_ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"

int gd_watch_tell(struct gd_watch_ask *ask, enum gd_watch_type type, const void *body, size_t len)
{
	return gd_message_send(ask->fd, (uint16_t)type, ++ask->seq, body, len, NULL, 0, NULL);
}

/* Sends a question and waits for its answer, which is at least `min` bytes long. */
static int question(struct gd_watch_ask *ask, enum gd_watch_type type, const void *body, size_t len,
                    struct gd_message *answer, void *to, size_t size, size_t min)
{
	int r = gd_watch_tell(ask, type, body, len);
	if (r < 0)
		return r;
	r = gd_message_recv(ask->fd, answer, to, size, NULL);
	if (r <= 0)
		return r == 0 ? -EPIPE : r;
	if (answer->type != type || answer->seq != ask->seq || answer->len < min) {
		gd_message_close_fds(answer);
		return -EPIPE; /* the broker is our own build: this one is not well */
	}
	return 0;
}

int gd_watch_ask_found(struct gd_watch_ask *ask, const struct gd_watch_found *found)
{
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_answer answer;
	int r = question(ask, GD_WATCH_FOUND, found, sizeof(*found), &message, &answer,
	                 sizeof(answer), sizeof(answer));
	return r < 0 ? r : answer.code;
}

ssize_t gd_watch_ask_exe(struct gd_watch_ask *ask, const struct gd_subject_id *id, char *to,
                         size_t size)
{
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_who who = { id->start_ticks, id->pid, 0 };
	struct gd_watch_exe exe;
	int r = question(ask, GD_WATCH_EXE, &who, sizeof(who), &message, &exe, sizeof(exe),
	                 offsetof(struct gd_watch_exe, path));
	if (r < 0 || exe.code < 0)
		return r < 0 ? r : exe.code;
	if (exe.len > sizeof(exe.path) || exe.len >= size ||
	    message.len != offsetof(struct gd_watch_exe, path) + exe.len)
		return -E2BIG;
	memcpy(to, exe.path, exe.len);
	to[exe.len] = '\0';
	return (ssize_t)exe.len;
}

ssize_t gd_watch_ask_sockets(struct gd_watch_ask *ask, const struct gd_subject_id *id,
                             uint64_t *to, size_t n, uint64_t *ret_fds)
{
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_who who = { id->start_ticks, id->pid, 0 };
	struct gd_watch_sockets sockets;
	int r = question(ask, GD_WATCH_SOCKETS, &who, sizeof(who), &message, &sockets,
	                 sizeof(sockets), offsetof(struct gd_watch_sockets, inodes));
	if (r < 0 || sockets.code < 0)
		return r < 0 ? r : sockets.code;
	if (sockets.n > GD_WATCH_SOCKETS_MAX || sockets.n > n ||
	    message.len != offsetof(struct gd_watch_sockets, inodes) + sockets.n * sizeof(*to))
		return -E2BIG;
	memcpy(to, sockets.inodes, sockets.n * sizeof(*to));
	*ret_fds = sockets.n_fds;
	return (ssize_t)sockets.n;
}

int gd_watch_ask_memory(struct gd_watch_ask *ask, uint32_t slot, const struct gd_subject_id *id,
                        int *ret_mem_fd, int *ret_runtime_fd, char why[124])
{
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_memory memory = { .who = { id->start_ticks, id->pid, 0 }, .slot = slot };
	struct gd_watch_answer answer;
	int r = question(ask, GD_WATCH_MEMORY, &memory, sizeof(memory), &message, &answer,
	                 sizeof(answer), sizeof(answer));
	if (r < 0)
		return r;
	(void)snprintf(why, 124, "%.*s", (int)sizeof(answer.why) - 1, answer.why);
	if (answer.code < 0)
		return answer.code;
	if (message.n_fds != 2)
		return -EPIPE;
	*ret_mem_fd = message.fds[0];
	*ret_runtime_fd = message.fds[1];
	message.n_fds = 0;
	return 0;
}
