/*
 * The watcher as the agent has it, in its jail, on real processes: what it finds, what it says of
 * them, what it does when they change, and that the broker believes nothing of it.
 */
#include "agent/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watch_wire.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"
#include "target/target.h"
#include "tests/test.h"

#define SEATS 64
#define PATIENCE_NS 20000000000

/* What the agent was told. */
struct seen {
	unsigned processes, gone, ticks, samples, changes, events;
	bool first_look;
	struct gd_watched last;       /* found last */
	struct gd_watched seats[SEATS];
	double values[SEATS][GD_METRICS];
	uint32_t gone_slot;
	bool last_event[GD_EVENTS];
};

struct watching {
	struct gd_policy *policy;
	struct gd_watcher *watcher;
	struct seen seen;
};

static void on_process(void *arg, const struct gd_watched *watched, bool first_look)
{
	struct seen *seen = arg;
	seen->processes++;
	seen->first_look = first_look;
	seen->last = *watched;
	if (watched->slot < SEATS)
		seen->seats[watched->slot] = *watched;
}

static void on_changed(void *arg, const struct gd_watched *watched)
{
	struct seen *seen = arg;
	seen->changes++;
	if (watched->slot < SEATS)
		seen->seats[watched->slot] = *watched;
}

static void on_gone(void *arg, uint32_t slot, const struct gd_subject_id *id)
{
	struct seen *seen = arg;
	(void)id;
	seen->gone++;
	seen->gone_slot = slot;
}

static void on_sample(void *arg, uint32_t slot, const struct gd_clock *at,
                      const double values[GD_METRICS])
{
	struct seen *seen = arg;
	(void)at;
	seen->samples++;
	if (slot < SEATS)
		memcpy(seen->values[slot], values, sizeof(seen->values[slot]));
}

static void on_event(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at)
{
	struct seen *seen = arg;
	(void)slot;
	(void)at;
	seen->events++;
	seen->last_event[event] = true;
}

static void on_tick(void *arg, const struct gd_clock *at)
{
	struct seen *seen = arg;
	(void)at;
	seen->ticks++;
}

static const struct gd_watcher_ops ops = { on_process, on_changed, on_gone,
	                                   on_sample,  on_event,   on_tick };

/* One service "it" that matches `match`; a tick every 100 ms, for these tests have no time. */
static struct watching *start_on(const char *match, const char *proc, const char *cgroup)
{
	char text[1024];
	struct gd_error err = { 0 };
	struct gd_findings findings = { 0 };
	struct watching *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	for (size_t i = 0; i < SEATS * GD_METRICS; i++)
		w->seen.values[i / GD_METRICS][i % GD_METRICS] = NAN;
	(void)snprintf(text, sizeof(text),
	               "services:\n  - name: it\n    match: { %s }\n  - name: nobody\n"
	               "    match: { comm: there-is-none }\n", match);
	int r = gd_policy_parse("test.yaml", text, strlen(text), &w->policy, &findings, &err);
	if (r < 0 && findings.n > 0)
		print_message("%s\n", findings.list[0].text);
	assert_ok(r, &err);
	gd_findings_deinit(&findings);
	struct gd_watcher_options options = {
		.policy = w->policy,
		.proc = proc,
		.cgroup = cgroup,
		.interval_ns = 100000000,
		.ops = &ops,
		.arg = &w->seen,
	};
	assert_ok(gd_watcher_start(&options, &w->watcher, &err), &err);
	return w;
}

static struct watching *start(const char *match)
{
	return start_on(match, "/proc", "/sys/fs/cgroup");
}

static void stop(struct watching *w)
{
	gd_watcher_stop(w->watcher);
	gd_policy_free(w->policy);
	free(w);
}

static int handle_once(struct watching *w, int timeout_ms)
{
	struct gd_error err = { 0 };
	struct pollfd p = { .fd = gd_watcher_fd(w->watcher), .events = POLLIN };
	if (poll(&p, 1, timeout_ms) <= 0)
		return 0;
	int r = gd_watcher_handle(w->watcher, &err);
	if (r < 0)
		print_message("%s\n", err.msg);
	return r;
}

