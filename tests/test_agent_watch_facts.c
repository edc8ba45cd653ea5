/*
 * What is read of processes to tell whose they are, and the listeners of their network namespaces.
 */
#include "agent/watch_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watch_ports.h"
#include "tests/test.h"

#define EVERYTHING 255u

static struct gd_watch_facts facts;

static int read_facts(pid_t pid)
{
	int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(proc_fd >= 0);
	int r = gd_watch_facts_read(proc_fd, pid, EVERYTHING, NULL, &facts);
	assert_int_equal(close(proc_fd), 0);
	return r;
}

static void what_may_be_read_without_asking_is_there(void **state)
{
	(void)state;
	struct victim *v = victim_start("household", "one", "", "two words", "\n--x=\xff", NULL);
	assert_int_equal(read_facts(v->pid), 0);
	assert_int_equal(facts.id.pid, v->pid);
	assert_true(facts.id.start_ticks > 0);
	assert_false(facts.kernel_thread);
	assert_string_equal(facts.facts.comm, "household");
	char cmdline[8192];
	(void)snprintf(cmdline, sizeof(cmdline), "%s one  two words \n--x=\xff",
	               victim_path("household"));
	assert_string_equal(facts.facts.cmdline, cmdline);
	assert_int_equal(facts.facts.uid, getuid());
	assert_true(facts.facts.cgroup[0] == '/' || facts.membership[0] == '\0');
	assert_string_equal(facts.facts.exe, ""); /* nobody to ask */
	assert_int_equal(facts.facts.n_ports, 0);
}

static void endless_arguments_are_cut(void **state)
{
	(void)state;
	static char endless[100000];
	memset(endless, 'x', sizeof(endless) - 1);
	struct victim *v = victim_start("household", endless, endless, NULL);
	assert_int_equal(read_facts(v->pid), 0);
	assert_int_equal(strlen(facts.facts.cmdline), sizeof(facts.cmdline) - 1);
}

static void the_dead_and_the_never_born_are_esrch(void **state)
{
	(void)state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(read_facts(pid), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read_facts(pid), -ESRCH);
	assert_int_equal(read_facts(0x3fffffff), -ESRCH);
}

static void a_kernel_thread_is_one(void **state)
{
	(void)state;
	if (read_facts(2) < 0 || strcmp(facts.comm, "kthreadd") != 0)
		test_skip("no kernel threads in this pid namespace");
	assert_true(facts.kernel_thread);
}

static void arguments_are_joined_with_blanks(void **state)
{
	char text[] = "a\0\0b c\0d\0\0";
	(void)state;
	gd_watch_facts_join(text, sizeof(text) - 1);
	assert_string_equal(text, "a  b c d");
	char none[] = "\0\0";
	gd_watch_facts_join(none, 2);
	assert_string_equal(none, "");
	char title[] = "nginx: worker process";
	gd_watch_facts_join(title, strlen(title));
	assert_string_equal(title, "nginx: worker process");
}

static void the_uid_is_the_real_one(void **state)
{
	(void)state;
	assert_int_equal(gd_watch_facts_parse_uid("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\n"), 1000);
	/* The kernel escapes a newline in a name. */
	assert_int_equal(gd_watch_facts_parse_uid("Name:\t\\nUid:\t7\nUid:\t1000\t0\t0\t0\n"), 1000);
	assert_int_equal(gd_watch_facts_parse_uid("Uid:\t1\n"), -1);
	assert_int_equal(gd_watch_facts_parse_uid("Name:\tx\nUid:\tx\n"), -1);
	assert_int_equal(gd_watch_facts_parse_uid("Name:\tx\nUid:\t4294967296\n"), -1);
	assert_int_equal(gd_watch_facts_parse_uid(""), -1);
}

static void listeners_are_told_from_other_sockets(void **state)
{
	struct gd_watch_listener l = { 0 };
	(void)state;
	assert_int_equal(gd_watch_ports_parse(
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000"
		"  1000        0 123456 1 0000000000000000 100 0 0 10 0\n", &l), 1);
	assert_int_equal(l.port, 8080);
	assert_int_equal(l.inode, 123456);
	assert_int_equal(gd_watch_ports_parse(
		"  12: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A"
		" 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n", &l),
	                 1);
	assert_int_equal(l.port, 80);
	assert_int_equal(l.inode, 77);
	assert_int_equal(gd_watch_ports_parse(
		"   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000"
		"  1000        0 99 1 0 100 0 0 10 0\n", &l), 0);
	static const char *const bad[] = {
		"", "\n", "x", "0", "0:", "0: ", "0: 0100007F", "0: 0100007F:", "0: 0100007F:1F90",
		"0: 0100007F:11F90 0:0 0A", "0: 0100007F:1F90 00000000:0000",
		"0: 0100007F:1F90 00000000:0000 0A", "0: 0100007F:1F90 0:0 0A 0 0 0 0 0",
		"0: 0100007F:1F90 0:0 0A 0 0 0 0 0 x",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gd_watch_ports_parse(bad[i], &l), -1);
	assert_int_equal(l.inode, 77);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_may_be_read_without_asking_is_there),
		test_case(endless_arguments_are_cut),
		test_case(the_dead_and_the_never_born_are_esrch),
		test_case(a_kernel_thread_is_one),
		test_case(arguments_are_joined_with_blanks),
		test_case(the_uid_is_the_real_one),
		test_case(listeners_are_told_from_other_sockets),
	};
	return test_run(tests);
}
