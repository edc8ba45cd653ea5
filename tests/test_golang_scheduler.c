/*
 * A quiet victim whose goroutines, threads and processors are known; then lists that no runtime
 * would make.
 */
#include "golang/scheduler.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "golang/go_version.h"
#include "tests/go_target.h"

/* Ten that wait and main. */
enum { QUIET_GOROUTINES = 11 };

static bool is_thread(const pid_t *tids, size_t n, uint64_t tid)
{
	for (size_t i = 0; i < n; i++)
		if ((uint64_t)tids[i] == tid)
			return true;
	return false;
}

static void check_threads(struct go_target *go, const struct gd_scheduler *s)
{
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n_tids = 0;
	size_t found = 0;
	go_assert_ok(go, gd_target_threads(go->target, &tids, &n_tids, &err), &err);
	for (size_t i = 0; i < s->n_ms; i++) {
		/* With cgo there is a spare M that has no thread yet. */
		if (s->ms[i].tid == 0)
			continue;
		if (!is_thread(tids, n_tids, s->ms[i].tid))
			go_target_fail(go, "M %" PRId64 " has tid %" PRIu64, s->ms[i].id,
			               s->ms[i].tid);
		found++;
	}
	if (found != n_tids)
		go_target_fail(go, "%zu Ms have a thread, there are %zu", found, n_tids);
	assert_true((uint64_t)s->m_created >= s->n_ms);
}

/* It has just said that it is ready: what that took to run may still be going to sleep. */
static void read_at_rest(struct go_target *go, struct gd_go *runtime, struct gd_scheduler *s)
{
	struct gd_error err = { 0 };
	struct timespec wait = { .tv_nsec = 5000000 };
	for (unsigned i = 0; i < 400; i++) {
		gd_scheduler_deinit(s);
		go_assert_ok(go, gd_scheduler_read(runtime, s, &err), &err);
		if (s->why.code != 0)
			go_target_fail(go, "%s", s->why.msg);
		if (s->m_spinning == 0 && s->p_idle == s->gomaxprocs && s->runq == 0)
			return;
		(void)nanosleep(&wait, NULL);
	}
	go_target_fail(go, "it does not come to rest");
}

static void check_quiet(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	GD_SCHEDULER struct gd_scheduler s = { 0 };
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	read_at_rest(go, runtime, &s);

	if (s.goroutines != QUIET_GOROUTINES)
		go_target_fail(go, "%" PRIu64 " goroutines, %" PRIu64 " of the system, %" PRIu64
		               " spares", s.goroutines, s.system_goroutines, s.spares);
	assert_true(s.by_status[GD_G_WAITING] >= QUIET_GOROUTINES);
	assert_int_equal(s.unknown_status, 0);
	assert_true(s.goid_generated >= QUIET_GOROUTINES);

	assert_true(s.gomaxprocs >= 1);
	assert_int_equal(s.n_ps, s.gomaxprocs);
	int32_t idle = 0;
	for (size_t i = 0; i < s.n_ps; i++) {
		assert_int_equal(s.ps[i].id, i);
		assert_true(s.ps[i].status <= GD_P_DEAD);
		assert_int_equal(s.ps[i].runq, 0);
		idle += s.ps[i].status == GD_P_IDLE;
	}
	assert_int_equal(s.p_idle, idle);
	assert_int_equal(s.runq, 0);
	assert_int_equal(s.m_spinning, 0);
	assert_false(s.gc_waiting);
	check_threads(go, &s);

	/* It has slept and woken, collected once, and waited for a lock. */
	assert_true(s.latency.n > 0 && s.latency.total > 0);
	assert_int_equal(s.stw_total_gc.n > 0, go->version.minor >= 22);
	assert_int_equal(s.gc_pauses.n > 0, go->version.minor < 22);
	if (go->version.minor >= 22)
		assert_true(s.stw_total_gc.total >= 2 && s.stw_stopping_gc.total >= 2);
	else
		assert_true(s.gc_pauses.total >= 2);
	assert_int_equal(s.mutex_wait_ns >= 0, go->version.minor >= 20);
}

static void a_quiet_process_is_what_it_is(void **state)
{
	(void)state;
	go_target_each("quiet", check_quiet);
}

