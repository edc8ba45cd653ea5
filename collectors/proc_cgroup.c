/*
 * The target's control groups, version 1 and 2: usage, limits, events and pressure.
 *
 *	cgroup/<file>            version 2
 *	cgroup/v1/<file>         version 1
 *	cgroup/groups.jsonl      which groups, where, and which of the files asked for do not exist
 *	cgroup/ancestors.jsonl   limits of each group from the target's up: the one that kills a
 *	                         container is often its pod's
 *
 * Files are opened by name from the lists below and not by listing the directory: among the others
 * are some whose reading is slow (memory.numa_stat) or that act when touched (cgroup.kill).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "collectors/proc.h"
#include "target/cgroup.h"

/* systemd and Kubernetes together nest six. */
#define ANCESTORS_MAX 32

struct file {
	int version;
	const char *controller; /* version 1 */
	const char *name;
};

static const struct file files[] = {
	{ 2, "", "cgroup.controllers" },
	{ 2, "", "cgroup.events" },
	{ 2, "", "cgroup.stat" },
	{ 2, "", "cpu.stat" },
	{ 2, "", "cpu.max" },
	{ 2, "", "cpu.weight" },
	{ 2, "", "cpu.pressure" },
	{ 2, "", "cpuset.cpus.effective" },
	{ 2, "", "cpuset.mems.effective" },
	{ 2, "", "memory.current" },
	{ 2, "", "memory.peak" },
	{ 2, "", "memory.min" },
	{ 2, "", "memory.low" },
	{ 2, "", "memory.high" },
	{ 2, "", "memory.max" },
	{ 2, "", "memory.events" },
	{ 2, "", "memory.events.local" },
	{ 2, "", "memory.stat" },
	{ 2, "", "memory.swap.current" },
	{ 2, "", "memory.swap.max" },
	{ 2, "", "memory.swap.events" },
	{ 2, "", "memory.oom.group" },
	{ 2, "", "memory.pressure" },
	{ 2, "", "io.stat" },
	{ 2, "", "io.max" },
	{ 2, "", "io.pressure" },
	{ 2, "", "pids.current" },
	{ 2, "", "pids.peak" },
	{ 2, "", "pids.max" },
	{ 2, "", "pids.events" },
	{ 1, "cpu", "cpu.stat" },
	{ 1, "cpu", "cpu.cfs_quota_us" },
	{ 1, "cpu", "cpu.cfs_period_us" },
	{ 1, "cpu", "cpu.shares" },
	{ 1, "cpuacct", "cpuacct.usage" },
	{ 1, "cpuacct", "cpuacct.stat" },
	{ 1, "cpuset", "cpuset.effective_cpus" },
	{ 1, "cpuset", "cpuset.effective_mems" },
	{ 1, "memory", "memory.usage_in_bytes" },
	{ 1, "memory", "memory.max_usage_in_bytes" },
	{ 1, "memory", "memory.limit_in_bytes" },
	{ 1, "memory", "memory.soft_limit_in_bytes" },
	{ 1, "memory", "memory.memsw.usage_in_bytes" },
	{ 1, "memory", "memory.memsw.limit_in_bytes" },
	{ 1, "memory", "memory.failcnt" },
	{ 1, "memory", "memory.oom_control" },
	{ 1, "memory", "memory.stat" },
	{ 1, "blkio", "blkio.throttle.io_service_bytes" },
	{ 1, "blkio", "blkio.throttle.io_serviced" },
	{ 1, "pids", "pids.current" },
	{ 1, "pids", "pids.max" },
	{ 1, "pids", "pids.events" },
	{ 1, "freezer", "freezer.state" },
};

