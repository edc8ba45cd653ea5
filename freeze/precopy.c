#include "freeze/precopy.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

#define SMALL (UINT64_C(1) << 20)
#define PCT_OF_BEFORE 70
#define STOP_NS_PER_THREAD 25000

struct round {
	uint64_t bytes;
	int64_t scan_ns, took_ns;
};

bool gd_precopy_goes_on(unsigned round, unsigned max_rounds, uint64_t bytes, uint64_t before)
{
	if (round >= max_rounds || bytes < SMALL)
		return false;
	return round == 1 || bytes / 100 < before / 100 * PCT_OF_BEFORE / 100;
}

/*
 * Would the stop be too long?  Asked before there is one: `bytes` were written while the round before took
 * before_ns, so in the time of the last one as much in proportion.
 */
static int check_convergence(struct gd_freeze_work *work, const struct round *last,
                             int64_t before_ns, struct gd_error *err)
{
	double pace = before_ns > 0 ? (double)last->bytes / (double)before_ns : 0;
	double left = pace * (double)last->took_ns;
	int64_t pause_ns = last->scan_ns + (int64_t)(left * 1e9 / (double)work->bytes_per_s) +
	                   (int64_t)work->plan->facts.threads * STOP_NS_PER_THREAD;
	work->result->predicted_pause_ns = pause_ns;
	if (left > (double)GD_FREEZE_ARENA_MAX || pause_ns > work->options->max_pause_ns)
		return gd_fail(err, -E2BIG, "it writes faster than it can be read: %lld ms would "
		               "be needed", (long long)(pause_ns / 1000000));
	return 0;
}

static int rounds(struct gd_freeze_work *work, const struct gd_precopy_tracker *tracker,
                  struct gd_error *err)
{
	struct round last = { 0 };
	int64_t before_ns = 0;
	bool more = true;
	for (unsigned n = 1; more; n++) {
		uint64_t before = last.bytes;
		int64_t from = gd_clock_monotonic_ns();
		before_ns = last.took_ns;
		int r = gd_freeze_read_all(work, &work->wanted.maps, &work->pagemap,
		                       work->target->fds.mem_fd,
		                           tracker->ask, &last.bytes, &last.scan_ns, err);
		if (r < 0)
			return gd_error_wrap(err, r, "round %u", n);
		last.took_ns = gd_clock_monotonic_ns() - from;
		work->result->rounds++;
		more = gd_precopy_goes_on(n, tracker->max_rounds, last.bytes, before);
	}
	return work->result->rounds > 1 ? check_convergence(work, &last, before_ns, err) : 0;
}

int gd_precopy_run(struct gd_freeze_work *work, const struct gd_precopy_tracker *tracker,
                   struct gd_error *err)
{
	int r = gd_freeze_prepare_stop(work, err);
	if (r == 0)
		r = rounds(work, tracker, err);
	if (r < 0)
		return r;
	struct gd_stopped *s = work->stopped;
	s->dirty = tracker->dirty;
	s->own = true;
	s->truncate = false;
	struct gd_stop_report report = { 0 };
	struct gd_stop_job job = { .run = gd_freeze_take, .arg = work };
	r = gd_freeze_stop(work, &job, &report, err);
	if (r < 0)
		return r;
	gd_freeze_note(work->result, "the stop: %lld us until all stood, %lld us to scan %zu regions, "
	               "%lld us to read", (long long)(s->stood_ns / 1000),
	               (long long)(s->scan_ns / 1000), s->n_regions, (long long)(s->read_ns / 1000));
	work->result->bytes_in_stop = s->bytes;
	work->result->bytes_read += s->bytes;
	r = gd_stopped_apply(s, work->image, err);
	if (r == 0)
		r = gd_stopped_read_later(s, work->image, &work->result->bytes_read, err);
	return r;
}
