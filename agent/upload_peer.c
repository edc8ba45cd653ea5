/*
 * The broker's end.  The other end may have been taken over by whatever it talks to: it can ask, and
 * it can say of the one archive it was given how that went; nothing else is listened to.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/upload.h"
#include "agent/upload_record.h"
#include "base/cleanup.h"
#include "base/message.h"
#include "base/text.h"

enum state {
	QUIET = 1 << 0, /* nothing asked: it waits after a failure */
	ASKED = 1 << 1, /* it waits for an archive */
	BUSY = 1 << 2,  /* it has one */
};

struct gd_upload_peer {
	int fd;
	struct gd_spool *spool;
	const struct gd_policy *policy;
	enum state state;
	bool fresh_only; /* it wants none that failed before */
	uint32_t seq; /* of the last transfer */
	struct gd_upload_state shown;
};

int gd_upload_peer_create(int fd, struct gd_spool *spool, const struct gd_policy *policy,
                          struct gd_upload_peer **ret, struct gd_error *err)
{
	GD_CLOSE int owned = fd;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "uploader's connection");
	struct gd_upload_peer *peer = calloc(1, sizeof(*peer));
	if (peer == NULL)
		return gd_fail_errno(err, -ENOMEM, "uploader's connection");
	*peer = (struct gd_upload_peer){ .fd = gd_steal_fd(&owned), .spool = spool,
		                         .policy = policy, .state = QUIET };
	*ret = peer;
	return 0;
}

void gd_upload_peer_destroy(struct gd_upload_peer *peer)
{
	if (peer == NULL)
		return;
	(void)close(peer->fd);
	free(peer);
}

int gd_upload_peer_fd(const struct gd_upload_peer *peer)
{
	return peer->fd;
}

void gd_upload_peer_policy(struct gd_upload_peer *peer, const struct gd_policy *policy)
{
	peer->policy = policy;
}

void gd_upload_peer_state(const struct gd_upload_peer *peer, struct gd_upload_state *ret)
{
	*ret = peer->shown;
	ret->busy = peer->state == BUSY;
}

/* --- giving -------------------------------------------------------------------------------- */

/* A socket that is full has an uploader behind it that does not read: it will be hung up on. */
static int send_to(struct gd_upload_peer *peer, enum gd_upload_type type, const void *body,
                   size_t n, const int *fd, struct gd_error *err)
{
	int r = gd_message_send(peer->fd, (uint16_t)type, peer->seq, body, n, fd, fd != NULL, err);
	return r == -EAGAIN ? gd_fail(err, -EBADMSG, "the uploader does not read") : r;
}

static int give(struct gd_upload_peer *peer, const struct gd_spool_item *item, int fd,
                struct gd_error *err)
{
	struct gd_upload_give body = { .bytes = item->bytes,
		                       .bytes_per_s = peer->policy->budget.upload_bytes_per_s };
	(void)snprintf(body.id, sizeof(body.id), "%s", item->id);
	(void)snprintf(body.name, sizeof(body.name), "%s", item->name);
	int n = snprintf(body.url, sizeof(body.url), "%s", peer->policy->upload);
	if (n < 0 || (size_t)n >= sizeof(body.url))
		return gd_fail(err, -E2BIG, "the policy's upload URL is too long");
	peer->seq++;
	int r = send_to(peer, GD_UPLOAD_GIVE, &body, sizeof(body), &fd, err);
	if (r < 0)
		return r;
	peer->state = BUSY;
	memcpy(peer->shown.id, body.id, sizeof(body.id));
	return 0;
}

/* 1: given; 0: there is nothing to give. */
static int grant_next(struct gd_upload_peer *peer, struct gd_error *err)
{
	struct gd_spool_item item;
	if (peer->policy->upload == NULL)
		return 0;
	/* One that cannot be opened goes behind the others; each is tried once. */
	for (unsigned tries = 0; tries < 16 && gd_spool_next(peer->spool, NULL, &item); tries++) {
		if (peer->fresh_only && item.attempts > 0)
			return 0; /* and so have all others */
		GD_CLOSE int fd = -1;
		struct gd_error why;
		if (gd_spool_open_item(peer->spool, item.id, &fd, &why) == 0) {
			int r = give(peer, &item, fd, err);
			return r < 0 ? r : 1;
		}
		int r = gd_spool_failed(peer->spool, item.id, why.msg, err);
		if (r < 0)
			return 0; /* the spool has its own troubles: nothing for the uploader */
	}
	return 0;
}

int gd_upload_peer_wake(struct gd_upload_peer *peer, struct gd_error *err)
{
	if (peer->state != ASKED)
		return 0;
	int r = grant_next(peer, err);
	return r < 0 ? r : 0;
}

/* --- listening ----------------------------------------------------------------------------- */

union body {
	struct gd_upload_ask ask;
	struct gd_upload_done done;
	struct gd_upload_failed failed;
	struct gd_upload_return returned;
	char bytes[GD_MESSAGE_MAX];
};

