#include "agent/watch_process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watch_file.h"
#include "target/target.h"
#include "tests/test.h"

static int proc_fd = -1;

static int open_proc(const char *path)
{
	proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(proc_fd >= 0);
	return proc_fd;
}

static struct gd_subject_id id_of(pid_t pid)
{
	char path[32];
	char text[1024];
	struct gd_stat stat;
	struct gd_error err = { 0 };
	(void)snprintf(path, sizeof(path), "%d/stat", pid);
	ssize_t n = gd_watch_file_read(proc_fd, path, text, sizeof(text));
	assert_true(n > 0);
	assert_ok(gd_stat_parse(text, (size_t)n, &stat, &err), &err);
	return (struct gd_subject_id){ pid, stat.start_ticks };
}

static int sample(struct gd_watch_process *p, int64_t at_ns, double cpus, double values[GD_METRICS])
{
	for (int i = 0; i < GD_METRICS; i++)
		values[i] = NAN;
	return gd_watch_process_sample(p, at_ns, cpus, true, values);
}

static void a_process_is_what_it_says_of_itself(void **state)
{
	(void)state;
	double values[GD_METRICS];
	struct gd_watch_process p;
	struct victim *v = victim_start("household", NULL);
	(void)open_proc("/proc");
	if (!gd_watch_process_counts_fds(proc_fd)) {
		(void)close(proc_fd);
		test_skip("this kernel does not count descriptors (Linux 6.2)");
	}
	struct gd_subject_id id = id_of(v->pid);
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
	gd_watch_process_review(&p, proc_fd);
	assert_int_equal(sample(&p, 1000000000, 0, values), 0);
	assert_true(isnan(values[GD_METRIC_CPU])); /* one sample is no difference */
	assert_int_equal(sample(&p, 2000000000, 0, values), 0);
	assert_true(values[GD_METRIC_CPU] == 0);
	assert_true(values[GD_METRIC_MAJOR_FAULTS] == 0);
	assert_true(values[GD_METRIC_THREADS] == 11);
	/* Every line it printed but "port N" is a descriptor; 0, 1 and 2 are not among them. */
	struct rlimit files;
	assert_int_equal(prlimit(v->pid, RLIMIT_NOFILE, NULL, &files), 0);
	assert_int_equal(p.nofile, files.rlim_cur);
	double fds = values[GD_METRIC_FDS_OF_LIMIT] * (double)files.rlim_cur;
	unsigned counted = 0;
	char path[32];
	for (int fd = 0; fd < 1024; fd++) {
		struct stat st;
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", v->pid, fd);
		counted += lstat(path, &st) == 0;
	}
	assert_true(counted > 50);
	assert_true(fabs(fds - counted) < 0.001);
	gd_watch_process_close(&p);
	assert_int_equal(close(proc_fd), 0);
}

