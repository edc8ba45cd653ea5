/*
 * Images against the truth: while the target stands still for us, a hook in the stop looks at each of its
 * pages in a way of its own (entries of pagemap, one read per page) and keeps a hash; afterwards the
 * image must hold exactly that.
 */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/freeze.h"
#include "freeze/stop.h"
#include "tests/freeze_victim.h"
#include "target/memory.h"

#define PAGE ((uint64_t)4096)
#define TRUTH_MAX (1u << 20)

void gd_freeze_die(const char *step);

/* ---- the truth ------------------------------------------------------------------------------- */

static struct truth {
	pid_t pid;
	size_t n, looked;
	struct { uint64_t addr, hash; } pages[TRUTH_MAX];
} *truth;

static uint64_t hash_page(const uint8_t *page)
{
	uint64_t h = 1;
	for (size_t i = 0; i < PAGE; i += 8) {
		uint64_t word;
		memcpy(&word, page + i, 8);
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

static int open_of(pid_t pid, const char *name)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void look_at_range(int pagemap_fd, int mem_fd, uint64_t start, uint64_t end)
{
	uint8_t page[4096];
	for (; start < end; start += PAGE) {
		static uint64_t entries[512];
		if (start % (512 * PAGE) == 0 || entries[511] != start / (512 * PAGE)) {
			uint64_t base = start / (512 * PAGE) * 512;
			memset(entries, 0, sizeof(entries));
			(void)!pread(pagemap_fd, entries, sizeof(entries) - 8, (off_t)(base * 8));
			entries[511] = start / (512 * PAGE);
		}
		uint64_t entry = entries[start / PAGE % 512];
		if (start / PAGE % 512 == 511)
			(void)!pread(pagemap_fd, &entry, 8, (off_t)(start / PAGE * 8));
		/* Present or swapped, and nobody else's. */
		if (entry >> 62 == 0 || (entry >> 61 & 1) != 0 ||
		    pread(mem_fd, page, sizeof(page), (off_t)start) != (ssize_t)sizeof(page) ||
		    truth->n == TRUTH_MAX)
			continue;
		truth->pages[truth->n].addr = start;
		truth->pages[truth->n++].hash = hash_page(page);
	}
}

/* The step at which the tracer is killed; NULL: at none. */
static const char *dies_at;

/* Called by the tracer, everything stands. */
void gd_freeze_die(const char *step)
{
	if (dies_at != NULL && strcmp(step, dies_at) == 0)
		(void)raise(SIGKILL);
	if (truth == NULL || truth->pid == 0 ||
	    (strcmp(step, "taken") != 0 && strcmp(step, "forked") != 0))
		return;
	int pagemap_fd = open_of(truth->pid, "pagemap");
	int mem_fd = open_of(truth->pid, "mem");
	int maps_fd = open_of(truth->pid, "maps");
	FILE *maps = maps_fd >= 0 ? fdopen(maps_fd, "r") : NULL;
	char line[512];
	truth->n = 0;
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long start, end;
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && strstr(line, "[v") == NULL)
			look_at_range(pagemap_fd, mem_fd, start, end);
	}
	if (maps != NULL)
		(void)fclose(maps);
	(void)close(mem_fd);
	(void)close(pagemap_fd);
	truth->looked++;
}

