/*
 * The broker's end of the hook: answers questions of a process that reads what strangers send.  One
 * malformed record ends the connection; so does a hook that does not read its answers, because the
 * broker waits for nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hook.h"
#include "agent/hook_record.h"
#include "agent/hook_table.h"
#include "base/cleanup.h"
#include "base/message.h"

/* Records handled before others get their turn. */
#define ROUND 32

struct gd_hook_peer {
	int fd;
	uint32_t generation;
	const struct gd_policy *policy;
	const struct gd_hook_ops *ops;
	void *arg;
	char problem[248];
};

static int send_blob(const struct gd_hook_peer *peer, uint16_t type, uint32_t seq,
                     uint32_t generation, const struct gd_buf *bytes, struct gd_error *err)
{
	GD_CLOSE int fd = gd_hook_table_memfd(bytes->data, bytes->len, err);
	if (fd < 0)
		return fd;
	struct gd_hook_blob blob = { .generation = generation, .size = (uint32_t)bytes->len };
	return gd_message_send(peer->fd, type, seq, &blob, sizeof(blob), &fd, 1, err);
}

int gd_hook_peer_policy(struct gd_hook_peer *peer, const struct gd_policy *policy,
                        struct gd_error *err)
{
	GD_BUF struct gd_buf table = GD_BUF_INIT(GD_HOOK_TABLE_MAX);
	gd_hook_table_put(policy, &table);
	int r = gd_buf_check(&table, "the hook's table of rules", err);
	if (r < 0)
		return r;
	/* Questions under way were asked about the old one: their numbers mean nothing now. */
	peer->policy = policy;
	peer->generation++;
	return send_blob(peer, GD_HOOK_POLICY, 0, peer->generation, &table, err);
}

int gd_hook_peer_create(int fd, const struct gd_policy *policy, const struct gd_hook_ops *ops,
                        void *arg, struct gd_hook_peer **ret, struct gd_error *err)
{
	GD_CLOSE int ours = fd;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "the hook's connection");
	struct gd_hook_peer *peer = calloc(1, sizeof(*peer));
	if (peer == NULL)
		return gd_fail(err, -ENOMEM, "the hook's connection");
	peer->fd = gd_steal_fd(&ours);
	peer->ops = ops;
	peer->arg = arg;
	int r = gd_hook_peer_policy(peer, policy, err);
	if (r < 0) {
		gd_hook_peer_destroy(peer);
		return r;
	}
	*ret = peer;
	return 0;
}

void gd_hook_peer_destroy(struct gd_hook_peer *peer)
{
	if (peer == NULL)
		return;
	(void)close(peer->fd);
	free(peer);
}

int gd_hook_peer_fd(const struct gd_hook_peer *peer)
{
	return peer->fd;
}

const char *gd_hook_peer_problem(const struct gd_hook_peer *peer)
{
	return peer->problem;
}

/* ---- is it what it says it is ---- */

/* Terminated, at least `min` long, and made of `letters` only. */
static bool is_made_of(const char *text, size_t size, size_t min, const char *letters)
{
	size_t n = strnlen(text, size);
	return n < size && n >= min && strspn(text, letters) == n;
}

static bool is_printable(const char *text, size_t size)
{
	size_t n = strnlen(text, size);
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return n < size;
}

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static bool trigger_ok(const struct gd_hook_trigger *t)
{
	return is_made_of(t->fingerprint, sizeof(t->fingerprint), 0, DIGITS "abcdef") &&
	       is_made_of(t->starts_at, sizeof(t->starts_at), 0, DIGITS "TZtz:.+-") &&
	       is_printable(t->reason, sizeof(t->reason)) &&
	       is_made_of(t->token, sizeof(t->token), 1, DIGITS LETTERS "-_.:");
}

/* ---- questions ---- */

static int grant_trigger(struct gd_hook_peer *peer, const struct gd_message *message,
                         const void *body, struct gd_error *err)
{
	struct gd_hook_question q;
	int r = gd_message_body(message, sizeof(q), err);
	if (r < 0)
		return r;
	memcpy(&q, body, sizeof(q));
	if (!trigger_ok(&q.trigger))
		return gd_fail(err, -EBADMSG, "the hook sent a trigger with strange text");
	struct gd_hook_answer answer = { .verdict = GD_HOOK_STALE };
	if (q.generation == peer->generation) {
		if (q.trigger.rule >= peer->policy->n_rules ||
		    peer->policy->rules[q.trigger.rule].kind != GD_WHEN_ALERT)
			return gd_fail(err, -EBADMSG, "the hook asked for rule %u", q.trigger.rule);
		struct gd_hook_verdict verdict = { .verdict = GD_VERDICT_BUSY };
		peer->ops->trigger(peer->arg, &q.trigger, &verdict);
		answer.verdict = (int32_t)verdict.verdict;
		answer.retry_ns = verdict.retry_ns;
		memcpy(answer.id, verdict.id, sizeof(answer.id));
		memcpy(answer.why, verdict.why, sizeof(answer.why));
	}
	return gd_message_send(peer->fd, GD_HOOK_VERDICT, message->seq, &answer, sizeof(answer),
	                       NULL, 0, err);
}

