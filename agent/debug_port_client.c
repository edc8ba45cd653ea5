/*
 * The happy path: look at every listener at once, choose the first that offers profiles, wait for the
 * window, take profile and trace side by side, write them down.
 *
 * What goes wrong: nobody listens, or nobody who does offers it: skipped, and the facts say why for each
 * port.  The service says no (it profiles itself, wants a password): skipped, in its own words.  It answers
 * too late, too long, or nonsense: failed; of a trace that is cut off its beginning is kept: partial.
 */
#include "agent/debug_port_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/debug_http.h"
#include "agent/debug_port_facts.h"
#include "agent/packer_sink.h"
#include "base/cleanup.h"
#include "base/message.h"
#include "base/text.h"
#include "collectors/pprof.h"
#include "report/pprof_read.h"

#define PROBE_BODY_MAX 65536
#define SECOND INT64_C(1000000000)

struct client {
	const struct gd_debug_port_client *given;
	struct gd_debug_port_facts facts;
	struct gd_debug_http_get gets[2]; /* url "": was never asked for */
	bool stopped;                     /* before the window began */
};
enum { CPU, TRACE };

/* ---- connections ---------------------------------------------------------------------------- */

static int ask_connection(struct client *c, size_t listener, int *ret_fd, struct gd_error *err)
{
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	uint32_t number = (uint32_t)listener;
	struct gd_error why;
	int r = gd_message_send(c->given->ask_fd, GD_DEBUG_PORT_ASK, 0, &number, sizeof(number),
	                        NULL, 0, err);
	if (r == 0)
		r = gd_message_recv(c->given->ask_fd, &m, &why, sizeof(why), err);
	if (r == 0)
		return gd_fail(err, -EPIPE, "the broker is gone");
	if (r < 0)
		return r;
	c->stopped = m.type != GD_DEBUG_PORT_CONNECTION || m.len != sizeof(why);
	if (c->stopped)
		return gd_fail(err, -ECANCELED, "interrupted");
	if (why.code < 0 || m.n_fds != 1)
		return gd_fail(err, why.code < 0 ? why.code : -EBADMSG, "%s", why.msg);
	*ret_fd = m.fds[0];
	m.n_fds = 0;
	return 0;
}

