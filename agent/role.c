/*
 * The table, and the order in which the walls go up: descriptors while there may still be files to
 * open, then uid and capabilities, then what needs neither, the filter last.
 */
#include "agent/role.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role_jail.h"
#include "base/cleanup.h"

#define BIT(capability) (UINT64_C(1) << (capability))
#define MIB (UINT64_C(1) << 20)

#define KEEP_MAX 64
#define ALSO_MAX 4

/* In the parser's own hands: the target's memory, one socket to ask through, one to write to. */
static const char *const parser_calls[] = {
	"pread64", "read", "sendmsg", "recvmsg", "poll", "ppoll",
	"ioctl", /* PERF_EVENT_IOC_* on descriptors that the broker made, by name */
	"fstat", "newfstatat", "fcntl", /* is what it was given a sealed index, and how long? */
	"uname",
	/* The one that opens the runtime once forks one for each collector (gd_role_tighten takes
	 * these away again there). */
	"clone", "prctl", "seccomp", "getppid", NULL,
};

/* Threads, and nothing that could reach further than its image and its socket. */
static const char *const compressor_calls[] = {
	"pread64", "read", "sendmsg", "recvmsg", "poll", "ppoll", "fstat", "newfstatat", "fcntl",
	"clone", "set_robust_list", "rseq", "rt_sigaction", "sched_yield", "sched_getaffinity",
	"getrusage", "uname",
	"memfd_create", "ftruncate", /* its packs */
	"fallocate", /* it is the image's last reader, and gives back what is packed */
	NULL,
};

static const char *const packer_calls[] = {
	"read", "pread64", "write", "sendmsg", "recvmsg", "poll", "ppoll",
	"ftruncate", "lseek", /* a scratch file is used again and again */
	"fstatfs", /* how much room there is, for the message when there is none */
	"fstat", "newfstatat", /* how long an archive is that it verifies */
	"fcntl", /* is what it is given memory? */
	"getrusage", NULL,
};

static const char *const watcher_calls[] = {
	"openat", "openat2", "read", "pread64", "lseek", "fcntl", "fstat", "newfstatat",
	"getdents64", "readlink", "readlinkat", "fstatfs", "sendmsg", "recvmsg", "poll", "ppoll",
	"clock_getres", /* is there such a CPU clock? */
	"sched_getaffinity", "prlimit64", "getppid", "getuid", "geteuid", NULL,
};

/* Threads of libmicrohttpd and libcurl; clone makes no namespaces. */
#define THREADS "clone", "set_robust_list", "rseq", "rt_sigaction", "sched_yield", "gettid", \
	"sched_getaffinity", "prctl", "clock_nanosleep", "nanosleep", "getrusage"
#define EVENTS "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", \
	"epoll_pwait", "eventfd2", "pipe2", "fcntl", "timerfd_create", "timerfd_settime"
#define SOCKETS "socket", "connect", "recvfrom", "recvmsg", "sendto", "sendmsg", "read", "readv", \
	"write", "writev", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt"
/* getaddrinfo: two questions in one call, and the files named below. */
#define RESOLVER "sendmmsg", "recvmmsg", "bind", "ioctl", "openat", "fstat", "newfstatat", "lseek", \
	"uname", "socketpair"

/* Sockets come to it by descriptor: it accepts, and makes and connects none.  No threads. */
static const char *const hook_calls[] = {
	EVENTS, "accept", "accept4", "recvfrom", "recvmsg", "sendto", "sendmsg", "read", "readv",
	"write", "writev", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt",
	"pread64", "fstat", "newfstatat", "clock_nanosleep", "nanosleep", NULL,
};

static const char *const scraper_calls[] = { SOCKETS, EVENTS, THREADS, RESOLVER, NULL };

/* Whatever it is told to reach it reaches, so it is told by the broker alone and reads no answer. */
static const char *const connector_calls[] = {
	"setns", /* network namespaces only */
	"socket", "connect", "getsockopt", "poll", "ppoll", "read", "sendmsg", "recvmsg", "fstat",
	"newfstatat", NULL,
};

