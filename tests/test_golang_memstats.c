/*
 * The victim reads its own MemStats and does nothing more: what we compute from its memory must be
 * the same in every member.
 */
#include "golang/memstats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/go_target.h"

/* runtime.MemStats and the counter before it, as the victim `totals` lays them out. */
struct said {
	uint64_t times;
	uint64_t alloc, total_alloc, sys, lookups, mallocs, frees;
	uint64_t heap_alloc, heap_sys, heap_idle, heap_inuse, heap_released, heap_objects;
	uint64_t stack_inuse, stack_sys, mspan_inuse, mspan_sys, mcache_inuse, mcache_sys;
	uint64_t buck_hash_sys, gc_sys, other_sys, next_gc, last_gc, pause_total;
	uint64_t pause_ns[256], pause_end[256];
	uint32_t num_gc, num_forced_gc;
	double gc_cpu_fraction;
	uint8_t enable_gc, debug_gc, pad[6];
	struct {
		uint32_t size, pad;
		uint64_t mallocs, frees;
	} by_size[61];
};

enum { TRIES = 10, WAITS = 2000 };

static void pause_ms(long ms)
{
	struct timespec t = { .tv_nsec = ms * 1000000 };
	(void)nanosleep(&t, NULL);
}

/* Lets the victim read its MemStats once more. */
static void ask(const struct go_target *go, struct said *said)
{
	struct gd_error err = { 0 };
	uint64_t addr = strtoull(go->victim->ready, NULL, 10);
	uint64_t before;
	uint64_t times;
	go_assert_ok(go, gd_memory_read_u64(go->target->memory, addr, &before, &err), &err);
	victim_tell(go->victim, "memstats");
	times = before;
	for (unsigned i = 0; i < WAITS && times == before; i++) {
		pause_ms(1);
		go_assert_ok(go, gd_memory_read_u64(go->target->memory, addr, &times, &err), &err);
	}
	assert_int_equal(times, before + 1);
	go_assert_ok(go, gd_memory_read(go->target->memory, addr, said, sizeof(*said), &err), &err);
}

/* How many members differ; prints them when asked to. */
static unsigned differences(const struct said *s, const struct gd_memstats *m, bool print)
{
	const struct {
		const char *name;
		uint64_t theirs, ours;
	} members[] = {
		{ "TotalAlloc", s->total_alloc, m->total_alloc },
		{ "Sys", s->sys, m->sys },
		{ "Mallocs", s->mallocs, m->mallocs },
		{ "Frees", s->frees, m->frees },
		{ "HeapAlloc", s->heap_alloc, m->heap_alloc },
		{ "HeapSys", s->heap_sys, m->heap_sys },
		{ "HeapIdle", s->heap_idle, m->heap_idle },
		{ "HeapInuse", s->heap_inuse, m->heap_inuse },
		{ "HeapReleased", s->heap_released, m->heap_released },
		{ "HeapObjects", s->heap_objects, m->heap_objects },
		{ "StackInuse", s->stack_inuse, m->stack_inuse },
		{ "StackSys", s->stack_sys, m->stack_sys },
		{ "MSpanInuse", s->mspan_inuse, m->mspan_inuse },
		{ "MSpanSys", s->mspan_sys, m->mspan_sys },
		{ "MCacheInuse", s->mcache_inuse, m->mcache_inuse },
		{ "MCacheSys", s->mcache_sys, m->mcache_sys },
		{ "BuckHashSys", s->buck_hash_sys, m->buck_hash_sys },
		{ "GCSys", s->gc_sys, m->gc_sys },
		{ "OtherSys", s->other_sys, m->other_sys },
		{ "NextGC", s->next_gc, m->next_gc },
	};
	unsigned n = 0;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (members[i].theirs == members[i].ours)
			continue;
		n++;
		if (print)
			print_message("# %s: %" PRIu64 ", ours %" PRIu64 "\n", members[i].name,
			              members[i].theirs, members[i].ours);
	}
	for (unsigned i = 0; i < 61; i++)
		n += s->by_size[i].size != m->by_size[i].size ||
		     s->by_size[i].mallocs != m->by_size[i].mallocs ||
		     s->by_size[i].frees != m->by_size[i].frees;
	return n;
}

