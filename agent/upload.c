/*
 * The uploader process: asks the broker for an archive, uploads it, says how that went, and asks again,
 * at once after a success, after a wait that grows after failures.  It has nothing on disk: killed at
 * any moment, the broker gives the same archive to the next one, and the store is asked whether it
 * has it already.
 */
#include "agent/upload.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/exit.h"
#include "agent/role.h"
#include "agent/upload_record.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"
#include "base/notify.h"
#include "base/text.h"
#include "base/units.h"
#include "uploader/backoff.h"
#include "uploader/uploader.h"

#define SECOND UINT64_C(1000000000)
#define RECONNECT_MAX_NS (5 * SECOND)
#define STORE "GODIAG_UPLOAD_STORE" /* names the directory to the role's Landlock rules */

static volatile sig_atomic_t stopped;
static int stop_pipe[2] = { -1, -1 };

struct uploader {
	const struct gd_upload_options *options;
	struct gd_credentials credentials;
	bool has_credentials;
	struct gd_error no_credentials;
	struct gd_backoff backoff; /* for the place */
	struct gd_backoff stuck;   /* for archives that fail alone */
	int fd;                /* to the broker; -1: not connected */
	int notify_fd;         /* -1: nobody wants to know */
	uint64_t watchdog_ns;  /* 0: none */
	int64_t watchdog_at;
	bool asked;            /* the broker owes us an archive */
	bool asked_fresh;      /* one that has not failed yet */
	int64_t ask_at;        /* on CLOCK_MONOTONIC; 0: now */
	int64_t stuck_at;      /* not for those that failed before then */
	bool jailed;
	char store[2048];      /* the directory that we may write to; "" none */
	bool missed;           /* that there is no broker was said already */
};

static void on_signal(int number)
{
	(void)number;
	int saved = errno;
	stopped = 1;
	ssize_t n = write(stop_pipe[1], "", 1);
	(void)n;
	errno = saved;
}

static int prepare_signals(struct gd_error *err)
{
	struct sigaction action = { .sa_handler = on_signal };
	if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return gd_fail_errno(err, -errno, "pipe");
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	action.sa_handler = SIG_IGN;
	(void)sigaction(SIGPIPE, &action, NULL);
	return 0;
}

/* Everything that opens files or asks the system, before there is no way to. */
static int prepare(struct uploader *u, struct gd_error *err)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	int r = prepare_signals(err);
	if (r < 0)
		return r;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return gd_fail(err, -EIO, "libcurl cannot be used");
	if (EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL) != 1)
		return gd_fail(err, -EIO, "SHA-256 is not available in libcrypto");
	u->has_credentials = gd_credentials_load(&u->credentials, &u->no_credentials) == 0;
	if (!u->has_credentials && u->no_credentials.code != -ENOKEY)
		return gd_fail(err, u->no_credentials.code, "%s", u->no_credentials.msg);
	gd_credentials_forget_environment();
	u->notify_fd = gd_notify_open(NULL);
	u->watchdog_ns = gd_notify_watchdog_ns();
	return 0;
}

static void tell_manager(struct uploader *u, const char *text)
{
	if (u->notify_fd >= 0)
		(void)gd_notify_send_to(u->notify_fd, text, NULL);
}

static void pet_watchdog(struct uploader *u)
{
	int64_t now = gd_clock_monotonic_ns();
	if (u->watchdog_ns == 0 || now < u->watchdog_at)
		return;
	u->watchdog_at = now + (int64_t)u->watchdog_ns;
	tell_manager(u, "WATCHDOG=1");
}

/* --- the jail ------------------------------------------------------------------------------ */

/*
 * Entered as soon as the broker has said where things go, because a directory has to be opened up in
 * the walls; until then nobody but the broker was listened to.
 */
