/*
 * Rows lie in one ring that grows by a minute at a time until it is full; a process that lives for a
 * moment costs a moment's memory.  Times are kept in ms: the row's age against the newest one's, and
 * how the wall clock differed from the monotonic one, so that a clock that was set shows.
 */
#include "agent/timeline.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define MS_NS 1000000

enum { GROW_ROWS = 60 };

/*
 * A value: sign, 6 bits of exponent, 9 of mantissa.  The exponent's range lies where the unit's
 * values do; what is smaller is 0, what is larger the largest.
 */
enum { MANTISSA_BITS = 9, MANTISSA = 1 << MANTISSA_BITS, EXPONENT_MAX = 62, SIGN = 0x8000,
       NONE = 0xffff };

struct row {
	uint32_t monotonic_ms; /* wraps around */
	uint32_t wall_ms;      /* wall clock less monotonic, wraps around */
	uint16_t values[GD_METRICS];
};

struct gd_timeline {
	struct row *rows;
	size_t cap, n, first;
	struct gd_clock newest;
};

/* --- values --- */

/* Exponent, as of frexp, of the smallest value that is not 0. */
static int smallest_of(enum gd_metric metric)
{
	switch (gd_metrics[metric].unit) {
	case GD_UNIT_SECONDS:
		return -33; /* 0.1 ns to 17 years */
	case GD_UNIT_BYTES:
		return -2;  /* to an EiB */
	case GD_UNIT_COUNT:
		return -9;
	case GD_UNIT_RATIO:
	case GD_UNIT_PER_SECOND:
		break;
	}
	return -23; /* 1e-7 to 1e12 */
}

static uint16_t pack(enum gd_metric metric, double value)
{
	unsigned sign = value < 0 ? SIGN : 0;
	int exponent;
	if (isnan(value))
		return NONE;
	double part = frexp(fabs(value), &exponent);
	if (isinf(value))
		exponent = 1 << 20;
	/* 512 to 1024, of which 1024 belongs to the next exponent. */
	long mantissa = isinf(value) ? MANTISSA : lrint(part * 2 * MANTISSA);
	if (mantissa == 2 * MANTISSA) {
		mantissa = MANTISSA;
		exponent++;
	}
	int e = exponent - smallest_of(metric) + 1;
	if (part == 0 || e < 1)
		return 0;
	if (e > EXPONENT_MAX) {
		e = EXPONENT_MAX;
		mantissa = 2 * MANTISSA - 1;
	}
	return (uint16_t)(sign | (unsigned)e << MANTISSA_BITS |
	                  ((unsigned)mantissa & (MANTISSA - 1)));
}

static double unpack(enum gd_metric metric, uint16_t packed)
{
	int e = (packed & ~SIGN) >> MANTISSA_BITS;
	if (packed == NONE)
		return (double)NAN;
	if (e == 0)
		return 0;
	double mantissa = (packed & (MANTISSA - 1)) | MANTISSA;
	double value = ldexp(mantissa / (2 * MANTISSA), e - 1 + smallest_of(metric));
	return (packed & SIGN) != 0 ? -value : value;
}

/* --- rows --- */

int gd_timeline_create(struct gd_timeline **ret, struct gd_error *err)
{
	struct gd_timeline *timeline = calloc(1, sizeof(*timeline));
	if (timeline == NULL)
		return gd_fail_errno(err, -ENOMEM, "timeline");
	*ret = timeline;
	return 0;
}

void gd_timeline_destroy(struct gd_timeline *timeline)
{
	if (timeline == NULL)
		return;
	free(timeline->rows);
	free(timeline);
}