/* Handles until `condition` holds; fails after PATIENCE_NS. */
#define until(w, condition)                                                                        \
	do {                                                                                       \
		int64_t begun_ns_ = gd_clock_monotonic_ns();                                       \
		while (!(condition)) {                                                             \
			assert_int_equal(handle_once((w), 1000), 0);                               \
			assert_true(gd_clock_monotonic_ns() - begun_ns_ < PATIENCE_NS);            \
		}                                                                                  \
	} while (0)

/* So many whole ticks from now on. */
static void ticks(struct watching *w, unsigned n)
{
	unsigned end = w->seen.ticks + n;
	until(w, w->seen.ticks >= end);
}

/* A victim under a name of its own, so that nobody else's processes match: its path. */
static const char *copy_of(const char *from, const char *name)
{
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(64 << 20);
	struct gd_error err = { 0 };
	char *real = realpath(from, NULL);
	assert_non_null(real);
	assert_ok(gd_io_read_file_at(AT_FDCWD, real, &bytes, &err), &err);
	free(real);
	const char *path = test_file(name, bytes.data, bytes.len);
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

/* "comm: NAME" of a name that is this test's alone. */
static const char *own_name(char to[16])
{
	static unsigned n;
	(void)snprintf(to, 16, "w%x-%u", (unsigned)getpid(), n++);
	return to;
}

static struct watching *start_on_comm(const char *name)
{
	char match[64];
	(void)snprintf(match, sizeof(match), "comm: \"%s\"", name);
	return start(match);
}

static double value_of(const struct watching *w, enum gd_metric metric)
{
	return w->seen.values[w->seen.last.slot][metric];
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void a_process_that_was_there_is_found_and_sampled(void **state)
{
	(void)state;
	char name[16];
	struct victim *v = victim_start(copy_of(victim_path("household"), own_name(name)), NULL);
	struct watching *w = start_on_comm(name);
	until(w, w->seen.samples >= 3);
	assert_int_equal(w->seen.processes, 1);
	assert_true(w->seen.first_look);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	assert_string_equal(w->seen.last.comm, name);
	assert_true(gd_watcher_matched(w->watcher, 0));
	assert_false(gd_watcher_matched(w->watcher, 1));
	assert_int_equal(gd_watcher_unwatched(w->watcher), 0);
	/* Ten more threads than main; it waits, so it uses nothing. */
	assert_true(value_of(w, GD_METRIC_THREADS) == 11);
	assert_true(value_of(w, GD_METRIC_RSS) > 0);
	assert_true(value_of(w, GD_METRIC_CPU) >= 0 && value_of(w, GD_METRIC_CPU) < 0.5);
	assert_true(value_of(w, GD_METRIC_STATE_D) == 0);
	assert_true(value_of(w, GD_METRIC_MEMORY_OF_LIMIT) > 0);
	assert_true(isnan(value_of(w, GD_METRIC_GO_GOROUTINES)));
	stop(w);
}

static void a_death_is_told_within_a_tick(void **state)
{
	(void)state;
	char name[16];
	struct victim *v = victim_start(copy_of(victim_path("life"), own_name(name)), NULL);
	struct watching *w = start_on_comm(name);
	until(w, w->seen.samples >= 1);
	unsigned before = w->seen.ticks;
	/* Killed, and a zombie that nobody has waited for yet. */
	assert_int_equal(kill(v->pid, SIGKILL), 0);
	until(w, w->seen.gone == 1);
	assert_true(w->seen.ticks - before <= 2);
	assert_int_equal(w->seen.gone_slot, w->seen.last.slot);
	assert_false(gd_watcher_matched(w->watcher, 0));
	unsigned samples = w->seen.samples;
	ticks(w, 3);
	assert_int_equal(w->seen.samples, samples);
	assert_int_equal(w->seen.processes, 1);
	stop(w);
}

static void a_restart_is_found_as_another_process(void **state)
{
	(void)state;
	char name[16];
	const char *path = copy_of(victim_path("life"), own_name(name));
	struct watching *w = start_on_comm(name);
	ticks(w, 2);
	for (unsigned i = 0; i < 3; i++) {
		struct victim *v = victim_start(path, NULL);
		until(w, w->seen.processes == i + 1);
		assert_false(w->seen.first_look);
		assert_int_equal(w->seen.last.id.pid, v->pid);
		victim_stop(v);
		until(w, w->seen.gone == i + 1);
	}
	stop(w);
}

static void a_go_program_says_how_many_goroutines_it_has(void **state)
{
	(void)state;
	char name[16];
	const char *path = victim_go("quiet", "1.24.13", "plain");
	(void)victim_start(copy_of(path, own_name(name)), NULL);
	struct watching *w = start_on_comm(name);
	until(w, !isnan(value_of(w, GD_METRIC_GO_GOROUTINES)));
	ticks(w, 1);
	assert_true(w->seen.seats[w->seen.last.slot].go);
	assert_string_equal(w->seen.seats[w->seen.last.slot].note, "");
	/* Five wait for a channel, five for a lock, and main sleeps. */
	assert_true(value_of(w, GD_METRIC_GO_GOROUTINES) == 11);
	double live = value_of(w, GD_METRIC_GO_HEAP_LIVE);
	assert_true(live >= 64 * 65536 && live < 8 << 20);
	assert_true(value_of(w, GD_METRIC_GO_HEAP_GOAL) > live);
	stop(w);
}


static struct watching *start_on_exe(const char *path)
{
	char match[512];
	(void)snprintf(match, sizeof(match), "exe: \"%s\"", path);
	return start(match);
}

static void the_link_to_the_executable_is_asked_for(void **state)
{
	(void)state;
	char name[16];
	const char *path = copy_of(victim_path("life"), own_name(name));
	struct victim *v = victim_start(path, NULL);
	struct watching *w = start_on_exe(path);
	until(w, w->seen.samples >= 1);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	/* A new version is installed over it: still that service, also for a watcher that is new. */
	assert_int_equal(unlink(path), 0);
	stop(w);
	w = start_on_exe(path);
	until(w, w->seen.samples >= 1);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	stop(w);
}

static void who_listens_on_a_port_is_found(void **state)
{
	(void)state;
	char match[64];
	struct victim *v = victim_start("household", NULL);
	const char *line = strstr(v->said.data, "port ");
	assert_non_null(line);
	(void)snprintf(match, sizeof(match), "listen: %d", atoi(line + 5));
	struct watching *w = start(match);
	until(w, w->seen.samples >= 1);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	assert_int_equal(w->seen.processes, 1);
	stop(w);
}

static void a_name_is_matched_as_it_is_and_told_escaped(void **state)
{
	(void)state;
	char name[16];
	char raw[32];
	char match[64];
	struct victim *v = victim_start(copy_of(victim_path("life"), own_name(name)), NULL);
	(void)snprintf(raw, sizeof(raw), "rename %.7s\\n", name);
	victim_tell(v, raw);
	assert_string_equal(victim_line(v), "done");
	(void)snprintf(match, sizeof(match), "comm: \"%.7s?\"", name);
	struct watching *w = start(match);
	until(w, w->seen.samples >= 1);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	assert_contains(w->seen.last.comm, "\\x0a");
	assert_null(strchr(w->seen.last.comm, '\n'));
	stop(w);
}

static void another_name_may_mean_another_service(void **state)
{
	(void)state;
	char name[16];
	char rename_to[32];
	const char *path = copy_of(victim_path("life"), own_name(name));
	struct victim *v = victim_start(path, NULL);
	(void)own_name(name); /* not its name yet */
	struct watching *w = start_on_comm(name);
	ticks(w, 2);
	assert_int_equal(w->seen.processes, 0);
	(void)snprintf(rename_to, sizeof(rename_to), "rename %s", name);
	victim_tell(v, rename_to);
	assert_string_equal(victim_line(v), "done");
	until(w, w->seen.processes == 1);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	victim_tell(v, "rename somebody-else");
	assert_string_equal(victim_line(v), "done");
	until(w, w->seen.gone == 1);
	assert_false(gd_watcher_matched(w->watcher, 0));
	stop(w);
}

static void a_go_program_is_read_again_after_execve(void **state)
{
	(void)state;
	char name[16];
	char script[512];
	const char *path = victim_go("quiet", "1.24.13", "plain");
	const char *go = copy_of(path, own_name(name));
	/* A shell of the same comm first: looked at and found not to be Go. */
	(void)snprintf(script, sizeof(script), "echo ready; read x; exec %s", go);
	(void)mkdir(test_path("sh"), 0755);
	char shell_name[32];
	(void)snprintf(shell_name, sizeof(shell_name), "sh/%s", name);
	char shell[512];
	(void)snprintf(shell, sizeof(shell), "%s", copy_of("/bin/sh", shell_name));
	struct victim *v = victim_start(shell, "-c", script, NULL);
	struct watching *w = start_on_comm(name);
	until(w, w->seen.samples >= 5);
	assert_true(isnan(value_of(w, GD_METRIC_GO_GOROUTINES)));
	stop(w);
	/* The same process, watched from before its execve to after. */
	w = start_on_comm(name);
	until(w, w->seen.samples >= 1);
	victim_tell(v, "go");
	assert_string_equal(victim_line(v), "ready");
	until(w, !isnan(value_of(w, GD_METRIC_GO_GOROUTINES)));
	assert_true(value_of(w, GD_METRIC_GO_GOROUTINES) == 11);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	stop(w);
}

static void the_agents_own_program_is_never_watched(void **state)
{
	(void)state;
	char name[16];
	int ready[2];
	(void)own_name(name);
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_NAME, name);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(ready[0]);
		(void)close(ready[1]);
		for (;;)
			(void)pause();
	}
	assert_int_equal(close(ready[1]), 0);
	char byte;
	assert_int_equal(read(ready[0], &byte, 1), 0);
	assert_int_equal(close(ready[0]), 0);
	struct watching *w = start_on_comm(name);
	ticks(w, 3);
	assert_int_equal(w->seen.processes, 0);
	stop(w);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_storm_of_short_lives_does_not_stop_the_ticks(void **state)
{
	(void)state;
	char name[16];
	struct victim *v = victim_start(copy_of(victim_path("life"), own_name(name)), NULL);
	struct watching *w = start_on_comm(name);
	until(w, w->seen.samples >= 1);
	unsigned end = w->seen.ticks + 10;
	while (w->seen.ticks < end) {
		pid_t pids[50];
		for (size_t i = 0; i < 50; i++) {
			pids[i] = fork();
			if (pids[i] == 0)
				_exit(0);
		}
		for (size_t i = 0; i < 50; i++)
			assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
		assert_int_equal(handle_once(w, 0), 0);
	}
	assert_int_equal(w->seen.processes, 1);
	assert_int_equal(w->seen.gone, 0);
	assert_int_equal(w->seen.last.id.pid, v->pid);
	stop(w);
}

/* Makes a control group of 16 MiB; its directory, or the test is skipped. */
static const char *small_group(char to[128])
{
	const char *limit = "memory.limit_in_bytes";
	(void)snprintf(to, 128, "/sys/fs/cgroup/memory/godiag-test-%d", getpid());
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
		(void)snprintf(to, 128, "/sys/fs/cgroup/godiag-test-%d", getpid());
		limit = "memory.max";
	}
	char path[256];
	if (mkdir(to, 0755) < 0)
		test_skip("no control group may be made: %s", strerror(errno));
	(void)snprintf(path, sizeof(path), "%s/%s", to, limit);
	FILE *f = fopen(path, "we");
	bool ok = f != NULL && fputs("16777216\n", f) >= 0;
	ok = f != NULL && fclose(f) == 0 && ok;
	if (!ok) {
		(void)rmdir(to);
		test_skip("no memory controller here: %s", strerror(errno));
	}
	return to;
}

