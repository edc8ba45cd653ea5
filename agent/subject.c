#include "agent/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/request.h"
#include "archive/snapshot.h"
#include "base/clock.h"
#include "collectors/proc_redact.h"
#include "target/build_id.h"
#include "target/container.h"
#include "target/target.h"

#define DELETED " (deleted)"

static void fill_exe(struct gd_target *target, struct gd_snapshot *snapshot)
{
	char path[4096 + sizeof(DELETED)];
	if (gd_target_read_link(target, "exe", path, sizeof(path), NULL) < 0)
		return;
	size_t n = strlen(path);
	size_t suffix = strlen(DELETED);
	if (n > suffix && strcmp(path + n - suffix, DELETED) == 0) {
		path[n - suffix] = '\0';
		snapshot->exe_deleted = true;
	}
	snapshot->exe = strdup(path);
}

/* Start ticks count on the boot clock; CLOCK_REALTIME minus CLOCK_BOOTTIME is when that was zero. */
static int64_t start_realtime(uint64_t start_ticks)
{
	struct gd_clock now = gd_clock_now();
	long hz = sysconf(_SC_CLK_TCK);
	if (hz <= 0 || start_ticks == 0)
		return 0;
	int64_t since_boot = (int64_t)(start_ticks / (uint64_t)hz) * 1000000000 +
	                     (int64_t)(start_ticks % (uint64_t)hz) * (1000000000 / hz);
	return now.realtime_ns - now.boottime_ns + since_boot;
}

static void fill_build_id(struct gd_target *target, struct gd_snapshot *snapshot)
{
	struct gd_build_id ids;
	if (target->fds.exe_fd < 0 || gd_build_id_read(target->fds.exe_fd, &ids, NULL) < 0)
		return;
	snapshot->build_id = strdup(ids.gnu[0] != '\0' ? ids.gnu : ids.go);
}

static void fill_container(struct gd_target *target, struct gd_snapshot *snapshot)
{
	struct gd_container container;
	snapshot->pid_in_container = target->pid;
	if (gd_container_read(target, &container, NULL) < 0)
		return;
	if (container.innermost_pid != 0)
		snapshot->pid_in_container = container.innermost_pid;
	snapshot->container_id = strdup(container.id);
	snapshot->pod_uid = strdup(container.pod_uid);
	snapshot->cgroup = strdup(container.cgroup);
}

static void fill_cmdline(struct gd_target *target, struct gd_snapshot *snapshot)
{
	GD_BUF struct gd_buf raw = GD_BUF_INIT(1 << 20);
	char text[2048];
	if (gd_target_read_file(target, "cmdline", &raw, NULL) < 0 ||
	    gd_proc_redact_cmdline_text(raw.data, raw.len, text, sizeof(text), NULL) < 0)
		return;
	snapshot->cmdline = strdup(text);
}

void gd_subject_fill(struct gd_target *target, struct gd_snapshot *snapshot)
{
	snapshot->pid = target->pid;
	snapshot->start_ticks = target->start_ticks;
	snapshot->start_realtime_ns = start_realtime(target->start_ticks);
	snapshot->comm = strdup(target->comm);
	fill_exe(target, snapshot);
	fill_build_id(target, snapshot);
	fill_container(target, snapshot);
	fill_cmdline(target, snapshot);
}

static char *told_text(const char *text)
{
	return text[0] != '\0' ? strdup(text) : NULL;
}

void gd_subject_take(const struct gd_target *target, const struct gd_request_subject *told,
                     struct gd_snapshot *snapshot)
{
	snapshot->pid = target->pid;
	snapshot->pid_in_container = target->pid;
	snapshot->start_ticks = target->start_ticks;
	snapshot->start_realtime_ns = start_realtime(target->start_ticks);
	snapshot->comm = strdup(target->comm);
	if (told == NULL)
		return;
	if (told->pid_in_container > 0)
		snapshot->pid_in_container = told->pid_in_container;
	snapshot->exe_deleted = told->exe_deleted;
	snapshot->exe = told_text(told->exe);
	snapshot->cmdline = told_text(told->cmdline);
	snapshot->build_id = told_text(told->build_id);
	snapshot->container_id = told_text(told->container_id);
	snapshot->pod_uid = told_text(told->pod_uid);
	snapshot->cgroup = told_text(told->cgroup);
}