/* "http://127.0.0.1:6060" of who is at the other end. */
static void name_peer(int fd, char *to, size_t size)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof(peer);
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	char host[INET6_ADDRSTRLEN] = "";
	(void)getpeername(fd, (struct sockaddr *)&peer, &len);
	if (peer.ss_family == AF_INET6) {
		memcpy(&in6, &peer, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		(void)snprintf(to, size, "http://[%s]:%u", host, ntohs(in6.sin6_port));
	} else {
		memcpy(&in, &peer, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		(void)snprintf(to, size, "http://%s:%u", host, ntohs(in.sin_port));
	}
}

static int prepare(struct client *c, size_t listener, const char *path, int64_t timeout_ns,
                   size_t body_max, struct gd_debug_http_get *ret, struct gd_error *err)
{
	char base[96];
	int fd = -1;
	int r = ask_connection(c, listener, &fd, err);
	if (r < 0)
		return r;
	name_peer(fd, base, sizeof(base));
	*ret = (struct gd_debug_http_get){ .fd = fd, .timeout_ns = timeout_ns,
		                           .body = GD_BUF_INIT(body_max) };
	(void)snprintf(ret->url, sizeof(ret->url), "%s%s", base, path);
	return 0;
}

/* ---- what an answer is worth ---------------------------------------------------------------- */

/* The service's own words, as far as they are one line of text. */
static void put_words(const struct gd_debug_http_get *get, char *to, size_t size)
{
	size_t n = 0;
	while (n < get->body.len && n < 120 && get->body.data[n] != '\n')
		n++;
	gd_text_escape(to, size, n > 0 ? get->body.data : "", n);
}

/* 0: it is what was asked for, by its head. */
static int judge(const struct gd_debug_http_get *get, struct gd_error *err)
{
	char words[160];
	if (gd_debug_http_is_tls(get))
		return gd_fail(err, -EPROTONOSUPPORT, "it speaks TLS, which is not tried");
	if (get->why.code < 0 && (get->status == 0 || get->status == 200)) {
		*err = get->why;
		return err->code;
	}
	if (get->status == 200)
		return 0;
	if (get->status == 401 || get->status == 403 || get->status == 407)
		return gd_fail(err, -EACCES, "it asks for a password (HTTP %ld)", get->status);
	if (get->status >= 300 && get->status < 400)
		return gd_fail(err, -ENOTSUP, "it leads elsewhere (HTTP %ld), which is not followed",
		               get->status);
	if (get->status == 404 || get->status == 405)
		return gd_fail(err, -ENOENT, "it has no such page (HTTP %ld)", get->status);
	put_words(get, words, sizeof(words));
	return gd_fail(err, -EBUSY, "HTTP %ld: %s", get->status, words);
}

static bool says(const struct gd_debug_http_get *get, const char *words)
{
	return get->body.len > 0 &&
	       memmem(get->body.data, get->body.len, words, strlen(words)) != NULL;
}

/* ---- finding it ----------------------------------------------------------------------------- */

/* A page whose words show that it is net/http/pprof's, whatever else answers 200 to everything. */
struct look {
	const char *path, *words[2];
};
static const struct look looks[] = {
	{ "/debug/pprof/", { "/debug/pprof/", "goroutine" } },
	/* Who has an own mux may serve no list of profiles, but this. */
	{ "/debug/pprof/symbol", { "num_symbols: ", "" } },
};

static void take_look(struct client *c, size_t listener, const struct look *look,
                      const struct gd_debug_http_get *get)
{
	struct gd_debug_port_port *port = &c->facts.ports[listener];
	port->why = (struct gd_error){ 0 };
	if (judge(get, &port->why) < 0)
		return;
	if (!says(get, look->words[0]) || !says(get, look->words[1]))
		(void)gd_fail(&port->why, -ENOENT, "it answers, but not as net/http/pprof does");
	else if (c->facts.chosen == SIZE_MAX || listener < c->facts.chosen)
		c->facts.chosen = listener;
}

/* All of them at once, or those without the page before. */
static int look_at(struct client *c, const struct look *look, bool first, struct gd_error *err)
{
	struct gd_debug_http_get gets[GD_DEBUG_LISTENERS_MAX];
	size_t whose[GD_DEBUG_LISTENERS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < c->given->n; i++) {
		struct gd_error *why = &c->facts.ports[i].why;
		if (!first && why->code != -ENOENT)
			continue;
		if (prepare(c, i, look->path, GD_DEBUG_PORT_PROBE_NS, PROBE_BODY_MAX, &gets[n],
		            why) == 0)
			whose[n++] = i;
	}
	int r = gd_debug_http_run(gets, n, c->given->ask_fd, err);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			take_look(c, whose[i], look, &gets[i]);
		gd_buf_deinit(&gets[i].body);
	}
	return r;
}

/* Why none of them is it: the one port's reason, or all of them in a few words. */
static int explain_none(const struct client *c, struct gd_error *err)
{
	const struct gd_debug_port_client *g = c->given;
	char text[220] = "";
	size_t at = 0;
	if (g->why.code < 0) {
		*err = g->why;
		return err->code;
	}
	if (g->n == 0)
		return g->port != 0
		               ? gd_fail(err, -ENOENT, "it does not listen on TCP port %u", g->port)
		               : gd_fail(err, -ENOENT, "it listens on no TCP port");
	for (size_t i = 0; i < g->n && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s: %s", i > 0 ? "; " : "",
		                       g->listeners[i].text, c->facts.ports[i].why.msg);
	int code = c->facts.ports[0].why.code;
	return gd_fail(err, code < 0 ? code : -ENOENT, "no net/http/pprof: %s", text);
}

static int find(struct client *c, struct gd_error *err)
{
	int r = 0;
	c->facts.chosen = SIZE_MAX;
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]) && r == 0 &&
	                   c->facts.chosen == SIZE_MAX; i++)
		r = look_at(c, &looks[i], i == 0, err);
	if (r < 0)
		return r;
	return c->facts.chosen == SIZE_MAX ? explain_none(c, err) : 0;
}

/* ---- taking it ------------------------------------------------------------------------------ */

/* The endpoint knows whole seconds of a profile, at least one. */
static int64_t profile_ns(const struct client *c)
{
	int64_t seconds = c->given->duration_ns / SECOND;
	return (seconds > 0 ? seconds : 1) * SECOND;
}

static int64_t trace_ns(const struct client *c)
{
	int64_t most_ns = profile_ns(c);
	return c->given->trace_ns < most_ns ? c->given->trace_ns : most_ns;
}