static void watch(pid_t pid)
{
	if (truth == NULL) {
		void *p = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE,
		               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		assert_true(p != MAP_FAILED);
		truth = p;
	}
	truth->pid = pid;
	truth->n = 0;
	truth->looked = 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

struct outcome {
	struct gd_image *image;
	struct gd_freeze_plan plan;
	struct gd_freeze_result result;
	struct gd_error err;
	int r;
};

static void cleanup_outcome(struct outcome *o)
{
	gd_image_destroy(o->image);
}
#define OUTCOME GD_CLEANUP(cleanup_outcome)

/* By exactly that method, whatever the plan thinks of it; GD_FREEZE_METHODS: as planned. */
static void run_at(pid_t pid, enum gd_freeze_method method, const struct gd_freeze_options *options,
                   int file_fd, struct outcome *o)
{
	GD_TARGET struct gd_target *target = freeze_open(pid);
	struct gd_freeze_options with = *options;
	assert_ok(gd_freeze_plan(target, &with, -1, &o->plan, &o->err), &o->err);
	for (unsigned m = 0; method != GD_FREEZE_METHODS && m < GD_FREEZE_METHODS; m++)
		o->plan.methods[m].possible = m == method;
	if (method != GD_FREEZE_METHODS)
		o->plan.chosen = method;
	o->r = gd_freeze_run(target, &o->plan, &with, file_fd, &o->image, &o->result, &o->err);
	freeze_await_untraced(pid);
	assert_int_equal(freeze_children(pid), 0);
}

static int image_file(void)
{
	int fd = open(test_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* Why that method cannot be had here; "" when it can. */
static const char *what_lacks(enum gd_freeze_method method, pid_t pid)
{
	static char why[300];
	GD_TARGET struct gd_target *target = freeze_open(pid);
	struct gd_freeze_options options = { .max_pause_ns = 50000000 };
	struct gd_freeze_plan plan;
	struct gd_error err = { 0 };
	assert_ok(gd_freeze_plan(target, &options, -1, &plan, &err), &err);
	if (method == GD_FREEZE_UFFD &&
	    (!plan.facts.kernel_uffd_wp || !plan.facts.kernel_pagemap_scan))
		return "this kernel has no asynchronous write-protection by userfaultfd";
	if (method == GD_FREEZE_SOFT_DIRTY && !plan.facts.kernel_soft_dirty)
		return "this kernel keeps no soft-dirty bits";
	if ((method != GD_FREEZE_UFFD && method != GD_FREEZE_FORK) ||
	    gd_inject_possible(target, &err) == 0)
		return "";
	(void)snprintf(why, sizeof(why), "no injection here: %s", err.msg);
	return why;
}

static void skip_without(enum gd_freeze_method method, pid_t pid)
{
	const char *why = what_lacks(method, pid);
	if (why[0] != '\0')
		test_skip("%s", why);
}

/* All that the truth knows is in the image, and of private memory nothing else. */
static void assert_true_image(const struct gd_image *image)
{
	GD_MEMORY struct gd_memory *memory = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_memory_image(image, NULL, &memory, &err), &err);
	assert_true(truth->looked > 0 && truth->n > 0 && truth->n < TRUTH_MAX);
	size_t n_maps;
	const struct gd_image_map *map = gd_image_maps(image, &n_maps);
	const struct gd_image_map *end = map + n_maps;
	size_t differ = 0;
	for (size_t i = 0; i < truth->n; i++) {
		uint64_t addr = truth->pages[i].addr;
		uint8_t page[4096];
		while (map < end && map->end <= addr)
			map++;
		if (map == end || map->start > addr)
			fail_msg("0x%lx is in no mapping of the image", (unsigned long)addr);
		if (map->why == GD_IMAGE_DONTDUMP || map->why == GD_IMAGE_DEVICE)
			continue;
		int r = gd_memory_read(memory, addr, page, sizeof(page), &err);
		if (r == 0 && hash_page(page) == truth->pages[i].hash)
			continue;
		if (differ++ < 5)
			print_message("0x%lx in %lx-%lx %s: %s\n", (unsigned long)addr,
			              (unsigned long)map->start, (unsigned long)map->end,
			              gd_image_path(image, map), r < 0 ? err.msg : "differs");
	}
	assert_int_equal(differ, 0);
	/* The other way round. */
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &n);
	size_t at = 0;
	map = gd_image_maps(image, &n_maps);
	for (size_t i = 0; i < n * GD_IMAGE_CHUNK_PAGES; i++) {
		const struct gd_image_chunk *chunk = &chunks[i / GD_IMAGE_CHUNK_PAGES];
		size_t page = i % GD_IMAGE_CHUNK_PAGES;
		uint64_t addr = chunk->addr + page * PAGE;
		if ((chunk->pages[page / 64] >> page % 64 & 1) == 0)
			continue;
		while (at < truth->n && truth->pages[at].addr < addr)
			at++;
		while (map < end && map->end <= addr)
			map++;
		bool there = at < truth->n && truth->pages[at].addr == addr;
		bool shared = map < end && (map->shared || map->start > addr ||
		              gd_image_path(image, map)[0] == '[');
		if (!there && !shared)
			differ++;
	}
	assert_int_equal(differ, 0);
}

static void assert_threads(const struct outcome *o)
{
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(o->image, &n);
	assert_true(n > 0 && n == o->result.threads);
	size_t maps_n;
	const struct gd_image_map *maps = gd_image_maps(o->image, &maps_n);
	for (size_t i = 0; i < n; i++) {
		bool found = !threads[i].stopped;
		for (size_t k = 0; k < maps_n && !found; k++)
			found = threads[i].regs.rip >= maps[k].start &&
			        threads[i].regs.rip < maps[k].end && maps[k].exec;
		assert_true(found);
		assert_true(threads[i].xstate_bytes >= 512);
	}
}

/* The methods of one instant, each at 0, 50 and 300 MB/s, with small pages and huge ones. */
static void holds_the_truth(enum gd_freeze_method method, const char *mib, const char *rate,
                            const char *pages)
{
	struct victim *v = victim_start("pages", mib, rate, pages, "wild", NULL);
	skip_without(method, v->pid);
	/* The hook makes the pause much longer than it is. */
	struct gd_freeze_options options = { .max_pause_ns = INT64_C(20000000000) };
	const char *more = getenv("FREEZE_ROUNDS");
	for (long i = more != NULL ? strtol(more, NULL, 10) : 2; i > 0; i--) {
		OUTCOME struct outcome o = { 0 };
		watch(v->pid);
		run_at(v->pid, method, &options, image_file(), &o);
		truth->pid = 0;
		/* It has one round only: on a slow machine that is as long as writing all there is. */
		if (method == GD_FREEZE_SOFT_DIRTY && o.r == -E2BIG)
			test_skip("soft-dirty: %.200s", o.err.msg);
		assert_ok(o.r, &o.err);
		assert_int_equal(o.result.method, method);
		assert_true(o.result.stopped && o.result.pause_ns > 0);
		/* A child has page tables at least. */
		assert_true((o.result.grown_bytes > 0) == (method == GD_FREEZE_FORK));
		assert_true(o.result.grown_bytes < UINT64_C(80) << 20);
		assert_true_image(o.image);
		assert_threads(&o);
	}
	victim_stop(v);
}

#define each_rate(name, method)                                                                    \
	static void name##_is_true_to_a_calm_target(void **state)                                  \
	{                                                                                          \
		(void)state;                                                                       \
		holds_the_truth(method, "48", "0", "4k");                                          \
	}                                                                                          \
	static void name##_is_true_at_50_mb_per_second(void **state)                               \
	{                                                                                          \
		(void)state;                                                                       \
		holds_the_truth(method, "48", "50", "4k");                                         \
	}                                                                                          \
	static void name##_is_true_at_300_mb_per_second_on_huge_pages(void **state)                \
	{                                                                                          \
		(void)state;                                                                       \
		holds_the_truth(method, "48", "300", "thp");                                       \
	}
each_rate(precopy_by_uffd, GD_FREEZE_UFFD)
each_rate(precopy_by_soft_dirty, GD_FREEZE_SOFT_DIRTY)
each_rate(a_fork, GD_FREEZE_FORK)

static void a_stop_and_copy_that_fits_is_true(void **state)
{
	(void)state;
	holds_the_truth(GD_FREEZE_COPY, "16", "50", "4k");
}

/* ---- odd mappings ---------------------------------------------------------------------------- */

static uint64_t said(const struct victim *v, const char *name)
{
	const char *line = strstr(v->said.data, name);
	assert_non_null(line);
	return strtoull(line + strlen(name) + 1, NULL, 16);
}

static int byte_at(struct gd_memory *memory, uint64_t addr)
{
	uint8_t byte;
	return gd_memory_read_some(memory, addr, &byte, 1) == 1 ? byte : -1;
}

static void odd_mappings_come_as_they_should(enum gd_freeze_method method)
{
	struct victim *v = victim_start("pages", "8", "0", "4k", "calm", NULL);
	skip_without(method, v->pid);
	struct gd_freeze_options options = { .max_pause_ns = 1000000000 };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, method, &options, image_file(), &o);
	assert_ok(o.r, &o.err);
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_image(o.image, NULL, &memory, NULL), NULL);
	assert_int_equal(byte_at(memory, said(v, "shared")), 's');
	/* The second half was never touched. */
	assert_int_equal(byte_at(memory, said(v, "shared") + 40 * PAGE), 0);
	assert_int_equal(byte_at(memory, said(v, "dontfork")), 'f');
	assert_int_equal(byte_at(memory, said(v, "wipeonfork")), 'w');
	assert_int_equal(byte_at(memory, said(v, "none")), 'n');
	assert_int_equal(byte_at(memory, said(v, "file") + PAGE), 'p');
	/* A page of the file nobody wrote to is the file's. */
	assert_int_equal(byte_at(memory, said(v, "file")), -1);
	assert_int_equal(byte_at(memory, said(v, "dontdump")), -1);
	size_t n;
	size_t dontdump = 0;
	const struct gd_image_map *maps = gd_image_maps(o.image, &n);
	for (size_t i = 0; i < n; i++)
		dontdump += maps[i].why == GD_IMAGE_DONTDUMP;
	assert_true(dontdump > 0);
	victim_stop(v);
}

