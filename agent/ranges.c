#include "agent/ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PAGE 4096u
#define BYTES (sizeof(uint64_t) + (size_t)GD_RANGES_MAX * sizeof(struct gd_range))

int gd_ranges_create(struct gd_error *err)
{
	GD_CLOSE int fd = memfd_create("godiag-ranges", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)BYTES) < 0)
		return gd_fail_errno(err, -errno, "ranges");
	return gd_steal_fd(&fd);
}

int gd_ranges_put(int fd, const struct gd_range *list, size_t n, struct gd_error *err)
{
	uint64_t *to = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (to == MAP_FAILED)
		return gd_fail_errno(err, -errno, "ranges");
	if (n > GD_RANGES_MAX)
		n = GD_RANGES_MAX;
	if (n > 0)
		memcpy(to + 1, list, n * sizeof(*list));
	*to = n;
	(void)munmap(to, BYTES);
	return 0;
}

static int check(const struct gd_ranges *ranges, struct gd_error *err)
{
	uint64_t at = 0;
	for (size_t i = 0; i < ranges->n; i++) {
		const struct gd_range *r = &ranges->list[i];
		if (r->start < at || r->end <= r->start || r->start % PAGE != 0 ||
		    r->end % PAGE != 0)
			return gd_fail(err, -EBADMSG, "range %zu makes no sense", i);
		at = r->end;
	}
	return 0;
}

int gd_ranges_take(int fd, struct gd_ranges *ret, struct gd_error *err)
{
	struct gd_ranges ranges = GD_RANGES_INIT;
	uint64_t n;
	if (pread(fd, &n, sizeof(n), 0) != sizeof(n) || n > GD_RANGES_MAX)
		return gd_fail(err, -EBADMSG, "ranges: their number makes no sense");
	ranges.list = calloc((size_t)n + 1, sizeof(*ranges.list));
	if (ranges.list == NULL)
		return gd_fail_errno(err, -ENOMEM, "ranges");
	ranges.n = (size_t)n;
	size_t bytes = ranges.n * sizeof(*ranges.list);
	int r = pread(fd, ranges.list, bytes, sizeof(n)) == (ssize_t)bytes
	                ? check(&ranges, err)
	                : gd_fail(err, -EBADMSG, "ranges: too short");
	if (r < 0)
		gd_ranges_deinit(&ranges);
	else
		*ret = ranges;
	return r;
}

void gd_ranges_deinit(struct gd_ranges *ranges)
{
	free(ranges->list);
	*ranges = GD_RANGES_INIT;
}
