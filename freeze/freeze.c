/*
 * One run: what is needed is found out and reserved, then the methods of the plan are tried in order
 * until one makes an image.  A method that fails leaves the target as it was.
 */
#include "freeze/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "freeze/work.h"
#include "target/image_index.h"

#define USER_END UINT64_C(0x7ffffffff000)
/* 40 bytes each. */
#define REGIONS_MAX 1000000u
/* Kept free on top of what is estimated: a tenth, and this. */
#define SPACE_MARGIN (UINT64_C(64) << 20)

void gd_freeze_note(struct gd_freeze_result *result, const char *fmt, ...)
{
	if (result->n_notes == GD_FREEZE_NOTES)
		return;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(result->notes[result->n_notes++], sizeof(result->notes[0]), fmt, args);
	va_end(args);
}

bool gd_freeze_cancelled(const struct gd_freeze_work *work)
{
	return work->options->cancelled != NULL && *work->options->cancelled != 0;
}

/* ---- reading what runs ----------------------------------------------------------------------- */

struct reading {
	struct gd_freeze_work *work;
	int mem_fd;       /* -1: only counted, or reserved */
	bool reserve;
	uint64_t bytes;
	uint64_t chunks, last_chunk;
	int64_t read_ns;
};

static void count(struct reading *reading, uint64_t start, uint64_t end)
{
	uint64_t first = start / GD_IMAGE_CHUNK;
	uint64_t last = (end - 1) / GD_IMAGE_CHUNK;
	reading->chunks += last - first + (first != reading->last_chunk || reading->chunks == 0);
	reading->last_chunk = last;
	reading->bytes += end - start;
}

static int read_some(struct reading *reading, uint64_t start, uint64_t end, struct gd_error *err)
{
	struct gd_freeze_work *work = reading->work;
	while (start < end) {
		if (gd_freeze_cancelled(work))
			return gd_fail(err, -ECANCELED, "interrupted");
		size_t len = end - start < GD_FREEZE_BUFFER ? (size_t)(end - start)
		                                            : GD_FREEZE_BUFFER;
		int64_t from = gd_clock_monotonic_ns();
		ssize_t n = pread(reading->mem_fd, work->buffer, len, (off_t)start);
		reading->read_ns += gd_clock_monotonic_ns() - from;
		if (n < 0 && errno == EINTR)
			continue;
		/* The address space has no users any more. */
		if (n == 0)
			return gd_fail(err, -ESRCH, "it has exited");
		size_t pages = n > 0 ? (size_t)n / GD_IMAGE_PAGE : 0;
		int r = pages > 0 ? gd_image_put(work->image, start, work->buffer, pages, err) : 0;
		if (r < 0)
			return r;
		reading->bytes += pages * GD_IMAGE_PAGE;
		work->result->bytes_read += pages * GD_IMAGE_PAGE;
		start += (pages > 0 ? pages : 1) * GD_IMAGE_PAGE;
	}
	if (work->options->progress != NULL)
		work->options->progress(work->options->progress_arg, work->result->bytes_read,
		                        work->of_bytes);
	return 0;
}

/* A region without what is to be skipped. */
static int read_wanted(struct reading *reading, uint64_t start, uint64_t end, struct gd_error *err)
{
	const struct gd_wanted *w = &reading->work->wanted;
	int r = 0;
	while (r == 0 && start < end) {
		const struct gd_wanted_range *skip = gd_wanted_find(w->skip, w->n_skip, start);
		bool meets = skip != NULL && skip->start < end;
		uint64_t until = meets ? skip->start : end;
		if (start < until && reading->reserve)
			r = gd_image_reserve(reading->work->image, start, until, err);
		else if (start < until && reading->mem_fd < 0)
			count(reading, start, until);
		else if (start < until)
			r = read_some(reading, start, until, err);
		start = meets ? skip->end : end;
	}
	return r;
}