static void an_oom_kill_in_its_group_is_an_event(void **state)
{
	(void)state;
	char name[16];
	char group[128];
	char script[512];
	const char *shell = copy_of("/bin/sh", own_name(name));
	(void)snprintf(script, sizeof(script),
	               "echo $$ >%s/cgroup.procs; echo ready; read x; "
	               "head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null; read x",
	               small_group(group));
	struct victim *v = victim_start(shell, "-c", script, NULL);
	struct watching *w = start_on_comm(name);
	until(w, w->seen.samples >= 2);
	double part = value_of(w, GD_METRIC_MEMORY_OF_LIMIT);
	bool limited = part > 0 && part < 0.9;
	bool quiet = w->seen.events == 0;
	victim_tell(v, "go");
	int64_t begun_ns = gd_clock_monotonic_ns();
	while (!w->seen.last_event[GD_EVENT_OOM_KILL] &&
	       gd_clock_monotonic_ns() - begun_ns < PATIENCE_NS)
		if (handle_once(w, 1000) < 0)
			break;
	bool killed = w->seen.last_event[GD_EVENT_OOM_KILL];
	bool reached = w->seen.last_event[GD_EVENT_MEMORY_MAX];
	stop(w);
	victim_stop(v);
	/* Its dead leave it a moment after they have died. */
	for (int i = 0; i < 1000 && rmdir(group) < 0 && errno == EBUSY; i++)
		(void)poll(NULL, 0, 10);
	assert_true(limited);
	assert_true(quiet);
	assert_true(killed);
	assert_true(reached);
}