/* Where the next row goes; NULL when there is no memory for the very first. */
static struct row *room(struct gd_timeline *t)
{
	if (t->n == t->cap && t->cap < GD_TIMELINE_SECONDS && t->first == 0) {
		size_t cap = t->cap + GROW_ROWS;
		struct row *rows = reallocarray(t->rows, cap, sizeof(rows[0]));
		if (rows != NULL) {
			t->rows = rows;
			t->cap = cap;
		}
	}
	if (t->cap == 0)
		return NULL;
	if (t->n < t->cap)
		return &t->rows[(t->first + t->n++) % t->cap];
	/* Full, or out of memory: what is oldest makes room. */
	struct row *row = &t->rows[t->first];
	t->first = (t->first + 1) % t->cap;
	return row;
}

void gd_timeline_add(struct gd_timeline *timeline, const struct gd_clock *at,
                     const double values[GD_METRICS])
{
	struct row *row = room(timeline);
	if (row == NULL)
		return;
	row->monotonic_ms = (uint32_t)(at->monotonic_ns / MS_NS);
	row->wall_ms = (uint32_t)((at->realtime_ns - at->monotonic_ns) / MS_NS);
	for (unsigned i = 0; i < GD_METRICS; i++)
		row->values[i] = pack((enum gd_metric)i, values[i]);
	timeline->newest = *at;
}

/* --- out --- */

static void put_head(struct gd_json *j)
{
	static const char *const units[] = {
		[GD_UNIT_RATIO] = "ratio",     [GD_UNIT_BYTES] = "bytes",
		[GD_UNIT_SECONDS] = "seconds", [GD_UNIT_COUNT] = "count",
		[GD_UNIT_PER_SECOND] = "per_second",
	};
	gd_json_object(j, NULL);
	gd_json_string(j, "kind", "timeline");
	gd_json_u64(j, "version", 1);
	gd_json_object(j, "units");
	for (unsigned i = 0; i < GD_METRICS; i++)
		gd_json_string(j, gd_metrics[i].name, units[gd_metrics[i].unit]);
	gd_json_object_end(j);
	gd_json_object_end(j);
	gd_json_line_end(j);
}

/* "2026-11-20T13:05:07.123Z" */
static void put_time(struct gd_json *j, int64_t realtime_ns)
{
	enum { UNTIL_MS = sizeof("2026-11-20T13:05:07.123") - 1 };
	char text[GD_CLOCK_TEXT];
	(void)gd_clock_text(text, realtime_ns);
	if (strlen(text) > UNTIL_MS)
		memcpy(text + UNTIL_MS, "Z", 2);
	gd_json_string(j, "t", text);
}

static void put_row(struct gd_json *j, const struct gd_timeline *t, const struct row *row)
{
	/* Differences to the newest row, of which only that is known in full. */
	int64_t newest_ms = t->newest.monotonic_ns / MS_NS;
	int64_t newest_wall_ms = (t->newest.realtime_ns - t->newest.monotonic_ns) / MS_NS;
	int64_t ms = newest_ms + (int32_t)(row->monotonic_ms - (uint32_t)newest_ms);
	int64_t wall_ms = newest_wall_ms + (int32_t)(row->wall_ms - (uint32_t)newest_wall_ms);
	gd_json_object(j, NULL);
	put_time(j, (ms + wall_ms) * MS_NS);
	gd_json_i64(j, "monotonic_ns", ms * MS_NS);
	for (unsigned i = 0; i < GD_METRICS; i++) {
		char text[32];
		double value = unpack((enum gd_metric)i, row->values[i]);
		if (isnan(value))
			continue;
		/* It holds no more digits. */
		int n = snprintf(text, sizeof(text), "%.4g", value);
		gd_json_raw(j, gd_metrics[i].name, text, (size_t)n);
	}
	gd_json_object_end(j);
	gd_json_line_end(j);
}

void gd_timeline_put(const struct gd_timeline *timeline, struct gd_buf *to)
{
	struct gd_json j = GD_JSON_INIT(to);
	put_head(&j);
	for (size_t i = 0; i < timeline->n; i++)
		put_row(&j, timeline, &timeline->rows[(timeline->first + i) % timeline->cap]);
}
