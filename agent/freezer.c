/*
 * The happy path: fork into the role, plan, make the image, send its two descriptors, end.
 *
 * What goes wrong: the plan refuses (secret, zombie): no image and why; a method fails: the next one of
 * the ladder, inside freeze/; it dies or hangs: it is ended, the target runs on, and another one tidies.
 */
#include "agent/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/message.h"

#define TICK_MS 100
/* The largest image at a tenth of an ordinary disk's speed; the stop has a deadline of its own. */
#define SILENT_NS (INT64_C(120) * 1000000000)
#define SECOND INT64_C(1000000000)

enum { MESSAGE_IMAGE = 1 };

/* What both sides see; outlives the freezer. */
struct shared {
	volatile sig_atomic_t cancelled;
	volatile uint64_t bytes, of_bytes; /* progress */
	volatile uint64_t beats;
	bool begun; /* the target has been touched, or may have been */
	int code;
	struct gd_error error;
	struct gd_freeze_plan plan;
	struct gd_freeze_result result;
};

struct job {
	const struct gd_freezer_options *options;
	struct shared *shared;
	int fd;      /* the socket to the broker */
	int file_fd; /* of the image */
	bool tidy;
};

/* ---- in the freezer -------------------------------------------------------------------------- */

static void on_progress(void *arg, uint64_t bytes, uint64_t of_bytes)
{
	struct shared *shared = arg;
	shared->bytes = bytes;
	shared->of_bytes = of_bytes;
	shared->beats++;
}

/* The broker opened it without a look inside. */
static int look_inside(struct gd_target *target, struct gd_error *err)
{
	int r = gd_target_refresh_maps(target, err);
	if (r == 0 && target->memory == NULL)
		r = gd_memory_live(target->fds.mem_fd, &target->memory, err);
	return r;
}

static int make_image(const struct job *job, struct gd_freeze_options *options,
                      struct gd_error *err)
{
	struct shared *shared = job->shared;
	struct gd_image *image = NULL;
	shared->begun = true;
	int r = gd_freeze_run(job->options->target, &shared->plan, options, job->file_fd, &image,
	                      &shared->result, err);
	if (r < 0)
		return r;
	const int fds[2] = { gd_image_file_fd(image), gd_image_index_fd(image) };
	return gd_message_send(job->fd, MESSAGE_IMAGE, 0, NULL, 0, fds, 2, err);
}

static int work(const struct job *job, struct gd_error *err)
{
	const struct gd_freezer_options *o = job->options;
	struct gd_freeze_options options = *o->freeze;
	options.cancelled = &job->shared->cancelled;
	options.progress = on_progress;
	options.progress_arg = job->shared;
	int r = look_inside(o->target, err);
	if (r == 0 && job->tidy)
		return gd_freeze_tidy(o->target, err);
	if (r == 0)
		r = gd_freeze_plan(o->target, &options, o->output != NULL ? o->output->dir_fd : -1,
		                   &job->shared->plan, err);
	if (r < 0 || o->plan_only)
		return r;
	if (job->shared->plan.refused)
		return gd_fail(err, -EPERM, "%s", job->shared->plan.why);
	return make_image(job, &options, err);
}

static int run(void *arg)
{
	const struct job *job = arg;
	struct gd_error err = { 0 };
	int r = work(job, &err);
	job->shared->error = err;
	job->shared->code = r < 0 ? r : 1; /* 0: it died before it could say */
	return 0;
}

/* ---- the broker's end ------------------------------------------------------------------------ */

static void add_usage(struct gd_freezer_result *ret, const struct rusage *usage)
{
	uint64_t peak = (uint64_t)usage->ru_maxrss * 1024;
	ret->cpu_ns += usage->ru_utime.tv_sec * SECOND + usage->ru_utime.tv_usec * INT64_C(1000) +
	               usage->ru_stime.tv_sec * SECOND + usage->ru_stime.tv_usec * INT64_C(1000);
	if (peak > ret->peak_rss_bytes)
		ret->peak_rss_bytes = peak;
}

