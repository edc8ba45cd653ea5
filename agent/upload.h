#pragma once
/*
 * Uploading beside the broker: the uploader process (godiag-upload) asks for the next archive, gets
 * a read-only descriptor and the place it belongs to, and reports.  It has credentials and the network,
 * and sees neither the spool nor the agent's memory.  Backoff (full jitter, 1 s to 15 min; a circuit
 * that opens after 5 failures in a row) is its own.
 *
 * gd_upload_main runs the uploader process; gd_upload_peer_* is the broker's end (upload_peer.c).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "policies/policy.h"
#include "uploader/spool.h"

struct gd_upload_options {
	const char *agent_socket; /* NULL: "/run/godiag/upload" */
	uint64_t backoff_min_ns, backoff_max_ns; /* 0: 1 s and 15 min; tests are in a hurry */
	unsigned stall_s;         /* a transfer in which nothing moves for so long ends; 0: 30 */
	bool jail;                /* enter GD_ROLE_UPLOADER; there is no way back */
};

/*
 * Runs until SIGTERM or SIGINT; the exit status (agent/exit.h).  The broker may come and go.  A directory
 * as the place (file://) is made when missing, and must be writable for this process.
 */
int gd_upload_main(const struct gd_upload_options *options);

struct gd_upload_peer;

/* Takes over an accepted connection, also on failure.  spool and policy are borrowed. */
int gd_upload_peer_create(int fd, struct gd_spool *spool, const struct gd_policy *policy,
                          struct gd_upload_peer **ret, struct gd_error *err);
void gd_upload_peer_destroy(struct gd_upload_peer *peer); /* NULL allowed */
int gd_upload_peer_fd(const struct gd_upload_peer *peer);
/* -EPIPE: it has gone; -EBADMSG: it misbehaved.  Destroy it then. */
int gd_upload_peer_handle(struct gd_upload_peer *peer, struct gd_error *err);
/* Something new is in the spool (or the policy changed): an idle uploader is told. */
int gd_upload_peer_wake(struct gd_upload_peer *peer, struct gd_error *err);
void gd_upload_peer_policy(struct gd_upload_peer *peer, const struct gd_policy *policy);

/* For status: what the uploader last said of itself. */
struct gd_upload_state {
	bool busy;
	char id[64];               /* of the archive it has; "" */
	bool permanent;            /* the last failure is one that people have to mend */
	bool circuit_open;         /* five failures in a row: only probes now */
	int64_t retry_realtime_ns; /* when it will ask again after a failure; 0: it did not fail */
	char last_error[200];
	uint64_t done, failed;     /* since it connected */
};
void gd_upload_peer_state(const struct gd_upload_peer *peer, struct gd_upload_state *ret);

/*
 * Verifies an archive found in the spool in a jailed child (GD_ROLE_PACKER), so that the broker parses
 * nothing: for gd_spool_examine_by.
 */
int gd_upload_examine(int fd, struct gd_spool_facts *ret, struct gd_error *err);
