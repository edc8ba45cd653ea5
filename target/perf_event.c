#include "target/perf_event.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define INIT_PID_NAMESPACE 0xEFFFFFFCu /* PROC_PID_INIT_INO; fixed since 3.8 */

const char *gd_perf_way_name(uint32_t way)
{
	static const char *const names[GD_PERF_WAYS] = {
		[GD_PERF_FILTERED] = "per CPU, filtered in the kernel",
		[GD_PERF_INHERITED] = "per thread and CPU, inherited",
		[GD_PERF_EVERYBODY] = "per CPU, filtered by the reader",
	};
	return way < GD_PERF_WAYS ? names[way] : "?";
}

const char *gd_perf_event_name(uint32_t event)
{
	static const char *const names[GD_PERF_EVENTS] = {
		[GD_PERF_BEST] = "best",
		[GD_PERF_CYCLES] = "cycles",
		[GD_PERF_CPU_CLOCK] = "cpu-clock",
		[GD_PERF_SWITCHES] = "context-switches",
	};
	return event < GD_PERF_EVENTS ? names[event] : "?";
}

bool gd_perf_wanted_is_sound(const struct gd_perf_wanted *w)
{
	bool threads = w->way == GD_PERF_INHERITED;
	bool timed = w->event != GD_PERF_SWITCHES;
	return w->way < GD_PERF_WAYS && w->event < GD_PERF_EVENTS && w->cpu < GD_PERF_CPUS_MAX &&
	       (threads ? w->tid > 0 : w->tid == 0) &&
	       (timed ? w->frequency_hz > 0 && w->frequency_hz <= GD_PERF_FREQUENCY_MAX
	              : w->frequency_hz == 0) &&
	       w->stack_bytes <= GD_PERF_STACK_MAX && w->stack_bytes % 8 == 0 &&
	       (w->stack_bytes == 0 || w->way != GD_PERF_EVERYBODY);
}

/* ---- the filter ------------------------------------------------------------------------------ */

/* Is `bpf_get_current_pid_tgid` speaking of the same numbers as we do? */
static bool in_first_pid_namespace(void)
{
	struct stat st;
	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == INIT_PID_NAMESPACE;
}

/* Lets a record through (returns 1) when it is the process's. */
static int load_filter(pid_t tgid, struct gd_error *err)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_current_pid_tgid },
		{ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_0, .imm = 32 },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 2, .imm = tgid },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	/* Not all of it has names here. */
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_PERF_EVENT;
	attr.insn_cnt = sizeof(program) / sizeof(program[0]);
	attr.insns = (uint64_t)(uintptr_t)program;
	attr.license = (uint64_t)(uintptr_t)"GPL";
	if (!in_first_pid_namespace())
		return gd_fail(err, -ENOTSUP, "BPF knows processes by the numbers of the first pid "
		               "namespace, and this is another");
	long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? gd_fail_errno(err, -errno, "a BPF filter (CAP_BPF, CAP_PERFMON)") : (int)fd;
}

static int set_filter(int fd, pid_t tgid, int *filter_fd, struct gd_error *err)
{
	if (*filter_fd < 0) {
		int loaded = load_filter(tgid, err);
		if (loaded < 0)
			return loaded;
		*filter_fd = loaded;
	}
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, *filter_fd) < 0)
		return gd_fail_errno(err, -errno, "a BPF filter on a perf event");
	return 0;
}

/* ---- the event ------------------------------------------------------------------------------- */

