#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watch_trigger.h"
#include "agent/watcher.h"
#include "base/clock.h"

#define SECOND_NS INT64_C(1000000000)
#define BUSY 6

static struct gd_rule rule_on(enum gd_metric metric, bool below, double level)
{
	return (struct gd_rule){ .name = "pressure",
		                 .kind = GD_WHEN_METRIC,
		                 .when = { metric, below, level } };
}

/* More of them than CPUs, so that some wait for one all the time. */
static void make_pressure(pid_t pids[BUSY])
{
	for (int i = 0; i < BUSY; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			(void)alarm(30);
			for (volatile unsigned n = 0;; n++)
				;
		}
	}
}

static void end_pressure(const pid_t pids[BUSY])
{
	for (int i = 0; i < BUSY; i++) {
		(void)kill(pids[i], SIGKILL);
		(void)waitpid(pids[i], NULL, 0);
	}
}

static void one_for_each_metric_that_has_a_ceiling(void **state)
{
	(void)state;
	struct gd_rule rules[] = {
		rule_on(GD_METRIC_PSI_CPU_SOME, false, 0.5),
		rule_on(GD_METRIC_PSI_CPU_SOME, false, 0.2),
		rule_on(GD_METRIC_PSI_MEMORY_FULL, false, 0.1),
		rule_on(GD_METRIC_PSI_IO_SOME, true, 0.1),
		rule_on(GD_METRIC_CPU, false, 0.1),
	};
	struct gd_policy policy = { .rules = rules, .n_rules = 5 };
	int fds[GD_WATCH_TRIGGERS_MAX];
	size_t n = gd_watch_triggers_open(&policy, "/proc", fds);
	if (n == 0)
		test_skip("this kernel gives no pressure triggers to us");
	assert_int_equal(n, 2);
	gd_watch_triggers_close(fds, n);
	policy.rules = rules + 3;
	policy.n_rules = 2;
	assert_int_equal(gd_watch_triggers_open(&policy, "/proc", fds), 0);
}

static void where_there_is_no_pressure_file_there_is_none(void **state)
{
	(void)state;
	struct gd_rule rule = rule_on(GD_METRIC_PSI_IO_FULL, false, 0.1);
	struct gd_policy policy = { .rules = &rule, .n_rules = 1 };
	int fds[GD_WATCH_TRIGGERS_MAX];
	assert_int_equal(gd_watch_triggers_open(&policy, test_dir(), fds), 0);
}

static int64_t ticks[64];
static unsigned n_ticks;

static void on_tick(void *arg, const struct gd_clock *at)
{
	(void)arg;
	if (n_ticks < 64)
		ticks[n_ticks++] = at->monotonic_ns;
}
static void on_process(void *arg, const struct gd_watched *watched, bool first_look)
{
	(void)arg;
	(void)watched;
	(void)first_look;
}
static void on_changed(void *arg, const struct gd_watched *watched)
{
	(void)arg;
	(void)watched;
}
static void on_gone(void *arg, uint32_t slot, const struct gd_subject_id *id)
{
	(void)arg;
	(void)slot;
	(void)id;
}
static void on_sample(void *arg, uint32_t slot, const struct gd_clock *at,
                      const double values[GD_METRICS])
{
	(void)arg;
	(void)slot;
	(void)at;
	(void)values;
}
static void on_event(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at)
{
	(void)arg;
	(void)slot;
	(void)event;
	(void)at;
}

/* Of the gaps between two ticks: how many were shorter than nine tenths of the interval. */
static unsigned watch_for(int seconds, struct gd_policy *policy)
{
	static const struct gd_watcher_ops ops = { on_process, on_changed, on_gone,
		                                   on_sample,  on_event,   on_tick };
	struct gd_watcher_options options = { .policy = policy,
		                              .interval_ns = (uint64_t)SECOND_NS,
		                              .ops = &ops };
	struct gd_watcher *watcher;
	struct gd_error err;
	unsigned early = 0;
	n_ticks = 0;
	assert_ok(gd_watcher_start(&options, &watcher, &err), &err);
	int64_t until_ns = gd_clock_monotonic_ns() + seconds * SECOND_NS;
	while (gd_clock_monotonic_ns() < until_ns) {
		struct pollfd p = { .fd = gd_watcher_fd(watcher), .events = POLLIN };
		if (poll(&p, 1, 100) > 0)
			assert_ok(gd_watcher_handle(watcher, &err), &err);
	}
	gd_watcher_stop(watcher);
	for (unsigned i = 1; i < n_ticks; i++)
		early += ticks[i] - ticks[i - 1] < SECOND_NS * 9 / 10;
	assert_true(n_ticks >= 3);
	return early;
}

static void pressure_wakes_the_watcher_between_two_ticks(void **state)
{
	(void)state;
	struct gd_service service = { .name = "nobody", .match = { .uid = -1 } };
	char name[] = "gdnobodyhere";
	service.match.comm = name;
	struct gd_rule rule = rule_on(GD_METRIC_PSI_CPU_SOME, false, 0.05);
	struct gd_policy policy = { .services = &service, .n_services = 1,
		                    .rules = &rule, .n_rules = 1 };
	int fds[GD_WATCH_TRIGGERS_MAX];
	size_t n = gd_watch_triggers_open(&policy, "/proc", fds);
	if (n == 0)
		test_skip("this kernel gives no pressure triggers to us");
	gd_watch_triggers_close(fds, n);
	pid_t pids[BUSY];
	make_pressure(pids);
	unsigned early = watch_for(8, &policy);
	end_pressure(pids);
	assert_true(early >= 1);
	print_message("# %u of %u ticks came before their time\n", early, n_ticks);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(one_for_each_metric_that_has_a_ceiling),
		test_case(where_there_is_no_pressure_file_there_is_none),
		test_case(pressure_wakes_the_watcher_between_two_ticks),
	};
	return test_run(tests);
}