/* In a mount namespace of its own; 0 it was told, 1 it was not, 77 not permitted. */
static int look_behind_hidepid(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, "hidepid=2") < 0)
		return 77;
	static const char text[] = "services:\n  - name: it\n    match: { comm: x }\n";
	struct seen seen = { 0 };
	struct gd_policy *policy = NULL;
	struct gd_findings findings = { 0 };
	struct gd_watcher_options options = { .ops = &ops, .arg = &seen };
	struct gd_watcher *watcher = NULL;
	if (gd_policy_parse("t", text, strlen(text), &policy, &findings, NULL) < 0)
		return 2;
	options.policy = policy;
	if (gd_watcher_start(&options, &watcher, NULL) < 0)
		return 3;
	while (seen.ticks == 0) {
		struct pollfd p = { .fd = gd_watcher_fd(watcher), .events = POLLIN };
		if (poll(&p, 1, 20000) != 1 || gd_watcher_handle(watcher, NULL) < 0)
			return 4;
	}
	return strstr(gd_watcher_note(watcher), "hidepid") != NULL ? 0 : 1;
}

static void a_proc_that_hides_processes_is_a_note(void **state)
{
	(void)state;
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) /* the watcher dies with us */
		_exit(geteuid() == 0 ? look_behind_hidepid() : 77);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		test_skip("no mount namespace may be made");
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_dead_watcher_is_epipe(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct watching *w = start("comm: there-is-none");
	ticks(w, 1);
	assert_int_equal(kill(gd_watcher_pid(w->watcher), SIGKILL), 0);
	int r = 0;
	while (r == 0) {
		struct pollfd p = { .fd = gd_watcher_fd(w->watcher), .events = POLLIN };
		assert_int_equal(poll(&p, 1, 20000), 1);
		r = gd_watcher_handle(w->watcher, &err);
	}
	assert_fails(r, -EPIPE, &err);
	assert_fails(gd_watcher_handle(w->watcher, &err), -EPIPE, &err);
	stop(w);
}

