/*
 * The gauges of victims against the slower ways to the same numbers and against what the victims say
 * of themselves; then records and memory that no runtime would leave.
 */
#include "golang/gauges.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "golang/scheduler.h"
#include "golang/stats.h"
#include "tests/go_target.h"
#include "tests/loopback.h"

static void open_and_find(struct go_target *go, struct gd_go **runtime, struct gd_gauges_at *at)
{
	struct gd_error err = { 0 };
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, runtime, &err),
	             &err);
	go_assert_ok(go, gd_gauges_find(*runtime, at, &err), &err);
	go_assert_ok(go, gd_gauges_at_check(at, &err), &err);
}

static void read_all(struct go_target *go, const struct gd_gauges_at *at, struct gd_gauges *g)
{
	struct gd_error err = { 0 };
	go_assert_ok(go, gd_gauges_read(go->target->memory, at, g, &err), &err);
	if (g->has != GD_GAUGES_ALL)
		go_target_fail(go, "has only 0x%x: %s", g->has, err.msg);
}

static void same_histogram(struct go_target *go, const char *name, const struct gd_histogram *a,
                           const struct gd_histogram *b)
{
	if (memcmp(a, b, sizeof(*a)) != 0)
		go_target_fail(go, "%s differ: %" PRIu64 " and %" PRIu64 " events", name, a->total,
		               b->total);
}

