#include "tests/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectors/proc.h"
#include "tests/kept.h"

static struct kept kept;

static void make_dirs(const char *path)
{
	char dir[512];
	(void)snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = strchr(dir, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(test_path(dir), 0755);
		*p = '/';
	}
}

static void have(const char *path, const char *text)
{
	make_dirs(path);
	(void)test_file(path, text, strlen(text));
}

static void collect(const char *mountinfo, const char *memberships)
{
	struct gd_collect c = { .sink = &kept.sink };
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	struct gd_proc proc = { .collect = &c, .target = target };
	kept_init(&kept);
	gd_proc_cgroup_collect(&proc, test_dir(), mountinfo, memberships);
	assert_int_equal(proc.sink_code, 0);
}

static void holds(const char *name, const char *text)
{
	const struct kept_artifact *a = kept_find(&kept, name);
	if (a == NULL)
		fail_msg("no artifact %s", name);
	assert_int_equal(a->outcome.grade, GD_GRADE_COMPLETE);
	assert_string_equal(a->bytes.data, text);
}

static void version_2_is_collected_with_its_ancestors(void **state)
{
	(void)state;
	have("cg/pod/box/memory.max", "104857600\n");
	have("cg/pod/box/memory.current", "1\n");
	have("cg/pod/box/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n");
	have("cg/pod/box/cpu.max", "max 100000\n");
	have("cg/pod/box/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	have("cg/pod/box/cgroup.kill", "never read\n");
	have("cg/pod/box/pids.current", "7\n");
	have("cg/pod/memory.max", "52428800\n");
	have("cg/pod/pids.max", "100\n");
	have("cg/cgroup.controllers", "memory\n");
	collect("30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "0::/pod/box\n");

	holds("cgroup/memory.max", "104857600\n");
	holds("cgroup/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n");
	holds("cgroup/cpu.max", "max 100000\n");
	holds("cgroup/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	holds("cgroup/pids.current", "7\n");
	holds("cgroup/ancestors.jsonl",
	      "{\"version\":2,\"path\":\"/pod/box\",\"up\":0,\"memory.max\":\"104857600\","
	      "\"memory.current\":\"1\",\"cpu.max\":\"max 100000\",\"pids.current\":\"7\"}\n"
	      "{\"version\":2,\"path\":\"/pod\",\"up\":1,\"memory.max\":\"52428800\","
	      "\"pids.max\":\"100\"}\n"
	      "{\"version\":2,\"path\":\"/\",\"up\":2}\n");
	const struct kept_artifact *groups = kept_find(&kept, "cgroup/groups.jsonl");
	assert_contains(groups->bytes.data, "\"path\":\"/pod/box\",\"mount\":\"/cg\"");
	assert_contains(groups->bytes.data, "\"memory.peak\"");
	for (size_t i = 0; i < kept.n; i++)
		if (kept.list[i].bytes.data != NULL)
			assert_null(strstr(kept.list[i].bytes.data, "never read"));
	kept_deinit(&kept);
}

static void version_1_is_collected_per_controller(void **state)
{
	(void)state;
	have("memory/docker/x/memory.limit_in_bytes", "104857600\n");
	have("memory/docker/x/memory.usage_in_bytes", "99\n");
	have("memory/docker/memory.limit_in_bytes", "9223372036854771712\n");
	have("memory/docker/x/cpu.stat", "not of this controller\n");
	have("cpu/docker/x/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n");
	have("cpu/docker/x/cpu.cfs_quota_us", "-1\n");
	have("cpu/docker/x/cpuacct.usage", "123\n");
	collect("30 25 0:26 / /memory rw - cgroup cgroup rw,memory\n"
	        "31 25 0:27 / /cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
	        "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n");

	holds("cgroup/v1/memory.limit_in_bytes", "104857600\n");
	holds("cgroup/v1/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n");
	holds("cgroup/v1/cpuacct.usage", "123\n");
	const struct kept_artifact *a = kept_find(&kept, "cgroup/ancestors.jsonl");
	assert_contains(a->bytes.data, "\"controllers\":\"memory\",\"path\":\"/docker/x\",\"up\":0,"
	                               "\"memory.limit_in_bytes\":\"104857600\"");
	assert_contains(a->bytes.data, "\"path\":\"/docker\",\"up\":1,"
	                               "\"memory.limit_in_bytes\":\"9223372036854771712\"");
	kept_deinit(&kept);
}

static void links_in_the_tree_are_never_followed(void **state)
{
	(void)state;
	have("secret/memory.max", "canary\n");
	have("secret/cpu.max", "canary\n");
	make_dirs("cg/box/x");
	assert_int_equal(symlink(test_path("secret/memory.max"), test_path("cg/box/memory.max")), 0);
	assert_int_equal(symlink(test_path("secret"), test_path("cg/link")), 0);
	static const char *const groups[] = { "0::/box\n", "0::/link\n", "0::/../secret\n" };
	for (size_t i = 0; i < 3; i++) {
		collect("30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n", groups[i]);
		assert_true(kept.n >= 2);
		for (size_t k = 0; k < kept.n; k++)
			if (kept.list[k].bytes.data != NULL)
				assert_null(strstr(kept.list[k].bytes.data, "canary"));
		kept_deinit(&kept);
	}
}

static void a_fifo_in_the_tree_does_not_hang_us(void **state)
{
	(void)state;
	make_dirs("cg/box/x");
	assert_int_equal(mkfifo(test_path("cg/box/memory.max"), 0600), 0);
	collect("30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "0::/box\n");
	assert_non_null(kept_find(&kept, "cgroup/groups.jsonl"));
	kept_deinit(&kept);
}

static void a_group_that_is_not_mounted_says_so(void **state)
{
	(void)state;
	collect("30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "4:memory:/a\n");
	assert_int_equal(kept.n, 2);
	const struct kept_artifact *a = kept_find(&kept, "cgroup/groups.jsonl");
	assert_contains(a->bytes.data, "\"error\":\"the group is not mounted");
	kept_deinit(&kept);
}

static void a_very_deep_group_is_cut_and_partial(void **state)
{
	(void)state;
	char membership[512] = "0::";
	make_dirs("cg/x");
	GD_BUF struct gd_buf path = GD_BUF_INIT(512);
	gd_buf_puts(&path, "cg");
	for (int i = 0; i < 40; i++) {
		(void)strcat(membership, "/d");
		gd_buf_puts(&path, "/d");
		assert_int_equal(mkdir(test_path(gd_buf_str(&path)), 0755), 0);
	}
	collect("30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n", membership);
	const struct kept_artifact *a = kept_find(&kept, "cgroup/ancestors.jsonl");
	assert_int_equal(a->outcome.grade, GD_GRADE_PARTIAL);
	kept_deinit(&kept);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(version_2_is_collected_with_its_ancestors),
		test_case(version_1_is_collected_per_controller),
		test_case(links_in_the_tree_are_never_followed),
		test_case(a_fifo_in_the_tree_does_not_hang_us),
		test_case(a_group_that_is_not_mounted_says_so),
		test_case(a_very_deep_group_is_cut_and_partial),
	};
	return test_run(tests);
}
