/*
 * The broker's end: the table of what the watcher may say when, its accounts (which slot is which
 * process, how often it asks), and the way of its samples to those who want them.
 */
#include "agent/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "agent/scraper.h"
#include "agent/watch_grant.h"
#include "agent/watch_loop.h"
#include "agent/watch_wire.h"
#include "base/cleanup.h"
#include "base/message.h"
#include "base/text.h"

/* Two scrapes and the patience of one. */
#define HTTP_STALE_NS (2 * GD_SCRAPER_SLOW_NS + GD_SCRAPER_TIMEOUT_NS)

#define MESSAGES_PER_CALL 64 /* then the rest of the agent's loop has its turn */

enum state { STARTING, WATCHING, BROKEN };
#define IN(state) (1u << (state))

/* At most so many at once, refilled at so many a second. */
struct allowance {
	double tokens;
	int64_t at_ns;
};

struct seat {
	bool taken;
	struct gd_watched watched;
};

struct gd_watcher {
	struct gd_watcher_options options;
	int fd, pid_fd;
	pid_t pid;
	enum state state;
	bool said[GD_WATCH_TYPES];
	struct gd_watch_finder finder;
	struct allowance links, memory, found;
	struct seat *seats;       /* GD_WATCHED_MAX */
	unsigned *per_service;
	struct http {
		double p99_s;
		int64_t at_ns; /* when we were told */
	} *http;                  /* by service */
	unsigned unwatched, missed;
	char note[248];
	_Alignas(16) char body[GD_MESSAGE_MAX];
};

/* ---- checks --------------------------------------------------------------------------------- */

static bool allow(struct allowance *allowance, double per_second, double most)
{
	int64_t now_ns = gd_clock_monotonic_ns();
	if (allowance->at_ns == 0)
		allowance->tokens = most;
	else
		allowance->tokens += (double)(now_ns - allowance->at_ns) / 1e9 * per_second;
	allowance->at_ns = now_ns;
	if (allowance->tokens > most)
		allowance->tokens = most;
	if (allowance->tokens < 1)
		return false;
	allowance->tokens -= 1;
	return true;
}

/* The text of a foreign, perhaps unterminated array, printable. */
static void take_text(char *to, size_t size, const char *from, size_t n)
{
	gd_text_escape(to, size, from, strnlen(from, n));
}

static struct seat *seat_of(struct gd_watcher *w, uint32_t slot)
{
	return slot < GD_WATCHED_MAX && w->seats[slot].taken ? &w->seats[slot] : NULL;
}

static bool sane_clock(const struct gd_clock *at)
{
	return at->monotonic_ns > 0 && at->boottime_ns > 0;
}

static int nonsense(const char *what, struct gd_error *err)
{
	return gd_fail(err, -EBADMSG, "the watcher said nonsense: %s", what);
}

static int answer(struct gd_watcher *w, const struct gd_message *question, const void *body,
                  size_t len, const int *fds, size_t n_fds, struct gd_error *err)
{
	/* It waits for each answer, so its socket has room; one that does not has been taken over. */
	int r = gd_message_send(w->fd, question->type, question->seq, body, len, fds, n_fds, err);
	return r == -EAGAIN ? nonsense("it asks and does not listen", err) : r;
}

static int answer_code(struct gd_watcher *w, const struct gd_message *question, int code,
                       const char *why, struct gd_error *err)
{
	struct gd_watch_answer body = { .code = code };
	(void)snprintf(body.why, sizeof(body.why), "%.120s", why);
	return answer(w, question, &body, sizeof(body), NULL, 0, err);
}

/* ---- grants and records --------------------------------------------------------------------- */

static int take_ready(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_ready *ready = (const void *)w->body;
	(void)m;
	(void)err;
	take_text(w->note, sizeof(w->note), ready->note, sizeof(ready->note));
	w->state = WATCHING;
	return 0;
}