static void prepare_both(struct client *c)
{
	char path[96];
	size_t chosen = c->facts.chosen;
	int64_t ns = profile_ns(c);
	(void)snprintf(path, sizeof(path), "/debug/pprof/profile?seconds=%" PRId64, ns / SECOND);
	(void)prepare(c, chosen, path, ns + GD_DEBUG_PORT_GRACE_NS, GD_DEBUG_PORT_CPU_MAX,
	              &c->gets[CPU], &c->facts.cpu.outcome.why);
	ns = trace_ns(c);
	if (ns <= 0)
		return;
	(void)snprintf(path, sizeof(path), "/debug/pprof/trace?seconds=%.3f", (double)ns / 1e9);
	(void)prepare(c, chosen, path, ns + GD_DEBUG_PORT_GRACE_NS, GD_DEBUG_PORT_TRACE_MAX,
	              &c->gets[TRACE], &c->facts.trace.outcome.why);
}

/* True: the window begins.  False: it is over already. */
static bool wait_go(const struct client *c)
{
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	char nothing[1];
	return !c->stopped &&
	       gd_message_send(c->given->ask_fd, GD_DEBUG_PORT_READY, 0, NULL, 0, NULL, 0, NULL) == 0 &&
	       gd_message_recv(c->given->ask_fd, &m, nothing, sizeof(nothing), NULL) == 1 &&
	       m.type == GD_DEBUG_PORT_GO;
}

static void take_both(struct client *c)
{
	struct gd_error err = { 0 };
	c->facts.has_tsc = gd_clock_tsc(&c->facts.tsc[0]);
	int r = gd_debug_http_run(c->gets, 2, c->given->ask_fd, &err);
	c->facts.has_tsc = gd_clock_tsc(&c->facts.tsc[1]) && c->facts.has_tsc;
	for (int i = 0; r < 0 && i < 2; i++)
		if (c->gets[i].why.code == 0)
			c->gets[i].why = err;
}

/* The window was over before it began. */
static void close_both(struct client *c)
{
	for (int i = 0; i < 2; i++) {
		struct gd_debug_http_get *get = &c->gets[i];
		if (get->fd >= 0)
			(void)close(get->fd);
		get->fd = -1;
		if (get->url[0] != '\0')
			(void)gd_fail(&get->why, -ECANCELED, "interrupted");
	}
}

/* ---- what came ------------------------------------------------------------------------------ */

/* The service says no, in whatever words: nothing was tried in vain. */
static struct gd_outcome refused(const struct gd_error *why)
{
	bool no = why->code == -ECANCELED || why->code == -EBUSY || why->code == -EACCES || why->code == -ENOENT ||
	          why->code == -ENOTSUP || why->code == -EPROTONOSUPPORT;
	return gd_outcome_of(no ? GD_GRADE_SKIPPED : GD_GRADE_FAILED, why);
}

static void take_facts_of(const struct gd_debug_http_get *get, struct gd_debug_port_answer *a)
{
	memcpy(a->url, get->url, sizeof(a->url));
	a->status = get->status;
	a->begun = get->begun;
	a->ended = get->ended;
	a->bytes = get->status == 200 ? get->body.len : 0;
}

static struct gd_outcome check_profile(struct gd_debug_http_get *get,
                                       struct gd_debug_port_facts *facts)
{
	GD_BUF struct gd_buf plain = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	GD_PPROF_READ struct gd_pprof_read profile = { 0 };
	struct gd_error err = { 0 };
	if (judge(get, &err) < 0)
		return refused(&err);
	int r = gd_pprof_read_gunzip("its answer", get->body.data, get->body.len, &plain, &err);
	if (r == 0)
		r = gd_pprof_read_init(&profile, "its answer", plain.data, plain.len, &err);
	if (r < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	facts->profile_time_ns = profile.time_ns;
	facts->profile_duration_ns = profile.duration_ns;
	return GD_OUTCOME_COMPLETE;
}

/* Of a trace that was cut off its whole generations are kept, which readers take; or what records there are. */
static struct gd_outcome check_trace(struct gd_debug_http_get *get,
                                     struct gd_debug_port_facts *facts)
{
	struct gd_error err = { 0 };
	struct gd_error cut = { 0 };
	size_t n = get->body.len;
	int judged = judge(get, &cut);
	if (judged < 0 && (get->status != 200 || n == 0))
		return refused(&cut);
	if (gd_exectrace_read(get->body.data, n, &facts->exectrace, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, judged < 0 ? &cut : &err);
	facts->has_exectrace = true;
	if (judged == 0 && facts->exectrace.whole < n)
		judged = gd_fail(&cut, -EBADMSG, "it makes no sense from byte %zu on",
		                 facts->exectrace.whole);
	if (judged < 0)
		get->body.len = facts->exectrace.generations > 0 ? facts->exectrace.generations
		                                                 : facts->exectrace.whole;
	return judged < 0 ? gd_outcome_of(GD_GRADE_PARTIAL, &cut) : GD_OUTCOME_COMPLETE;
}

static struct gd_outcome put(struct gd_sink *sink, const struct gd_artifact *artifact,
                             const struct gd_debug_http_get *get, struct gd_outcome outcome)
{
	struct gd_error err = { 0 };
	int r = outcome.grade > GD_GRADE_PARTIAL
	                ? sink->absent(sink, artifact, &outcome, &err)
	                : gd_sink_put(sink, artifact, get->body.data, get->body.len, &outcome, &err);
	return r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &err) : outcome;
}

static struct gd_outcome put_facts(struct client *c, struct gd_sink *sink)
{
	static const struct gd_artifact artifact = { GD_DEBUG_PORT_FACTS, "application/json",
		                                     GD_DEBUG_PORT_COLLECTOR, 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 16);
	const struct gd_outcome whole = GD_OUTCOME_COMPLETE;
	struct gd_error err = { 0 };
	gd_debug_port_facts_put(&c->facts, c->given, &text);
	int r = gd_buf_check(&text, GD_DEBUG_PORT_FACTS, &err);
	if (r == 0)
		r = gd_sink_put(sink, &artifact, text.data, text.len, &whole, &err);
	return r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &err) : whole;
}

