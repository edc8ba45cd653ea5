#include "policies/engine_why.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/units.h"

static void metric_why(struct gd_fired *fired)
{
	const struct gd_condition *when = &fired->rule->when;
	char value[GD_METRIC_TEXT];
	char level[GD_METRIC_TEXT];
	char held[GD_UNITS_TEXT + 8] = "";
	char text[GD_UNITS_TEXT];
	if (fired->rule->for_ns > 0)
		(void)snprintf(held, sizeof(held), " for %s",
		               gd_units_duration(text, (uint64_t)fired->held_ns));
	(void)snprintf(fired->why, sizeof(fired->why), "%s %s %s %s%s",
	               gd_metrics[when->metric].name,
	               gd_metric_text(value, when->metric, fired->value),
	               when->below ? "below" : "above",
	               gd_metric_text(level, when->metric, when->level), held);
}

static void event_why(struct gd_fired *fired, const char *service, int32_t pid)
{
	const struct gd_rule *rule = fired->rule;
	char within[GD_UNITS_TEXT];
	if (rule->event == GD_EVENT_GONE)
		(void)snprintf(fired->why, sizeof(fired->why), "%s: pid %" PRId32 " ended", service, pid);
	else if (rule->event == GD_EVENT_RESTARTS)
		(void)snprintf(fired->why, sizeof(fired->why),
		               "%s: %" PRIu64 " starts within %s, the last is pid %" PRId32, service,
		               rule->event_count, gd_units_duration(within, rule->event_within_ns),
		               pid);
	else
		(void)snprintf(fired->why, sizeof(fired->why), "%s: %s in the cgroup of pid %" PRId32,
		               service, gd_event_names[rule->event], pid);
}

void gd_engine_why(struct gd_fired *fired, const char *service, int32_t pid)
{
	char every[GD_UNITS_TEXT];
	switch (fired->rule->kind) {
	case GD_WHEN_METRIC:
		metric_why(fired);
		break;
	case GD_WHEN_EVENT:
		event_why(fired, service, pid);
		break;
	case GD_WHEN_ALERT:
		(void)snprintf(fired->why, sizeof(fired->why), "%s: alert %s", service,
		               fired->rule->alert);
		break;
	case GD_WHEN_SCHEDULE:
		(void)snprintf(fired->why, sizeof(fired->why), "%s: every %s", service,
		               gd_units_duration(every, fired->rule->every_ns));
		break;
	}
}
