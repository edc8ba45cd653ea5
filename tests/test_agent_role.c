/*
 * Each role tried from inside: what it must be able to do, and what it dies of.  And looked at from
 * outside while it lives: uid, capabilities, no_new_privs, the filter.
 */
#include "agent/role.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/role_jail.h"
#include "base/io.h"
#include "base/message.h"
#include "tests/test.h"

/* What an attempt came to: 0 it worked, an errno, or 1000 + the signal that ended the process. */
enum { WORKED = 0, BY_SIGNAL = 1000, SIGSYSED = BY_SIGNAL + SIGSYS };

struct attempt {
	int (*act)(void); /* 0 or errno */
};

static int attempt(void *arg)
{
	const struct attempt *a = arg;
	return a->act();
}

static int wait_for(pid_t pid)
{
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return BY_SIGNAL + WTERMSIG(status);
	return WEXITSTATUS(status);
}

static int came_to(enum gd_role role, int (*act)(void))
{
	struct attempt a = { act };
	pid_t pid;
	struct gd_error err = { 0 };
	assert_ok(gd_role_fork(role, NULL, 0, attempt, &a, &pid, NULL, &err), &err);
	return wait_for(pid);
}

static int open_passwd(void)
{
	int fd = open("/etc/passwd", O_RDONLY);
	return fd < 0 ? errno : 0;
}

static int open_proc(void)
{
	int fd = open("/proc/self/status", O_RDONLY);
	return fd < 0 ? errno : 0;
}

static int write_tmp(void)
{
	int fd = open("/tmp", O_TMPFILE | O_WRONLY, 0600);
	return fd < 0 ? errno : 0;
}

static int make_inet_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? errno : 0;
}

static int make_packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	return fd < 0 ? errno : 0;
}

static int connect_unix(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/nowhere/at/all" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return fd < 0 ? errno : connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? errno : 0;
}

static int run_program(void)
{
	char name[] = "/bin/true";
	char *argv[] = { name, NULL };
	(void)execv(name, argv);
	return errno;
}

static int trace_parent(void)
{
	return ptrace(PTRACE_SEIZE, (pid_t)syscall(SYS_getppid), NULL, NULL) < 0 ? errno : 0;
}

static int read_parent(void)
{
	char byte;
	struct iovec to = { &byte, 1 };
	struct iovec from = { &byte, 1 };
	return process_vm_readv((pid_t)syscall(SYS_getppid), &to, 1, &from, 1, 0) < 0 ? errno : 0;
}

static int kill_parent(void)
{
	return kill((pid_t)syscall(SYS_getppid), 0) < 0 ? errno : 0;
}

static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? errno : 0;
}

static int make_namespace(void)
{
	return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) < 0 ? errno : 0;
}

static int become_root(void)
{
	return syscall(SYS_setresuid, 0, 0, 0) < 0 ? errno : 0;
}

static int unshare_mounts(void)
{
	return unshare(CLONE_NEWNS) < 0 ? errno : 0;
}

static int enter_mounts(void)
{
	return syscall(SYS_setns, -1, CLONE_NEWNS) < 0 ? errno : 0;
}

/* A pair's end, connected: it stays what it is, whatever is said to it. */
static int pretend_to_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1) };
	int ends[2];
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		return errno;
	return connect(ends[0], (struct sockaddr *)&to, sizeof(to)) < 0 ? errno : 0;
}

struct forbidden {
	enum gd_role role;
	int (*act)(void);
	int comes_to;
};

