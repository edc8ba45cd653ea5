#include "agent/watch_facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/watch_cgroup.h"
#include "agent/watch_file.h"
#include "agent/watch_ports.h"
#include "base/text.h"
#include "target/container.h"
#include "target/target.h"

#define PF_KTHREAD_FLAG 0x00200000u

static ssize_t read_member(int proc_fd, int32_t pid, const char *name, char *to, size_t size)
{
	char path[40];
	(void)snprintf(path, sizeof(path), "%d/%s", pid, name);
	ssize_t n = gd_watch_file_read(proc_fd, path, to, size);
	return n == -ENOENT ? -ESRCH : n;
}

int64_t gd_watch_facts_parse_uid(const char *status)
{
	/* The name comes before it, with its newlines escaped by the kernel. */
	const char *line = strstr(status, "\nUid:");
	uint64_t uid;
	if (line == NULL)
		return -1;
	line += 5;
	line += strspn(line, " \t");
	return gd_text_u64(line, NULL, 10, &uid) && uid <= UINT32_MAX ? (int64_t)uid : -1;
}

void gd_watch_facts_join(char *arguments, size_t n)
{
	while (n > 0 && arguments[n - 1] == '\0')
		n--;
	for (size_t i = 0; i < n; i++)
		if (arguments[i] == '\0')
			arguments[i] = ' ';
	arguments[n] = '\0';
}

void gd_watch_facts_group(int proc_fd, struct gd_watch_facts *f)
{
	if (f->membership[0] != '\0' ||
	    read_member(proc_fd, f->id.pid, "cgroup", f->membership, sizeof(f->membership)) <= 0)
		return;
	gd_watch_cgroup_path(f->membership, f->cgroup, sizeof(f->cgroup));
	gd_match_unit_of_cgroup(f->cgroup, f->unit, sizeof(f->unit));
}

static void take_container(struct gd_watch_facts *f)
{
	struct gd_container container = { 0 };
	gd_container_parse_cgroup(f->membership, strlen(f->membership), &container);
	memcpy(f->container, container.id, sizeof(f->container));
	memcpy(f->pod_uid, container.pod_uid, sizeof(f->pod_uid));
}

static int read_asked(int proc_fd, unsigned needs, struct gd_watch_ask *ask,
                      struct gd_watch_facts *f)
{
	if ((needs & GD_FACT_EXE) != 0) {
		ssize_t n = gd_watch_ask_exe(ask, &f->id, f->exe, sizeof(f->exe));
		if (n == -EPIPE)
			return -EPIPE;
		static const char deleted[] = " (deleted)";
		size_t cut = sizeof(deleted) - 1;
		/* A new version was installed over a running service: still that service. */
		if (n > (ssize_t)cut && strcmp(f->exe + n - cut, deleted) == 0)
			f->exe[(size_t)n - cut] = '\0';
	}
	if ((needs & GD_FACT_LISTEN) != 0) {
		int n = gd_watch_ports_read(proc_fd, &f->id, ask, f->ports, GD_WATCH_PORTS_MAX);
		if (n < 0)
			return n;
		f->facts.n_ports = (size_t)n;
	}
	return 0;
}

static void clear(struct gd_watch_facts *f, int32_t pid)
{
	f->id = (struct gd_subject_id){ .pid = pid };
	f->membership[0] = f->unit[0] = f->cgroup[0] = f->exe[0] = f->cmdline[0] = '\0';
	f->container[0] = f->pod_uid[0] = '\0';
	f->kernel_thread = false;
	memset(f->comm, 0, sizeof(f->comm));
	f->facts = (struct gd_facts){
		.unit = f->unit,
		.exe = f->exe,
		.comm = f->comm,
		.cmdline = f->cmdline,
		.cgroup = f->cgroup,
		.container = f->container,
		.pod_uid = f->pod_uid,
		.ports = f->ports,
		.uid = -1,
	};
}

int gd_watch_facts_read(int proc_fd, int32_t pid, unsigned needs, struct gd_watch_ask *ask,
                        struct gd_watch_facts *ret)
{
	char text[4096];
	struct gd_stat stat;
	clear(ret, pid);
	ssize_t n = read_member(proc_fd, pid, "stat", text, sizeof(text));
	if (n < 0)
		return (int)n;
	int r = gd_stat_parse(text, (size_t)n, &stat, NULL);
	if (r < 0)
		return r;
	if (stat.state == 'X' || (stat.state == 'Z' && stat.num_threads <= 1))
		return -ESRCH;
	ret->id.start_ticks = stat.start_ticks;
	memcpy(ret->comm, stat.comm, sizeof(ret->comm) - 1);
	ret->kernel_thread = (stat.flags & PF_KTHREAD_FLAG) != 0;
	if (ret->kernel_thread)
		return 0;
	if ((needs & (GD_FACT_UNIT | GD_FACT_CGROUP | GD_FACT_CONTAINER)) != 0)
		gd_watch_facts_group(proc_fd, ret);
	if ((needs & GD_FACT_CONTAINER) != 0)
		take_container(ret);
	if ((needs & GD_FACT_CMDLINE) != 0) {
		n = read_member(proc_fd, pid, "cmdline", ret->cmdline, sizeof(ret->cmdline));
		gd_watch_facts_join(ret->cmdline, n > 0 ? (size_t)n : 0);
	}
	if ((needs & GD_FACT_UID) != 0 &&
	    read_member(proc_fd, pid, "status", text, sizeof(text)) > 0)
		ret->facts.uid = gd_watch_facts_parse_uid(text);
	return ask != NULL ? read_asked(proc_fd, needs, ask, ret) : 0;
}