static void check_busy(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	uint64_t latencies = 0;
	for (unsigned i = 0; i < 100; i++) {
		GD_SCHEDULER struct gd_scheduler s = { 0 };
		go_assert_ok(go, gd_scheduler_read(runtime, &s, &err), &err);
		if (s.why.code != 0)
			go_target_fail(go, "%s", s.why.msg);
		assert_int_equal(s.n_ps, s.gomaxprocs);
		assert_true(s.goroutines > 50 && s.goroutines < 100000);
		assert_int_equal(s.unknown_status, 0);
		assert_true(s.latency.total >= latencies);
		latencies = s.latency.total;
	}
	assert_true(latencies > 100);
}

static void a_busy_process_makes_sense(void **state)
{
	(void)state;
	go_target_each("churn", check_busy);
}

/* --- made up --- */

enum {
	BASE = 0x30000,
	BYTES = 65536,
	ALLM = BASE,
	ALLP = BASE + 8,
	ALLGS = BASE + 32,
	GOMAXPROCS = BASE + 56,
	SCHED = BASE + 64,
	LISTS = BASE + 8192,
	RECORDS = BASE + 16384,
};

struct image {
	uint8_t bytes[BYTES];
	struct gd_memory *memory;
	struct gd_go go;
};

static void put(struct image *image, uint64_t addr, uint64_t value, size_t size)
{
	assert_true(addr >= BASE && addr + size <= BASE + BYTES);
	memcpy(image->bytes + (addr - BASE), &value, size);
}

static void set_up(struct image *image)
{
	struct gd_error err = { 0 };
	memset(image, 0, sizeof(*image));
	image->go.version = (struct gd_go_version){ .minor = 22, .patch = 5 };
	assert_ok(gd_layout_of(&image->go.version, &image->go.layout, &err), &err);
	image->go.globals = (struct gd_globals){
		.allm = ALLM,
		.allp = ALLP,
		.allgs = ALLGS,
		.gomaxprocs = GOMAXPROCS,
		.sched = SCHED,
	};
}

static int read_image(struct image *image, struct gd_scheduler *s, struct gd_error *err)
{
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_bytes(BASE, image->bytes, BYTES, &memory, err), err);
	image->go.memory = memory;
	return gd_scheduler_read(&image->go, s, err);
}

static void slice(struct image *image, uint64_t at, uint64_t ptr, uint64_t len, uint64_t cap)
{
	put(image, at, ptr, 8);
	put(image, at + 8, len, 8);
	put(image, at + 16, cap, 8);
}

static void every_status_is_counted(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	GD_SCHEDULER struct gd_scheduler s = { 0 };
	static const uint32_t statuses[] = { 4, 4, 0x1004, 1, 2, 3, 6, 6, 8, 9, 77 };
	enum { N = sizeof(statuses) / sizeof(statuses[0]) };
	(void)state;
	set_up(&image);
	const struct gd_layout *l = &image.go.layout;
	slice(&image, ALLGS, LISTS, N, N);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t g = RECORDS + 512 * ((i * 7) % N);
		put(&image, LISTS + 8 * i, g, 8);
		put(&image, g + (uint64_t)l->g_atomicstatus, statuses[i], 4);
	}
	put(&image, SCHED + (uint64_t)l->sched_ngsys, 2, 4);
	put(&image, SCHED + (uint64_t)l->sched_runqsize, 5, 4);
	put(&image, SCHED + (uint64_t)l->sched_gcwaiting, 1, 1);
	put(&image, GOMAXPROCS, 8, 4);
	assert_ok(read_image(&image, &s, &err), &err);
	assert_int_equal(s.by_status[GD_G_WAITING], 3);
	assert_int_equal(s.by_status[GD_G_DEAD], 2);
	assert_int_equal(s.unknown_status, 1);
	assert_int_equal(s.goroutines, 3 + 1 + 1 + 1 + 1 + 1 - 2);
	assert_int_equal(s.runq, 5);
	assert_int_equal(s.gomaxprocs, 8);
	assert_true(s.gc_waiting);
}

