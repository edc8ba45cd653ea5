#pragma once
/*
 * The sentence that says why a rule fired: it stands in the archive, in logs and in replays.
 */
#include "policies/engine.h"

/* Fills fired->why from everything else in it. `pid`: the process it speaks of, 0 none. */
void gd_engine_why(struct gd_fired *fired, const char *service, int32_t pid);