static void no_role_does_what_it_may_not(void **state)
{
	(void)state;
	bool landlock = gd_role_jail_landlock() > 0;
	const int closed = landlock ? EACCES : WORKED;
	const struct forbidden all[] = {
		{ GD_ROLE_BROKER, make_inet_socket, EPERM },
		{ GD_ROLE_BROKER, make_packet_socket, EPERM },
		{ GD_ROLE_BROKER, read_parent, EPERM },
		{ GD_ROLE_BROKER, unshare_mounts, EPERM },
		{ GD_ROLE_BROKER, open_proc, WORKED },
		{ GD_ROLE_BROKER, connect_unix, ENOENT },
		{ GD_ROLE_PARSER, open_passwd, SIGSYSED },
		{ GD_ROLE_PARSER, open_proc, SIGSYSED },
		{ GD_ROLE_PARSER, make_inet_socket, SIGSYSED },
		{ GD_ROLE_PARSER, connect_unix, SIGSYSED },
		{ GD_ROLE_PARSER, run_program, SIGSYSED },
		{ GD_ROLE_PARSER, trace_parent, SIGSYSED },
		{ GD_ROLE_PARSER, read_parent, SIGSYSED },
		{ GD_ROLE_PARSER, kill_parent, SIGSYSED },
		{ GD_ROLE_PARSER, make_executable, SIGSYSED },
		{ GD_ROLE_PARSER, make_namespace, SIGSYSED },
		{ GD_ROLE_PARSER, become_root, SIGSYSED },
		{ GD_ROLE_PACKER, open_passwd, SIGSYSED },
		{ GD_ROLE_PACKER, open_proc, SIGSYSED },
		{ GD_ROLE_PACKER, make_inet_socket, SIGSYSED },
		{ GD_ROLE_PACKER, run_program, SIGSYSED },
		{ GD_ROLE_PACKER, trace_parent, SIGSYSED },
		{ GD_ROLE_PACKER, read_parent, SIGSYSED },
		{ GD_ROLE_PACKER, kill_parent, SIGSYSED },
		{ GD_ROLE_PACKER, make_executable, SIGSYSED },
		{ GD_ROLE_WATCHER, open_passwd, closed },
		{ GD_ROLE_WATCHER, write_tmp, closed },
		{ GD_ROLE_WATCHER, make_inet_socket, SIGSYSED },
		{ GD_ROLE_WATCHER, run_program, SIGSYSED },
		{ GD_ROLE_WATCHER, trace_parent, SIGSYSED },
		{ GD_ROLE_WATCHER, read_parent, SIGSYSED },
		{ GD_ROLE_WATCHER, kill_parent, SIGSYSED },
		{ GD_ROLE_WATCHER, make_namespace, SIGSYSED },
		{ GD_ROLE_HOOK, open_passwd, SIGSYSED },
		{ GD_ROLE_HOOK, open_proc, SIGSYSED },
		{ GD_ROLE_HOOK, make_packet_socket, SIGSYSED },
		{ GD_ROLE_HOOK, make_inet_socket, SIGSYSED },
		{ GD_ROLE_HOOK, connect_unix, SIGSYSED },
		{ GD_ROLE_HOOK, run_program, SIGSYSED },
		{ GD_ROLE_WATCHER, kill_parent, SIGSYSED },
		{ GD_ROLE_HOOK, trace_parent, SIGSYSED },
		{ GD_ROLE_HOOK, read_parent, SIGSYSED },
		{ GD_ROLE_HOOK, kill_parent, SIGSYSED },
		{ GD_ROLE_SCRAPER, open_passwd, closed },
		{ GD_ROLE_SCRAPER, open_proc, closed },
		{ GD_ROLE_SCRAPER, write_tmp, closed },
		{ GD_ROLE_SCRAPER, run_program, SIGSYSED },
		{ GD_ROLE_SCRAPER, read_parent, SIGSYSED },
		{ GD_ROLE_SCRAPER, kill_parent, SIGSYSED },
		{ GD_ROLE_CONNECTOR, open_passwd, SIGSYSED },
		{ GD_ROLE_CONNECTOR, open_proc, SIGSYSED },
		{ GD_ROLE_CONNECTOR, make_packet_socket, SIGSYSED },
		{ GD_ROLE_CONNECTOR, enter_mounts, SIGSYSED },
		{ GD_ROLE_CONNECTOR, unshare_mounts, SIGSYSED },
		{ GD_ROLE_CONNECTOR, run_program, SIGSYSED },
		{ GD_ROLE_CONNECTOR, trace_parent, SIGSYSED },
		{ GD_ROLE_CONNECTOR, read_parent, SIGSYSED },
		{ GD_ROLE_CONNECTOR, kill_parent, SIGSYSED },
		{ GD_ROLE_CLIENT, open_passwd, SIGSYSED },
		{ GD_ROLE_CLIENT, open_proc, SIGSYSED },
		{ GD_ROLE_CLIENT, make_inet_socket, SIGSYSED },
		{ GD_ROLE_CLIENT, make_packet_socket, SIGSYSED },
		{ GD_ROLE_CLIENT, connect_unix, SIGSYSED },
		{ GD_ROLE_CLIENT, run_program, SIGSYSED },
		{ GD_ROLE_CLIENT, trace_parent, SIGSYSED },
		{ GD_ROLE_CLIENT, kill_parent, SIGSYSED },
		{ GD_ROLE_UPLOADER, open_passwd, closed },
		{ GD_ROLE_UPLOADER, open_proc, closed },
		{ GD_ROLE_UPLOADER, write_tmp, closed },
		{ GD_ROLE_UPLOADER, make_packet_socket, SIGSYSED },
		{ GD_ROLE_UPLOADER, run_program, SIGSYSED },
		{ GD_ROLE_UPLOADER, trace_parent, SIGSYSED },
		{ GD_ROLE_UPLOADER, kill_parent, SIGSYSED },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int got = came_to(all[i].role, all[i].act);
		if (got != all[i].comes_to)
			print_error("row %zu, %s: came to %d instead of %d\n", i,
			            gd_roles[all[i].role].name, got, all[i].comes_to);
		assert_int_equal(got, all[i].comes_to);
	}
}

