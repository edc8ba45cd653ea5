#pragma once
/*
 * What the watcher saw: the last GD_TIMELINE_SECONDS of samples of each watched process, in memory.
 * A value takes 16 bits (an own float, 0.1 % exact; counts up to 1024 are exact), so that hundreds of
 * processes fit into a few MiB; rules are judged on the exact values, not on these.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "policies/metric.h"

#define GD_TIMELINE_SECONDS 600

struct gd_timeline;

int gd_timeline_create(struct gd_timeline **ret, struct gd_error *err);
void gd_timeline_destroy(struct gd_timeline *timeline); /* NULL allowed */

/* One row; the oldest is forgotten when it is full.  Memory grows with what is held and with how
 * much of it changes: 6 KiB for a process that does nothing, at most 36 KiB. */
void gd_timeline_add(struct gd_timeline *timeline, const struct gd_clock *at,
                     const double values[GD_METRICS]);

/* Memory it holds. */
size_t gd_timeline_bytes(const struct gd_timeline *timeline);

/*
 * Appends JSON lines, oldest first: a head {"kind":"timeline","version":1,"units":{...}} and then
 * {"t":"2026-11-20T13:05:07.123Z","monotonic_ns":N,"cpu":0.95,...}; metrics without a sample are left out,
 * endless ones are "inf".
 */
void gd_timeline_put(const struct gd_timeline *timeline, struct gd_buf *to);
