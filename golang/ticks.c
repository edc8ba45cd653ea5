/*
 * runtime.ticks is found through the code that returns it: the first load of tickspersecond
 * (ticksPerSecond since Go 1.22) is ticks.val.  Since 1.22 the two words before it are the counter
 * and the time when the process began, from which the runtime computes the rate when first asked.
 */
#include "golang/ticks.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "base/clock.h"
#include "golang/reference.h"

/* Of our own measurement, before Go 1.22: as long as is hardly noticed. */
#define MEASURE_NS 20000000

static int64_t now_ticks(void)
{
#ifdef __x86_64__
	unsigned cpu;
	return (int64_t)__rdtscp(&cpu);
#else
	return 0;
#endif
}

/* Address of ticks.val, or 0. */
static uint64_t find_val(const struct gd_go *go)
{
	const char *name = go->version.minor >= 22 ? "runtime.ticksPerSecond" :
	                                             "runtime.tickspersecond";
	return gd_reference_find(go, name, GD_OPERAND_LOAD, 8);
}

static int64_t rate(int64_t ticks, int64_t ns)
{
	return ticks > 0 && ns > 0 ? (int64_t)((double)ticks * 1e9 / (double)ns) : 0;
}

/* As ticksPerSecond does it since Go 1.22: over the life of the process. */
static int64_t measure_life(struct gd_go *go, uint64_t val)
{
	uint64_t start[2];
	if (go->version.minor < 22 ||
	    gd_memory_read(go->memory, val - 16, start, sizeof(start), NULL) < 0 || start[0] == 0)
		return 0;
	return rate(now_ticks() - (int64_t)start[0],
	            gd_clock_monotonic_ns() - (int64_t)start[1]);
}

static int64_t measure_now(void)
{
	struct timespec wait = { .tv_nsec = MEASURE_NS };
	int64_t ticks = now_ticks();
	int64_t ns = gd_clock_monotonic_ns();
	(void)nanosleep(&wait, NULL);
	return rate(now_ticks() - ticks, gd_clock_monotonic_ns() - ns);
}

int gd_ticks_read(struct gd_go *go, struct gd_ticks *ret, struct gd_error *err)
{
	uint64_t val = find_val(go);
	uint64_t per_second = 0;
	if (val != 0 && gd_memory_read_u64(go->memory, val, &per_second, NULL) == 0 &&
	    (int64_t)per_second > 1) {
		*ret = (struct gd_ticks){ .per_second = (int64_t)per_second };
		return 0;
	}
	/* The counter of this machine says nothing of a core from another one. */
	int64_t measured = 0;
	if (strcmp(go->memory->ops->kind, "live") == 0) {
		measured = val != 0 ? measure_life(go, val) : 0;
		if (measured <= 0)
			measured = measure_now();
	}
	if (measured <= 0)
		return gd_fail(err, -ENOENT,
		               "the rate of runtime.cputicks is not known: the process never "
		               "used it");
	*ret = (struct gd_ticks){ .per_second = measured, .measured = true };
	return 0;
}
