/*
 * What a service answers to a scrape, fed in pieces; the first byte says how long they are.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gd_exposition e;
	static struct gd_exposition_buckets last, window;
	if (size < 1)
		return 0;
	size_t step = 1 + (size_t)data[0] * 4;
	if (gd_exposition_begin(&e, "d", NULL) < 0)
		abort();
	for (size_t at = 1; at < size; at += step)
		gd_exposition_feed(&e, data + at, size - at < step ? size - at : step);
	if (gd_exposition_end(&e, NULL) < 0)
		return 0;
	if (e.buckets.n == 0 || e.buckets.n > GD_EXPOSITION_BUCKETS_MAX)
		abort();
	for (size_t i = 0; i < e.buckets.n; i++)
		if (isnan(e.buckets.list[i].le) ||
		    (i > 0 && e.buckets.list[i].le <= e.buckets.list[i - 1].le))
			abort();
	if (isinf(gd_exposition_quantile(&e.buckets, 0.99)))
		abort();
	if (gd_exposition_delta(&e.buckets, &last, &window) &&
	    isinf(gd_exposition_quantile(&window, 0.99)))
		abort();
	last = e.buckets;
	return 0;
}
