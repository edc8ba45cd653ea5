#include "agent/hook_http.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Including those that were hung up and that libmicrohttpd has not seen off yet. */
#define PLACES 64
#define MEMORY_BYTES (32U << 10)
/* Turns of libmicrohttpd until a request that is all there has been answered. */
#define TURNS 8

struct connection {
	bool used, closing, suspended;
	int fd;
	int64_t since_ns;
	int64_t peer_uid, peer_pid;
	struct MHD_Connection *mhd; /* NULL until it was started */
	struct gd_hook_request *request;
};

struct gd_hook_http {
	struct gd_hook_desk *desk;
	struct MHD_Daemon *daemon;
	struct connection places[PLACES];
};

static unsigned count(const struct gd_hook_http *http, bool closing_too)
{
	unsigned n = 0;
	for (size_t i = 0; i < PLACES; i++)
		n += http->places[i].used && (closing_too || !http->places[i].closing);
	return n;
}

/* libmicrohttpd owns the descriptor: this ends it, the daemon closes it. */
static void hang_up(struct connection *connection)
{
	connection->closing = true;
	(void)shutdown(connection->fd, SHUT_RDWR);
}

/* ---- callbacks of libmicrohttpd ---- */

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
	struct gd_hook_http *http = arg;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		struct connection *connection = *context;
		if (connection != NULL) {
			gd_hook_request_destroy(connection->request);
			*connection = (struct connection){ .used = false };
		}
		return;
	}
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	for (size_t i = 0; i < PLACES && info != NULL; i++) {
		struct connection *connection = &http->places[i];
		if (connection->used && connection->fd == info->connect_fd &&
		    connection->mhd == NULL) {
			connection->mhd = mhd;
			*context = connection;
			return;
		}
	}
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **request_context,
                         enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)mhd;
	(void)why;
	struct connection *connection = *request_context;
	if (connection != NULL) {
		gd_hook_request_destroy(connection->request);
		connection->request = NULL;
	}
	*request_context = NULL;
}

/* An answer that had to wait for the broker. */
static void on_ready(void *arg)
{
	struct connection *connection = arg;
	if (connection->suspended) {
		connection->suspended = false;
		MHD_resume_connection(connection->mhd);
	}
}

static const char *header(struct MHD_Connection *mhd, const char *name)
{
	return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

static enum MHD_Result begin(struct gd_hook_http *http, struct connection *connection,
                             const char *url, const char *method)
{
	struct MHD_Connection *mhd = connection->mhd;
	struct gd_hook_head head = {
		.method = method,
		.path = url,
		.credentials = { header(mhd, "Authorization"), header(mhd, "X-Godiag-Timestamp"),
		                 header(mhd, "X-Godiag-Nonce"), header(mhd, "X-Godiag-Signature") },
		.peer_uid = connection->peer_uid,
		.peer_pid = connection->peer_pid,
	};
	return gd_hook_request_create(http->desk, &head, on_ready, connection,
	                              &connection->request, NULL) == 0 ? MHD_YES : MHD_NO;
}

static void add_headers(struct MHD_Response *response, const struct gd_hook_reply *reply)
{
	char seconds[16];
	(void)MHD_add_response_header(response, "Connection", "close");
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	(void)MHD_add_response_header(response, "Content-Type",
	                              reply->is_text ? "text/plain; version=0.0.4; charset=utf-8" :
	                                               "application/json");
	if (reply->retry_s > 0) {
		(void)snprintf(seconds, sizeof(seconds), "%u", reply->retry_s);
		(void)MHD_add_response_header(response, "Retry-After", seconds);
	}
	if (reply->location[0] != '\0')
		(void)MHD_add_response_header(response, "Location", reply->location);
	if (reply->status == 401)
		(void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	if (reply->allow != NULL)
		(void)MHD_add_response_header(response, "Allow", reply->allow);
}

static enum MHD_Result answer(struct connection *connection)
{
	const struct gd_hook_reply *reply = gd_hook_request_reply(connection->request);
	/* The library only reads it, although its parameter is not const. */
	union {
		const char *in;
		void *out;
	} body = { .in = reply->body.data };
	struct MHD_Response *response =
		MHD_create_response_from_buffer(reply->body.len, body.out, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	add_headers(response, reply);
	enum MHD_Result r =
		MHD_queue_response(connection->mhd, (unsigned)reply->status, response);
	MHD_destroy_response(response);
	return r;
}

/* Called with the head, then with pieces of the body, then without any; again after a wait. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *n, void **request_context)
{
	struct gd_hook_http *http = arg;
	(void)version;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *connection = info != NULL ? info->socket_context : NULL;
	if (connection == NULL)
		return MHD_NO;
	if (*request_context == NULL) {
		*request_context = connection;
		return connection->request == NULL ? begin(http, connection, url, method) : MHD_NO;
	}
	if (*n > 0) {
		gd_hook_request_body(connection->request, bytes, *n);
		*n = 0;
		return MHD_YES;
	}
	if (gd_hook_request_reply(connection->request)->status != 0 ||
	    gd_hook_request_begin(connection->request))
		return answer(connection);
	connection->suspended = true;
	MHD_suspend_connection(mhd);
	return MHD_YES;
}

/* Paths are taken as they were sent: what is signed is what is served. */
static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *text)
{
	(void)arg;
	(void)mhd;
	return strlen(text);
}

/* ---- life ---- */

int gd_hook_http_create(struct gd_hook_desk *desk, struct gd_hook_http **ret,
                        struct gd_error *err)
{
	struct gd_hook_http *http = calloc(1, sizeof(*http));
	if (http == NULL)
		return gd_fail(err, -ENOMEM, "the HTTP server");
	http->desk = desk;
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)PLACES,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, 10U, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, http,
		MHD_OPTION_END);
	if (http->daemon == NULL) {
		free(http);
		return gd_fail(err, -EIO, "libmicrohttpd does not start");
	}
	*ret = http;
	return 0;
}

