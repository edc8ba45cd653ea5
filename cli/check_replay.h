#pragma once
/*
 * The part of `godiag check` that replays recorded metrics.
 */
#include "policies/policy.h"

struct gd_cli_replay {
	const char *file;    /* "-": stdin */
	const char *service; /* of lines that name none; NULL: the policy's only one */
	const char *host;    /* for `sample` and `jitter`; NULL: this machine */
};

/* A line on stdout for each time a rule fires, then a summary; returns an exit status. */
int gd_cli_check_replay(const struct gd_policy *policy, const struct gd_cli_replay *wish);