typedef struct gd_outcome check_fn(struct gd_debug_http_get *, struct gd_debug_port_facts *);

/* One of them: never asked for, or asked and judged. */
static struct gd_outcome put_answer(struct client *c, struct gd_debug_http_get *get, check_fn *check,
                                    struct gd_debug_port_answer *answer, struct gd_sink *sink,
                                    const struct gd_artifact *artifact)
{
	bool cancelled = answer->outcome.why.code == -ECANCELED;
	if (get->url[0] == '\0') {
		answer->outcome.grade = c->facts.chosen == SIZE_MAX || cancelled ? GD_GRADE_SKIPPED
		                                                                 : GD_GRADE_FAILED;
	} else {
		answer->outcome = check(get, &c->facts);
		take_facts_of(get, answer);
	}
	answer->outcome = put(sink, artifact, get, answer->outcome);
	return answer->outcome;
}

static struct gd_outcome put_all(struct client *c, struct gd_sink *sink)
{
	static const struct gd_artifact cpu = { GD_DEBUG_PORT_CPU, GD_PPROF_MEDIA_TYPE,
		                                GD_DEBUG_PORT_COLLECTOR, 0 };
	static const struct gd_artifact trace = { GD_DEBUG_PORT_TRACE, "application/octet-stream",
		                                  GD_DEBUG_PORT_COLLECTOR, 1 };
	struct gd_debug_port_facts *f = &c->facts;
	struct gd_outcome worst = put_answer(c, &c->gets[CPU], check_profile, &f->cpu, sink, &cpu);
	if (c->given->trace_ns > 0)
		worst = gd_outcome_worse(worst, put_answer(c, &c->gets[TRACE], check_trace,
		                                           &f->trace, sink, &trace));
	return gd_outcome_worse(worst, put_facts(c, sink));
}

struct gd_outcome gd_debug_port_client_collect(const struct gd_debug_port_client *given,
                                               struct gd_sink *sink)
{
	struct client c = { .given = given, .gets = { { .fd = -1 }, { .fd = -1 } } };
	struct gd_error err = { 0 };
	int r = find(&c, &err);
	if (r == 0)
		prepare_both(&c);
	else
		c.facts.cpu.outcome.why = c.facts.trace.outcome.why = err;
	if (wait_go(&c) && r == 0)
		take_both(&c);
	else
		close_both(&c);
	struct gd_outcome outcome = put_all(&c, sink);
	gd_buf_deinit(&c.gets[CPU].body);
	gd_buf_deinit(&c.gets[TRACE].body);
	return outcome;
}

int gd_debug_port_client_run(void *arg)
{
	const struct gd_debug_port_client *given = arg;
	struct gd_error err = { 0 };
	struct gd_sink *sink = NULL;
	volatile uint64_t progress = 0;
	/* No TLS: its library would want its configuration, and there are no files here. */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK ||
	    gd_packer_sink_create(given->sink_fd, "", &progress, &sink, &err) < 0)
		return 1;
	struct gd_outcome outcome = gd_debug_port_client_collect(given, sink);
	gd_packer_sink_destroy(sink);
	return gd_message_send(given->ask_fd, GD_DEBUG_PORT_DONE, 0, &outcome, sizeof(outcome), NULL,
	                       0, NULL) < 0 ? 1 : 0;
}
