#pragma once
/*
 * The freezer: the one process of a capture that keeps the right to trace.  It plans, pre-copies, and
 * forks tracer and guard for the stop (freeze/freeze.h); what it makes, two descriptors of an image, goes
 * to the broker and from there to jailed readers.  It parses what the kernel says about the target
 * (maps, status), never what lies in its memory.
 *
 * gd_freezer_run is the broker's end.  A freezer that dies leaves the target running; what it left in
 * the target is tidied by a second one.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "archive/output.h"
#include "base/error.h"
#include "freeze/freeze.h"
#include "target/target.h"

struct gd_freezer_options {
	struct gd_target *target; /* as the broker opened it */
	/* cancelled and progress are ours to fill. */
	const struct gd_freeze_options *freeze;
	struct gd_output *output; /* the image's file goes beside the archive */
	const volatile sig_atomic_t *cancelled; /* NULL allowed */
	void (*progress)(void *arg, uint64_t bytes, uint64_t of_bytes); /* NULL allowed */
	void *progress_arg;
	bool plan_only; /* nothing is touched, there is no image and `output` is only asked for room */
};

struct gd_freezer_result {
	struct gd_freeze_plan plan;
	struct gd_freeze_result freeze;
	int file_fd, index_fd; /* of the image; -1: none */
	int64_t cpu_ns;        /* of freezer, tracer and guard */
	uint64_t peak_rss_bytes;
};
#define GD_FREEZER_RESULT_INIT ((struct gd_freezer_result){ .file_fd = -1, .index_fd = -1 })

/* 0, or why there is no image (*ret is filled as far as it came, and valid in any case). */
int gd_freezer_run(const struct gd_freezer_options *options, struct gd_freezer_result *ret,
                   struct gd_error *err);
void gd_freezer_result_deinit(struct gd_freezer_result *result);