static int grant_operation(struct gd_hook_peer *peer, const struct gd_message *message,
                           const void *body, struct gd_error *err)
{
	struct gd_hook_id q;
	int r = gd_message_body(message, sizeof(q), err);
	if (r < 0)
		return r;
	memcpy(&q, body, sizeof(q));
	if (!is_made_of(q.id, sizeof(q.id), 1, DIGITS LETTERS ".-"))
		return gd_fail(err, -EBADMSG, "the hook asked for a strange capture id");
	struct gd_hook_operation operation = { .exit = -1 };
	peer->ops->operation(peer->arg, q.id, &operation);
	struct gd_hook_operation_answer answer = { .known = operation.known,
		                                   .exit = operation.exit };
	memcpy(answer.state, operation.state, sizeof(answer.state));
	memcpy(answer.digest, operation.digest, sizeof(answer.digest));
	return gd_message_send(peer->fd, GD_HOOK_OPERATION, message->seq, &answer, sizeof(answer),
	                       NULL, 0, err);
}

static int grant_metrics(struct gd_hook_peer *peer, const struct gd_message *message,
                         struct gd_error *err)
{
	int r = gd_message_body(message, 0, err);
	if (r < 0)
		return r;
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_HOOK_METRICS_MAX);
	peer->ops->metrics(peer->arg, &text);
	if (gd_buf_check(&text, "metrics", NULL) < 0)
		gd_buf_reset(&text);
	return send_blob(peer, GD_HOOK_METRICS, message->seq, 0, &text, err);
}

static int grant_http(struct gd_hook_peer *peer, const struct gd_message *message,
                      const void *body, struct gd_error *err)
{
	struct gd_hook_sample sample;
	int r = gd_message_body(message, sizeof(sample), err);
	if (r < 0)
		return r;
	memcpy(&sample, body, sizeof(sample));
	if (sample.generation != peer->generation)
		return 0;
	if (sample.service >= peer->policy->n_services ||
	    peer->policy->services[sample.service].scrape == NULL ||
	    (!isnan(sample.p99_s) && !(sample.p99_s >= 0 && sample.p99_s < 1e9)))
		return gd_fail(err, -EBADMSG, "the hook sent a sample for service %u",
		               sample.service);
	peer->ops->http(peer->arg, sample.service, sample.p99_s);
	return 0;
}

static int take_problem(struct gd_hook_peer *peer, const struct gd_message *message,
                        const void *body, struct gd_error *err)
{
	struct gd_hook_text says;
	int r = gd_message_body(message, sizeof(says), err);
	if (r < 0)
		return r;
	memcpy(&says, body, sizeof(says));
	if (!is_printable(says.text, sizeof(says.text)))
		return gd_fail(err, -EBADMSG, "the hook said something unprintable");
	memcpy(peer->problem, says.text, sizeof(peer->problem));
	return 0;
}

static int handle_one(struct gd_hook_peer *peer, const struct gd_message *message,
                      const void *body, struct gd_error *err)
{
	if (message->n_fds > 0)
		return gd_fail(err, -EBADMSG, "the hook sent descriptors");
	switch (message->type) {
	case GD_HOOK_ASK_TRIGGER:
		return grant_trigger(peer, message, body, err);
	case GD_HOOK_ASK_OPERATION:
		return grant_operation(peer, message, body, err);
	case GD_HOOK_ASK_METRICS:
		return grant_metrics(peer, message, err);
	case GD_HOOK_HTTP_SAMPLE:
		return grant_http(peer, message, body, err);
	case GD_HOOK_SAYS:
		return take_problem(peer, message, body, err);
	default:
		return gd_fail(err, -EBADMSG, "the hook sent a record of type %u", message->type);
	}
}

int gd_hook_peer_handle(struct gd_hook_peer *peer, struct gd_error *err)
{
	/* Room for one byte more than any of its records has. */
	char body[sizeof(struct gd_hook_question) + 1];
	for (int i = 0; i < ROUND; i++) {
		GD_MESSAGE struct gd_message message = { .n_fds = 0 };
		int r = gd_message_recv(peer->fd, &message, body, sizeof(body), err);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		if (r == 0)
			return gd_fail(err, -EPIPE, "the hook has gone");
		r = handle_one(peer, &message, body, err);
		if (r == -EAGAIN)
			return gd_fail(err, -EBADMSG, "the hook does not read its answers");
		if (r < 0)
			return r;
	}
	return 0;
}
