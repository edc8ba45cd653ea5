/*
 * The files of /proc/PID that are copied as they are.
 */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "collectors/proc.h"

static const struct {
	const char *name; /* of the artifact, and below /proc/PID after "proc/" */
	bool of_memory;   /* lost with the main thread: read through one that lives */
} files[] = {
	{ "proc/status", false },
	{ "proc/stat", false },
	{ "proc/statm", true },
	{ "proc/sched", false },
	{ "proc/schedstat", false },
	{ "proc/wchan", false },
	{ "proc/io", false },
	{ "proc/limits", false },
	{ "proc/oom_score", false },
	{ "proc/oom_score_adj", false },
	{ "proc/coredump_filter", true },
	{ "proc/cgroup", false },
	{ "proc/uid_map", false },
	{ "proc/gid_map", false },
	{ "proc/maps", true },
	{ "proc/smaps_rollup", true },
	{ "proc/mountinfo", false },
};

static void copy_file(struct gd_proc *proc, const char *name, bool of_memory)
{
	char path[64];
	GD_CLOSE int fd = -1;
	struct gd_error err = { 0 };
	(void)snprintf(path, sizeof(path), "%s%s", of_memory ? proc->target->via : "",
	               name + sizeof("proc/") - 1);
	if (gd_collect_cancelled(proc->collect))
		(void)gd_fail(&err, -ECANCELED, "interrupted");
	else
		(void)gd_target_open_file(proc->target, path, &fd, &err);
	if (fd >= 0)
		gd_proc_copy(proc, name, fd);
	else
		gd_proc_absent(proc, name, GD_PROC_TEXT, gd_proc_outcome(&err));
}

void gd_proc_files_collect(struct gd_proc *proc)
{
	enum { N = sizeof(files) / sizeof(files[0]) };
	struct gd_access_wanted wanted[N];
	char paths[N][64];
	for (size_t i = 0; i < N; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "%s%s",
		               files[i].of_memory ? proc->target->via : "",
		               files[i].name + sizeof("proc/") - 1);
		wanted[i] = (struct gd_access_wanted){ .kind = GD_ACCESS_OPEN, .path = paths[i] };
	}
	gd_access_prepare(proc->target->access, wanted, N);
	for (size_t i = 0; i < N && proc->sink_code == 0; i++)
		copy_file(proc, files[i].name, files[i].of_memory);
}
