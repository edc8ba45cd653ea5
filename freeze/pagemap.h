#pragma once
/*
 * Which pages a process has of its own: anonymous ones, and those of private file mappings that it has
 * written to.  Two ways with one answer: the PAGEMAP_SCAN ioctl (Linux 6.7), which skips what is not
 * there, and the entries of /proc/PID/pagemap, which know of zeros pages no more than that they are present.
 * Nothing here allocates; all of it may be used while the target stands still.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/maps.h"

/* As in the kernel's ABI (linux/fs.h from 6.7 on; Debian 12's headers are older). */
#define GD_PAGE_WPALLOWED (UINT64_C(1) << 0)
#define GD_PAGE_WRITTEN (UINT64_C(1) << 1) /* not write-protected by a userfaultfd */
#define GD_PAGE_FILE (UINT64_C(1) << 2)
#define GD_PAGE_PRESENT (UINT64_C(1) << 3)
#define GD_PAGE_SWAPPED (UINT64_C(1) << 4)
#define GD_PAGE_ZERO (UINT64_C(1) << 5)
#define GD_PAGE_HUGE (UINT64_C(1) << 6)
#define GD_PAGE_SOFT_DIRTY (UINT64_C(1) << 7)

/* Also the kernel's struct page_region. */
struct gd_pagemap_region {
	uint64_t start, end;
	uint64_t categories; /* of those asked for */
};

struct gd_pagemap {
	int fd;    /* /proc/PID/pagemap; stays the caller's */
	bool scan; /* PAGEMAP_SCAN works */
};

struct gd_pagemap gd_pagemap_of(int fd);

enum gd_pagemap_ask {
	GD_PAGEMAP_OWN,     /* pages with content of their own */
	GD_PAGEMAP_ANY,     /* everything that is present, for shared memory */
	GD_PAGEMAP_HUGE,    /* own, mapped by huge pages (scan only) */
	GD_PAGEMAP_PROTECT, /* own and WRITTEN, and write-protects them in the same step (scan only) */
};

/* A stretch of address space to ask about. */
struct gd_pagemap_span {
	uint64_t start, end;
	/* Only private anonymous mappings lie in it: then it is not asked of every single page whether it
	 * is a file's, which costs a cache miss each (20 ms per GiB instead of 1, measured). */
	bool anonymous;
	bool tracked; /* by a userfaultfd of ours, as far as is known */
};
typedef bool (*gd_pagemap_tracked_fn)(const void *arg, uint64_t addr);

/* As many mappings as can be asked about in one go, from list[*i] on, which is moved behind them. */
struct gd_pagemap_span gd_pagemap_next_span(const struct gd_pagemap *pagemap,
                                            const struct gd_maps *maps, size_t *i);
/* The same from the text of maps, without parsing all of it; false at its end.  is_tracked may be NULL. */
bool gd_pagemap_next_span_of_text(const struct gd_pagemap *pagemap, const char **text,
                                  const char *end, gd_pagemap_tracked_fn is_tracked,
                                  const void *arg, struct gd_pagemap_span *ret);

/*
 * Regions of the span in address order, each of pages alike in `dirty` (GD_PAGE_WRITTEN,
 * GD_PAGE_SOFT_DIRTY or 0).  Returns how many, at most max; *ret_walked says how far they reach (end when
 * that is all).  Without PAGEMAP_SCAN the range should be mapped: every page of it costs.
 */
ssize_t gd_pagemap_read(const struct gd_pagemap *pagemap, enum gd_pagemap_ask ask, uint64_t dirty,
                        const struct gd_pagemap_span *span, struct gd_pagemap_region *to, size_t max,
                        uint64_t *ret_walked, struct gd_error *err);

/*
 * The same from entries of /proc/PID/pagemap, the first of which is of the page at `start`.  Returns the
 * number of regions; *ret_used entries were looked at.
 */
size_t gd_pagemap_parse(const uint64_t *entries, size_t n, uint64_t start, enum gd_pagemap_ask ask,
                        uint64_t dirty, struct gd_pagemap_region *to, size_t max,
                        size_t *ret_used);

/*
 * What of a span was written since it was write-protected, or is not there: the one question that the
 * kernel answers without taking each entry apart.  *ret_walked as above; -EPERM: a mapping in it is not
 * write-protected by a userfaultfd, so nothing can be said (no words: it is no error).
 */
ssize_t gd_pagemap_changed(const struct gd_pagemap *pagemap, const struct gd_pagemap_span *span,
                           struct gd_pagemap_region *to, size_t max);
/* Is any page of it there?  Stops at the first one. */
bool gd_pagemap_any(const struct gd_pagemap *pagemap, uint64_t start, uint64_t end);