static int enter_jail(struct uploader *u, const char *url, int archive_fd, struct gd_error *err)
{
	struct gd_role_gaps gaps = { .text = "" };
	int keep[6] = { STDERR_FILENO, u->fd, stop_pipe[0], stop_pipe[1] };
	size_t n_keep = 4;
	if (u->notify_fd >= 0)
		keep[n_keep++] = u->notify_fd;
	if (archive_fd >= 0)
		keep[n_keep++] = archive_fd;
	if (strncmp(url, "file://", 7) == 0) {
		(void)snprintf(u->store, sizeof(u->store), "%s", url + 7);
		if (mkdir(u->store, 0700) < 0 && errno != EEXIST)
			gd_log(GD_LOG_WARNING, "%s: %s", u->store, strerror(errno));
		if (setenv(STORE, u->store, 1) < 0)
			return gd_fail_errno(err, -errno, "%s", u->store);
	}
	u->jailed = true;
	if (!u->options->jail)
		return 0;
	int r = gd_role_enter(GD_ROLE_UPLOADER, keep, n_keep, &gaps, err);
	if (r == 0 && gaps.text[0] != '\0')
		gd_log(GD_LOG_WARNING, "weaker jail: %s", gaps.text);
	return r;
}

/* --- one archive --------------------------------------------------------------------------- */