/* What a filter must let pass, so that malloc and friends work on every glibc. */
static int do_ordinary_work(void)
{
	char text[64] = "";
	for (size_t i = 1; i <= 64; i++) {
		GD_BUF struct gd_buf buf = GD_BUF_INIT(8 << 20);
		for (size_t n = 0; n < 16 * i; n++)
			gd_buf_append(&buf, text, sizeof(text));
		if (gd_buf_reserve(&buf, i << 14) == NULL)
			return ENOMEM;
	}
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(text, sizeof(text), "%s %ld", strerror(ENOENT), (long)now.tv_sec);
	return strstr(text, "No such file") != NULL ? 0 : 1;
}

static void every_role_can_do_ordinary_work(void **state)
{
	(void)state;
	for (int role = GD_ROLE_PARSER; role < GD_ROLES; role++)
		assert_int_equal(came_to((enum gd_role)role, do_ordinary_work), 0);
}

static void who_needs_sockets_has_them(void **state)
{
	(void)state;
	assert_int_equal(came_to(GD_ROLE_SCRAPER, make_inet_socket), 0);
	assert_int_equal(came_to(GD_ROLE_UPLOADER, make_inet_socket), 0);
	assert_int_equal(came_to(GD_ROLE_WATCHER, open_proc), 0);
	assert_int_equal(came_to(GD_ROLE_CONNECTOR, make_inet_socket), 0);
	/* The kernel would have said EINVAL or EAFNOSUPPORT: it was never asked. */
	assert_int_equal(came_to(GD_ROLE_CLIENT, pretend_to_connect), 0);
}

static void a_tree_more_can_be_allowed(void **state)
{
	(void)state;
	static char path[4096];
	(void)snprintf(path, sizeof(path), "%s", test_file("seen", "x", 1));
	pid_t pid = fork();
	if (pid == 0) {
		struct gd_role_gaps gaps;
		struct gd_error err = { 0 };
		if (chmod(path, 0644) < 0 || gd_role_also_read(path, &err) < 0 ||
		    gd_role_enter(GD_ROLE_WATCHER, NULL, 0, &gaps, &err) < 0)
			_exit(1);
		int fd = open(path, O_RDONLY);
		/* Its directory is the tester's alone, so only the uid may be in the way. */
		_exit(fd >= 0 || geteuid() != 0 ? 0 : 2);
	}
	test_child_exits(pid, 0);
}

