/*
 * Control groups in trees that we made: version 1, version 2, both at once, odd names, limits that
 * move, places that are missing.
 */
#include "agent/watch_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

#define GIB (1ull << 30)
#define SECOND_NS INT64_C(1000000000)

static int64_t now_ns;

static void put(const char *path, const char *text)
{
	char full[8192];
	(void)snprintf(full, sizeof(full), "%s/%s", test_dir(), path);
	for (char *slash = strchr(full + strlen(test_dir()) + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(full, 0755);
		*slash = '/';
	}
	/* In place, as the kernel's files are: descriptors stay open on them. */
	FILE *f = fopen(full, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void put_number(const char *path, uint64_t number)
{
	char text[32];
	(void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
	put(path, text);
}

struct tree {
	int proc_fd;
	struct gd_watch_cgroups *cgroups;
	struct gd_watch_group *group;
	double values[GD_METRICS];
};

static void make_machine(void)
{
	put("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\n"
	                    "MemAvailable:   12582912 kB\n");
	put("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
	put("proc/pressure/memory", "some avg10=0 total=0\nfull avg10=0 total=0\n");
	put("proc/pressure/io", "some avg10=0 total=5\nfull avg10=0 total=5\n");
}

static struct tree open_tree(const char *membership)
{
	struct tree t = { .proc_fd = open(test_path("proc"), O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	struct gd_error err = { 0 };
	assert_true(t.proc_fd >= 0);
	now_ns = 100 * SECOND_NS;
	assert_ok(gd_watch_cgroups_create(test_path("cg"), t.proc_fd, true, &t.cgroups, &err), &err);
	assert_int_equal(gd_watch_cgroups_get(t.cgroups, membership, &t.group), 0);
	return t;
}

static void close_tree(struct tree *t)
{
	gd_watch_cgroups_put(t->cgroups, t->group);
	gd_watch_cgroups_destroy(t->cgroups);
	assert_int_equal(close(t->proc_fd), 0);
}

static void tick(struct tree *t)
{
	now_ns += SECOND_NS;
	gd_watch_cgroups_tick(t->cgroups, now_ns);
	for (int i = 0; i < GD_METRICS; i++)
		t->values[i] = NAN;
	gd_watch_group_values(t->group, t->values);
}

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fabs(b) + 1e-12;
}

static void make_v2(void)
{
	make_machine();
	put("cg/cgroup.controllers", "cpu memory\n");
	put("cg/pod.slice/memory.max", "1073741824\n");
	put("cg/pod.slice/memory.current", "536870912\n");
	put("cg/pod.slice/memory.stat", "anon 1\ninactive_file 0\nactive_file 3\n");
	put("cg/pod.slice/memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n");
	put("cg/pod.slice/cpu.max", "200000 100000\n");
	put("cg/pod.slice/cpu.stat", "usage_usec 5\nnr_periods 100\nnr_throttled 10\n");
	put("cg/pod.slice/app/memory.max", "max\n");
	put("cg/pod.slice/app/memory.current", "1\n");
	put("cg/pod.slice/app/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
	put("cg/pod.slice/app/cpu.max", "max 100000\n");
	put("cg/pod.slice/app/cpu.stat", "usage_usec 5\nnr_periods 0\nnr_throttled 0\n");
	put("cg/pod.slice/app/cpu.pressure", "some avg10=0 total=0\nfull avg10=0 total=0\n");
	put("cg/pod.slice/app/memory.pressure", "some avg10=0 total=0\nfull avg10=0 total=0\n");
	put("cg/pod.slice/app/io.pressure", "some avg10=0 total=0\nfull avg10=0 total=0\n");
}

static void the_nearest_limit_above_counts(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.5));
	assert_true(near(gd_watch_group_cpus(t.group), 2));
	assert_string_equal(gd_watch_group_note(t.group), "");
	/* The app gets a limit of its own: noticed at the next review. */
	put("cg/pod.slice/app/memory.max", "1000\n");
	put("cg/pod.slice/app/memory.current", "250\n");
	put("cg/pod.slice/app/memory.stat", "inactive_file 50\n");
	for (int i = 0; i < 12; i++)
		tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.2));
	close_tree(&t);
}

static void what_the_kernel_can_drop_is_not_in_use(void **state)
{
	(void)state;
	make_v2();
	put("cg/pod.slice/memory.stat", "anon 1\ninactive_file 268435456\n");
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
	/* More than there is, as a torn pair of readings may say. */
	put("cg/pod.slice/memory.stat", "inactive_file 99999999999\n");
	put("cg/pod.slice/memory.current", "900000000\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0));
	close_tree(&t);
}

static void without_a_limit_it_is_the_machines_memory(void **state)
{
	(void)state;
	make_v2();
	put("cg/pod.slice/memory.max", "max\n");
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
	close_tree(&t);
	/* A limit above the machine's memory is none. */
	put_number("cg/pod.slice/memory.max", 64 * GIB);
	t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
	close_tree(&t);
}

static void time_to_limit_is_the_slope_of_the_last_minute(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	uint64_t used = 100000000;
	for (int i = 0; i < 9; i++) {
		put_number("cg/pod.slice/memory.current", used);
		tick(&t);
		assert_true(isnan(t.values[GD_METRIC_TIME_TO_LIMIT])); /* too few to tell */
	}
	for (int i = 0; i < 70; i++) {
		used += 1000000;
		put_number("cg/pod.slice/memory.current", used);
		tick(&t);
	}
	double left = (double)(GIB - used) / 1000000;
	assert_true(fabs(t.values[GD_METRIC_TIME_TO_LIMIT] - left) < 0.001 * left);
	/* Flat for a minute, then falling: no limit in sight. */
	for (int i = 0; i < 70; i++) {
		used -= 10;
		put_number("cg/pod.slice/memory.current", used);
		tick(&t);
	}
	assert_true(isinf(t.values[GD_METRIC_TIME_TO_LIMIT]));
	put_number("cg/pod.slice/memory.current", GIB + 1);
	tick(&t);
	assert_true(near(t.values[GD_METRIC_TIME_TO_LIMIT], 0));
	close_tree(&t);
}

static void throttling_is_of_the_periods_since_the_last_tick(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	assert_true(isnan(t.values[GD_METRIC_CGROUP_THROTTLED]));
	put("cg/pod.slice/cpu.stat", "nr_periods 110\nnr_throttled 14\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_CGROUP_THROTTLED], 0.4));
	tick(&t);
	assert_true(near(t.values[GD_METRIC_CGROUP_THROTTLED], 0));
	/* Counters of a group that was made anew. */
	put("cg/pod.slice/cpu.stat", "nr_periods 1\nnr_throttled 1\n");
	tick(&t);
	assert_true(isnan(t.values[GD_METRIC_CGROUP_THROTTLED]));
	close_tree(&t);
}

static void events_are_those_since_the_last_tick(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group), 0); /* seven of old do not count */
	put("cg/pod.slice/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n");
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group),
	                 1 << GD_EVENT_MEMORY_MAX | 1 << GD_EVENT_OOM);
	put("cg/pod.slice/app/memory.events", "high 1\nmax 0\noom 0\noom_kill 1\n");
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group),
	                 1 << GD_EVENT_MEMORY_HIGH | 1 << GD_EVENT_OOM_KILL);
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group), 0);
	close_tree(&t);
}