/* Main sleeps, but the last of what got it there may still be on its way. */
static void check_at_rest(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct timespec wait = { .tv_nsec = 5000000 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_at at;
	struct gd_gauges g;
	struct gd_stats stats;
	open_and_find(go, &runtime, &at);
	for (unsigned i = 0;; i++) {
		GD_SCHEDULER struct gd_scheduler s = { 0 };
		go_assert_ok(go, gd_scheduler_read(runtime, &s, &err), &err);
		read_all(go, &at, &g);
		go_assert_ok(go, gd_stats_read(runtime, &stats, &err), &err);
		if (i < 400 && (g.goroutines != s.goroutines || g.latency.total != s.latency.total ||
		                g.heap_live != stats.pacer.heap_live)) {
			(void)nanosleep(&wait, NULL);
			continue;
		}
		if (g.goroutines != s.goroutines)
			go_target_fail(go, "%" PRIu64 " goroutines, walked %" PRIu64, g.goroutines,
			               s.goroutines);
		assert_int_equal(g.gomaxprocs, s.gomaxprocs);
		same_histogram(go, "latencies", &g.latency, &s.latency);
		same_histogram(go, "pauses", &g.pauses,
		               go->version.minor >= 22 ? &s.stw_total_gc : &s.gc_pauses);
		break;
	}
	assert_int_equal(g.num_gc, stats.num_gc);
	assert_true(g.num_gc > 0 && g.gc_cpu_ns > 0);
	assert_int_equal(g.heap_goal, stats.heap_goal);
	assert_int_equal(g.heap_live, stats.pacer.heap_live);
	assert_int_equal(g.heap_marked, stats.pacer.heap_marked);
	assert_true(g.pauses.total >= 2);
}

static void at_rest_they_equal_what_the_long_way_finds(void **state)
{
	(void)state;
	go_target_each("quiet", check_at_rest);
	go_target_each("totals", check_at_rest);
}

static void check_cheap(struct go_target *go)
{
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_at at;
	struct gd_gauges g;
	open_and_find(go, &runtime, &at);
	struct gd_memory_stats before = go->target->memory->stats;
	read_all(go, &at, &g);
	struct gd_memory_stats after = go->target->memory->stats;
	/* sched, allp and its list, allgs, collector, memstats, two histograms; one for each P. */
	if (after.reads - before.reads > 8 + (uint64_t)g.gomaxprocs)
		go_target_fail(go, "%" PRIu64 " reads for %d Ps", after.reads - before.reads,
		               g.gomaxprocs);
	assert_true(after.bytes - before.bytes < 24576);
	assert_true(sizeof(at) <= 4096);
}

static void a_reading_is_a_handful_of_reads(void **state)
{
	(void)state;
	go_target_each("quiet", check_cheap);
}

static uint64_t reads_of(struct go_target *go)
{
	return go->target->memory->stats.reads;
}

static void same_numbers(const struct gd_gauges *g, const struct gd_gauges *whole)
{
	assert_int_equal(g->has, GD_GAUGES_ALL);
	assert_int_equal(g->goroutines, whole->goroutines);
	assert_int_equal(g->gomaxprocs, whole->gomaxprocs);
	assert_int_equal(g->heap_live, whole->heap_live);
	assert_int_equal(g->heap_marked, whole->heap_marked);
	assert_int_equal(g->heap_goal, whole->heap_goal);
	assert_int_equal(g->num_gc, whole->num_gc);
	assert_int_equal(g->gc_cpu_ns, whole->gc_cpu_ns);
}

static int64_t cpu_ns(pid_t pid)
{
	clockid_t clock;
	struct timespec t;
	assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
	assert_int_equal(clock_gettime(clock, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* While its CPU clock stands still nothing is read, and a whole reading would find the same. */
static void check_asleep(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct timespec wait = { .tv_nsec = 10000000 }; /* longer than a tick */
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_seen seen = { 0 };
	struct gd_gauges_at at;
	struct gd_gauges whole;
	struct gd_gauges g;
	unsigned cheap = 0;
	int64_t last_ns = 0;
	open_and_find(go, &runtime, &at);
	/* It may still be starting, and the runtime has work of its own now and then. */
	for (unsigned i = 0; i < 400 && cheap < 20; i++) {
		int64_t now_ns = cpu_ns(go->target->pid);
		uint64_t before = reads_of(go);
		go_assert_ok(go, gd_gauges_read_again(go->target->memory, &at, &seen,
		                                      now_ns == last_ns, 0, &g, &err), &err);
		bool was_cheap = reads_of(go) == before;
		read_all(go, &at, &whole);
		(void)nanosleep(&wait, NULL);
		if (was_cheap && cpu_ns(go->target->pid) == now_ns) {
			assert_int_equal(g.same, GD_GAUGES_PAUSES | GD_GAUGES_LATENCY);
			same_numbers(&g, &whole);
			cheap++;
		}
		last_ns = now_ns;
	}
	if (cheap < 20)
		go_target_fail(go, "only %u readings were cheap", cheap);
	/* What is wanted is read. */
	go_assert_ok(go, gd_gauges_read_again(go->target->memory, &at, &seen, true,
	                                      GD_GAUGES_PAUSES | GD_GAUGES_LATENCY, &g, &err),
	             &err);
	assert_int_equal(g.same, 0);
	assert_true(g.latency.n > 0 && g.pauses.n > 0);
}

static void a_process_that_sleeps_is_not_read(void **state)
{
	(void)state;
	go_target_each("quiet", check_asleep);
}

/* Counts of an histogram that was left out are those of the reading before, as a whole one in between
 * has seen them too. */
static void check_left_out(struct go_target *go, const char *name, bool same, uint64_t *last,
                           uint64_t between, uint64_t now)
{
	if (same && between != *last)
		go_target_fail(go, "%" PRIu64 " %s were left out", between - *last, name);
	if (!same)
		*last = now;
}

static void check_spared_busy(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct timespec wait = { .tv_nsec = 2000000 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_seen seen = { 0 };
	struct gd_gauges_at at;
	struct gd_gauges before;
	struct gd_gauges g;
	struct gd_gauges after;
	uint64_t pauses = 0;
	uint64_t latency = 0;
	open_and_find(go, &runtime, &at);
	for (unsigned i = 0; i < 200; i++) {
		go_assert_ok(go, gd_gauges_read(go->target->memory, &at, &before, &err), &err);
		go_assert_ok(go, gd_gauges_read_again(go->target->memory, &at, &seen, false, 0, &g, &err),
		             &err);
		go_assert_ok(go, gd_gauges_read(go->target->memory, &at, &after, &err), &err);
		assert_int_equal(g.gomaxprocs, after.gomaxprocs);
		if (g.num_gc < before.num_gc || g.num_gc > after.num_gc)
			go_target_fail(go, "%u collections, not %u to %u", g.num_gc, before.num_gc,
			               after.num_gc);
		check_left_out(go, "pauses", (g.same & GD_GAUGES_PAUSES) != 0, &pauses,
		               before.pauses.total, g.pauses.total);
		check_left_out(go, "latencies", (g.same & GD_GAUGES_LATENCY) != 0, &latency,
		               before.latency.total, g.latency.total);
		(void)nanosleep(&wait, NULL);
	}
}

static void in_a_busy_process_nothing_is_missed(void **state)
{
	(void)state;
	go_target_each("churn", check_spared_busy);
}

static void check_busy(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct timespec wait = { .tv_nsec = 2000000 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_at at;
	struct gd_gauges last = { 0 };
	unsigned complete = 0;
	open_and_find(go, &runtime, &at);
	for (unsigned i = 0; i < 100; i++) {
		GD_SCHEDULER struct gd_scheduler s = { 0 };
		struct gd_gauges g;
		go_assert_ok(go, gd_gauges_read(go->target->memory, &at, &g, &err), &err);
		go_assert_ok(go, gd_scheduler_read(runtime, &s, &err), &err);
		/* 200 workers, a few short lived, and some being born. */
		if (g.goroutines < 150 || g.goroutines > s.goroutines + 200)
			go_target_fail(go, "%" PRIu64 " goroutines, walked %" PRIu64, g.goroutines,
			               s.goroutines);
		assert_true(g.latency.total >= last.latency.total);
		assert_true(g.latency.total <= s.latency.total);
		assert_true(g.pauses.total >= last.pauses.total);
		assert_true(g.num_gc >= last.num_gc);
		complete += g.has == GD_GAUGES_ALL;
		if ((g.has & last.has & GD_GAUGES_GC_CPU) != 0 && g.gc_cpu_ns < last.gc_cpu_ns)
			go_target_fail(go, "CPU of the collector fell from %" PRIu64 " to %" PRIu64,
			               last.gc_cpu_ns, g.gc_cpu_ns);
		assert_true(g.heap_live > 0 && g.heap_goal > 0 && g.heap_goal < 1u << 30);
		last = g;
		(void)nanosleep(&wait, NULL);
	}
	assert_true(last.latency.total > 100 && last.num_gc > 0 && last.gc_cpu_ns > 0);
	if (complete < 90)
		go_target_fail(go, "only %u of 100 readings had everything", complete);
}

static void in_a_busy_process_they_make_sense(void **state)
{
	(void)state;
	go_target_each("churn", check_busy);
}

/* As for a release that the table does not have: what contradicts a walk is not believed. */
static void check_calibrated(struct go_target *go)
{
	GD_GO struct gd_go *runtime = NULL;
	struct gd_error err = { 0 };
	struct gd_gauges_at at;
	struct gd_gauges g;
	open_and_find(go, &runtime, &at);
	runtime->layout.trust = GD_LAYOUT_CALIBRATED;
	go_assert_ok(go, gd_gauges_find(runtime, &at, &err), &err);
	read_all(go, &at, &g);
	/* A pointer is read as a count. */
	runtime->layout.p_gfree = runtime->layout.p_mcache - 8;
	go_assert_ok(go, gd_gauges_find(runtime, &at, &err), &err);
	go_assert_ok(go, gd_gauges_read(go->target->memory, &at, &g, &err), &err);
	assert_int_equal(g.has, GD_GAUGES_ALL & ~GD_GAUGES_GOROUTINES);
	assert_int_equal(g.goroutines, 0);
}

static void an_unknown_release_is_read_as_far_as_it_agrees_with_itself(void **state)
{
	(void)state;
	go_target_each("quiet", check_calibrated);
}

/* --- what the victim says of itself --- */

static json_t *ask(const struct go_target *go)
{
	static const char none[] = "18446744073709551615";
	GD_BUF struct gd_buf body = GD_BUF_INIT(4 << 20);
	json_error_t error;
	unsigned port = (unsigned)strtoul(go->victim->ready, NULL, 10);
	loopback_get(port, "/memstats", &body);
	/* More than jansson can hold. */
	for (char *p = body.data; (p = strstr(p, none)) != NULL;)
		memcpy(p, "null                ", sizeof(none) - 1);
	json_t *said = json_loadb(body.data, body.len, 0, &error);
	if (said == NULL)
		go_target_fail(go, "no JSON: %s", error.text);
	return said;
}

static double metric(json_t *said, const char *name)
{
	return json_number_value(json_object_get(json_object_get(said, "Metrics"), name));
}

static uint64_t events(json_t *said, const char *name)
{
	json_t *counts = json_object_get(json_object_get(json_object_get(said, "Metrics"), name),
	                                 "counts");
	uint64_t n = 0;
	for (size_t i = 0; i < json_array_size(counts); i++)
		n += (uint64_t)json_integer_value(json_array_get(counts, i));
	return n;
}

static void between(struct go_target *go, const char *what, double low, double value, double high)
{
	if (!(value >= low - 1e-6 && value <= high + 1e-6))
		go_target_fail(go, "%s: %.9g is not between %.9g and %.9g", what, value, low, high);
}

/* The collector's time without that in otherwise idle CPUs; since Go 1.20. */
static double said_gc_cpu(json_t *said)
{
	return metric(said, "/cpu/classes/gc/total:cpu-seconds") -
	       metric(said, "/cpu/classes/gc/mark/idle:cpu-seconds");
}

static void check_said(struct go_target *go)
{
	GD_GO struct gd_go *runtime = NULL;
	struct gd_gauges_at at;
	struct gd_gauges g;
	const char *pauses = go->version.minor >= 22 ? "/sched/pauses/total/gc:seconds"
	                                             : "/gc/pauses:seconds";
	open_and_find(go, &runtime, &at);
	json_t *before = ask(go);
	read_all(go, &at, &g);
	json_t *after = ask(go);
	double n = json_number_value(json_object_get(before, "NumGoroutine"));
	/* With it are the connection's own and that one's reader, which may be gone for us. */
	between(go, "goroutines", n - 2, (double)g.goroutines, n);
	assert_int_equal(g.gomaxprocs,
	                 json_integer_value(json_object_get(before, "GOMAXPROCS")));
	between(go, "latencies", (double)events(before, "/sched/latencies:seconds"),
	        (double)g.latency.total, (double)events(after, "/sched/latencies:seconds"));
	assert_true(events(before, pauses) > 0);
	between(go, "pauses", (double)events(before, pauses), (double)g.pauses.total,
	        (double)events(after, pauses));
	json_t *stats = json_object_get(before, "MemStats");
	between(go, "collections", json_number_value(json_object_get(stats, "NumGC")), g.num_gc,
	        json_number_value(json_object_get(json_object_get(after, "MemStats"), "NumGC")));
	if (go->version.minor >= 20)
		between(go, "CPU of the collector", said_gc_cpu(before), (double)g.gc_cpu_ns / 1e9,
		        said_gc_cpu(after));
	json_decref(before);
	json_decref(after);
}

static void they_are_what_the_process_says_of_itself(void **state)
{
	(void)state;
	go_target_each("states", check_said);
}

/* --- made up --- */

enum { BASE = 0x30000, BYTES = 65536, SCHED = BASE, ALLGS = BASE + 8192, ALLP = BASE + 8224,
       LIST = BASE + 8256, P = BASE + 12288, GCC = BASE + 20480, MEMSTATS = BASE + 24576 };

static uint8_t bytes[BYTES];

static void put(uint64_t addr, uint64_t value, size_t size)
{
	assert_true(addr >= BASE && addr + size <= BASE + BYTES);
	memcpy(bytes + (addr - BASE), &value, size);
}

static struct gd_gauges_at made_up(const char *version)
{
	struct gd_error err = { 0 };
	struct gd_go_version v;
	struct gd_gauges_at at = { .sched = SCHED, .memstats = MEMSTATS, .gc_controller = GCC,
		                   .allgs = ALLGS, .allp = ALLP };
	memset(bytes, 0, sizeof(bytes));
	assert_ok(gd_go_version_parse(version, &v, &err), &err);
	assert_ok(gd_layout_of(&v, &at.layout, &err), &err);
	at.minor = v.minor;
	const uint64_t gs[] = { 0x1000, 100, 128 };
	const uint64_t ps[] = { LIST, 2, 2 };
	for (size_t i = 0; i < 3; i++) {
		put(ALLGS + 8 * i, gs[i], 8);
		put(ALLP + 8 * i, ps[i], 8);
	}
	put(LIST, P, 8);
	put(LIST + 8, P + 4096, 8);
	put(P + (uint64_t)at.layout.p_gfree + 8, 3, 4);
	put(P + 4096 + (uint64_t)at.layout.p_gfree + 8, 4, 4);
	put(SCHED + (uint64_t)at.layout.sched_ngsys, 5, 4);
	return at;
}

static int read_made_up(const struct gd_gauges_at *at, struct gd_gauges *ret, struct gd_error *err)
{
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_bytes(BASE, bytes, sizeof(bytes), &memory, err), err);
	return gd_gauges_read(memory, at, ret, err);
}

static void free_goroutines_are_counted_in_both_ways(void **state)
{
	struct gd_error err = { 0 };
	struct gd_gauges g;
	(void)state;
	struct gd_gauges_at at = made_up("go1.24.13");
	put(SCHED + (uint64_t)at.layout.sched_gfree + 24, 20, 4);
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_int_equal(g.goroutines, 100 - 3 - 4 - 5 - 20);
	assert_int_equal(g.gomaxprocs, 2);

	at = made_up("go1.25.14");
	put(SCHED + (uint64_t)at.layout.sched_gfree + 16, 7, 4);
	put(SCHED + (uint64_t)at.layout.sched_gfree + 32, 8, 4);
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_int_equal(g.goroutines, 100 - 3 - 4 - 5 - 7 - 8);
}

static void the_collectors_time_is_its_part_of_all_time(void **state)
{
	struct gd_error err = { 0 };
	struct gd_gauges g;
	double quarter = 0.25;
	uint64_t word;
	(void)state;
	struct gd_gauges_at at = made_up("go1.19.13");
	const struct gd_layout *l = &at.layout;
	memcpy(&word, &quarter, sizeof(word));
	put(MEMSTATS + (uint64_t)l->mstats_gc_cpu_fraction, word, 8);
	put(MEMSTATS + (uint64_t)l->mstats_numgc, 9, 4);
	put(MEMSTATS + (uint64_t)l->mstats_last_gc_unix, 12345, 8);
	put(MEMSTATS + (uint64_t)l->mstats_pause_end + 8 * 8, 12345, 8);
	put(MEMSTATS + (uint64_t)l->mstats_last_gc_nanotime, 5000, 8);
	put(SCHED + (uint64_t)l->sched_procresizetime, 1000, 8);
	put(SCHED + (uint64_t)l->sched_totaltime, 400, 8);
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_true((g.has & GD_GAUGES_GC_CPU) != 0);
	assert_int_equal(g.gc_cpu_ns, (400 + 2 * 4000) / 4);
	assert_int_equal(g.num_gc, 9);
	/* Times of the next collection are there, its number is not. */
	put(MEMSTATS + (uint64_t)l->mstats_last_gc_unix, 99999, 8);
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_int_equal(g.has & GD_GAUGES_GC_CPU, 0);
	assert_int_equal(g.gc_cpu_ns, 0);
	/* It will be there the next time. */
	assert_int_equal(err.code, 0);
}

static uint64_t goroutines_again(const struct gd_gauges_at *at, struct gd_gauges_seen *seen,
                                 bool slept, uint64_t allgs)
{
	struct gd_error err = { 0 };
	struct gd_gauges g;
	GD_MEMORY struct gd_memory *memory = NULL;
	put(ALLGS + 8, allgs, 8);
	assert_ok(gd_memory_bytes(BASE, bytes, sizeof(bytes), &memory, &err), &err);
	assert_ok(gd_gauges_read_again(memory, at, seen, slept, 0, &g, &err), &err);
	assert_int_equal(g.gomaxprocs, 2);
	return g.goroutines + 3 + 4 + 5;
}

/* A number that a process cannot change in its sleep shows whether it was read. */
static void what_slept_is_read_only_when_nothing_whole_is_known(void **state)
{
	struct gd_gauges_seen seen = { 0 };
	(void)state;
	struct gd_gauges_at at = made_up("go1.27.4");
	assert_int_equal(goroutines_again(&at, &seen, true, 100), 100);
	assert_int_equal(goroutines_again(&at, &seen, true, 101), 100);
	assert_int_equal(goroutines_again(&at, &seen, false, 102), 102);
	assert_int_equal(goroutines_again(&at, &seen, true, 103), 102);
	/* A reading that lacked something is made again. */
	int32_t latency = at.layout.sched_time_to_run;
	at.layout.sched_time_to_run = GD_ABSENT;
	assert_int_equal(goroutines_again(&at, &seen, false, 104), 104);
	at.layout.sched_time_to_run = latency;
	assert_int_equal(goroutines_again(&at, &seen, true, 105), 105);
	assert_int_equal(goroutines_again(&at, &seen, true, 106), 105);
}

static void what_is_missing_is_left_out(void **state)
{
	struct gd_error err = { 0 };
	struct gd_gauges g;
	(void)state;
	struct gd_gauges_at at = made_up("go1.22.5");
	at.layout.sched_gfree = GD_ABSENT;
	at.layout.sched_time_to_run = GD_ABSENT;
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_int_equal(g.has, GD_GAUGES_ALL & ~(GD_GAUGES_GOROUTINES | GD_GAUGES_LATENCY));
	assert_contains(err.msg, "free goroutines");
	at = made_up("go1.22.5");
	at.sched = 0;
	assert_ok(read_made_up(&at, &g, &err), &err);
	assert_int_equal(g.has, GD_GAUGES_HEAP | GD_GAUGES_GC | GD_GAUGES_GC_CPU);
	at.memstats = at.gc_controller = 0x1000;
	assert_fails(read_made_up(&at, &g, &err), -ENOENT, &err);
}

static void lists_that_make_no_sense_are_refused(void **state)
{
	static const uint64_t lengths[] = { 0, 3, 1025, UINT64_MAX };
	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct gd_error err = { 0 };
		struct gd_gauges g;
		struct gd_gauges_at at = made_up("go1.22.5");
		put(ALLP + 8, lengths[i], 8);
		assert_ok(read_made_up(&at, &g, &err), &err);
		assert_int_equal(g.has & GD_GAUGES_GOROUTINES, 0);
		assert_int_equal(err.code, -EBADMSG);
	}
}

static void every_field_of_a_record_is_checked(void **state)
{
	struct gd_error err = { 0 };
	struct gd_gauges_at at = made_up("go1.27.4");
	size_t n = offsetof(struct gd_layout, trust) / sizeof(int32_t);
	(void)state;
	assert_ok(gd_gauges_at_check(&at, &err), &err);
	for (size_t i = 0; i < n; i++) {
		static const int32_t bad[] = { -2, INT32_MIN, INT32_MAX, (1 << 20) + 1 };
		for (size_t b = 0; b < 4; b++) {
			struct gd_gauges_at wrong = at;
			memcpy((char *)&wrong.layout + 4 * i, &bad[b], sizeof(bad[b]));
			assert_fails(gd_gauges_at_check(&wrong, &err), -EBADMSG, &err);
		}
	}
	for (size_t i = 0; i < 5; i++) {
		static const uint64_t bad[] = { 1, 4095, UINT64_C(1) << 47, UINT64_MAX };
		for (size_t b = 0; b < 4; b++) {
			struct gd_gauges_at wrong = at;
			memcpy((char *)&wrong + offsetof(struct gd_gauges_at, sched) + 8 * i, &bad[b], 8);
			assert_fails(gd_gauges_at_check(&wrong, &err), -EBADMSG, &err);
		}
	}
	struct gd_gauges_at wrong = at;
	wrong.minor = 17;
	assert_fails(gd_gauges_at_check(&wrong, &err), -EBADMSG, &err);
	wrong = at;
	memset(&wrong.layout.trust, 0xff, sizeof(wrong.layout.trust));
	assert_fails(gd_gauges_at_check(&wrong, &err), -EBADMSG, &err);
}

static void nothing_to_find_is_told(void **state)
{
	struct gd_error err = { 0 };
	struct gd_gauges_at at;
	struct gd_go go = { .version = { .minor = 22 } };
	(void)state;
	assert_fails(gd_gauges_find(&go, &at, &err), -ENOENT, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(at_rest_they_equal_what_the_long_way_finds),
		test_case(a_reading_is_a_handful_of_reads),
		test_case(a_process_that_sleeps_is_not_read),
		test_case(in_a_busy_process_nothing_is_missed),
		test_case(in_a_busy_process_they_make_sense),
		test_case(an_unknown_release_is_read_as_far_as_it_agrees_with_itself),
		test_case(they_are_what_the_process_says_of_itself),
		test_case(free_goroutines_are_counted_in_both_ways),
		test_case(the_collectors_time_is_its_part_of_all_time),
		test_case(what_slept_is_read_only_when_nothing_whole_is_known),
		test_case(what_is_missing_is_left_out),
		test_case(lists_that_make_no_sense_are_refused),
		test_case(every_field_of_a_record_is_checked),
		test_case(nothing_to_find_is_told),
	};
	return test_run(tests);
}
