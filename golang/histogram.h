#pragma once
/*
 * runtime.timeHistogram, as the scheduler and the collector keep it: how long things took, in
 * buckets whose width grows with the duration.  Read while it is being counted, so the counts of
 * one reading may be a few events apart.  Source: runtime/histogram.go of Go 1.18 to 1.27.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/layout.h"
#include "target/memory.h"

#define GD_HISTOGRAM_BUCKETS_MAX 720 /* Go 1.18 and 1.19; 160 since */

struct gd_histogram {
	size_t n;                /* buckets; 0: this release does not keep it */
	unsigned sub_bits;       /* 2^sub_bits buckets for each power of two */
	unsigned shift;          /* the finest bucket is 2^shift ns wide */
	uint64_t counts[GD_HISTOGRAM_BUCKETS_MAX];
	uint64_t underflow;      /* negative durations: the clock jumped */
	uint64_t overflow;       /* longer than the last bucket (about 39 hours) */
	uint64_t total;          /* of all of these */
};

/* Bytes of the record; -ENOTSUP: the layout has no histograms. */
int gd_histogram_size(const struct gd_layout *layout, struct gd_error *err);

/* Of that many bytes. */
void gd_histogram_take(const struct gd_layout *layout, const uint8_t *bytes,
                       struct gd_histogram *ret);

/* Both, from memory. */
int gd_histogram_read(struct gd_memory *memory, const struct gd_layout *layout, uint64_t addr,
                      struct gd_histogram *ret, struct gd_error *err);

/* Nanoseconds at which bucket i begins, i <= n: bucket i ends where i + 1 begins. */
uint64_t gd_histogram_bound(const struct gd_histogram *histogram, size_t i);

/*
 * Estimates the duration that `part` (0 to 1) of the events did not exceed, linear within a bucket;
 * 1 gives the upper bound of the highest bucket with an event.  0 without events.
 */
uint64_t gd_histogram_quantile(const struct gd_histogram *histogram, double part);

/*
 * The same, in nanoseconds, of the events counted after `before` was read and until `now` was; NaN
 * when there were none.  Both of one process.
 */
double gd_histogram_delta_quantile(const struct gd_histogram *now, const struct gd_histogram *before,
                                   double part);
