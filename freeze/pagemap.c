#include "freeze/pagemap.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGE 4096u

/* The kernel's struct pm_scan_arg. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan_arg)
#define SCAN_WP_MATCHING 1u
#define SCAN_CHECK_WPASYNC 2u

#define ENTRY_SOFT_DIRTY (UINT64_C(1) << 55)
#define ENTRY_UFFD_WP (UINT64_C(1) << 57)
#define ENTRY_FILE (UINT64_C(1) << 61)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_PRESENT (UINT64_C(1) << 63)

struct gd_pagemap gd_pagemap_of(int fd)
{
	struct gd_pagemap_region none;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.vec = (uint64_t)(uintptr_t)&none,
		.vec_len = 1,
		.category_anyof_mask = GD_PAGE_PRESENT,
		.return_mask = GD_PAGE_PRESENT,
	};
	return (struct gd_pagemap){ .fd = fd, .scan = ioctl(fd, SCAN, &arg) >= 0 };
}

static ssize_t scan(int fd, enum gd_pagemap_ask ask, uint64_t dirty,
                    const struct gd_pagemap_span *span, struct gd_pagemap_region *to, size_t max,
                    uint64_t *ret_walked, struct gd_error *err)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = span->start,
		.end = span->end,
		.vec = (uint64_t)(uintptr_t)to,
		.vec_len = max,
		.category_anyof_mask = GD_PAGE_PRESENT | GD_PAGE_SWAPPED,
		.return_mask = dirty | GD_PAGE_PRESENT,
	};
	if (ask != GD_PAGEMAP_ANY) {
		arg.category_mask = span->anonymous ? GD_PAGE_ZERO : GD_PAGE_FILE | GD_PAGE_ZERO;
		arg.category_inverted = arg.category_mask;
	}
	if (ask == GD_PAGEMAP_PROTECT) {
		arg.flags = SCAN_WP_MATCHING;
		arg.category_mask |= GD_PAGE_WRITTEN;
	}
	if (ask == GD_PAGEMAP_HUGE)
		arg.category_mask |= GD_PAGE_HUGE;
	int n = ioctl(fd, SCAN, &arg);
	if (n < 0)
		return gd_fail_errno(err, -errno, "PAGEMAP_SCAN of 0x%" PRIx64, span->start);
	/* Not always set when all was walked: it may still hold where the kernel's own buffer was full. */
	*ret_walked = (size_t)n < max ? span->end : arg.walk_end;
	return n;
}

static bool matches(uint64_t entry, enum gd_pagemap_ask ask)
{
	if ((entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) == 0)
		return false;
	/* Shared anonymous pages are the page cache's, too. */
	return ask == GD_PAGEMAP_ANY || (entry & ENTRY_FILE) == 0;
}

static uint64_t categories_of(uint64_t entry, uint64_t dirty)
{
	uint64_t c = (entry & ENTRY_PRESENT) != 0 ? GD_PAGE_PRESENT : 0;
	if ((entry & ENTRY_SOFT_DIRTY) != 0)
		c |= GD_PAGE_SOFT_DIRTY;
	if ((entry & ENTRY_UFFD_WP) == 0)
		c |= GD_PAGE_WRITTEN;
	return c & (dirty | GD_PAGE_PRESENT);
}

size_t gd_pagemap_parse(const uint64_t *entries, size_t n, uint64_t start, enum gd_pagemap_ask ask,
                        uint64_t dirty, struct gd_pagemap_region *to, size_t max, size_t *ret_used)
{
	size_t found = 0;
	size_t i = 0;
	for (; i < n; i++) {
		uint64_t addr = start + i * PAGE;
		if (!matches(entries[i], ask))
			continue;
		uint64_t categories = categories_of(entries[i], dirty);
		if (found > 0 && to[found - 1].end == addr &&
		    to[found - 1].categories == categories) {
			to[found - 1].end += PAGE;
			continue;
		}
		if (found == max)
			break;
		to[found++] = (struct gd_pagemap_region){ addr, addr + PAGE, categories };
	}
	*ret_used = i;
	return found;
}

static ssize_t read_entries(int fd, enum gd_pagemap_ask ask, uint64_t dirty, uint64_t start,
                            uint64_t end, struct gd_pagemap_region *to, size_t max,
                            uint64_t *ret_walked, struct gd_error *err)
{
	uint64_t entries[512];
	size_t found = 0;
	while (start < end) {
		size_t n = (size_t)((end - start) / PAGE);
		n = n < 512 ? n : 512;
		ssize_t r = pread(fd, entries, n * 8, (off_t)(start / PAGE * 8));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return gd_fail_errno(err, -errno, "pagemap of 0x%" PRIx64, start);
		/* Behind the end of user space. */
		if (r < 8)
			break;
		size_t used;
		size_t got = gd_pagemap_parse(entries, (size_t)r / 8, start, ask, dirty, to + found,
		                              max - found, &used);
		/* Where two buffers meet. */
		if (found > 0 && got > 0 && to[found - 1].end == to[found].start &&
		    to[found - 1].categories == to[found].categories) {
			to[found - 1].end = to[found].end;
			got--;
			memmove(to + found, to + found + 1, got * sizeof(*to));
		}
		found += got;
		start += used * PAGE;
		if (used < (size_t)r / 8) {
			*ret_walked = start;
			return (ssize_t)found;
		}
	}
	*ret_walked = end;
	return (ssize_t)found;
}