/* ---- from outside ---------------------------------------------------------------------------- */

static int go_fd;

/* Waits for its end; a role without poll is told by its read. */
static int live(void *arg)
{
	char byte;
	(void)arg;
	return read(go_fd, &byte, 1) >= 0 ? 0 : errno;
}

static uint64_t status_number(const char *status, const char *key, int base)
{
	const char *at = strstr(status, key);
	assert_non_null(at);
	return strtoull(at + strlen(key), NULL, base);
}

static void read_status(pid_t pid, struct gd_buf *to)
{
	char path[64];
	struct gd_error err = { 0 };
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	gd_buf_reset(to);
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, to, &err), &err);
}

/* Until its filter is up: the last wall, so all others are. */
static void wait_until_jailed(pid_t pid, struct gd_buf *status)
{
	for (int i = 0; i < 2000; i++) {
		read_status(pid, status);
		if (status_number(gd_buf_str(status), "\nSeccomp:\t", 10) == 2)
			return;
		(void)poll(NULL, 0, 5);
	}
	fail_msg("no filter after ten seconds");
}

static void a_live_role_shows_its_walls(void **state)
{
	(void)state;
	bool root = geteuid() == 0;
	for (int role = GD_ROLE_PARSER; role < GD_ROLES; role++) {
		int ends[2];
		pid_t pid;
		int pid_fd;
		struct gd_error err = { 0 };
		GD_BUF struct gd_buf status = GD_BUF_INIT(1 << 16);
		if (role == GD_ROLE_FREEZER) /* keeps its rights: a test of its own */
			continue;
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		go_fd = ends[0];
		assert_ok(gd_role_fork((enum gd_role)role, &ends[0], 1, live, NULL, &pid, &pid_fd,
		                       &err), &err);
		(void)close(ends[0]);
		wait_until_jailed(pid, &status);
		const char *text = gd_buf_str(&status);
		/* Its name for ps: of the compressor's 17 bytes the kernel keeps 15. */
		char name[64];
		(void)snprintf(name, sizeof(name), "Name:\tgodiag-%.8s\n", gd_roles[role].name);
		assert_memory_equal(text, name, strlen(name));
		/* What a role keeps of what we have; all but the connector nothing. */
		uint64_t kept = root ? gd_roles[role].capabilities : 0;
		assert_int_equal(kept != 0, root && role == GD_ROLE_CONNECTOR);
		assert_int_equal(status_number(text, "\nCapEff:\t", 16), kept);
		assert_int_equal(status_number(text, "\nCapPrm:\t", 16), kept);
		assert_int_equal(status_number(text, "\nCapInh:\t", 16), 0);
		assert_int_equal(status_number(text, "\nCapAmb:\t", 16), 0);
		assert_int_equal(status_number(text, "\nNoNewPrivs:\t", 10), 1);
		if (root) {
			assert_int_not_equal(status_number(text, "\nUid:\t", 10), 0);
			assert_int_not_equal(status_number(text, "\nGid:\t", 10), 0);
			assert_int_equal(status_number(text, "\nCapBnd:\t", 16), kept);
			assert_non_null(strstr(text, "\nGroups:\t \n"));
		}
		(void)close(ends[1]);
		assert_int_equal(wait_for(pid), 0);
		(void)close(pid_fd);
	}
}

static int count_descriptors(void)
{
	int n = 0;
	for (int fd = 3; fd < 64; fd++)
		n += syscall(SYS_fstat, fd, &(struct stat){ 0 }) == 0;
	return n;
}

