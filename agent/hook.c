/*
 * The launcher: what of godiag-hook stays outside of the jail and never sees a stranger's byte.  It
 * opens listening sockets, reads the tokens file, connects to the broker, and keeps two jailed
 * children alive: the server (hook_server.c) and, when something is to be scraped, the scraper.
 *
 *	start ─► server forked ─► sockets and tokens to it ─► connection to the broker to it ─► ready
 *
 * What can go wrong: the broker goes away (the server answers 503, a new connection is tried again
 * and again), a child dies (a new one takes over the same listening socket), the place to listen at is
 * taken (said once per try, tried again).  SIGHUP reads the tokens again; SIGTERM ends all three.
 */
#include "agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exit.h"
#include "agent/hook_again.h"
#include "agent/hook_http.h"
#include "agent/hook_record.h"
#include "agent/hook_server.h"
#include "agent/hook_sockets.h"
#include "agent/role.h"
#include "agent/scraper.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"
#include "base/notify.h"
#include "base/text.h"

#define SECOND INT64_C(1000000000)
#define BROKER_BACKOFF_MAX_NS (2 * SECOND)
#define BACKOFF_MAX_NS (30 * SECOND)
/* A server that said nothing for so long is not alive. */
#define SILENT_NS (10 * SECOND)
/* Who was not run for so long cannot say who else was silent. */
#define ABSENT_NS (3 * SECOND)
/* One that has lived for so long is not the reason if the next one dies. */
#define PROVEN_NS (10 * SECOND)
#define END_MS 2000

struct launcher {
	const struct gd_hook_options *options;
	int signal_fd, control_fd;
	pid_t server_pid, scraper_pid;
	struct gd_hook_again server, broker, scraper, listener;
	struct gd_hook_sockets sockets;
	bool fixed;     /* sockets were given to us; the policy has no say */
	bool asked;     /* this server has asked for sockets: once */
	char listen[sizeof(((struct gd_hook_place *)NULL)->listen)]; /* what it asked for */
	char problem[248]; /* said so already */
	bool broker_lost;  /* the same */
	bool ready;
	struct gd_hook_alive alive;
	int64_t turn_ns, server_ns, alive_ns, watchdog_ns, watchdog_at_ns;
	bool ending;
};

/* ---- listening ---- */

/* Sockets that do not depend on the policy. */
static int open_fixed(struct launcher *l, struct gd_error *err)
{
	int n = gd_notify_listen_fds();
	l->fixed = n > 0 || l->options->listen != NULL;
	if (n > 0)
		return gd_hook_sockets_adopt(&l->sockets, n, err);
	return l->fixed ? gd_hook_sockets_open(&l->sockets, l->options->listen, err) : 0;
}

/* Goes to the agent, so that `godiag status` names it. */
static void say_problem(struct launcher *l, const char *text)
{
	struct gd_hook_text record;
	(void)snprintf(l->problem, sizeof(l->problem), "%s", text);
	memset(&record, 0, sizeof(record));
	gd_text_escape(record.text, sizeof(record.text), text, strlen(text));
	for (char *c = record.text; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	(void)gd_message_send(l->control_fd, GD_HOOK_PROBLEM, 0, &record, sizeof(record), NULL, 0,
	                      NULL);
}

static void try_listen(struct launcher *l, int64_t now_ns)
{
	struct gd_error err = { 0 };
	l->listener.wanted = false;
	if (strcmp(l->listen, "off") == 0) {
		gd_hook_sockets_close(&l->sockets);
		gd_log(GD_LOG_INFO, "hook: the policy says hook: listen: off");
		return;
	}
	int r = gd_hook_sockets_open(&l->sockets, l->listen, &err);
	if (r == 0)
		r = gd_hook_sockets_give(&l->sockets, l->control_fd, &err);
	if (r < 0) {
		gd_hook_sockets_close(&l->sockets);
		if (strcmp(l->problem, err.msg) != 0)
			gd_log(GD_LOG_ERROR, "hook: not listening: %s; trying again", err.msg);
		say_problem(l, err.msg);
		gd_hook_again_failed(&l->listener, now_ns, BACKOFF_MAX_NS);
	} else {
		l->listener.wait_ns = 0;
		say_problem(l, "");
	}
}

/* ---- children ---- */

static int start_server(struct launcher *l, int64_t now_ns, struct gd_error *err)
{
	int pair[2];
	int r = gd_message_pair(pair, err);
	if (r < 0)
		return r;
	struct gd_hook_server_options options = { .control_fd = pair[1] };
	const int keep[] = { 2, pair[1] };
	r = gd_role_fork(GD_ROLE_HOOK, keep, 2, gd_hook_server_run, &options, &l->server_pid, NULL,
	                 err);
	(void)close(pair[1]);
	if (r < 0) {
		(void)close(pair[0]);
		return r;
	}
	l->control_fd = pair[0];
	(void)fcntl(l->control_fd, F_SETFL, O_NONBLOCK);
	l->asked = false;
	l->listener.wanted = false;
	l->alive_ns = l->server_ns = now_ns;
	l->broker.wanted = false;
	gd_hook_again_want(&l->broker, now_ns);
	r = l->fixed ? gd_hook_sockets_give(&l->sockets, l->control_fd, err) : 0;
	if (r < 0) /* one without sockets is of no use; another one is tried later */
		(void)kill(l->server_pid, SIGKILL);
	return r;
}

struct scraper_run {
	int fd;
};

static int run_scraper(void *arg)
{
	return gd_scraper_run(((const struct scraper_run *)arg)->fd);
}

static int start_scraper(struct launcher *l, struct gd_error *err)
{
	int pair[2];
	int r = gd_message_pair(pair, err);
	if (r < 0)
		return r;
	struct scraper_run run = { .fd = pair[1] };
	const int keep[] = { 2, pair[1] };
	r = gd_role_fork(GD_ROLE_SCRAPER, keep, 2, run_scraper, &run, &l->scraper_pid, NULL, err);
	(void)close(pair[1]);
	if (r == 0)
		r = gd_message_send(l->control_fd, GD_HOOK_SCRAPER, 0, NULL, 0, &pair[0], 1, err);
	(void)close(pair[0]);
	return r;
}

static void end_child(pid_t *pid)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, SIGKILL);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

