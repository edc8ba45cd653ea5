#include "agent/parser_order.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/message.h"

#define SECOND INT64_C(1000000000)
#define SILENT_NS (10 * SECOND)
#define COLLECTOR_NS (120 * SECOND) /* however busy it is */
#define TICK_MS 50                  /* how often we look at the clock and the interrupt */
#define DEATHS_MAX 4
#define LEAVE_MS 1000 /* for whoever is leaving by itself */
#define DIE_MS 2000   /* for whoever was killed */
#define BEGIN_MS 2000 /* for the windowed one, until the others begin without it */

/* ---- ends ------------------------------------------------------------------------------------ */

static void add_usage(struct gd_parser_order *p, const struct rusage *usage, bool first)
{
	uint64_t peak = (uint64_t)usage->ru_maxrss * 1024;
	uint64_t *most = first ? &p->peak_first : &p->peak_child;
	p->cpu_ns += usage->ru_utime.tv_sec * SECOND + usage->ru_utime.tv_usec * INT64_C(1000) +
	             usage->ru_stime.tv_sec * SECOND + usage->ru_stime.tv_usec * INT64_C(1000);
	if (peak > *most)
		*most = peak;
	p->peak_rss_bytes = p->peak_first + p->peak_child;
}

/*
 * Waits for the end of a process that is ending, and helps after a while.  -1 when it hangs in the
 * kernel even so, then it is left alone.
 */
static int reap(struct gd_parser_order *p, pid_t pid, bool first, bool at_once)
{
	struct rusage usage;
	int status = 0;
	/* Not waited for yet, so the number is its own. */
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	if (at_once || poll(&end, 1, LEAVE_MS) <= 0)
		(void)kill(pid, SIGKILL);
	(void)poll(&end, 1, DIE_MS);
	if (end.fd >= 0)
		(void)close(end.fd);
	pid_t r = wait4(pid, &status, WNOHANG, &usage);
	if (r == pid)
		add_usage(p, &usage, first);
	/* 0: it hangs; an error: somebody else has waited for it. */
	return r == 0 ? -1 : status;
}

static void explain(struct gd_error *err, const char *what, int status)
{
	if (status < 0) {
		(void)gd_fail(err, -ETIMEDOUT, "the reader of %s hangs in the kernel", what);
	} else if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		const char *name = sigabbrev_np(number);
		(void)gd_fail(err, -EIO, "the reader of %s was killed by signal %d (SIG%s)", what,
		              number, name != NULL ? name : "?");
	} else if (WEXITSTATUS(status) == GD_ROLE_EXIT_JAIL) {
		(void)gd_fail(err, -EPERM, "the reader of %s could not be jailed", what);
	} else {
		(void)gd_fail(err, -EIO, "the reader of %s ended with status %d", what,
		              WEXITSTATUS(status));
	}
}

/* ---- serving --------------------------------------------------------------------------------- */

static bool has_progressed(struct gd_parser_order *p, int64_t now)
{
	uint64_t at = *p->progress;
	int64_t silent = p->silent_ns > 0 ? (int64_t)p->silent_ns : SILENT_NS;
	if (at != p->progress_seen) {
		p->progress_seen = at;
		p->progress_ns = now;
	}
	return now - p->progress_ns < silent;
}

/* The windowed one asks, tells or has ended. */
static void serve_window(struct gd_parser_order *p)
{
	struct gd_grant_told told = { .type = 0 };
	struct gd_error err = { 0 };
	int r = gd_grant_next(&p->window.grant, &told, &err);
	if (r == -EAGAIN)
		return;
	if (r == 1 && told.type == GD_REQUEST_BEGUN)
		p->window.begun = true;
	if (r == 1 && told.type == GD_REQUEST_DONE) {
		p->window.told = told;
		p->window.done = true;
	}
	if (r == 1 && !p->window.done)
		return;
	if (r < 0 && r != -EPIPE)
		p->window.why = err;
	(void)close(p->window.grant.fd);
	p->window.grant.fd = -1;
}

