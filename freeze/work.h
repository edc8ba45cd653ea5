#pragma once
/*
 * One run of gd_freeze_run as its methods see it.  Private to freeze/.
 */
#include "freeze/freeze.h"
#include "freeze/pagemap.h"
#include "freeze/stop.h"
#include "freeze/stopped.h"
#include "freeze/wanted.h"

/* What the tracer reads in a stop lies in memory of ours, and that is bounded. */
#define GD_FREEZE_ARENA_MAX (UINT64_C(64) << 20)
/* How fast memory can be read where nothing was measured yet: slow, so that budgets hold. */
#define GD_FREEZE_BYTES_PER_S UINT64_C(1500000000)

struct gd_freeze_work {
	struct gd_target *target;
	const struct gd_freeze_plan *plan;
	const struct gd_freeze_options *options;
	struct gd_freeze_result *result;
	struct gd_image *image;
	struct gd_wanted wanted;
	struct gd_pagemap pagemap;
	int pagemap_fd, maps_fd;
	int clear_refs_fd;         /* -1: not asked for */
	struct gd_stopped *stopped;
	uint8_t *buffer;           /* GD_FREEZE_BUFFER bytes */
	uint64_t bytes_per_s;      /* at which this target's memory was read, so far */
	uint64_t of_bytes;         /* for progress */
	struct gd_pagemap_region *huge; /* what huge pages mapped before; NULL: nothing, or not asked for */
	size_t n_huge;
};
#define GD_FREEZE_BUFFER (UINT64_C(1) << 20)
#define GD_FREEZE_REGIONS 16384 /* of one scan while it runs */

/* A method: 0 the image is what it promises; negative: it is not, what the image holds may be of any time. */
int gd_freeze_precopy_uffd(struct gd_freeze_work *work, struct gd_error *err);
int gd_freeze_precopy_soft_dirty(struct gd_freeze_work *work, struct gd_error *err);
int gd_freeze_fork(struct gd_freeze_work *work, struct gd_error *err);
int gd_freeze_copy(struct gd_freeze_work *work, struct gd_error *err);
int gd_freeze_torn(struct gd_freeze_work *work, struct gd_error *err);

/*
 * Reads what `ask` finds in the mappings from mem_fd into the image; *ret_bytes says how much.
 * -ECANCELED, -ENOSPC, -ESRCH.
 */
int gd_freeze_read_all(struct gd_freeze_work *work, const struct gd_maps *maps,
                       const struct gd_pagemap *pagemap, int mem_fd,
                       enum gd_pagemap_ask ask, uint64_t *ret_bytes, int64_t *ret_scan_ns,
                       struct gd_error *err);

/* Makes the stop of `run` with the work's block; fills result's pause from the report. */
int gd_freeze_stop(struct gd_freeze_work *work, const struct gd_stop_job *job,
                   struct gd_stop_report *report, struct gd_error *err);

/* Block and descriptors for the next stop. */
int gd_freeze_prepare_stop(struct gd_freeze_work *work, struct gd_error *err);

/* In the tracer: seize all, interrupt, take, detach.  arg is the work. */
int gd_freeze_take(struct gd_tracer *tracer, void *arg, struct gd_error *err);

/* One more sentence for the snapshot. */
/* Is the target itself to be asked whether its memory is secret, before it is made to do anything else? */
static inline bool gd_freeze_asks_dumpable(const struct gd_freeze_work *work)
{
	return work->plan->facts.dumpable_unknown && !work->options->secret;
}

void gd_freeze_note(struct gd_freeze_result *result, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

bool gd_freeze_cancelled(const struct gd_freeze_work *work);

/* Notes where huge pages are, and gives them back afterwards (huge.c). */
void gd_freeze_note_huge(struct gd_freeze_work *work);
void gd_freeze_give_back_huge(struct gd_freeze_work *work);

/* Has the target reap a child that an injected clone left (reap.c). */
int gd_freeze_reap(struct gd_target *target, int32_t child, struct gd_error *err);

/* Has the target close a userfaultfd that an injection left open in it (reap.c). */
int gd_freeze_close_left(struct gd_target *target, int32_t fd, struct gd_error *err);