static void server_ended(struct launcher *l, int status, int64_t now_ns)
{
	bool again = WIFEXITED(status) && WEXITSTATUS(status) == GD_HOOK_SERVER_AGAIN;
	if (WIFSIGNALED(status))
		gd_log(GD_LOG_ERROR, "hook: the server died of signal %d; another one takes over",
		       WTERMSIG(status));
	else if (!again)
		gd_log(GD_LOG_ERROR, "hook: the server ended with status %d; another takes over",
		       WEXITSTATUS(status));
	(void)close(l->control_fd);
	l->control_fd = -1;
	l->server_pid = 0;
	l->alive = (struct gd_hook_alive){ .listening = 0 };
	/* The scraper's other end went with it. */
	end_child(&l->scraper_pid);
	l->scraper.wanted = false;
	if (again)
		gd_hook_again_want(&l->server, now_ns);
	else
		gd_hook_again_failed(&l->server, now_ns, BACKOFF_MAX_NS);
}

static void reap(struct launcher *l, int64_t now_ns)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == l->server_pid) {
			server_ended(l, status, now_ns);
		} else if (pid == l->scraper_pid) {
			gd_log(GD_LOG_WARNING, "hook: the scraper ended");
			l->scraper_pid = 0;
			if (l->scraper.wanted)
				gd_hook_again_failed(&l->scraper, now_ns, BACKOFF_MAX_NS);
		}
	}
}

/* ---- the broker ---- */

static int connect_broker(struct launcher *l, struct gd_error *err)
{
	const char *path = l->options->agent_socket;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n >= sizeof(address.sun_path))
		return gd_fail(err, -EINVAL, "%s: too long for a socket", path);
	memcpy(address.sun_path, path, n + 1);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return gd_fail_errno(err, -errno, "the agent's socket %s", path);
	return gd_message_send(l->control_fd, GD_HOOK_BROKER, 0, NULL, 0, &fd, 1, err);
}

static void try_broker(struct launcher *l, int64_t now_ns)
{
	struct gd_error err = { 0 };
	l->broker.wanted = false;
	if (connect_broker(l, &err) == 0)
		return;
	if (!l->broker_lost)
		gd_log(GD_LOG_WARNING, "hook: %s; trying again", err.msg);
	l->broker_lost = true;
	gd_hook_again_failed(&l->broker, now_ns, BROKER_BACKOFF_MAX_NS);
}

/* ---- what the server says ---- */

