#pragma once
/*
 * The memory of a core: with what bytes a chunk of an image goes into the archive.  The `core` collector
 * itself writes the notes; the bytes are not parsed, only packed, by the agent's compressor, in threads.
 * Ranges are page aligned, ascending and disjoint.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"
#include "target/image.h"

/* Leaves a run of a chunk out of it: its bytes become zeros, and its whole pages count as not kept. */
void gd_core_leave_out(const struct gd_range *ranges, size_t n, uint64_t addr,
                       uint8_t bytes[GD_IMAGE_CHUNK], uint64_t pages[4]);

/* The same for what keeps its place: zeros, but its pages stay. */
void gd_core_zero(const struct gd_range *ranges, size_t n, uint64_t addr,
                  uint8_t bytes[GD_IMAGE_CHUNK]);

/* Nothing but zeros? */
bool gd_core_is_empty(const uint8_t bytes[GD_IMAGE_CHUNK]);
