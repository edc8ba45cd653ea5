#include "policies/metric.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "policies/nearest.h"

#define NS_PER_S 1e9

const struct gd_metric_info gd_metrics[GD_METRICS] = {
	[GD_METRIC_CPU] = { "cpu", GD_UNIT_RATIO, GD_SOURCE_PROCESS,
	                    "part of the CPUs it may use (quota, affinity) that it used" },
	[GD_METRIC_RSS] = { "rss", GD_UNIT_BYTES, GD_SOURCE_PROCESS, "resident memory" },
	[GD_METRIC_THREADS] = { "threads", GD_UNIT_COUNT, GD_SOURCE_PROCESS, "threads" },
	[GD_METRIC_FDS_OF_LIMIT] = { "fds_of_limit", GD_UNIT_RATIO, GD_SOURCE_PROCESS,
	                             "open descriptors, as part of RLIMIT_NOFILE" },
	[GD_METRIC_MAJOR_FAULTS] = { "major_faults", GD_UNIT_PER_SECOND, GD_SOURCE_PROCESS,
	                             "page faults that went to a disk" },
	[GD_METRIC_STATE_D] = { "state_d", GD_UNIT_SECONDS, GD_SOURCE_PROCESS,
	                        "how long its main thread has been in state D without a break" },
	[GD_METRIC_MEMORY_OF_LIMIT] = { "memory_of_limit", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                                "memory of its cgroup, as part of the nearest limit, else "
	                                "of the machine's memory" },
	[GD_METRIC_TIME_TO_LIMIT] = { "time_to_limit", GD_UNIT_SECONDS, GD_SOURCE_CGROUP,
	                              "until memory reaches that limit, at the slope of the last "
	                              "minute" },
	[GD_METRIC_CGROUP_THROTTLED] = { "cgroup_throttled", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                                 "part of the CPU quota's periods in which it was "
	                                 "throttled" },
	[GD_METRIC_PSI_CPU_SOME] = { "psi_cpu_some", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                             "part of the time some task waited for a CPU" },
	[GD_METRIC_PSI_CPU_FULL] = { "psi_cpu_full", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                             "part of the time all tasks waited for a CPU" },
	[GD_METRIC_PSI_MEMORY_SOME] = { "psi_memory_some", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                                "part of the time some task waited for memory" },
	[GD_METRIC_PSI_MEMORY_FULL] = { "psi_memory_full", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                                "part of the time all tasks waited for memory" },
	[GD_METRIC_PSI_IO_SOME] = { "psi_io_some", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                            "part of the time some task waited for a disk" },
	[GD_METRIC_PSI_IO_FULL] = { "psi_io_full", GD_UNIT_RATIO, GD_SOURCE_CGROUP,
	                            "part of the time all tasks waited for a disk" },
	[GD_METRIC_GO_GOROUTINES] = { "go_goroutines", GD_UNIT_COUNT, GD_SOURCE_GO, "goroutines" },
	[GD_METRIC_GO_GOROUTINES_GROWTH] = { "go_goroutines_growth", GD_UNIT_PER_SECOND,
	                                     GD_SOURCE_GO,
	                                     "goroutines gained, over the last minute" },
	[GD_METRIC_GO_HEAP_LIVE] = { "go_heap_live", GD_UNIT_BYTES, GD_SOURCE_GO,
	                             "heap that the collector counts as live" },
	[GD_METRIC_GO_HEAP_GOAL] = { "go_heap_goal", GD_UNIT_BYTES, GD_SOURCE_GO,
	                             "heap size at which the next collection is to end" },
	[GD_METRIC_GO_HEAP_OF_GOAL] = { "go_heap_of_goal", GD_UNIT_RATIO, GD_SOURCE_GO,
	                                "live heap, as part of the goal" },
	[GD_METRIC_GO_GC_PAUSE_P99] = { "go_gc_pause_p99", GD_UNIT_SECONDS, GD_SOURCE_GO,
	                                "99th percentile of the collector's stop-the-world "
	                                "pauses" },
	[GD_METRIC_GO_GC_CPU] = { "go_gc_cpu", GD_UNIT_RATIO, GD_SOURCE_GO,
	                          "part of GOMAXPROCS that the collector used" },
	[GD_METRIC_GO_SCHED_LATENCY_P99] = { "go_sched_latency_p99", GD_UNIT_SECONDS, GD_SOURCE_GO,
	                                     "99th percentile of the time goroutines were ready "
	                                     "but did not run" },
	[GD_METRIC_HTTP_P99] = { "http_p99", GD_UNIT_SECONDS, GD_SOURCE_HTTP,
	                         "99th percentile of the service's own latency histogram" },
};

int gd_metric_find(const char *name, enum gd_metric *ret, struct gd_error *err)
{
	for (size_t i = 0; i < GD_METRICS; i++) {
		if (strcmp(gd_metrics[i].name, name) == 0) {
			*ret = (enum gd_metric)i;
			return 0;
		}
	}
	struct gd_nearest nearest = GD_NEAREST(name);
	for (size_t i = 0; i < GD_METRICS; i++)
		gd_nearest_offer(&nearest, gd_metrics[i].name);
	char hint[GD_NEAREST_HINT];
	return gd_fail(err, -ENOENT, "unknown metric \"%.60s\"%s", name,
	               nearest.best != NULL ? gd_nearest_hint(hint, &nearest)
	                                    : "; godiag-policy(5) lists all");
}