static int from_alive(struct launcher *l, const struct gd_message *message, const void *body,
                      int64_t now_ns, struct gd_error *err)
{
	struct gd_hook_alive alive;
	int r = gd_message_body(message, sizeof(alive), err);
	if (r < 0)
		return r;
	memcpy(&alive, body, sizeof(alive));
	bool changed = memcmp(&alive, &l->alive, sizeof(alive)) != 0;
	l->alive = alive;
	l->alive_ns = now_ns;
	if (now_ns - l->server_ns > PROVEN_NS)
		l->server.wait_ns = 0;
	if (alive.connected != 0) {
		if (l->broker_lost)
			gd_log(GD_LOG_INFO, "hook: connected to the agent again");
		l->broker_lost = false;
		l->broker.wait_ns = 0;
	}
	/* Where to listen may depend on an agent that starts after us. */
	bool ready = alive.listening > 0 || !l->fixed;
	if (ready && (changed || !l->ready)) {
		const char *status = alive.listening == 0 ? "not listening" :
		                     alive.connected == 0 ? "listening; the agent is not there" :
		                                            "listening";
		const char *place = l->sockets.listen;
		char text[80];
		(void)snprintf(text, sizeof(text), "READY=1\nSTATUS=%s", status);
		(void)gd_notify_send(text, NULL);
		if (changed)
			gd_log(GD_LOG_INFO, "hook: %s%s%s", status,
			       alive.listening > 0 && place[0] != '\0' ? " at " : "",
			       alive.listening > 0 ? place : "");
		l->ready = true;
	}
	return 0;
}

static int from_listen(struct launcher *l, const struct gd_message *message, const void *body,
                       int64_t now_ns, struct gd_error *err)
{
	int r = gd_message_body(message, sizeof(struct gd_hook_place), err);
	if (r < 0)
		return r;
	if (l->asked || l->fixed)
		return gd_fail(err, -EBADMSG, "the server asked for sockets twice");
	struct gd_hook_place place;
	memcpy(&place, body, sizeof(place));
	if (memchr(place.listen, 0, sizeof(place.listen)) == NULL ||
	    memchr(place.tokens, 0, sizeof(place.tokens)) == NULL)
		return gd_fail(err, -EBADMSG, "the server asked for a strange place");
	memcpy(l->listen, place.listen, sizeof(l->listen));
	memcpy(l->sockets.tokens_policy, place.tokens, sizeof(l->sockets.tokens_policy));
	l->asked = true;
	gd_hook_again_want(&l->listener, now_ns);
	return 0;
}

/* 0: fine, or nothing there. */
static int from_server(struct launcher *l, int64_t now_ns, struct gd_error *err)
{
	char body[sizeof(struct gd_hook_place) + 1];
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	int r = gd_message_recv(l->control_fd, &message, body, sizeof(body), err);
	if (r == -EAGAIN || r == 0)
		return 0; /* its end is reaped */
	if (r < 0)
		return r;
	switch (message.type) {
	case GD_HOOK_ALIVE:
		return from_alive(l, &message, body, now_ns, err);
	case GD_HOOK_ASK_LISTEN:
		return from_listen(l, &message, body, now_ns, err);
	case GD_HOOK_ASK_BROKER:
		if (l->broker.wait_ns == 0)
			l->broker.wait_ns = GD_HOOK_AGAIN_MIN_NS;
		gd_hook_again_want(&l->broker, now_ns);
		return 0;
	case GD_HOOK_ASK_SCRAPER:
		gd_hook_again_want(&l->scraper, now_ns);
		return 0;
	default:
		return gd_fail(err, -EBADMSG, "a record of type %u from the server", message.type);
	}
}

/* ---- the loop ---- */

static void do_what_is_due(struct launcher *l, int64_t now_ns)
{
	struct gd_error err = { 0 };
	if (l->server_pid == 0 && gd_hook_again_due(&l->server, now_ns)) {
		l->server.wanted = false;
		if (start_server(l, now_ns, &err) < 0) {
			gd_log(GD_LOG_ERROR, "hook: %s", err.msg);
			gd_hook_again_failed(&l->server, now_ns, BACKOFF_MAX_NS);
		}
	}
	if (l->control_fd < 0)
		return;
	if (gd_hook_again_due(&l->broker, now_ns))
		try_broker(l, now_ns);
	if (gd_hook_again_due(&l->listener, now_ns))
		try_listen(l, now_ns);
	if (l->scraper_pid == 0 && gd_hook_again_due(&l->scraper, now_ns)) {
		l->scraper.wanted = false;
		/* Until it has lived for a while, the next one waits longer. */
		l->scraper.wait_ns = l->scraper.wait_ns == 0 ? SECOND : 2 * l->scraper.wait_ns;
		if (l->scraper.wait_ns > BACKOFF_MAX_NS)
			l->scraper.wait_ns = BACKOFF_MAX_NS;
		if (start_scraper(l, &err) < 0)
			gd_log(GD_LOG_ERROR, "hook: scraper: %s", err.msg);
	}
}