static void cpu_is_of_what_it_may_use(void **state)
{
	(void)state;
	double values[GD_METRICS];
	struct gd_watch_process p;
	assert_int_equal(mkdir(test_path("5"), 0755), 0);
	static const char line[] = "5 (x) %c 1 5 5 0 -1 0 0 0 %d 0 %d 0 0 0 20 0 3 0 777 0 100\n";
	char text[256];
	(void)snprintf(text, sizeof(text), line, 'S', 0, 1000);
	(void)test_file("5/stat", text, strlen(text));
	(void)open_proc(test_dir());
	struct gd_subject_id id = { 5, 777 };
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
	assert_int_equal(p.clock, 0); /* that 5 is not the 5 of this host */
	p.affinity = 4;
	assert_int_equal(sample(&p, 1000000000, 0, values), 0);
	/* One CPU for two seconds, and 30 major faults. */
	int ticks = 1000 + 2 * (int)sysconf(_SC_CLK_TCK);
	(void)snprintf(text, sizeof(text), line, 'D', 30, ticks);
	(void)test_file("5/stat", text, strlen(text));
	struct gd_watch_process before = p;
	assert_int_equal(sample(&p, 3000000000, 0, values), 0);
	assert_true(fabs(values[GD_METRIC_CPU] - 0.25) < 1e-9);
	assert_true(fabs(values[GD_METRIC_MAJOR_FAULTS] - 15) < 1e-9);
	assert_true(values[GD_METRIC_STATE_D] == 0);
	assert_true(values[GD_METRIC_RSS] == 100.0 * (double)sysconf(_SC_PAGESIZE));
	p = before;
	assert_int_equal(sample(&p, 3000000000, 0.5, values), 0);
	assert_true(fabs(values[GD_METRIC_CPU] - 2) < 1e-9); /* beyond its quota: a burst */
	p = before;
	assert_int_equal(sample(&p, 3000000000, 64, values), 0);
	assert_true(fabs(values[GD_METRIC_CPU] - 0.25) < 1e-9);
	/* Still waiting for its disk. */
	assert_int_equal(sample(&p, 3000000000 + 7000000000, 0, values), 0);
	assert_true(fabs(values[GD_METRIC_STATE_D] - 7) < 1e-9);
	assert_true(values[GD_METRIC_CPU] == 0);
	(void)snprintf(text, sizeof(text), line, 'R', 30, 1);
	(void)test_file("5/stat", text, strlen(text));
	assert_int_equal(sample(&p, 11000000000, 0, values), 0);
	assert_true(values[GD_METRIC_STATE_D] == 0);
	assert_true(isnan(values[GD_METRIC_CPU])); /* a total that sank */
	gd_watch_process_close(&p);
	assert_int_equal(close(proc_fd), 0);
}

static void wait_a_tick(void)
{
	const struct timespec wait = { .tv_nsec = 20000000 };
	(void)nanosleep(&wait, NULL);
}

/* What a sleeper has is not read, and is as it was; whatever wakes it shows. */
static void a_sleeper_keeps_what_it_had(void **state)
{
	(void)state;
	double values[GD_METRICS];
	double kept[GD_METRICS];
	struct gd_watch_process p;
	struct victim *v = victim_start("life", NULL);
	(void)open_proc("/proc");
	struct gd_subject_id id = id_of(v->pid);
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
	gd_watch_process_review(&p, proc_fd);
	wait_a_tick();
	assert_int_equal(sample(&p, 1000000000, 0, kept), 0);
	assert_false(p.slept); /* nothing to compare with */
	unsigned youngest = 0;
	for (int i = 1; i <= 3 * GD_WATCH_PROCESS_WHOLE; i++) {
		assert_int_equal(sample(&p, 1000000000 + i * 1000000000LL, 0, values), 0);
		assert_true(p.slept);
		assert_true(values[GD_METRIC_CPU] == 0);
		assert_true(values[GD_METRIC_THREADS] == 1);
		assert_true(values[GD_METRIC_RSS] == kept[GD_METRIC_RSS]);
		assert_true(values[GD_METRIC_FDS_OF_LIMIT] == kept[GD_METRIC_FDS_OF_LIMIT] ||
		            isnan(kept[GD_METRIC_FDS_OF_LIMIT]));
		youngest += p.age == 0;
	}
	assert_int_equal(youngest, 3); /* it was read all the same */
	victim_tell(v, "thread");
	assert_string_equal(victim_line(v), "done");
	wait_a_tick();
	assert_int_equal(sample(&p, 60000000000, 0, values), 0);
	assert_false(p.slept);
	assert_true(values[GD_METRIC_THREADS] == 2);
	/* An end is never slept through. */
	victim_stop(v);
	assert_int_equal(sample(&p, 61000000000, 0, values), -ESRCH);
	gd_watch_process_close(&p);
	assert_int_equal(close(proc_fd), 0);
}

