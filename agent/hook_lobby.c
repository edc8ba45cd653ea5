#include "agent/hook_lobby.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/hook_head.h"
#include "base/clock.h"

/* Accepted before others get their turn. */
#define ROUND 256
/* How long a refused caller may go on sending, and how much of it is read in one go. */
#define DRAIN_NS (INT64_C(500) * 1000000)
#define DRAIN_BYTES 65536

enum state { FREE, WAITING, DRAINING };

struct place {
	enum state state;
	uint32_t generation; /* an event for whoever was here before means nobody */
	struct gd_hook_caller caller;
	int64_t until_ns;
};

struct gd_hook_lobby {
	int epoll_fd;
	struct gd_hook_counts *counts;
	gd_hook_lobby_fn *ready;
	void *arg;
	unsigned n;
	struct place places[GD_HOOK_LOBBY_MAX];
};

int gd_hook_lobby_create(int epoll_fd, struct gd_hook_counts *counts, gd_hook_lobby_fn *ready,
                         void *arg, struct gd_hook_lobby **ret, struct gd_error *err)
{
	struct gd_hook_lobby *lobby = calloc(1, sizeof(*lobby));
	if (lobby == NULL)
		return gd_fail(err, -ENOMEM, "the lobby");
	lobby->epoll_fd = epoll_fd;
	lobby->counts = counts;
	lobby->ready = ready;
	lobby->arg = arg;
	*ret = lobby;
	return 0;
}

/* The descriptor is no longer the lobby's. */
static int leave(struct gd_hook_lobby *lobby, struct place *place)
{
	int fd = place->caller.fd;
	place->state = FREE;
	place->generation++;
	lobby->n--;
	return fd;
}

void gd_hook_lobby_destroy(struct gd_hook_lobby *lobby)
{
	if (lobby == NULL)
		return;
	for (size_t i = 0; i < GD_HOOK_LOBBY_MAX; i++)
		if (lobby->places[i].state != FREE)
			(void)close(leave(lobby, &lobby->places[i]));
	free(lobby);
}

/* A free place; when there is none, that of whoever has been here longest. */
static struct place *find_place(struct gd_hook_lobby *lobby)
{
	struct place *oldest = &lobby->places[0];
	for (size_t i = 0; i < GD_HOOK_LOBBY_MAX; i++) {
		struct place *place = &lobby->places[i];
		if (place->state == FREE)
			return place;
		if (place->caller.since_ns < oldest->caller.since_ns)
			oldest = place;
	}
	lobby->counts->evicted++;
	(void)close(leave(lobby, oldest));
	return oldest;
}

static bool evict_one(struct gd_hook_lobby *lobby)
{
	struct place *oldest = NULL;
	for (size_t i = 0; i < GD_HOOK_LOBBY_MAX; i++) {
		struct place *place = &lobby->places[i];
		if (place->state != FREE &&
		    (oldest == NULL || place->caller.since_ns < oldest->caller.since_ns))
			oldest = place;
	}
	if (oldest == NULL)
		return false;
	lobby->counts->evicted++;
	(void)close(leave(lobby, oldest));
	return true;
}