/* Nothing to answer: waits a little, passes the interrupt on.  -ETIMEDOUT: it has been too long. */
static int idle(struct gd_parser_order *p, int fd, int64_t started_ns, struct gd_error *err)
{
	struct pollfd at[3] = { { .fd = fd, .events = POLLIN },
		                { .fd = p->packer != NULL ? p->packer->scratch_fd : -1,
		                  .events = POLLIN },
		                { .fd = p->window.grant.fd, .events = POLLIN } };
	if (poll(at, 3, TICK_MS) > 0) {
		if ((at[1].revents & POLLIN) != 0)
			gd_packer_order_scratch(p->packer);
		if (at[2].revents != 0)
			serve_window(p);
	}
	if (p->cancelled != NULL && *p->cancelled != 0)
		*p->shared.cancelled = 1;
	int64_t now = gd_clock_monotonic_ns();
	if (!has_progressed(p, now))
		return gd_fail(err, -ETIMEDOUT, "silent for %.1f s",
		               (double)(now - p->progress_ns) / 1e9);
	if (now - started_ns > COLLECTOR_NS)
		return gd_fail(err, -ETIMEDOUT, "longer than %d s", (int)(COLLECTOR_NS / SECOND));
	return 0;
}

/*
 * Answers until it tells `until`: 1.  0: it has closed its end.  -EBADMSG, -ETIMEDOUT: it must be
 * ended, err says why.
 */
static int serve(struct gd_parser_order *p, struct gd_grant *grant, enum gd_request until,
                 struct gd_grant_told *told, struct gd_error *err)
{
	int64_t started = gd_clock_monotonic_ns();
	p->progress_ns = started;
	for (;;) {
		int r = gd_grant_next(grant, told, err);
		if (r == 1 && told->type == until)
			return 1;
		if (r == 1 && told->type == GD_REQUEST_SUBJECT && !p->has_subject) {
			p->subject = told->subject;
			p->has_subject = true;
		}
		if (r == -EAGAIN)
			r = idle(p, grant->fd, started, err);
		else if (r == 0 || r == -EPIPE)
			return 0;
		if (r < 0)
			return r;
	}
}

/* ---- the first one --------------------------------------------------------------------------- */

static enum gd_parser_level level_of(const struct gd_parser_order *p)
{
	if (p->deaths < 2)
		return GD_PARSER_ALL;
	return p->deaths == 2 ? GD_PARSER_NO_RUNTIME : GD_PARSER_NO_SUBJECT;
}