static void what_is_slept_through_is_counted_and_not_made_up_for(void **state)
{
	(void)state;
	struct watching *w = start("comm: there-is-none");
	ticks(w, 2);
	unsigned before = gd_watcher_missed(w->watcher);
	assert_int_equal(kill(gd_watcher_pid(w->watcher), SIGSTOP), 0);
	(void)poll(NULL, 0, 650);
	unsigned had = w->seen.ticks;
	assert_int_equal(kill(gd_watcher_pid(w->watcher), SIGCONT), 0);
	/* It is told with the next tick. */
	until(w, gd_watcher_missed(w->watcher) > before);
	assert_true(gd_watcher_missed(w->watcher) >= before + 4);
	assert_true(w->seen.ticks <= had + 3);
	stop(w);
}

/* ---- a watcher that was taken over ---------------------------------------------------------- */

struct liar {
	struct watching w;
	int fd;
	uint32_t seq;
};

static void liar_start(struct liar *liar)
{
	static const char text[] = "services:\n  - name: it\n    match: { comm: x }\n";
	struct gd_findings findings = { 0 };
	struct gd_error err = { 0 };
	int pair[2];
	*liar = (struct liar){ .fd = -1 };
	assert_ok(gd_policy_parse("t", text, strlen(text), &liar->w.policy, &findings, &err), &err);
	gd_findings_deinit(&findings);
	struct gd_watcher_options options = { .policy = liar->w.policy, .ops = &ops,
		                              .arg = &liar->w.seen };
	assert_ok(gd_message_pair(pair, &err), &err);
	assert_ok(gd_watcher_adopt(&options, pair[0], &liar->w.watcher, &err), &err);
	liar->fd = pair[1];
}

