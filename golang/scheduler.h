#pragma once
/*
 * The Go scheduler as it stands: processors (P), threads (M), run queues, goroutines by status, and
 * how long goroutines waited to run and the world was stopped.  Read while it runs: each number is
 * right for its own instant, two of them may be microseconds apart.
 * Source: runtime/runtime2.go, proc.go of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/goroutines.h"
#include "golang/histogram.h"
#include "golang/runtime.h"

#define GD_SCHEDULER_PS_MAX 65536
#define GD_SCHEDULER_MS_MAX 100000
#define GD_SCHEDULER_GS_MAX 16000000

enum gd_p_status { GD_P_IDLE, GD_P_RUNNING, GD_P_SYSCALL, GD_P_GCSTOP, GD_P_DEAD };
/* "idle", "running", "syscall", "gcstop", "dead", "unknown" */
const char *gd_scheduler_p_status(uint32_t status);

/* How many enum gd_goroutine_status has room for. */
#define GD_G_STATUSES (GD_G_DEAD_EXTRA + 1)

struct gd_p {
	uint64_t addr;
	int32_t id;
	uint32_t status;
	uint32_t schedtick, syscalltick;
	uint64_t m;          /* address of its M, 0 none */
	uint32_t runq;       /* runnable goroutines in its own queue, runnext included */
};

struct gd_m {
	uint64_t addr;
	int64_t id;
	uint64_t tid;        /* m.procid */
	int32_t p;           /* id of its P, -1 none */
	uint64_t curg;       /* id of the goroutine it runs, 0 none */
	uint64_t locked_g;   /* id of the goroutine that called LockOSThread, 0 none */
	int32_t ncgo, locks; /* cgo calls in progress; locks of the runtime held */
	bool incgo, spinning, blocked;
};

struct gd_scheduler {
	int32_t gomaxprocs;
	uint64_t goid_generated; /* how many ids were handed out to Ps: upper bound of all ids */
	int64_t m_created;       /* threads ever created */
	int32_t m_idle, m_spinning, p_idle;
	int32_t runq;            /* global run queue */
	bool gc_waiting;         /* somebody stops the world */
	int64_t last_poll_ns;    /* CLOCK_MONOTONIC of the last network poll; 0: one is under way */
	/* The two add up to the metric /sync/mutex/wait/total:seconds. */
	int64_t mutex_wait_ns;   /* all goroutines ever blocked on locks; -1 before Go 1.20 */
	int64_t runtime_lock_wait_ns; /* threads ever waiting for the runtime's own; since 1.22 */
	uint64_t goroutines;     /* as runtime.NumGoroutine counts: without the runtime's own */
	uint64_t system_goroutines;
	uint64_t by_status[GD_G_STATUSES]; /* of all records ever made, dead ones included */
	uint64_t unknown_status;
	uint64_t spares;         /* dead ones that wait with a thread for C to call Go */

	struct gd_p *ps;         /* by id */
	size_t n_ps;
	struct gd_m *ms;         /* newest first */
	size_t n_ms;

	struct gd_histogram latency;            /* runnable until running, one in 8 is counted */
	struct gd_histogram stw_stopping_gc, stw_stopping_other; /* until all had stopped; 1.22+ */
	struct gd_histogram stw_total_gc, stw_total_other;       /* until started again; 1.22+ */
	struct gd_histogram gc_pauses;          /* until Go 1.21; then the two stw_*_gc */
	struct gd_error why;     /* code 0, or the first thing that could not be read */
};

/* What could not be read is 0 and told in ret->why; fails only when nothing could be. */
int gd_scheduler_read(struct gd_go *go, struct gd_scheduler *ret, struct gd_error *err);
void gd_scheduler_deinit(struct gd_scheduler *scheduler);
#define GD_SCHEDULER __attribute__((cleanup(gd_scheduler_deinit)))
