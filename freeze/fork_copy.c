/*
 * A child of the target, made by an injected clone and never let run, holds still what the target goes on
 * changing.  The tracer holds the child, a reader (a third process) reads it, and tells the
 * tracer when it is done; then the child is killed and the target made to reap it.
 *
 * What a child does not have is read from the target in the pause: shared memory (its page tables are
 * not copied), MADV_DONTFORK, MADV_WIPEONFORK.  Copy on write costs the target memory, so the child is
 * what the kernel's OOM killer takes first, and it goes as soon as the target's group runs out of room.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "freeze/facts.h"
#include "freeze/faults.h"
#include "freeze/work.h"
#include "target/image_index.h"

/* At the slowest pace that makes sense, and never less than this. */
#define SLOWEST_BYTES_PER_S UINT64_C(20000000)
#define READ_NS_MIN INT64_C(10000000000)
/* Of the room there was at the start, what must stay. */
#define HEADROOM_KEPT_PCT 10

struct fork_shared {
	int32_t inner;     /* the child in the target's pid namespace */
	int result;        /* the reader's; 1: none yet */
	struct gd_error err;
	uint64_t bytes;
	uint64_t grown_bytes;
};

struct forking {
	struct gd_freeze_work *work;
	struct fork_shared *shared;
	int to_reader[2], to_tracer[2];
	int64_t until_ns;
};

/* ---- the reader ------------------------------------------------------------------------------ */

static int open_of(pid_t pid, const char *name, struct gd_error *err)
{
	char path[64];
	/* It is a tracee: its number cannot become somebody else's. */
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 ? fd : gd_fail_errno(err, -errno, "%s of the target's child", name);
}

struct watch {
	struct gd_freeze_work *work;
	uint64_t headroom; /* at the start */
	uint64_t looked_at_bytes;
	volatile sig_atomic_t *stop;
};

static volatile sig_atomic_t no_room;

/* Between two regions: is there room for what the target copies? */
static void look_at_headroom(void *arg, uint64_t bytes, uint64_t of_bytes)
{
	struct watch *watch = arg;
	const struct gd_freeze_options *options = watch->work->options;
	if (bytes - watch->looked_at_bytes >= (UINT64_C(16) << 20)) {
		struct gd_freeze_facts facts = { .memory_headroom_bytes = UINT64_MAX };
		gd_freeze_facts_cgroup(watch->work->target, &facts);
		watch->looked_at_bytes = bytes;
		if (watch->headroom != UINT64_MAX &&
		    facts.memory_headroom_bytes < watch->headroom / 100 * HEADROOM_KEPT_PCT)
			no_room = 1;
	}
	if (options->cancelled != NULL && *options->cancelled != 0)
		no_room = 1;
	if (options->progress != NULL)
		options->progress(options->progress_arg, bytes, of_bytes);
}

static int read_child(struct gd_freeze_work *work, pid_t child, uint64_t *bytes,
                      struct gd_error *err)
{
	GD_CLOSE int mem_fd = open_of(child, "mem", err);
	GD_CLOSE int pagemap_fd = mem_fd < 0 ? -1 : open_of(child, "pagemap", err);
	if (mem_fd < 0 || pagemap_fd < 0)
		return -ESRCH;
	struct watch watch = { .work = work, .headroom = work->plan->facts.memory_headroom_bytes };
	struct gd_freeze_options options = *work->options;
	options.progress = look_at_headroom;
	options.progress_arg = &watch;
	options.cancelled = &no_room;
	struct gd_freeze_work mine = *work;
	mine.options = &options;
	struct gd_pagemap pagemap = gd_pagemap_of(pagemap_fd);
	int64_t scan_ns;
	GD_MAPS struct gd_maps maps = { 0 };
	int r = gd_maps_parse(work->stopped->maps, work->stopped->maps_len, &maps, err);
	if (r == 0)
		r = gd_freeze_read_all(&mine, &maps, &pagemap, mem_fd, GD_PAGEMAP_OWN, bytes,
		                       &scan_ns, err);
	bool cancelled = work->options->cancelled != NULL && *work->options->cancelled != 0;
	if (r == -ECANCELED && !cancelled)
		return gd_fail(err, -ENOMEM, "the target ran out of room for what it changed");
	return r;
}

