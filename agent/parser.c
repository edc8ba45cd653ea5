#include "agent/parser.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/ask.h"
#include "agent/packer_sink.h"
#include "agent/parser_faults.h"
#include "agent/parser_ranges.h"
#include "agent/ranges.h"
#include "agent/request.h"
#include "agent/role.h"
#include "agent/subject.h"
#include "archive/snapshot.h"
#include "base/cleanup.h"
#include "base/message.h"

#define PAGE 4096
#define BESIDE 64 /* the second word of a shared page */
#define STOPPED 128

struct parser {
	const struct gd_parser_options *options;
	const volatile sig_atomic_t *cancelled, *over;
	const volatile int64_t *stopped_ns;
	volatile uint64_t *progress;
	struct gd_access *access; /* the target's */
	struct gd_target *target;
	struct gd_go *go;
	struct gd_error go_error;
	struct gd_image *image; /* NULL until one is ordered; then it is what `target` reads */
};

/* ---- what is shared ------------------------------------------------------------------------- */

int gd_parser_shared_init(struct gd_parser_shared *ret, struct gd_error *err)
{
	int fd = memfd_create("godiag-cancelled", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "memfd_create");
	void *cancelled = MAP_FAILED;
	if (ftruncate(fd, PAGE) == 0)
		cancelled = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* From here on whoever maps it maps it for reading (5.1). */
	if (cancelled == MAP_FAILED || progress == MAP_FAILED ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0) {
		int r = gd_fail_errno(err, -errno, "a shared page");
		if (cancelled != MAP_FAILED)
			(void)munmap(cancelled, PAGE);
		if (progress != MAP_FAILED)
			(void)munmap(progress, PAGE);
		(void)close(fd);
		return r;
	}
	*ret = (struct gd_parser_shared){
		.cancelled = cancelled,
		.over = (void *)((char *)cancelled + BESIDE),
		.stopped_ns = (void *)((char *)cancelled + STOPPED),
		.cancelled_fd = fd,
		.progress = progress,
		.window_progress = (void *)((char *)progress + BESIDE),
		.cancelled_page = cancelled,
		.progress_page = progress,
	};
	return 0;
}

void gd_parser_shared_deinit(struct gd_parser_shared *shared)
{
	if (shared->cancelled_page != NULL)
		(void)munmap(shared->cancelled_page, PAGE);
	if (shared->progress_page != NULL)
		(void)munmap(shared->progress_page, PAGE);
	if (shared->cancelled_fd >= 0)
		(void)close(shared->cancelled_fd);
	*shared = GD_PARSER_SHARED_INIT;
}

/* In the parser: the writable mapping it was forked with goes, a readable one takes its place. */
static int take_shared(struct parser *p)
{
	const struct gd_parser_shared *shared = p->options->shared;
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, shared->cancelled_fd, 0);
	if (page == MAP_FAILED || munmap(shared->cancelled_page, PAGE) < 0)
		return -errno;
	(void)close(shared->cancelled_fd);
	p->cancelled = page;
	p->over = (const void *)((char *)page + BESIDE);
	p->stopped_ns = (const void *)((char *)page + STOPPED);
	p->progress = shared->progress;
	return 0;
}

/* ---- a memory that shows it is being read --------------------------------------------------- */

static volatile uint64_t *reads_progress;
static const struct gd_memory_ops *live_ops;

static ssize_t counted_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	(*reads_progress)++;
	return live_ops->read(memory, addr, to, len);
}

static void count_reads(struct parser *p)
{
	static struct gd_memory_ops counted;
	if (p->target->memory == NULL)
		return;
	live_ops = p->target->memory->ops;
	reads_progress = p->progress;
	counted = *live_ops;
	counted.read = counted_read;
	p->target->memory->ops = &counted;
}

/* ---- the first one -------------------------------------------------------------------------- */

static int open_target(struct parser *p, struct gd_error *err)
{
	const struct gd_target *given = p->options->target;
	const struct gd_target_fds fds = { .pid_fd = given->fds.pid_fd, .proc_fd = -1,
		                           .mem_fd = given->fds.mem_fd,
		                           .exe_fd = given->fds.exe_fd };
	int r = gd_ask_create(p->options->fd, p->progress, &p->access, err);
	return r < 0 ? r : gd_target_open_access(&fds, p->access, given->pid, given->uid,
	                                         &p->target, err);
}

static void copy(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from != NULL ? from : "");
}

static int tell_subject(struct parser *p)
{
	static struct gd_request_subject told;
	struct gd_snapshot s = { .pid = p->target->pid };
	if (p->options->level < GD_PARSER_NO_SUBJECT)
		gd_subject_fill(p->target, &s);
	told.pid_in_container = s.pid_in_container;
	told.exe_deleted = s.exe_deleted;
	copy(told.exe, sizeof(told.exe), s.exe);
	copy(told.cmdline, sizeof(told.cmdline), s.cmdline);
	copy(told.build_id, sizeof(told.build_id), s.build_id);
	copy(told.container_id, sizeof(told.container_id), s.container_id);
	copy(told.pod_uid, sizeof(told.pod_uid), s.pod_uid);
	copy(told.cgroup, sizeof(told.cgroup), s.cgroup);
	gd_snapshot_deinit(&s);
	return gd_ask_tell(p->options->fd, GD_REQUEST_SUBJECT, &told, sizeof(told), NULL);
}

