#pragma once
/*
 * Pressure triggers (PSI): the kernel wakes the watcher when somebody stalls for as long as a rule
 * finds too much, so that this is sampled at once and not at the next second.  They want a file opened
 * for writing, so the broker opens them and the watcher only polls what it is given.  Of the host, not
 * of cgroups: writing to those belongs to whoever owns them.
 *
 * Source: Documentation/accounting/psi.rst.  Without CAP_SYS_RESOURCE a window is a multiple of
 * 2 s; the kernel tells once in a window.
 */
#include <stddef.h>

#include "policies/policy.h"

#define GD_WATCH_TRIGGERS_MAX 6 /* some and full of CPU, memory and I/O */
#define GD_WATCH_TRIGGER_WINDOW_US 2000000

/*
 * One for each pressure metric that a rule has a ceiling for, at the lowest one; returns how many.  A
 * kernel that refuses (no PSI, no right) gives none: then the ticks have to do.
 */
size_t gd_watch_triggers_open(const struct gd_policy *policy, const char *proc,
                              int ret_fds[GD_WATCH_TRIGGERS_MAX]);
void gd_watch_triggers_close(const int *fds, size_t n);