static int grant_found(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_found *found = (const void *)w->body;
	if (found->slot >= GD_WATCHED_MAX || w->seats[found->slot].taken ||
	    found->service >= w->options.policy->n_services || found->first_look > 1 ||
	    found->who.pid <= 0)
		return nonsense("a process that cannot be", err);
	struct gd_error why = { 0 };
	int r = -EAGAIN;
	if (allow(&w->found, 2000, GD_WATCHED_MAX))
		r = gd_watch_grant_found(&found->who, &why);
	if (r == 0) {
		struct seat *seat = &w->seats[found->slot];
		*seat = (struct seat){ .taken = true };
		seat->watched.slot = found->slot;
		seat->watched.service = found->service;
		seat->watched.id.pid = found->who.pid;
		seat->watched.id.start_ticks = found->who.start_ticks;
		take_text(seat->watched.comm, sizeof(seat->watched.comm), found->comm,
		          sizeof(found->comm));
		w->per_service[found->service]++;
		w->options.ops->process(w->options.arg, &seat->watched, found->first_look == 1);
	}
	return answer_code(w, m, r, why.msg, err);
}

static int take_changed(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_changed *changed = (const void *)w->body;
	struct seat *seat = seat_of(w, changed->slot);
	(void)m;
	if (seat == NULL || changed->go > 1)
		return nonsense("a change of nobody", err);
	seat->watched.go = changed->go == 1;
	take_text(seat->watched.note, sizeof(seat->watched.note), changed->note,
	          sizeof(changed->note));
	w->options.ops->changed(w->options.arg, &seat->watched);
	return 0;
}

static int take_gone(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	uint32_t slot;
	(void)m;
	memcpy(&slot, w->body, sizeof(slot));
	struct seat *seat = seat_of(w, slot);
	if (seat == NULL)
		return nonsense("nobody has gone", err);
	seat->taken = false;
	w->per_service[seat->watched.service]--;
	w->options.ops->gone(w->options.arg, slot, &seat->watched.id);
	return 0;
}

/* Who scrapes can die: an old answer says nothing of now. */
static double http_now(const struct gd_watcher *w, uint32_t service)
{
	const struct http *http = &w->http[service];
	bool fresh = gd_clock_monotonic_ns() - http->at_ns < HTTP_STALE_NS;
	return fresh ? http->p99_s : (double)NAN;
}

static int take_samples(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_samples *samples = (const void *)w->body;
	size_t head = offsetof(struct gd_watch_samples, list);
	if (m->len < head || samples->n > GD_WATCH_SAMPLES_MAX || !sane_clock(&samples->at) ||
	    m->len != head + samples->n * sizeof(samples->list[0]))
		return nonsense("samples of another length", err);
	for (uint64_t i = 0; i < samples->n; i++) {
		const struct seat *seat = seat_of(w, samples->list[i].slot);
		double values[GD_METRICS];
		if (seat == NULL)
			return nonsense("a sample of nobody", err);
		for (int k = 0; k < GD_METRICS; k++) {
			double value = samples->list[i].values[k];
			/* what does not grow has endless time to its limit, which clears rules */
			bool endless = k == GD_METRIC_TIME_TO_LIMIT && value > 0;
			values[k] = isfinite(value) || endless ? value : (double)NAN;
		}
		values[GD_METRIC_HTTP_P99] = http_now(w, seat->watched.service);
		w->options.ops->sample(w->options.arg, seat->watched.slot, &samples->at, values);
	}
	return 0;
}

static int take_events(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	static const enum gd_event possible[] = { GD_EVENT_MEMORY_HIGH, GD_EVENT_MEMORY_MAX,
		                                  GD_EVENT_OOM, GD_EVENT_OOM_KILL };
	const struct gd_watch_events *events = (const void *)w->body;
	const struct seat *seat = seat_of(w, events->slot);
	(void)m;
	if (seat == NULL || !sane_clock(&events->at))
		return nonsense("an event of nobody", err);
	for (size_t i = 0; i < sizeof(possible) / sizeof(possible[0]); i++)
		if ((events->bits & (1u << possible[i])) != 0)
			w->options.ops->event(w->options.arg, seat->watched.slot, possible[i],
			                      &events->at);
	return 0;
}

static int take_tick(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_tick *tick = (const void *)w->body;
	(void)m;
	if (!sane_clock(&tick->at))
		return nonsense("a tick at no time", err);
	w->unwatched = tick->unwatched;
	w->missed = tick->missed;
	take_text(w->note, sizeof(w->note), tick->note, sizeof(tick->note));
	gd_watch_grant_reap(&w->finder, false);
	w->options.ops->tick(w->options.arg, &tick->at);
	return 0;
}

static int grant_exe(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_who *who = (const void *)w->body;
	struct gd_watch_exe exe = { .code = -EAGAIN };
	if (allow(&w->links, 2000, 4000))
		gd_watch_grant_exe(who, &exe);
	return answer(w, m, &exe, offsetof(struct gd_watch_exe, path) + exe.len, NULL, 0, err);
}