static void liar_stop(struct liar *liar)
{
	gd_watcher_stop(liar->w.watcher);
	gd_policy_free(liar->w.policy);
	assert_int_equal(close(liar->fd), 0);
}

static int says(struct liar *liar, uint16_t type, const void *body, size_t len)
{
	struct gd_error err = { 0 };
	assert_ok(gd_message_send(liar->fd, type, ++liar->seq, body, len, NULL, 0, &err), &err);
	return gd_watcher_handle(liar->w.watcher, &err);
}

static void is_ready(struct liar *liar)
{
	struct gd_watch_ready ready = { "all\nwell" };
	assert_int_equal(says(liar, GD_WATCH_READY, &ready, sizeof(ready)), 0);
	assert_string_equal(gd_watcher_note(liar->w.watcher), "all\\x0awell");
}

static struct gd_watch_answer heard(struct liar *liar)
{
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_answer answer;
	struct gd_error err = { 0 };
	assert_int_equal(gd_message_recv(liar->fd, &message, &answer, sizeof(answer), &err), 1);
	assert_int_equal(message.len, sizeof(answer));
	assert_int_equal(message.seq, liar->seq);
	return answer;
}

static struct gd_watch_who who_is(pid_t pid)
{
	struct gd_error err = { 0 };
	struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	struct gd_watch_who who = { target->start_ticks, pid, 0 };
	gd_target_close(target);
	return who;
}

/* Reports v in slot 5 as the truth is. */
static struct gd_watch_found finds(struct liar *liar, const struct victim *v)
{
	struct gd_watch_found found = { .who = who_is(v->pid), .slot = 5, .comm = "life" };
	assert_int_equal(says(liar, GD_WATCH_FOUND, &found, sizeof(found)), 0);
	assert_int_equal(heard(liar).code, 0);
	assert_int_equal(liar->w.seen.processes, 1);
	return found;
}

static void only_what_is_allowed_now_is_heard(void **state)
{
	(void)state;
	struct gd_watch_ready ready = { "" };
	struct gd_watch_tick tick = { .at = gd_clock_now() };
	struct liar liar;
	liar_start(&liar);
	assert_int_equal(says(&liar, GD_WATCH_TICK, &tick, sizeof(tick)), -EBADMSG);
	/* It is not asked twice. */
	assert_int_equal(says(&liar, GD_WATCH_READY, &ready, sizeof(ready)), -EPIPE);
	liar_stop(&liar);

	static const uint16_t types[] = { 0, GD_WATCH_READY, GD_WATCH_TYPES, GD_WATCH_RUNTIME,
		                          UINT16_MAX };
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		liar_start(&liar);
		is_ready(&liar);
		assert_int_equal(says(&liar, GD_WATCH_TICK, &tick, sizeof(tick)), 0);
		assert_int_equal(says(&liar, types[i], &ready, sizeof(ready)), -EBADMSG);
		liar_stop(&liar);
	}
	for (uint16_t type = GD_WATCH_READY; type < GD_WATCH_TYPES; type++) {
		liar_start(&liar);
		is_ready(&liar);
		assert_int_equal(says(&liar, type, "abc", 3), -EBADMSG);
		liar_stop(&liar);
	}
}

static void descriptors_are_not_taken(void **state)
{
	(void)state;
	struct gd_watch_ready ready = { "" };
	struct gd_error err = { 0 };
	struct liar liar;
	liar_start(&liar);
	assert_ok(gd_message_send(liar.fd, GD_WATCH_READY, 1, &ready, sizeof(ready), &liar.fd, 1,
	                          &err), &err);
	assert_int_equal(gd_watcher_handle(liar.w.watcher, &err), -EBADMSG);
	liar_stop(&liar);
}

