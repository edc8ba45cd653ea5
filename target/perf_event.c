#include "target/perf_event.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

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
		[GD_PERF_WAKEUPS] = "wake-ups",
		[GD_PERF_WAKEUPS_ON] = "the tracepoint of wake-ups",
		[GD_PERF_SYSCALLS] = "system calls",
		[GD_PERF_SYSCALLS_ON] = "the tracepoint of system calls",
	};
	return event < GD_PERF_EVENTS ? names[event] : "?";
}

bool gd_perf_wanted_is_sound(const struct gd_perf_wanted *w)
{
	bool threads = w->way == GD_PERF_INHERITED;
	bool timed = w->event < GD_PERF_SWITCHES;
	if (w->event > GD_PERF_SWITCHES &&
	    (w->way != GD_PERF_FILTERED || w->stack_bytes != 0 ||
	     (w->event != GD_PERF_WAKEUPS && w->cpu != 0)))
		return false;
	return w->way < GD_PERF_WAYS && w->event < GD_PERF_EVENTS && w->cpu < GD_PERF_CPUS_MAX &&
	       (threads ? w->tid > 0 : w->tid == 0) &&
	       (timed ? w->frequency_hz > 0 && w->frequency_hz <= GD_PERF_FREQUENCY_MAX
	              : w->frequency_hz == 0) &&
	       w->stack_bytes <= GD_PERF_STACK_MAX && w->stack_bytes % 8 == 0 &&
	       (w->stack_bytes == 0 || w->way != GD_PERF_EVERYBODY);
}

static int set_filter(int fd, pid_t tgid, struct gd_perf_programs *programs, struct gd_error *err)
{
	int filter_fd = gd_perf_programs_filter(programs, tgid, err);
	if (filter_fd < 0)
		return filter_fd;
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, filter_fd) < 0)
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
	case GD_PERF_WAKEUPS:
		attr->config = PERF_COUNT_SW_BPF_OUTPUT;
		attr->sample_period = 1;
		attr->sample_type = GD_PERF_WAKEUP_TYPE;
		return;
	case GD_PERF_BEST:
	case GD_PERF_CPU_CLOCK:
	case GD_PERF_WAKEUPS_ON: /* these three are no events */
	case GD_PERF_SYSCALLS:
	case GD_PERF_SYSCALLS_ON:
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
	if (fd < 0 && errno == EINVAL && attr->read_format != 0) {
		/* Before 6.0: what is lost last is known to nobody. */
		attr->read_format = 0;
		fd = syscall(SYS_perf_event_open, attr, pid, (int)w->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	}
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

static int open_one(const struct gd_perf_wanted *w, struct gd_perf_opened *ret, struct gd_error *err)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.disabled = 1,
		.sample_type = GD_PERF_SAMPLE_TYPE | (w->stack_bytes > 0 ? GD_PERF_SAMPLE_STACK : 0),
		.sample_regs_user = w->stack_bytes > 0 ? GD_PERF_REGS : 0,
		.sample_stack_user = w->stack_bytes,
		.read_format = PERF_FORMAT_LOST,
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
	*ret = (struct gd_perf_opened){ .event = event, .kernel = tried.exclude_kernel == 0 };
	return r;
}

static int open_and_attach(const struct gd_perf_wanted *w, pid_t tgid,
                           struct gd_perf_programs *programs, struct gd_perf_opened *ret,
                           int *ret_fd, struct gd_error *err)
{
	struct gd_perf_opened opened;
	GD_CLOSE int fd = open_one(w, &opened, err);
	if (fd < 0)
		return fd;
	int r = 0;
	if (w->event == GD_PERF_WAKEUPS)
		r = gd_perf_programs_wakeups(programs, w->cpu, fd, err);
	else if (w->way == GD_PERF_FILTERED)
		r = set_filter(fd, tgid, programs, err);
	if (r == 0 && ioctl(fd, PERF_EVENT_IOC_ID, &opened.id) < 0)
		r = gd_fail_errno(err, -errno, "which perf event is this?");
	if (r < 0)
		return r;
	*ret = opened;
	*ret_fd = gd_steal_fd(&fd);
	return 0;
}

int gd_perf_open(const struct gd_perf_wanted *w, pid_t tgid, struct gd_perf_programs *programs,
                 struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err)
{
	const struct gd_perf_opened no_event = { .event = w->event };
	int r;
	if (w->event == GD_PERF_WAKEUPS_ON)
		r = gd_perf_programs_wakeups_on(programs, tgid, ret_fd, err);
	else if (w->event == GD_PERF_SYSCALLS)
		r = gd_perf_programs_syscalls(programs, ret_fd, err);
	else if (w->event == GD_PERF_SYSCALLS_ON)
		r = gd_perf_programs_syscalls_on(programs, tgid, ret_fd, err);
	else
		return open_and_attach(w, tgid, programs, ret, ret_fd, err);
	if (r == 0)
		*ret = no_event;
	return r;
}