static void a_name_cannot_forge_fields(void **state)
{
	(void)state;
	double values[GD_METRICS];
	struct gd_watch_process p;
	static const char *const names[] = { "rename x) S 1 1 1", "rename )", "rename \\n) Z 0 0",
		                             "rename (((", "rename \xff\xfe\x01" };
	struct victim *v = victim_start("life", NULL);
	(void)open_proc("/proc");
	struct gd_subject_id id = id_of(v->pid);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		victim_tell(v, names[i]);
		assert_string_equal(victim_line(v), "done");
		assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
		assert_int_equal(sample(&p, 1, 0, values), 0);
		assert_true(values[GD_METRIC_THREADS] == 1);
		gd_watch_process_close(&p);
	}
	assert_int_equal(close(proc_fd), 0);
}

static void the_end_is_esrch_also_as_a_zombie(void **state)
{
	(void)state;
	double values[GD_METRICS];
	struct gd_watch_process p;
	struct victim *v = victim_start("life", NULL);
	(void)open_proc("/proc");
	struct gd_subject_id id = id_of(v->pid);
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
	struct gd_subject_id other = { v->pid, id.start_ticks + 1 };
	struct gd_watch_process none;
	assert_int_equal(gd_watch_process_open(proc_fd, &other, &none), -ESRCH);
	siginfo_t info;
	assert_int_equal(kill(v->pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)v->pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(sample(&p, 1, 0, values), -ESRCH);
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &none), -ESRCH);
	victim_stop(v);
	assert_int_equal(sample(&p, 1, 0, values), -ESRCH);
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &none), -ESRCH);
	gd_watch_process_close(&p);
	assert_int_equal(close(proc_fd), 0);
}

static void a_leader_that_left_its_threads_has_not_ended(void **state)
{
	(void)state;
	double values[GD_METRICS];
	struct gd_watch_process p;
	struct victim *v = victim_start("life", NULL);
	(void)open_proc("/proc");
	struct gd_subject_id id = id_of(v->pid);
	victim_tell(v, "thread");
	assert_string_equal(victim_line(v), "done");
	assert_int_equal(gd_watch_process_open(proc_fd, &id, &p), 0);
	victim_tell(v, "leave");
	assert_string_equal(victim_line(v), "done");
	assert_int_equal(sample(&p, 1, 0, values), 0);
	gd_watch_process_close(&p);
	assert_int_equal(close(proc_fd), 0);
}

static void limits_are_found_in_their_table(void **state)
{
	(void)state;
	assert_int_equal(gd_watch_process_parse_nofile(
		"Limit                     Soft Limit           Hard Limit           Units     \n"
		"Max open files            1024                 524288               files     \n"),
		1024);
	assert_true(gd_watch_process_parse_nofile("Max open files unlimited unlimited files\n") ==
	            UINT64_MAX);
	assert_int_equal(gd_watch_process_parse_nofile(""), 0);
	assert_int_equal(gd_watch_process_parse_nofile("Max open files"), 0);
	assert_int_equal(gd_watch_process_parse_nofile("Max open files            x\n"), 0);
	assert_int_equal(gd_watch_process_parse_nofile("No Max open files 5\n"), 0);
}

static void values_have_a_key_at_the_beginning_of_a_line(void **state)
{
	uint64_t value = 7;
	(void)state;
	assert_true(gd_watch_file_key("max 1\noom 22\n", "oom", &value));
	assert_int_equal(value, 22);
	assert_false(gd_watch_file_key("oom_kill 3\nroom 4\n", "oom", &value));
	assert_false(gd_watch_file_key("oom\n5\n", "oom", &value));
	assert_false(gd_watch_file_key("", "oom", &value));
	assert_int_equal(value, 22);
	assert_false(gd_watch_file_number("max\n", &value));
	assert_false(gd_watch_file_number("-1\n", &value));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_process_is_what_it_says_of_itself),
		test_case(cpu_is_of_what_it_may_use),
		test_case(a_sleeper_keeps_what_it_had),
		test_case(a_name_cannot_forge_fields),
		test_case(the_end_is_esrch_also_as_a_zombie),
		test_case(a_leader_that_left_its_threads_has_not_ended),
		test_case(limits_are_found_in_their_table),
		test_case(values_have_a_key_at_the_beginning_of_a_line),
	};
	return test_run(tests);
}