static int grant_sockets(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_who *who = (const void *)w->body;
	struct gd_watch_sockets sockets;
	sockets.code = -EAGAIN;
	sockets.n = 0;
	sockets.n_fds = 0;
	if (allow(&w->links, 2000, 4000))
		gd_watch_grant_sockets(who, &sockets);
	size_t len = offsetof(struct gd_watch_sockets, inodes) +
	             sockets.n * sizeof(sockets.inodes[0]);
	return answer(w, m, &sockets, len, NULL, 0, err);
}

static int grant_memory(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct gd_watch_memory *memory = (const void *)w->body;
	const struct seat *seat = seat_of(w, memory->slot);
	if (seat == NULL || seat->watched.id.pid != memory->who.pid ||
	    seat->watched.id.start_ticks != memory->who.start_ticks)
		return nonsense("it wants the memory of a process that it did not find", err);
	struct gd_error why = { 0 };
	GD_CLOSE int mem_fd = -1;
	GD_CLOSE int runtime_fd = -1;
	if (!allow(&w->memory, 10, 20))
		return answer_code(w, m, -EAGAIN, "later", err);
	int r = gd_watch_grant_memory(&memory->who, &w->finder, &mem_fd, &runtime_fd, &why);
	if (r < 0)
		return answer_code(w, m, r == -EAGAIN ? -EIO : r, why.msg, err);
	struct gd_watch_answer body = { .code = 0 };
	const int fds[] = { mem_fd, runtime_fd };
	return answer(w, m, &body, sizeof(body), fds, 2, err);
}

/* ---- the table ------------------------------------------------------------------------------ */

static const struct request {
	unsigned states;
	bool once;
	size_t size; /* exactly; 0: it checks that itself */
	int (*run)(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err);
} requests[GD_WATCH_TYPES] = {
	[GD_WATCH_READY] = { IN(STARTING), true, sizeof(struct gd_watch_ready), take_ready },
	[GD_WATCH_FOUND] = { IN(WATCHING), false, sizeof(struct gd_watch_found), grant_found },
	[GD_WATCH_CHANGED] = { IN(WATCHING), false, sizeof(struct gd_watch_changed), take_changed },
	[GD_WATCH_GONE] = { IN(WATCHING), false, sizeof(uint32_t), take_gone },
	[GD_WATCH_SAMPLES] = { IN(WATCHING), false, 0, take_samples },
	[GD_WATCH_EVENTS] = { IN(WATCHING), false, sizeof(struct gd_watch_events), take_events },
	[GD_WATCH_TICK] = { IN(WATCHING), false, sizeof(struct gd_watch_tick), take_tick },
	[GD_WATCH_EXE] = { IN(WATCHING), false, sizeof(struct gd_watch_who), grant_exe },
	[GD_WATCH_SOCKETS] = { IN(WATCHING), false, sizeof(struct gd_watch_who), grant_sockets },
	[GD_WATCH_MEMORY] = { IN(WATCHING), false, sizeof(struct gd_watch_memory), grant_memory },
};

static int serve(struct gd_watcher *w, const struct gd_message *m, struct gd_error *err)
{
	const struct request *request =
		m->type < GD_WATCH_TYPES ? &requests[m->type] : &requests[0];
	if (request->run == NULL || (request->states & IN(w->state)) == 0 || m->n_fds > 0 ||
	    (request->once && w->said[m->type]))
		return nonsense("what is not allowed now", err);
	if (request->size > 0 && m->len != request->size)
		return nonsense("a record of another length", err);
	w->said[m->type] = true;
	return request->run(w, m, err);
}

/* ---- its life ------------------------------------------------------------------------------- */

static void end_it(struct gd_watcher *w)
{
	gd_watch_grant_reap(&w->finder, true);
	if (w->pid <= 0)
		return;
	(void)kill(w->pid, SIGKILL);
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	w->pid = 0;
}