static void odd_mappings_by_precopy(void **state)
{
	(void)state;
	odd_mappings_come_as_they_should(GD_FREEZE_UFFD);
}

static void odd_mappings_by_fork(void **state)
{
	(void)state;
	odd_mappings_come_as_they_should(GD_FREEZE_FORK);
}

static void odd_mappings_by_copy(void **state)
{
	(void)state;
	odd_mappings_come_as_they_should(GD_FREEZE_COPY);
}

static void odd_mappings_torn(void **state)
{
	(void)state;
	odd_mappings_come_as_they_should(GD_FREEZE_TORN);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void max_pause_0_stops_nothing(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "16", "50", "4k", "wild", NULL);
	struct gd_freeze_options options = { .max_pause_ns = 0 };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_METHODS, &options, image_file(), &o);
	assert_ok(o.r, &o.err);
	assert_int_equal(o.result.method, GD_FREEZE_TORN);
	assert_false(o.result.stopped);
	assert_int_equal(o.result.pause_ns, 0);
	assert_int_equal(o.result.outcome.grade, GD_GRADE_PARTIAL);
	size_t n;
	(void)gd_image_threads(o.image, &n);
	assert_int_equal(n, 0);
	assert_true(gd_image_bytes(o.image) >= UINT64_C(16) << 20);
}

