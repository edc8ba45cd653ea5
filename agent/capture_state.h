#pragma once
/*
 * Inside of one capture: what its steps share.  capture.c is the machine, capture_image.c what needs an
 * image, capture_window.c what runs beside, capture_steps.c the book-keeping of all.
 */
#include "agent/capture.h"
#include "agent/debug_port.h"
#include "agent/freezer.h"
#include "agent/packer_order.h"
#include "agent/parser_order.h"
#include "agent/ranges.h"

struct gd_capture_state {
	const struct gd_capture_options *options;
	struct gd_snapshot *snapshot;
	struct gd_sealed *sealed;
	struct gd_target *target;      /* NULL: attachments only */
	struct gd_parser_order parser;
	struct gd_packer_order packer;
	struct gd_output output;
	struct gd_buf plan_json;
	struct gd_freezer_result frozen; /* the image, once there is one */
	struct gd_ranges skip;     /* not copied, by what was known before the image */
	struct gd_ranges left_out; /* not in the core, by what is known from it */
	struct gd_ranges noscan;   /* kept as zeros */
	struct gd_step *window;   /* the windowed collector's, NULL: none runs */
	struct gd_debug_port debug_port;
	struct gd_debug_port_result debug_port_result;
	struct gd_step *debug_port_step; /* NULL: none runs */
	struct gd_outcome worst;
	enum gd_exit exit;     /* of a step that ended the capture */
	struct gd_error error;
};

bool gd_capture_cancelled(const struct gd_capture_state *c);

/* Steps of the snapshot's timeline. */
struct gd_step *gd_capture_step_begin(struct gd_capture_state *c, const char *prefix,
                                      const char *name);
void gd_capture_step_end(struct gd_step *step, struct gd_outcome outcome);

/* Tells whoever waits: a step begins (step NULL), or has ended. */
void gd_capture_progress(struct gd_capture_state *c, const char *name, const struct gd_step *step,
                         uint64_t bytes);

/* An outcome towards the capture's own; `named`: somebody asked for this. */
void gd_capture_count(struct gd_capture_state *c, const char *name, bool named,
                      struct gd_outcome outcome);

/* One collector of the plan, over the process ("collect:") or its image ("image:"). */
void gd_capture_collector(struct gd_capture_state *c, const char *prefix, size_t item);

/*
 * What runs in the plan's window (capture_window.c), samples and what the service says of itself: begins
 * before the others, and ends when its time is up and they are done.
 */
void gd_capture_window_begin(struct gd_capture_state *c);
void gd_capture_window_end(struct gd_capture_state *c);

/* The plan's core, NULL: none. */
const struct gd_plan_item *gd_capture_core(const struct gd_capture_state *c);

/* Makes the image; false: there is none, and why is counted. */
bool gd_capture_freeze(struct gd_capture_state *c);
/* What is read from it: the collectors of memory once more, and the core. */
void gd_capture_image(struct gd_capture_state *c);
