/*
 * Most of a process's metrics are what they were a second ago.  So a row is written as what changed in
 * it, and rows lie in chunks of a minute that each begin anew; the oldest chunk goes when there are
 * enough without it.  Times are kept in ms: how far the monotonic clock went, and how the wall clock
 * differs from it, so that a clock that was set shows.
 */
#include "agent/timeline.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"

#define MS_NS 1000000
/* How far the wall clock may have gone astray before that is written down. */
#define WALL_MS 2

enum { CHUNK_ROWS = 60, CHUNKS = GD_TIMELINE_SECONDS / CHUNK_ROWS + 1, GROW_BYTES = 256 };

/*
 * A value: sign, 6 bits of exponent, 9 of mantissa.  The exponent's range lies where the unit's
 * values do; what is smaller is 0, what is larger the largest.  Time until a limit can be endless.
 */
enum { MANTISSA_BITS = 9, MANTISSA = 1 << MANTISSA_BITS, EXPONENT_MAX = 62, SIGN = 0x8000,
       NONE = 0xffff, ENDLESS = 0xfffe };

/* In a row's mask: which metrics follow, and whether its times do in full. */
#define TIMES (UINT32_C(1) << 31)
_Static_assert(GD_METRICS <= 31, "a row's mask has a bit for each metric");

struct row {
	uint32_t monotonic_ms; /* wraps around */
	uint32_t wall_ms;      /* wall clock less monotonic, wraps around */
	uint16_t values[GD_METRICS];
};

/* A row: the mask; with TIMES both times, else uint16_t ms since the row before; uint16_t values. */
enum { ROW_BYTES_MAX = 4 + 8 + 2 * GD_METRICS };

struct chunk {
	uint8_t *bytes;
	size_t len, cap;
	size_t n; /* rows */
};

struct gd_timeline {
	struct chunk chunks[CHUNKS]; /* a ring */
	size_t n_chunks, first;
	struct row last; /* of the newest chunk */
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
	if (isinf(value))
		return value > 0 ? ENDLESS : NONE;
	double part = frexp(fabs(value), &exponent);
	/* 512 to 1024, of which 1024 belongs to the next exponent. */
	long mantissa = lrint(part * 2 * MANTISSA);
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
	if (packed == ENDLESS)
		return (double)INFINITY;
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
	for (size_t i = 0; i < CHUNKS; i++)
		free(timeline->chunks[i].bytes);
	free(timeline);
}

size_t gd_timeline_bytes(const struct gd_timeline *timeline)
{
	size_t bytes = sizeof(*timeline);
	for (size_t i = 0; i < CHUNKS; i++)
		bytes += timeline->chunks[i].cap;
	return bytes;
}

/* What a chunk's first row is compared with. */
static struct row nothing(void)
{
	struct row row = { 0 };
	for (unsigned i = 0; i < GD_METRICS; i++)
		row.values[i] = NONE;
	return row;
}

static struct chunk *newest(struct gd_timeline *t)
{
	return &t->chunks[(t->first + t->n_chunks - 1) % CHUNKS];
}

/* The chunk that the next row goes to; its last row is t->last. */
static struct chunk *open_chunk(struct gd_timeline *t)
{
	if (t->n_chunks > 0 && newest(t)->n < CHUNK_ROWS)
		return newest(t);
	if (t->n_chunks > 0) {
		/* It has come to its end: what it does not need goes back. */
		struct chunk *full = newest(t);
		uint8_t *bytes = realloc(full->bytes, full->len);
		if (bytes != NULL) {
			full->bytes = bytes;
			full->cap = full->len;
		}
	}
	if (t->n_chunks == CHUNKS) {
		free(t->chunks[t->first].bytes);
		t->chunks[t->first] = (struct chunk){ 0 };
		t->first = (t->first + 1) % CHUNKS;
		t->n_chunks--;
	}
	t->n_chunks++;
	t->last = nothing();
	return newest(t);
}

static void put_bytes(struct chunk *chunk, const void *bytes, size_t n)
{
	memcpy(chunk->bytes + chunk->len, bytes, n);
	chunk->len += n;
}