static bool is_text(const char *text, size_t size)
{
	const char *end = memchr(text, '\0', size);
	for (const char *p = text; end != NULL && p < end; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return end != NULL;
}

static int on_ask(struct gd_upload_peer *peer, const union body *body, struct gd_error *err)
{
	if (body->ask.version != GD_UPLOAD_VERSION)
		return gd_fail(err, -EBADMSG, "uploader of another version: restart it");
	if (body->ask.fresh_only > 1)
		return gd_fail(err, -EBADMSG, "the uploader's question makes no sense");
	if (peer->state == BUSY)
		return 0; /* our archive and its question met on the way */
	peer->fresh_only = body->ask.fresh_only != 0;
	peer->state = ASKED;
	int r = grant_next(peer, err);
	if (r != 0)
		return r < 0 ? r : 0;
	struct gd_upload_idle idle = { .url = "" };
	if (peer->policy->upload != NULL)
		(void)snprintf(idle.url, sizeof(idle.url), "%s", peer->policy->upload);
	return send_to(peer, GD_UPLOAD_IDLE, &idle, sizeof(idle), NULL, err);
}

/* The transfer is over as far as it is concerned, whatever the spool says to it. */
static void end_transfer(struct gd_upload_peer *peer)
{
	peer->state = QUIET;
	peer->shown.id[0] = '\0';
}

static int on_done(struct gd_upload_peer *peer, const union body *body, struct gd_error *err)
{
	const struct gd_upload_done *done = &body->done;
	if (!is_text(done->location, sizeof(done->location)) || done->location[0] == '\0')
		return gd_fail(err, -EBADMSG, "the uploader names no location");
	char id[64];
	memcpy(id, peer->shown.id, sizeof(id));
	end_transfer(peer);
	peer->shown.circuit_open = peer->shown.permanent = false;
	peer->shown.retry_realtime_ns = 0;
	peer->shown.last_error[0] = '\0';
	peer->shown.done++;
	/* A spool that cannot write it down gives the archive out again: the remote copy is found. */
	struct gd_error why;
	if (gd_spool_uploaded(peer->spool, id, done->location, &why) < 0)
		(void)snprintf(peer->shown.last_error, sizeof(peer->shown.last_error), "%.199s",
		               why.msg);
	return 0;
}

static int on_failed(struct gd_upload_peer *peer, const union body *body, struct gd_error *err)
{
	const struct gd_upload_failed *failed = &body->failed;
	if (memchr(failed->why, '\0', sizeof(failed->why)) == NULL || failed->permanent > 1 ||
	    failed->circuit_open > 1)
		return gd_fail(err, -EBADMSG, "the uploader's failure makes no sense");
	char id[64];
	memcpy(id, peer->shown.id, sizeof(id));
	end_transfer(peer);
	peer->shown.failed++;
	peer->shown.permanent = failed->permanent != 0;
	peer->shown.circuit_open = failed->circuit_open != 0;
	uint64_t wait = failed->retry_ns < UINT64_C(86400000000000) ? failed->retry_ns
	                                                             : UINT64_C(86400000000000);
	peer->shown.retry_realtime_ns = gd_clock_now().realtime_ns + (int64_t)wait;
	gd_text_escape(peer->shown.last_error, sizeof(peer->shown.last_error), failed->why,
	               strlen(failed->why));
	(void)gd_spool_failed(peer->spool, id, failed->why, NULL);
	return 0;
}

static int on_return(struct gd_upload_peer *peer, const union body *body, struct gd_error *err)
{
	(void)body, (void)err;
	end_transfer(peer);
	return 0;
}

/* What it may say, when, and how long that is. */
static const struct request {
	enum gd_upload_type type;
	unsigned allowed; /* enum state */
	size_t size;
	int (*handle)(struct gd_upload_peer *peer, const union body *body, struct gd_error *err);
} requests[] = {
	{ GD_UPLOAD_ASK, QUIET | ASKED | BUSY, sizeof(struct gd_upload_ask), on_ask },
	{ GD_UPLOAD_DONE, BUSY, sizeof(struct gd_upload_done), on_done },
	{ GD_UPLOAD_FAILED, BUSY, sizeof(struct gd_upload_failed), on_failed },
	{ GD_UPLOAD_RETURN, BUSY, sizeof(struct gd_upload_return), on_return },
};

static const struct request *find_request(uint16_t type)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		if (requests[i].type == type)
			return &requests[i];
	return NULL;
}

static int handle_one(struct gd_upload_peer *peer, const struct gd_message *message,
                      const union body *body, struct gd_error *err)
{
	const struct request *request = find_request(message->type);
	if (request == NULL || message->n_fds > 0)
		return gd_fail(err, -EBADMSG, "the uploader says something of type %u",
		               message->type);
	if ((request->allowed & peer->state) == 0)
		return gd_fail(err, -EBADMSG, "the uploader's %u comes out of turn",
		               message->type);
	int r = gd_message_body(message, request->size, err);
	if (r < 0)
		return r;
	/* Answers begin with the id, and are for the transfer that is running. */
	if (request->allowed == BUSY &&
	    (message->seq != peer->seq ||
	     strncmp(body->bytes, peer->shown.id, sizeof(peer->shown.id)) != 0))
		return gd_fail(err, -EBADMSG, "the uploader answers for another archive");
	return request->handle(peer, body, err);
}

static int on_end(struct gd_upload_peer *peer, struct gd_error *err)
{
	/* If it died of this archive, the others get their turn first. */
	if (peer->state == BUSY) {
		(void)gd_spool_failed(peer->spool, peer->shown.id,
		                      "the uploader ended while it had this archive", NULL);
		end_transfer(peer);
	}
	return gd_fail(err, -EPIPE, "the uploader has gone");
}

int gd_upload_peer_handle(struct gd_upload_peer *peer, struct gd_error *err)
{
	union body body;
	/* A few at a time: it must not keep the broker from its other work. */
	for (unsigned i = 0; i < 4; i++) {
		GD_MESSAGE struct gd_message message = { .n_fds = 0 };
		int r = gd_message_recv(peer->fd, &message, &body, sizeof(body), err);
		if (r == -EAGAIN)
			return 0;
		if (r == 0)
			return on_end(peer, err);
		if (r > 0)
			r = handle_one(peer, &message, &body, err);
		if (r < 0) {
			if (peer->state == BUSY)
				(void)on_end(peer, NULL);
			return r;
		}
	}
	return 0;
}