/* libcurl without a resolver, TLS or sockets of its own. */
static const char *const client_calls[] = {
	EVENTS, "recvfrom", "recvmsg", "sendto", "sendmsg", "read", "readv", "write", "writev",
	"shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt", "socketpair", "rt_sigaction",
	"connect", /* does nothing, see role_seccomp.c */
	NULL,
};

static const char *const uploader_calls[] = {
	SOCKETS, EVENTS, THREADS, RESOLVER, "pread64", "preadv", "getdents64", "statx",
	"readlink", "readlinkat", "access", "faccessat", "faccessat2", "getuid", "geteuid",
	"getgid", "getegid", "prlimit64",
	/* A store in a directory (file://); Landlock says which. */
	"mkdir", "linkat", "unlinkat", "fsync", "sendfile", NULL,
};

static const char *const watcher_reads[] = { "/proc", "/sys/fs/cgroup",
	                                     "/sys/devices/system/cpu", NULL };
#define RESOLVER_FILES "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", \
	"/etc/gai.conf", "/etc/services", "/run/systemd/resolve", "/run/resolvconf"
static const char *const scraper_reads[] = { RESOLVER_FILES, NULL };
static const char *const uploader_reads[] = {
	RESOLVER_FILES, "/etc/ssl", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/usr/lib/ssl", "/etc/pki", "/etc/ca-certificates", "$CREDENTIALS_DIRECTORY",
	"$SSL_CERT_FILE", "$SSL_CERT_DIR", "$AWS_CA_BUNDLE", NULL,
};
static const char *const uploader_writes[] = { "$GODIAG_UPLOAD_STORE", NULL };

const struct gd_role_info gd_roles[GD_ROLES] = {
	[GD_ROLE_BROKER] = {
		.name = "broker",
		.keeps_all = true,
		/* The first three and BPF (programs that samples need) are its work; with the others it puts its children into theirs, and
		 * the freezer needs KILL and SYS_NICE.
		 * Stacks of kernel threads (SYS_ADMIN) are for the command line alone. */
		.capabilities = BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_PERFMON) |
		                BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |
		                BIT(CAP_KILL) | BIT(CAP_SYS_NICE) | BIT(CAP_BPF),
		.network = false,
	},
	[GD_ROLE_PARSER] = {
		.name = "parser",
		.user = "godiag-parser",
		.syscalls = parser_calls,
		.memory_max = 4096 * MIB,
		.files_max = 6144, /* three events per CPU, or 2,000 of threads */
	},
	[GD_ROLE_PACKER] = {
		.name = "packer",
		.user = "godiag-packer",
		.syscalls = packer_calls,
		.memory_max = 1024 * MIB,
		.files_max = 256,
	},
	[GD_ROLE_FREEZER] = {
		.name = "freezer",
		/* All it was started with.  Needed are SYS_PTRACE, which equals root anyway, KILL
		 * for the SIGURG it sends, SYS_NICE to give huge pages back, DAC_OVERRIDE for
		 * clear_refs and oom_score_adj; and whether a process of root's is dumpable the
		 * kernel tells only to who has all that process has. */
		.capabilities = UINT64_MAX,
	},
	[GD_ROLE_COMPRESSOR] = {
		.name = "compressor",
		.user = "godiag-packer",
		.syscalls = compressor_calls,
		.memory_max = 4096 * MIB,
		.files_max = 256,
	},
	[GD_ROLE_WATCHER] = {
		.name = "watcher",
		.user = "godiag-watcher",
		.syscalls = watcher_calls,
		.read_paths = watcher_reads,
		.memory_max = 2048 * MIB,
	},
	[GD_ROLE_HOOK] = {
		.name = "hook",
		.user = "godiag-hook",
		.syscalls = hook_calls,
		.memory_max = 1024 * MIB,
	},
	[GD_ROLE_SCRAPER] = {
		.name = "scraper",
		.user = "godiag-scraper",
		.syscalls = scraper_calls,
		.read_paths = scraper_reads,
		.network = true,
		.memory_max = 1024 * MIB,
	},
	[GD_ROLE_CONNECTOR] = {
		.name = "connector",
		.user = "godiag-connector",
		.capabilities = BIT(CAP_SYS_ADMIN), /* setns */
		.syscalls = connector_calls,
		.network = true,
		.memory_max = 1024 * MIB,
		.files_max = 64,
	},
	[GD_ROLE_CLIENT] = {
		.name = "client",
		.user = "godiag-client",
		.syscalls = client_calls,
		.memory_max = 1024 * MIB,
		.files_max = 64,
	},
	[GD_ROLE_UPLOADER] = {
		.name = "uploader",
		.user = "godiag-upload",
		.syscalls = uploader_calls,
		.read_paths = uploader_reads,
		.write_paths = uploader_writes,
		.network = true,
		.memory_max = 2048 * MIB,
	},
};

