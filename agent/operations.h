#pragma once
/*
 * What the agent has been asked to capture: a short queue, the one that runs, and those that ended
 * lately, so that a caller can still ask for them.  Plain data; everything in it is ours or checked.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/exit.h"
#include "agent/id.h"
#include "collectors/collector.h"
#include "policies/engine.h"
#include "uploader/spool.h"

#define GD_OPERATIONS_MAX 128 /* kept in all */
#define GD_OPERATIONS_QUEUE 8 /* waiting at the same time */

enum gd_operation_state {
	GD_OPERATION_NONE,
	GD_OPERATION_QUEUED,
	GD_OPERATION_RUNNING,
	GD_OPERATION_SUCCEEDED,
	GD_OPERATION_PARTIAL, /* sealed, something is missing */
	GD_OPERATION_FAILED,  /* nothing sealed */
};
/* "queued", "running", "succeeded", "partial", "failed" */
extern const char *const gd_operation_state_names[];

/* What it keeps of the process's memory; all false and zero: nothing, and nothing is stopped. */
struct gd_operation_core {
	bool wanted, thin, consistent, force;
	bool zero_noscan, lose_huge;
	unsigned workers;
	int64_t max_pause_ns;
	char base[600]; /* path of an earlier capture of the same process, in full; "" none */
};

struct gd_operation {
	char id[GD_ID_SIZE];
	enum gd_operation_state state;
	uint64_t order;             /* in which they were asked for */

	/* what was asked */
	char trigger[16];           /* "rule", "alert", "event", "schedule", "signal", "manual", "unit" */
	char rule[GD_POLICY_NAME_MAX]; /* "" none */
	char service[GD_POLICY_NAME_MAX];
	char fingerprint[65];
	char reason[248];
	char baseline[GD_ID_SIZE];  /* the capture of a good time to compare with; "" */
	char exit_json[1024];       /* what is known of a process that has ended; "" */
	struct gd_subject_id subject; /* pid 0: no process (any more) */
	char comm[16];
	struct gd_subject_id timeline_of; /* whose timeline goes in; pid 0: nobody's */
	enum gd_profile profile;
	struct gd_operation_core core;
	struct gd_debug_port_policy debug_port;
	int64_t window_ns;          /* how long the CPUs are sampled */
	uint32_t frequency_hz;
	bool syscalls;              /* counted in that time */
	enum gd_spool_class class;
	uint64_t deadline_ns;       /* sealed with what there is by then; 0 none */
	int64_t asked_ns, started_ns, ended_ns; /* CLOCK_MONOTONIC */
	uint64_t waiter;            /* number of the control connection that waits; 0 none */

	/* how it went */
	enum gd_exit exit;
	char path[600];             /* of the sealed archive, "" none */
	char digest[72];
	uint64_t bytes, pause_ns;
	char error[248];            /* "" when complete */
};

struct gd_operations {
	struct gd_operation list[GD_OPERATIONS_MAX];
	uint64_t order;
};

/* A fresh one in state queued, the oldest ended one makes room.  NULL when the queue is full. */
struct gd_operation *gd_operations_add(struct gd_operations *operations);

/* The queued one that is next: crashes before alerts before the rest, then in order.  NULL none. */
struct gd_operation *gd_operations_next(struct gd_operations *operations);

struct gd_operation *gd_operations_running(struct gd_operations *operations); /* NULL none */
struct gd_operation *gd_operations_find(struct gd_operations *operations, const char *id);
unsigned gd_operations_count(const struct gd_operations *operations, enum gd_operation_state state);

/* The i-th newest one; NULL beyond. */
const struct gd_operation *gd_operations_newest(const struct gd_operations *operations, unsigned i);
