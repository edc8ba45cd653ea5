#include "agent/hook_server.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/hook_http.h"
#include "agent/hook_lobby.h"
#include "agent/scraper.h"
#include "base/cleanup.h"
#include "base/log.h"

#define LISTEN_MAX 8
#define EVENTS 128
#define BUSY_MS 50   /* between looks at deadlines while there is anybody */
#define IDLE_MS 1000
#define ALIVE_NS INT64_C(1000000000)

/* data.u64 of what is no guest of the lobby; listening sockets come after these. */
enum { FROM_LAUNCHER, FROM_BROKER, FROM_SCRAPER, FROM_HTTP, FROM_LISTENER };

struct server {
	int control_fd, epoll_fd, scraper_fd;
	int listen_fds[LISTEN_MAX];
	size_t n_listen;
	bool asked_listen; /* where to listen comes from the policy */
	struct gd_hook_place place;
	struct gd_hook_text problem; /* the launcher's */
	struct gd_hook_desk desk;
	struct gd_hook_lobby *lobby;
	struct gd_hook_http *http;
	bool without[GD_POLICY_SERVICES_MAX]; /* the last scrape of it failed */
	int64_t alive_ns;
	int exit; /* >= 0: end */
};

static int watch(struct server *server, int fd, uint64_t tag, struct gd_error *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	event.data.u64 = tag;
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return gd_fail_errno(err, -errno, "epoll_ctl");
	return 0;
}

static void tell_launcher(struct server *server, uint16_t type, const void *body, size_t n)
{
	struct gd_error err = { 0 };
	if (gd_message_send(server->control_fd, type, 0, body, n, NULL, 0, &err) < 0 &&
	    err.code != -EAGAIN)
		server->exit = 1;
}

/* ---- the scraper ---- */

static void drop_scraper(struct server *server)
{
	if (server->scraper_fd >= 0)
		(void)close(server->scraper_fd);
	server->scraper_fd = -1;
}

/* What is to be scraped; asks for a scraper when there is none. */
static void tell_scraper(struct server *server)
{
	const struct gd_hook_table *table = gd_hook_link_table(server->desk.link);
	struct gd_scraper_service services[GD_POLICY_SERVICES_MAX];
	struct gd_error err = { 0 };
	if (table == NULL || (table->n_scrapes == 0 && server->scraper_fd < 0))
		return;
	if (server->scraper_fd < 0) {
		tell_launcher(server, GD_HOOK_ASK_SCRAPER, NULL, 0);
		return;
	}
	for (size_t i = 0; i < table->n_scrapes; i++)
		services[i] = (struct gd_scraper_service){ table->scrapes[i].service,
			                                   table->scrapes[i].url,
			                                   table->scrapes[i].histogram,
			                                   table->scrapes[i].fast };
	if (gd_scraper_tell(server->scraper_fd, table->generation, services, table->n_scrapes,
	                    &err) < 0) {
		gd_log(GD_LOG_WARNING, "hook: scraper: %s", err.msg);
		drop_scraper(server);
	}
}

static void relay_sample(struct server *server, const struct gd_scraper_sample *sample)
{
	const struct gd_hook_table *table = gd_hook_link_table(server->desk.link);
	struct gd_hook_sample record;
	if (table == NULL || sample->generation != table->generation ||
	    sample->service >= GD_POLICY_SERVICES_MAX)
		return;
	bool without = sample->why[0] != '\0';
	if (without != server->without[sample->service])
		gd_log(without ? GD_LOG_WARNING : GD_LOG_INFO, "hook: http_p99 of service %u: %s",
		       sample->service, without ? sample->why : "it answers again");
	server->without[sample->service] = without;
	memset(&record, 0, sizeof(record));
	record.generation = table->generation;
	record.service = sample->service;
	record.p99_s = sample->p99_s;
	(void)gd_hook_link_tell(server->desk.link, GD_HOOK_HTTP_SAMPLE, &record, sizeof(record),
	                        NULL);
}

static void from_scraper(struct server *server)
{
	struct gd_scraper_sample sample;
	struct gd_error err = { 0 };
	for (int i = 0; i < EVENTS && server->scraper_fd >= 0; i++) {
		int r = gd_scraper_recv(server->scraper_fd, &sample, &err);
		if (r == -EAGAIN)
			return;
		if (r > 0) {
			relay_sample(server, &sample);
			continue;
		}
		if (r < 0)
			gd_log(GD_LOG_WARNING, "hook: scraper: %s", err.msg);
		drop_scraper(server);
		tell_launcher(server, GD_HOOK_ASK_SCRAPER, NULL, 0);
	}
}

