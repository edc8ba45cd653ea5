#pragma once
/*
 * The numbers of one archive that an on-call engineer asks for first, gathered from runtime.json,
 * proc/, cgroup/ and host/.  All of it is foreign text: what is missing or makes no sense is
 * GD_FACT_UNKNOWN, never an error.
 */
#include <stdbool.h>
#include <stdint.h>

#include "archive/reader.h"

#define GD_FACT_UNKNOWN INT64_MIN

struct gd_facts {
	/* runtime.json */
	bool has_runtime;
	int64_t gogc, gomemlimit, gomaxprocs; /* gomemlimit unknown: none set */
	int64_t gc_count, gc_last_ns;         /* since 1970 */
	double gc_cpu_fraction;               /* negative: unknown */
	int64_t pause_p50_ns, pause_p99_ns, pause_max_ns;
	int64_t heap_live, heap_goal, heap_objects, heap_idle, heap_released, stack_inuse, sys;
	int64_t runq, latency_p99_ns;
	bool stopping_the_world;

	/* the process */
	int64_t rss, swap, threads, fds, fd_limit;

	/* its control group; limits are the tightest of it and its ancestors, relative to use */
	int64_t memory_used, memory_limit;    /* used without what the kernel can drop at once */
	int64_t ancestor_used, ancestor_limit; /* of the fullest group above it */
	int64_t pids_used, pids_limit;
	int64_t throttled_periods, periods, throttled_ns;
	int64_t oom_kills, oom_in_group;

	/* the host */
	double load1;                         /* negative: unknown */
	int64_t memory_available, memory_total;

	/* share of the last 10 s lost to waiting, in percent; negative: unknown */
	struct gd_pressure {
		double some, full;
	} host_cpu, host_memory, host_io, group_cpu, group_memory, group_io;
};

void gd_facts_read(const struct gd_reader *reader, struct gd_facts *ret);
