#pragma once
/*
 * One directory of a control group hierarchy (or the whole machine in its stead) as a source of one
 * kind of figures; part of watch_cgroup.h.  Read once a tick however many groups refer to it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/watch_psi.h"

enum gd_watch_place_kind {
	GD_PLACE_USAGE,   /* memory in use against this place's limit; the machine's without a path */
	GD_PLACE_EVENTS,  /* memory events */
	GD_PLACE_CPU,     /* throttling */
	GD_PLACE_PSI,     /* pressure; the host's without a path */
};

#define GD_WATCH_SLOPE_POINTS 60

struct gd_watch_usage {
	int fd;
	uint64_t used, limit;       /* limit 0: none known */
	uint64_t droppable;         /* inactive file pages, as of the last look */
	unsigned ticks;             /* until the next look */
	bool known;                 /* used is of this tick */
	int64_t at_ns[GD_WATCH_SLOPE_POINTS];
	uint64_t points[GD_WATCH_SLOPE_POINTS];
	unsigned n, next;
};

struct gd_watch_memory_events {
	int fds[2];
	bool seen;
	uint64_t counters[4];       /* high, max, oom, oom_kill */
	unsigned bits;              /* 1 << enum gd_event that moved in this tick */
};

struct gd_watch_throttled {
	int fd;
	bool seen, known;
	uint64_t periods, throttled;
	double part;
};

struct gd_watch_place {
	struct gd_watch_place *next; /* in its bucket */
	enum gd_watch_place_kind kind;
	bool v1;
	int mount_fd;                /* borrowed: the hierarchy; /proc for the machine and the host */
	unsigned refs;
	union {
		struct gd_watch_usage usage;
		struct gd_watch_memory_events events;
		struct gd_watch_throttled cpu;
		struct gd_watch_psi psi;
	};
	char path[];                 /* below mount_fd, "." for its root; "" the machine */
};

/* Opens its files; what is missing has no values. */
void gd_watch_place_open(struct gd_watch_place *place);
void gd_watch_place_close(struct gd_watch_place *place);
void gd_watch_place_read(struct gd_watch_place *place, int64_t monotonic_ns);

/* Seconds until the limit at the slope of the last minute; infinite when it is not growing, NaN when
 * too little is known. */
double gd_watch_place_time_to_limit(const struct gd_watch_place *place);

/* MemTotal of the machine; 0 unknown. */
uint64_t gd_watch_place_machine(int proc_fd);

/* This directory's own memory limit, 0 none; its CPU quota in CPUs, 0 none. */
uint64_t gd_watch_place_limit(int mount_fd, const char *path, bool v1);
double gd_watch_place_quota(int mount_fd, const char *path, bool v1);
