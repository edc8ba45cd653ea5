#include "freeze/kernel.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/pagemap.h"

#define PAGE 4096u
#define SOFT_DIRTY_BIT 55 /* Documentation/admin-guide/mm/pagemap.rst */

/* Younger than the headers of Debian 12 (linux/userfaultfd.h of 6.7). */
#define FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC (UINT64_C(1) << 15)
#define USER_MODE_ONLY 1

#define SLICE (UINT64_C(256) << 20)
#define REGIONS 64

static volatile char *new_page(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return NULL;
	*(volatile char *)page = 1;
	return page;
}

static bool is_soft_dirty(int pagemap_fd, const volatile char *page)
{
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)page / PAGE * sizeof(entry));
	return pread(pagemap_fd, &entry, sizeof(entry), at) == (ssize_t)sizeof(entry) &&
	       (entry >> SOFT_DIRTY_BIT & 1) != 0;
}

static bool try_soft_dirty(int pagemap_fd, volatile char *page)
{
	/* Without the feature no page is ever marked, so nothing needs to be cleared to see it. */
	if (!is_soft_dirty(pagemap_fd, page))
		return false;
	GD_CLOSE int clear_fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (clear_fd < 0 || write(clear_fd, "4", 1) != 1 || is_soft_dirty(pagemap_fd, page))
		return false;
	*page = 2;
	return is_soft_dirty(pagemap_fd, page);
}

/* 1: the page was written since the last time, 0: not; and protects it anew.  Negative: not possible. */
static ssize_t look(int pagemap_fd, const volatile char *page)
{
	const struct gd_pagemap pagemap = gd_pagemap_of(pagemap_fd);
	const struct gd_pagemap_span span = { (uintptr_t)page, (uintptr_t)page + PAGE, true, false };
	struct gd_pagemap_region found;
	uint64_t walked;
	return gd_pagemap_read(&pagemap, GD_PAGEMAP_PROTECT, GD_PAGE_WRITTEN, &span, &found, 1, &walked,
	                       NULL);
}

static void try_uffd(int pagemap_fd, volatile char *page, struct gd_freeze_kernel *ret)
{
	GD_CLOSE int fd =
		(int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | FEATURE_WP_UNPOPULATED |
		            FEATURE_WP_ASYNC,
	};
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)page, .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0)
		return;
	ret->uffd_wp = true;
	if (look(pagemap_fd, page) != 1 || look(pagemap_fd, page) != 0)
		return;
	*page = 3;
	ret->pagemap_scan = look(pagemap_fd, page) == 1;
}

const struct gd_freeze_kernel *gd_freeze_kernel(void)
{
	static struct gd_freeze_kernel kernel;
	static bool tried;
	if (tried)
		return &kernel;
	tried = true;
	GD_CLOSE int pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char *page = new_page();
	if (pagemap_fd >= 0 && page != NULL) {
		kernel.soft_dirty = try_soft_dirty(pagemap_fd, page);
		try_uffd(pagemap_fd, page, &kernel);
	}
	if (page != NULL)
		(void)munmap((void *)(uintptr_t)page, PAGE);
	return &kernel;
}

/* One slice, in as many calls as it has gaps between its huge pages. */
static uint64_t count_huge(const struct gd_pagemap *pagemap, uint64_t start, uint64_t end)
{
	struct gd_pagemap_region found[REGIONS];
	uint64_t bytes = 0;
	while (start < end) {
		const struct gd_pagemap_span span = { start, end, true, false };
		uint64_t walked = start;
		ssize_t n = gd_pagemap_read(pagemap, GD_PAGEMAP_HUGE, 0, &span, found, REGIONS, &walked,
		                            NULL);
		for (ssize_t i = 0; i < n; i++)
			bytes += found[i].end - found[i].start;
		if (n < 0 || walked <= start)
			break;
		start = walked;
	}
	return bytes;
}

uint64_t gd_freeze_kernel_huge(int pagemap_fd, uint64_t start, uint64_t end)
{
	const struct gd_pagemap pagemap = gd_pagemap_of(pagemap_fd);
	uint64_t bytes = 0;
	if (!pagemap.scan)
		return 0;
	for (uint64_t at = start; at < end; at += SLICE)
		bytes += count_huge(&pagemap, at, end - at < SLICE ? end : at + SLICE);
	return bytes;
}