static void what_does_not_fit_the_pause_is_marked_as_lost(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "256", "0", "4k", "calm", NULL);
	/* 64 MiB are read at most. */
	struct gd_freeze_options options = { .max_pause_ns = INT64_C(10000000000) };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_COPY, &options, image_file(), &o);
	assert_ok(o.r, &o.err);
	assert_int_equal(o.result.outcome.grade, GD_GRADE_PARTIAL);
	assert_true(gd_image_bytes(o.image) <= UINT64_C(65) << 20);
	assert_true(gd_image_bytes(o.image) > UINT64_C(32) << 20);
	size_t n;
	size_t beyond = 0;
	const struct gd_image_map *maps = gd_image_maps(o.image, &n);
	for (size_t i = 0; i < n; i++)
		beyond += maps[i].why == GD_IMAGE_BEYOND && maps[i].missing == GD_IMAGE_LOST;
	assert_true(beyond > 0);
	/* The stack of every thread is there. */
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_image(o.image, NULL, &memory, NULL), NULL);
	const struct gd_image_thread *threads = gd_image_threads(o.image, &n);
	for (size_t i = 0; i < n; i++)
		assert_true(byte_at(memory, threads[i].regs.rsp) >= 0);
}

static void a_writer_that_cannot_be_followed_is_left_to_the_next_method(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "256", "1000000", "4k", "calm", NULL);
	skip_without(GD_FREEZE_UFFD, v->pid);
	struct gd_freeze_options options = { .max_pause_ns = 10000000 };
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	OUTCOME struct outcome o = { 0 };
	assert_ok(gd_freeze_plan(target, &options, -1, &o.plan, &o.err), &o.err);
	o.plan.chosen = GD_FREEZE_UFFD;
	for (unsigned m = 0; m < GD_FREEZE_METHODS; m++)
		o.plan.methods[m].possible = m == GD_FREEZE_UFFD || m == GD_FREEZE_TORN;
	o.r = gd_freeze_run(target, &o.plan, &options, image_file(), &o.image, &o.result, &o.err);
	assert_ok(o.r, &o.err);
	assert_int_equal(o.result.method, GD_FREEZE_TORN);
	assert_int_equal(o.result.n_notes, 1);
	assert_contains(o.result.notes[0], "uffd was tried");
}

static void no_space_is_noticed_before_anything_is_touched(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "64", "0", "4k", "calm", NULL);
	if (mount("none", test_dir(), "tmpfs", 0, "size=32m") != 0)
		test_skip("cannot mount a small file system: %s", strerror(errno));
	struct gd_freeze_options options = { .max_pause_ns = 50000000 };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_COPY, &options, image_file(), &o);
	(void)umount2(test_dir(), MNT_DETACH);
	assert_fails(o.r, -ENOSPC, &o.err);
	assert_false(o.result.stopped);
	assert_null(o.image);
}

