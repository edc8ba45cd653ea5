/*
 * The table of what a jailed reader may ask for.
 */
#include "agent/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

static void only_names_on_the_list_are_files(void **state)
{
	(void)state;
	static const char *const good[] = { "stat", "maps", "task/1/stack", "task/4294967295/stat",
		                            "fdinfo/0", "net/tcp6", "/proc/loadavg",
		                            "/proc/self/mountinfo" };
	static const char *const bad[] = {
		"", "/", ".", "..", "mem", "root", "root/etc/shadow", "cwd/x", "exe", "fd/3",
		"task//stat", "task/x/stat", "task/1/../stat", "task/1/stat/", "task/1/mem",
		"task/12345678901/stat", "task/-1/stat", "task/1/stat\n", "fdinfo/", "fdinfo/N",
		"fdinfo/3/", "map_files/0-1", "/etc/shadow", "/proc/1/mem", "/proc/self/mem",
		"/proc/loadavg/", "//proc/loadavg", "net/../stat", "task/N/stat", "stat ", " stat",
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_not_equal(gd_request_file(good[i]), GD_REQUEST_NO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gd_request_file(bad[i]), GD_REQUEST_NO);
}

static void what_the_kernel_checks_at_each_read_is_read_by_the_broker(void **state)
{
	(void)state;
	static const char *const checked[] = { "task/7/syscall", "task/7/stack", "io", "stat" };
	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
		assert_int_equal(gd_request_file(checked[i]), GD_REQUEST_CHECKED);
	/* And what may hang on the target's memory map never is. */
	static const char *const large[] = { "maps", "smaps_rollup", "cmdline", "environ" };
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		assert_int_equal(gd_request_file(large[i]), GD_REQUEST_LARGE);
}

static void links_are_those_whose_text_is_wanted(void **state)
{
	(void)state;
	assert_true(gd_request_link("exe"));
	assert_true(gd_request_link("fd/1023"));
	assert_true(gd_request_link("ns/net"));
	assert_false(gd_request_link("fd/"));
	assert_false(gd_request_link("root/etc"));
	assert_false(gd_request_link("map_files/0-1"));
	assert_false(gd_request_link("/proc/1/exe"));
	assert_true(gd_request_list("task"));
	assert_false(gd_request_list("task/"));
	assert_false(gd_request_list("map_files"));
}

static struct gd_request_group group(const char *mount, const char *relative, const char *name)
{
	struct gd_request_group g = { .exists = name == NULL };
	(void)snprintf(g.mount, sizeof(g.mount), "%s", mount);
	(void)snprintf(g.relative, sizeof(g.relative), "%s", relative);
	(void)snprintf(g.name, sizeof(g.name), "%s", name != NULL ? name : "");
	return g;
}

static bool allows(const char *mount, const char *relative, const char *name)
{
	struct gd_request_group g = group(mount, relative, name);
	return gd_request_group(&g);
}

static void groups_are_only_those_of_the_kernel(void **state)
{
	(void)state;
	assert_true(allows("/sys/fs/cgroup", "", "memory.max"));
	assert_true(allows("/sys/fs/cgroup", "system.slice/x.service", "cpu.stat"));
	assert_true(allows("/sys/fs/cgroup/cpu,cpuacct", "docker/ab", "cpu.shares"));
	assert_true(allows("/sys/fs/cgroup/memory", "a", NULL));
	assert_false(allows("/sys/fs/cgroup/../../../etc", "", "memory.max"));
	assert_false(allows("/sys/fs/cgroup/", "", "memory.max"));
	assert_false(allows("/sys/fs/cgroups", "", "memory.max"));
	assert_false(allows("/etc", "", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "../x", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "a/../b", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "/a", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "a//b", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "a/", "memory.max"));
	assert_false(allows("/sys/fs/cgroup", "a", "shadow"));
	assert_false(allows("/sys/fs/cgroup", "a", "memory."));
	assert_false(allows("/sys/fs/cgroup", "a", "memory.x/../../y"));
	assert_false(allows("/sys/fs/cgroup", "a", "tasks"));
}

static void a_reader_sees_its_targets_groups_and_what_is_above(void **state)
{
	(void)state;
	static const char text[] = "4:memory:/docker/abc/inner\n0::/kube.slice/pod1/ctr\n";
	assert_true(gd_request_group_is_its(text, "docker/abc/inner"));
	assert_true(gd_request_group_is_its(text, "docker/abc"));
	assert_true(gd_request_group_is_its(text, "kube.slice"));
	assert_true(gd_request_group_is_its(text, ""));
	assert_false(gd_request_group_is_its(text, "docker/ab"));
	assert_false(gd_request_group_is_its(text, "docker/abd"));
	assert_false(gd_request_group_is_its(text, "kube.slice/pod2"));
	assert_false(gd_request_group_is_its(text, "ube.slice"));
}

static void a_question_needs_its_state_its_size_and_its_turn(void **state)
{
	(void)state;
	struct gd_request_count count = { { 0 } };
	struct gd_request_path path = { .max = 1, .path = "stat" };
	static struct gd_request_runtime runtime;
	struct gd_error err = { 0 };
	assert_ok(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUEST_OPEN, &path, sizeof(path),
	                           &err), &err);
	assert_fails(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUEST_OPEN, &path,
	                              sizeof(path) - 1, &err), -EBADMSG, &err);
	assert_fails(gd_request_check(GD_ASKER_FORKING, &count, GD_REQUEST_OPEN, &path,
	                              sizeof(path), &err), -EBADMSG, &err);
	assert_fails(gd_request_check(GD_ASKER_DONE, &count, GD_REQUEST_OPEN, &path, sizeof(path),
	                              &err), -EBADMSG, &err);
	memset(path.path, 'a', sizeof(path.path));
	assert_fails(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUEST_OPEN, &path,
	                              sizeof(path), &err), -EBADMSG, &err);
	assert_ok(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUEST_RUNTIME, &runtime,
	                           sizeof(runtime), &err), &err);
	/* Once is once. */
	assert_fails(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUEST_RUNTIME, &runtime,
	                              sizeof(runtime), &err), -EBADMSG, &err);
	assert_fails(gd_request_check(GD_ASKER_OPENING, &count, 0, "", 0, &err), -EBADMSG, &err);
	assert_fails(gd_request_check(GD_ASKER_OPENING, &count, GD_REQUESTS, "", 0, &err), -EBADMSG,
	             &err);
}

static void an_outcome_must_be_one(void **state)
{
	(void)state;
	struct gd_request_count count = { { 0 } };
	static struct gd_request_done done;
	struct gd_error err = { 0 };
	int grade = 17;
	memcpy(&done.outcome.grade, &grade, sizeof(grade));
	assert_fails(gd_request_check(GD_ASKER_COLLECTOR, &count, GD_REQUEST_DONE, &done,
	                              sizeof(done), &err), -EBADMSG, &err);
	done.outcome = GD_OUTCOME_COMPLETE;
	memset(done.outcome.why.msg, 'x', sizeof(done.outcome.why.msg));
	assert_fails(gd_request_check(GD_ASKER_COLLECTOR, &count, GD_REQUEST_DONE, &done,
	                              sizeof(done), &err), -EBADMSG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(only_names_on_the_list_are_files),
		test_case(what_the_kernel_checks_at_each_read_is_read_by_the_broker),
		test_case(links_are_those_whose_text_is_wanted),
		test_case(groups_are_only_those_of_the_kernel),
		test_case(a_reader_sees_its_targets_groups_and_what_is_above),
		test_case(a_question_needs_its_state_its_size_and_its_turn),
		test_case(an_outcome_must_be_one),
	};
	return test_run(tests);
}