static void open_runtime(struct parser *p)
{
	GD_FREE pid_t *tids = NULL;
	size_t n_tids = 0;
	if (p->options->level != GD_PARSER_ALL) {
		p->go_error = p->options->why;
		return;
	}
	gd_parser_fault("opening", p->options->fd, -1);
	(void)gd_target_threads(p->target, &tids, &n_tids, NULL);
	int r = gd_go_open(p->target->memory, &p->target->maps, tids, n_tids, &p->go, &p->go_error);
	if (r == -ENOENT)
		(void)gd_fail(&p->go_error, r, "not a Go process");
}

static int tell_runtime(struct parser *p, enum gd_request how)
{
	struct gd_request_runtime told = { .why = p->go_error };
	if (p->go != NULL) {
		told.why = (struct gd_error){ 0 };
		copy(told.version, sizeof(told.version), p->go->build.version);
		copy(told.note, sizeof(told.note), p->go->note);
	}
	if (p->target->memory != NULL) {
		told.memory = p->target->memory->stats;
		p->target->memory->stats = (struct gd_memory_stats){ 0 };
	}
	return gd_ask_tell(p->options->fd, how, &told, sizeof(told), NULL);
}

/* ---- an image in the place of the process --------------------------------------------------- */

/* The process itself stands for the pages that are its files'. */
static int swap_memory(struct parser *p, struct gd_error *err)
{
	struct gd_memory *live = NULL;
	struct gd_memory *memory = NULL;
	struct gd_maps maps = { 0 };
	int r = gd_memory_live(p->target->fds.mem_fd, &live, err);
	if (r == 0)
		r = gd_memory_image(p->image, live, &memory, err);
	if (r == 0)
		r = gd_image_to_maps(p->image, &maps, err);
	if (r < 0)
		return r;
	gd_go_close(p->go);
	p->go = NULL;
	gd_memory_close(p->target->memory);
	gd_maps_deinit(&p->target->maps);
	p->target->memory = memory;
	p->target->maps = maps;
	count_reads(p);
	return 0;
}

static void open_runtime_of_image(struct parser *p)
{
	size_t n = 0;
	const struct gd_image_thread *threads = gd_image_threads(p->image, &n);
	GD_FREE pid_t *tids = calloc(n + 1, sizeof(*tids));
	if (p->options->level != GD_PARSER_ALL) {
		p->go_error = p->options->why;
		return;
	}
	for (size_t i = 0; tids != NULL && i < n; i++)
		tids[i] = threads[i].tid;
	p->go_error = (struct gd_error){ 0 };
	int r = gd_go_open(p->target->memory, &p->target->maps, tids, tids != NULL ? n : 0, &p->go,
	                   &p->go_error);
	if (r == -ENOENT)
		(void)gd_fail(&p->go_error, r, "not a Go process");
}

static int on_image(struct parser *p, int fds[2])
{
	struct gd_error err = { 0 };
	if (p->image != NULL)
		return -EBADMSG;
	int r = gd_image_open(fds[0], fds[1], &p->image, &err);
	fds[0] = fds[1] = -1; /* taken over */
	if (r == 0)
		r = swap_memory(p, &err);
	if (r < 0)
		return r;
	open_runtime_of_image(p);
	return tell_runtime(p, GD_REQUEST_IMAGED);
}

/* ---- one forked reader ---------------------------------------------------------------------- */

static void tell_begun(void *arg)
{
	const int *ask_fd = arg;
	const uint32_t nothing = 0;
	(void)gd_ask_tell(*ask_fd, GD_REQUEST_BEGUN, &nothing, sizeof(nothing), NULL);
}

static int collect(struct parser *p, const struct gd_collector *collector, int ask_fd, int sink_fd)
{
	struct gd_error err = { 0 };
	struct gd_collect c = { .target = p->target, .go = p->go, .go_error = p->go_error,
		                .go_failed = p->options->level != GD_PARSER_ALL,
		                .image = p->image, .cancelled = p->cancelled };
	if (collector->windowed)
		c.window = (struct gd_collect_window){
			.duration_ns = p->options->plan->window.duration_ns,
			.frequency_hz = p->options->plan->window.frequency_hz,
			.syscalls = p->options->plan->window.syscalls,
			.over = p->over,
			.stopped_ns = p->stopped_ns,
			.begun = tell_begun,
			.begun_arg = &ask_fd,
		};
	/* What there is only of an image needs no name that says so. */
	const char *prefix = p->image != NULL && !collector->of_image ? GD_PARSER_IMAGE_PREFIX : "";
	if (gd_packer_sink_create(sink_fd, prefix, p->progress, &c.sink, &err) < 0)
		return 1;
	gd_parser_fault(collector->name, ask_fd, sink_fd);
	struct gd_request_done done = { .outcome = collector->collect(&c) };
	done.torn_reads = c.torn_reads;
	done.torn_repeated = c.torn_repeated;
	if (p->target->memory != NULL)
		done.memory = p->target->memory->stats;
	gd_packer_sink_destroy(c.sink);
	return gd_ask_tell(ask_fd, GD_REQUEST_DONE, &done, sizeof(done), NULL) < 0 ? 1 : 0;
}