static void check_equal(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_memstats ours;
	struct said said;
	unsigned n = 1;

	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	/* A thread that the runtime starts meanwhile is an allocation: then once more. */
	for (unsigned i = 0; i < TRIES && n > 0; i++) {
		ask(go, &said);
		go_assert_ok(go, gd_memstats_read(runtime, &ours, &err), &err);
		n = differences(&said, &ours, i == TRIES - 1) + !ours.exact;
	}
	if (n > 0)
		go_target_fail(go, "%u members differ, exact %d", n, ours.exact);
	assert_true(ours.by_size[2].mallocs > 1000);
	assert_true(ours.heap_objects > 5000);
	assert_true(ours.frees > 1000);
}

static void totals_equal_read_mem_stats(void **state)
{
	(void)state;
	go_target_each("totals", check_equal);
}

/* While goroutines allocate without end nothing is exact, but nothing is nonsense either. */
static void check_busy(struct go_target *go)
{
	struct gd_error err = { 0 };
	GD_GO struct gd_go *runtime = NULL;
	struct gd_memstats m;
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	for (unsigned i = 0; i < 50; i++) {
		go_assert_ok(go, gd_memstats_read(runtime, &m, &err), &err);
		if (m.total_alloc < m.heap_alloc || m.mallocs < m.frees ||
		    m.heap_sys < m.heap_inuse || m.sys < m.heap_sys ||
		    m.sys > UINT64_C(16) << 30 || m.stack_inuse > m.sys ||
		    m.next_gc > UINT64_C(16) << 30)
			go_target_fail(go, "totals make no sense: sys %" PRIu64, m.sys);
		pause_ms(1);
	}
}

static void totals_of_a_busy_process_make_sense(void **state)
{
	(void)state;
	go_target_each("churn", check_busy);
}

static void what_was_not_found_is_named(void **state)
{
	struct gd_error err = { 0 };
	struct gd_memstats m;
	struct gd_go go = { 0 };
	uint8_t nothing[16] = { 0 };
	GD_MEMORY struct gd_memory *memory = NULL;
	(void)state;
	assert_ok(gd_memory_bytes(0x1000, nothing, sizeof(nothing), &memory, &err), &err);
	go.memory = memory;
	assert_fails(gd_memstats_read(&go, &m, &err), -ENOENT, &err);
	assert_contains(err.msg, "runtime.memstats");
	go.globals.memstats = 0x1000;
	go.layout.mstats_heap_stats = GD_ABSENT;
	assert_fails(gd_memstats_read(&go, &m, &err), -ENOTSUP, &err);
	go.version = (struct gd_go_version){ .minor = 22, .patch = 5 };
	assert_ok(gd_layout_of(&go.version, &go.layout, &err), &err);
	assert_fails(gd_memstats_read(&go, &m, &err), -EFAULT, &err);
}

static void classes_have_their_sizes(void **state)
{
	(void)state;
	assert_int_equal(gd_memstats_class_bytes(0), 0);
	assert_int_equal(gd_memstats_class_bytes(1), 8);
	assert_int_equal(gd_memstats_class_bytes(67), 32768);
	assert_int_equal(gd_memstats_class_bytes(68), 0);
	for (unsigned i = 1; i < GD_MEMSTATS_CLASSES; i++)
		assert_true(gd_memstats_class_bytes(i) > gd_memstats_class_bytes(i - 1));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(totals_equal_read_mem_stats),
		test_case(totals_of_a_busy_process_make_sense),
		test_case(what_was_not_found_is_named),
		test_case(classes_have_their_sizes),
	};
	return test_run(tests);
}
