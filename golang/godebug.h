#pragma once
/*
 * Settings of GODEBUG in force in a target, as far as its output depends on them.
 */
#include <stdbool.h>

#include "golang/runtime.h"

/*
 * tracebacklabels: are labels part of a goroutine's header?  There since Go 1.26, on by default
 * since 1.27.  Read from the runtime's own variable, which runtime.goroutineheader compares; when
 * that is not found, from the default the program was linked with.
 */
bool gd_godebug_traceback_labels(struct gd_go *go);