static void nothing_is_open_but_what_was_kept(void **state)
{
	(void)state;
	int a[2];
	int b[2];
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	struct attempt count = { count_descriptors };
	const int keep[] = { b[1], a[0] };
	pid_t pid;
	struct gd_error err = { 0 };
	/* The watcher may fstat. */
	assert_ok(gd_role_fork(GD_ROLE_WATCHER, keep, 2, attempt, &count, &pid, NULL, &err), &err);
	assert_int_equal(wait_for(pid), 2);
	assert_ok(gd_role_fork(GD_ROLE_WATCHER, NULL, 0, attempt, &count, &pid, NULL, &err), &err);
	assert_int_equal(wait_for(pid), 0);
	(void)close(a[0]);
	(void)close(a[1]);
	(void)close(b[0]);
	(void)close(b[1]);
}

static void a_child_dies_with_its_broker(void **state)
{
	(void)state;
	int ends[2];
	int pids[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pipe2(pids, O_CLOEXEC), 0);
	go_fd = ends[0];
	pid_t broker = fork();
	if (broker == 0) {
		pid_t pid;
		struct gd_error err = { 0 };
		/* The end of a pipe that only the child keeps tells when it is gone. */
		const int keep[] = { ends[0], pids[1] };
		if (gd_role_fork(GD_ROLE_PARSER, keep, 2, live, NULL, &pid, NULL, &err) < 0)
			_exit(1);
		char byte = 0;
		if (write(pids[1], &byte, 1) != 1)
			_exit(1);
		(void)pause();
		_exit(2);
	}
	(void)close(pids[1]);
	(void)close(ends[0]);
	char byte;
	assert_int_equal(read(pids[0], &byte, 1), 1);
	assert_int_equal(kill(broker, SIGKILL), 0);
	assert_int_equal(wait_for(broker), BY_SIGNAL + SIGKILL);
	/* Its last writer is gone: end of file, though nobody told it to end. */
	assert_int_equal(read(pids[0], &byte, 1), 0);
	(void)close(pids[0]);
	(void)close(ends[1]);
}

static int tighten_and_fork(void)
{
	struct gd_error err = { 0 };
	if (gd_role_tighten(&err) < 0)
		return 1;
	return syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL) < 0 ? errno : 0;
}

static int tighten_and_tighten(void)
{
	struct gd_error err = { 0 };
	return gd_role_tighten(&err) < 0 || gd_role_tighten(&err) < 0 ? 1 : 0;
}

static void a_tightened_child_forks_no_more(void **state)
{
	(void)state;
	assert_int_equal(came_to(GD_ROLE_PARSER, tighten_and_fork), SIGSYSED);
	assert_int_equal(came_to(GD_ROLE_PARSER, tighten_and_tighten), SIGSYSED);
}

static void memory_has_an_end(void **state)
{
	(void)state;
	/* The freezer's index is reserved as large as an image may get, and filled as it does. */
	for (int role = GD_ROLE_PARSER; role < GD_ROLES; role++)
		assert_true(gd_roles[role].memory_max > 0 || role == GD_ROLE_FREEZER);
}

static int freeze_and_more(void)
{
	static const int families[] = { AF_INET, AF_INET6, AF_NETLINK };
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (socket(families[i], SOCK_STREAM, 0) >= 0 || errno != EPERM)
			return 1;
	if (unshare(CLONE_NEWNET) == 0 || errno != EPERM)
		return 2;
	if (syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0) == 0 || errno != EPERM)
		return 3;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) != 0)
		return 4;
	/* It may trace: that is what it is for. */
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 5;
}

static void the_freezer_may_trace_and_reaches_no_network(void **state)
{
	(void)state;
	assert_int_equal(came_to(GD_ROLE_FREEZER, freeze_and_more), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(no_role_does_what_it_may_not),
		test_case(every_role_can_do_ordinary_work),
		test_case(who_needs_sockets_has_them),
		test_case(a_tree_more_can_be_allowed),
		test_case(a_live_role_shows_its_walls),
		test_case(nothing_is_open_but_what_was_kept),
		test_case(a_child_dies_with_its_broker),
		test_case(a_tightened_child_forks_no_more),
		test_case(memory_has_an_end),
		test_case(the_freezer_may_trace_and_reaches_no_network),
	};
	return test_run(tests);
}