static int read_span(struct reading *reading, const struct gd_pagemap *pagemap,
                     enum gd_pagemap_ask ask, struct gd_pagemap_span span,
                     struct gd_pagemap_region *regions, int64_t *scan_ns, struct gd_error *err)
{
	while (span.start < span.end) {
		int64_t from = gd_clock_monotonic_ns();
		ssize_t n = gd_pagemap_read(pagemap, ask, 0, &span, regions, GD_FREEZE_REGIONS,
		                            &span.start, err);
		*scan_ns += gd_clock_monotonic_ns() - from;
		if (n < 0)
			return (int)n;
		for (ssize_t i = 0; i < n; i++) {
			int r = read_wanted(reading, regions[i].start, regions[i].end, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int read_spans(struct reading *reading, const struct gd_maps *maps,
                      const struct gd_pagemap *pagemap, enum gd_pagemap_ask ask, int64_t *scan_ns,
                      struct gd_error *err)
{
	GD_FREE struct gd_pagemap_region *regions = calloc(GD_FREEZE_REGIONS, sizeof(*regions));
	if (regions == NULL)
		return gd_fail_errno(err, -ENOMEM, "regions of a scan");
	*scan_ns = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < maps->n;) {
		struct gd_pagemap_span span = gd_pagemap_next_span(pagemap, maps, &i);
		r = read_span(reading, pagemap, ask, span, regions, scan_ns, err);
	}
	return r;
}

int gd_freeze_read_all(struct gd_freeze_work *work, const struct gd_maps *maps,
                       const struct gd_pagemap *pagemap, int mem_fd, enum gd_pagemap_ask ask,
                       uint64_t *ret_bytes, int64_t *ret_scan_ns, struct gd_error *err)
{
	struct reading reading = { .work = work, .mem_fd = mem_fd };
	int64_t scan_ns;
	int r = read_spans(&reading, maps, pagemap, ask, &scan_ns, err);
	if (r < 0)
		return r;
	/* Little says nothing about how fast much can be read. */
	if (reading.bytes >= GD_FREEZE_BUFFER && reading.read_ns > 0)
		work->bytes_per_s =
			(uint64_t)((double)reading.bytes * 1e9 / (double)reading.read_ns);
	*ret_bytes = reading.bytes;
	*ret_scan_ns = scan_ns;
	return 0;
}

/* ---- before anything is touched -------------------------------------------------------------- */

static int open_files(struct gd_freeze_work *work, struct gd_error *err)
{
	char path[sizeof(work->target->via) + 16];
	(void)snprintf(path, sizeof(path), "%spagemap", work->target->via);
	int r = gd_target_open_file(work->target, path, &work->pagemap_fd, err);
	(void)snprintf(path, sizeof(path), "%smaps", work->target->via);
	if (r == 0)
		r = gd_target_open_file(work->target, path, &work->maps_fd, err);
	if (r == 0)
		work->pagemap = gd_pagemap_of(work->pagemap_fd);
	return r;
}

static int check_space(int file_fd, uint64_t bytes, struct gd_error *err)
{
	struct statvfs fs;
	if (fstatvfs(file_fd, &fs) != 0)
		return gd_fail_errno(err, -errno, "where the image goes");
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t needed = bytes + bytes / 10 + SPACE_MARGIN;
	if (free_bytes >= needed)
		return 0;
	return gd_fail(err, -ENOSPC, "an image of %" PRIu64 " MiB does not fit into %" PRIu64
	               " MiB", needed >> 20, free_bytes >> 20);
}

/*
 * What the pages need that are there now is taken from the file system, so that nobody else can have
 * it meanwhile; for what comes to it, and where nothing can be reserved, check_space must do.
 */
static int reserve_space(struct gd_freeze_work *work, struct gd_error *err)
{
	struct reading reading = { .work = work, .mem_fd = -1, .reserve = true };
	int64_t scan_ns;
	int r = read_spans(&reading, &work->wanted.maps, &work->pagemap, GD_PAGEMAP_OWN, &scan_ns,
	                   err);
	if (r == 0)
		r = gd_image_reserve_end(work->image, err);
	return r < 0 ? r : 0;
}

static int make_image(struct gd_freeze_work *work, int file_fd, struct gd_error *err)
{
	struct reading counted = { .work = work, .mem_fd = -1 };
	int64_t scan_ns;
	int r = read_spans(&counted, &work->wanted.maps, &work->pagemap, GD_PAGEMAP_OWN,
	                   &scan_ns, err);
	work->of_bytes = counted.bytes;
	if (r == 0)
		r = check_space(file_fd, counted.bytes + work->wanted.shared_bytes, err);
	if (r < 0) {
		(void)close(file_fd);
		return r;
	}
	/* It may grow while it is read. */
	struct gd_image_limits limits = {
		.chunks = counted.chunks * 2 + work->wanted.shared_bytes / GD_IMAGE_CHUNK + 16384,
		.maps = work->wanted.maps.n * 2 + 4096,
		.path_bytes = UINT64_C(64) << 20,
		.threads = work->plan->facts.threads * 2 + 1024,
	};
	limits.maps = limits.maps < GD_MAPS_MAX ? limits.maps : GD_MAPS_MAX;
	r = gd_image_create(file_fd, &limits, &work->image, err);
	return r == 0 ? reserve_space(work, err) : r;
}

/*
 * Room for what a scan may find, all of it touched before the stop.  Runs of eight pages are already short for a
 * Go heap, and above the maximum we would take more memory than we may, however large the process.
 */
static size_t count_regions(uint64_t bytes)
{
	uint64_t n = bytes / GD_IMAGE_PAGE / 8 + 65536;
	return n < REGIONS_MAX ? (size_t)n : REGIONS_MAX;
}

int gd_freeze_prepare_stop(struct gd_freeze_work *work, struct gd_error *err)
{
	if (work->stopped == NULL) {
		struct gd_stopped_needs needs = {
			.threads = (size_t)work->plan->facts.threads * 5 / 4 + 64,
			.maps_bytes = work->wanted.maps.n * 160 + (1 << 20),
			.regions = count_regions(work->of_bytes),
			.arena_bytes = GD_FREEZE_ARENA_MAX,
		};
		int r = gd_stopped_create(&needs, &work->stopped, err);
		if (r < 0)
			return r;
	}
	struct gd_stopped *s = work->stopped;
	s->pagemap = work->pagemap;
	s->maps_fd = work->maps_fd;
	s->mem_fd = work->target->fds.mem_fd;
	s->wanted = &work->wanted;
	s->image = work->image;
	/* The rest is for what is not foreseen: at the end of it the guard ends the stop. */
	s->max_pause_ns = work->options->max_pause_ns / 5 * 4;
	s->bytes_per_s = work->bytes_per_s;
	s->thin = work->options->scope == GD_FREEZE_THIN;
	return 0;
}

/* ---- the stop -------------------------------------------------------------------------------- */

/* On a busy machine the stop would last as long as we wait for a processor. */
static int go_first(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	(void)tracer;
	(void)arg;
	(void)err;
	(void)setpriority(PRIO_PROCESS, 0, -20);
	return 0;
}

int gd_freeze_take(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	struct gd_freeze_work *work = arg;
	struct gd_stopped *s = work->stopped;
	int r = gd_stop_seize(tracer, false, err);
	if (r < 0)
		return r;
	s->began_ns = gd_clock_monotonic_ns();
	r = gd_stop_interrupt(tracer, work->options->max_pause_ns / 2, err);
	/* Not before: a target's thread may have to run on this very processor to stop. */
	struct sched_param below_guard = { .sched_priority = 1 };
	(void)sched_setscheduler(0, SCHED_FIFO, &below_guard);
	if (r == 0)
		r = gd_stopped_take(tracer, s, err);
	gd_stop_detach(tracer);
	return r;
}

int gd_freeze_stop(struct gd_freeze_work *work, const struct gd_stop_job *wanted,
                   struct gd_stop_report *report, struct gd_error *err)
{
	struct gd_freeze_result *result = work->result;
	int keep[GD_WANTED_SHARED_MAX + 8];
	size_t n = 0;
	keep[n++] = work->pagemap_fd;
	keep[n++] = work->maps_fd;
	for (size_t i = 0; i < wanted->n_keep; i++)
		keep[n++] = wanted->keep[i];
	for (size_t i = 0; i < work->wanted.n_shared; i++)
		if (work->wanted.shared[i].fd >= 0)
			keep[n++] = work->wanted.shared[i].fd;
	struct gd_stop_job job = *wanted;
	job.target = work->target;
	job.keep = keep;
	job.n_keep = n;
	job.prepare = go_first;
	job.stop_deadline_ns = work->options->max_pause_ns;
	if (job.deadline_ns == 0)
		job.deadline_ns = 2 * INT64_C(1000000000) + work->options->max_pause_ns;
	int r = gd_stop_run(&job, report, err);
	if (report->interrupt_ns != 0) {
		int64_t pause_ns = report->resume_ns - report->interrupt_ns;
		result->stopped = true;
		if (report->resume_ns != 0 && pause_ns > result->pause_ns)
			result->pause_ns = pause_ns;
	}
	if (r == 0) {
		result->instant_ns = report->interrupt_ns +
		                     (report->resume_ns - report->interrupt_ns) / 2;
		result->threads = report->threads;
		result->threads_not_stopped = report->not_stopped;
	}
	return r;
}

/* ---- the ladder ------------------------------------------------------------------------------ */

static int (*const methods[GD_FREEZE_METHODS])(struct gd_freeze_work *, struct gd_error *) = {
	[GD_FREEZE_SOFT_DIRTY] = gd_freeze_precopy_soft_dirty,
	[GD_FREEZE_UFFD] = gd_freeze_precopy_uffd,
	[GD_FREEZE_FORK] = gd_freeze_fork,
	[GD_FREEZE_COPY] = gd_freeze_copy,
	[GD_FREEZE_TORN] = gd_freeze_torn,
};

/* After these the next method would fare no better. */
static bool ends_it(int r)
{
	return r == -ENOSPC || r == -ESRCH || r == -ESTALE || r == -ECANCELED || r == -EDQUOT ||
	       r == -EACCES;
}

static int climb_down(struct gd_freeze_work *work, struct gd_error *err)
{
	struct gd_error why = { 0 };
	int r = gd_fail(&why, -ENOTSUP, "no method is possible: %s", work->plan->why);
	for (unsigned m = work->plan->chosen; m < GD_FREEZE_METHODS; m++) {
		const struct gd_freeze_estimate *estimate = &work->plan->methods[m];
		if (!estimate->possible || work->options->methods_off[m])
			continue;
		if (gd_freeze_cancelled(work))
			return gd_fail(err, -ECANCELED, "interrupted");
		work->result->method = (enum gd_freeze_method)m;
		work->result->predicted_pause_ns = estimate->pause_ns;
		r = methods[m](work, &why);
		if (r == 0)
			return 0;
		struct gd_error gone = { 0 };
		if (gd_target_check(work->target, &gone) == -ESRCH)
			return gd_fail(err, -ESRCH, "%s", gone.msg);
		if (ends_it(r))
			break;
		gd_freeze_note(work->result, "%s was tried: %s",
		               gd_freeze_method_name((enum gd_freeze_method)m), why.msg);
		/* What it read may be of any time; its room goes with it. */
		gd_image_drop(work->image, 0, USER_END);
		int full = reserve_space(work, err);
		if (full < 0)
			return full;
	}
	return gd_fail(err, r, "%s", why.msg);
}

static struct gd_outcome judge(const struct gd_freeze_work *work)
{
	const struct gd_freeze_result *result = work->result;
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	if (result->method == GD_FREEZE_TORN)
		outcome = gd_outcome_worse(outcome, gd_outcome(GD_GRADE_PARTIAL, 0, "read while it "
		                           "ran: not of one instant, no registers"));
	if (work->stopped != NULL && work->stopped->truncated &&
	    result->method == GD_FREEZE_COPY)
		outcome = gd_outcome_worse(outcome, gd_outcome(GD_GRADE_PARTIAL, 0, "only what "
		                           "fits a pause of %lld ms was read",
		                           (long long)(work->options->max_pause_ns / 1000000)));
	if (result->threads_not_stopped > 0)
		outcome = gd_outcome_worse(outcome, gd_outcome(GD_GRADE_PARTIAL, 0, "%" PRIu64
		                           " threads did not stop in time",
		                           result->threads_not_stopped));
	for (size_t i = 0; i < work->wanted.n_shared; i++)
		if (result->method != GD_FREEZE_TORN && !work->wanted.shared[i].in_pause)
			outcome = gd_outcome_worse(outcome, gd_outcome(GD_GRADE_PARTIAL, 0,
			                           "shared memory was read after the instant"));
	return outcome;
}

static int run(struct gd_freeze_work *work, int file_fd, struct gd_error *err)
{
	int r = open_files(work, err);
	if (r == 0)
		r = gd_wanted_read(work->target, work->options, &work->wanted, err);
	work->buffer = malloc(GD_FREEZE_BUFFER);
	if (r == 0 && work->buffer == NULL)
		r = gd_fail_errno(err, -ENOMEM, "buffer of a freeze");
	if (r < 0) {
		(void)close(file_fd);
		return r;
	}
	r = make_image(work, file_fd, err);
	if (r == 0) {
		gd_freeze_note_huge(work);
		r = climb_down(work, err);
		gd_freeze_give_back_huge(work);
	}
	if (r == 0)
		r = gd_image_finish(work->image, err);
	if (r == 0)
		work->result->outcome = judge(work);
	return r;
}

int gd_freeze_run(struct gd_target *target, const struct gd_freeze_plan *plan,
                  const struct gd_freeze_options *options, int file_fd, struct gd_image **ret,
                  struct gd_freeze_result *result, struct gd_error *err)
{
	struct gd_freeze_work work = {
		.target = target,
		.plan = plan,
		.options = options,
		.result = result,
		.pagemap_fd = -1,
		.maps_fd = -1,
		.bytes_per_s = GD_FREEZE_BYTES_PER_S,
	};
	*result = (struct gd_freeze_result){ .started_ns = gd_clock_monotonic_ns() };
	int r;
	if (plan->refused || target->fds.mem_fd < 0) {
		(void)close(file_fd);
		r = plan->refused ? gd_fail(err, -EPERM, "%s", plan->why)
		                  : gd_fail(err, target->mem_error.code, "%s",
		                            target->mem_error.msg);
	} else {
		r = run(&work, file_fd, err);
	}
	result->ended_ns = gd_clock_monotonic_ns();
	gd_stopped_destroy(work.stopped);
	gd_wanted_deinit(&work.wanted);
	free(work.buffer);
	free(work.huge);
	if (work.pagemap_fd >= 0)
		(void)close(work.pagemap_fd);
	if (work.maps_fd >= 0)
		(void)close(work.maps_fd);
	if (r < 0) {
		gd_image_destroy(work.image);
		result->outcome = gd_outcome(GD_GRADE_FAILED, r, "%s",
		                             err != NULL ? err->msg : "?");
		return r;
	}
	*ret = work.image;
	return 0;
}
