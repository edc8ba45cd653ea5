#include "agent/hook_request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hook_head.h"
#include "agent/hook_triggers.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"

#define SECOND INT64_C(1000000000)
#define BODY_MAX GD_HOOK_BODY_MAX
#define REPLY_MAX (8U << 20)
#define QUIET_NS (10 * SECOND)
#define ID_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"

struct gd_hook_request {
	struct gd_hook_desk *desk;
	struct gd_hook_head head;
	const struct endpoint *endpoint; /* NULL: none of that path */
	enum gd_hook_proof proof;
	char who[GD_POLICY_NAME_MAX]; /* name of the token or key; "uid:N" */
	struct gd_buf body;
	struct gd_hook_triggers triggers;
	bool begun; /* answers come by `ready` */
	gd_hook_request_fn *ready;
	void *arg;
	struct gd_hook_reply reply;
};

static void hooks(struct gd_hook_request *request, const struct gd_hook_token *token);
static void captures(struct gd_hook_request *request, const struct gd_hook_token *token);
static void operation(struct gd_hook_request *request, const struct gd_hook_token *token);
static void health(struct gd_hook_request *request, const struct gd_hook_token *token);
static void metrics(struct gd_hook_request *request, const struct gd_hook_token *token);

static const struct endpoint {
	const char *method, *path;
	bool prefix, open; /* anything below it; without proof */
	enum gd_hook_shape shape;
	int too_many; /* status: Alertmanager gives up on a 429 but comes back after a 503 */
	void (*serve)(struct gd_hook_request *request, const struct gd_hook_token *token);
} endpoints[] = {
	{ "POST", "/v1/hooks/alertmanager", false, false, GD_HOOK_ALERTMANAGER, 503, hooks },
	{ "POST", "/v1/hooks/generic", false, false, GD_HOOK_GENERIC, 429, hooks },
	{ "POST", "/v1/captures", false, false, GD_HOOK_CAPTURE, 429, captures },
	{ "GET", "/v1/captures/", true, false, GD_HOOK_CAPTURE, 429, operation },
	{ "GET", "/healthz", false, true, GD_HOOK_CAPTURE, 429, health },
	{ "GET", "/metrics", false, false, GD_HOOK_CAPTURE, 429, metrics },
};

/* ---- replies ---- */

static void reply(struct gd_hook_request *request, int status)
{
	request->reply.status = status;
	gd_hook_counts_answer(&request->desk->counts, status);
}

static void reply_error(struct gd_hook_request *request, int status, const char *text)
{
	struct gd_json json = GD_JSON_INIT(&request->reply.body);
	gd_buf_reset(&request->reply.body);
	gd_json_object(&json, NULL);
	gd_json_string(&json, "error", text);
	gd_json_object_end(&json);
	if (status == 503 && request->reply.retry_s == 0)
		request->reply.retry_s = 1;
	reply(request, status);
}

/* The same for every reason: a bad token, no token, a rule that is not there or not for you. */
static void reply_unauthorized(struct gd_hook_request *request)
{
	struct gd_hook_desk *desk = request->desk;
	int64_t now_ns = gd_clock_monotonic_ns();
	reply_error(request, 401, "unauthorized");
	desk->unlogged++;
	if (now_ns < desk->quiet_until_ns)
		return;
	gd_log(GD_LOG_WARNING, "hook: %" PRIu64 " unauthorized request%s, the last one %s %s",
	       desk->unlogged, desk->unlogged == 1 ? "" : "s", request->head.method,
	       request->head.path);
	desk->unlogged = 0;
	desk->quiet_until_ns = now_ns + QUIET_NS;
}

static void finish(struct gd_hook_request *request)
{
	if (request->begun)
		request->ready(request->arg);
}

/* ---- alerts ---- */

static void log_triggers(const struct gd_hook_request *request)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	gd_hook_triggers_summary(&request->triggers, &text);
	gd_log(GD_LOG_INFO, "hook: %s by %s: %s", request->head.path, request->who,
	       gd_buf_str(&text));
}

static void hooks_done(void *arg)
{
	struct gd_hook_request *request = arg;
	struct gd_json json = GD_JSON_INIT(&request->reply.body);
	bool busy = gd_hook_triggers_put(&request->triggers, &json);
	if (busy)
		request->reply.retry_s = 1;
	log_triggers(request);
	reply(request, busy ? 503 : 200);
	finish(request);
}

static void captures_done(void *arg)
{
	struct gd_hook_request *request = arg;
	const struct gd_hook_outcome *outcome = &request->triggers.list[0];
	struct gd_json json = GD_JSON_INIT(&request->reply.body);
	int status = outcome->answer.verdict == GD_VERDICT_ADMITTED     ? 202 :
	             outcome->answer.verdict == GD_VERDICT_DUPLICATE    ? 409 :
	             gd_hook_triggers_is_busy(outcome->answer.verdict) ? 503 : 429;
	gd_json_object(&json, NULL);
	gd_hook_triggers_put_outcome(outcome, &json);
	gd_json_object_end(&json);
	if (status == 202)
		(void)snprintf(request->reply.location, sizeof(request->reply.location),
		               "/v1/captures/%s", outcome->answer.id);
	if (status == 429 || status == 503) {
		int64_t s = (outcome->answer.retry_ns + SECOND - 1) / SECOND;
		int64_t unknown = status == 503 ? 1 : 60;
		request->reply.retry_s = (unsigned)(s < 1 ? unknown : s > 86400 ? 86400 : s);
	}
	log_triggers(request);
	reply(request, status);
	finish(request);
}

