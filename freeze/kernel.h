#pragma once
/*
 * What this kernel can do for us, found by trying it on ourselves once per process.  Not for roles
 * in a jail: the calls are forbidden there.
 */
#include <stdbool.h>
#include <stdint.h>

struct gd_freeze_kernel {
	bool soft_dirty;   /* clear_refs and bit 55 of pagemap tell which pages were written */
	bool uffd_wp;      /* userfaultfd protects without anybody serving it (6.7) */
	bool pagemap_scan; /* PAGEMAP_SCAN finds and protects written pages at once (6.7) */
};

const struct gd_freeze_kernel *gd_freeze_kernel(void);

/*
 * Bytes of anonymous huge pages in [start, end) of the process whose /proc/PID/pagemap this is;
 * walked in slices, so that nobody in there waits for its memory map for longer than half a
 * millisecond.  0 without PAGEMAP_SCAN.
 */
uint64_t gd_freeze_kernel_huge(int pagemap_fd, uint64_t start, uint64_t end);
