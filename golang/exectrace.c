#include "golang/exectrace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define HEAD 16 /* "go 1.22 trace", filled up with zeros */
#define FORMAT_MIN 1007
#define FORMAT_BATCHES 1022 /* from here on the format of internal/trace/tracev2 */
#define FORMAT_MAX 1099
#define TEXT_MAX 1000000 /* of one string in the old format */
#define BATCH_MAX 65536

/* Old events (runtime/trace.go of 1.21): a byte of type and number of arguments, then these. */
enum { OLD_BATCH = 1, OLD_FREQUENCY = 2, OLD_STRING = 37, OLD_USER_LOG = 48, OLD_COUNT = 50 };

/* New ones (internal/trace/tracev2/events.go). */
enum {
	NEW_BATCH = 1,
	NEW_FREQUENCY = 8,
	NEW_EXPERIMENTAL = 49,
	NEW_SYNC = 50,
	NEW_CLOCKS = 51,
	NEW_END = 52, /* of a generation, in format 1026 */
};

/* "go 1.N trace" and zeros. */
static int read_head(struct gd_bytes *b, struct gd_exectrace *t, struct gd_error *err)
{
	static const char before[] = "go 1.";
	static const char after[] = " trace";
	const uint8_t *head = gd_bytes_take(b, HEAD);
	unsigned minor = 0;
	size_t at = sizeof(before) - 1;
	if (head == NULL || memcmp(head, before, at) != 0)
		return gd_fail(err, -EBADMSG, "not an execution trace");
	size_t digits = 0;
	for (; digits < 2 && head[at] >= '0' && head[at] <= '9'; digits++)
		minor = minor * 10 + head[at++] - '0';
	if (digits == 0 || memcmp(head + at, after, sizeof(after) - 1) != 0)
		return gd_fail(err, -EBADMSG, "not an execution trace");
	for (at += sizeof(after) - 1; at < HEAD; at++)
		if (head[at] != 0)
			return gd_fail(err, -EBADMSG, "not an execution trace");
	t->format = 1000 + minor;
	if (t->format < FORMAT_MIN || t->format > FORMAT_MAX)
		return gd_fail(err, -ENOTSUP, "an execution trace of format 1.%u", minor);
	return 0;
}

static void take_batch(struct gd_exectrace *t, uint64_t ticks)
{
	if (t->batches++ == 0)
		t->first = t->last = ticks;
	if (ticks < t->first)
		t->first = ticks;
	if (ticks > t->last)
		t->last = ticks;
}

/* ---- until 1.21 ----------------------------------------------------------------------------- */

static void skip_text(struct gd_bytes *b)
{
	uint64_t n = gd_bytes_uvarint(b);
	if (n > TEXT_MAX)
		b->bad = true;
	(void)gd_bytes_take(b, (size_t)n);
}

/* Three arguments and more come with their length in bytes. */
static void read_old_event(struct gd_bytes *b, struct gd_exectrace *t)
{
	uint8_t head = gd_bytes_u8(b);
	unsigned type = head & 0x3f;
	unsigned n = (head >> 6) + 1u;
	uint64_t arguments[2] = { 0 };
	if (type == 0 || type >= OLD_COUNT)
		b->bad = true;
	if (type == OLD_STRING) {
		(void)gd_bytes_uvarint(b);
		skip_text(b);
		return;
	}
	if (n == 4) {
		(void)gd_bytes_take(b, (size_t)gd_bytes_uvarint(b));
	} else {
		for (unsigned i = 0; i < n; i++) {
			uint64_t value = gd_bytes_uvarint(b);
			if (i < 2)
				arguments[i] = value;
		}
	}
	if (type == OLD_USER_LOG)
		skip_text(b);
	if (b->bad)
		return;
	if (type == OLD_BATCH)
		take_batch(t, arguments[1]);
	if (type == OLD_FREQUENCY)
		t->per_second = arguments[0];
}

/* ---- since 1.22 ----------------------------------------------------------------------------- */

/* What the batch that tells of clocks tells: since 1025 more than the frequency. */
static void read_clocks(struct gd_bytes b, uint64_t batch_ticks, struct gd_exectrace *t)
{
	uint8_t type = gd_bytes_u8(&b);
	if (t->format >= 1025) {
		if (type != NEW_SYNC)
			return;
		type = gd_bytes_u8(&b);
	}
	if (type != NEW_FREQUENCY)
		return;
	uint64_t per_second = gd_bytes_uvarint(&b);
	if (b.bad)
		return;
	t->per_second = per_second;
	if (gd_bytes_u8(&b) != NEW_CLOCKS)
		return;
	uint64_t ticks = batch_ticks + gd_bytes_uvarint(&b);
	uint64_t monotonic_ns = gd_bytes_uvarint(&b);
	if (b.bad)
		return;
	t->has_snapshot = true;
	t->snapshot_ticks = ticks;
	t->snapshot_monotonic_ns = monotonic_ns;
}

static void read_new_batch(struct gd_bytes *b, struct gd_exectrace *t)
{
	size_t begin = b->pos;
	uint8_t type = gd_bytes_u8(b);
	if (type == NEW_END && t->format >= 1026) {
		t->generations = b->pos;
		return;
	}
	if (type != NEW_BATCH && type != NEW_EXPERIMENTAL)
		b->bad = true;
	if (type == NEW_EXPERIMENTAL)
		(void)gd_bytes_u8(b);
	uint64_t generation = gd_bytes_uvarint(b);
	(void)gd_bytes_uvarint(b); /* thread */
	uint64_t ticks = gd_bytes_uvarint(b);
	uint64_t n = gd_bytes_uvarint(b);
	if (n > BATCH_MAX)
		b->bad = true;
	const uint8_t *events = gd_bytes_take(b, (size_t)n);
	if (events == NULL)
		return;
	/* Before 1026 it ends where the next one begins. */
	if (t->format < 1026 && t->batches > 0 && generation != t->generation)
		t->generations = begin;
	t->generation = generation;
	if (type == NEW_BATCH)
		read_clocks(gd_bytes_of(events, (size_t)n), ticks, t);
	/* Strings, stacks and clocks come in batches that are written when they are, and say so. */
	take_batch(t, ticks);
}

int gd_exectrace_read(const void *bytes, size_t n, struct gd_exectrace *ret, struct gd_error *err)
{
	struct gd_bytes b = gd_bytes_of(bytes, n);
	struct gd_exectrace t = { 0 };
	int r = read_head(&b, &t, err);
	if (r < 0)
		return r;
	t.whole = b.pos;
	while (b.pos < b.len) {
		struct gd_exectrace before = t;
		(t.format < FORMAT_BATCHES ? read_old_event : read_new_batch)(&b, &t);
		if (b.bad) {
			t = before;
			break;
		}
		t.whole = b.pos;
	}
	if (t.batches == 0)
		return gd_fail(err, -EBADMSG, "an execution trace without events");
	t.nanotime = t.format >= FORMAT_BATCHES &&
	             (t.per_second == 0 || t.per_second == 1000000000 / GD_EXECTRACE_TICK_NS);
	*ret = t;
	return 0;
}
