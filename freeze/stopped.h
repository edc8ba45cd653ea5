#pragma once
/*
 * What is done while the target stands still, by the tracer: registers, mappings, which pages exist, and
 * the content of those that are not in the image yet.  Everything goes into one block of shared memory
 * that was made and touched before; the parent takes it apart when the target runs again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "freeze/pagemap.h"
#include "freeze/stop.h"
#include "freeze/wanted.h"
#include "target/image.h"

/* What was read: these pages lie in the arena one after the other. */
struct gd_stopped_item {
	uint64_t addr;
	uint64_t n_pages;
};

struct gd_stopped_needs {
	size_t threads, maps_bytes, regions, arena_bytes;
};

struct gd_stopped {
	/* Set by the parent before. */
	struct gd_pagemap pagemap;
	int maps_fd, mem_fd;
	uint64_t dirty;        /* read only what has this category, or is not in the image; 0: all */
	bool own;              /* read pages of its own (not: a child will show them) */
	bool truncate;         /* stacks first, then what fits; else what does not fit is a failure */
	bool thin;             /* stacks are read although they lie in a range to skip */
	int64_t max_pause_ns;
	uint64_t bytes_per_s;  /* at which it can be read */
	int64_t began_ns;      /* by the tracer, before the first interrupt */
	struct gd_wanted *wanted;
	const struct gd_image *image;

	/* Filled by the tracer. */
	bool taken;            /* all of it; the rest is then valid */
	bool truncated;        /* there was more than fits */
	int64_t stood_ns;      /* from the first interrupt until all stood and maps were read */
	int64_t scan_ns, read_ns;
	uint64_t bytes;        /* in the arena */
	uint64_t wanted_bytes; /* that should have been read */
	uint64_t unreadable;   /* pages that could not be read */
	bool shared_read[GD_WANTED_SHARED_MAX]; /* which of wanted->shared are in the arena */
	struct gd_image_thread *threads;
	uint8_t *xstates;
	size_t n_threads, max_threads, xstate_each;
	char *maps;
	size_t maps_len, maps_max;
	struct gd_pagemap_region *regions; /* pages of its own that exist */
	size_t n_regions, max_regions;
	struct gd_pagemap_region *scratch;
	size_t max_scratch;
	struct gd_stopped_item *items;
	size_t n_items, max_items;
	uint8_t *arena;
	size_t arena_max;
	size_t block_bytes;    /* of all this */
};

/* Memory for it, all of it present; -ENOMEM. */
int gd_stopped_create(const struct gd_stopped_needs *needs, struct gd_stopped **ret,
                      struct gd_error *err);
void gd_stopped_destroy(struct gd_stopped *stopped); /* NULL allowed */

/*
 * In the tracer, everything stands still.  -E2BIG: it would take longer than the pause may be; then nothing
 * was read.
 */
int gd_stopped_take(struct gd_tracer *tracer, struct gd_stopped *stopped, struct gd_error *err);

/* Fills regions (stopped_scan.c). */
int gd_stopped_scan(struct gd_stopped *stopped, struct gd_error *err);

/* Its parts for a stop that is more than that (fork): registers and mappings; shared and unforked memory. */
int gd_stopped_take_shape(struct gd_tracer *tracer, struct gd_stopped *stopped,
                          struct gd_error *err);
int gd_stopped_take_unforked(struct gd_stopped *stopped, struct gd_error *err);

/*
 * In the parent, afterwards: makes the image what was found.  Pages of the image that did not exist any
 * more are dropped, those of the arena put, mappings and threads set.
 */
int gd_stopped_apply(const struct gd_stopped *stopped, struct gd_image *image,
                     struct gd_error *err);

/* Mappings and threads alone. */
int gd_stopped_apply_shape(const struct gd_stopped *stopped, struct gd_image *image,
                           struct gd_error *err);
/* Says of a mapping what stands for its missing pages, and why. */
void gd_stopped_judge_map(const struct gd_wanted *wanted, struct gd_image_map *map,
                          const char *path);
/* What of an image lies in no region (sorted) and in no shared memory is dropped. */
void gd_stopped_drop_others(const struct gd_wanted *wanted, const struct gd_pagemap_region *regions,
                            size_t n, struct gd_image *image);
/* Shared memory that did not fit, read now and marked as later. */
int gd_stopped_read_later(const struct gd_stopped *stopped, struct gd_image *image,
                          uint64_t *bytes, struct gd_error *err);
