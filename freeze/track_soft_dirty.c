/*
 * Dirty pages by the kernel's soft-dirty bits (CONFIG_MEM_SOFT_DIRTY): nothing is injected at all.
 *
 * There is no way to ask for the bits and clear them in one step while the target runs: what is
 * written between the two would be lost.  So they are cleared once, before the only round; what was written
 * since is read in the stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/precopy.h"

static int clear_bits(struct gd_freeze_work *work, struct gd_error *err)
{
	char path[sizeof(work->target->via) + 16];
	(void)snprintf(path, sizeof(path), "%sclear_refs", work->target->via);
	GD_CLOSE int fd = openat(work->target->fds.proc_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "clear_refs");
	return write(fd, "4", 1) == 1 ? 0 : gd_fail_errno(err, -errno, "clear_refs");
}

int gd_freeze_precopy_soft_dirty(struct gd_freeze_work *work, struct gd_error *err)
{
	static const struct gd_precopy_tracker tracker = {
		.name = "soft-dirty",
		.dirty = GD_PAGE_SOFT_DIRTY,
		.ask = GD_PAGEMAP_OWN,
		.max_rounds = 1,
	};
	if (!work->plan->facts.kernel_soft_dirty)
		return gd_fail(err, -ENOTSUP, "this kernel keeps no soft-dirty bits");
	int r = clear_bits(work, err);
	return r < 0 ? r : gd_precopy_run(work, &tracker, err);
}