static bool on_progress(void *arg)
{
	pet_watchdog(arg);
	return stopped != 0;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static int put(struct uploader *u, const struct gd_upload_give *give, int fd,
               struct gd_uploaded *done, struct gd_upload_trouble *trouble, struct gd_error *err)
{
	const struct gd_transfer_options options = { .bytes_per_s = give->bytes_per_s,
		                                     .stall_s = u->options->stall_s,
		                                     .stop = on_progress,
		                                     .stop_arg = u };
	bool directory = strncmp(give->url, "file://", 7) == 0;
	*trouble = (struct gd_upload_trouble){ .permanent = true };
	if (directory && u->options->jail && strcmp(give->url + 7, u->store) != 0)
		return gd_fail(err, -EXDEV, "the place changed to %.150s: restarting", give->url);
	if (!directory && !u->has_credentials)
		return gd_fail(err, -ENOKEY, "%s", u->no_credentials.msg);
	struct stat st;
	trouble->archive_only = fstat(fd, &st) < 0 || (uint64_t)st.st_size != give->bytes;
	if (trouble->archive_only)
		return gd_fail(err, -EBADMSG, "not the %llu bytes that were promised",
		               (unsigned long long)give->bytes);
	return gd_uploader_put_fd(fd, give->name, give->url,
	                          u->has_credentials ? &u->credentials : NULL, &options, done,
	                          trouble, err);
}

static int say_done(struct uploader *u, uint32_t seq, const struct gd_upload_give *give,
                    const struct gd_uploaded *uploaded, struct gd_error *err)
{
	struct gd_upload_done done = { .id = "" };
	memcpy(done.id, give->id, sizeof(done.id));
	(void)snprintf(done.location, sizeof(done.location), "%.1023s", uploaded->location);
	gd_backoff_succeeded(&u->backoff);
	u->ask_at = 0;
	gd_log(GD_LOG_INFO, "%s: %s", give->id, uploaded->location);
	return gd_message_send(u->fd, GD_UPLOAD_DONE, seq, &done, sizeof(done), NULL, 0, err);
}

static int say_failed(struct uploader *u, uint32_t seq, const struct gd_upload_give *give,
                      const struct gd_upload_trouble *trouble, const struct gd_error *why,
                      struct gd_error *err)
{
	struct gd_upload_failed failed = { .permanent = trouble->permanent };
	char wait[GD_UNITS_TEXT];
	int64_t now = gd_clock_monotonic_ns();
	if (trouble->archive_only) { /* the others need not wait for it */
		failed.retry_ns = gd_backoff_failed(&u->stuck, false, 0);
		u->stuck_at = now + (int64_t)failed.retry_ns;
	} else {
		failed.retry_ns = gd_backoff_failed(&u->backoff, trouble->permanent,
		                                    trouble->retry_after_ns);
		u->ask_at = now + (int64_t)failed.retry_ns;
	}
	failed.circuit_open = gd_backoff_is_open(&u->backoff);
	memcpy(failed.id, give->id, sizeof(failed.id));
	gd_text_escape(failed.why, sizeof(failed.why), why->msg, strlen(why->msg));
	gd_log(GD_LOG_WARNING, "%s: not uploaded: %s; %s in %s", give->id, why->msg,
	       failed.circuit_open ? "a probe" : "again", gd_units_duration(wait, failed.retry_ns));
	return gd_message_send(u->fd, GD_UPLOAD_FAILED, seq, &failed, sizeof(failed), NULL, 0, err);
}

static int upload(struct uploader *u, uint32_t seq, const struct gd_upload_give *give, int fd,
                  struct gd_error *err)
{
	struct gd_uploaded done = { .location = "" };
	struct gd_upload_trouble trouble;
	struct gd_error why = { 0 };
	if (!u->jailed) {
		int r = enter_jail(u, give->url, fd, err);
		if (r < 0) {
			stopped = 1; /* half jailed is nothing to go on with */
			return r;
		}
	}
	int r = put(u, give, fd, &done, &trouble, &why);
	if (r == 0)
		return say_done(u, seq, give, &done, err);
	if (r == -ECANCELED && stopped) {
		struct gd_upload_return back = { .id = "" };
		memcpy(back.id, give->id, sizeof(back.id));
		return gd_message_send(u->fd, GD_UPLOAD_RETURN, seq, &back, sizeof(back), NULL, 0,
		                       err);
	}
	int sent = say_failed(u, seq, give, &trouble, &why, err);
	if (r == -EXDEV && u->options->jail) {
		stopped = 1;
		return gd_fail(err, r, "%s", why.msg);
	}
	return sent;
}

/* --- the broker ---------------------------------------------------------------------------- */

static void disconnect(struct uploader *u)
{
	if (u->fd >= 0)
		(void)close(u->fd);
	u->fd = -1;
	u->asked = false;
}

static int connect_broker(struct uploader *u, struct gd_error *err)
{
	const char *path = u->options->agent_socket;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (path == NULL)
		path = "/run/godiag/upload";
	if (strlen(path) >= sizeof(address.sun_path))
		return gd_fail(err, -ENAMETOOLONG, "%.100s...", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	GD_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	u->fd = gd_steal_fd(&fd);
	u->asked = false;
	return 0;
}

static int ask(struct uploader *u, struct gd_error *err)
{
	u->asked_fresh = gd_clock_monotonic_ns() < u->stuck_at;
	u->asked = true;
	const struct gd_upload_ask body = { .version = GD_UPLOAD_VERSION,
		                            .fresh_only = u->asked_fresh };
	return gd_message_send(u->fd, GD_UPLOAD_ASK, 0, &body, sizeof(body), NULL, 0, err);
}

static int on_idle(struct uploader *u, const struct gd_upload_idle *idle, struct gd_error *err)
{
	if (!is_text(idle->url, sizeof(idle->url)))
		return gd_fail(err, -EBADMSG, "the agent's answer makes no sense");
	if (u->jailed || idle->url[0] == '\0')
		return 0;
	int r = enter_jail(u, idle->url, -1, err);
	if (r < 0)
		stopped = 1;
	return r;
}

union body {
	struct gd_upload_idle idle;
	struct gd_upload_give give;
	char bytes[GD_MESSAGE_MAX];
};

static int receive(struct uploader *u, struct gd_error *err)
{
	static union body body;
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	int r = gd_message_recv(u->fd, &message, &body, sizeof(body), err);
	if (r == 0)
		return gd_fail(err, -EPIPE, "the agent has gone");
	if (r < 0)
		return r;
	if (message.type == GD_UPLOAD_IDLE && u->asked) {
		r = gd_message_body(&message, sizeof(body.idle), err);
		return r < 0 ? r : on_idle(u, &body.idle, err);
	}
	if (message.type != GD_UPLOAD_GIVE || !u->asked || message.n_fds != 1)
		return gd_fail(err, -EBADMSG, "the agent says something of type %u", message.type);
	r = gd_message_body(&message, sizeof(body.give), err);
	if (r < 0)
		return r;
	const struct gd_upload_give *give = &body.give;
	if (!is_text(give->id, sizeof(give->id)) || !is_text(give->name, sizeof(give->name)) ||
	    !is_text(give->url, sizeof(give->url)))
		return gd_fail(err, -EBADMSG, "the agent's archive makes no sense");
	u->asked = false;
	return upload(u, message.seq, give, message.fds[0], err);
}

/* --- waiting ------------------------------------------------------------------------------- */

/* Until something is to be read, a signal, or `until` (0: no end). */
static bool wait_for(struct uploader *u, int64_t until)
{
	struct pollfd fds[2] = { { .fd = stop_pipe[0], .events = POLLIN },
		                 { .fd = u->fd, .events = POLLIN } };
	if (u->watchdog_ns > 0 && (until == 0 || u->watchdog_at < until))
		until = u->watchdog_at;
	int64_t left = until - gd_clock_monotonic_ns();
	struct timespec timeout = { .tv_sec = left > 0 ? left / (int64_t)SECOND : 0,
		                    .tv_nsec = left > 0 ? left % (int64_t)SECOND : 0 };
	int n = ppoll(fds, 2, until > 0 ? &timeout : NULL, NULL);
	return n > 0 && fds[1].revents != 0;
}

/* Connected, or `*delay_ns` later, or stopped. */
static void reconnect(struct uploader *u, uint64_t *delay_ns)
{
	struct gd_error err;
	if (connect_broker(u, &err) == 0) {
		if (u->missed)
			gd_log(GD_LOG_INFO, "the agent is there");
		u->missed = false;
		*delay_ns = SECOND / 5;
		return;
	}
	if (!u->missed)
		gd_log(GD_LOG_WARNING, "no agent: %s; waiting for it", err.msg);
	u->missed = true;
	int64_t until = gd_clock_monotonic_ns() + (int64_t)*delay_ns;
	while (!stopped && gd_clock_monotonic_ns() < until) {
		(void)wait_for(u, until);
		pet_watchdog(u);
	}
	*delay_ns = *delay_ns < RECONNECT_MAX_NS / 2 ? *delay_ns * 2 : RECONNECT_MAX_NS;
}

static int turn(struct uploader *u, struct gd_error *err)
{
	int64_t now = gd_clock_monotonic_ns();
	bool due = u->asked ? u->asked_fresh && now >= u->stuck_at : now >= u->ask_at;
	int r = due ? ask(u, err) : 0;
	int64_t until = !u->asked ? u->ask_at : u->asked_fresh ? u->stuck_at : 0;
	if (r == 0 && wait_for(u, until) && !stopped)
		r = receive(u, err);
	return r;
}

static int run(struct uploader *u)
{
	uint64_t delay_ns = SECOND / 5;
	int status = GD_EXIT_COMPLETE;
	tell_manager(u, "READY=1");
	while (!stopped) {
		struct gd_error err = { 0 };
		pet_watchdog(u);
		if (u->fd < 0) {
			reconnect(u, &delay_ns);
			continue;
		}
		int r = turn(u, &err);
		if (r == 0)
			continue;
		gd_log(stopped ? GD_LOG_ERROR : GD_LOG_WARNING, "%s",
		       r == -EPIPE ? "the agent has gone; waiting for it" : err.msg);
		status = stopped ? GD_EXIT_USAGE : status;
		disconnect(u);
	}
	tell_manager(u, "STOPPING=1");
	return status;
}

int gd_upload_main(const struct gd_upload_options *options)
{
	struct uploader u = { .options = options, .fd = -1, .notify_fd = -1,
		              .credentials = { .pages = NULL } };
	struct gd_error err = { 0 };
	stopped = 0;
	gd_backoff_init(&u.backoff, options->backoff_min_ns, options->backoff_max_ns);
	gd_backoff_init(&u.stuck, options->backoff_min_ns, options->backoff_max_ns);
	int r = prepare(&u, &err);
	int status = GD_EXIT_USAGE;
	if (r < 0)
		gd_log(GD_LOG_ERROR, "%s", err.msg);
	else
		status = run(&u);
	disconnect(&u);
	gd_credentials_deinit(&u.credentials);
	const int fds[] = { u.notify_fd, stop_pipe[0], stop_pipe[1] };
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	stop_pipe[0] = stop_pipe[1] = -1;
	return status;
}