/* "Private_Dirty:  12 kB" */
static uint64_t kib_of(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	return line != NULL ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

/*
 * What the child cost the target's group: pages that it alone has by now, since the target has changed
 * its own, and its page tables.
 */
static uint64_t measure_growth(pid_t child)
{
	GD_BUF struct gd_buf rollup = GD_BUF_INIT(64 << 10);
	GD_BUF struct gd_buf status = GD_BUF_INIT(64 << 10);
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", child);
	if (gd_io_read_file_at(AT_FDCWD, path, &rollup, NULL) < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", child);
	(void)gd_io_read_file_at(AT_FDCWD, path, &status, NULL);
	return kib_of(gd_buf_str(&rollup), "Private_Clean:") +
	       kib_of(gd_buf_str(&rollup), "Private_Dirty:") +
	       kib_of(gd_buf_str(&status), "VmPTE:");
}

static _Noreturn void be_reader(struct forking *f, pid_t parent)
{
	struct fork_shared *shared = f->shared;
	int32_t child;
	(void)prctl(PR_SET_NAME, "godiag-reader");
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)close(f->to_reader[1]);
	(void)close(f->to_tracer[0]);
	if (getppid() != parent)
		_exit(1);
	/* End of file: the tracer has failed, and nothing is to be read. */
	if (read(f->to_reader[0], &child, sizeof(child)) != (ssize_t)sizeof(child))
		_exit(1);
	shared->result = read_child(f->work, child, &shared->bytes, &shared->err);
	shared->grown_bytes = measure_growth(child);
	_exit(write(f->to_tracer[1], "d", 1) == 1 ? 0 : 1);
}

/* ---- the tracer ------------------------------------------------------------------------------ */

static int make_child(struct gd_tracer *tracer, struct forking *f, pid_t *ret, struct gd_error *err)
{
	int r = gd_inject_begin(tracer, err);
	if (r < 0)
		return r;
	int32_t inner = 0;
	if (gd_freeze_asks_dumpable(f->work))
		r = gd_inject_ask_dumpable(tracer, err);
	if (r == 0)
		r = gd_inject_fork(tracer, ret, &inner, err);
	f->shared->inner = inner;
	int end = gd_inject_end(tracer, r == 0 ? err : NULL);
	return r < 0 ? r : end;
}

/* The kernel's first choice when memory runs out. */
static void expose_child(pid_t child)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", child);
	GD_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1000", 4);
}

static int fork_in_tracer(struct gd_tracer *tracer, void *arg, struct gd_error *err)
{
	struct forking *f = arg;
	struct gd_stopped *s = f->work->stopped;
	pid_t child = 0;
	int r = gd_stop_seize(tracer, false, err);
	if (r < 0)
		return r;
	s->began_ns = gd_clock_monotonic_ns();
	r = gd_stop_interrupt(tracer, s->max_pause_ns / 4, err);
	if (r == 0)
		r = gd_stopped_take_shape(tracer, s, err);
	if (r == 0)
		r = gd_stopped_take_unforked(s, err);
	if (r == 0)
		r = make_child(tracer, f, &child, err);
	gd_freeze_fault("forked");
	gd_stop_detach(tracer);
	if (child > 0)
		expose_child(child);
	int32_t number = child;
	if (r == 0 && write(f->to_reader[1], &number, sizeof(number)) != (ssize_t)sizeof(number))
		r = gd_fail_errno(err, -errno, "telling the reader");
	struct pollfd done = { .fd = f->to_tracer[0], .events = POLLIN };
	while (r == 0) {
		int64_t left_ms = (f->until_ns - gd_clock_monotonic_ns()) / 1000000;
		int n = left_ms > 0 ? poll(&done, 1, (int)left_ms) : 0;
		if (n == 0)
			r = gd_fail(err, -ETIMEDOUT, "its child was not read in time");
		if (n > 0)
			break;
	}
	if (child > 0)
		gd_inject_kill_child(tracer);
	return r;
}

/* ---- the parent ------------------------------------------------------------------------------ */

