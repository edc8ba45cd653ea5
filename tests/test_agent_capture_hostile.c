/*
 * A service that wants something of the host in its archive: a root of its own full of links to
 * host files and FIFOs under the names that are read, an odd name, descriptors on all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "archive/reader.h"
#include "archive/verify.h"
#include "tests/test.h"

/* What must not be found, and what must, or the search is worth nothing. */
#define HOST_CANARY "canary-of-the-host-5b1f"
#define OWN_CANARY "canary-of-its-own-93c2"

static char host_file[4096];

/* Names a capture reads, each a link to the host's secret or a FIFO that nobody feeds. */
static int furnish(const char *root)
{
	static const char *const dirs[] = { "proc", "proc/self", "etc", "sys", "sys/fs",
		                            "sys/fs/cgroup" };
	static const char *const links[] = { "etc/passwd", "etc/shadow", "proc/self/exe",
		                             "proc/meminfo", "sys/fs/cgroup/memory.max", "exe",
		                             "proc/self/mountinfo" };
	static const char *const fifos[] = { "proc/loadavg", "proc/self/maps", "etc/hosts",
		                             "sys/fs/cgroup/cgroup.procs" };
	char path[8192];
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -1;
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, links[i]);
		if (symlink(host_file, path) < 0)
			return -1;
	}
	for (size_t i = 0; i < sizeof(fifos) / sizeof(fifos[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, fifos[i]);
		if (mkfifo(path, 0644) < 0)
			return -1;
	}
	return 0;
}

/* Never returns; says on ready_fd that it is all set. */
static _Noreturn void be_hostile(const char *root, int ready_fd)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    chroot(root) < 0 || chdir("/") < 0)
		_exit(1);
	(void)prctl(PR_SET_NAME, ") S 1 1\nUid:\t0");
	if (symlink("/etc/shadow", "cwd") < 0 || open("/proc/loadavg", O_RDWR) < 0 ||
	    open("/etc/hosts", O_RDWR) < 0 ||
	    open("/etc", O_RDONLY | O_DIRECTORY) < 0 ||
	    open("/\033[31m\n\"}" OWN_CANARY, O_CREAT | O_RDWR, 0644) < 0 ||
	    open("/etc/shadow", O_PATH | O_NOFOLLOW) < 0 || chdir("/etc") < 0 ||
	    write(ready_fd, "r", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

struct search {
	struct gd_buf text;
};

static int append(void *arg, const void *bytes, size_t n)
{
	struct search *search = arg;
	gd_buf_append(&search->text, bytes, n);
	return 0;
}

static void count_problem(void *arg, const char *sentence)
{
	print_error("%s\n", sentence);
	++*(int *)arg;
}

/* Everything of the archive, decompressed, in one text. */
static void load_all(const char *path, struct search *search)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	int problems = 0;
	assert_ok(gd_reader_open(path, &reader, &err), &err);
	assert_ok(gd_verify(&reader, count_problem, &problems, &verdict, &err), &err);
	assert_int_equal(problems, 0);
	for (size_t i = 0; i < reader.snapshot.n_artifacts; i++) {
		const struct gd_artifact_row *row = &reader.snapshot.artifacts[i];
		if (row->digest[0] != '\0')
			assert_ok(gd_reader_content(&reader, row, append, search, &err), &err);
	}
	for (size_t i = 0; i < reader.n_blobs; i++) {
		GD_BUF struct gd_buf blob = GD_BUF_INIT(16 << 20);
		assert_ok(gd_reader_load_blob(&reader, &reader.blobs[i], &blob, &err), &err);
		gd_buf_append(&search->text, blob.data, blob.len);
	}
	assert_ok(gd_buf_check(&search->text, "archive", &err), &err);
}

static void a_hostile_container_gets_nothing_of_the_host(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root for a mount namespace and a root of its own");
	char root[4096];
	int ready[2];
	char byte;
	(void)snprintf(host_file, sizeof(host_file), "%s",
	               test_file("host_secret", HOST_CANARY "\n", sizeof(HOST_CANARY)));
	(void)snprintf(root, sizeof(root), "%s", test_path("root"));
	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(furnish(root), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		be_hostile(root, ready[1]);
	(void)close(ready[1]);
	ssize_t n = read(ready[0], &byte, 1);
	(void)close(ready[0]);
	if (n == 0) {
		(void)waitpid(pid, NULL, 0);
		test_skip("no mount namespace with a root of its own may be made (a chroot?)");
	}
	assert_int_equal(n, 1);
	/* Ours, not the service's: it was forked before. */
	(void)setenv("GODIAG_TEST_SECRET", HOST_CANARY, 1);

	struct gd_plan plan;
	struct gd_capture_result result;
	struct gd_error err = { 0 };
	assert_ok(gd_plan_make(GD_PROFILE_STANDARD, NULL, NULL, &plan, &err), &err);
	plan.window.duration_ns = 200 * 1000000;
	const struct gd_capture_options options = { .pid = pid, .plan = &plan,
		                                    .output_dir = test_dir(),
		                                    .trigger = "manual" };
	/* No hang: whoever waits for a FIFO is ended by the signal's default. */
	(void)alarm(60);
	enum gd_exit exit = gd_capture_run(&options, &result, &err);
	(void)alarm(0);
	if (exit != GD_EXIT_COMPLETE)
		print_error("%s\n", err.msg);
	assert_int_equal(exit, GD_EXIT_COMPLETE);

	struct search search = { .text = GD_BUF_INIT(256 << 20) };
	load_all(result.sealed.path, &search);
	assert_null(memmem(search.text.data, search.text.len, HOST_CANARY,
	                   sizeof(HOST_CANARY) - 1));
	assert_non_null(memmem(search.text.data, search.text.len, OWN_CANARY,
	                       sizeof(OWN_CANARY) - 1));
	/* Its name is no line of anybody's, and no path. */
	assert_null(strchr(strrchr(result.sealed.path, '/'), '\n'));
	assert_contains(strrchr(result.sealed.path, '/'), "__S_1_1_Uid__0");
	gd_buf_deinit(&search.text);
	gd_capture_result_deinit(&result);
	(void)unsetenv("GODIAG_TEST_SECRET");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_hostile_container_gets_nothing_of_the_host),
	};
	return test_run(tests);
}
