#include "tests/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/cgroup.h"

static const char mountinfo[] =
	"22 1 0:20 / /proc rw - proc proc rw\n"
	"30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate\n"
	"31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 master:1 - cgroup cgroup rw,cpu,cpuacct\n"
	"32 25 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	"33 25 0:29 / /mnt/with\\040blank rw - cgroup cgroup rw,pids\n"
	"34 25 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd";

static struct gd_cgroup one(const char *membership)
{
	struct gd_cgroup group = { 0 };
	const char *cursor = NULL;
	assert_true(gd_cgroup_next(membership, mountinfo, &cursor, &group));
	return group;
}

static void memberships_meet_their_mounts(void **state)
{
	(void)state;
	struct gd_cgroup g = one("0::/system.slice/a.service\n");
	assert_int_equal(g.version, 2);
	assert_string_equal(g.mount, "/sys/fs/cgroup/unified");
	assert_string_equal(g.relative, "system.slice/a.service");
	g = one("4:cpu,cpuacct:/a\n");
	assert_int_equal(g.version, 1);
	assert_string_equal(g.controllers, "cpu,cpuacct");
	assert_string_equal(g.mount, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(g.relative, "a");
	/* In a container without a namespace of its own the mount begins at its own group. */
	g = one("9:memory:/docker/abc\n");
	assert_string_equal(g.relative, "");
	g = one("9:memory:/docker/abc/child\n");
	assert_string_equal(g.relative, "child");
	g = one("8:pids:/\n");
	assert_string_equal(g.mount, "/mnt/with blank");
	assert_string_equal(g.relative, "");
}

static void groups_outside_of_our_view_have_no_mount(void **state)
{
	(void)state;
	assert_string_equal(one("9:memory:/docker/abcd\n").mount, "");
	assert_string_equal(one("9:memory:/\n").mount, "");
	assert_string_equal(one("3:hugetlb:/\n").mount, "");
	struct gd_cgroup g = one("9:memory:/docker/abcd\n");
	struct gd_error err = { 0 };
	int fd = -1;
	assert_fails(gd_cgroup_open("", &g, &fd, &err), -ENOENT, &err);
	assert_contains(err.msg, "namespace");
}

static void hierarchies_without_controllers_and_nonsense_are_passed_over(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "\n", "1:name=systemd:/a\n", "nonsense\n", "0::\n",
		                             "0:: /a\n", "1::/a\n", "4:cpu\n", "4:cpu:a\n", ":::" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct gd_cgroup g;
		const char *cursor = NULL;
		assert_false(gd_cgroup_next(texts[i], mountinfo, &cursor, &g));
		assert_false(gd_cgroup_next(texts[i], mountinfo, &cursor, &g));
	}
}

static void all_groups_come_one_after_the_other(void **state)
{
	(void)state;
	struct gd_cgroup g;
	const char *cursor = NULL;
	static const char text[] = "9:memory:/docker/abc\n1:name=systemd:/\n4:cpu,cpuacct:/\n0::/x";
	assert_true(gd_cgroup_next(text, mountinfo, &cursor, &g));
	assert_string_equal(g.controllers, "memory");
	assert_true(gd_cgroup_next(text, mountinfo, &cursor, &g));
	assert_string_equal(g.controllers, "cpu,cpuacct");
	assert_true(gd_cgroup_next(text, mountinfo, &cursor, &g));
	assert_int_equal(g.version, 2);
	assert_string_equal(g.path, "/x");
	assert_false(gd_cgroup_next(text, mountinfo, &cursor, &g));
}

static void parents_end_at_the_mount(void **state)
{
	(void)state;
	struct gd_cgroup g = one("0::/a/b\n");
	assert_true(gd_cgroup_up(&g));
	assert_string_equal(g.path, "/a");
	assert_string_equal(g.relative, "a");
	assert_true(gd_cgroup_up(&g));
	assert_string_equal(g.path, "/");
	assert_string_equal(g.relative, "");
	assert_false(gd_cgroup_up(&g));
	g = one("9:memory:/docker/abc/child\n");
	assert_true(gd_cgroup_up(&g));
	assert_string_equal(g.path, "/docker/abc");
	assert_false(gd_cgroup_up(&g));
}

static void only_real_directories_below_the_mount_are_opened(void **state)
{
	(void)state;
	const char *root = test_dir();
	assert_int_equal(mkdir(test_path("sys"), 0755), 0);
	assert_int_equal(mkdir(test_path("sys/fs"), 0755), 0);
	assert_int_equal(mkdir(test_path("sys/fs/cgroup"), 0755), 0);
	assert_int_equal(mkdir(test_path("sys/fs/cgroup/unified"), 0755), 0);
	assert_int_equal(mkdir(test_path("sys/fs/cgroup/unified/a"), 0755), 0);
	assert_int_equal(symlink("/etc", test_path("sys/fs/cgroup/unified/link")), 0);
	struct gd_error err = { 0 };
	struct gd_cgroup g = one("0::/a\n");
	GD_CLOSE int fd = -1;
	assert_ok(gd_cgroup_open(root, &g, &fd, &err), &err);

	int none = -1;
	static const char *const bad[] = { "0::/link\n", "0::/link/ssh\n", "0::/../a\n",
		                           "0::/a/../../unified/a\n", "0::/gone\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g = one(bad[i]);
		assert_true(gd_cgroup_open(root, &g, &none, &err) < 0);
		assert_int_equal(none, -1);
	}
}

static void words_are_whole_words(void **state)
{
	(void)state;
	assert_true(gd_cgroup_has("rw,cpu,cpuacct", "cpu"));
	assert_true(gd_cgroup_has("cpuacct,cpu", "cpu"));
	assert_false(gd_cgroup_has("rw,cpuacct,cpuset", "cpu"));
	assert_false(gd_cgroup_has("", "cpu"));
	assert_false(gd_cgroup_has(",,", "cpu"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(memberships_meet_their_mounts),
		test_case(groups_outside_of_our_view_have_no_mount),
		test_case(hierarchies_without_controllers_and_nonsense_are_passed_over),
		test_case(all_groups_come_one_after_the_other),
		test_case(parents_end_at_the_mount),
		test_case(only_real_directories_below_the_mount_are_opened),
		test_case(words_are_whole_words),
	};
	return test_run(tests);
}