static void a_cancelled_run_leaves_nothing(void **state)
{
	(void)state;
	static volatile sig_atomic_t cancelled = 1;
	struct victim *v = victim_start("pages", "64", "50", "4k", "wild", NULL);
	struct gd_freeze_options options = { .max_pause_ns = 50000000, .cancelled = &cancelled };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_METHODS, &options, image_file(), &o);
	assert_fails(o.r, -ECANCELED, &o.err);
	assert_false(o.result.stopped);
	assert_int_equal(o.result.outcome.grade, GD_GRADE_FAILED);
}

struct ending {
	struct victim *v;
	const char *how;
	bool done;
};

/* In the middle of the first reading: it exits or becomes another program. */
static void end_it(void *arg, uint64_t bytes, uint64_t of_bytes)
{
	struct ending *ending = arg;
	(void)of_bytes;
	if (ending->done || bytes == 0)
		return;
	ending->done = true;
	if (strcmp(ending->how, "exec") == 0) {
		char path[64];
		char comm[32] = "";
		victim_tell(ending->v, "exec");
		(void)snprintf(path, sizeof(path), "/proc/%d/comm", ending->v->pid);
		for (int i = 0; i < 2000 && strncmp(comm, "sleep", 5) != 0; i++) {
			GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
			ssize_t n = read(fd, comm, sizeof(comm) - 1);
			comm[n > 0 ? n : 0] = '\0';
			(void)usleep(10000);
		}
	} else {
		(void)kill(ending->v->pid, SIGKILL);
		(void)waitid(P_PID, (id_t)ending->v->pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	}
}

static void ends_in_the_middle(enum gd_freeze_method method, const char *how)
{
	struct victim *v = victim_start("pages", "64", "0", "4k", "calm", NULL);
	skip_without(method, v->pid);
	struct ending ending = { v, how, false };
	struct gd_freeze_options options = { .max_pause_ns = 50000000, .progress = end_it,
		                             .progress_arg = &ending };
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	OUTCOME struct outcome o = { 0 };
	assert_ok(gd_freeze_plan(target, &options, -1, &o.plan, &o.err), &o.err);
	o.plan.chosen = method;
	o.plan.methods[method].possible = true;
	o.r = gd_freeze_run(target, &o.plan, &options, image_file(), &o.image, &o.result, &o.err);
	assert_true(ending.done);
	assert_true(o.r == -ESRCH || o.r == -ESTALE);
	assert_null(o.image);
	victim_stop(v);
}

static void a_target_that_exits_in_the_middle_is_esrch(void **state)
{
	(void)state;
	ends_in_the_middle(GD_FREEZE_UFFD, "exit");
	ends_in_the_middle(GD_FREEZE_TORN, "exit");
}

static void a_target_that_execs_in_the_middle_is_no_image(void **state)
{
	(void)state;
	ends_in_the_middle(GD_FREEZE_UFFD, "exec");
	ends_in_the_middle(GD_FREEZE_TORN, "exec");
}

/* Has a child that has ended, as a service has that looks after its workers from time to time. */
static pid_t start_with_a_zombie(pid_t *ret_zombie)
{
	int said[2];
	pid_t own = 0;
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		own = fork();
		if (own == 0)
			_exit(7);
		(void)waitid(P_PID, (id_t)own, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
		(void)!write(said[1], &own, sizeof(own));
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(said[0], &own, sizeof(own)), sizeof(own));
	(void)close(said[0]);
	(void)close(said[1]);
	assert_int_equal(freeze_state(own), 'Z');
	*ret_zombie = own;
	return pid;
}

/* Of a clone that the tracer did not live to see the end of nobody knows the child's number. */
static void the_targets_own_zombie_is_never_reaped_in_place_of_ours(void **state)
{
	(void)state;
	pid_t own;
	pid_t pid = start_with_a_zombie(&own);
	const char *lacks = what_lacks(GD_FREEZE_FORK, pid);
	if (lacks[0] == '\0') {
		GD_TARGET struct gd_target *target = freeze_open(pid);
		struct gd_freeze_options options = { .max_pause_ns = INT64_C(10000000000) };
		OUTCOME struct outcome o = { 0 };
		assert_ok(gd_freeze_plan(target, &options, -1, &o.plan, &o.err), &o.err);
		o.plan.chosen = GD_FREEZE_FORK;
		for (unsigned m = 0; m < GD_FREEZE_METHODS; m++)
			o.plan.methods[m].possible = m == GD_FREEZE_FORK;
		dies_at = "born";
		o.r = gd_freeze_run(target, &o.plan, &options, image_file(), &o.image, &o.result,
		                    &o.err);
		dies_at = NULL;
		assert_fails(o.r, -EIO, &o.err);
		freeze_await_untraced(pid);
		/* Its own is there, ours is not. */
		assert_int_equal(freeze_state(own), 'Z');
		assert_int_equal(freeze_children(pid), 0);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	if (lacks[0] != '\0')
		test_skip("%s", lacks);
}

static void a_refused_plan_is_eperm(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "1", "0", "4k", "calm", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	struct gd_freeze_plan plan = { .refused = true, .why = "a secret" };
	struct gd_freeze_options options = { .max_pause_ns = 50000000 };
	struct gd_freeze_result result;
	struct gd_image *image = NULL;
	struct gd_error err = { 0 };
	assert_fails(gd_freeze_run(target, &plan, &options, image_file(), &image, &result, &err),
	             -EPERM, &err);
}

static void thin_leaves_out_what_was_named(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "32", "0", "4k", "calm", NULL);
	GD_TARGET struct gd_target *target = freeze_open(v->pid);
	struct gd_range skip = { 0 };
	for (size_t i = 0; i < target->maps.n; i++)
		if (target->maps.list[i].end - target->maps.list[i].start >= UINT64_C(32) << 20 &&
		    target->maps.list[i].write)
			skip = (struct gd_range){ target->maps.list[i].start + PAGE * 3,
				                         target->maps.list[i].end };
	assert_true(skip.end > 0);
	struct gd_freeze_options options = { .max_pause_ns = 1000000000, .skip = &skip, .n_skip = 1,
		                             .scope = GD_FREEZE_THIN };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_COPY, &options, image_file(), &o);
	assert_ok(o.r, &o.err);
	assert_true(gd_image_bytes(o.image) < UINT64_C(4) << 20);
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_image(o.image, NULL, &memory, NULL), NULL);
	assert_int_equal(byte_at(memory, skip.start + 100 * PAGE), -1);
}

