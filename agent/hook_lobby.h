#pragma once
/*
 * Where accepted connections wait until the head of their request is complete.  Waiting costs a
 * descriptor and a few bytes of ours, no buffer: the head is looked at where it lies in the kernel
 * (MSG_PEEK).  So slow and silent callers are cheap, and when there are too many of them the oldest
 * one goes; whoever sends its request at once passes through in the moment it is accepted.
 */
#include <stdint.h>
#include <sys/socket.h>

#include "agent/hook_counts.h"
#include "base/error.h"

#define GD_HOOK_LOBBY_MAX 512
#define GD_HOOK_HEAD_DEADLINE_NS (INT64_C(2) * 1000000000)

struct gd_hook_lobby;

struct gd_hook_caller {
	int fd; /* given away */
	struct sockaddr_storage address;
	socklen_t address_len;
	int64_t since_ns; /* CLOCK_MONOTONIC, when it was accepted */
};

/* Takes it over: its head is complete and plain. */
typedef void gd_hook_lobby_fn(void *arg, const struct gd_hook_caller *caller);

/* Events of epoll_fd with this bit in data.u64 belong to gd_hook_lobby_event. */
#define GD_HOOK_LOBBY_TAG (UINT64_C(1) << 63)

int gd_hook_lobby_create(int epoll_fd, struct gd_hook_counts *counts, gd_hook_lobby_fn *ready,
                         void *arg, struct gd_hook_lobby **ret, struct gd_error *err);
void gd_hook_lobby_destroy(struct gd_hook_lobby *lobby); /* NULL allowed */

/* Accepts what waits at listen_fd, at most a few hundred at a time. */
void gd_hook_lobby_accept(struct gd_hook_lobby *lobby, int listen_fd);
void gd_hook_lobby_event(struct gd_hook_lobby *lobby, uint64_t tag);
/* Answers with that status and hangs up, politely: what is still coming is read away for a while. */
void gd_hook_lobby_refuse(struct gd_hook_lobby *lobby, int fd, int status);
/* Ends what has lasted too long; call it a few times a second while there is anybody. */
void gd_hook_lobby_sweep(struct gd_hook_lobby *lobby, int64_t now_ns);
unsigned gd_hook_lobby_count(const struct gd_hook_lobby *lobby);