/* Passes the interrupt on and waits for the end; silence for too long ends it. */
static void attend(const struct gd_freezer_options *o, struct shared *shared, pid_t pid,
                   int pid_fd, struct gd_freezer_result *ret)
{
	struct pollfd end = { .fd = pid_fd, .events = POLLIN };
	struct rusage usage;
	uint64_t seen = 0;
	int64_t since = gd_clock_monotonic_ns();
	while (poll(&end, 1, TICK_MS) <= 0) {
		int64_t now = gd_clock_monotonic_ns();
		if (o->cancelled != NULL && *o->cancelled != 0)
			shared->cancelled = 1;
		if (shared->beats != seen) {
			seen = shared->beats;
			since = now;
			if (o->progress != NULL)
				o->progress(o->progress_arg, shared->bytes, shared->of_bytes);
		}
		if (now - since > SILENT_NS)
			(void)kill(pid, SIGKILL);
	}
	if (wait4(pid, NULL, 0, &usage) == pid)
		add_usage(ret, &usage);
}

static int fork_it(struct job *job, struct gd_freezer_result *ret, struct gd_error *err)
{
	const struct gd_freezer_options *o = job->options;
	const struct gd_target_fds *fds = &o->target->fds;
	const int keep[] = { job->fd,      job->file_fd, fds->pid_fd, fds->proc_fd, fds->mem_fd,
		             fds->exe_fd, o->output != NULL ? o->output->dir_fd : -1 };
	int used[sizeof(keep) / sizeof(keep[0])];
	size_t n = 0;
	pid_t pid;
	GD_CLOSE int pid_fd = -1;
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (keep[i] >= 0)
			used[n++] = keep[i];
	int r = gd_role_fork(GD_ROLE_FREEZER, used, n, run, job, &pid, &pid_fd, err);
	if (r == 0)
		attend(o, job->shared, pid, pid_fd, ret);
	return r;
}

static void tidy(const struct gd_freezer_options *options, struct shared *shared,
                 struct gd_freezer_result *ret)
{
	struct gd_freezer_options again = *options;
	again.cancelled = NULL;
	struct job job = { .options = &again, .shared = shared, .fd = -1, .file_fd = -1,
		           .tidy = true };
	struct gd_error result = shared->error;
	int code = shared->code;
	(void)fork_it(&job, ret, NULL);
	shared->error = result;
	shared->code = code;
}

static int take_image(int fd, struct gd_freezer_result *ret, struct gd_error *err)
{
	struct gd_message m = { .n_fds = 0 };
	char nothing[1];
	int r = gd_message_recv(fd, &m, nothing, sizeof(nothing), err);
	if (r == 1 && m.type == MESSAGE_IMAGE && m.n_fds == 2) {
		ret->file_fd = m.fds[0];
		ret->index_fd = m.fds[1];
		return 0;
	}
	gd_message_close_fds(&m);
	return r < 0 ? r : gd_fail(err, -EBADMSG, "the freezer sent no image");
}

static int finish(const struct gd_freezer_options *o, struct shared *shared, int fd,
                  struct gd_freezer_result *ret, struct gd_error *err)
{
	if (shared->code == 0) {
		(void)gd_fail(err, -EIO, "the freezer ended before its time; the target runs");
		if (shared->begun)
			tidy(o, shared, ret);
		return -EIO;
	}
	ret->plan = shared->plan;
	ret->freeze = shared->result;
	if (shared->code < 0) {
		if (err != NULL)
			*err = shared->error;
		return shared->code;
	}
	return o->plan_only ? 0 : take_image(fd, ret, err);
}

int gd_freezer_run(const struct gd_freezer_options *o, struct gd_freezer_result *ret,
                   struct gd_error *err)
{
	GD_CLOSE int ours = -1;
	GD_CLOSE int its = -1;
	GD_CLOSE int file_fd = -1;
	int ends[2];
	*ret = GD_FREEZER_RESULT_INIT;
	int r = gd_message_pair(ends, err);
	if (r < 0)
		return r;
	ours = ends[0];
	its = ends[1];
	(void)fcntl(ours, F_SETFL, O_NONBLOCK);
	if (!o->plan_only) {
		file_fd = gd_output_scratch(o->output, err);
		if (file_fd < 0)
			return file_fd;
	}
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return gd_fail_errno(err, -errno, "freezer");
	struct job job = { .options = o, .shared = shared, .fd = its, .file_fd = file_fd };
	r = fork_it(&job, ret, err);
	if (r == 0)
		r = finish(o, shared, ours, ret, err);
	(void)munmap(shared, sizeof(*shared));
	return r;
}

void gd_freezer_result_deinit(struct gd_freezer_result *result)
{
	if (result->file_fd >= 0)
		(void)close(result->file_fd);
	if (result->index_fd >= 0)
		(void)close(result->index_fd);
	*result = GD_FREEZER_RESULT_INIT;
}
