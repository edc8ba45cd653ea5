#pragma once
/*
 * What a user asked of godiag-capture, as far as the agent can do it too.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "agent/capture.h"
#include "collectors/collector.h"

struct gd_cli_capture_wish {
	const char *run;           /* where the agent's sockets are */
	pid_t pid;                 /* 0: by unit or service */
	const char *unit, *service; /* NULL: not given */
	const char *reason;        /* NULL */
	enum gd_profile profile;
	bool json;
};

/* Has the agent do it and waits; prints what a capture of our own would; returns the exit status. */
int gd_cli_capture_by_agent(const struct gd_cli_capture_wish *wish);

/*
 * --plan: what would be collected, and for an image what each method would cost.  Touches nothing and
 * returns the exit status.
 */
int gd_cli_capture_plan(pid_t pid, const struct gd_plan *plan,
                        const struct gd_capture_freeze *freeze, const char *output_dir, bool json);