static void feed_watchdog(struct launcher *l, int64_t now_ns)
{
	if (now_ns - l->turn_ns > ABSENT_NS)
		l->alive_ns = now_ns;
	l->turn_ns = now_ns;
	bool silent = now_ns - l->alive_ns > SILENT_NS;
	if (l->server_pid > 0 && silent) {
		gd_log(GD_LOG_ERROR, "hook: the server is silent and is ended");
		(void)kill(l->server_pid, SIGKILL);
		l->alive_ns = now_ns;
	}
	if (l->watchdog_ns > 0 && now_ns >= l->watchdog_at_ns && !silent) {
		(void)gd_notify_send("WATCHDOG=1", NULL);
		l->watchdog_at_ns = now_ns + l->watchdog_ns;
	}
}

static int timeout_ms(const struct launcher *l, int64_t now_ns)
{
	const struct gd_hook_again *const all[] = { &l->server, &l->broker, &l->scraper,
		                                    &l->listener };
	int64_t ns = SECOND;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i]->wanted && all[i]->at_ns - now_ns < ns)
			ns = all[i]->at_ns - now_ns;
	return ns <= 0 ? 0 : (int)(ns / 1000000) + 1;
}

static void reload_tokens(struct launcher *l)
{
	struct gd_error err = { 0 };
	if (l->control_fd < 0)
		return; /* the next server gets them anyway */
	if (gd_hook_sockets_reload(&l->sockets, l->control_fd, &err) < 0)
		gd_log(GD_LOG_ERROR, "hook: the old tokens stay: %s", err.msg);
	else
		gd_log(GD_LOG_INFO, "hook: tokens read again");
	if (l->listener.wanted) /* they may be what it waited for */
		l->listener.at_ns = 0;
	else
		say_problem(l, err.msg);
}

static void on_signal(struct launcher *l, int64_t now_ns)
{
	struct signalfd_siginfo info;
	while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(l, now_ns);
		else if (info.ssi_signo == SIGHUP)
			reload_tokens(l);
		else
			l->ending = true;
	}
}

static void run(struct launcher *l)
{
	while (!l->ending) {
		int64_t now_ns = gd_clock_monotonic_ns();
		struct gd_error err = { 0 };
		do_what_is_due(l, now_ns);
		struct pollfd fds[] = { { .fd = l->signal_fd, .events = POLLIN },
			                { .fd = l->control_fd, .events = POLLIN } };
		(void)poll(fds, 2, timeout_ms(l, now_ns));
		now_ns = gd_clock_monotonic_ns();
		if (fds[0].revents != 0)
			on_signal(l, now_ns);
		if (l->control_fd >= 0 && (fds[1].revents & POLLIN) != 0 &&
		    from_server(l, now_ns, &err) < 0) {
			gd_log(GD_LOG_ERROR, "hook: %s; it is ended", err.msg);
			(void)kill(l->server_pid, SIGKILL);
		}
		feed_watchdog(l, now_ns);
	}
}

/* The server ends by itself when our end is closed: what it is answering now gets its answer. */
static void end(struct launcher *l)
{
	(void)gd_notify_send("STOPPING=1", NULL);
	if (l->control_fd >= 0)
		(void)close(l->control_fd);
	for (int ms = 0; ms < END_MS && l->server_pid > 0; ms += 10) {
		if (waitpid(l->server_pid, NULL, WNOHANG) == l->server_pid)
			l->server_pid = 0;
		else
			(void)usleep(10000);
	}
	end_child(&l->server_pid);
	end_child(&l->scraper_pid);
	gd_hook_sockets_close(&l->sockets);
	if (l->signal_fd >= 0)
		(void)close(l->signal_fd);
}

static int catch_signals(struct gd_error *err)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return gd_fail_errno(err, -errno, "sigprocmask");
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? gd_fail_errno(err, -errno, "signalfd") : fd;
}

int gd_hook_main(const struct gd_hook_options *options)
{
	struct gd_error err = { 0 };
	struct launcher l = { .options = options, .signal_fd = -1, .control_fd = -1 };
	l.sockets.tokens_option = options->tokens;
	gd_log_set_level(GD_LOG_INFO);
	gd_hook_http_warm();
	l.watchdog_ns = (int64_t)gd_notify_watchdog_ns();
	l.signal_fd = catch_signals(&err);
	int r = l.signal_fd < 0 ? l.signal_fd : open_fixed(&l, &err);
	if (r == 0)
		r = start_server(&l, gd_clock_monotonic_ns(), &err);
	if (r < 0) {
		gd_log(GD_LOG_ERROR, "hook: %s", err.msg);
		end(&l);
		return r == -EPERM || r == -EACCES ? GD_EXIT_PERMISSION : GD_EXIT_USAGE;
	}
	run(&l);
	end(&l);
	return GD_EXIT_COMPLETE;
}
