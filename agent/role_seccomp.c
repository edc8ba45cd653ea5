/*
 * Which system calls a role may make.  Whatever is not named kills the whole process: a parser that
 * was taken over gets no second try.  A few calls are answered with an error instead, because glibc
 * asks before it falls back to one that is allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "agent/role_jail.h"

#define NAMESPACES                                                                                 \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	            CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE))

/* What every jailed process of ours needs to live: memory, time, an end. */
static const char *const always[] = {
	"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", /* malloc */
	"clock_gettime", "gettimeofday", "time", /* only where the vdso has no clock */
	"getrandom",                             /* malloc's and OpenSSL's seeds */
	"sysinfo",                               /* qsort of glibc 2.36 asks how much memory there is */
	"futex", "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
	"getpid", "gettid",
	"close", "exit", "exit_group",
#if defined(GD_ROLE_SANITIZED)
	"sigaltstack", "sched_yield", "write", "rt_sigaction", "prlimit64", "getrusage",
#endif
	NULL,
};

/*
 * Lets the call through when its n-th argument is `value`; conditions on one call are alternatives.
 */
static int add_when(scmp_filter_ctx ctx, int nr, unsigned n, uint64_t value)
{
	struct scmp_arg_cmp when = { .arg = n, .op = SCMP_CMP_EQ, .datum_a = value };
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &when);
}

/* The same when it has none of these bits. */
static int add_without(scmp_filter_ctx ctx, int nr, unsigned n, uint64_t bits)
{
	struct scmp_arg_cmp when = { .arg = n, .op = SCMP_CMP_MASKED_EQ, .datum_a = bits };
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &when);
}

static int add_socket(scmp_filter_ctx ctx, int nr, bool network)
{
	int r = add_when(ctx, nr, 0, AF_UNIX);
	if (!network)
		return r;
	if (r == 0)
		r = add_when(ctx, nr, 0, AF_INET);
	if (r == 0)
		r = add_when(ctx, nr, 0, AF_INET6);
	/* getaddrinfo asks for our addresses over netlink and does without. */
	struct scmp_arg_cmp netlink = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_NETLINK };
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), nr, 1, &netlink);
	return r;
}

static int add_clone(scmp_filter_ctx ctx, int nr)
{
	int r = add_without(ctx, nr, 0, NAMESPACES);
	/* Its flags lie in memory, where a filter cannot look; glibc then takes clone. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return r;
}

static int add_prctl(scmp_filter_ctx ctx, int nr)
{
	static const uint64_t options[] = { PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_SECCOMP,
		                                PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS };
	int r = 0;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && r == 0; i++)
		r = add_when(ctx, nr, 0, options[i]);
	return r;
}

static int add_ioctl(scmp_filter_ctx ctx, int nr, bool network)
{
	/* Only a parser's, on descriptors that the broker made. */
	static const uint64_t perf[] = { PERF_EVENT_IOC_REFRESH, PERF_EVENT_IOC_ENABLE,
		                         PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_SET_OUTPUT,
		                         PERF_EVENT_IOC_PERIOD };
	int r = 0;
	for (size_t i = 0; !network && i < sizeof(perf) / sizeof(perf[0]) && r == 0; i++)
		r = add_when(ctx, nr, 1, perf[i]);
	if (!network)
		return r;
	r = add_when(ctx, nr, 1, FIONREAD); /* the resolver */
	return r < 0 ? r : add_when(ctx, nr, 1, FIONBIO);
}

static int add_named(scmp_filter_ctx ctx, const struct gd_role_info *info, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	/* Unknown to this library, or not of this architecture: then nobody calls it. */
	if (nr == __NR_SCMP_ERROR || nr < 0)
		return 0;
	if (nr == SCMP_SYS(mmap) || nr == SCMP_SYS(mprotect))
		return add_without(ctx, nr, 2, PROT_EXEC);
	if (nr == SCMP_SYS(socket) || nr == SCMP_SYS(socketpair))
		return add_socket(ctx, nr, info->network && nr == SCMP_SYS(socket));
	if (nr == SCMP_SYS(clone))
		return add_clone(ctx, nr);
	/* libcurl 7.88 connects also what it was told is connected; it is told that it is, and nothing happens. */
	if (nr == SCMP_SYS(connect) && !info->network)
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(0), nr, 0);
	if (nr == SCMP_SYS(setns))
		return add_when(ctx, nr, 1, CLONE_NEWNET);
	/* glibc's fstat; who has no files asks about none by name. */
	if (nr == SCMP_SYS(newfstatat) && info->read_paths == NULL)
		return add_when(ctx, nr, 3, AT_EMPTY_PATH);
	if (nr == SCMP_SYS(prctl))
		return add_prctl(ctx, nr);
	if (nr == SCMP_SYS(ioctl))
		return add_ioctl(ctx, nr, info->network);
	if (nr == SCMP_SYS(kill)) /* for its own children: Landlock and uid keep it to them */
		return add_when(ctx, nr, 1, SIGKILL);
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 0, NULL);
}