/* ---- the broker ---- */

/* For `godiag status`. */
static void tell_problem(struct server *server)
{
	(void)gd_hook_link_tell(server->desk.link, GD_HOOK_SAYS, &server->problem,
	                        sizeof(server->problem), NULL);
}

static void on_table(void *arg, const struct gd_hook_table *table)
{
	struct server *server = arg;
	struct gd_hook_place place = { .listen = "" };
	gd_log(GD_LOG_INFO, "hook: %zu rules with an alert, %zu services to scrape",
	       table->n_rules, table->n_scrapes);
	(void)snprintf(place.listen, sizeof(place.listen), "%s", table->listen);
	(void)snprintf(place.tokens, sizeof(place.tokens), "%s", table->tokens);
	if (server->asked_listen && memcmp(&place, &server->place, sizeof(place)) != 0) {
		gd_log(GD_LOG_INFO, "hook: the policy says another place now: %s", place.listen);
		server->exit = GD_HOOK_SERVER_AGAIN;
	} else if (!server->asked_listen && server->n_listen == 0) {
		server->asked_listen = true;
		server->place = place;
		tell_launcher(server, GD_HOOK_ASK_LISTEN, &place, sizeof(place));
	}
	tell_problem(server);
	tell_scraper(server);
}

static void from_broker(struct server *server)
{
	struct gd_error err = { 0 };
	if (gd_hook_link_handle(server->desk.link, &err) == 0)
		return;
	gd_log(GD_LOG_WARNING, "hook: %s", err.msg);
	tell_launcher(server, GD_HOOK_ASK_BROKER, NULL, 0);
}

/* ---- the launcher ---- */

static int take_broker(struct server *server, struct gd_message *message, struct gd_error *err)
{
	if (message->n_fds != 1)
		return gd_fail(err, -EBADMSG, "no connection to the broker in its record");
	int fd = message->fds[0];
	message->n_fds = 0;
	int r = gd_hook_link_connect(server->desk.link, fd, err);
	return r < 0 ? r : watch(server, fd, FROM_BROKER, err);
}

