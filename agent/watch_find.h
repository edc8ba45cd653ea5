#pragma once
/*
 * The child that finds where a Go runtime keeps its gauges: jailed as a parser, it has the target's
 * memory, the text of its maps and a socket to say what it found.
 */
#include <stddef.h>
#include <sys/types.h>

struct gd_watch_find {
	int mem_fd, maps_fd;
	int to_fd;        /* gd_watch_runtime goes here */
	const pid_t *tids; /* of the target; to check what was found against */
	size_t n_tids;
};

/* What gd_role_fork runs; arg is struct gd_watch_find. */
int gd_watch_find_run(void *arg);
