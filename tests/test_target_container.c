#include "tests/test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "target/container.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "8f0c6a52-3f2b-4c0e-9d3e-1a2b3c4d5e6f"
#define UID_SYSTEMD "8f0c6a52_3f2b_4c0e_9d3e_1a2b3c4d5e6f"
#define UID_STATIC "8f0c6a523f2b4c0e9d3e1a2b3c4d5e6f"

static struct gd_container parse(const char *text)
{
	struct gd_container c = { 0 };
	gd_container_parse_cgroup(text, strlen(text), &c);
	return c;
}

static void each_runtimes_path_names_the_container(void **state)
{
	(void)state;
	static const struct {
		const char *path, *id, *runtime, *pod;
	} paths[] = {
		{ "/docker/" ID, ID, "docker", "" },
		{ "/system.slice/docker-" ID ".scope", ID, "docker", "" },
		{ "/kubepods/burstable/pod" UID "/" ID, ID, "", UID },
		{ "/kubepods.slice/kubepods-pod" UID_SYSTEMD ".slice/cri-containerd-" ID ".scope", ID,
		  "containerd", UID },
		{ "/system.slice/containerd.service/kubepods-burstable-pod" UID_SYSTEMD
		  ".slice:cri-containerd:" ID, ID, "containerd", UID },
		{ "/kubepods.slice/kubepods-pod" UID_STATIC ".slice/crio-" ID ".scope", ID, "cri-o",
		  UID_STATIC },
		{ "/kubepods.slice/kubepods-pod" UID_SYSTEMD ".slice/crio-" ID ".scope/container", ID,
		  "cri-o", UID },
		{ "/machine.slice/libpod-" ID ".scope/container", ID, "podman", "" },
		{ "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope", ID,
		  "podman", "" },
		{ "/libpod_parent/libpod-" ID, ID, "podman", "" },
		{ "/system.slice/nerdctl-" ID ".scope", ID, "containerd", "" },
		{ "/ecs/cluster/" ID, ID, "", "" },
		{ "/../../docker/" ID "/init.scope", ID, "docker", "" },
		/* not in a container */
		{ "/", "", "", "" },
		{ "/system.slice/checkout.service", "", "", "" },
		{ "/user.slice/user-0.slice/session-1.scope", "", "", "" },
		{ "/machine.slice/libpod-conmon-" ID ".scope", "", "", "" },
		{ "/machine.slice/crio-conmon-" ID ".scope", "", "", "" },
		/* not the shape of an id */
		{ "/docker/" ID "0", "", "", "" },
		{ "/docker/0123456789abcdef", "", "", "" },
		{ "/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF", "", "",
		  "" },
		{ "/docker/0123456789abcdef0123456789abcdef0123456789abcdef;rm -rf .;0123456", "", "",
		  "" },
		{ "/kubepods/pod8f0c6a52-3f2b-4c0e-9d3e-1a2b3c4d5e6", "", "", "" },
		{ "/kubepods/podx", "", "", "" },
		{ "/pod", "", "", "" },
	};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		char text[1024];
		(void)snprintf(text, sizeof(text), "0::%s\n", paths[i].path);
		struct gd_container c = parse(text);
		assert_string_equal(c.id, paths[i].id);
		assert_string_equal(c.runtime, paths[i].runtime);
		assert_string_equal(c.pod_uid, paths[i].pod);
		assert_string_equal(c.cgroup, paths[i].path);
	}
}

static void the_innermost_container_counts(void **state)
{
	(void)state;
	struct gd_container c = parse("0::/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	                              "aaaaaaaaaaaaaaaaaaaaaaaa/docker/" ID "\n");
	assert_string_equal(c.id, ID);
}

static void the_most_telling_hierarchy_gives_the_path(void **state)
{
	(void)state;
	struct gd_container c = parse("9:name=systemd:/\n8:pids:/pids\n4:memory:/docker/" ID "\n0::/\n");
	assert_string_equal(c.id, ID);
	assert_string_equal(c.cgroup, "/docker/" ID);
	c = parse("4:memory:/a\n0::/b\n");
	assert_string_equal(c.cgroup, "/b");
	c = parse("4:cpu,cpuacct:/\n");
	assert_string_equal(c.cgroup, "/");
	c = parse("0::/with:colons\n");
	assert_string_equal(c.cgroup, "/with:colons");
}

static void foreign_bytes_in_the_path_are_escaped(void **state)
{
	(void)state;
	struct gd_container c = parse("0::/a\x1b[2Jb\n");
	assert_string_equal(c.cgroup, "/a\\x1b[2Jb");
}

static void nonsense_finds_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "\n", ":", "::", "0:", "0::", "\n\n:::\n", "0" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct gd_container c = parse(texts[i]);
		assert_string_equal(c.id, "");
	}
}

static int32_t nspid(const char *status)
{
	return gd_container_parse_nspid(status, strlen(status));
}

static void the_last_nspid_is_the_innermost(void **state)
{
	(void)state;
	assert_int_equal(nspid("Name:\tx\nNSpid:\t4711\t17\t1\nNSpgid:\t9\n"), 1);
	assert_int_equal(nspid("Name:\tx\nNSpid:\t4711\n"), 4711);
	assert_int_equal(nspid("Name:\tx NSpid:\t5\nPid:\t3\n"), 0);
	assert_int_equal(nspid("NSpid:\t99999999999\n"), 0);
	assert_int_equal(nspid("NSpid:\t12x\n"), 0);
	assert_int_equal(nspid(""), 0);
}

static void our_own_identity_is_read(void **state)
{
	(void)state;
	GD_TARGET struct gd_target *t = NULL;
	struct gd_container c;
	struct gd_error err = { 0 };
	assert_ok(gd_target_open(getpid(), &t, &err), &err);
	assert_ok(gd_container_read(t, &c, &err), &err);
	assert_int_equal(c.innermost_pid, getpid());
	assert_int_equal(c.cgroup[0], '/');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(each_runtimes_path_names_the_container),
		test_case(the_innermost_container_counts),
		test_case(the_most_telling_hierarchy_gives_the_path),
		test_case(foreign_bytes_in_the_path_are_escaped),
		test_case(nonsense_finds_nothing),
		test_case(the_last_nspid_is_the_innermost),
		test_case(our_own_identity_is_read),
	};
	return test_run(tests);
}