static int run_both(struct gd_freeze_work *work, struct forking *f, struct gd_error *err)
{
	pid_t parent = getpid();
	pid_t reader = fork();
	if (reader < 0)
		return gd_fail_errno(err, -errno, "fork of a reader");
	if (reader == 0)
		be_reader(f, parent);
	(void)close(f->to_tracer[1]);
	f->to_tracer[1] = -1;
	(void)close(f->to_reader[0]);
	f->to_reader[0] = -1;
	int64_t read_ns = (int64_t)((double)work->of_bytes * 1e9 / (double)SLOWEST_BYTES_PER_S);
	read_ns = read_ns > READ_NS_MIN ? read_ns : READ_NS_MIN;
	f->until_ns = gd_clock_monotonic_ns() + read_ns;
	int keep[] = { f->to_reader[1], f->to_tracer[0] };
	struct gd_stop_report report = { 0 };
	struct gd_stop_job job = {
		.run = fork_in_tracer,
		.arg = f,
		.keep = keep,
		.n_keep = 2,
		.deadline_ns = read_ns + INT64_C(5000000000),
	};
	int r = gd_freeze_stop(work, &job, &report, err);
	(void)close(f->to_reader[1]);
	f->to_reader[1] = -1;
	if (r < 0)
		(void)kill(reader, SIGKILL);
	while (waitpid(reader, NULL, 0) < 0 && errno == EINTR)
		;
	if (report.child_made) {
		struct gd_error why = { 0 };
		int32_t inner = report.child_pid != 0 ? report.child_pid : f->shared->inner;
		/* A tracer that died in the call could not say its number, if there is a child. */
		int reaped = inner > 0 ? gd_freeze_reap(work->target, inner, &why)
		                       : gd_freeze_tidy(work->target, &why);
		if (reaped < 0)
			gd_freeze_note(work->result, "a zombie was left in the target: %s",
			               why.msg);
	}
	if (r == 0 && f->shared->result != 0) {
		*err = f->shared->err;
		r = f->shared->result < 0 ? f->shared->result
		                          : gd_fail(err, -EIO, "its reader died");
	}
	return r;
}

static int put_unforked(struct gd_freeze_work *work, struct gd_error *err)
{
	const struct gd_stopped *s = work->stopped;
	const uint8_t *from = s->arena;
	int r = gd_stopped_apply_shape(s, work->image, err);
	for (size_t i = 0; r == 0 && i < s->n_items; i++) {
		r = gd_image_put(work->image, s->items[i].addr, from, s->items[i].n_pages, err);
		from += s->items[i].n_pages * GD_IMAGE_PAGE;
	}
	if (r == 0)
		r = gd_stopped_read_later(s, work->image, &work->result->bytes_read, err);
	return r;
}

static void close_all(struct forking *f)
{
	int *fds[] = { &f->to_reader[0], &f->to_reader[1], &f->to_tracer[0], &f->to_tracer[1] };
	for (size_t i = 0; i < 4; i++)
		if (*fds[i] >= 0)
			(void)close(*fds[i]);
}

int gd_freeze_fork(struct gd_freeze_work *work, struct gd_error *err)
{
	int r = gd_freeze_prepare_stop(work, err);
	if (r < 0)
		return r;
	struct forking f = { .work = work, .to_reader = { -1, -1 }, .to_tracer = { -1, -1 } };
	f.shared = mmap(NULL, sizeof(*f.shared), PROT_READ | PROT_WRITE,
	                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f.shared == MAP_FAILED)
		return gd_fail_errno(err, -errno, "shared memory");
	f.shared->result = 1;
	work->stopped->truncate = false;
	work->stopped->truncated = false;
	work->stopped->n_items = 0;
	work->stopped->bytes = 0;
	if (pipe2(f.to_reader, O_CLOEXEC) != 0 || pipe2(f.to_tracer, O_CLOEXEC) != 0)
		r = gd_fail_errno(err, -errno, "pipe");
	if (r == 0)
		r = run_both(work, &f, err);
	if (r == 0) {
		work->result->grown_bytes = f.shared->grown_bytes;
		work->result->bytes_in_stop = work->stopped->bytes;
		work->result->bytes_read += f.shared->bytes + work->stopped->bytes;
		r = put_unforked(work, err);
	}
	close_all(&f);
	(void)munmap(f.shared, sizeof(*f.shared));
	return r;
}
