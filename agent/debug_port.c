/*
 * The happy path: list the sockets, start the connector and the client, answer its questions until it is
 * ready, say go, wait, take its artifacts.
 *
 * What goes wrong: nothing to list, no namespace, no connector: the client runs all the same, and records
 * what there is not and why.  A client that asks for what there is not, dies, or is later than its time
 * is ended, and costs its artifacts.
 */
#include "agent/debug_port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/message.h"

#define SECOND INT64_C(1000000000)
#define TICK_MS 50
#define BEGIN_NS (SECOND / 2) /* until the others begin without it */
/* Two looks at listeners that do not answer, and what connecting takes; or the window, if it is longer. */
#define READY_NS (2 * GD_DEBUG_PORT_PROBE_NS + 4 * SECOND)
#define LATE_NS (GD_DEBUG_PORT_GRACE_NS + 3 * SECOND)
/* To write what it has, once it was told to stop. */
#define WRITE_NS (30 * SECOND)
/* A service that is busy accepts us when it gets to it. */
#define ACCEPT_NS (2 * SECOND)
#define LOOK_NS (SECOND / 50)
#define LOOK_MAX_NS (SECOND / 5)

/* ---- connections ---------------------------------------------------------------------------- */

static int make_connection(struct gd_debug_port *p, uint32_t listener, int *ret_fd,
                           struct gd_error *err)
{
	struct sockaddr_storage to[2];
	size_t n = gd_debug_listeners_reach(&p->listeners[listener], to);
	int r = -ENOENT;
	for (size_t i = 0; r < 0 && i < n; i++)
		r = gd_connector_connect(&p->connector, p->namespace_fd, &to[i], ret_fd, err);
	return r;
}

/* The answer to what it asked; the descriptor goes with it when there is no error. */
static int answer(struct gd_debug_port *p, int fd, const struct gd_error *why)
{
	return gd_message_send(p->ask_fd, GD_DEBUG_PORT_CONNECTION, 0, why, sizeof(*why), &fd,
	                       why->code == 0 ? 1 : 0, NULL);
}

/* A connection is handed on once the target itself has taken it.  0, or -EPIPE and the like. */
static int look_at_waiting(struct gd_debug_port *p)
{
	struct gd_error err = { 0 };
	int64_t begun_ns = gd_clock_monotonic_ns();
	if (p->waiting_fd < 0 || begun_ns < p->next_look_ns)
		return 0;
	int r = gd_debug_listeners_took(p->options.target->fds.proc_fd, p->waiting_fd, &err);
	int64_t now_ns = gd_clock_monotonic_ns();
	if (r == -EAGAIN && now_ns - p->waiting_ns < ACCEPT_NS) {
		/* Looking reads tables that may be long, and we have other things to do. */
		int64_t rest_ns = 2 * (now_ns - begun_ns);
		rest_ns = rest_ns < LOOK_NS ? LOOK_NS : rest_ns;
		p->next_look_ns = now_ns + (rest_ns < LOOK_MAX_NS ? rest_ns : LOOK_MAX_NS);
		return 0;
	}
	GD_CLOSE int fd = gd_steal_fd(&p->waiting_fd);
	if (r == 0)
		(void)gd_fail(&err, -EPERM, "another process answers on this port");
	else if (r == 1)
		err = (struct gd_error){ 0 };
	return answer(p, fd, &err);
}

static int grant_connection(struct gd_debug_port *p, uint32_t listener)
{
	struct gd_error err = { 0 };
	if (make_connection(p, listener, &p->waiting_fd, &err) < 0)
		return answer(p, -1, &err);
	p->waiting_ns = gd_clock_monotonic_ns();
	p->next_look_ns = 0;
	return look_at_waiting(p);
}

/* ---- serving -------------------------------------------------------------------------------- */

static bool is_outcome(const struct gd_outcome *o)
{
	int grade;
	memcpy(&grade, &o->grade, sizeof(grade));
	return grade >= GD_GRADE_COMPLETE && grade <= GD_GRADE_FAILED && o->why.code <= 0 &&
	       memchr(o->why.msg, '\0', sizeof(o->why.msg)) != NULL;
}

static void tell(struct gd_debug_port *p, enum gd_debug_port_message what)
{
	if (p->ask_fd >= 0)
		(void)gd_message_send(p->ask_fd, (uint16_t)what, 0, NULL, 0, NULL, 0, NULL);
}

