#pragma once
/*
 * One request from its head to its answer: who asks, what for, what the broker says, which status
 * that is.  Knows nothing of sockets; the server feeds it and sends what it answers.
 *
 *	POST /v1/hooks/alertmanager, POST /v1/hooks/generic, POST /v1/captures,
 *	GET /v1/captures/ID, GET /healthz, GET /metrics
 */
#include <stdbool.h>
#include <sys/types.h>

#include "agent/hook_auth.h"
#include "agent/hook_counts.h"
#include "agent/hook_link.h"
#include "base/buf.h"

/* What all requests share. */
struct gd_hook_desk {
	struct gd_hook_auth *auth;
	struct gd_hook_link *link;
	struct gd_hook_counts counts;
	unsigned open_connections;
	int64_t quiet_until_ns; /* refusals are logged once in a while, not one by one */
	uint64_t unlogged;
};

struct gd_hook_reply {
	int status; /* 0: none yet */
	struct gd_buf body;
	bool is_text;       /* Prometheus text, else JSON */
	unsigned retry_s;   /* Retry-After; 0 none */
	char location[96];  /* "" none */
	const char *allow;  /* NULL none */
};

struct gd_hook_request;

/* An answer that had to wait is there.  Never called from within begin. */
typedef void gd_hook_request_fn(void *arg);

/* All strings are borrowed until it is destroyed; peer_uid -1: not a unix socket. */
struct gd_hook_head {
	const char *method, *path;
	struct gd_hook_credentials credentials;
	int64_t peer_uid, peer_pid;
};
int gd_hook_request_create(struct gd_hook_desk *desk, const struct gd_hook_head *head,
                           gd_hook_request_fn *ready, void *arg, struct gd_hook_request **ret,
                           struct gd_error *err);
void gd_hook_request_destroy(struct gd_hook_request *request); /* NULL allowed */

/* Its head has proved who sends it (then it is not closed in favour of others). */
bool gd_hook_request_is_known(const struct gd_hook_request *request);

/* More of its body; kept only when there is a use for it. */
void gd_hook_request_body(struct gd_hook_request *request, const void *bytes, size_t n);

/* The body is complete.  true: the reply is there; false: `ready` will be called. */
bool gd_hook_request_begin(struct gd_hook_request *request);

/* The broker has taken too long: 503 from now on. */
void gd_hook_request_expire(struct gd_hook_request *request);

const struct gd_hook_reply *gd_hook_request_reply(const struct gd_hook_request *request);
