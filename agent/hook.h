#pragma once
/*
 * The HTTP hook: processes of their own (godiag-hook) that listen, authenticate and parse, and a
 * broker's end that only sees fixed records.  A request selects a rule and carries labels; never a
 * pid, path, URL, command or pattern.
 *
 * gd_hook_main runs the hook process; gd_hook_peer_* is the broker's end of its connection.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "policies/admission.h"
#include "policies/policy.h"

/* ---- the hook's own process ---- */

struct gd_hook_options {
	const char *agent_socket; /* "/run/godiag/hook": the broker's SEQPACKET socket for it */
	const char *listen;       /* NULL: as the policy says, told by the broker */
	const char *tokens;       /* NULL: $CREDENTIALS_DIRECTORY/tokens */
};

/* Runs until SIGTERM; returns an exit status.  Reconnects when the broker restarts. */
int gd_hook_main(const struct gd_hook_options *options);

/* ---- the broker's end ---- */

struct gd_hook_trigger {
	uint32_t rule;          /* index in the policy; checked */
	char fingerprint[65];   /* hex; "" for POST /v1/captures without one */
	char starts_at[40];     /* as the alert says, printable; "" */
	char reason[248];       /* printable: alertname and a few labels */
	char token[GD_POLICY_NAME_MAX]; /* name of the token or key that was used */
};

struct gd_hook_verdict {
	enum gd_verdict verdict;
	char id[64];            /* of the operation or, for duplicates, the first capture */
	char why[248];
	int64_t retry_ns;
};

struct gd_hook_operation { /* GET /v1/captures/ID */
	bool known;
	char state[16];         /* "queued", "running", "succeeded", "partial", "failed" */
	int32_t exit;           /* enum gd_exit, -1 before the end */
	char digest[72];        /* "" before the end */
};

struct gd_hook_ops {
	void (*trigger)(void *arg, const struct gd_hook_trigger *trigger,
	                struct gd_hook_verdict *verdict);
	void (*operation)(void *arg, const char *id, struct gd_hook_operation *operation);
	/* Prometheus text of the broker's own figures. */
	void (*metrics)(void *arg, struct gd_buf *to);
	/* http_p99 of a service, from the scraper. */
	void (*http)(void *arg, uint32_t service, double p99_s);
};

struct gd_hook_peer;

/* Takes over an accepted connection, also on failure; tells it the policy's rules with `alert`,
 * listen address and scrape URLs at once.  The policy is borrowed until the next one or destroy. */
int gd_hook_peer_create(int fd, const struct gd_policy *policy, const struct gd_hook_ops *ops,
                        void *arg, struct gd_hook_peer **ret, struct gd_error *err);
void gd_hook_peer_destroy(struct gd_hook_peer *peer); /* NULL allowed */
int gd_hook_peer_fd(const struct gd_hook_peer *peer);
/* What keeps it from its work ("127.0.0.1:7077: Address already in use"), printable; "" nothing. */
const char *gd_hook_peer_problem(const struct gd_hook_peer *peer);
/* -EPIPE: it has gone; -EBADMSG: it misbehaved.  Destroy it then. */
int gd_hook_peer_handle(struct gd_hook_peer *peer, struct gd_error *err);
/* After a reload. */
int gd_hook_peer_policy(struct gd_hook_peer *peer, const struct gd_policy *policy,
                        struct gd_error *err);
