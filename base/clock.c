#include "base/clock.h"

#include <stdio.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

static int64_t read_ns(clockid_t id)
{
	struct timespec ts = { 0 };
	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct gd_clock gd_clock_now(void)
{
	return (struct gd_clock){
		.monotonic_ns = read_ns(CLOCK_MONOTONIC),
		.realtime_ns = read_ns(CLOCK_REALTIME),
		.boottime_ns = read_ns(CLOCK_BOOTTIME),
	};
}

int64_t gd_clock_monotonic_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t gd_clock_cpu_ns(void)
{
	return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

bool gd_clock_tsc(struct gd_clock_tsc *ret)
{
#ifdef __x86_64__
	enum { TRIES = 8 };
	uint64_t shortest = UINT64_MAX;
	for (int i = 0; i < TRIES; i++) {
		unsigned cpu;
		uint64_t before = __rdtscp(&cpu);
		int64_t ns = read_ns(CLOCK_MONOTONIC);
		uint64_t after = __rdtscp(&cpu);
		/* Backwards on CPUs whose counters differ; then no pair of it is worth anything. */
		if (after - before >= shortest)
			continue;
		shortest = after - before;
		*ret = (struct gd_clock_tsc){ before + (after - before) / 2, ns };
	}
	return shortest != UINT64_MAX;
#else
	(void)ret;
	return false;
#endif
}

const char *gd_clock_text(char to[GD_CLOCK_TEXT], int64_t realtime_ns)
{
	int64_t seconds_floor = realtime_ns / 1000000000;
	int64_t rest_ns = realtime_ns % 1000000000;
	if (rest_ns < 0) { /* before 1970: a clock that was never set, or a forged archive */
		seconds_floor--;
		rest_ns += 1000000000;
	}
	time_t seconds = (time_t)seconds_floor;
	struct tm tm;
	char date[24] = "";
	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(to, GD_CLOCK_TEXT, "%s.%06dZ", date, (int)(rest_ns / 1000));
	return to;
}
