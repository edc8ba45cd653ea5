#include "golang/histogram.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "golang/go_version.h"
#include "tests/test.h"

enum { BASE = 0x10000, BYTES = 6000 };

static uint8_t bytes[BYTES];

static struct gd_layout layout_of(const char *version)
{
	struct gd_go_version parsed;
	struct gd_layout layout;
	struct gd_error err = { 0 };
	memset(bytes, 0, sizeof(bytes));
	assert_ok(gd_go_version_parse(version, &parsed, &err), &err);
	assert_ok(gd_layout_of(&parsed, &layout, &err), &err);
	return layout;
}

static struct gd_histogram read_as(const struct gd_layout *layout)
{
	struct gd_error err = { 0 };
	struct gd_histogram h;
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_bytes(BASE, bytes, sizeof(bytes), &memory, &err), &err);
	assert_ok(gd_histogram_read(memory, layout, BASE, &h, &err), &err);
	return h;
}

static void count(size_t bucket, uint64_t n)
{
	memcpy(bytes + 8 * bucket, &n, sizeof(n));
}

static unsigned bits(uint64_t v)
{
	unsigned n = 0;
	for (; v != 0; v >>= 1)
		n++;
	return n;
}

/* Where runtime.timeHistogram.record counts a duration: Go 1.18 and 1.19, then 1.20 and later. */
static size_t bucket_1_19(uint64_t duration)
{
	if (duration < 16)
		return duration;
	unsigned super = bits(duration) - 4;
	return super * 16 + (duration >> (super - 1)) % 16;
}

static size_t bucket_1_20(uint64_t duration)
{
	unsigned bit = bits(duration) < 9 ? 9 : bits(duration);
	unsigned bucket = bits(duration) < 9 ? 0 : bit - 9 + 1;
	return bucket * 4 + (duration >> (bit - 1 - 2)) % 4;
}

static void check_bounds(const struct gd_histogram *h, size_t (*bucket_of)(uint64_t))
{
	for (uint64_t d = 0; d < (UINT64_C(1) << 46); d += d / 7 + 1) {
		size_t i = bucket_of(d);
		assert_true(i < h->n);
		assert_true(gd_histogram_bound(h, i) <= d);
		assert_true(gd_histogram_bound(h, i + 1) > d);
	}
}

static void bounds_are_those_the_runtime_counts_by(void **state)
{
	(void)state;
	struct gd_layout layout = layout_of("go1.19.13");
	struct gd_histogram h = read_as(&layout);
	assert_int_equal(h.n, 720);
	check_bounds(&h, bucket_1_19);
	layout = layout_of("go1.22.5");
	h = read_as(&layout);
	assert_int_equal(h.n, 160);
	check_bounds(&h, bucket_1_20);
	assert_int_equal(gd_histogram_bound(&h, 160), UINT64_C(1) << 47);
}

static void what_falls_out_of_the_buckets_is_counted(void **state)
{
	(void)state;
	struct gd_layout layout = layout_of("go1.22.5");
	count(3, 5);
	count(160, 7);  /* underflow */
	count(161, 11); /* overflow */
	struct gd_histogram h = read_as(&layout);
	assert_int_equal(h.counts[3], 5);
	assert_int_equal(h.underflow, 7);
	assert_int_equal(h.overflow, 11);
	assert_int_equal(h.total, 23);
}

static void quantiles_lie_in_their_bucket(void **state)
{
	(void)state;
	struct gd_layout layout = layout_of("go1.22.5");
	size_t fast = bucket_1_20(700);
	size_t slow = bucket_1_20(5000000);
	count(fast, 99);
	count(slow, 1);
	struct gd_histogram h = read_as(&layout);
	assert_in_range(gd_histogram_quantile(&h, 0.5), gd_histogram_bound(&h, fast),
	                gd_histogram_bound(&h, fast + 1));
	assert_true(gd_histogram_quantile(&h, 0.1) < gd_histogram_quantile(&h, 0.9));
	assert_int_equal(gd_histogram_quantile(&h, 0.99), gd_histogram_bound(&h, fast + 1));
	assert_in_range(gd_histogram_quantile(&h, 0.995), gd_histogram_bound(&h, slow),
	                gd_histogram_bound(&h, slow + 1));
	assert_int_equal(gd_histogram_quantile(&h, 1), gd_histogram_bound(&h, slow + 1));
}

static void nothing_counted_has_no_quantile(void **state)
{
	(void)state;
	struct gd_layout layout = layout_of("go1.22.5");
	struct gd_histogram h = read_as(&layout);
	assert_int_equal(gd_histogram_quantile(&h, 0.5), 0);
	assert_int_equal(gd_histogram_quantile(&h, 1), 0);
	count(161, 3); /* all longer than 39 hours */
	h = read_as(&layout);
	assert_int_equal(gd_histogram_quantile(&h, 0.5), UINT64_C(1) << 47);
}

static void an_unknown_layout_is_enotsup(void **state)
{
	struct gd_error err = { 0 };
	struct gd_histogram h;
	GD_MEMORY struct gd_memory *memory = NULL;
	(void)state;
	struct gd_layout layout = layout_of("go1.22.5");
	assert_ok(gd_memory_bytes(BASE, bytes, sizeof(bytes), &memory, &err), &err);
	layout.hist_overflow = layout.hist_size;
	assert_fails(gd_histogram_read(memory, &layout, BASE, &h, &err), -ENOTSUP, &err);
	layout = layout_of("go1.22.5");
	layout.hist_size = 1 << 20;
	assert_fails(gd_histogram_read(memory, &layout, BASE, &h, &err), -ENOTSUP, &err);
	layout = layout_of("go1.22.5");
	assert_fails(gd_histogram_read(memory, &layout, 0x99, &h, &err), -EFAULT, &err);
}

static void a_window_is_what_came_between_two_readings(void **state)
{
	static struct gd_histogram before, now;
	(void)state;
	struct gd_layout layout = layout_of("go1.22.5");
	count(20, 1000);
	before = read_as(&layout);
	assert_true(isnan(gd_histogram_delta_quantile(&before, &before, 0.99)));
	count(20, 1098);
	count(60, 2);
	now = read_as(&layout);
	/* 98 short ones and two long ones since. */
	double p50 = gd_histogram_delta_quantile(&now, &before, 0.5);
	double p99 = gd_histogram_delta_quantile(&now, &before, 0.99);
	assert_true(p50 >= (double)gd_histogram_bound(&now, 20) &&
	            p50 <= (double)gd_histogram_bound(&now, 21));
	assert_true(p99 >= (double)gd_histogram_bound(&now, 60) &&
	            p99 <= (double)gd_histogram_bound(&now, 61));
	/* The wrong way round, and of another release. */
	assert_true(isnan(gd_histogram_delta_quantile(&before, &now, 0.99)));
	before.n = 720;
	assert_true(isnan(gd_histogram_delta_quantile(&now, &before, 0.99)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(bounds_are_those_the_runtime_counts_by),
		test_case(what_falls_out_of_the_buckets_is_counted),
		test_case(quantiles_lie_in_their_bucket),
		test_case(nothing_counted_has_no_quantile),
		test_case(an_unknown_layout_is_enotsup),
		test_case(a_window_is_what_came_between_two_readings),
	};
	return test_run(tests);
}