static int add_list(scmp_filter_ctx ctx, const struct gd_role_info *info, const char *const *names,
                    struct gd_error *err)
{
	for (; *names != NULL; names++) {
		int r = add_named(ctx, info, *names);
		/* Named in both lists, or twice: no harm. */
		if (r < 0 && r != -EEXIST)
			return gd_fail_errno(err, r, "system call filter: %s", *names);
	}
	return 0;
}

static int deny(scmp_filter_ctx ctx, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	return nr < 0 ? 0 : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
}

/*
 * Of BPF only what it takes to load the programs of samples and to turn them on (target/perf_program.c).
 * One by one: a rule compares an argument once, so there is no "none of these".
 */
static int deny_most_of_bpf(scmp_filter_ctx ctx)
{
	static const uint64_t needed[] = { BPF_MAP_CREATE, BPF_MAP_UPDATE_ELEM, BPF_PROG_LOAD,
		                           BPF_RAW_TRACEPOINT_OPEN };
	const struct scmp_arg_cmp beyond = { .arg = 0, .op = SCMP_CMP_GT,
		                             .datum_a = BPF_RAW_TRACEPOINT_OPEN };
	int r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 1, &beyond);
	for (uint64_t command = 0; command < BPF_RAW_TRACEPOINT_OPEN && r == 0; command++) {
		const struct scmp_arg_cmp is = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = command };
		bool keep = false;
		for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
			keep = keep || needed[i] == command;
		if (!keep)
			r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 1, &is);
	}
	return r;
}

/*
 * For the broker, whose forks will have narrower ones on top: no network, no other namespaces, no
 * writing to others, nothing that changes the host.  ptrace stays: the tracer is its grandchild; and
 * userfaultfd, which the freezer tries on itself.
 */
static int deny_the_rest(struct gd_error *err)
{
	static const char *const names[] = {
		"process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot",
		"setns", "unshare", "io_uring_setup", "init_module",
		"finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
		"swapon", "swapoff", "acct", "quotactl", "iopl", "ioperm", "add_key", "keyctl",
		"request_key", "settimeofday", "clock_settime", "sethostname", "setdomainname",
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (ctx == NULL)
		return gd_fail_errno(err, -ENOMEM, "system call filter");
	int r = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && r == 0; i++)
		r = deny(ctx, names[i]);
	const struct scmp_arg_cmp not_unix = { .arg = 0, .op = SCMP_CMP_NE, .datum_a = AF_UNIX };
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
		                           &not_unix);
	if (r == 0)
		r = deny_most_of_bpf(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? gd_fail_errno(err, r, "system call filter") : 0;
}

int gd_role_jail_calls(const struct gd_role_info *info, struct gd_error *err)
{
	if (info->syscalls == NULL)
		return deny_the_rest(err);
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (ctx == NULL)
		return gd_fail_errno(err, -ENOMEM, "system call filter");
	int r = add_list(ctx, info, always, err);
	if (r == 0)
		r = add_list(ctx, info, info->syscalls, err);
	if (r == 0) {
		r = seccomp_load(ctx);
		if (r < 0)
			(void)gd_fail_errno(err, r, "system call filter");
	}
	seccomp_release(ctx);
	return r;
}

int gd_role_tighten(struct gd_error *err)
{
	static const char *const names[] = {
		"clone", "clone3", "fork", "vfork", "execve", "execveat", "open", "openat",
		"openat2", "socket", "connect", "bind", "kill", "tgkill", "tkill", "pidfd_open",
		"pidfd_send_signal", "ptrace", "prctl", NULL,
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (ctx == NULL)
		return gd_fail_errno(err, -ENOMEM, "system call filter");
	int r = 0;
	for (size_t i = 0; names[i] != NULL && r == 0; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]);
		if (nr >= 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, nr, 0);
	}
	/* Loading comes last: the filter that forbids seccomp would forbid itself. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(seccomp), 0);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? gd_fail_errno(err, r, "second system call filter") : 0;
}
