/*
 * The watcher as the agent has it, in its jail, on real processes: what it finds, what it says of
 * them, what it does when they change, and that the broker believes nothing of it.
 */
#include "agent/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
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
	assert_ok(gd_io_read_file_at(AT_FDCWD, from, &bytes, &err), &err);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_process_that_was_there_is_found_and_sampled),
		test_case(a_death_is_told_within_a_tick),
		test_case(a_restart_is_found_as_another_process),
		test_case(a_go_program_says_how_many_goroutines_it_has),
	};
	return test_run(tests);
}
