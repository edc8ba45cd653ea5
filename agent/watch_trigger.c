#include "agent/watch_trigger.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The kernel refuses 0, and one stalled for all of the window stalled for less by its clock. */
#define STALL_MIN_US 20000
#define STALL_MAX_US (GD_WATCH_TRIGGER_WINDOW_US * 9 / 10)

static const struct {
	enum gd_metric metric;
	const char *file, *line;
} kinds[GD_WATCH_TRIGGERS_MAX] = {
	{ GD_METRIC_PSI_CPU_SOME, "cpu", "some" },
	{ GD_METRIC_PSI_CPU_FULL, "cpu", "full" },
	{ GD_METRIC_PSI_MEMORY_SOME, "memory", "some" },
	{ GD_METRIC_PSI_MEMORY_FULL, "memory", "full" },
	{ GD_METRIC_PSI_IO_SOME, "io", "some" },
	{ GD_METRIC_PSI_IO_FULL, "io", "full" },
};

/* The lowest ceiling that a rule has for it; 0: none. */
static double lowest(const struct gd_policy *policy, enum gd_metric metric)
{
	double level = 0;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		if (rule->kind == GD_WHEN_METRIC && rule->when.metric == metric &&
		    !rule->when.below && rule->when.level > 0 &&
		    (level <= 0 || rule->when.level < level))
			level = rule->when.level;
	}
	return level;
}

static int open_one(const char *proc, const char *file, const char *line, double level)
{
	char path[300];
	char text[64];
	double stall = level * GD_WATCH_TRIGGER_WINDOW_US;
	int stall_us = stall < STALL_MIN_US   ? STALL_MIN_US
	               : stall > STALL_MAX_US ? STALL_MAX_US
	                                      : (int)stall;
	(void)snprintf(path, sizeof(path), "%s/pressure/%s", proc, file);
	(void)snprintf(text, sizeof(text), "%s %d %d", line, stall_us, GD_WATCH_TRIGGER_WINDOW_US);
	GD_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || write(fd, text, strlen(text) + 1) < 0)
		return -1;
	return gd_steal_fd(&fd);
}

size_t gd_watch_triggers_open(const struct gd_policy *policy, const char *proc,
                              int ret_fds[GD_WATCH_TRIGGERS_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < GD_WATCH_TRIGGERS_MAX; i++) {
		double level = lowest(policy, kinds[i].metric);
		int fd = level > 0 ? open_one(proc, kinds[i].file, kinds[i].line, level) : -1;
		if (fd >= 0)
			ret_fds[n++] = fd;
	}
	return n;
}

void gd_watch_triggers_close(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}