/* One message of the client's.  0: go on; -EPIPE: it has ended; -EBADMSG: it must be. */
static int take_message(struct gd_debug_port *p)
{
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	union {
		uint32_t listener;
		struct gd_outcome outcome;
	} body;
	int r = gd_message_recv(p->ask_fd, &m, &body, sizeof(body), NULL);
	if (r <= 0)
		return r == -EAGAIN ? 0 : r < 0 ? r : -EPIPE;
	if (m.n_fds > 0)
		return -EBADMSG;
	if (m.type == GD_DEBUG_PORT_ASK && m.len == sizeof(body.listener) && !p->ready &&
	    p->waiting_fd < 0 && body.listener < GD_DEBUG_LISTENERS_MAX &&
	    p->listeners[body.listener].inode != 0 &&
	    p->asks++ < GD_DEBUG_PORT_ASKS_MAX)
		return grant_connection(p, body.listener);
	if (m.type == GD_DEBUG_PORT_READY && m.len == 0 && !p->ready) {
		p->ready = true;
		if (p->wanted)
			gd_debug_port_go(p);
		return 0;
	}
	if (m.type == GD_DEBUG_PORT_DONE && m.len == sizeof(body.outcome) && !p->done &&
	    is_outcome(&body.outcome)) {
		p->outcome = body.outcome;
		p->done = true;
		return 0;
	}
	return -EBADMSG;
}

static bool is_cancelled(const struct gd_debug_port *p)
{
	return p->options.cancelled != NULL && *p->options.cancelled != 0;
}

static void hang_up(struct gd_debug_port *p)
{
	if (p->ask_fd >= 0)
		(void)close(p->ask_fd);
	p->ask_fd = -1;
}

static void kill_it(struct gd_debug_port *p)
{
	if (p->pid != 0)
		(void)kill(p->pid, SIGKILL);
	hang_up(p);
}

/* What it says, if it says something within the time; one that does not keep to the rules is ended. */
static void serve(struct gd_debug_port *p, int timeout_ms)
{
	struct pollfd at = { .fd = p->ask_fd, .events = POLLIN };
	int r = 0;
	if (p->ask_fd >= 0)
		r = poll(&at, 1, timeout_ms) > 0 ? take_message(p) : look_at_waiting(p);
	if (r == -EPIPE)
		hang_up(p);
	else if (r < 0)
		kill_it(p);
}

void gd_debug_port_serve(struct gd_debug_port *p)
{
	serve(p, 0);
}

static void bring_to_ready(struct gd_debug_port *p)
{
	int64_t until_ns = gd_clock_monotonic_ns() + BEGIN_NS;
	while (!p->ready && p->ask_fd >= 0 && !is_cancelled(p) &&
	       gd_clock_monotonic_ns() < until_ns)
		serve(p, p->waiting_fd < 0 ? TICK_MS : (int)(LOOK_NS / 1000000));
}

/* ---- beginning ------------------------------------------------------------------------------ */

static int make_pair(int *ours, int *its, struct gd_error *err)
{
	int ends[2];
	int r = gd_message_pair(ends, err);
	if (r == 0) {
		*ours = ends[0];
		*its = ends[1];
	}
	return r;
}

static int get_connector(struct gd_debug_port *p, struct gd_error *err)
{
	const struct gd_connector *given = p->options.connector;
	if (given == NULL)
		return gd_connector_start(&p->connector, err);
	if (given->fd < 0)
		return gd_fail(err, -EPERM, "the agent makes no connections: its policy had no "
		               "debug_port when it started; start it again");
	/* Whoever asked before, and died of it, has left answers to other numbers. */
	p->connector.seq = (uint32_t)gd_clock_monotonic_ns();
	p->connector.fd = fcntl(given->fd, F_DUPFD_CLOEXEC, 3);
	return p->connector.fd < 0 ? gd_fail_errno(err, -errno, "the connector") : 0;
}

/* Whom there is to ask, and the means to; what is lacking goes into the client's `why`. */
static void look_around(struct gd_debug_port *p, struct gd_debug_port_client *client)
{
	int proc_fd = p->options.target->fds.proc_fd;
	struct gd_error err = { 0 };
	int n = gd_debug_listeners_find(proc_fd, p->options.port, p->listeners, &client->n_all, &err);
	int r = n;
	if (n > 0) {
		p->namespace_fd = openat(proc_fd, "ns/net", O_RDONLY | O_CLOEXEC);
		r = p->namespace_fd < 0 ? gd_fail_errno(&err, -errno, "its network namespace") : 0;
		if (r == 0)
			r = get_connector(p, &err);
	}
	if (r < 0) {
		client->why = err;
		client->n_all = 0;
		memset(p->listeners, 0, sizeof(p->listeners));
		return;
	}
	client->n = (size_t)n;
}

static int start_client(struct gd_debug_port *p, struct gd_debug_port_client *client,
                        struct gd_error *err)
{
	GD_CLOSE int ask_fd = -1;
	GD_CLOSE int sink_fd = -1;
	int r = make_pair(&p->ask_fd, &ask_fd, err);
	if (r == 0)
		r = make_pair(&p->record_fd, &sink_fd, err);
	if (r < 0)
		return r;
	(void)fcntl(p->ask_fd, F_SETFL, O_NONBLOCK);
	client->ask_fd = ask_fd;
	client->sink_fd = sink_fd;
	const int keep[] = { ask_fd, sink_fd };
	return gd_role_fork(GD_ROLE_CLIENT, keep, 2, gd_debug_port_client_run, client, &p->pid,
	                    &p->pid_fd, err);
}

