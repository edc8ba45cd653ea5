/*
 * The command as a user or a script meets it: exit status, what it says, what it leaves behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sched.h>
#include <unistd.h>

#include "agent/exit.h"
#include "base/io.h"
#include "tests/test.h"

struct run {
	pid_t pid;
	int status; /* exit status, or 128 + signal */
	struct gd_buf out, err;
};

static void run_deinit(struct run *run)
{
	gd_buf_deinit(&run->out);
	gd_buf_deinit(&run->err);
}
#define RUN __attribute__((cleanup(run_deinit))) struct run

static const char *program(const char *name)
{
	static char path[4096];
	const char *build = getenv("BUILD");
	(void)snprintf(path, sizeof(path), "%s/%s", build != NULL ? build : "build", name);
	if (access(path, X_OK) < 0)
		fail_msg("%s is not built", path);
	return path;
}

/* Starts a command of ours; its output goes to files, so that it can never block on us. */
static struct run start(const char *const *argv, void (*in_child)(void))
{
	struct run run = { .out = GD_BUF_INIT(1 << 20), .err = GD_BUF_INIT(1 << 20) };
	const char *path = program(argv[0]);
	char out[4096];
	char err[4096];
	(void)snprintf(out, sizeof(out), "%s", test_path("stdout"));
	(void)snprintf(err, sizeof(err), "%s", test_path("stderr"));
	/* Here, or a child that is interrupted at once leaves none to read. */
	int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int fd2 = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	run.pid = fork();
	assert_true(run.pid >= 0);
	if (run.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(fd, 1) < 0 || dup2(fd2, 2) < 0)
			_exit(126);
		if (in_child != NULL)
			in_child();
		(void)execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(fd);
	(void)close(fd2);
	return run;
}

static void finish(struct run *run)
{
	int status;
	struct gd_error err = { 0 };
	assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
	run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("stdout"), &run->out, &err), &err);
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("stderr"), &run->err, &err), &err);
}

static struct run capture_in(const char *dir, pid_t pid, const char *option, const char *value,
                             void (*in_child)(void))
{
	char number[16];
	(void)snprintf(number, sizeof(number), "%d", (int)pid);
	bool sampled = option == NULL || strcmp(option, "--only") != 0;
	const char *argv[] = { "godiag-capture", "--pid", number, "--output", dir,
		               sampled ? "--duration" : option, sampled ? "200ms" : value,
		               sampled ? option : NULL, value, NULL };
	struct run run = start(argv, in_child);
	finish(&run);
	return run;
}

static const char *fresh_dir(void)
{
	const char *dir = test_path("out");
	if (mkdir(dir, 0755) < 0)
		assert_int_equal(errno, EEXIST);
	return dir;
}

static int count_files(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;
	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d)) != NULL;)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	(void)closedir(d);
	return n;
}

/* Status, a word of the message, and how many archives it left. */
static void expect(struct run *run, int status, const char *says, int archives)
{
	if (run->status != status)
		print_error("%s", gd_buf_str(&run->err));
	assert_int_equal(run->status, status);
	if (says != NULL)
		assert_contains(gd_buf_str(&run->err), says);
	assert_int_equal(count_files(fresh_dir()), archives);
}

/* The archive named on stdout verifies. */
static void expect_verifies(struct run *run)
{
	char path[4096];
	(void)snprintf(path, sizeof(path), "%s", gd_buf_str(&run->out));
	path[strcspn(path, " \n")] = '\0';
	const char *argv[] = { "godiag", "verify", path, NULL };
	RUN verify = start(argv, NULL);
	finish(&verify);
	if (verify.status != 0)
		print_error("%s%s", gd_buf_str(&verify.out), gd_buf_str(&verify.err));
	assert_int_equal(verify.status, 0);
}

static void no_such_pid_is_gone(void **state)
{
	(void)state;
	RUN run = capture_in(fresh_dir(), 0x3ffffff, NULL, NULL, NULL);
	expect(&run, GD_EXIT_GONE, "67108863", 0);
}

static void a_kernel_thread_is_refused(void **state)
{
	(void)state;
	if (access("/proc/2/stat", R_OK) < 0)
		test_skip("no pid 2 here: not the host's pid namespace");
	RUN run = capture_in(fresh_dir(), 2, NULL, NULL, NULL);
	expect(&run, GD_EXIT_USAGE, "kernel thread", 0);
}