static void pressure_is_the_groups_own_or_the_hosts(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	put("cg/pod.slice/app/memory.pressure", "some total=500000\nfull total=250000\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_PSI_MEMORY_SOME], 0.5));
	assert_true(near(t.values[GD_METRIC_PSI_MEMORY_FULL], 0.25));
	close_tree(&t);

	t = open_tree("0::/other\n");
	tick(&t);
	put("proc/pressure/cpu", "some total=1100000\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_PSI_CPU_SOME], 0.1));
	assert_true(isnan(t.values[GD_METRIC_PSI_CPU_FULL])); /* not before Linux 5.13 */
	close_tree(&t);
}

static void version_1_has_other_files(void **state)
{
	(void)state;
	make_machine();
	put("cg/memory/docker/abc/memory.limit_in_bytes", "1000000\n");
	put("cg/memory/docker/abc/memory.usage_in_bytes", "900000\n");
	put("cg/memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 100000\n");
	put("cg/memory/docker/abc/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put("cg/memory/docker/abc/memory.failcnt", "5\n");
	put("cg/memory/docker/memory.limit_in_bytes", "9223372036854771712\n");
	put("cg/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "50000\n");
	put("cg/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
	put("cg/cpu,cpuacct/docker/abc/cpu.stat", "nr_periods 0\nnr_throttled 0\n");
	put("cg/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
	put("cg/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
	struct tree t = open_tree("9:memory:/docker/abc\n4:cpuacct,cpu:/docker/abc\n"
	                          "1:name=systemd:/docker/abc\n0::/\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.8));
	assert_true(near(gd_watch_group_cpus(t.group), 0.5));
	put("cg/memory/docker/abc/memory.failcnt", "6\n");
	put("cg/cpu,cpuacct/docker/abc/cpu.stat", "nr_periods 10\nnr_throttled 10\n");
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group), 1 << GD_EVENT_MEMORY_MAX);
	assert_true(near(t.values[GD_METRIC_CGROUP_THROTTLED], 1));
	put("cg/memory/docker/abc/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 1\noom_kill 4\n");
	tick(&t);
	assert_int_equal(gd_watch_group_events(t.group), 1 << GD_EVENT_OOM_KILL);
	close_tree(&t);
}

static void one_text_is_one_group_and_its_places_are_shared(void **state)
{
	(void)state;
	make_v2();
	put("cg/pod.slice/sidecar/memory.max", "max\n");
	struct tree t = open_tree("0::/pod.slice/app\n");
	struct gd_watch_group *again = NULL;
	struct gd_watch_group *other = NULL;
	assert_int_equal(gd_watch_cgroups_get(t.cgroups, "0::/pod.slice/app\n", &again), 0);
	assert_ptr_equal(again, t.group);
	assert_true(gd_watch_group_is(again, "0::/pod.slice/app\n"));
	/* Nothing of its own to read: the limit's files are open already, the host's pressure is not. */
	int before = test_count_fds();
	assert_int_equal(gd_watch_cgroups_get(t.cgroups, "0::/pod.slice/sidecar\n", &other), 0);
	assert_int_equal(test_count_fds(), before + 3);
	gd_watch_cgroups_put(t.cgroups, other);
	gd_watch_cgroups_put(t.cgroups, again);
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.5));
	close_tree(&t);
}

static void odd_and_hostile_names_stay_inside(void **state)
{
	(void)state;
	make_v2();
	/* Colons, blanks, bytes that are no text: all of it is a name. */
	put("cg/a:b c\x01\xff/memory.max", "100\n");
	put("cg/a:b c\x01\xff/memory.current", "10\n");
	struct tree t = open_tree("0::/a:b c\x01\xff\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.1));
	close_tree(&t);

	/* Outside of our namespace, or so it says: no path is walked upwards. */
	put("secret/memory.max", "100\n");
	put("secret/memory.current", "99\n");
	t = open_tree("0::/../secret\n");
	tick(&t);
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
	assert_contains(gd_watch_group_note(t.group), "outside of our view");
	close_tree(&t);

	static const char *const bad[] = { "", "\n", "::", "0:", "0::", "0::x", "0::/..", ":::/\n:\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		t = open_tree(bad[i]);
		tick(&t);
		assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
		close_tree(&t);
	}
}

static void nothing_mounted_is_a_note(void **state)
{
	(void)state;
	make_machine();
	struct tree t = open_tree("0::/x\n");
	tick(&t);
	assert_contains(gd_watch_group_note(t.group), "no cgroup file system");
	assert_true(near(t.values[GD_METRIC_MEMORY_OF_LIMIT], 0.25));
	close_tree(&t);
}

static void a_group_that_is_removed_gives_nothing(void **state)
{
	(void)state;
	make_v2();
	struct tree t = open_tree("0::/pod.slice/app\n");
	tick(&t);
	put("cg/pod.slice/memory.current", ""); /* ENODEV in the kernel's: nothing to read either */
	put("cg/pod.slice/memory.events", "");
	tick(&t);
	assert_true(isnan(t.values[GD_METRIC_MEMORY_OF_LIMIT]));
	assert_int_equal(gd_watch_group_events(t.group), 0);
	close_tree(&t);
}

static void the_most_telling_path_is_taken(void **state)
{
	char path[64];
	(void)state;
	gd_watch_cgroup_path("4:memory:/m\n0::/system.slice/a.service\n", path, sizeof(path));
	assert_string_equal(path, "/system.slice/a.service");
	gd_watch_cgroup_path("4:memory:/m\n1:name=systemd:/s\n0::/\n", path, sizeof(path));
	assert_string_equal(path, "/s");
	gd_watch_cgroup_path("4:memory:/m\n5:cpu:/c\n0::/\n", path, sizeof(path));
	assert_string_equal(path, "/m");
	gd_watch_cgroup_path("7:pids:/p\n", path, sizeof(path));
	assert_string_equal(path, "/p");
	gd_watch_cgroup_path("0::/\n", path, sizeof(path));
	assert_string_equal(path, "/");
	gd_watch_cgroup_path("", path, sizeof(path));
	assert_string_equal(path, "");
	char small[8];
	gd_watch_cgroup_path("0::/0123456789\n", small, sizeof(small));
	assert_string_equal(small, "/012345");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_nearest_limit_above_counts),
		test_case(what_the_kernel_can_drop_is_not_in_use),
		test_case(without_a_limit_it_is_the_machines_memory),
		test_case(time_to_limit_is_the_slope_of_the_last_minute),
		test_case(throttling_is_of_the_periods_since_the_last_tick),
		test_case(events_are_those_since_the_last_tick),
		test_case(pressure_is_the_groups_own_or_the_hosts),
		test_case(version_1_has_other_files),
		test_case(one_text_is_one_group_and_its_places_are_shared),
		test_case(odd_and_hostile_names_stay_inside),
		test_case(nothing_mounted_is_a_note),
		test_case(a_group_that_is_removed_gives_nothing),
		test_case(the_most_telling_path_is_taken),
	};
	return test_run(tests);
}