static void nobody_has_no_samples_events_or_end(void **state)
{
	(void)state;
	static const uint32_t slots[] = { 0, 6, GD_WATCHED_MAX, UINT32_MAX };
	struct victim *v = victim_start("life", NULL);
	struct gd_watch_samples samples = { .at = gd_clock_now(), .n = 1 };
	size_t one = offsetof(struct gd_watch_samples, list) + sizeof(samples.list[0]);
	struct gd_watch_events events = { .at = samples.at, .bits = UINT32_MAX };
	struct gd_watch_changed changed = { .go = 1 };
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		for (int what = 0; what < 4; what++) {
			struct liar liar;
			liar_start(&liar);
			is_ready(&liar);
			(void)finds(&liar, v);
			samples.list[0].slot = events.slot = changed.slot = slots[i];
			int r = what == 0   ? says(&liar, GD_WATCH_SAMPLES, &samples, one)
			        : what == 1 ? says(&liar, GD_WATCH_EVENTS, &events, sizeof(events))
			        : what == 2 ? says(&liar, GD_WATCH_GONE, &slots[i], 4)
			                    : says(&liar, GD_WATCH_CHANGED, &changed,
			                           sizeof(changed));
			assert_int_equal(r, -EBADMSG);
			assert_int_equal(liar.w.seen.samples + liar.w.seen.events +
			                 liar.w.seen.gone + liar.w.seen.changes, 0);
			liar_stop(&liar);
		}
	}
}

static void values_that_are_no_numbers_are_no_samples(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_watch_samples samples = { .at = gd_clock_now(), .n = 1 };
	size_t one = offsetof(struct gd_watch_samples, list) + sizeof(samples.list[0]);
	struct liar liar;
	liar_start(&liar);
	is_ready(&liar);
	(void)finds(&liar, v);
	samples.list[0].slot = 5;
	samples.list[0].values[GD_METRIC_RSS] = (double)INFINITY;
	samples.list[0].values[GD_METRIC_TIME_TO_LIMIT] = (double)INFINITY;
	samples.list[0].values[GD_METRIC_THREADS] = 3;
	samples.list[0].values[GD_METRIC_HTTP_P99] = 3; /* not the watcher's to say */
	assert_int_equal(says(&liar, GD_WATCH_SAMPLES, &samples, one), 0);
	assert_true(isnan(liar.w.seen.values[5][GD_METRIC_RSS]));
	assert_true(isinf(liar.w.seen.values[5][GD_METRIC_TIME_TO_LIMIT]) > 0); /* but this is one */
	assert_true(liar.w.seen.values[5][GD_METRIC_THREADS] == 3);
	assert_true(isnan(liar.w.seen.values[5][GD_METRIC_HTTP_P99]));
	gd_watcher_http(liar.w.watcher, 0, 0.25);
	gd_watcher_http(liar.w.watcher, 1, 0.5); /* no such service */
	assert_int_equal(says(&liar, GD_WATCH_SAMPLES, &samples, one), 0);
	assert_true(liar.w.seen.values[5][GD_METRIC_HTTP_P99] == 0.25);
	/* A count that does not fit its bytes. */
	samples.n = 2;
	assert_int_equal(says(&liar, GD_WATCH_SAMPLES, &samples, one), -EBADMSG);
	liar_stop(&liar);
}

static void processes_that_cannot_be_are_nonsense(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_watch_found good = { .who = who_is(v->pid), .slot = 5, .comm = "life" };
	struct gd_watch_found bad[6];
	for (size_t i = 0; i < 6; i++)
		bad[i] = good;
	bad[0].slot = GD_WATCHED_MAX;
	bad[1].service = 1;
	bad[2].first_look = 2;
	bad[3].who.pid = 0;
	bad[4].who.pid = -1;
	for (size_t i = 0; i < 6; i++) {
		struct liar liar;
		liar_start(&liar);
		is_ready(&liar);
		if (i == 5)
			bad[5] = finds(&liar, v); /* the seat is taken */
		assert_int_equal(says(&liar, GD_WATCH_FOUND, &bad[i], sizeof(bad[i])), -EBADMSG);
		liar_stop(&liar);
	}
}

static void who_has_gone_or_is_ours_is_refused(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct liar liar;
	liar_start(&liar);
	is_ready(&liar);
	struct gd_watch_found found = { .who = who_is(v->pid), .slot = 5 };
	found.who.start_ticks++;
	assert_int_equal(says(&liar, GD_WATCH_FOUND, &found, sizeof(found)), 0);
	assert_int_equal(heard(&liar).code, -ESRCH);
	found.who = who_is(getpid());
	assert_int_equal(says(&liar, GD_WATCH_FOUND, &found, sizeof(found)), 0);
	assert_int_equal(heard(&liar).code, -EPERM);
	assert_int_equal(liar.w.seen.processes, 0);
	liar_stop(&liar);
}

