#include "collectors/core.h"

#include <errno.h>
#include <string.h>

#include "collectors/collector.h"
#include "collectors/core_notes.h"

/* 100,000 threads at 3.5 KiB. */
#define NOTES_MAX ((size_t)512 << 20)
#define AUXV_MAX 8192

static struct gd_outcome collect(struct gd_collect *c)
{
	static const struct gd_artifact artifact = { .name = "core/notes",
		                                     .media_type = "application/vnd.godiag.elf-notes.v1",
		                                     .collector = "core",
		                                     .compress = 1 };
	GD_BUF struct gd_buf notes = GD_BUF_INIT(NOTES_MAX);
	GD_BUF struct gd_buf auxv = GD_BUF_INIT(AUXV_MAX);
	struct gd_error err = { 0 };
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	if (c->image == NULL)
		return gd_outcome(GD_GRADE_FAILED, -EINVAL, "there is no image");
	if (gd_target_read_file(c->target, "auxv", &auxv, &err) < 0)
		outcome = gd_outcome_of(GD_GRADE_PARTIAL, &err);
	const struct gd_core_notes_order order = { .auxv = auxv.data, .n_auxv = auxv.len };
	if (gd_core_notes_write(c->image, c->target, &order, &notes, &err) < 0 ||
	    gd_sink_put(c->sink, &artifact, notes.data, notes.len, &outcome, &err) < 0)
		return gd_outcome_of(GD_GRADE_FAILED, &err);
	return outcome;
}

const struct gd_collector gd_collector_core = {
	.name = "core",
	.profile = GD_PROFILE_FULL,
	.of_image = true,
	.collect = collect,
};

/* The first range that ends behind addr. */
static size_t first_behind(const struct gd_range *zero, size_t n, uint64_t addr)
{
	size_t low = 0;
	size_t high = n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (zero[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool gd_core_is_empty(const uint8_t bytes[GD_IMAGE_CHUNK])
{
	/* Equal to itself shifted by a byte, and the first one is zero. */
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, GD_IMAGE_CHUNK - 1) == 0;
}

/* The part of a range in a chunk; false: it begins behind it. */
static bool clip(const struct gd_range *range, uint64_t addr, uint64_t *ret_from, uint64_t *ret_n)
{
	uint64_t end = addr + GD_IMAGE_CHUNK;
	uint64_t from = range->start > addr ? range->start : addr;
	uint64_t until = range->end < end ? range->end : end;
	if (range->start >= end)
		return false;
	*ret_from = from - addr;
	*ret_n = until - from;
	return true;
}

void gd_core_zero(const struct gd_range *ranges, size_t n, uint64_t addr,
                  uint8_t bytes[GD_IMAGE_CHUNK])
{
	uint64_t from;
	uint64_t len;
	for (size_t i = first_behind(ranges, n, addr);
	     i < n && clip(&ranges[i], addr, &from, &len); i++)
		memset(bytes + from, 0, len);
}

void gd_core_leave_out(const struct gd_range *ranges, size_t n, uint64_t addr,
                       uint8_t bytes[GD_IMAGE_CHUNK], uint64_t pages[4])
{
	uint64_t from;
	uint64_t len;
	for (size_t i = first_behind(ranges, n, addr);
	     i < n && clip(&ranges[i], addr, &from, &len); i++) {
		memset(bytes + from, 0, len);
		for (uint64_t page = from / GD_IMAGE_PAGE; page < (from + len) / GD_IMAGE_PAGE; page++)
			pages[page / 64] &= ~(UINT64_C(1) << page % 64);
	}
}
