#pragma once
/*
 * What the frames of samples are called: Go functions with their lines and inlined callers, the
 * kernel's from kallsyms, C's from symbol tables, else as file and offset.  As locations of a pprof profile, with the
 * target's executable mappings, and as words of folded stacks.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "collectors/kernel_symbols.h"
#include "collectors/native_symbols.h"
#include "collectors/perf_stack.h"
#include "collectors/pprof.h"
#include "golang/runtime.h"
#include "target/target.h"

struct gd_samples_places;

/* Keys of locations that stand for no address. */
enum { GD_SAMPLES_PLACES_LOST = 1, GD_SAMPLES_PLACES_KERNEL, GD_SAMPLES_PLACES_PARKING };

/* All pointers are borrowed; go NULL: not Go; pprof NULL: no locations will be asked for. */
int gd_samples_places_create(struct gd_target *target, struct gd_go *go,
                             const struct gd_kernel_names *kernel,
                             const struct gd_native_names *native, struct gd_pprof *pprof,
                             struct gd_samples_places **ret, struct gd_error *err);
void gd_samples_places_destroy(struct gd_samples_places *places); /* NULL allowed */

/* Where to look a frame up: a return address may be the first of the next function. */
static inline uint64_t gd_samples_places_address(const struct gd_perf_frame *frame)
{
	return frame->exact ? frame->pc : frame->pc - 1;
}

/* The frame's location, 0: a frame that is not shown (where goroutines begin). */
uint64_t gd_samples_places_location(struct gd_samples_places *places,
                                    const struct gd_perf_frame *frame);

/* The signs of its functions' classes. */
uint32_t gd_samples_places_signs(struct gd_samples_places *places, const struct gd_perf_frame *frame);

/* As elements of an array: {"function","file","line"}, as in goroutines.jsonl. */
void gd_samples_places_put_json(struct gd_samples_places *places, const struct gd_perf_frame *frame,
                                struct gd_json *json);

/* Appends ";outer;inner_[i]" as it is, "_[k]" in the kernel. */
void gd_samples_places_put(struct gd_samples_places *places, const struct gd_perf_frame *frame,
                           struct gd_buf *to);