static int pair(int ends[2], struct gd_error *err)
{
	int r = gd_message_pair(ends, err);
	/* Ours never waits: a reader that takes no answers is none of ours any more. */
	if (r == 0)
		(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	return r;
}

int gd_parser_order_start(struct gd_parser_order *p, struct gd_error *err)
{
	int ends[2];
	int keep[GD_PARSER_FDS];
	int r = p->shared.cancelled == NULL ? gd_parser_shared_init(&p->shared, err) : 0;
	if (r == 0)
		r = pair(ends, err);
	if (r < 0)
		return r;
	if (p->progress == NULL)
		p->progress = p->shared.progress;
	struct gd_parser_options options = { .target = p->target, .plan = p->plan,
		                             .shared = &p->shared, .level = level_of(p),
		                             .why = p->why, .fd = ends[1], .broker = getpid() };
	size_t n = gd_parser_keep(&options, keep);
	r = gd_role_fork(GD_ROLE_PARSER, keep, n, gd_parser_run, &options, &p->pid, NULL, err);
	(void)close(ends[1]);
	if (r < 0) {
		(void)close(ends[0]);
		return r;
	}
	p->grant = (struct gd_grant){ .target = p->target, .asker = GD_ASKER_OPENING,
		                      .fd = ends[0] };
	return 0;
}

/* It has died or has to; `serve_err` says why when it has to. */
static void bury_first(struct gd_parser_order *p, const char *what, int served,
                       const struct gd_error *serve_err)
{
	int status = reap(p, p->pid, true, served < 0);
	if (served < 0 && status >= 0)
		(void)gd_fail(&p->why, served, "the reader of %s was ended: %s", what,
		              serve_err->msg);
	else
		explain(&p->why, what, status);
	(void)close(p->grant.fd);
	p->grant.fd = -1;
	p->pid = 0;
	p->deaths++;
}

/* Until it tells that, with another one in its place as often as it dies.  False: none is left. */
static bool bring_to(struct gd_parser_order *p, enum gd_request until, struct gd_grant_told *told)
{
	for (;;) {
		struct gd_error err = { 0 };
		if (p->pid == 0 && (p->deaths >= DEATHS_MAX || gd_parser_order_start(p, &err) < 0)) {
			if (err.code != 0)
				p->why = err;
			return false;
		}
		int r = serve(p, &p->grant, until, told, &err);
		if (r == 1)
			return true;
		bury_first(p, p->has_subject ? "the Go runtime" : "the target", r, &err);
		if (until == GD_REQUEST_SUBJECT && p->has_subject)
			return true; /* an earlier one has told */
	}
}

void gd_parser_order_subject(struct gd_parser_order *p)
{
	struct gd_grant_told told;
	if (bring_to(p, GD_REQUEST_SUBJECT, &told) && !p->has_subject) {
		p->subject = told.subject;
		p->has_subject = true;
	}
}

void gd_parser_order_runtime(struct gd_parser_order *p)
{
	struct gd_grant_told told;
	if (!bring_to(p, GD_REQUEST_RUNTIME, &told)) {
		p->runtime = (struct gd_request_runtime){ .why = p->why };
		return;
	}
	p->runtime = told.runtime;
	p->memory.reads += told.runtime.memory.reads;
	p->memory.bytes += told.runtime.memory.bytes;
	p->memory.faults += told.runtime.memory.faults;
	p->grant.asker = GD_ASKER_FORKING;
}

/* ---- collectors ------------------------------------------------------------------------------ */

/*
 * The first one tells a number, and may lie: it must be a child of ours that was born after we gave
 * the order, or somebody else of our children could be ended in its place.
 */
static bool is_born_since(const struct gd_parser_order *p, pid_t pid, pid_t packer,
                          int64_t boottime_ns)
{
	char path[32];
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat = { 0 };
	siginfo_t info;
	long hz = sysconf(_SC_CLK_TCK);
	if (pid == p->pid || pid == packer || hz <= 0 ||
	    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	/* hidepid hides even our own children from us: being one has to do then. */
	if (gd_io_read_file_at(AT_FDCWD, path, &text, NULL) < 0)
		return true;
	if (gd_stat_parse(text.data, text.len, &stat, NULL) < 0)
		return false;
	/* A tick is 10 ms: one more for the one it was born in. */
	return (int64_t)(stat.start_ticks + 2) * (SECOND / hz) >= boottime_ns;
}

/* Gives the order and learns the child's pid; 0, or why not. */
static int order(struct gd_parser_order *p, const struct gd_order_collect *order, const int fds[2],
                 pid_t packer, pid_t *ret_pid, struct gd_error *err)
{
	struct gd_grant_told told;
	struct gd_error why = { 0 };
	int64_t since = gd_clock_now().boottime_ns;
	int r = gd_message_send(p->grant.fd, GD_ORDER_COLLECT, 0, order, sizeof(*order), fds, 2,
	                        &why);
	if (r == 0)
		r = serve(p, &p->grant, GD_REQUEST_FORKED, &told, &why);
	else if (r == -EPIPE)
		r = 0;
	if (r == 1 && !is_born_since(p, told.forked.pid, packer, since))
		r = gd_fail(&why, -EBADMSG, "it names a process that is none of its own");
	if (r != 1) {
		bury_first(p, "the Go runtime", r, &why);
		*err = p->why;
		return err->code;
	}
	*ret_pid = told.forked.pid;
	return 0;
}

static struct gd_outcome take_done(struct gd_parser_order *p, const struct gd_request_done *done,
                                   struct gd_parser_order_result *ret)
{
	ret->torn_reads = done->torn_reads;
	ret->torn_repeated = done->torn_repeated;
	p->memory.reads += done->memory.reads;
	p->memory.bytes += done->memory.bytes;
	p->memory.faults += done->memory.faults;
	return done->outcome;
}

/* It has ended without saying how it came out, or has to be ended (err->code < 0). */
static struct gd_outcome bury(struct gd_parser_order *p, const char *name, pid_t *pid,
                              const struct gd_error *err)
{
	int status = reap(p, *pid, false, err->code < 0);
	struct gd_error why = { 0 };
	if (err->code < 0 && status >= 0)
		(void)gd_fail(&why, err->code, "the reader of %s was ended: %s", name, err->msg);
	else
		explain(&why, name, status);
	*pid = 0;
	return gd_outcome_of(GD_GRADE_FAILED, &why);
}

/* The collector runs; its outcome, or how it ended, then it has been waited for and *pid is 0. */
static struct gd_outcome attend(struct gd_parser_order *p, const char *name, int fd, pid_t *pid,
                                struct gd_parser_order_result *ret)
{
	struct gd_grant grant = { .target = p->target, .asker = GD_ASKER_COLLECTOR, .fd = fd };
	struct gd_grant_told told;
	struct gd_error err = { 0 };
	int r = serve(p, &grant, GD_REQUEST_DONE, &told, &err);
	gd_grant_deinit(&grant);
	if (r == 1)
		return take_done(p, &told.done, ret);
	if (r == 0)
		err.code = 0;
	return bury(p, name, pid, &err);
}

/* No more records come from it; `pid` is to be waited for, 0: it has been. */
static void finish(struct gd_parser_order *p, struct gd_packer_order *packer, pid_t pid,
                   struct gd_parser_order_result *ret)
{
	struct gd_error err = { 0 };
	struct gd_packer_order_ended ended = { .bytes = 0 };
	struct gd_error left_open = ret->outcome.why;
	if (left_open.code == 0)
		(void)gd_fail(&left_open, -EBADMSG, "left open by its reader");
	int r = gd_packer_order_ended(packer, &left_open, &ended, &err);
	if (pid != 0)
		(void)reap(p, pid, false, false);
	ret->bytes = ended.bytes;
	if (r < 0)
		ret->outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else if (ended.fault.code != 0)
		ret->outcome = gd_outcome_worse(gd_outcome_of(ended.bytes > 0 ? GD_GRADE_PARTIAL
		                                                              : GD_GRADE_FAILED,
		                                              &ended.fault),
		                                ret->outcome);
}

static void run(struct gd_parser_order *p, size_t item, const int ask[2], const int record[2],
                struct gd_packer_order *packer, struct gd_parser_order_result *ret)
{
	const struct gd_order_collect collect = { .work = GD_WORK_COLLECT, .item = (uint32_t)item };
	const char *name = p->plan->list[item].collector->name;
	const int given[2] = { ask[1], record[1] };
	p->packer = packer;
	struct gd_error err = { 0 };
	pid_t pid = 0;
	int r = gd_packer_order_begin(packer, name, false, record[0], &err);
	if (r == 0)
		r = order(p, &collect, given, packer->pid, &pid, &err);
	(void)close(record[0]);
	(void)close(record[1]);
	(void)close(ask[1]);
	ret->outcome = r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &err)
	                     : attend(p, name, ask[0], &pid, ret);
	(void)close(ask[0]);

	finish(p, packer, pid, ret);
}

/* ---- an image, and what is asked about one ----------------------------------------------------- */

/* False: it has died of it. */
static bool order_image(struct gd_parser_order *p)
{
	const int fds[2] = { p->image_fd, p->image_index_fd };
	struct gd_grant_told told;
	struct gd_error err = { 0 };
	int r = gd_message_send(p->grant.fd, GD_ORDER_IMAGE, 0, NULL, 0, fds, 2, &err);
	if (r == 0)
		r = serve(p, &p->grant, GD_REQUEST_IMAGED, &told, &err);
	else if (r == -EPIPE)
		r = 0;
	if (r != 1) {
		bury_first(p, "the image", r, &err);
		return false;
	}
	p->image_runtime = told.runtime;
	return true;
}

/* A first one that is alive and has all that it was given before; false: there will be none. */
static bool bring_back(struct gd_parser_order *p)
{
	while (p->pid == 0) {
		gd_parser_order_runtime(p);
		if (p->pid == 0)
			return false;
		if (p->image_fd >= 0)
			(void)order_image(p);
	}
	return true;
}

int gd_parser_order_image(struct gd_parser_order *p, int file_fd, int index_fd,
                          struct gd_error *err)
{
	bool alive = p->pid != 0;
	p->image_fd = file_fd;
	p->image_index_fd = index_fd;
	if ((!alive || !order_image(p)) && !bring_back(p)) {
		p->image_fd = -1;
		if (err != NULL)
			*err = p->why;
		return p->why.code;
	}
	return 0;
}

int gd_parser_order_ranges(struct gd_parser_order *p, enum gd_order_work work, pid_t packer,
                           struct gd_ranges *ret, struct gd_error *err)
{
	const struct gd_order_collect body = { .work = work };
	struct gd_parser_order_result result = { .bytes = 0 };
	GD_CLOSE int ranges_fd = -1;
	int ask[2];
	pid_t pid = 0;
	if (!bring_back(p)) {
		if (err != NULL)
			*err = p->why;
		return p->why.code;
	}
	ranges_fd = gd_ranges_create(err);
	int r = ranges_fd < 0 ? ranges_fd : pair(ask, err);
	if (r < 0)
		return r;
	const int given[2] = { ask[1], ranges_fd };
	struct gd_error why = { 0 };
	r = order(p, &body, given, packer, &pid, &why);
	(void)close(ask[1]);
	struct gd_outcome outcome = r < 0 ? gd_outcome_of(GD_GRADE_FAILED, &why)
	                                  : attend(p, "ranges", ask[0], &pid, &result);
	(void)close(ask[0]);
	if (pid != 0)
		(void)reap(p, pid, false, false);
	if (outcome.grade != GD_GRADE_COMPLETE)
		return gd_fail(err, outcome.why.code < 0 ? outcome.why.code : -EIO, "%s",
		               outcome.why.msg);
	return gd_ranges_take(ranges_fd, ret, err);
}

void gd_parser_order_collect(struct gd_parser_order *p, size_t item,
                             struct gd_packer_order *packer, struct gd_parser_order_result *ret)
{
	int ask[2];
	int record[2];
	struct gd_error err = { 0 };
	*ret = (struct gd_parser_order_result){ .outcome = GD_OUTCOME_COMPLETE };
	if (!bring_back(p)) {
		ret->outcome = gd_outcome_of(GD_GRADE_FAILED, &p->why);
		return;
	}
	int r = pair(ask, &err);
	if (r == 0) {
		r = gd_message_pair(record, &err);
		if (r < 0) {
			(void)close(ask[0]);
			(void)close(ask[1]);
		}
	}
	if (r < 0)
		ret->outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else
		run(p, item, ask, record, packer, ret);
}

/* ---- the one that runs beside ---------------------------------------------------------------- */

int gd_parser_order_window_begin(struct gd_parser_order *p, size_t item, pid_t packer,
                                 struct gd_error *err)
{
	const struct gd_order_collect collect = { .work = GD_WORK_COLLECT, .item = (uint32_t)item };
	int ask[2];
	int record[2];
	if (!bring_back(p)) {
		*err = p->why;
		return p->why.code;
	}
	int r = pair(ask, err);
	if (r < 0)
		return r;
	r = gd_message_pair(record, err);
	if (r < 0) {
		(void)close(ask[0]);
		(void)close(ask[1]);
		return r;
	}
	const int given[2] = { ask[1], record[1] };
	r = order(p, &collect, given, packer, &p->window.pid, err);
	(void)close(ask[1]);
	(void)close(record[1]);
	if (r < 0) {
		(void)close(ask[0]);
		(void)close(record[0]);
		return r;
	}
	p->window.item = item;
	p->window.record_fd = record[0];
	p->window.grant = (struct gd_grant){ .target = p->target, .asker = GD_ASKER_COLLECTOR,
		                             .fd = ask[0],
		                             .syscalls = p->plan->window.syscalls };
	int64_t started = gd_clock_monotonic_ns();
	while (gd_parser_order_window_serve(p, TICK_MS) && !p->window.begun &&
	       gd_clock_monotonic_ns() - started < BEGIN_MS * INT64_C(1000000))
		;
	return 0;
}

bool gd_parser_order_window_serve(struct gd_parser_order *p, int timeout_ms)
{
	struct pollfd at = { .fd = p->window.grant.fd, .events = POLLIN };
	if (p->window.grant.fd >= 0 && poll(&at, 1, timeout_ms) > 0)
		serve_window(p);
	return p->window.grant.fd >= 0;
}

/* Its last words, if they have not been heard already. */
static struct gd_outcome hear(struct gd_parser_order *p, const char *name,
                              struct gd_parser_order_result *ret)
{
	if (p->window.grant.fd >= 0) {
		struct gd_error err = { 0 };
		struct gd_grant grant = p->window.grant;
		p->window.grant.fd = -1;
		int r = serve(p, &grant, GD_REQUEST_DONE, &p->window.told, &err);
		(void)close(grant.fd);
		p->window.done = r == 1;
		if (r < 0)
			p->window.why = err;
		p->window.grant.memberships = grant.memberships;
	}
	gd_grant_deinit(&p->window.grant);
	if (p->window.done)
		return take_done(p, &p->window.told.done, ret);
	return bury(p, name, &p->window.pid, &p->window.why);
}

void gd_parser_order_window_end(struct gd_parser_order *p, struct gd_packer_order *packer,
                                int64_t stopped_ns, int64_t stop_ns,
                                struct gd_parser_order_result *ret)
{
	const char *name = p->plan->list[p->window.item].collector->name;
	struct gd_error err = { 0 };
	*ret = (struct gd_parser_order_result){ .outcome = GD_OUTCOME_COMPLETE };
	p->packer = packer;
	p->progress = p->shared.window_progress;
	p->shared.stopped_ns[0] = stopped_ns;
	p->shared.stopped_ns[1] = stop_ns;
	__atomic_store_n(p->shared.over, 1, __ATOMIC_RELEASE);
	int r = gd_packer_order_begin(packer, name, false, p->window.record_fd, &err);
	(void)close(p->window.record_fd);
	p->window.record_fd = -1;
	ret->outcome = hear(p, name, ret);
	if (r < 0)
		ret->outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	pid_t pid = p->window.pid;
	p->window.pid = 0;
	p->progress = p->shared.progress;
	finish(p, packer, pid, ret);
}

void gd_parser_order_stop(struct gd_parser_order *p)
{
	if (p->pid != 0)
		(void)kill(p->pid, SIGKILL);
	gd_parser_order_end(p);
}

void gd_parser_order_end(struct gd_parser_order *p)
{
	if (p->window.grant.fd >= 0)
		(void)close(p->window.grant.fd);
	if (p->window.record_fd >= 0)
		(void)close(p->window.record_fd);
	gd_grant_deinit(&p->window.grant);
	p->window.grant.fd = p->window.record_fd = -1;
	if (p->window.pid != 0)
		(void)reap(p, p->window.pid, false, true);
	p->window.pid = 0;
	/* Its socket's end is the order to leave. */
	if (p->grant.fd >= 0)
		(void)close(p->grant.fd);
	p->grant.fd = -1;
	if (p->pid != 0)
		(void)reap(p, p->pid, true, false);
	p->pid = 0;
	gd_parser_shared_deinit(&p->shared);
}
