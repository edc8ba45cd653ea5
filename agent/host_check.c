#include "agent/host_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"
#include "freeze/kernel.h"

/* Appends a /proc or /sys file to an empty buffer; false when it cannot be read. */
static bool read_small(const char *path, struct gd_buf *buf)
{
	return gd_io_read_file_at(AT_FDCWD, path, buf, NULL) == 0;
}

static bool has_capability(unsigned capability)
{
	GD_BUF struct gd_buf status = GD_BUF_INIT(16384);
	if (!read_small("/proc/self/status", &status))
		return false;
	const char *line = strstr(gd_buf_str(&status), "\nCapEff:");
	return line != NULL && (strtoull(line + 8, NULL, 16) >> capability & 1) != 0;
}

static enum gd_host_verdict try_kernel(const char *dir, char *detail, size_t size)
{
	(void)dir;
	struct utsname uts;
	unsigned major = 0;
	unsigned minor = 0;
	if (uname(&uts) < 0 || sscanf(uts.release, "%u.%u", &major, &minor) != 2)
		return GD_HOST_MISSING;
	(void)snprintf(detail, size, "Linux %.60s %.20s", uts.release, uts.machine);
	if (strcmp(uts.machine, "x86_64") != 0) {
		(void)snprintf(detail, size, "%.20s: Go parts need x86_64", uts.machine);
		return GD_HOST_LIMITED;
	}
	return major > 5 || (major == 5 && minor >= 10) ? GD_HOST_OK : GD_HOST_LIMITED;
}

static enum gd_host_verdict try_identity(const char *dir, char *detail, size_t size)
{
	(void)dir;
	long fd = syscall(SYS_pidfd_open, getpid(), 0);
	if (fd < 0) {
		(void)snprintf(detail, size, "pidfd_open: %s", strerror(errno));
		return GD_HOST_MISSING;
	}
	(void)close((int)fd);
	(void)snprintf(detail, size, "pidfd_open works");
	return GD_HOST_OK;
}

/* Yama's, as a digit; '0' where there is none. */
static char ptrace_scope(void)
{
	GD_BUF struct gd_buf scope = GD_BUF_INIT(16);
	bool known = read_small("/proc/sys/kernel/yama/ptrace_scope", &scope) && scope.len > 0;
	return known ? scope.data[0] : '0';
}

/* A child of ours with another uid would need root to make; what decides is known without it. */
static enum gd_host_verdict try_memory(const char *dir, char *detail, size_t size)
{
	(void)dir;
	if (has_capability(CAP_SYS_PTRACE)) {
		(void)snprintf(detail, size, "CAP_SYS_PTRACE is effective");
		return GD_HOST_OK;
	}
	char level = ptrace_scope();
	if (level == '0') {
		(void)snprintf(detail, size, "only processes of uid %u; run with sudo for the rest",
		               (unsigned)getuid());
		return GD_HOST_LIMITED;
	}
	(void)snprintf(detail, size,
	               "kernel.yama.ptrace_scope=%c forbids it without CAP_SYS_PTRACE; run with sudo",
	               level);
	return GD_HOST_MISSING;
}

/* What a core needs for its registers, and for memory of one instant. */
static enum gd_host_verdict try_stop(const char *dir, char *detail, size_t size)
{
	(void)dir;
	char level = ptrace_scope();
	if (level == '3') {
		(void)snprintf(detail, size, "kernel.yama.ptrace_scope=3 forbids it to everybody "
		                             "until the next boot");
		return GD_HOST_MISSING;
	}
	if (!has_capability(CAP_SYS_PTRACE)) {
		(void)snprintf(detail, size,
		               "no CAP_SYS_PTRACE, and kernel.yama.ptrace_scope is %c; run with sudo",
		               level);
		return level == '0' ? GD_HOST_LIMITED : GD_HOST_MISSING;
	}
	(void)snprintf(detail, size, "CAP_SYS_PTRACE is effective");
	return GD_HOST_OK;
}

static enum gd_host_verdict try_freeze(const char *dir, char *detail, size_t size)
{
	(void)dir;
	const struct gd_freeze_kernel *kernel = gd_freeze_kernel();
	bool uffd = kernel->uffd_wp && kernel->pagemap_scan;
	(void)snprintf(detail, size, "written pages are told by: soft-dirty %s, userfaultfd %s, "
	                             "PAGEMAP_SCAN %s",
	               kernel->soft_dirty ? "yes" : "no", kernel->uffd_wp ? "yes" : "no",
	               kernel->pagemap_scan ? "yes" : "no");
	return kernel->soft_dirty || uffd ? GD_HOST_OK : GD_HOST_LIMITED;
}

static enum gd_host_verdict try_environ(const char *dir, char *detail, size_t size)
{
	(void)dir;
	bool ok = has_capability(CAP_DAC_READ_SEARCH) || has_capability(CAP_DAC_OVERRIDE);
	(void)snprintf(detail, size, ok ? "CAP_DAC_READ_SEARCH is effective"
	                                : "CAP_DAC_READ_SEARCH is missing; run with sudo");
	return ok ? GD_HOST_OK : GD_HOST_LIMITED;
}