int gd_debug_port_begin(const struct gd_debug_port_options *options, struct gd_debug_port *ret,
                        struct gd_error *err)
{
	struct gd_debug_port_client client = { .port = options->port,
		                               .duration_ns = options->duration_ns,
		                               .trace_ns = options->trace_ns };
	*ret = GD_DEBUG_PORT_INIT;
	ret->options = *options;
	client.listeners = ret->listeners;
	look_around(ret, &client);
	int r = start_client(ret, &client, err);
	if (r < 0) {
		gd_debug_port_stop(ret);
		return r;
	}
	bring_to_ready(ret);
	return 0;
}

void gd_debug_port_go(struct gd_debug_port *p)
{
	p->wanted = true;
	p->gone_ns = gd_clock_monotonic_ns();
	if (p->ready)
		tell(p, GD_DEBUG_PORT_GO);
}

/* ---- ending --------------------------------------------------------------------------------- */

static void reap(struct gd_debug_port *p, struct gd_debug_port_result *ret, int *ret_status)
{
	struct rusage usage = { 0 };
	if (wait4(p->pid, ret_status, 0, &usage) == p->pid) {
		ret->cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
		              (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
		ret->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
	}
	p->pid = 0;
}

/* When it has had its time: to find out whom to ask, or for what it asked for. */
static int64_t end_of(const struct gd_debug_port *p)
{
	int64_t duration_ns = p->options.duration_ns > SECOND ? p->options.duration_ns : SECOND;
	if (p->ready)
		return p->gone_ns + duration_ns + LATE_NS;
	return p->gone_ns + (duration_ns > READY_NS ? duration_ns : READY_NS);
}

/* Until it has ended; it is told to stop when its time is up or we are interrupted, and then made to. */
static void attend(struct gd_debug_port *p, struct gd_packer_order *packer)
{
	int64_t stopped_ns = 0;
	for (;;) {
		struct pollfd at[3] = { { .fd = p->pid_fd, .events = POLLIN },
			                { .fd = packer->scratch_fd, .events = POLLIN },
			                { .fd = p->ask_fd, .events = POLLIN } };
		(void)poll(at, 3, TICK_MS);
		if ((at[1].revents & POLLIN) != 0)
			gd_packer_order_scratch(packer);
		if (at[2].revents == 0 && at[0].revents != 0)
			return;
		serve(p, 0);
		int64_t now_ns = gd_clock_monotonic_ns();
		if (stopped_ns == 0 && (now_ns > end_of(p) || is_cancelled(p))) {
			tell(p, GD_DEBUG_PORT_STOP);
			stopped_ns = now_ns;
		} else if (stopped_ns != 0 && now_ns - stopped_ns > WRITE_NS) {
			kill_it(p);
		}
	}
}

static struct gd_outcome outcome_of(const struct gd_debug_port *p, int status)
{
	if (p->done)
		return p->outcome;
	if (WIFSIGNALED(status))
		return gd_outcome(GD_GRADE_FAILED, -EIO, "the client of its debug port was killed by "
		                  "signal %d", WTERMSIG(status));
	return gd_outcome(GD_GRADE_FAILED, -EIO, "the client of its debug port ended with status %d",
	                  WEXITSTATUS(status));
}

void gd_debug_port_end(struct gd_debug_port *p, struct gd_packer_order *packer,
                       struct gd_debug_port_result *ret)
{
	struct gd_packer_order_ended ended = { .bytes = 0 };
	struct gd_error err = { 0 };
	int status = 0;
	*ret = (struct gd_debug_port_result){ .bytes = 0 };
	int r = gd_packer_order_begin(packer, GD_DEBUG_PORT_COLLECTOR, false, p->record_fd, &err);
	(void)close(p->record_fd);
	p->record_fd = -1;
	if (r < 0)
		kill_it(p);
	attend(p, packer);
	reap(p, ret, &status);
	ret->outcome = r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &err) : outcome_of(p, status);
	struct gd_error left_open = ret->outcome.why;
	if (left_open.code == 0)
		(void)gd_fail(&left_open, -EBADMSG, "left open by its client");
	r = gd_packer_order_ended(packer, &left_open, &ended, &err);
	ret->bytes = ended.bytes;
	if (r < 0)
		ret->outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else if (ended.fault.code != 0)
		ret->outcome = gd_outcome_worse(gd_outcome_of(GD_GRADE_FAILED, &ended.fault),
		                                ret->outcome);
	gd_debug_port_stop(p);
}

void gd_debug_port_stop(struct gd_debug_port *p)
{
	struct gd_debug_port_result unused = { .bytes = 0 };
	int status = 0;
	kill_it(p);
	gd_connector_stop(&p->connector);
	if (p->pid != 0)
		reap(p, &unused, &status);
	int *const fds[] = { &p->namespace_fd, &p->pid_fd, &p->record_fd, &p->waiting_fd };
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			(void)close(*fds[i]);
		*fds[i] = -1;
	}
}
