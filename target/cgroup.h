#pragma once
/*
 * Where a target's control groups are in our file system: its memberships (/proc/PID/cgroup) put
 * together with our own cgroup mounts (/proc/self/mountinfo).  The path of a group is looked up
 * below its mount only, without links and without "..".
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "target/access.h"

#define GD_CGROUP_PATH 4096

struct gd_cgroup {
	int version;                        /* 1 or 2 */
	char controllers[128];              /* "cpu,cpuacct"; "" for version 2 */
	char path[GD_CGROUP_PATH];     /* as the kernel names it, raw */
	char mount[GD_CGROUP_PATH];    /* where its hierarchy is mounted; "" when nowhere */
	char relative[GD_CGROUP_PATH]; /* below mount, without a leading '/'; "" is mount */
};

/*
 * The next group of the memberships text from *cursor (NULL at first) on; false at the end.
 * Hierarchies without controllers ("name=systemd") are passed over.
 */
bool gd_cgroup_next(const char *memberships, const char *mountinfo, const char **cursor,
                              struct gd_cgroup *ret);

/* Opens the group's directory; `root` precedes mount. */
int gd_cgroup_open(const char *root, const struct gd_cgroup *group, int *ret_fd,
                             struct gd_error *err);

/*
 * Opens one of its files through the target's access; name NULL only says whether there is such a
 * group.
 */
int gd_cgroup_open_file(struct gd_access *access, const char *root,
                                  const struct gd_cgroup *group, const char *name,
                                  int *ret_fd, struct gd_error *err);

/* Makes it its own parent; false when it is the topmost we can see. */
bool gd_cgroup_up(struct gd_cgroup *group);

/* Is `name` one of the comma-separated words? */
bool gd_cgroup_has(const char *words, const char *name);
