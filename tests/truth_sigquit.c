/*
 * Programs that serve no profile: godiag's dump first, then SIGQUIT, on which Go prints every stack
 * and dies.  `quiet` is ours, in every release and variant; the others are programs nobody here
 * wrote (victims/others.sh), most of them stripped.
 *
 * SIGQUIT prints the runtime's own frames and goroutines, too; they are taken out before comparing.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "tests/truth_stacks.h"

enum { ARGS_MAX = 16, TEXT_MAX = 64 << 20 };

static const struct stacks_exception exceptions[] = {
	{ NULL, 0, NULL, NULL },
};

/* How each program is run so that it waits for something: on its stdin, or on a loopback port. */
static const struct {
	const char *name;
	const char *args[ARGS_MAX];
} programs[] = {
	{ "esbuild", { "--serve=127.0.0.1:0", "--servedir=." } },
	{ "buf", { "lsp", "serve" } },
	{ "versitygw",
	  { "--access", "a", "--secret", "s", "--port", "127.0.0.1:0", "posix", "." } },
	{ "dlv", { "dap", "--listen=127.0.0.1:0" } },
	{ "quiet", { NULL } },
};

struct child {
	pid_t pid;
	int in_fd; /* its stdin, open: some end when it is closed */
	const char *said; /* file with all it prints */
};

static struct child child = { .pid = -1, .in_fd = -1 };

static int end_child(void **state)
{
	if (child.pid > 0) {
		(void)kill(child.pid, SIGKILL);
		(void)waitpid(child.pid, NULL, 0);
	}
	if (child.in_fd >= 0)
		(void)close(child.in_fd);
	child = (struct child){ .pid = -1, .in_fd = -1 };
	return truth_after(state);
}

static void run_child(const char *path, const char *const *args, int in_fd, int out_fd)
{
	const char *argv[ARGS_MAX + 2] = { path };
	for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
		argv[i + 1] = args[i];
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || chdir(test_dir()) != 0 ||
	    dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
	    dup2(out_fd, STDERR_FILENO) < 0)
		_exit(126);
	(void)setenv("HOME", test_dir(), 1);
	(void)unsetenv("GOTRACEBACK");
	(void)execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static const char *const *args_of(const char *path)
{
	static const char *const none[ARGS_MAX];
	const char *base = strrchr(path, '/') + 1;
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (strncmp(base, programs[i].name, strlen(programs[i].name)) == 0)
			return programs[i].args;
	fail_msg("%s: nobody says how to run it", path);
	return none;
}

static void start(const char *path)
{
	int in[2];
	const char *const *args = args_of(path);
	child.said = test_file("said", "", 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	int out_fd = open(child.said, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(out_fd >= 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0)
		run_child(path, args, in[0], out_fd);
	(void)close(in[0]);
	(void)close(out_fd);
	child.in_fd = in[1];
}

static uint64_t cpu_ticks(pid_t pid)
{
	char path[64];
	struct gd_error err = { 0 };
	struct gd_stat stat;
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &text, &err), &err);
	assert_ok(gd_stat_parse(text.data, text.len, &stat, &err), &err);
	if (stat.state == 'Z')
		fail_msg("%s ended by itself", stat.comm);
	return stat.utime_ticks + stat.stime_ticks;
}

static bool has_said(const char *what)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	assert_ok(gd_io_read_file_at(AT_FDCWD, child.said, &text, &err), &err);
	return strstr(gd_buf_str(&text), what) != NULL;
}

/*
 * Returns when the child has used no CPU for a while.  Ours says "ready" before; of the others all
 * one can say is that they have begun.
 */
static void wait_until_idle(bool ours)
{
	const int64_t second_ns = 1000000000;
	int64_t began_ns = gd_clock_monotonic_ns();
	int64_t since_ns = began_ns;
	int64_t now = began_ns;
	uint64_t ticks = 0;
	while (now - began_ns < 60 * second_ns) {
		uint64_t t = cpu_ticks(child.pid);
		now = gd_clock_monotonic_ns();
		bool begun = ours ? has_said("ready") : now - began_ns > 2 * second_ns;
		if (t != ticks || !begun)
			since_ns = now;
		ticks = t;
		if (now - since_ns > (ours ? second_ns / 4 : second_ns))
			return;
		(void)usleep(50000);
	}
	fail_msg("process %d does not come to rest", (int)child.pid);
}

/* Its last words: what it printed from SIGQUIT on. */
static void quit(struct gd_buf *text)
{
	struct gd_error err = { 0 };
	assert_int_equal(kill(child.pid, SIGQUIT), 0);
	for (unsigned i = 0; i < 600 && waitpid(child.pid, NULL, WNOHANG) == 0; i++)
		(void)usleep(50000);
	child.pid = -1;
	assert_ok(gd_io_read_file_at(AT_FDCWD, child.said, text, &err), &err);
	if (strstr(gd_buf_str(text), "SIGQUIT: quit") == NULL)
		fail_msg("no traceback: %.500s", text->data);
}

static void compare(struct truth *t)
{
	struct gd_buf said = GD_BUF_INIT(TEXT_MAX);
	struct stacks theirs;
	struct stacks ours;
	struct stacks_report report;
	quit(&said);
	stacks_parse(strstr(said.data, "SIGQUIT: quit"), &theirs);
	stacks_strip_runtime(&theirs, t->go->version.minor);
	stacks_parse(truth_text(t, "goroutines.txt"), &ours);
	stacks_compare(&theirs, &ours, exceptions, &report);
	stacks_deinit(&theirs);
	stacks_deinit(&ours);
	gd_buf_deinit(&said);
	truth_judge(t, "against SIGQUIT", &report);
	assert_true(report.equal > 0);
}

static void compare_goroutines(void *const *state, bool ours)
{
	const char *path = truth_path_of(state);
	start(path);
	wait_until_idle(ours);
	struct truth *t = truth_attach(child.pid, strrchr(path, '/') + 1);
	truth_collect(t, &gd_collector_goroutines);
	if (t->outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("goroutines are %s: %s", gd_grade_name(t->outcome.grade),
		         t->outcome.why.msg);
	compare(t);
}

static void quiet_goroutines_equal_the_last_words(void **state)
{
	compare_goroutines(state, true);
}

static void goroutines_of_others_equal_the_last_words(void **state)
{
	compare_goroutines(state, false);
}

int main(void)
{
	int failed = truth_run_with(__FILE__, "quiet", quiet_goroutines_equal_the_last_words,
	                            end_child);
	failed |= truth_run_with(__FILE__, "others", goroutines_of_others_equal_the_last_words,
	                         end_child);
	return failed;
}
