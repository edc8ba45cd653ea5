/*
 * What the host was busy with at that moment.  The files are our own kernel's, read from our /proc.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/proc.h"
#include "collectors/proc_cpu.h"

static const struct {
	const char *name, *path;
} files[] = {
	{ "host/loadavg", "/proc/loadavg" },
	{ "host/pressure/cpu", "/proc/pressure/cpu" },
	{ "host/pressure/memory", "/proc/pressure/memory" },
	{ "host/pressure/io", "/proc/pressure/io" },
	{ "host/pressure/irq", "/proc/pressure/irq" },
	{ "host/meminfo", "/proc/meminfo" },
	{ "host/vmstat", "/proc/vmstat" },
	{ "host/uptime", "/proc/uptime" },
	{ "host/version", "/proc/version" },
};

static void copy_file(struct gd_proc *proc, const char *name, const char *path)
{
	GD_CLOSE int fd = -1;
	struct gd_error err = { 0 };
	if (gd_target_open_file(proc->target, path, &fd, &err) == 0) {
		gd_proc_copy(proc, name, fd);
		return;
	}
	gd_proc_absent(proc, name, GD_PROC_TEXT, gd_proc_outcome(&err));
}

/* A short sysfs file without its newline; null when there is none. */
static void put_file(struct gd_proc *proc, struct gd_json *json, const char *key,
                     const char *path)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	if (gd_target_read_file(proc->target, path, &text, NULL) < 0) {
		gd_json_null(json, key);
		return;
	}
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	gd_json_bytes(json, key, text.data, text.len);
}

/*
 * How many are in a list as sysfs writes it, "0-3,8"; null when there is none.  Not sysconf, which
 * opens the same files by itself: that is not everybody's to do.
 */
static void put_count(struct gd_proc *proc, struct gd_json *json, const char *key,
                      const char *path)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	uint64_t n = 0;
	if (gd_target_read_file(proc->target, path, &text, NULL) == 0) {
		for (const char *p = gd_buf_str(&text); *p >= '0' && *p <= '9';) {
			uint64_t from = 0, to;
			if (!gd_text_u64(p, &p, 10, &from))
				break;
			to = from;
			if (*p == '-' && !gd_text_u64(p + 1, &p, 10, &to))
				break;
			n += to >= from ? to - from + 1 : 0;
			p += *p == ',';
		}
	}
	if (n > 0)
		gd_json_u64(json, key, n);
	else
		gd_json_null(json, key);
}

/*
 * Not /proc/cpuinfo: before 5.19 its reader sends an interrupt to every CPU and waits 20 ms for
 * their frequencies, and on a large host it is a megabyte of repetition.
 */
static void collect_cpuinfo(struct gd_proc *proc)
{
	GD_BUF struct gd_buf out = GD_BUF_INIT(16u << 10);
	struct gd_json json = GD_JSON_INIT(&out);
	struct utsname host;
	char model[GD_PROC_CPU_MODEL];
	gd_json_object(&json, NULL);
	gd_json_string(&json, "machine", uname(&host) == 0 ? host.machine : NULL);
	gd_json_string(&json, "model", gd_proc_cpu_model(model) ? model : NULL);
	put_count(proc, &json, "cpus_online", "/sys/devices/system/cpu/online");
	put_count(proc, &json, "cpus_configured", "/sys/devices/system/cpu/present");
	put_file(proc, &json, "online", "/sys/devices/system/cpu/online");
	put_file(proc, &json, "governor",
	         "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
	gd_json_i64(&json, "page_bytes", sysconf(_SC_PAGESIZE));
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	gd_proc_put(proc, "host/cpuinfo.json", GD_PROC_JSON, &out, GD_OUTCOME_COMPLETE);
}

void gd_proc_host_collect(struct gd_proc *proc)
{
	enum { N = sizeof(files) / sizeof(files[0]) };
	struct gd_access_wanted wanted[N];
	for (size_t i = 0; i < N; i++)
		wanted[i] = (struct gd_access_wanted){ .kind = GD_ACCESS_OPEN,
			                               .path = files[i].path };
	gd_access_prepare(proc->target->access, wanted, N);
	for (size_t i = 0; i < N && proc->sink_code == 0; i++)
		copy_file(proc, files[i].name, files[i].path);
	collect_cpuinfo(proc);
}
