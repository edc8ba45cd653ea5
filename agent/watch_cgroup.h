#pragma once
/*
 * The control groups of watched processes: memory against the nearest limit, time until it, CPU
 * throttling, pressure, memory events.  Version 1, version 2 and both at once.  What many processes
 * share is read once a tick: a group is what one membership text (/proc/PID/cgroup) leads to, its
 * places are directories that other groups may use as well.
 *
 * Memory in use is what the kernel cannot simply drop: memory.current less the inactive file pages,
 * as Kubernetes counts its working set; without any limit it is the machine's, MemTotal less
 * MemAvailable.  Used by one thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "policies/policy.h"

struct gd_watch_cgroups;
struct gd_watch_group;

/*
 * cgroup: where the hierarchies are mounted ("/sys/fs/cgroup"); proc_fd (/proc) is borrowed, for
 * meminfo and pressure.  Neither has to be there.  pressure: read it every tick; else every fifth.
 */
int gd_watch_cgroups_create(const char *cgroup, int proc_fd, bool pressure,
                            struct gd_watch_cgroups **ret, struct gd_error *err);
void gd_watch_cgroups_destroy(struct gd_watch_cgroups *cgroups); /* NULL allowed */

/* The group of a membership text; goes back with _put.  -ENOMEM. */
int gd_watch_cgroups_get(struct gd_watch_cgroups *cgroups, const char *membership,
                         struct gd_watch_group **ret);
void gd_watch_cgroups_put(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group);

/* Reads all places once, looks for moved limits now and then. */
void gd_watch_cgroups_tick(struct gd_watch_cgroups *cgroups, int64_t monotonic_ns);

/* Whether the membership is still the same text. */
bool gd_watch_group_is(const struct gd_watch_group *group, const char *membership);

/* CPUs its quota allows; 0: no quota. */
double gd_watch_group_cpus(const struct gd_watch_group *group);

/* Fills the metrics of GD_SOURCE_CGROUP; those without a sample stay. */
void gd_watch_group_values(const struct gd_watch_group *group, double values[GD_METRICS]);

/* Bits (1 << enum gd_event) of what its counters, or its limit's, did since the tick before. */
unsigned gd_watch_group_events(const struct gd_watch_group *group);

/* "" or why something is missing. */
const char *gd_watch_group_note(const struct gd_watch_group *group);

/* The path in a membership text that says most: the unified one, systemd's, memory's, any; "" none. */
void gd_watch_cgroup_path(const char *membership, char *to, size_t size);