static const char *also[ALSO_MAX];
static size_t n_also;

int gd_role_also_read(const char *path, struct gd_error *err)
{
	if (n_also == ALSO_MAX)
		return gd_fail(err, -E2BIG, "%s: more than %d trees", path, ALSO_MAX);
	also[n_also++] = path;
	return 0;
}

void gd_role_find_gaps(struct gd_role_gaps *gaps)
{
	*gaps = (struct gd_role_gaps){ "" };
	if (gd_role_jail_landlock() == 0)
		(void)snprintf(gaps->text, sizeof(gaps->text), "Landlock: not in this kernel");
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
	int x = *(const int *)a;
	int y = *(const int *)b;
	return (x > y) - (x < y);
}

static void close_from_to(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	/* A sandbox that does not know it (5.9): one by one. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur > 65536)
		files.rlim_cur = 65536;
	for (unsigned fd = first; fd <= last && fd < files.rlim_cur; fd++)
		(void)close((int)fd);
}

static int close_others(const int *keep, size_t n_keep, struct gd_error *err)
{
	int sorted[KEEP_MAX];
	unsigned next = 0;
	if (n_keep > KEEP_MAX)
		return gd_fail(err, -E2BIG, "%zu descriptors to keep", n_keep);
	if (n_keep > 0)
		memcpy(sorted, keep, n_keep * sizeof(*keep));
	qsort(sorted, n_keep, sizeof(*sorted), ascending);
	for (size_t i = 0; i < n_keep; i++) {
		if (sorted[i] < (int)next) /* twice, or none */
			continue;
		if (sorted[i] > 2)
			close_from_to(next > 3 ? next : 3, (unsigned)sorted[i] - 1);
		next = (unsigned)sorted[i] + 1;
	}
	close_from_to(next > 3 ? next : 3, ~0U);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return gd_fail_errno(err, -errno, "/dev/null");
	for (int fd = 0; fd <= 2; fd++) {
		bool kept = false;
		for (size_t i = 0; i < n_keep; i++)
			kept |= sorted[i] == fd;
#if defined(GD_ROLE_SANITIZED)
		kept |= fd == 2; /* where sanitizers say what they found */
#endif
		if (!kept && fd != null_fd && dup2(null_fd, fd) < 0)
			return gd_fail_errno(err, -errno, "dup2");
	}
	if (null_fd > 2)
		(void)close(null_fd);
	return 0;
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int limit(int resource, uint64_t most, const char *name, struct gd_error *err)
{
	struct rlimit now;
	if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
		return gd_fail_errno(err, -errno, "%s", name);
	if (now.rlim_max < most)
		most = now.rlim_max; /* never up */
	struct rlimit to = { most, most };
	if (setrlimit((__rlimit_resource_t)resource, &to) < 0)
		return gd_fail_errno(err, -errno, "%s", name);
	return 0;
}