static const struct file limits[] = {
	{ 2, "", "memory.max" },
	{ 2, "", "memory.high" },
	{ 2, "", "memory.swap.max" },
	{ 2, "", "memory.current" },
	{ 2, "", "cpu.max" },
	{ 2, "", "cpu.weight" },
	{ 2, "", "pids.max" },
	{ 2, "", "pids.current" },
	{ 1, "memory", "memory.limit_in_bytes" },
	{ 1, "memory", "memory.usage_in_bytes" },
	{ 1, "cpu", "cpu.cfs_quota_us" },
	{ 1, "cpu", "cpu.cfs_period_us" },
	{ 1, "cpu", "cpu.shares" },
	{ 1, "pids", "pids.max" },
	{ 1, "pids", "pids.current" },
};

struct walk {
	struct gd_proc *proc;
	const char *root;
	struct gd_buf groups, ancestors;
	struct gd_outcome ancestors_outcome;
};

static bool belongs(const struct file *file, const struct gd_cgroup *group)
{
	if (file->version != group->version)
		return false;
	return group->version == 2 ||
	       gd_cgroup_has(group->controllers, file->controller);
}

/* False when the group has no such file. */
static bool copy_file(struct walk *walk, const struct gd_cgroup *group,
                      const struct file *file)
{
	struct gd_proc *proc = walk->proc;
	char name[96];
	(void)snprintf(name, sizeof(name), "cgroup/%s%s", file->version == 1 ? "v1/" : "",
	               file->name);
	GD_CLOSE int fd = -1;
	struct gd_error err = { 0 };
	int r = gd_cgroup_open_file(proc->target->access, walk->root, group, file->name,
	                                      &fd, &err);
	if (r == -ENOENT)
		return false;
	if (r < 0) {
		gd_proc_absent(proc, name, GD_PROC_TEXT, gd_proc_outcome(&err));
	} else {
		gd_proc_copy(proc, name, fd);
	}
	return true;
}

static void put_group(struct gd_json *json, const struct gd_cgroup *group)
{
	gd_json_object(json, NULL);
	gd_json_i64(json, "version", group->version);
	if (group->version == 1)
		gd_json_string(json, "controllers", group->controllers);
	gd_json_string(json, "path", group->path);
}

/* Those of `list` that belong to the group, and whether there is one. */
static void prepare(struct walk *walk, const struct gd_cgroup *group, const struct file *list,
                    size_t n_list)
{
	struct gd_access_wanted wanted[GD_ACCESS_WANTED_MAX];
	char mount[2 * GD_CGROUP_PATH];
	size_t n = 0;
	(void)snprintf(mount, sizeof(mount), "%s%s", walk->root, group->mount);
	const struct gd_access_wanted one = { .kind = GD_ACCESS_GROUP, .mount = mount,
		                              .relative = group->relative };
	if (group->mount[0] == '\0')
		return;
	wanted[n++] = one;
	for (size_t i = 0; i < n_list && n < GD_ACCESS_WANTED_MAX; i++) {
		if (!belongs(&list[i], group))
			continue;
		wanted[n] = one;
		wanted[n++].path = list[i].name;
	}
	gd_access_prepare(walk->proc->target->access, wanted, n);
}

static void copy_files(struct walk *walk, const struct gd_cgroup *group)
{
	struct gd_json json = GD_JSON_INIT(&walk->groups);
	struct gd_error err = { 0 };
	put_group(&json, group);
	prepare(walk, group, files, sizeof(files) / sizeof(files[0]));
	if (gd_cgroup_open_file(walk->proc->target->access, walk->root, group, NULL, NULL,
	                                  &err) < 0) {
		gd_json_string(&json, "error", err.msg);
	} else {
		gd_json_string(&json, "mount", group->mount);
		gd_json_array(&json, "absent");
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
			if (belongs(&files[i], group) && walk->proc->sink_code == 0 &&
			    !copy_file(walk, group, &files[i]))
				gd_json_string(&json, NULL, files[i].name);
		gd_json_array_end(&json);
	}
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

/* One value without its newline; nothing when the file is not there. */
static void put_value(struct walk *walk, struct gd_json *json, const struct gd_cgroup *group,
                      const char *name)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(256);
	GD_CLOSE int fd = -1;
	if (gd_cgroup_open_file(walk->proc->target->access, walk->root, group, name, &fd,
	                                  NULL) < 0 ||
	    gd_io_read_all(fd, &text, NULL) < 0)
		return;
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	gd_json_bytes(json, name, text.data, text.len);
}

