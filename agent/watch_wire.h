#pragma once
/*
 * What watcher and broker say to each other, one record per packet (base/message.h).  The watcher
 * reads foreign bytes, so the broker believes no field of it: watcher.c has the table of what is
 * allowed when, and each grant checks its ranges.  Questions are answered by the record of the same
 * type and sequence number.
 */
#include <stdint.h>

#include "agent/watcher.h"
#include "base/clock.h"
#include "golang/gauges.h"

enum gd_watch_type {
	GD_WATCH_READY = 1, /* once: it is in its jail; gd_watch_ready */
	GD_WATCH_FOUND,     /* question: gd_watch_found -> gd_watch_answer */
	GD_WATCH_CHANGED,   /* gd_watch_changed */
	GD_WATCH_GONE,      /* uint32_t slot */
	GD_WATCH_SAMPLES,   /* gd_watch_samples, cut behind its last record */
	GD_WATCH_EVENTS,    /* gd_watch_events */
	GD_WATCH_TICK,      /* gd_watch_tick */
	GD_WATCH_EXE,       /* question: gd_watch_who -> gd_watch_exe, cut behind the path */
	GD_WATCH_SOCKETS,   /* question: gd_watch_who -> gd_watch_sockets, cut behind the last */
	GD_WATCH_MEMORY,    /* question: gd_watch_memory -> gd_watch_answer; on 0 with descriptors of
	                     * its memory and of a socket on which gd_watch_runtime arrives */
	GD_WATCH_TYPES,
	GD_WATCH_RUNTIME = 100, /* from the child that looks into the runtime, to the watcher */
};

struct gd_watch_ready {
	char note[248];         /* what the jail could not do, what /proc hides; "" */
};

struct gd_watch_who {
	uint64_t start_ticks;
	int32_t pid;
	uint32_t zero;
};

struct gd_watch_found {
	struct gd_watch_who who;
	uint32_t slot;
	uint32_t service;
	uint32_t first_look;    /* 0 or 1 */
	char comm[20];          /* raw, NUL-terminated */
};

struct gd_watch_answer {
	int32_t code;           /* 0 or negative errno */
	char why[124];
};

struct gd_watch_changed {
	uint32_t slot;
	uint32_t go;            /* 0 or 1 */
	char note[120];
};

struct gd_watch_sample {
	uint32_t slot;
	uint32_t zero;
	double values[GD_METRICS];
};

#define GD_WATCH_SAMPLES_MAX 256
struct gd_watch_samples {
	struct gd_clock at;
	uint64_t n;
	struct gd_watch_sample list[GD_WATCH_SAMPLES_MAX];
};

struct gd_watch_events {
	struct gd_clock at;
	uint32_t slot;
	uint32_t bits;          /* 1 << enum gd_event */
};

struct gd_watch_tick {
	struct gd_clock at;
	uint32_t unwatched;     /* matched, beyond what can be watched */
	uint32_t missed;        /* ticks that were skipped since it began */
	char note[248];         /* as in ready, as it is now */
};

#define GD_WATCH_EXE_MAX 4096
struct gd_watch_exe {
	int32_t code;
	uint32_t len;
	char path[GD_WATCH_EXE_MAX]; /* raw, not terminated */
};

#define GD_WATCH_SOCKETS_MAX 4096
struct gd_watch_sockets {
	int32_t code;
	uint32_t n;             /* sockets listed */
	uint64_t n_fds;         /* descriptors of all kinds, at most 65,536; links of 4096 were read */
	uint64_t inodes[GD_WATCH_SOCKETS_MAX];
};

struct gd_watch_memory {
	struct gd_watch_who who;
	uint32_t slot;
	uint32_t zero;
};

struct gd_watch_runtime {
	int32_t code;           /* 0; -ENOENT: not Go; else why not */
	char why[124];
	struct gd_gauges_at at;
};
