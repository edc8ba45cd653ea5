#pragma once
/*
 * One capture in a process of its own, so that the agent goes on watching meanwhile and a capture
 * that crashes or hangs costs only itself.  The child is the broker half of gd_capture_run; it
 * dies with the agent, leaving nothing behind.
 */
#include <stdint.h>
#include <sys/types.h>

#include "agent/connector.h"
#include "agent/operations.h"
#include "agent/timeline.h"
#include "base/error.h"

struct gd_run {
	pid_t pid;     /* 0: none */
	int pid_fd;    /* readable when it has ended */
	int result_fd; /* its answer */
};

#define GD_RUN_INIT ((struct gd_run){ .pid_fd = -1, .result_fd = -1 })

/*
 * Starts the capture `operation` asks for into directory `ready`; timeline NULL: none; a connector without a
 * descriptor: no connections.
 */
int gd_run_start(const struct gd_operation *operation, const struct gd_timeline *timeline,
                 const char *ready, const struct gd_connector *connector, struct gd_run *ret,
                 struct gd_error *err);

/* The child has ended (pid_fd is readable): fills how it went into the operation. */
void gd_run_finish(struct gd_run *run, struct gd_operation *operation);

/* Asks it to seal what it has; a second time kills it. */
void gd_run_cancel(struct gd_run *run, bool at_once);