static void huge_pages_are_given_back(void **state)
{
	(void)state;
	struct victim *v = victim_start("pages", "64", "50", "thp", "calm", NULL);
	skip_without(GD_FREEZE_UFFD, v->pid);
	struct gd_freeze_options options = { .max_pause_ns = 1000000000, .keep_huge = true };
	OUTCOME struct outcome o = { 0 };
	run_at(v->pid, GD_FREEZE_UFFD, &options, image_file(), &o);
	assert_ok(o.r, &o.err);
	if (o.result.huge_before_bytes < UINT64_C(32) << 20)
		test_skip("no huge pages here");
	assert_true(o.result.huge_after_bytes >= o.result.huge_before_bytes / 10 * 8);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(precopy_by_uffd_is_true_to_a_calm_target),
		test_case(precopy_by_uffd_is_true_at_50_mb_per_second),
		test_case(precopy_by_uffd_is_true_at_300_mb_per_second_on_huge_pages),
		test_case(precopy_by_soft_dirty_is_true_to_a_calm_target),
		test_case(precopy_by_soft_dirty_is_true_at_50_mb_per_second),
		test_case(precopy_by_soft_dirty_is_true_at_300_mb_per_second_on_huge_pages),
		test_case(a_fork_is_true_to_a_calm_target),
		test_case(a_fork_is_true_at_50_mb_per_second),
		test_case(a_fork_is_true_at_300_mb_per_second_on_huge_pages),
		test_case(a_stop_and_copy_that_fits_is_true),
		test_case(odd_mappings_by_precopy),
		test_case(odd_mappings_by_fork),
		test_case(odd_mappings_by_copy),
		test_case(odd_mappings_torn),
		test_case(max_pause_0_stops_nothing),
		test_case(what_does_not_fit_the_pause_is_marked_as_lost),
		test_case(a_writer_that_cannot_be_followed_is_left_to_the_next_method),
		test_case(no_space_is_noticed_before_anything_is_touched),
		test_case(a_cancelled_run_leaves_nothing),
		test_case(a_target_that_exits_in_the_middle_is_esrch),
		test_case(a_target_that_execs_in_the_middle_is_no_image),
		test_case(the_targets_own_zombie_is_never_reaped_in_place_of_ours),
		test_case(a_refused_plan_is_eperm),
		test_case(thin_leaves_out_what_was_named),
		test_case(huge_pages_are_given_back),
	};
	return test_run(tests);
}
