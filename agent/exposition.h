#pragma once
/*
 * One histogram out of Prometheus' text format (version 0.0.4, OpenMetrics 1.0), read as the bytes
 * come in: memory does not grow with the answer.  Bytes are foreign; what is no line of the histogram
 * is passed over, and what looks like one but is not is counted.  Series of one histogram that
 * differ in their labels are added up.
 * Source: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_EXPOSITION_BUCKETS_MAX 512
#define GD_EXPOSITION_LINE_MAX 16384
#define GD_EXPOSITION_NAME_MAX 256

struct gd_exposition_bucket {
	double le;    /* seconds; INFINITY for the last */
	double count; /* of events so far that took at most that long */
};

struct gd_exposition_buckets {
	size_t n; /* ascending by le; the last is INFINITY */
	struct gd_exposition_bucket list[GD_EXPOSITION_BUCKETS_MAX];
};

struct gd_exposition {
	struct gd_exposition_buckets buckets; /* sorted at the end */
	char name[GD_EXPOSITION_NAME_MAX];    /* with "_bucket" */
	double unit_s;                        /* what 1 of the histogram's unit is in seconds */
	char line[GD_EXPOSITION_LINE_MAX];
	size_t line_len;
	bool skipping; /* the rest of a line that is too long */
	bool too_many; /* bounds */
	uint64_t bad;  /* lines of the histogram that cannot be read */
};

/*
 * Histograms called ..._milliseconds or ..._ms count in these, all others in seconds.  -EINVAL: no
 * name of a histogram.
 */
int gd_exposition_begin(struct gd_exposition *exposition, const char *histogram,
                        struct gd_error *err);

void gd_exposition_feed(struct gd_exposition *exposition, const void *bytes, size_t n);

/* -ENOENT: no such histogram in it; -EBADMSG, -E2BIG: not to be understood. */
int gd_exposition_end(struct gd_exposition *exposition, struct gd_error *err);

/* The events between two readings; false when they cannot be compared: other bounds, or a restart. */
bool gd_exposition_delta(const struct gd_exposition_buckets *now,
                         const struct gd_exposition_buckets *before,
                         struct gd_exposition_buckets *ret);

/*
 * The seconds that `part` of the events did not exceed, linear within a bucket; beyond the last
 * finite bound that bound; never negative.  NaN without events.
 */
double gd_exposition_quantile(const struct gd_exposition_buckets *buckets, double part);