static void refuse_body(struct gd_hook_request *request, int r, const struct gd_error *err)
{
	reply_error(request, r == -E2BIG ? 413 : r == -ENOMEM ? 503 : 400, err->msg);
}

static void start(struct gd_hook_request *request, const struct gd_hook_token *token,
                  void (*done)(void *arg))
{
	struct gd_error err = { 0 };
	int r = gd_hook_triggers_begin(&request->triggers, request->desk->link,
	                               request->endpoint->shape, request->body.data,
	                               request->body.len, request->who, token, done, request,
	                               &err);
	request->desk->counts.alerts += request->triggers.n_asked;
	if (r == -ENOENT)
		reply_unauthorized(request);
	else if (r == -EPIPE)
		reply_error(request, 503, "the agent is not there");
	else if (r < 0)
		refuse_body(request, r, &err);
}

static void hooks(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	start(request, token, hooks_done);
}

static void captures(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	start(request, token, captures_done);
}

/* ---- questions without a trigger ---- */

static void operation_done(void *arg, struct gd_message *message, const void *body)
{
	struct gd_hook_request *request = arg;
	struct gd_hook_operation_answer answer;
	struct gd_json json = GD_JSON_INIT(&request->reply.body);
	if (message == NULL || message->type != GD_HOOK_OPERATION ||
	    gd_message_body(message, sizeof(answer), NULL) < 0) {
		reply_error(request, 503, "the agent is not there");
		finish(request);
		return;
	}
	memcpy(&answer, body, sizeof(answer));
	answer.state[sizeof(answer.state) - 1] = '\0';
	answer.digest[sizeof(answer.digest) - 1] = '\0';
	if (!answer.known) {
		reply_error(request, 404, "no such capture");
		finish(request);
		return;
	}
	gd_json_object(&json, NULL);
	gd_json_string(&json, "id", strrchr(request->head.path, '/') + 1);
	gd_json_string(&json, "state", answer.state);
	if (answer.exit >= 0)
		gd_json_i64(&json, "exit", answer.exit);
	else
		gd_json_null(&json, "exit");
	gd_json_string(&json, "digest", answer.digest[0] != '\0' ? answer.digest : NULL);
	gd_json_object_end(&json);
	reply(request, 200);
	finish(request);
}

static void operation(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	(void)token;
	struct gd_hook_id question = { "" };
	const char *id = request->head.path + strlen(request->endpoint->path);
	size_t n = strlen(id);
	if (n == 0 || n >= sizeof(question.id) || strspn(id, ID_LETTERS) != n) {
		reply_error(request, 404, "no such capture");
		return;
	}
	memcpy(question.id, id, n);
	if (gd_hook_link_ask(request->desk->link, GD_HOOK_ASK_OPERATION, &question,
	                     sizeof(question), operation_done, request, NULL) < 0)
		reply_error(request, 503, "the agent is not there");
}

static void put_metrics(struct gd_hook_request *request, const char *text, size_t n)
{
	struct gd_hook_desk *desk = request->desk;
	request->reply.is_text = true;
	gd_buf_append(&request->reply.body, text, n);
	gd_hook_counts_put(&desk->counts, desk->open_connections,
	                   gd_hook_link_is_up(desk->link), &request->reply.body);
	reply(request, 200);
}

static void metrics_done(void *arg, struct gd_message *message, const void *body)
{
	struct gd_hook_request *request = arg;
	struct gd_hook_blob blob = { .size = 0 };
	GD_FREE char *text = NULL;
	if (message != NULL && message->type == GD_HOOK_METRICS && message->n_fds == 1 &&
	    gd_message_body(message, sizeof(blob), NULL) == 0) {
		memcpy(&blob, body, sizeof(blob));
		(void)gd_hook_table_read(message->fds[0], blob.size, GD_HOOK_METRICS_MAX, &text,
		                         NULL);
	}
	put_metrics(request, text != NULL ? text : "", text != NULL ? blob.size : 0);
	finish(request);
}

static void metrics(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	(void)token;
	/* Without the agent our own figures are what is left to alert on. */
	if (gd_hook_link_ask(request->desk->link, GD_HOOK_ASK_METRICS, NULL, 0, metrics_done,
	                     request, NULL) < 0)
		put_metrics(request, "", 0);
}

static void health(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	(void)token;
	if (!gd_hook_link_is_up(request->desk->link)) {
		reply_error(request, 503, "the agent is not there");
		return;
	}
	gd_buf_puts(&request->reply.body, "{\"status\":\"ok\"}");
	reply(request, 200);
}

/* ---- its life ---- */

