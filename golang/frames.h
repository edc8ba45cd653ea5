#pragma once
/*
 * The frames of one goroutine: unwinds the copy of its stack, or reads a deep stack through a
 * window, or finds out what can be known of a running one.  Owns the memory the frames of the
 * latest goroutine lie in.
 */
#include <stddef.h>
#include <stdint.h>

#include "golang/goroutines.h"
#include "golang/grecord.h"

/* A used part up to this size is copied whole and before unwinding. */
#define GD_FRAMES_WHOLE_STACK_MAX (64u << 10)

/* Larger than any a Go program can have without asking for it (1 GB). */
#define GD_FRAMES_STACK_MAX (UINT64_C(4) << 30)

struct gd_frames;

int gd_frames_create(struct gd_go *go, const struct gd_walk_options *options,
                     struct gd_frames **ret, struct gd_error *err);
void gd_frames_destroy(struct gd_frames *frames); /* NULL allowed */

/* The part of its stack that is in use; empty when it makes no sense. */
struct gd_range gd_frames_used_stack(const struct gd_grecord *g);

/*
 * Fills frames, frames_are, end, creator, entry and system of *out.  stack: a copy of the used
 * part; NULL: it is read now.  Valid until the next call.
 */
void gd_frames_unwind(struct gd_frames *frames, const struct gd_grecord *g, const uint8_t *stack,
                      size_t stack_len, struct gd_goroutine *out);
