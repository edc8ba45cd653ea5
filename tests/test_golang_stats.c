/*
 * Counters and pause ring of a victim that has collected some 300 times, against the MemStats it
 * read itself; and a ring that changes while it is read.
 */
#include "golang/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "golang/go_version.h"
#include "tests/go_target.h"

/* Of runtime.MemStats, from NextGC on; see tests/victims/totals. */
struct said {
	uint64_t next_gc, last_gc, pause_total;
	uint64_t pause_ns[256], pause_end[256];
	uint32_t num_gc, num_forced_gc;
	double gc_cpu_fraction;
};

enum { NEXT_GC = 8 + 21 * 8, WAITS = 2000 };

static void ask(const struct go_target *go, struct said *said)
{
	struct gd_error err = { 0 };
	struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t addr = strtoull(go->victim->ready, NULL, 10);
	uint64_t times = 0;
	victim_tell(go->victim, "memstats");
	for (unsigned i = 0; i < WAITS && times == 0; i++) {
		(void)nanosleep(&ms, NULL);
		go_assert_ok(go, gd_memory_read_u64(go->target->memory, addr, &times, &err), &err);
	}
	assert_int_equal(times, 1);
	go_assert_ok(go, gd_memory_read(go->target->memory, addr + NEXT_GC, said, sizeof(*said),
	                                &err), &err);
}

static void check_equal(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_stats s;
	struct said said;
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	ask(go, &said);
	go_assert_ok(go, gd_stats_read(runtime, &s, &err), &err);

	assert_false(s.torn);
	assert_true(s.num_gc >= 300);
	assert_int_equal(s.num_gc, said.num_gc);
	assert_int_equal(s.num_forced_gc, said.num_forced_gc);
	assert_int_equal(s.last_gc_ns, said.last_gc);
	assert_int_equal(s.pause_total_ns, said.pause_total);
	assert_memory_equal(&s.gc_cpu_fraction, &said.gc_cpu_fraction, sizeof(double));
	assert_int_equal(s.n_pauses, 256);
	for (size_t i = 0; i < 256; i++) {
		size_t slot = (said.num_gc + i) % 256;
		assert_int_equal(s.pauses[i].pause_ns, said.pause_ns[slot]);
		assert_int_equal(s.pauses[i].end_ns, said.pause_end[slot]);
		assert_true(i == 0 || s.pauses[i].end_ns >= s.pauses[i - 1].end_ns);
	}
	assert_int_equal(s.pauses[255].end_ns, s.last_gc_ns);

	assert_int_equal(s.phase, GD_GC_OFF);
	assert_int_equal(s.pacer_error.code, 0);
	assert_int_equal(s.pacer.gc_percent, 150);
	assert_true(s.pacer.memory_limit == INT64_MAX);
	assert_int_equal(s.heap_goal, said.next_gc);
	assert_true(s.heap_trigger > s.pacer.heap_marked && s.heap_trigger <= s.heap_goal);
	assert_true(s.pacer.heap_live >= s.pacer.heap_marked);
}

static void counters_and_pauses_equal_mem_stats(void **state)
{
	(void)state;
	go_target_each("totals", check_equal);
}

/* A service under garbage pressure: it marks again and again, and pauses follow each other. */
static void check_busy(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct timespec ms = { .tv_nsec = 1000000 };
	GD_GO struct gd_go *runtime = NULL;
	unsigned seen[GD_GC_UNKNOWN + 1] = { 0 };
	struct gd_stats s;
	uint32_t last = 0;
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	for (unsigned i = 0; i < 5000 && (i < 200 || seen[GD_GC_MARK] == 0); i++) {
		go_assert_ok(go, gd_stats_read(runtime, &s, &err), &err);
		seen[s.phase]++;
		assert_true(s.num_gc >= last);
		last = s.num_gc;
		if (s.torn)
			continue;
		for (size_t p = 1; p < s.n_pauses; p++)
			if (s.pauses[p].end_ns < s.pauses[p - 1].end_ns)
				go_target_fail(go, "pause %zu of %zu ends before the one before it",
				               p, s.n_pauses);
		(void)nanosleep(&ms, NULL);
	}
	if (seen[GD_GC_UNKNOWN] > 0 || seen[GD_GC_OFF] == 0 || seen[GD_GC_MARK] == 0)
		go_target_fail(go, "phases seen: %u off, %u mark, %u unknown", seen[GD_GC_OFF],
		               seen[GD_GC_MARK], seen[GD_GC_UNKNOWN]);
}

static void the_phase_is_seen_to_change(void **state)
{
	(void)state;
	go_target_each("churn", check_busy);
}

