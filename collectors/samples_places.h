#pragma once
/*
 * What the frames of samples are called: Go functions with their lines and inlined callers, the
 * kernel's from kallsyms, others as file and offset.  As locations of a pprof profile, with the
 * target's executable mappings, and as words of folded stacks.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "collectors/perf_stack.h"
#include "collectors/pprof.h"
#include "golang/runtime.h"
#include "target/target.h"

struct gd_samples_places;

/* Keys of locations that stand for no address. */
enum { GD_SAMPLES_PLACES_LOST = 1, GD_SAMPLES_PLACES_KERNEL = 2 };

/* All pointers are borrowed; go NULL: not Go. */
int gd_samples_places_create(struct gd_target *target, struct gd_go *go, struct gd_pprof *pprof,
                             struct gd_samples_places **ret, struct gd_error *err);
void gd_samples_places_destroy(struct gd_samples_places *places); /* NULL allowed */

/* First all kernel frames, then their names; without one they are all "[kernel]". */
int gd_samples_places_want_kernel(struct gd_samples_places *places,
                                  const struct gd_perf_frame *frame, struct gd_error *err);
void gd_samples_places_name_kernel(struct gd_samples_places *places, int kallsyms_fd,
                                   struct gd_error *ret_why);

/*
 * The frame's location, 0: a frame that is not shown (where goroutines begin).  Or-s the signs of its
 * functions' classes to *signs.
 */
uint64_t gd_samples_places_location(struct gd_samples_places *places,
                                    const struct gd_perf_frame *frame, uint32_t *signs);

/* Appends ";outer;inner_[i]" as it is, "_[k]" in the kernel. */
void gd_samples_places_put(struct gd_samples_places *places, const struct gd_perf_frame *frame,
                           struct gd_buf *to);
/* A word of a folded stack: without what separates them. */
void gd_samples_places_put_word(const char *word, struct gd_buf *to);
