#pragma once
/*
 * One instant on the three clocks a reader may want to correlate with, and short cuts.
 */
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
