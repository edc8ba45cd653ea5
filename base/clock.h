#pragma once
/*
 * One instant on the three clocks a reader may want to correlate with, and short cuts.
 */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct gd_clock {
	int64_t monotonic_ns; /* what Go's waitsince and perf records use */
	int64_t realtime_ns;  /* since 1970, jumps when the clock is set */
	int64_t boottime_ns;  /* monotonic, including suspend */
};

/* Read within a few hundred nanoseconds of each other. */
struct gd_clock gd_clock_now(void);

int64_t gd_clock_monotonic_ns(void);

/* CPU time (user + system) this process has used so far. */
int64_t gd_clock_cpu_ns(void);

/* "2026-11-20T13:05:07.123456Z" */
#define GD_CLOCK_TEXT 32
const char *gd_clock_text(char to[GD_CLOCK_TEXT], int64_t realtime_ns);

/*
 * The CPU's time stamp counter and CLOCK_MONOTONIC at the same instant, as near as a few tries come.  Two of
 * them, some time apart, place what somebody else stamped with the counter.  False: this architecture has
 * none that a program may read.
 */
struct gd_clock_tsc {
	uint64_t tsc;
	int64_t monotonic_ns;
};
bool gd_clock_tsc(struct gd_clock_tsc *ret);