/* --- made up --- */

enum { BASE = 0x20000, BYTES = 16384 };

struct image {
	struct gd_memory memory;
	uint8_t bytes[BYTES];
	unsigned left; /* collections that end while we read */
	int32_t numgc_at;
};

static ssize_t image_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	struct image *image = (struct image *)memory;
	uint32_t n;
	if (addr < BASE || addr + len > BASE + BYTES)
		return 0;
	if (image->left > 0) {
		memcpy(&n, image->bytes + image->numgc_at, sizeof(n));
		n++;
		memcpy(image->bytes + image->numgc_at, &n, sizeof(n));
		image->left--;
	}
	memcpy(to, image->bytes + (addr - BASE), len);
	return (ssize_t)len;
}

static const struct gd_memory_ops image_ops = { .kind = "test", .read = image_read };

static void put(struct image *image, int32_t at, uint64_t value, size_t size)
{
	memcpy(image->bytes + at, &value, size);
}

static void set_up(struct image *image, struct gd_go *go)
{
	struct gd_error err = { 0 };
	memset(image, 0, sizeof(*image));
	memset(go, 0, sizeof(*go));
	image->memory.ops = &image_ops;
	go->memory = &image->memory;
	go->globals.memstats = BASE;
	assert_ok(gd_go_version_parse("go1.22.5", &go->version, &err), &err);
	assert_ok(gd_layout_of(&go->version, &go->layout, &err), &err);
	image->numgc_at = go->layout.mstats_numgc;
}

static void before_the_first_collection_there_is_nothing(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	struct gd_stats s;
	struct gd_go go;
	(void)state;
	set_up(&image, &go);
	assert_ok(gd_stats_read(&go, &s, &err), &err);
	assert_int_equal(s.num_gc, 0);
	assert_int_equal(s.n_pauses, 0);
	assert_false(s.torn);
	assert_int_equal(s.phase, GD_GC_UNKNOWN);
	assert_int_equal(s.pacer_error.code, -ENOENT);
}

static void a_collection_that_ends_meanwhile_is_read_again(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	struct gd_stats s;
	struct gd_go go;
	(void)state;
	set_up(&image, &go);
	put(&image, go.layout.mstats_last_gc_unix, 777, 8);
	put(&image, go.layout.mstats_pause_end + 8 * 4, 777, 8);
	put(&image, go.layout.mstats_numgc, 2, 4);
	image.left = 3;
	assert_ok(gd_stats_read(&go, &s, &err), &err);
	assert_int_equal(s.num_gc, 5);
	assert_false(s.torn);
	assert_true(s.repeated > 0);
	image.left = 1000;
	assert_ok(gd_stats_read(&go, &s, &err), &err);
	assert_true(s.torn);
}

/* The runtime writes the last pause first and its number afterwards. */
static void a_ring_that_is_ahead_of_its_number_is_torn(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	struct gd_stats s;
	struct gd_go go;
	(void)state;
	set_up(&image, &go);
	put(&image, go.layout.mstats_numgc, 2, 4);
	put(&image, go.layout.mstats_pause_end + 8 * 1, 500, 8);
	put(&image, go.layout.mstats_pause_end + 8 * 2, 900, 8);
	put(&image, go.layout.mstats_last_gc_unix, 900, 8);
	assert_ok(gd_stats_read(&go, &s, &err), &err);
	assert_true(s.torn);
}

static void what_is_not_known_is_told(void **state)
{
	static struct image image;
	struct gd_error err = { 0 };
	struct gd_stats s;
	struct gd_go go;
	(void)state;
	set_up(&image, &go);
	go.globals.memstats = 0;
	assert_fails(gd_stats_read(&go, &s, &err), -ENOENT, &err);
	set_up(&image, &go);
	go.layout.mstats_pause_end = GD_ABSENT;
	assert_fails(gd_stats_read(&go, &s, &err), -ENOTSUP, &err);
	set_up(&image, &go);
	go.layout.mstats_gc_cpu_fraction = 1 << 30;
	assert_fails(gd_stats_read(&go, &s, &err), -ENOTSUP, &err);
	set_up(&image, &go);
	go.globals.memstats = 0x99;
	assert_fails(gd_stats_read(&go, &s, &err), -EFAULT, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(counters_and_pauses_equal_mem_stats),
		test_case(the_phase_is_seen_to_change),
		test_case(before_the_first_collection_there_is_nothing),
		test_case(a_collection_that_ends_meanwhile_is_read_again),
		test_case(a_ring_that_is_ahead_of_its_number_is_torn),
		test_case(what_is_not_known_is_told),
	};
	return test_run(tests);
}