static void memory_is_given_only_of_what_was_found(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct victim *other = victim_start("life", NULL);
	struct gd_watch_memory wanted = { .who = who_is(other->pid), .slot = 5 };
	struct liar liar;
	for (int i = 0; i < 3; i++) {
		liar_start(&liar);
		is_ready(&liar);
		(void)finds(&liar, v);
		if (i == 1)
			wanted.who = who_is(v->pid), wanted.who.start_ticks++;
		if (i == 2)
			wanted.who = who_is(v->pid), wanted.slot = 6;
		assert_int_equal(says(&liar, GD_WATCH_MEMORY, &wanted, sizeof(wanted)), -EBADMSG);
		liar_stop(&liar);
	}
	liar_start(&liar);
	is_ready(&liar);
	struct gd_watch_found found = finds(&liar, v);
	wanted = (struct gd_watch_memory){ .who = found.who, .slot = 5 };
	assert_int_equal(says(&liar, GD_WATCH_MEMORY, &wanted, sizeof(wanted)), 0);
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_watch_answer answer;
	struct gd_error err = { 0 };
	assert_int_equal(gd_message_recv(liar.fd, &message, &answer, sizeof(answer), &err), 1);
	assert_int_equal(answer.code, 0);
	assert_int_equal(message.n_fds, 2);
	/* To read, and nothing else. */
	assert_int_equal(fcntl(message.fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	/* What the child found in a C program. */
	struct gd_watch_runtime runtime;
	struct gd_message found_message = { .n_fds = 0 };
	assert_int_equal(gd_message_recv(message.fds[1], &found_message, &runtime, sizeof(runtime),
	                                 &err), 1);
	assert_int_equal(found_message.type, GD_WATCH_RUNTIME);
	assert_int_equal(runtime.code, -ENOENT);
	/* Asking without end is answered with "later". */
	bool later = false;
	for (int i = 0; i < 40 && !later; i++) {
		struct gd_message again = { .n_fds = 0 };
		assert_int_equal(says(&liar, GD_WATCH_MEMORY, &wanted, sizeof(wanted)), 0);
		assert_int_equal(gd_message_recv(liar.fd, &again, &answer, sizeof(answer), &err), 1);
		gd_message_close_fds(&again);
		later = answer.code == -EAGAIN;
	}
	assert_true(later);
	liar_stop(&liar);
}

static void who_asks_and_does_not_listen_is_cut_off(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_watch_who who = who_is(v->pid);
	struct liar liar;
	int r = 0;
	liar_start(&liar);
	is_ready(&liar);
	for (int i = 0; i < 100000 && r == 0; i++)
		r = says(&liar, GD_WATCH_EXE, &who, sizeof(who));
	assert_int_equal(r, -EBADMSG);
	liar_stop(&liar);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_process_that_was_there_is_found_and_sampled),
		test_case(a_death_is_told_within_a_tick),
		test_case(a_restart_is_found_as_another_process),
		test_case(a_go_program_says_how_many_goroutines_it_has),
		test_case(the_link_to_the_executable_is_asked_for),
		test_case(who_listens_on_a_port_is_found),
		test_case(a_name_is_matched_as_it_is_and_told_escaped),
		test_case(another_name_may_mean_another_service),
		test_case(a_go_program_is_read_again_after_execve),
		test_case(the_agents_own_program_is_never_watched),
		test_case(a_storm_of_short_lives_does_not_stop_the_ticks),
		test_case(an_oom_kill_in_its_group_is_an_event),
		test_case(a_proc_that_hides_processes_is_a_note),
		test_case(a_dead_watcher_is_epipe),
		test_case(what_is_slept_through_is_counted_and_not_made_up_for),
		test_case(only_what_is_allowed_now_is_heard),
		test_case(descriptors_are_not_taken),
		test_case(nobody_has_no_samples_events_or_end),
		test_case(values_that_are_no_numbers_are_no_samples),
		test_case(processes_that_cannot_be_are_nonsense),
		test_case(who_has_gone_or_is_ours_is_refused),
		test_case(memory_is_given_only_of_what_was_found),
		test_case(who_asks_and_does_not_listen_is_cut_off),
	};
	return test_run(tests);
}
