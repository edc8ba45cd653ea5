/*
 * Huge pages that were split by write-protection or by copy on write are asked back from outside:
 * process_madvise(MADV_COLLAPSE), Linux 6.1; on older kernels khugepaged does it when it gets there.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "freeze/work.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define HUGE (UINT64_C(2) << 20)

#define REGIONS_MAX 16384u

void gd_freeze_note_huge(struct gd_freeze_work *work)
{
	const struct gd_wanted *w = &work->wanted;
	work->result->huge_before_bytes = w->huge_bytes;
	if (!work->options->keep_huge || w->n_huge == 0 || !work->pagemap.scan)
		return;
	work->huge = calloc(REGIONS_MAX, sizeof(*work->huge));
	for (size_t i = 0; work->huge != NULL && i < w->n_huge; i++) {
		uint64_t walked;
		struct gd_pagemap_span span = { w->huge[i].start, w->huge[i].end, false, false };
		ssize_t n = gd_pagemap_read(&work->pagemap, GD_PAGEMAP_HUGE, 0, &span,
		                            work->huge + work->n_huge, REGIONS_MAX - work->n_huge,
		                            &walked, NULL);
		if (n < 0 || work->n_huge + (size_t)n == REGIONS_MAX)
			break;
		work->n_huge += (size_t)n;
	}
}

/* False when there is no point in going on. */
static bool collapse(struct gd_freeze_work *work, uint64_t at)
{
	struct iovec range = { .iov_len = HUGE };
	range.iov_base = (void *)(uintptr_t)at;
	long n = syscall(SYS_process_madvise, work->target->fds.pid_fd, &range, 1, MADV_COLLAPSE, 0);
	return n >= 0 || (errno != ESRCH && errno != EPERM && errno != ENOSYS);
}

void gd_freeze_give_back_huge(struct gd_freeze_work *work)
{
	/* Exactly what was huge: a range with holes would be filled, and the target grow. */
	bool on = true;
	for (size_t i = 0; on && i < work->n_huge; i++)
		for (uint64_t at = (work->huge[i].start + HUGE - 1) & ~(HUGE - 1);
		     on && at + HUGE <= work->huge[i].end; at += HUGE)
			on = collapse(work, at);
	if (work->wanted.huge_bytes > 0)
		work->result->huge_after_bytes = gd_wanted_huge_bytes(work->target);
}