static void put_ancestors(struct walk *walk, const struct gd_cgroup *group)
{
	struct gd_json json = GD_JSON_INIT(&walk->ancestors);
	struct gd_cgroup at = *group;
	int up = 0;
	do {
		prepare(walk, &at, limits, sizeof(limits) / sizeof(limits[0]));
		if (gd_cgroup_open_file(walk->proc->target->access, walk->root, &at, NULL,
		                                  NULL, NULL) < 0)
			return;
		if (up == ANCESTORS_MAX) {
			walk->ancestors_outcome = gd_outcome(GD_GRADE_PARTIAL, -E2BIG,
			                                     "the lowest %d groups only", up);
			return;
		}
		put_group(&json, &at);
		gd_json_i64(&json, "up", up++);
		for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
			if (belongs(&limits[i], &at))
				put_value(walk, &json, &at, limits[i].name);
		gd_json_object_end(&json);
		gd_json_line_end(&json);
	} while (gd_cgroup_up(&at));
}

static bool has_limits(const struct gd_cgroup *group)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (belongs(&limits[i], group))
			return true;
	return false;
}

static void collect_groups(struct gd_proc *proc, const char *root, const char *mountinfo,
                           const char *memberships)
{
	struct walk walk = {
		.proc = proc,
		.root = root,
		.groups = GD_BUF_INIT(1u << 20),
		.ancestors = GD_BUF_INIT(1u << 20),
	};
	struct gd_cgroup group;
	struct gd_outcome groups_outcome = GD_OUTCOME_COMPLETE;
	const char *cursor = NULL;
	while (gd_cgroup_next(memberships, mountinfo, &cursor, &group)) {
		if (gd_collect_cancelled(proc->collect)) {
			groups_outcome = gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
			break;
		}
		copy_files(&walk, &group);
		if (has_limits(&group))
			put_ancestors(&walk, &group);
	}
	gd_proc_put(proc, "cgroup/groups.jsonl", GD_PROC_JSON_LINES, &walk.groups, groups_outcome);
	gd_proc_put(proc, "cgroup/ancestors.jsonl", GD_PROC_JSON_LINES, &walk.ancestors,
	            gd_outcome_worse(groups_outcome, walk.ancestors_outcome));
	gd_buf_deinit(&walk.groups);
	gd_buf_deinit(&walk.ancestors);
}

void gd_proc_cgroup_collect(struct gd_proc *proc, const char *root, const char *mountinfo,
                            const char *memberships)
{
	GD_BUF struct gd_buf mounts = GD_BUF_INIT(8u << 20);
	GD_BUF struct gd_buf groups = GD_BUF_INIT(64u << 10);
	struct gd_error err = { 0 };
	int r = 0;
	if (mountinfo == NULL) {
		r = gd_target_read_file(proc->target, "/proc/self/mountinfo", &mounts, &err);
		mountinfo = gd_buf_str(&mounts);
	}
	if (r == 0 && memberships == NULL) {
		r = gd_target_read_file(proc->target, "cgroup", &groups, &err);
		memberships = gd_buf_str(&groups);
	}
	if (r == 0) {
		collect_groups(proc, root, mountinfo, memberships);
		return;
	}
	gd_proc_absent(proc, "cgroup/groups.jsonl", GD_PROC_JSON_LINES, gd_proc_outcome(&err));
	gd_proc_absent(proc, "cgroup/ancestors.jsonl", GD_PROC_JSON_LINES, gd_proc_outcome(&err));
}
