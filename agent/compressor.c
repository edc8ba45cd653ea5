#include "agent/compressor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/compressor_process.h"
#include "agent/role.h"
#include "archive/reader.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/message.h"

#define TICK_MS 50
/* Without a chunk that moves: a disk that hangs, or we do. */
#define SILENT_NS (INT64_C(60) * 1000000000)
#define SECOND INT64_C(1000000000)

static void add_usage(struct gd_compressor_result *ret, const struct rusage *usage)
{
	ret->cpu_ns = usage->ru_utime.tv_sec * SECOND + usage->ru_utime.tv_usec * INT64_C(1000) +
	              usage->ru_stime.tv_sec * SECOND + usage->ru_stime.tv_usec * INT64_C(1000);
	ret->peak_rss_bytes = (uint64_t)usage->ru_maxrss * 1024;
}

/* Until it has ended.  The packer may want scratch files meanwhile. */
static int attend(const struct gd_compressor_options *o, struct gd_compressor_shared *shared,
                  struct gd_packer_order *packer, pid_t pid, int pid_fd, struct rusage *usage)
{
	uint64_t seen = 0;
	int status = 0;
	int64_t since = gd_clock_monotonic_ns();
	for (;;) {
		struct pollfd at[2] = { { .fd = pid_fd, .events = POLLIN },
			                { .fd = packer->scratch_fd, .events = POLLIN } };
		(void)poll(at, 2, TICK_MS);
		if ((at[1].revents & POLLIN) != 0)
			gd_packer_order_scratch(packer);
		if (at[0].revents != 0)
			break;
		if (o->cancelled != NULL && *o->cancelled != 0)
			shared->cancelled = 1;
		int64_t now = gd_clock_monotonic_ns();
		if (shared->progress != seen) {
			seen = shared->progress;
			since = now;
			if (o->progress != NULL)
				o->progress(o->progress_arg, shared->bytes, shared->of_bytes);
		}
		if (now - since > SILENT_NS)
			(void)kill(pid, SIGKILL);
	}
	(void)wait4(pid, &status, 0, usage);
	return status;
}

static struct gd_outcome outcome_of(const struct gd_compressor_shared *shared, int status)
{
	if (shared->done)
		return shared->result.outcome;
	if (WIFSIGNALED(status))
		return gd_outcome(GD_GRADE_FAILED, -EIO, "the compressor was killed by signal %d",
		                  WTERMSIG(status));
	return gd_outcome(GD_GRADE_FAILED, -EIO, "the compressor ended with status %d",
	                  WEXITSTATUS(status));
}

static int fork_it(struct gd_compressor_process *process, pid_t *ret_pid, int *ret_pid_fd,
                   struct gd_error *err)
{
	const struct gd_compressor_options *o = process->options;
	const int all[] = { o->file_fd, o->index_fd, process->sink_fd, o->base_fd,
		            o->target->fds.exe_fd };
	int keep[sizeof(all) / sizeof(all[0])];
	size_t n = 0;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] >= 0)
			keep[n++] = all[i];
	return gd_role_fork(GD_ROLE_COMPRESSOR, keep, n, gd_compressor_process_run, process,
	                    ret_pid, ret_pid_fd, err);
}

static struct gd_outcome run(struct gd_compressor_process *process,
                             struct gd_packer_order *packer, const int record[2],
                             struct gd_compressor_result *ret)
{
	struct gd_packer_order_ended ended = { .bytes = 0 };
	struct gd_error err = { 0 };
	struct rusage usage = { 0 };
	GD_CLOSE int pid_fd = -1;
	pid_t pid = 0;
	process->sink_fd = record[1];
	int r = gd_packer_order_begin(packer, "core", true, record[0], &err);
	if (r == 0)
		r = fork_it(process, &pid, &pid_fd, &err);
	(void)close(record[0]);
	(void)close(record[1]);
	struct gd_outcome outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	if (r == 0) {
		int status = attend(process->options, process->shared, packer, pid, pid_fd, &usage);
		outcome = outcome_of(process->shared, status);
		*ret = process->shared->result;
	}
	struct gd_error left_open = outcome.why;
	if (left_open.code == 0)
		(void)gd_fail(&left_open, -EBADMSG, "left open by the compressor");
	r = gd_packer_order_ended(packer, &left_open, &ended, &err);
	if (r < 0)
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	else if (ended.fault.code != 0)
		outcome = gd_outcome_worse(gd_outcome_of(GD_GRADE_FAILED, &ended.fault), outcome);
	ret->bytes = ended.bytes;
	add_usage(ret, &usage);
	return outcome;
}

void gd_compressor_run(const struct gd_compressor_options *options,
                       struct gd_packer_order *packer, struct gd_compressor_result *ret)
{
	struct gd_error err = { 0 };
	int record[2];
	int64_t began = gd_clock_monotonic_ns();
	gd_reader_prepare(); /* the base */
	*ret = (struct gd_compressor_result){ .bytes = 0 };
	struct gd_compressor_shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		ret->outcome = gd_outcome(GD_GRADE_FAILED, -errno, "a shared page: %m");
		return;
	}
	struct gd_compressor_process process = { .options = options, .shared = shared };
	struct gd_outcome outcome;
	if (gd_message_pair(record, &err) < 0) {
		outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	} else {
		/* The packer's end: it answers, and waits for nobody who does not take the answer. */
		(void)fcntl(record[0], F_SETFL, O_NONBLOCK);
		outcome = run(&process, packer, record, ret);
	}
	ret->outcome = outcome;
	ret->wall_ns = gd_clock_monotonic_ns() - began;
	(void)munmap(shared, sizeof(*shared));
}