int gd_watcher_handle(struct gd_watcher *watcher, struct gd_error *err)
{
	for (int i = 0; i < MESSAGES_PER_CALL && watcher->state != BROKEN; i++) {
		GD_MESSAGE struct gd_message message = { .n_fds = 0 };
		int r = gd_message_recv(watcher->fd, &message, watcher->body,
		                        sizeof(watcher->body), err);
		if (r == -EAGAIN)
			return 0;
		if (r == 0)
			r = gd_fail(err, -EPIPE, "the watcher has died");
		if (r > 0)
			r = serve(watcher, &message, err);
		if (r >= 0)
			continue;
		watcher->state = BROKEN;
		end_it(watcher);
		return r == -EPIPE ? r : -EBADMSG;
	}
	return watcher->state == BROKEN ? gd_fail(err, -EPIPE, "the watcher has died") : 0;
}

static void release(struct gd_watcher *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	if (w->pid_fd >= 0)
		(void)close(w->pid_fd);
	free(w->seats);
	free(w->per_service);
	free(w->http);
	free(w);
}

void gd_watcher_stop(struct gd_watcher *watcher)
{
	if (watcher == NULL)
		return;
	end_it(watcher);
	release(watcher);
}

static struct gd_watcher *allocate(const struct gd_watcher_options *options)
{
	size_t n = options->policy->n_services + 1;
	struct gd_watcher *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	w->options = *options;
	w->fd = w->pid_fd = w->finder.pid_fd = -1;
	w->seats = calloc(GD_WATCHED_MAX, sizeof(*w->seats));
	w->per_service = calloc(n, sizeof(*w->per_service));
	w->http = calloc(n, sizeof(*w->http));
	if (w->seats == NULL || w->per_service == NULL || w->http == NULL) {
		release(w);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		w->http[i].p99_s = NAN;
	if (w->options.proc == NULL)
		w->options.proc = "/proc";
	if (w->options.cgroup == NULL)
		w->options.cgroup = "/sys/fs/cgroup";
	if (w->options.interval_ns == 0)
		w->options.interval_ns = 1000000000;
	return w;
}

int gd_watcher_adopt(const struct gd_watcher_options *options, int fd, struct gd_watcher **ret,
                     struct gd_error *err)
{
	struct gd_watcher *w = allocate(options);
	if (w == NULL) {
		(void)close(fd);
		return gd_fail_errno(err, -ENOMEM, "watcher");
	}
	w->fd = fd;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		release(w);
		return gd_fail_errno(err, -EBADF, "watcher");
	}
	*ret = w;
	return 0;
}

int gd_watcher_start(const struct gd_watcher_options *options, struct gd_watcher **ret,
                     struct gd_error *err)
{
	int pair[2];
	struct gd_watcher *w;
	int r = gd_message_pair(pair, err);
	if (r < 0)
		return r;
	r = gd_watcher_adopt(options, pair[0], &w, err);
	if (r < 0) {
		(void)close(pair[1]);
		return r;
	}
	struct gd_watch_start start = { .options = &w->options, .fd = pair[1] };
	start.n_triggers = gd_watch_triggers_open(options->policy, w->options.proc, start.triggers);
	int keep[1 + GD_WATCH_TRIGGERS_MAX] = { pair[1] };
	memcpy(keep + 1, start.triggers, start.n_triggers * sizeof(*keep));
	r = gd_role_fork(GD_ROLE_WATCHER, keep, 1 + start.n_triggers, gd_watch_loop_run, &start,
	                 &w->pid, &w->pid_fd, err);
	gd_watch_triggers_close(start.triggers, start.n_triggers);
	(void)close(pair[1]);
	if (r < 0) {
		release(w);
		return r;
	}
	*ret = w;
	return 0;
}

int gd_watcher_fd(const struct gd_watcher *watcher)
{
	return watcher->fd;
}

pid_t gd_watcher_pid(const struct gd_watcher *watcher)
{
	return watcher->pid;
}

void gd_watcher_http(struct gd_watcher *watcher, uint32_t service, double p99_s)
{
	if (service < watcher->options.policy->n_services)
		watcher->http[service] = (struct http){ isfinite(p99_s) ? p99_s : (double)NAN,
			                                gd_clock_monotonic_ns() };
}

bool gd_watcher_matched(const struct gd_watcher *watcher, uint32_t service)
{
	return service < watcher->options.policy->n_services && watcher->per_service[service] > 0;
}

unsigned gd_watcher_unwatched(const struct gd_watcher *watcher)
{
	return watcher->unwatched;
}

unsigned gd_watcher_missed(const struct gd_watcher *watcher)
{
	return watcher->missed;
}

const char *gd_watcher_note(const struct gd_watcher *watcher)
{
	return watcher->note;
}