static void a_zombie_is_gone(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	RUN run = capture_in(fresh_dir(), child, NULL, NULL, NULL);
	expect(&run, GD_EXIT_GONE, "zombie", 0);
	(void)waitpid(child, NULL, 0);
}

static void become_nobody(void)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(125);
}

static void another_users_process_needs_rights(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root, to become somebody else");
	const char *dir = fresh_dir();
	assert_int_equal(chmod(test_dir(), 0755), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	RUN run = capture_in(dir, getpid(), NULL, NULL, become_nobody);
	if (run.status == 127)
		test_skip("nobody may not execute our build: its directory is closed to others");
	expect(&run, GD_EXIT_PERMISSION, "run as root", 0);
}

static void a_native_process_gives_everything_but_go(void **state)
{
	(void)state;
	RUN run = capture_in(fresh_dir(), getpid(), NULL, NULL, NULL);
	expect(&run, GD_EXIT_COMPLETE, "not a Go process", 1);
	expect_verifies(&run);
}

static void goroutines_of_a_native_process_are_partial_when_asked_for(void **state)
{
	(void)state;
	RUN run = capture_in(fresh_dir(), getpid(), "--only", "proc,goroutines", NULL);
	expect(&run, GD_EXIT_PARTIAL, "goroutines", 1);
	expect_verifies(&run);
}

static void a_missing_directory_is_named(void **state)
{
	(void)state;
	(void)fresh_dir();
	RUN run = capture_in("/nowhere/at/all", getpid(), NULL, NULL, NULL);
	expect(&run, GD_EXIT_SPACE, "/nowhere/at/all", 0);
}

static void an_unwritable_directory_is_named(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root, to become somebody else");
	(void)fresh_dir();
	assert_int_equal(chmod(test_dir(), 0755), 0);
	RUN run = capture_in("/proc/self", getpid(), NULL, NULL, NULL);
	expect(&run, GD_EXIT_SPACE, "/proc/self", 0);
}

static void limit_file_size(void)
{
	/* A private tmpfs that is too small for any capture, where the output directory is. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("godiag-test", test_path("out"), "tmpfs", 0, "size=16k") < 0)
		_exit(125);
}

static void a_full_directory_leaves_nothing_torn(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("needs root, to mount a small tmpfs");
	RUN run = capture_in(fresh_dir(), getpid(), NULL, NULL, limit_file_size);
	if (run.status == 125)
		test_skip("a private tmpfs cannot be mounted here");
	expect(&run, GD_EXIT_SPACE, "space", 0);
}

static void usage_errors_say_what_to_write(void **state)
{
	(void)state;
	static const struct {
		const char *argv[8];
		const char *says;
	} cases[] = {
		{ { "godiag-capture", NULL }, "--pid" },
		{ { "godiag-capture", "4711", NULL }, "did you mean --pid 4711" },
		{ { "godiag-capture", "--pid", "x", NULL }, "positive number" },
		{ { "godiag-capture", "--pid", "1", "--only", "gorutines", NULL }, "goroutines" },
		{ { "godiag-capture", "--pid", "1", "--profile", "fuller", NULL }, "full" },
		{ { "godiag-capture", "--pid", "1", "--core", "fat", NULL }, "full or thin" },
		{ { "godiag-capture", "--pid", "1", "--max-pause", "50", NULL }, "ms" },
		{ { "godiag-capture", "--pid", "1", "--max-pause", "1h", NULL }, "10 s" },
		{ { "godiag-capture", "--pid", "1", "--duration", "1h", NULL }, "10m" },
		{ { "godiag-capture", "--pid", "1", "--duration", "0", NULL }, "100ms" },
		{ { "godiag-capture", "--pid", "1", "--frequency", "0", NULL }, "1 to 1000" },
		{ { "godiag-capture", "--pid", "1", "--frequency", "99kHz", NULL }, "1 to 1000" },
		{ { "godiag-capture", "--pid", "1", "--only", "proc", "--duration", "1s", NULL },
		  "nothing is sampled" },
		{ { "godiag-capture", "--pid", "1", "--only", "proc", "--syscalls", NULL },
		  "nothing is sampled" },
		{ { "godiag-capture", "--agent", "--pid", "1", "--syscalls", NULL }, "do not apply" },
		{ { "godiag-capture", "--pid", "1", "--debug-port", "pprof", NULL }, "1 to 65535" },
		{ { "godiag-capture", "--pid", "1", "--debug-port", "0", NULL }, "or any" },
		{ { "godiag-capture", "--pid", "1", "--debug-trace", "1h", NULL }, "10ms to 1m" },
		{ { "godiag-capture", "--pid", "1", "--debug-trace", "1s", NULL }, "--debug-port" },
		{ { "godiag-capture", "--agent", "--pid", "1", "--debug-port", "any", NULL },
		  "do not apply" },
		{ { "godiag-capture", "--pid", "1", "--base", "x", NULL }, "--core full" },
		{ { "godiag-capture", "--pid", "1", "--upload", "ftp://x/y", NULL }, "s3://" },
		{ { "godiag-capture", "--pid", "1", "--label", "novalue", NULL }, "KEY=VALUE" },
		{ { "godiag-capture", "--label", "a=1", "--label", "a=2", NULL }, "given twice" },
		{ { "godiag", "shwo", NULL }, "no command" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		RUN run = start(cases[i].argv, NULL);
		finish(&run);
		assert_int_equal(run.status, GD_EXIT_USAGE);
		assert_contains(gd_buf_str(&run.err), cases[i].says);
	}
}

static void the_last_line_is_path_and_digest(void **state)
{
	(void)state;
	RUN run = capture_in(fresh_dir(), getpid(), "--only", "proc", NULL);
	expect(&run, GD_EXIT_COMPLETE, NULL, 1);
	const char *digest = strstr(gd_buf_str(&run.out), " sha256:");
	assert_non_null(digest);
	assert_int_equal(strcspn(digest + 8, "\n"), 64);
	assert_int_equal(strncmp(gd_buf_str(&run.out), fresh_dir(), strlen(fresh_dir())), 0);
}

static void an_interrupt_at_any_moment_leaves_whole_archives(void **state)
{
	(void)state;
	char number[16];
	int interrupted = 0;
	int archives = 0;
	char dir[4096];
	(void)snprintf(dir, sizeof(dir), "%s", fresh_dir());
	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	for (int i = 0; i < 60 && (interrupted < 3 || i < 20); i++) {
		const char *argv[] = { "godiag-capture", "--pid", number, "--output", dir,
			               "--duration", "200ms", NULL };
		RUN run = start(argv, NULL);
		/* Ever later in each round: how long it takes to begin is the machine's affair. */
		(void)usleep((useconds_t)((i % 20) * (1 + 2 * (i / 20))) * 1000 + 2000);
		(void)kill(run.pid, SIGINT);
		finish(&run);
		/* 128 + SIGINT: before it could install its handler */
		bool early = run.status == 128 + SIGINT;
		if (!early && run.status != GD_EXIT_COMPLETE)
			assert_int_equal(run.status, GD_EXIT_INTERRUPTED);
		if (run.out.len > 0) {
			expect_verifies(&run);
			archives++;
			interrupted += strstr(gd_buf_str(&run.err), "interrupted") != NULL;
		}
	}
	assert_int_equal(count_files(dir), archives);
	assert_true(interrupted > 0);
}

static void an_upload_that_fails_keeps_the_archive(void **state)
{
	(void)state;
	RUN run = capture_in(fresh_dir(), getpid(), "--upload", "file:///proc/nowhere", NULL);
	expect(&run, GD_EXIT_NOT_UPLOADED, "still at", 1);
	expect_verifies(&run);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(no_such_pid_is_gone),
		test_case(a_kernel_thread_is_refused),
		test_case(a_zombie_is_gone),
		test_case(another_users_process_needs_rights),
		test_case(a_native_process_gives_everything_but_go),
		test_case(goroutines_of_a_native_process_are_partial_when_asked_for),
		test_case(a_missing_directory_is_named),
		test_case(an_unwritable_directory_is_named),
		test_case(a_full_directory_leaves_nothing_torn),
		test_case(usage_errors_say_what_to_write),
		test_case(the_last_line_is_path_and_digest),
		test_case(an_interrupt_at_any_moment_leaves_whole_archives),
		test_case(an_upload_that_fails_keeps_the_archive),
	};
	return test_run(tests);
}
