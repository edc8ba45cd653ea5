/*
 * Stop and copy: no more than fits the pause.  Stacks of threads first, then pages as they come; what is
 * not read is lost, and the image says so.
 */
#include "freeze/work.h"

int gd_freeze_copy(struct gd_freeze_work *work, struct gd_error *err)
{
	int r = gd_freeze_prepare_stop(work, err);
	if (r < 0)
		return r;
	struct gd_stopped *s = work->stopped;
	s->dirty = 0;
	s->own = true;
	s->truncate = true;
	struct gd_stop_report report = { 0 };
	struct gd_stop_job job = { .run = gd_freeze_take, .arg = work };
	r = gd_freeze_stop(work, &job, &report, err);
	if (r < 0)
		return r;
	work->result->bytes_in_stop = s->bytes;
	work->result->bytes_read += s->bytes;
	return gd_stopped_apply(s, work->image, err);
}
