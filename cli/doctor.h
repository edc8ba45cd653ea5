#pragma once
/*
 * The parts of `godiag doctor`: each finding is a line, or an object of the array "checks".
 */
#include "agent/host_check.h"
#include "base/json.h"

extern const char *const gd_cli_doctor_verdicts[]; /* by enum gd_host_verdict */

/* json NULL: a line on stdout.  `lost` is told unless all is well. */
void gd_cli_doctor_say(struct gd_json *json, enum gd_host_verdict verdict, const char *what,
                       const char *detail, const char *lost);

/* Policy and agent of this host; the worst of what it said.  config NULL: where it is by default. */
enum gd_host_verdict gd_cli_doctor_agent(const char *config, const char *run,
                                         struct gd_json *json);
