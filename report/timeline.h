#pragma once
/*
 * What happened before the trigger: which metrics of timeline.jsonl moved most against the earlier
 * part of it, and since when.  It compares numbers and claims nothing about causes.  The file is
 * foreign text; it says itself which metrics there are and in what unit, so a newer agent's are shown
 * too.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/reader.h"

enum gd_timeline_unit {
	GD_TIMELINE_IN_COUNT,
	GD_TIMELINE_IN_RATIO,
	GD_TIMELINE_IN_BYTES,
	GD_TIMELINE_IN_SECONDS,
	GD_TIMELINE_IN_PER_SECOND,
};
extern const char *const gd_timeline_units[5]; /* as the file writes them */

#define GD_TIMELINE_NAME 40
#define GD_TIMELINE_POINTS 40
#define GD_TIMELINE_MOVES_MAX 4
#define GD_TIMELINE_ENDLESS 1e30 /* stands for "inf" in the file, and bounds what is in it */

struct gd_timeline_move {
	char name[GD_TIMELINE_NAME]; /* letters, digits, '_' */
	enum gd_timeline_unit unit;
	bool named;       /* the trigger's reason speaks of it: comes first, moved or not */
	bool moved;       /* by more than a fifth and more than it used to waver */
	double before;    /* median of the earlier half; NaN: no samples */
	double now;       /* median of the last ones; NaN: none */
	int64_t since_ns; /* it left `before` so long before the capture; -1: did not, or unknown */
	double points[GD_TIMELINE_POINTS]; /* highest of each part of the time; NaN: no sample */
};

struct gd_timeline_moves {
	size_t samples;
	int64_t span_ns; /* from the first sample to the capture */
	size_t n;
	struct gd_timeline_move list[GD_TIMELINE_MOVES_MAX];
};

/*
 * Of an archive.  -ENOENT: it has no timeline; -EBADMSG: it makes no sense; -ENODATA: too short to
 * compare anything.
 */
int gd_timeline_moves_read(const struct gd_reader *reader, struct gd_timeline_moves *ret,
                           struct gd_error *err);

/* Of a text.  captured_ns: CLOCK_MONOTONIC at the trigger, 0: its last sample's; reason may be NULL. */
int gd_timeline_moves_find(const char *text, size_t n, int64_t captured_ns, const char *reason,
                           struct gd_timeline_moves *ret, struct gd_error *err);

/* "840 ms", "9,800", "95 %"; "-" for NaN, "endless" from 9e18 on.  Returns `to`. */
#define GD_TIMELINE_TEXT 40
const char *gd_timeline_text(char to[GD_TIMELINE_TEXT], enum gd_timeline_unit unit, double value);

/* The points as bars in UTF-8, one column each. */
#define GD_TIMELINE_SPARK (3 * GD_TIMELINE_POINTS + 1)
const char *gd_timeline_spark(char to[GD_TIMELINE_SPARK], const struct gd_timeline_move *move);