/* Closes it when it cannot be watched. */
static void stay(struct gd_hook_lobby *lobby, const struct gd_hook_caller *caller,
                 enum state state, int64_t until_ns)
{
	struct place *place = find_place(lobby);
	place->state = state;
	place->caller = *caller;
	place->until_ns = until_ns;
	lobby->n++;
	/* Edge-triggered: what we only peek at stays readable for ever. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
	event.data.u64 = GD_HOOK_LOBBY_TAG |
	                 (uint64_t)(place - lobby->places) << 32 | place->generation;
	if (epoll_ctl(lobby->epoll_fd, EPOLL_CTL_ADD, caller->fd, &event) < 0)
		(void)close(leave(lobby, place));
}

/* Reads away what is there; false: there is no more to come. */
static bool drain(int fd)
{
	char bytes[4096];
	for (size_t done = 0; done < DRAIN_BYTES;) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

void gd_hook_lobby_refuse(struct gd_hook_lobby *lobby, int fd, int status)
{
	char text[512];
	char body[96];
	const char *line = gd_hook_head_status(status);
	(void)snprintf(body, sizeof(body), "{\"error\":\"%s\"}", line + 4);
	int n = snprintf(text, sizeof(text),
	                 "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
	                 "%s%sContent-Length: %zu\r\n\r\n%s",
	                 line, status == 405 ? "Allow: GET, POST\r\n" : "",
	                 status == 503 ? "Retry-After: 1\r\n" : "", strlen(body), body);
	gd_hook_counts_answer(lobby->counts, status);
	if (send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ||
	    shutdown(fd, SHUT_WR) < 0 || !drain(fd)) {
		(void)close(fd);
		return;
	}
	/* Closing now, with bytes unread, would reset the connection and lose the answer. */
	struct gd_hook_caller caller = { .fd = fd, .since_ns = gd_clock_monotonic_ns() };
	stay(lobby, &caller, DRAINING, caller.since_ns + DRAIN_NS);
}

enum look { LOOK_WAIT, LOOK_READY, LOOK_GONE, LOOK_REFUSE };

static enum look look_at(int fd, int *ret_status)
{
	char bytes[GD_HOOK_HEAD_MAX];
	ssize_t n;
	do
		n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return LOOK_WAIT;
	if (n <= 0)
		return LOOK_GONE;
	int status = gd_hook_head_check(bytes, (size_t)n);
	*ret_status = status;
	return status == 0 ? LOOK_WAIT : status == 200 ? LOOK_READY : LOOK_REFUSE;
}

static void receive(struct gd_hook_lobby *lobby, const struct gd_hook_caller *caller)
{
	int status = 0;
	lobby->counts->connections++;
	switch (look_at(caller->fd, &status)) {
	case LOOK_READY:
		lobby->ready(lobby->arg, caller);
		break;
	case LOOK_REFUSE:
		gd_hook_lobby_refuse(lobby, caller->fd, status);
		break;
	case LOOK_GONE:
		(void)close(caller->fd);
		break;
	case LOOK_WAIT:
		stay(lobby, caller, WAITING, caller->since_ns + GD_HOOK_HEAD_DEADLINE_NS);
		break;
	}
}

void gd_hook_lobby_accept(struct gd_hook_lobby *lobby, int listen_fd)
{
	for (int i = 0; i < ROUND; i++) {
		struct gd_hook_caller caller = { .address_len = sizeof(caller.address) };
		caller.fd = accept4(listen_fd, (struct sockaddr *)&caller.address,
		                    &caller.address_len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (caller.fd < 0 && (errno == EMFILE || errno == ENFILE) && evict_one(lobby))
			continue;
		if (caller.fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (caller.fd < 0)
			return;
		caller.since_ns = gd_clock_monotonic_ns();
		receive(lobby, &caller);
	}
}

static void look_again(struct gd_hook_lobby *lobby, struct place *place)
{
	int status = 0;
	enum look look = look_at(place->caller.fd, &status);
	if (look == LOOK_WAIT)
		return;
	struct gd_hook_caller caller = place->caller;
	/* It goes elsewhere or is watched anew. */
	if (look != LOOK_GONE)
		(void)epoll_ctl(lobby->epoll_fd, EPOLL_CTL_DEL, caller.fd, NULL);
	caller.fd = leave(lobby, place);
	if (look == LOOK_READY)
		lobby->ready(lobby->arg, &caller);
	else if (look == LOOK_REFUSE)
		gd_hook_lobby_refuse(lobby, caller.fd, status);
	else
		(void)close(caller.fd);
}

void gd_hook_lobby_event(struct gd_hook_lobby *lobby, uint64_t tag)
{
	size_t i = (size_t)(tag & ~GD_HOOK_LOBBY_TAG) >> 32;
	struct place *place = &lobby->places[i < GD_HOOK_LOBBY_MAX ? i : 0];
	if (place->state == FREE || place->generation != (uint32_t)tag)
		return;
	if (place->state == WAITING)
		look_again(lobby, place);
	else if (!drain(place->caller.fd))
		(void)close(leave(lobby, place));
}

void gd_hook_lobby_sweep(struct gd_hook_lobby *lobby, int64_t now_ns)
{
	for (size_t i = 0; i < GD_HOOK_LOBBY_MAX && lobby->n > 0; i++) {
		struct place *place = &lobby->places[i];
		if (place->state == FREE || place->until_ns > now_ns)
			continue;
		bool waiting = place->state == WAITING;
		if (waiting)
			(void)epoll_ctl(lobby->epoll_fd, EPOLL_CTL_DEL, place->caller.fd, NULL);
		int fd = leave(lobby, place);
		if (waiting)
			gd_hook_lobby_refuse(lobby, fd, 408);
		else
			(void)close(fd);
	}
}

unsigned gd_hook_lobby_count(const struct gd_hook_lobby *lobby)
{
	return lobby->n;
}