ssize_t gd_pagemap_read(const struct gd_pagemap *pagemap, enum gd_pagemap_ask ask, uint64_t dirty,
                        const struct gd_pagemap_span *span, struct gd_pagemap_region *to, size_t max,
                        uint64_t *ret_walked, struct gd_error *err)
{
	if (pagemap->scan)
		return scan(pagemap->fd, ask, dirty, span, to, max, ret_walked, err);
	if (ask == GD_PAGEMAP_PROTECT || ask == GD_PAGEMAP_HUGE)
		return gd_fail(err, -ENOTSUP, "this kernel has no PAGEMAP_SCAN");
	return read_entries(pagemap->fd, ask, dirty, span->start, span->end, to, max, ret_walked,
	                    err);
}

ssize_t gd_pagemap_changed(const struct gd_pagemap *pagemap, const struct gd_pagemap_span *span,
                           struct gd_pagemap_region *to, size_t max)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = SCAN_CHECK_WPASYNC,
		.start = span->start,
		.end = span->end,
		.vec = (uint64_t)(uintptr_t)to,
		.vec_len = max,
		.category_mask = GD_PAGE_WRITTEN,
		.return_mask = GD_PAGE_WRITTEN,
	};
	int n = ioctl(pagemap->fd, SCAN, &arg);
	return n < 0 ? -errno : n;
}

bool gd_pagemap_any(const struct gd_pagemap *pagemap, uint64_t start, uint64_t end)
{
	struct gd_pagemap_region one;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)&one,
		.vec_len = 1,
		.max_pages = 1,
		.category_anyof_mask = GD_PAGE_PRESENT | GD_PAGE_SWAPPED,
		.return_mask = GD_PAGE_PRESENT,
	};
	return ioctl(pagemap->fd, SCAN, &arg) > 0;
}

/* ---- spans ----------------------------------------------------------------------------------- */

/* What lies between tracked mappings is looked at in pieces. */
#define TRACKED_GAP_MAX (UINT64_C(64) << 20)

/* Appends a mapping to a span that has begun; false when it must be one of its own. */
static bool grow(const struct gd_pagemap *pagemap, struct gd_pagemap_span *span,
                 const struct gd_pagemap_span *map)
{
	bool begun = span->end != 0;
	if (begun && (map->anonymous != span->anonymous || map->tracked != span->tracked))
		return false;
	/* Nothing is between them that a scan would find, but entries are read of what is not mapped, too. */
	if (begun && !pagemap->scan && map->start != span->end)
		return false;
	if (begun && map->tracked && map->start - span->end > TRACKED_GAP_MAX)
		return false;
	if (!begun)
		*span = *map;
	span->end = map->end;
	return true;
}

struct gd_pagemap_span gd_pagemap_next_span(const struct gd_pagemap *pagemap,
                                            const struct gd_maps *maps, size_t *i)
{
	struct gd_pagemap_span span = { 0 };
	for (; *i < maps->n; (*i)++) {
		const struct gd_map *map = &maps->list[*i];
		/* The last page is the kernel's vsyscall, which is in no page table of a process. */
		if (map->end > INT64_MAX)
			continue;
		struct gd_pagemap_span one = {
			map->start, map->end,
			map->inode == 0 && !map->shared && strncmp(map->path, "[v", 2) != 0, false,
		};
		if (!grow(pagemap, &span, &one))
			break;
	}
	return span;
}

static const char *take_hex(const char *p, const char *end, uint64_t *ret)
{
	uint64_t v = 0;
	for (; p < end; p++) {
		unsigned digit = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0')
		               : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10 : 16;
		if (digit > 15)
			break;
		v = v << 4 | digit;
	}
	*ret = v;
	return p;
}

/* Behind the next blank. */
static const char *next_word(const char *p, const char *end)
{
	const char *blank = p < end ? memchr(p, ' ', (size_t)(end - p)) : NULL;
	return blank != NULL ? blank + 1 : end;
}

static bool take_line(const char *p, const char *end, struct gd_pagemap_span *ret)
{
	p = take_hex(p, end, &ret->start);
	p = take_hex(p < end ? p + 1 : end, end, &ret->end);
	const char *rights = next_word(p, end);
	const char *inode = next_word(next_word(next_word(rights, end), end), end);
	if (end - rights < 4 || inode == end || ret->start >= ret->end)
		return false;
	const char *path = next_word(inode, end);
	while (path < end && *path == ' ')
		path++;
	ret->anonymous = rights[3] == 'p' && *inode == '0' &&
	                 (end - path < 2 || memcmp(path, "[v", 2) != 0);
	return true;
}

bool gd_pagemap_next_span_of_text(const struct gd_pagemap *pagemap, const char **text,
                                  const char *end, gd_pagemap_tracked_fn is_tracked,
                                  const void *arg, struct gd_pagemap_span *ret)
{
	*ret = (struct gd_pagemap_span){ 0 };
	while (*text < end) {
		struct gd_pagemap_span one = { 0 };
		const char *newline = memchr(*text, '\n', (size_t)(end - *text));
		const char *line_end = newline != NULL ? newline : end;
		bool good = take_line(*text, line_end, &one) && one.end <= INT64_MAX;
		one.tracked = good && one.anonymous && is_tracked != NULL &&
		              is_tracked(arg, one.start);
		if (good && !grow(pagemap, ret, &one))
			break;
		*text = newline != NULL ? newline + 1 : end;
	}
	return ret->end != 0;
}
