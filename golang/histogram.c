#include "golang/histogram.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/bytes.h"

#define BYTES_MAX (8 * (GD_HISTOGRAM_BUCKETS_MAX + 2))

int gd_histogram_size(const struct gd_layout *layout, struct gd_error *err)
{
	size_t size = (size_t)layout->hist_size;
	size_t counts = (size_t)layout->hist_underflow;
	if (layout->hist_size < 16 || size > BYTES_MAX || layout->hist_underflow < 8 ||
	    counts > size - 8 || counts / 8 > GD_HISTOGRAM_BUCKETS_MAX ||
	    (layout->hist_overflow >= 0 && (size_t)layout->hist_overflow > size - 8))
		return gd_fail(err, -ENOTSUP, "the layout of time histograms is not known");
	return layout->hist_size;
}

void gd_histogram_take(const struct gd_layout *layout, const uint8_t *bytes,
                       struct gd_histogram *ret)
{
	size_t counts = (size_t)layout->hist_underflow;
	memset(ret, 0, sizeof(*ret));
	ret->n = counts / 8;
	/* Until Go 1.19 buckets began at 1 ns, 16 for each power of two. */
	ret->sub_bits = layout->hist_overflow >= 0 ? 2 : 4;
	ret->shift = layout->hist_overflow >= 0 ? 6 : 0;
	for (size_t i = 0; i < ret->n; i++) {
		ret->counts[i] = gd_load_u64(bytes + 8 * i);
		ret->total += ret->counts[i];
	}
	ret->underflow = gd_load_u64(bytes + counts);
	if (layout->hist_overflow >= 0)
		ret->overflow = gd_load_u64(bytes + layout->hist_overflow);
	ret->total += ret->underflow + ret->overflow;
}

int gd_histogram_read(struct gd_memory *memory, const struct gd_layout *layout, uint64_t addr,
                      struct gd_histogram *ret, struct gd_error *err)
{
	uint8_t bytes[BYTES_MAX];
	int size = gd_histogram_size(layout, err);
	if (size < 0)
		return size;
	int r = gd_memory_read(memory, addr, bytes, (size_t)size, err);
	if (r < 0)
		return gd_error_wrap(err, r, "time histogram");
	gd_histogram_take(layout, bytes, ret);
	return 0;
}

uint64_t gd_histogram_bound(const struct gd_histogram *histogram, size_t i)
{
	uint64_t power = i >> histogram->sub_bits;
	uint64_t sub = i & ((1u << histogram->sub_bits) - 1);
	uint64_t bound = sub;
	if (power > 0)
		bound = ((1ull << histogram->sub_bits) | sub) << (power - 1);
	return bound << histogram->shift;
}

uint64_t gd_histogram_quantile(const struct gd_histogram *histogram, double part)
{
	double rank = part * (double)histogram->total;
	double seen = (double)histogram->underflow;
	uint64_t highest = 0;

	if (histogram->total == 0 || rank <= seen)
		return 0;
	for (size_t i = 0; i < histogram->n; i++) {
		double count = (double)histogram->counts[i];
		if (histogram->counts[i] == 0)
			continue;
		uint64_t low = gd_histogram_bound(histogram, i);
		highest = gd_histogram_bound(histogram, i + 1);
		if (seen + count >= rank) {
			double within = (rank - seen) / count;
			return low + (uint64_t)(within * (double)(highest - low));
		}
		seen += count;
	}
	/* Among what was too long to be counted in a bucket. */
	return histogram->overflow > 0 ? gd_histogram_bound(histogram, histogram->n) : highest;
}

/* A count can only grow; of one that did not nothing is known. */
static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

double gd_histogram_delta_quantile(const struct gd_histogram *now, const struct gd_histogram *before,
                                   double part)
{
	struct gd_histogram h = { .n = now->n, .sub_bits = now->sub_bits, .shift = now->shift };
	if (now->n != before->n || now->shift != before->shift)
		return (double)NAN;
	for (size_t i = 0; i < h.n; i++) {
		h.counts[i] = grown(now->counts[i], before->counts[i]);
		h.total += h.counts[i];
	}
	h.underflow = grown(now->underflow, before->underflow);
	h.overflow = grown(now->overflow, before->overflow);
	h.total += h.underflow + h.overflow;
	return h.total > 0 ? (double)gd_histogram_quantile(&h, part) : (double)NAN;
}
