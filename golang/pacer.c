#include "golang/pacer.h"

#include <errno.h>
#include <string.h>

#define RECORD_BYTES_MAX 1024
#define MEMORY_LIMIT_HEADROOM (1ull << 20)
#define MIN_RUNWAY (64ull << 10)
#define DEFAULT_HEAP_MINIMUM (4ull << 20)
/* Where between the marked heap and the goal a collection may begin, in 64ths. */
#define TRIGGER_MIN 45
#define TRIGGER_MAX 61

struct record {
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t len;
};

static uint64_t field(const struct record *r, int32_t at, size_t size)
{
	uint64_t v = 0;
	if (at >= 0 && (size_t)at + size <= r->len)
		memcpy(&v, r->bytes + at, size);
	return v;
}

int gd_pacer_read(struct gd_memory *memory, const struct gd_layout *l, uint64_t addr,
                  struct gd_pacer *ret, struct gd_error *err)
{
	struct record r = { 0 };
	if (addr == 0)
		return gd_fail(err, -ENOENT, "runtime.gcController was not found");
	if (l->gcc_size <= 0 || l->gcc_size > RECORD_BYTES_MAX || l->gcc_heap_live < 0)
		return gd_fail(err, -ENOTSUP, "the layout of gcControllerState is not known");
	r.len = (size_t)l->gcc_size;
	int e = gd_memory_read(memory, addr, r.bytes, r.len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.gcController");
	*ret = (struct gd_pacer){
		.gc_percent = (int32_t)(uint32_t)field(&r, l->gcc_gc_percent, 4),
		.has_totals = l->gcc_total_alloc >= 0 && l->gcc_mapped_ready >= 0,
		.memory_limit = l->gcc_memory_limit >= 0
		                        ? (int64_t)field(&r, l->gcc_memory_limit, 8)
		                        : INT64_MAX,
		.heap_live = field(&r, l->gcc_heap_live, 8),
		.heap_marked = field(&r, l->gcc_heap_marked, 8),
		.heap_in_use = field(&r, l->gcc_heap_in_use, 8),
		.heap_released = field(&r, l->gcc_heap_released, 8),
		.heap_free = field(&r, l->gcc_heap_free, 8),
		.total_alloc = field(&r, l->gcc_total_alloc, 8),
		.total_free = field(&r, l->gcc_total_free, 8),
		.mapped_ready = field(&r, l->gcc_mapped_ready, 8),
		.percent_goal = l->gcc_heap_goal_percent >= 0
		                        ? field(&r, l->gcc_heap_goal_percent, 8)
		                        : field(&r, l->gcc_heap_goal, 8),
		.sweep_min_trigger = field(&r, l->gcc_sweep_dist_min_trigger, 8),
		.triggered = field(&r, l->gcc_triggered, 8),
		.runway = field(&r, l->gcc_runway, 8),
		.trigger_1_18 = field(&r, l->gcc_trigger, 8),
	};
	return 0;
}

/* What the memory limit leaves for the heap, less some room for what the pacer cannot foresee. */
static uint64_t limit_goal(const struct gd_pacer *p, int minor, uint64_t cached_bytes)
{
	uint64_t limit = (uint64_t)p->memory_limit;
	uint64_t alloc = p->total_alloc + cached_bytes - p->total_free;
	uint64_t other = p->mapped_ready - p->heap_free - alloc;
	uint64_t over = p->mapped_ready > limit ? p->mapped_ready - limit : 0;
	uint64_t headroom = MEMORY_LIMIT_HEADROOM;

	/* Torn reading: the runtime would load the three again. */
	if (p->heap_free + alloc > p->mapped_ready)
		return UINT64_MAX;
	if (other + over >= limit)
		return p->heap_marked;
	uint64_t goal = limit - (other + over);
	/* 3 % since Go 1.21. */
	if (minor >= 21 && goal / 100 * 3 > headroom)
		headroom = goal / 100 * 3;
	goal = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
	return goal < p->heap_marked ? p->heap_marked : goal;
}

/* The goal, and the least heap at which a collection may begin. */
static uint64_t goal_and_min(const struct gd_pacer *p, int minor, uint64_t cached_bytes,
                             uint64_t *ret_min)
{
	uint64_t goal = p->percent_goal;
	*ret_min = 0;
	if (!p->has_totals)
		return goal;
	uint64_t limited = limit_goal(p, minor, cached_bytes);
	if (limited < goal)
		return limited;
	if (p->sweep_min_trigger > goal)
		goal = p->sweep_min_trigger;
	*ret_min = p->sweep_min_trigger;
	if (p->triggered != UINT64_MAX && goal < p->triggered + MIN_RUNWAY)
		goal = p->triggered + MIN_RUNWAY;
	return goal;
}

uint64_t gd_pacer_goal(const struct gd_pacer *pacer, int minor, uint64_t cached_bytes)
{
	uint64_t min;
	return goal_and_min(pacer, minor, cached_bytes, &min);
}

uint64_t gd_pacer_trigger(const struct gd_pacer *pacer, int minor)
{
	uint64_t min;
	uint64_t goal = goal_and_min(pacer, minor, 0, &min);
	uint64_t marked = pacer->heap_marked;
	if (!pacer->has_totals)
		return pacer->trigger_1_18;
	if (marked >= goal)
		return goal;
	uint64_t part = (goal - marked) / 64;
	if (min < marked + part * TRIGGER_MIN)
		min = marked + part * TRIGGER_MIN;
	uint64_t max = marked + part * TRIGGER_MAX;
	if (goal > DEFAULT_HEAP_MINIMUM && goal - DEFAULT_HEAP_MINIMUM > max)
		max = goal - DEFAULT_HEAP_MINIMUM;
	if (max < min)
		max = min;
	uint64_t trigger = pacer->runway > goal ? min : goal - pacer->runway;
	if (trigger < min)
		trigger = min;
	return trigger < max ? trigger : max;
}
