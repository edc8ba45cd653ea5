#pragma once
/*
 * The guard: a process that knows a tracer only by its pidfd, and kills it when it is late.  It cannot
 * do anything else; that the target then runs again is the kernel's work.  Private to freeze/.
 */
#include <stdint.h>

#include "freeze/tracer.h"

struct gd_guard {
	int tracer_fd;            /* pidfd */
	int news_fd;              /* becomes readable when a stop begins */
	int64_t prepare_ns;       /* how long the tracer may prepare, */
	int64_t deadline_ns;      /* how long the job may take after that, */
	int64_t stop_deadline_ns; /* and how long any thread may stand */
	int64_t started_ns;
	struct gd_tracer_shared *shared;
};

/* Returns when the tracer has ended. */
void gd_guard_run(const struct gd_guard *guard);