static const struct endpoint *find_endpoint(struct gd_hook_request *request)
{
	const char *path = request->head.path;
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(*endpoints); i++) {
		const struct endpoint *e = &endpoints[i];
		if (e->prefix ? strncmp(path, e->path, strlen(e->path)) != 0 :
		                strcmp(path, e->path) != 0)
			continue;
		if (strcmp(request->head.method, e->method) == 0)
			return e;
		request->reply.allow = e->method;
	}
	return NULL;
}

static void set_who(struct gd_hook_request *request, const struct gd_hook_token *token)
{
	if (token != NULL)
		(void)snprintf(request->who, sizeof(request->who), "%s", token->name);
	else
		(void)snprintf(request->who, sizeof(request->who), "uid:%" PRId64,
		               request->head.peer_uid);
}

int gd_hook_request_create(struct gd_hook_desk *desk, const struct gd_hook_head *head,
                           gd_hook_request_fn *ready, void *arg, struct gd_hook_request **ret,
                           struct gd_error *err)
{
	struct gd_hook_request *request = calloc(1, sizeof(*request));
	if (request == NULL)
		return gd_fail(err, -ENOMEM, "a request");
	struct gd_clock now = gd_clock_now();
	const struct gd_hook_token *token = NULL;
	request->desk = desk;
	request->head = *head;
	request->ready = ready;
	request->arg = arg;
	request->body = GD_BUF_INIT(BODY_MAX);
	request->reply.body = GD_BUF_INIT(REPLY_MAX);
	request->endpoint = find_endpoint(request);
	/* Without tokens the permissions of the unix socket are the proof. */
	if (!gd_hook_auth_has_tokens(desk->auth))
		request->proof = head->peer_uid >= 0 ? GD_HOOK_PROOF_KNOWN : GD_HOOK_PROOF_NONE;
	else
		request->proof = gd_hook_auth_begin(desk->auth, &head->credentials, &now, &token);
	*ret = request;
	return 0;
}

void gd_hook_request_destroy(struct gd_hook_request *request)
{
	if (request == NULL)
		return;
	gd_hook_link_cancel(request->desk->link, request);
	gd_hook_triggers_deinit(&request->triggers);
	gd_buf_deinit(&request->body);
	gd_buf_deinit(&request->reply.body);
	free(request);
}

bool gd_hook_request_is_known(const struct gd_hook_request *request)
{
	return request->proof == GD_HOOK_PROOF_KNOWN;
}

void gd_hook_request_body(struct gd_hook_request *request, const void *bytes, size_t n)
{
	if (request->endpoint != NULL && request->proof != GD_HOOK_PROOF_NONE)
		gd_buf_append(&request->body, bytes, n);
}

/* Who it is, now that the body is there; NULL with the reply made when it is nobody. */
static bool prove(struct gd_hook_request *request, const struct gd_hook_token **token)
{
	struct gd_hook_auth *auth = request->desk->auth;
	const struct gd_hook_head *head = &request->head;
	struct gd_clock now = gd_clock_now();
	enum gd_hook_proof proof = request->proof;
	if (proof == GD_HOOK_PROOF_LATER)
		proof = gd_hook_auth_verify(auth, &head->credentials, head->method, head->path,
		                            request->body.data, request->body.len, &now, token);
	else if (proof == GD_HOOK_PROOF_KNOWN && gd_hook_auth_has_tokens(auth))
		/* Once more: the tokens may have been changed while the body came. */
		proof = gd_hook_auth_begin(auth, &head->credentials, &now, token);
	if (proof == GD_HOOK_PROOF_KNOWN) {
		set_who(request, *token);
		if (gd_hook_auth_rate(auth, request->who, &now))
			return true;
		request->reply.retry_s = 1;
		reply_error(request, request->endpoint->too_many, "too many requests");
	} else if (proof == GD_HOOK_PROOF_REPLAY) {
		reply_error(request, 409, "this signature was used before");
	} else if (proof == GD_HOOK_PROOF_FULL) {
		request->reply.retry_s = 60;
		reply_error(request, 429, "too many signed requests in ten minutes");
	} else {
		reply_unauthorized(request);
	}
	return false;
}

bool gd_hook_request_begin(struct gd_hook_request *request)
{
	const struct gd_hook_token *token = NULL;
	if (request->reply.status != 0)
		return true;
	if (request->endpoint == NULL)
		reply_error(request, request->reply.allow != NULL ? 405 : 404,
		            request->reply.allow != NULL ? "method not allowed" : "not found");
	else if (request->body.failed < 0)
		reply_error(request, 503, "no memory");
	else if (request->endpoint->open || prove(request, &token))
		request->endpoint->serve(request, token);
	request->begun = request->reply.status == 0;
	return !request->begun;
}

void gd_hook_request_expire(struct gd_hook_request *request)
{
	gd_hook_link_cancel(request->desk->link, request);
	gd_hook_triggers_cancel(&request->triggers);
	if (request->reply.status == 0)
		reply_error(request, 503, "the agent is busy");
}

const struct gd_hook_reply *gd_hook_request_reply(const struct gd_hook_request *request)
{
	return &request->reply;
}