static enum gd_host_verdict try_proc(const char *dir, char *detail, size_t size)
{
	(void)dir;
	GD_BUF struct gd_buf mounts = GD_BUF_INIT(1 << 20);
	if (!read_small("/proc/self/mountinfo", &mounts)) {
		(void)snprintf(detail, size, "/proc is not mounted");
		return GD_HOST_MISSING;
	}
	const char *line = strstr(gd_buf_str(&mounts), " /proc ");
	const char *end = line != NULL ? strchr(line, '\n') : NULL;
	const char *hide = line != NULL ? strstr(line, "hidepid=") : NULL;
	if (hide != NULL && end != NULL && hide < end && strncmp(hide, "hidepid=0", 9) != 0 &&
	    !has_capability(CAP_SYS_PTRACE)) {
		(void)snprintf(detail, size, "/proc is mounted with %.*s: other users are hidden",
		               (int)strcspn(hide, ", \n"), hide);
		return GD_HOST_LIMITED;
	}
	(void)snprintf(detail, size, "processes of all users are visible");
	return GD_HOST_OK;
}

static enum gd_host_verdict try_pid_namespace(const char *dir, char *detail, size_t size)
{
	(void)dir;
	/* The first pid namespace has a fixed inode number in every kernel since 3.8. */
	char link[64];
	ssize_t n = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = '\0';
		if (strcmp(link, "pid:[4026531836]") == 0) {
			(void)snprintf(detail, size, "the host's own");
			return GD_HOST_OK;
		}
	}
	(void)snprintf(detail, size, "we run inside a container: only its processes are visible");
	return GD_HOST_LIMITED;
}

static enum gd_host_verdict try_kernel_stacks(const char *dir, char *detail, size_t size)
{
	(void)dir;
	GD_BUF struct gd_buf stack = GD_BUF_INIT(65536);
	struct gd_error err = { 0 };
	if (gd_io_read_file_at(AT_FDCWD, "/proc/self/stack", &stack, &err) == 0) {
		(void)snprintf(detail, size, "/proc/PID/stack is readable");
		return GD_HOST_OK;
	}
	(void)snprintf(detail, size, "/proc/PID/stack: %s%s", strerror(-err.code),
	               err.code == -ENOENT ? " (not built into this kernel)"
	                                   : "; needs CAP_SYS_ADMIN");
	return GD_HOST_LIMITED;
}

static enum gd_host_verdict try_psi(const char *dir, char *detail, size_t size)
{
	(void)dir;
	GD_BUF struct gd_buf psi = GD_BUF_INIT(4096);
	if (read_small("/proc/pressure/memory", &psi)) {
		(void)snprintf(detail, size, "/proc/pressure is readable");
		return GD_HOST_OK;
	}
	(void)snprintf(detail, size, "no /proc/pressure: boot with psi=1");
	return GD_HOST_LIMITED;
}

static enum gd_host_verdict try_cgroup(const char *dir, char *detail, size_t size)
{
	(void)dir;
	GD_BUF struct gd_buf mounts = GD_BUF_INIT(1 << 20);
	const char *text = read_small("/proc/self/mountinfo", &mounts) ? gd_buf_str(&mounts) : "";
	bool v2 = strstr(text, " - cgroup2 ") != NULL;
	bool v1 = strstr(text, " - cgroup ") != NULL;
	if (!v1 && !v2) {
		(void)snprintf(detail, size, "no cgroup filesystem is mounted");
		return GD_HOST_LIMITED;
	}
	(void)snprintf(detail, size, "%s", v1 && v2 ? "v1 and v2" : v2 ? "v2" : "v1");
	return GD_HOST_OK;
}

static enum gd_host_verdict try_output(const char *dir, char *detail, size_t size)
{
	struct statvfs fs;
	if (statvfs(dir, &fs) < 0) {
		(void)snprintf(detail, size, "%.100s: %s", dir, strerror(errno));
		return GD_HOST_MISSING;
	}
	char space[GD_UNITS_TEXT];
	(void)gd_units_bytes(space, (uint64_t)fs.f_bavail * fs.f_frsize);
	GD_CLOSE int fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EOPNOTSUPP) {
		(void)snprintf(detail, size, "%.100s: %s free; no O_TMPFILE here, a hidden name is "
		                             "used until an archive is sealed",
		               dir, space);
		return GD_HOST_LIMITED;
	}
	if (fd < 0) {
		(void)snprintf(detail, size, "%.100s: %s", dir, strerror(errno));
		return GD_HOST_MISSING;
	}
	(void)snprintf(detail, size, "%.100s: %s free", dir, space);
	return GD_HOST_OK;
}

static enum gd_host_verdict try_jail(const char *dir, char *detail, size_t size)
{
	(void)dir;
	struct gd_role_gaps gaps;
	gd_role_find_gaps(&gaps);
	(void)snprintf(detail, size, "%s",
	               gaps.text[0] != '\0' ? gaps.text : "seccomp and Landlock work");
	return gaps.text[0] != '\0' ? GD_HOST_LIMITED : GD_HOST_OK;
}

const struct gd_host_check gd_host_checks[] = {
	{ "kernel", "Go parts on other machines; newer interfaces on older kernels", try_kernel },
	{ "identity of processes", "everything: a reused pid could be mistaken", try_identity },
	{ "list of processes", "processes of other users", try_proc },
	{ "pid namespace", "processes outside this container", try_pid_namespace },
	{ "memory of processes", "goroutines, runtime and profiles of other users", try_memory },
	{ "stopping of processes", "cores of one instant; torn ones remain", try_stop },
	{ "cores without a pause", "pre-copy; a fork or a longer stop remain", try_freeze },
	{ "descriptors, environment", "open files, io and environ of other users", try_environ },
	{ "kernel stacks", "where threads wait inside the kernel", try_kernel_stacks },
	{ "pressure (PSI)", "whether the host was short of CPU, memory or disk", try_psi },
	{ "cgroups", "limits and throttling of the service", try_cgroup },
	{ "jails of our processes", "a wall behind the wall, should a parser be taken over", try_jail },
	{ "output directory", "a place for the archive", try_output },
	{ NULL, NULL, NULL },
};