static int set_limits(const struct gd_role_info *info, struct gd_error *err)
{
	int r = limit(RLIMIT_CORE, 0, "RLIMIT_CORE", err);
	if (r == 0 && info->files_max > 0)
		r = limit(RLIMIT_NOFILE, info->files_max, "RLIMIT_NOFILE", err);
#if !defined(GD_ROLE_SANITIZED) /* their shadow is terabytes of address space */
	if (r == 0 && info->memory_max > 0)
		r = limit(RLIMIT_AS, info->memory_max, "RLIMIT_AS", err);
#endif
	return r;
}

/* `parent` is whom to die with, 0 for nobody. */
static int enter(const struct gd_role_info *info, const int *keep, size_t n_keep, pid_t parent,
                 struct gd_role_gaps *gaps, struct gd_error *err)
{
	bool jailed = info->syscalls != NULL;
	int r = info->keeps_all ? 0 : close_others(keep, n_keep, err);
	if (r == 0)
		r = gd_role_jail_privileges(info, err);
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		r = gd_fail_errno(err, -errno, "PR_SET_DUMPABLE");
	/* After the uid: the kernel forgets it when credentials change. */
	if (r == 0 && parent != 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		r = gd_fail_errno(err, -errno, "PR_SET_PDEATHSIG");
	if (r == 0 && parent != 0 && getppid() != parent)
		_exit(GD_ROLE_EXIT_JAIL);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = gd_fail_errno(err, -errno, "PR_SET_NO_NEW_PRIVS");
	if (r == 0)
		r = set_limits(info, err);
	if (r == 0 && jailed)
		r = gd_role_jail_files(info, also, n_also, gaps, err);
	if (r == 0)
		r = gd_role_jail_calls(info, err);
	return r < 0 ? gd_error_wrap(err, r, "role %s", info->name) : 0;
}

int gd_role_enter(enum gd_role role, const int *keep, size_t n_keep, struct gd_role_gaps *gaps,
                  struct gd_error *err)
{
	struct gd_role_gaps none = { "" };
	*(gaps != NULL ? gaps : &none) = none;
	return enter(&gd_roles[role], keep, n_keep, 0, gaps != NULL ? gaps : &none, err);
}

static void ignore_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE };
	struct sigaction to = { .sa_handler = SIG_DFL };
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &to, NULL);
	to.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)sigaction(ignored[i], &to, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void be_child(enum gd_role role, const int *keep, size_t n_keep,
                               int (*run)(void *arg), void *arg, pid_t parent)
{
	struct gd_role_gaps gaps = { "" };
	struct gd_error err = { 0 };
	int stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	int all[KEEP_MAX];
	if (n_keep + 1 > KEEP_MAX)
		_exit(GD_ROLE_EXIT_JAIL);
	if (n_keep > 0)
		memcpy(all, keep, n_keep * sizeof(*keep));
	all[n_keep] = stderr_fd;
	ignore_signals();
	/* What ps shows, and what a test that kills one of many goes by; the kernel keeps 15 bytes. */
	char name[32];
	(void)snprintf(name, sizeof(name), "godiag-%s", gd_roles[role].name);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
	int r = enter(&gd_roles[role], all, n_keep + (stderr_fd >= 0), parent, &gaps, &err);
	if (r < 0) {
		if (stderr_fd >= 0)
			(void)dprintf(stderr_fd, "%s\n", err.msg);
		_exit(GD_ROLE_EXIT_JAIL);
	}
	if (stderr_fd >= 0)
		(void)close(stderr_fd);
	_exit(run(arg));
}

int gd_role_fork(enum gd_role role, const int *keep, size_t n_keep, int (*run)(void *arg),
                 void *arg, pid_t *ret_pid, int *ret_pid_fd, struct gd_error *err)
{
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return gd_fail_errno(err, -errno, "role %s: fork", gd_roles[role].name);
	if (pid == 0)
		be_child(role, keep, n_keep, run, arg, parent);
	if (ret_pid_fd != NULL) {
		/* Not waited for yet, so the number is its own. */
		int fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (fd < 0) {
			int r = gd_fail_errno(err, -errno, "role %s: pidfd_open",
			                      gd_roles[role].name);
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
			return r;
		}
		*ret_pid_fd = fd;
	}
	*ret_pid = pid;
	return 0;
}
