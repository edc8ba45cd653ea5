#pragma once
/*
 * The watcher process itself: the tick.  Everything here runs in the jail of GD_ROLE_WATCHER.
 */
#include "agent/watch_trigger.h"
#include "agent/watcher.h"

struct gd_watch_start {
	const struct gd_watcher_options *options;
	int fd; /* to the broker */
	int triggers[GD_WATCH_TRIGGERS_MAX]; /* pressure triggers, to poll */
	size_t n_triggers;
};

/* What gd_role_fork runs; arg is struct gd_watch_start.  Returns the exit status. */
int gd_watch_loop_run(void *arg);