static void append(struct chunk *chunk, const struct row *last, const struct row *row)
{
	uint32_t mask = 0;
	uint32_t passed_ms = row->monotonic_ms - last->monotonic_ms;
	int32_t astray_ms = (int32_t)(row->wall_ms - last->wall_ms);
	uint16_t ms = (uint16_t)passed_ms;
	if (chunk->n == 0 || passed_ms > UINT16_MAX || astray_ms < -WALL_MS || astray_ms > WALL_MS)
		mask |= TIMES;
	for (unsigned i = 0; i < GD_METRICS; i++)
		if (row->values[i] != last->values[i])
			mask |= UINT32_C(1) << i;
	put_bytes(chunk, &mask, sizeof(mask));
	if ((mask & TIMES) != 0) {
		put_bytes(chunk, &row->monotonic_ms, sizeof(row->monotonic_ms));
		put_bytes(chunk, &row->wall_ms, sizeof(row->wall_ms));
	} else {
		put_bytes(chunk, &ms, sizeof(ms));
	}
	for (unsigned i = 0; i < GD_METRICS; i++)
		if ((mask >> i & 1) != 0)
			put_bytes(chunk, &row->values[i], sizeof(row->values[i]));
	chunk->n++;
}

void gd_timeline_add(struct gd_timeline *timeline, const struct gd_clock *at,
                     const double values[GD_METRICS])
{
	struct chunk *chunk = open_chunk(timeline);
	struct row row;
	if (chunk->cap - chunk->len < ROW_BYTES_MAX) {
		/* Without memory there is a second less. */
		uint8_t *bytes = realloc(chunk->bytes, chunk->cap + GROW_BYTES);
		if (bytes == NULL)
			return;
		chunk->bytes = bytes;
		chunk->cap += GROW_BYTES;
	}
	row.monotonic_ms = (uint32_t)(at->monotonic_ns / MS_NS);
	row.wall_ms = (uint32_t)((at->realtime_ns - at->monotonic_ns) / MS_NS);
	for (unsigned i = 0; i < GD_METRICS; i++)
		row.values[i] = pack((enum gd_metric)i, values[i]);
	append(chunk, &timeline->last, &row);
	/* Small steps of the wall clock must add up to one that is written. */
	if (chunk->n > 1 && (int32_t)(row.wall_ms - timeline->last.wall_ms) <= WALL_MS &&
	    (int32_t)(row.wall_ms - timeline->last.wall_ms) >= -WALL_MS)
		row.wall_ms = timeline->last.wall_ms;
	timeline->last = row;
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
		if (isinf(value)) {
			gd_json_string(j, gd_metrics[i].name, "inf");
			continue;
		}
		/* It holds no more digits. */
		int n = snprintf(text, sizeof(text), "%.4g", value);
		gd_json_raw(j, gd_metrics[i].name, text, (size_t)n);
	}
	gd_json_object_end(j);
	gd_json_line_end(j);
}

/* Reads the row at *at of a chunk, which was written by append. */
static void next_row(const struct chunk *chunk, size_t *at, struct row *row)
{
	struct gd_bytes in = gd_bytes_of(chunk->bytes + *at, chunk->len - *at);
	uint32_t mask = gd_bytes_u32(&in);
	if ((mask & TIMES) != 0) {
		row->monotonic_ms = gd_bytes_u32(&in);
		row->wall_ms = gd_bytes_u32(&in);
	} else {
		row->monotonic_ms += gd_bytes_u16(&in);
	}
	for (unsigned i = 0; i < GD_METRICS; i++)
		if ((mask >> i & 1) != 0)
			row->values[i] = gd_bytes_u16(&in);
	*at += in.pos;
}

void gd_timeline_put(const struct gd_timeline *timeline, struct gd_buf *to)
{
	struct gd_json j = GD_JSON_INIT(to);
	size_t n = 0;
	for (size_t i = 0; i < CHUNKS; i++)
		n += timeline->chunks[i].n;
	/* The oldest chunk goes as a whole, so there can be more than was promised. */
	size_t skipped = n > GD_TIMELINE_SECONDS ? n - GD_TIMELINE_SECONDS : 0;
	put_head(&j);
	for (size_t c = 0; c < timeline->n_chunks; c++) {
		const struct chunk *chunk = &timeline->chunks[(timeline->first + c) % CHUNKS];
		struct row row = nothing();
		size_t at = 0;
		for (size_t i = 0; i < chunk->n; i++) {
			next_row(chunk, &at, &row);
			if (skipped > 0)
				skipped--;
			else
				put_row(&j, timeline, &row);
		}
	}
}