static void queues_and_threads_are_linked(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	GD_SCHEDULER struct gd_scheduler s = { 0 };
	uint64_t p = RECORDS;
	uint64_t m = RECORDS + 4096;
	uint64_t g = RECORDS + 8192;
	(void)state;
	set_up(&image);
	const struct gd_layout *l = &image.go.layout;
	slice(&image, ALLP, LISTS, 1, 4);
	put(&image, LISTS, p, 8);
	put(&image, p + (uint64_t)l->p_id, 3, 4);
	put(&image, p + (uint64_t)l->p_status, GD_P_RUNNING, 4);
	put(&image, p + (uint64_t)l->p_runqhead, 0xfffffffe, 4);
	put(&image, p + (uint64_t)l->p_runqtail, 5, 4);
	put(&image, p + (uint64_t)l->p_runnext, g, 8);
	put(&image, p + (uint64_t)l->p_m, m, 8);
	put(&image, ALLM, m, 8);
	put(&image, m + (uint64_t)l->m_procid, 4711, 8);
	put(&image, m + (uint64_t)l->m_p, p, 8);
	put(&image, m + (uint64_t)l->m_curg, g, 8);
	put(&image, m + (uint64_t)l->m_incgo, 1, 1);
	put(&image, g + (uint64_t)l->g_goid, 99, 8);
	assert_ok(read_image(&image, &s, &err), &err);
	assert_int_equal(s.n_ps, 1);
	assert_int_equal(s.ps[0].runq, 8);
	assert_int_equal(s.ps[0].m, m);
	assert_int_equal(s.n_ms, 1);
	assert_int_equal(s.ms[0].tid, 4711);
	assert_int_equal(s.ms[0].p, 3);
	assert_int_equal(s.ms[0].curg, 99);
	assert_int_equal(s.ms[0].locked_g, 0);
	assert_true(s.ms[0].incgo);
	assert_false(s.ms[0].spinning);
}

static void a_circle_of_threads_ends(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	GD_SCHEDULER struct gd_scheduler s = { 0 };
	(void)state;
	set_up(&image);
	uint64_t link = (uint64_t)image.go.layout.m_alllink;
	put(&image, ALLM, RECORDS, 8);
	for (uint64_t i = 0; i < 5; i++)
		put(&image, RECORDS + 2048 * i + link, RECORDS + 2048 * (i < 4 ? i + 1 : 2), 8);
	assert_ok(read_image(&image, &s, &err), &err);
	assert_int_equal(s.why.code, -EBADMSG);
	assert_contains(s.why.msg, "circle");
}

static void absurd_lengths_are_refused(void **state)
{
	static const uint64_t lengths[] = { UINT64_MAX, GD_SCHEDULER_GS_MAX + 1, 1u << 31 };
	static struct image image;
	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct gd_error err = { 0 };
		GD_SCHEDULER struct gd_scheduler s = { 0 };
		set_up(&image);
		slice(&image, ALLGS, LISTS, lengths[i], UINT64_MAX);
		slice(&image, ALLP, LISTS, lengths[i], UINT64_MAX);
		assert_ok(read_image(&image, &s, &err), &err);
		assert_int_equal(s.why.code, -EBADMSG);
		assert_int_equal(s.n_ps, 0);
	}
}

static void what_is_left_is_read_when_something_is_missing(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	(void)state;
	{
		GD_SCHEDULER struct gd_scheduler s = { 0 };
		set_up(&image);
		image.go.globals.allm = 0;
		put(&image, SCHED + (uint64_t)image.go.layout.sched_npidle, 3, 4);
		assert_ok(read_image(&image, &s, &err), &err);
		assert_contains(s.why.msg, "allm");
		assert_int_equal(s.p_idle, 3);
	}
	struct gd_scheduler s;
	memset(&image.go.globals, 0, sizeof(image.go.globals));
	assert_fails(read_image(&image, &s, &err), -ENOENT, &err);
	assert_contains(err.msg, "runtime.sched");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_quiet_process_is_what_it_is),
		test_case(a_busy_process_makes_sense),
		test_case(every_status_is_counted),
		test_case(queues_and_threads_are_linked),
		test_case(a_circle_of_threads_ends),
		test_case(absurd_lengths_are_refused),
		test_case(what_is_left_is_read_when_something_is_missing),
	};
	return test_run(tests);
}
