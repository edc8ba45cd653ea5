/*
 * The last resort, which stops nothing: memory is read while it changes.  No registers, and no two pages
 * need be of the same instant; every mapping says so.
 */
#include "freeze/work.h"

#include "base/clock.h"
#include "target/image_index.h"

static int set_maps(struct gd_freeze_work *work, struct gd_error *err)
{
	int r = gd_image_set_maps(work->image, &work->wanted.maps, err);
	if (r < 0)
		return r;
	size_t n;
	struct gd_image_map *maps = gd_image_maps_mut(work->image, &n);
	for (size_t i = 0; i < n; i++) {
		gd_stopped_judge_map(&work->wanted, &maps[i],
		                     gd_image_path(work->image, &maps[i]));
		if (maps[i].why == GD_IMAGE_KEPT || maps[i].why == GD_IMAGE_LATER)
			maps[i].why = GD_IMAGE_TORN;
	}
	return 0;
}

int gd_freeze_torn(struct gd_freeze_work *work, struct gd_error *err)
{
	uint64_t bytes;
	int64_t scan_ns;
	int64_t from = gd_clock_monotonic_ns();
	int r = gd_freeze_prepare_stop(work, err);
	if (r == 0)
		r = gd_freeze_read_all(work, &work->wanted.maps, &work->pagemap,
		                       work->target->fds.mem_fd,
		                       GD_PAGEMAP_OWN, &bytes, &scan_ns, err);
	for (size_t i = 0; i < work->wanted.n_shared; i++)
		work->wanted.shared[i].in_pause = false;
	if (r == 0)
		r = gd_stopped_read_later(work->stopped, work->image, &work->result->bytes_read,
		                          err);
	/* An address space that is gone shows nothing, which looks like one that is empty. */
	if (r == 0)
		r = gd_target_check(work->target, err);
	if (r < 0)
		return r;
	work->result->pause_ns = 0;
	work->result->threads = work->plan->facts.threads;
	work->result->instant_ns = from + (gd_clock_monotonic_ns() - from) / 2;
	return set_maps(work, err);
}