static int take_scraper(struct server *server, struct gd_message *message, struct gd_error *err)
{
	if (message->n_fds != 1)
		return gd_fail(err, -EBADMSG, "no scraper in its record");
	drop_scraper(server);
	server->scraper_fd = message->fds[0];
	message->n_fds = 0;
	if (fcntl(server->scraper_fd, F_SETFL, O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "the scraper's socket");
	int r = watch(server, server->scraper_fd, FROM_SCRAPER, err);
	if (r == 0)
		tell_scraper(server);
	return r;
}

static int take_listen(struct server *server, struct gd_message *message, struct gd_error *err)
{
	int r = 0;
	for (size_t i = 0; i < message->n_fds && r == 0; i++) {
		if (server->n_listen == LISTEN_MAX)
			return gd_fail(err, -E2BIG, "more than %d sockets", LISTEN_MAX);
		r = watch(server, message->fds[i], FROM_LISTENER + server->n_listen, err);
		if (r == 0) {
			server->listen_fds[server->n_listen++] = message->fds[i];
			message->fds[i] = -1;
		}
	}
	server->alive_ns = 0; /* the launcher waits to hear it */
	return r;
}

static int take_tokens(struct server *server, const char *text, size_t n, struct gd_error *err)
{
	struct gd_hook_tokens *tokens = NULL;
	int r = n > 0 ? gd_hook_tokens_parse("tokens", text, n, &tokens, err) : 0;
	if (r < 0)
		return r;
	gd_hook_auth_tokens(server->desk.auth, tokens);
	return 0;
}

static int take_problem(struct server *server, const struct gd_message *message, const void *body,
                        struct gd_error *err)
{
	int r = gd_message_body(message, sizeof(server->problem), err);
	if (r < 0)
		return r;
	memcpy(&server->problem, body, sizeof(server->problem));
	tell_problem(server);
	return 0;
}

static int from_launcher(struct server *server, struct gd_error *err)
{
	char body[GD_HOOK_TOKENS_FILE_MAX];
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	int r = gd_message_recv(server->control_fd, &message, body, sizeof(body), err);
	if (r == -EAGAIN)
		return 0;
	if (r == 0)
		server->exit = 0;
	if (r <= 0)
		return r;
	switch (message.type) {
	case GD_HOOK_BROKER:
		return take_broker(server, &message, err);
	case GD_HOOK_SCRAPER:
		return take_scraper(server, &message, err);
	case GD_HOOK_LISTEN:
		return take_listen(server, &message, err);
	case GD_HOOK_TOKENS:
		return take_tokens(server, body, message.len, err);
	case GD_HOOK_PROBLEM:
		return take_problem(server, &message, body, err);
	default:
		return gd_fail(err, -EBADMSG, "a record of type %u from the launcher",
		               message.type);
	}
}

/* ---- the loop ---- */

static void on_head(void *arg, const struct gd_hook_caller *caller)
{
	struct server *server = arg;
	if (!gd_hook_http_admit(server->http, caller))
		gd_hook_lobby_refuse(server->lobby, caller->fd, 503);
}

static int handle(struct server *server, uint64_t tag, struct gd_error *err)
{
	if ((tag & GD_HOOK_LOBBY_TAG) != 0)
		gd_hook_lobby_event(server->lobby, tag);
	else if (tag == FROM_LAUNCHER)
		return from_launcher(server, err);
	else if (tag == FROM_BROKER)
		from_broker(server);
	else if (tag == FROM_SCRAPER)
		from_scraper(server);
	else if (tag >= FROM_LISTENER)
		gd_hook_lobby_accept(server->lobby, server->listen_fds[tag - FROM_LISTENER]);
	return 0; /* FROM_HTTP: it runs after each turn anyway */
}

static void say_alive(struct server *server, int64_t now_ns)
{
	if (now_ns - server->alive_ns < ALIVE_NS)
		return;
	struct gd_hook_alive alive = {
		.listening = (uint32_t)server->n_listen,
		.connected = gd_hook_link_is_up(server->desk.link),
	};
	server->alive_ns = now_ns;
	tell_launcher(server, GD_HOOK_ALIVE, &alive, sizeof(alive));
}

static int turn(struct server *server, struct gd_error *err)
{
	struct epoll_event events[EVENTS];
	bool busy = gd_hook_lobby_count(server->lobby) + gd_hook_http_count(server->http) > 0;
	int n = epoll_wait(server->epoll_fd, events, EVENTS, busy ? BUSY_MS : IDLE_MS);
	if (n < 0 && errno != EINTR)
		return gd_fail_errno(err, -errno, "epoll_wait");
	for (int i = 0; i < n; i++) {
		int r = handle(server, events[i].data.u64, err);
		if (r < 0)
			return r;
	}
	int64_t now_ns = gd_clock_monotonic_ns();
	gd_hook_http_run(server->http);
	gd_hook_lobby_sweep(server->lobby, now_ns);
	gd_hook_http_sweep(server->http, now_ns);
	server->desk.open_connections =
		gd_hook_lobby_count(server->lobby) + gd_hook_http_count(server->http);
	say_alive(server, now_ns);
	return 0;
}

static int open_all(struct server *server, struct gd_error *err)
{
	struct gd_clock now = gd_clock_now();
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll_fd < 0)
		return gd_fail_errno(err, -errno, "epoll_create1");
	int r = gd_hook_auth_create(&now, &server->desk.auth, err);
	if (r == 0)
		r = gd_hook_link_create(on_table, server, &server->desk.link, err);
	if (r == 0)
		r = gd_hook_http_create(&server->desk, &server->http, err);
	if (r == 0)
		r = gd_hook_lobby_create(server->epoll_fd, &server->desk.counts, on_head, server,
		                         &server->lobby, err);
	if (r == 0)
		r = watch(server, server->control_fd, FROM_LAUNCHER, err);
	if (r == 0)
		r = watch(server, gd_hook_http_fd(server->http), FROM_HTTP, err);
	return r;
}

static void close_all(struct server *server)
{
	gd_hook_lobby_destroy(server->lobby);
	gd_hook_http_destroy(server->http);
	gd_hook_link_destroy(server->desk.link);
	gd_hook_auth_destroy(server->desk.auth);
	drop_scraper(server);
	for (size_t i = 0; i < server->n_listen; i++)
		(void)close(server->listen_fds[i]);
	if (server->epoll_fd >= 0)
		(void)close(server->epoll_fd);
}

int gd_hook_server_run(void *arg)
{
	const struct gd_hook_server_options *options = arg;
	struct gd_error err = { 0 };
	struct server *server = calloc(1, sizeof(*server));
	if (server == NULL)
		return 1;
	server->control_fd = options->control_fd;
	server->epoll_fd = server->scraper_fd = -1;
	server->exit = -1;
	int r = open_all(server, &err);
	while (r == 0 && server->exit < 0)
		r = turn(server, &err);
	if (r < 0)
		gd_log(GD_LOG_ERROR, "hook: %s", err.msg);
	int status = r < 0 ? 1 : server->exit;
	close_all(server);
	free(server);
	return status;
}