/* Ranges for the broker; none when there is no Go heap to tell them from. */
static int tell_ranges(struct parser *p, enum gd_order_work work, int ask_fd, int ranges_fd)
{
	struct gd_ranges ranges = GD_RANGES_INIT;
	struct gd_error err = { 0 };
	struct gd_collect c = { .target = p->target, .go = p->go, .go_error = p->go_error,
		                .image = p->image, .cancelled = p->cancelled };
	struct gd_request_done done = { .outcome = GD_OUTCOME_COMPLETE };
	int r = work == GD_WORK_SKIP ? gd_parser_ranges_skip(&c, &ranges, &err)
	                             : gd_parser_ranges_noscan(&c, &ranges, &err);
	if (r == 0)
		r = gd_ranges_put(ranges_fd, ranges.list, ranges.n, &err);
	if (r < 0)
		done.outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
	return gd_ask_tell(ask_fd, GD_REQUEST_DONE, &done, sizeof(done), NULL) < 0 ? 1 : 0;
}

static int work(struct parser *p, const struct gd_order_collect *order, const int fds[2])
{
	(void)close(p->options->fd);
	if (gd_role_tighten(NULL) < 0)
		return 1;
	const struct gd_collector *collector = order->work == GD_WORK_COLLECT ?
		p->options->plan->list[order->item].collector : NULL;
	/* What it does beside others must not look like their progress. */
	if (collector != NULL && collector->windowed)
		p->progress = reads_progress = p->options->shared->window_progress;
	gd_ask_rebind(p->access, fds[0], p->progress);
	return collector != NULL
	               ? collect(p, collector, fds[0], fds[1])
	               : tell_ranges(p, (enum gd_order_work)order->work, fds[0], fds[1]);
}

static _Noreturn void be_reader(struct parser *p, const struct gd_order_collect *order,
                                const int fds[2])
{
	/* Its parent is the broker, and may be gone already. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    (pid_t)syscall(SYS_getppid) != p->options->broker)
		_exit(1);
	_exit(work(p, order, fds));
}

static int on_collect(struct parser *p, const struct gd_order_collect *order, const int fds[2])
{
	if (order->work >= GD_WORKS ||
	    (order->work == GD_WORK_COLLECT &&
	     (order->item >= p->options->plan->n ||
	      p->options->plan->list[order->item].collector->apart)))
		return -EBADMSG;
	/* Not fork(): the child is to be the broker's. */
	long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return -errno;
	if (pid == 0)
		be_reader(p, order, fds);
	const struct gd_request_forked told = { .pid = (int32_t)pid };
	return gd_ask_tell(p->options->fd, GD_REQUEST_FORKED, &told, sizeof(told), NULL);
}

/* Until the broker closes its end. */
static int serve(struct parser *p)
{
	for (;;) {
		struct gd_message m = { .n_fds = 0 };
		struct gd_order_collect order;
		int r = gd_message_recv(p->options->fd, &m, &order, sizeof(order), NULL);
		if (r <= 0)
			return r < 0 ? 1 : 0;
		if (m.type == GD_ORDER_COLLECT && m.len == sizeof(order) && m.n_fds == 2)
			r = on_collect(p, &order, m.fds);
		else if (m.type == GD_ORDER_IMAGE && m.len == 0 && m.n_fds == 2)
			r = on_image(p, m.fds);
		else
			r = -EBADMSG;
		gd_message_close_fds(&m);
		if (r < 0)
			return 1;
	}
}

size_t gd_parser_keep(const struct gd_parser_options *options, int keep[GD_PARSER_FDS])
{
	const struct gd_target_fds *fds = &options->target->fds;
	const int all[] = { options->fd, fds->pid_fd, fds->mem_fd, fds->exe_fd,
		            options->shared->cancelled_fd };
	size_t n = 0;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] >= 0)
			keep[n++] = all[i];
	return n;
}

int gd_parser_run(void *arg)
{
	struct parser p = { .options = arg };
	struct gd_error err = { 0 };
	if (take_shared(&p) < 0 || open_target(&p, &err) < 0)
		return 1;
	count_reads(&p);
	if (tell_subject(&p) < 0)
		return 1;
	open_runtime(&p);
	if (tell_runtime(&p, GD_REQUEST_RUNTIME) < 0)
		return 1;
	/* Nothing is freed: the end of the process does that, and is near. */
	return serve(&p);
}