static void choose(struct perf_event_attr *attr, enum gd_perf_event event, uint32_t frequency_hz)
{
	attr->type = event == GD_PERF_CYCLES ? PERF_TYPE_HARDWARE : PERF_TYPE_SOFTWARE;
	switch (event) {
	case GD_PERF_CYCLES:
		attr->config = PERF_COUNT_HW_CPU_CYCLES;
		break;
	case GD_PERF_SWITCHES:
		attr->config = PERF_COUNT_SW_CONTEXT_SWITCHES;
		attr->sample_period = 1;
		attr->context_switch = 1;
		return;
	case GD_PERF_BEST:
	case GD_PERF_CPU_CLOCK:
	case GD_PERF_EVENTS:
		attr->config = PERF_COUNT_SW_CPU_CLOCK;
		break;
	}
	attr->freq = 1;
	attr->sample_freq = frequency_hz;
	/* An execve shows as the new program's name. */
	attr->comm = 1;
	attr->comm_exec = 1;
}

static int open_event(struct perf_event_attr *attr, const struct gd_perf_wanted *w)
{
	pid_t pid = w->way == GD_PERF_INHERITED ? w->tid : -1;
	long fd = syscall(SYS_perf_event_open, attr, pid, (int)w->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 && errno == EINVAL && attr->inherit_thread != 0) {
		/* Before 5.13: children are sampled as well, the reader drops them. */
		attr->inherit_thread = 0;
		fd = syscall(SYS_perf_event_open, attr, pid, (int)w->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	}
	if (fd < 0 && (errno == EACCES || errno == EPERM) && w->way == GD_PERF_INHERITED) {
		attr->exclude_kernel = 1; /* all that perf_event_paranoid 2 leaves to one's own */
		attr->exclude_callchain_kernel = 1;
		fd = syscall(SYS_perf_event_open, attr, pid, (int)w->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	}
	return fd < 0 ? -errno : (int)fd;
}

static int explain(int code, const struct gd_perf_wanted *w, struct gd_error *err)
{
	if (code == -EACCES || code == -EPERM)
		return gd_fail(err, code, "perf events are not permitted: run as root or with "
		               "CAP_PERFMON%s (kernel.perf_event_paranoid)",
		               w->way == GD_PERF_INHERITED ? "" : " and CAP_BPF");
	return gd_fail_errno(err, code, "perf_event_open %s on CPU %u",
	                     gd_perf_event_name(w->event), w->cpu);
}

int gd_perf_open(const struct gd_perf_wanted *w, pid_t tgid, int *filter_fd,
                 struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.disabled = 1,
		.sample_type = GD_PERF_SAMPLE_TYPE | (w->stack_bytes > 0 ? GD_PERF_SAMPLE_STACK : 0),
		.sample_regs_user = w->stack_bytes > 0 ? GD_PERF_REGS : 0,
		.sample_stack_user = w->stack_bytes,
		.sample_id_all = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.exclude_hv = 1,
		.exclude_guest = 1,
		.inherit = w->way == GD_PERF_INHERITED,
		.inherit_thread = w->way == GD_PERF_INHERITED,
		/* The reader looks by the clock; this is for when there is more than it expects. */
		.watermark = 1,
		.wakeup_watermark = 128 << 10,
	};
	enum gd_perf_event event = w->event == GD_PERF_BEST ? GD_PERF_CYCLES
	                                                    : (enum gd_perf_event)w->event;
	struct perf_event_attr tried = attr;
	choose(&tried, event, w->frequency_hz);
	int r = open_event(&tried, w);
	/* No PMU, none for us, or one that cannot do this: the clock is always there. */
	if (r < 0 && w->event == GD_PERF_BEST && r != -ESRCH && r != -EMFILE && r != -EACCES &&
	    r != -EPERM) {
		event = GD_PERF_CPU_CLOCK;
		tried = attr;
		choose(&tried, event, w->frequency_hz);
		r = open_event(&tried, w);
	}
	if (r < 0)
		return explain(r, w, err);
	GD_CLOSE int fd = r;
	if (w->way == GD_PERF_FILTERED) {
		r = set_filter(fd, tgid, filter_fd, err);
		if (r < 0)
			return r;
	}
	*ret = (struct gd_perf_opened){ .event = event, .kernel = tried.exclude_kernel == 0 };
	*ret_fd = gd_steal_fd(&fd);
	return 0;
}
