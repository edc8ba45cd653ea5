#pragma once
/*
 * Which archives have to go: a pure function of the list, the limits and the time.  Deletes nothing.
 */
#include "uploader/spool.h"

enum gd_retention_why {
	GD_RETENTION_AGE,
	GD_RETENTION_COUNT,
	GD_RETENTION_BYTES,
	GD_RETENTION_SPOOL, /* the spool's ceiling */
	GD_RETENTION_FLOOR, /* free space of the file system */
	GD_RETENTION_WHYS,
};
/* "older than the age kept", ... */
extern const char *const gd_retention_why_texts[GD_RETENTION_WHYS];

struct gd_retention_space {
	uint64_t fs_bytes, fs_free_bytes;
	uint64_t quarantined_bytes; /* count for the ceiling, and may go before unsent archives */
};

struct gd_retention_choice {
	size_t item; /* index into the list; SIZE_MAX: all of quarantine */
	enum gd_retention_why why;
};

/*
 * `items` oldest first.  Fills ret (room for n + 1) in the order of deletion and returns how many.
 * Ages from the future count as now.
 */
size_t gd_retention_choose(const struct gd_spool_item *items, size_t n,
                           const struct gd_spool_keep *keep,
                           const struct gd_retention_space *space, int64_t now_realtime_ns,
                           struct gd_retention_choice *ret, bool *gone);