/*
 * "12" or "0.75" at the start of text, *end behind it.  strtod alone would take signs, exponents,
 * "inf" and "0x10" as well; at most 15 digits, so that a double holds them all.
 */
static bool parse_number(const char *text, const char **end, double *ret)
{
	size_t whole = strspn(text, "0123456789");
	size_t n = whole;
	if (whole > 0 && text[n] == '.') {
		size_t fraction = strspn(text + n + 1, "0123456789");
		n = fraction > 0 ? n + 1 + fraction : 0;
	}
	if (whole == 0 || n == 0 || n > 15)
		return false;
	*ret = strtod(text, NULL);
	*end = text + n;
	return true;
}

static int parse_ratio(const char *text, double *ret, struct gd_error *err)
{
	const char *rest;
	double value;
	if (!parse_number(text, &rest, &value))
		return gd_fail(err, -EINVAL, "\"%.60s\" is not a part of a whole; write 95%% or 0.95",
		               text);
	rest += strspn(rest, " ");
	if (strcmp(rest, "%") == 0) {
		*ret = value / 100;
		return 0;
	}
	if (*rest != '\0')
		return gd_fail(err, -EINVAL, "\"%.60s\" is not a part of a whole; write 95%% or 0.95",
		               text);
	if (value > 1)
		return gd_fail(err, -EINVAL, "\"%.60s\" would be %.0f %%; did you mean %.60s%%?", text,
		               value * 100, text);
	*ret = value;
	return 0;
}

static int parse_count(const char *text, double *ret, struct gd_error *err)
{
	const char *rest;
	double value;
	if (!parse_number(text, &rest, &value) || *rest != '\0' || value != floor(value))
		return gd_fail(err, -EINVAL, "\"%.60s\" is not a whole number; write 10000", text);
	*ret = value;
	return 0;
}

static int parse_per_second(const char *text, double *ret, struct gd_error *err)
{
	const char *rest;
	double value;
	if (!parse_number(text, &rest, &value) || (*rest != '\0' && strcmp(rest, "/s") != 0))
		return gd_fail(err, -EINVAL, "\"%.60s\" is not a rate per second; write 100/s", text);
	*ret = value;
	return 0;
}

int gd_metric_parse_level(enum gd_metric metric, const char *text, double *ret,
                          struct gd_error *err)
{
	uint64_t whole = 0;
	int r = -EINVAL;
	switch (gd_metrics[metric].unit) {
	case GD_UNIT_RATIO:
		return parse_ratio(text, ret, err);
	case GD_UNIT_COUNT:
		return parse_count(text, ret, err);
	case GD_UNIT_PER_SECOND:
		return parse_per_second(text, ret, err);
	case GD_UNIT_BYTES:
		r = gd_units_parse_bytes(text, &whole, err);
		if (r == 0)
			*ret = (double)whole;
		break;
	case GD_UNIT_SECONDS:
		r = gd_units_parse_duration(text, &whole, err);
		if (r == 0)
			*ret = (double)whole / NS_PER_S;
		break;
	}
	if (r == -ERANGE && err != NULL)
		err->code = -EINVAL;
	return r < 0 ? -EINVAL : 0;
}

/* Three significant digits, but never an exponent: "0.5", "71.2", "12345". */
static const char *short_number(char *to, size_t size, double value)
{
	(void)snprintf(to, size, fabs(value) >= 100 ? "%.0f" : "%.3g", value);
	return to;
}

const char *gd_metric_text(char to[GD_METRIC_TEXT], enum gd_metric metric, double value)
{
	char number[GD_UNITS_TEXT];
	if (isnan(value)) {
		(void)snprintf(to, GD_METRIC_TEXT, "-");
		return to;
	}
	if (isinf(value) || fabs(value) > 1e18) {
		(void)snprintf(to, GD_METRIC_TEXT, value > 0 ? "endless" : "-endless");
		return to;
	}
	const char *sign = value < 0 ? "-" : "";
	switch (gd_metrics[metric].unit) {
	case GD_UNIT_RATIO:
		(void)snprintf(to, GD_METRIC_TEXT, "%s %%",
		               short_number(number, sizeof(number), value * 100));
		break;
	case GD_UNIT_BYTES:
		(void)snprintf(to, GD_METRIC_TEXT, "%s%s", sign,
		               gd_units_bytes(number, (uint64_t)fabs(value)));
		break;
	case GD_UNIT_SECONDS:
		/* 1e18 s would not fit into nanoseconds */
		if (fabs(value) > 9e9)
			(void)snprintf(to, GD_METRIC_TEXT, value > 0 ? "endless" : "-endless");
		else
			(void)snprintf(to, GD_METRIC_TEXT, "%s%s", sign,
			               gd_units_duration(number,
			                                 (uint64_t)(fabs(value) * NS_PER_S + 0.5)));
		break;
	case GD_UNIT_COUNT:
		(void)snprintf(to, GD_METRIC_TEXT, "%.0f", value);
		break;
	case GD_UNIT_PER_SECOND:
		(void)snprintf(to, GD_METRIC_TEXT, "%s/s",
		               short_number(number, sizeof(number), value));
		break;
	}
	return to;
}