void gd_hook_http_destroy(struct gd_hook_http *http)
{
	if (http == NULL)
		return;
	for (size_t i = 0; i < PLACES; i++) {
		struct connection *connection = &http->places[i];
		if (connection->used && connection->suspended) {
			gd_hook_request_expire(connection->request);
			on_ready(connection);
		}
	}
	gd_hook_http_run(http);
	MHD_stop_daemon(http->daemon);
	free(http);
}

int gd_hook_http_fd(const struct gd_hook_http *http)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return info != NULL ? info->epoll_fd : -1;
}

unsigned gd_hook_http_count(const struct gd_hook_http *http)
{
	return count(http, true);
}

void gd_hook_http_run(struct gd_hook_http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	for (int i = 0; i < TURNS; i++) {
		(void)MHD_run(http->daemon);
		if (MHD_get_timeout(http->daemon, &timeout_ms) != MHD_YES || timeout_ms > 0)
			return;
	}
}

/* ---- who gets a place ---- */

static bool evict_one(struct gd_hook_http *http)
{
	struct connection *oldest = NULL;
	for (size_t i = 0; i < PLACES; i++) {
		struct connection *c = &http->places[i];
		bool known = c->request != NULL && gd_hook_request_is_known(c->request);
		if (c->used && !c->closing && !c->suspended && !known &&
		    (oldest == NULL || c->since_ns < oldest->since_ns))
			oldest = c;
	}
	if (oldest == NULL)
		return false;
	http->desk->counts.evicted++;
	hang_up(oldest);
	return true;
}

static void ask_peer(struct connection *connection, const struct gd_hook_caller *caller)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	connection->peer_uid = -1;
	if (caller->address.ss_family != AF_UNIX ||
	    getsockopt(caller->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return;
	connection->peer_uid = peer.uid;
	connection->peer_pid = peer.pid;
}

bool gd_hook_http_admit(struct gd_hook_http *http, const struct gd_hook_caller *caller)
{
	const unsigned most = GD_HOOK_CONNECTIONS + GD_HOOK_RESERVE;
	/* Whoever can be served is served before anybody has to go. */
	if (count(http, false) >= GD_HOOK_CONNECTIONS)
		gd_hook_http_run(http);
	if (count(http, false) >= most && !evict_one(http))
		return false;
	if (count(http, true) >= PLACES)
		gd_hook_http_run(http);
	struct connection *place = NULL;
	for (size_t i = 0; i < PLACES && place == NULL; i++)
		if (!http->places[i].used)
			place = &http->places[i];
	if (place == NULL)
		return false;
	*place = (struct connection){ .used = true, .fd = caller->fd,
		                      .since_ns = caller->since_ns };
	ask_peer(place, caller);
	/* On failure it has closed the descriptor. */
	if (MHD_add_connection(http->daemon, caller->fd, (const struct sockaddr *)&caller->address,
	                       caller->address_len) != MHD_YES)
		*place = (struct connection){ .used = false };
	return true;
}

void gd_hook_http_sweep(struct gd_hook_http *http, int64_t now_ns)
{
	for (size_t i = 0; i < PLACES; i++) {
		struct connection *c = &http->places[i];
		if (!c->used || c->closing)
			continue;
		int64_t age_ns = now_ns - c->since_ns;
		if (c->suspended && age_ns > GD_HOOK_BROKER_DEADLINE_NS) {
			gd_hook_request_expire(c->request);
			on_ready(c);
		} else if (!c->suspended && age_ns > GD_HOOK_REQUEST_DEADLINE_NS) {
			hang_up(c);
		}
	}
}

void gd_hook_http_warm(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	time_t now = time(NULL);
	struct tm tm;
	/* Time zones, OpenSSL's configuration, the seed of hash tables. */
	tzset();
	(void)gmtime_r(&now, &tm);
	(void)EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);
	(void)HMAC(EVP_sha256(), "key", 3, digest, 1, digest, &n);
	json_object_seed(0);
}
