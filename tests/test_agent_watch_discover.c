#include "agent/watch_discover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

struct left {
	unsigned n;
	uint32_t last;
};

static void on_left(void *arg, uint32_t slot)
{
	struct left *left = arg;
	left->n++;
	left->last = slot;
}

static void make_pid(const char *name)
{
	assert_int_equal(mkdir(test_path(name), 0755), 0);
}

static struct gd_watch_discover open_discover(const char *path)
{
	struct gd_watch_discover d;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	gd_watch_discover_init(&d, fd);
	return d;
}

static void close_discover(struct gd_watch_discover *d)
{
	assert_int_equal(close(d->proc_fd), 0);
	gd_watch_discover_deinit(d);
}

/* Looks at all that are due; how many, and sets their kind. */
static unsigned look(struct gd_watch_discover *d, enum gd_watch_kind kind)
{
	size_t cursor = 0;
	unsigned looks = 0;
	struct gd_watch_known *known;
	while ((known = gd_watch_discover_next(d, &cursor, &looks)) != NULL)
		gd_watch_discover_looked(d, known, kind, (uint32_t)known->pid);
	return looks;
}

static void only_pids_are_listed_in_order(void **state)
{
	struct left left = { 0 };
	(void)state;
	static const char *const names[] = { "300", "7", "41", "self", "0", "08", "12x", "-1",
		                             "99999999999", "2147483648", "" };
	for (size_t i = 0; names[i][0] != '\0'; i++)
		make_pid(names[i]);
	struct gd_watch_discover d = open_discover(test_dir());
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(d.n, 3);
	assert_int_equal(d.list[0].pid, 7);
	assert_int_equal(d.list[1].pid, 41);
	assert_int_equal(d.list[2].pid, 300);
	assert_null(gd_watch_discover_find(&d, 8));
	assert_int_equal(gd_watch_discover_find(&d, 41)->pid, 41);
	assert_int_equal(left.n, 0);
	close_discover(&d);
}

static void what_was_watched_and_is_not_there_has_left(void **state)
{
	struct left left = { 0 };
	(void)state;
	make_pid("10");
	make_pid("20");
	make_pid("30");
	struct gd_watch_discover d = open_discover(test_dir());
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(look(&d, GD_KNOWN_WATCHED), 3);
	assert_int_equal(rmdir(test_path("20")), 0);
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(left.n, 1);
	assert_int_equal(left.last, 20);
	assert_int_equal(d.n, 2);
	/* Whoever was not watched leaves unnoticed. */
	d.list[0].kind = GD_KNOWN_OTHER;
	assert_int_equal(rmdir(test_path("10")), 0);
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(left.n, 1);
	close_discover(&d);
}

static void another_directory_of_that_pid_is_another_process(void **state)
{
	struct left left = { 0 };
	(void)state;
	make_pid("10");
	struct gd_watch_discover d = open_discover(test_dir());
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(look(&d, GD_KNOWN_WATCHED), 1);
	make_pid("new");
	assert_int_equal(rmdir(test_path("10")), 0);
	char new_path[4096];
	(void)snprintf(new_path, sizeof(new_path), "%s", test_path("new"));
	assert_int_equal(rename(new_path, test_path("10")), 0);
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(left.n, 1);
	assert_int_equal(d.list[0].kind, GD_KNOWN_NEW);
	assert_int_equal(look(&d, GD_KNOWN_OTHER), 1);
	close_discover(&d);
}

static void nothing_is_listed_while_no_pid_was_given_away(void **state)
{
	struct left left = { 0 };
	(void)state;
	static const char before[] = "0.20 0.18 0.12 1/80 11206\n";
	static const char after[] = "0.20 0.18 0.12 1/80 11207\n";
	make_pid("10");
	(void)test_file("loadavg", before, strlen(before));
	struct gd_watch_discover d = open_discover(test_dir());
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	make_pid("20");
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(d.n, 1);
	(void)test_file("loadavg", after, strlen(after));
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(d.n, 2);
	/* Now and then all the same: who restores processes chooses their pids. */
	make_pid("30");
	for (int i = 0; i < 8; i++)
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(d.n, 3);
	close_discover(&d);
}

static void looks_become_rare(void **state)
{
	struct left left = { 0 };
	unsigned looks = 0;
	unsigned last = 0;
	(void)state;
	make_pid("10");
	make_pid("11");
	struct gd_watch_discover d = open_discover(test_dir());
	for (unsigned tick = 0; tick < 33; tick++) {
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
		unsigned n = look(&d, GD_KNOWN_OTHER);
		looks += n;
		if (n > 0)
			last = tick;
	}
	/* At 0, 1, 2, 4, 8, 16, 32: and the next one in a minute, at another time for each pid. */
	assert_int_equal(looks, 2 * 7);
	assert_int_equal(last, 32);
	for (unsigned tick = 0; tick < 128; tick++) {
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
		unsigned n = look(&d, GD_KNOWN_NEVER);
		assert_true(n <= 1);
		looks += n;
	}
	assert_int_equal(looks, 2 * 8);
	close_discover(&d);
}

static void a_storm_is_looked_at_in_turns(void **state)
{
	struct left left = { 0 };
	(void)state;
	const unsigned n = 3 * GD_WATCH_LOOKS_PER_TICK + 10;
	for (unsigned i = 0; i < n; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "%u", 1000 + i);
		make_pid(name);
	}
	struct gd_watch_discover d = open_discover(test_dir());
	/* The first time it is not a storm, but everybody that was there already. */
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(look(&d, GD_KNOWN_OTHER), n);
	bool *seen = calloc(n, sizeof(*seen));
	assert_non_null(seen);
	for (unsigned i = 0; i < n; i++) {
		d.list[i].kind = GD_KNOWN_NEW;
		d.list[i].due = d.tick;
	}
	for (unsigned tick = 0; tick < 5; tick++) {
		size_t cursor = 0;
		unsigned looks = 0;
		struct gd_watch_known *known;
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
		while ((known = gd_watch_discover_next(&d, &cursor, &looks)) != NULL) {
			seen[known->pid - 1000] = true;
			gd_watch_discover_looked(&d, known, GD_KNOWN_OTHER, 0);
		}
		assert_true(looks <= GD_WATCH_LOOKS_PER_TICK);
	}
	for (unsigned i = 0; i < n; i++)
		assert_true(seen[i]);
	free(seen);
	close_discover(&d);
}

/* A child with exactly this pid, in state "waiting for its end"; 0: not permitted. */
static pid_t child_with_pid(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = pid != 0 ? (uintptr_t)&pid : 0,
		.set_tid_size = pid != 0 ? 1 : 0,
	};
	long r = syscall(SYS_clone3, &args, sizeof(args));
	if (r == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	return r > 0 ? (pid_t)r : 0;
}

static void end_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Nothing but real pids above those known is listed then: a change below is seen later. */
static void a_new_pid_is_found_without_listing_all(void **state)
{
	struct left left = { 0 };
	(void)state;
	struct gd_watch_discover d = open_discover("/proc");
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_true(d.position_base > 0);
	assert_false(d.no_positions);
	unsigned listed_in_part = 0;
	for (int i = 0; i < 20; i++) {
		pid_t pid = child_with_pid(0);
		assert_true(pid > 0);
		struct gd_watch_known *own = gd_watch_discover_find(&d, getpid());
		assert_non_null(own);
		own->inode++;
		gd_watch_discover_looked(&d, own, GD_KNOWN_WATCHED, 5);
		left.n = 0;
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
		assert_non_null(gd_watch_discover_find(&d, pid));
		assert_int_equal(gd_watch_discover_find(&d, pid)->kind, GD_KNOWN_NEW);
		for (size_t k = 1; k < d.n; k++)
			assert_true(d.list[k - 1].pid < d.list[k].pid);
		listed_in_part += left.n == 0; /* our own entry was left as it is */
		end_child(pid);
	}
	/* All but those of every eighth tick, and of a moment when pids began anew. */
	assert_true(listed_in_part >= 16);
	close_discover(&d);
}

static void a_pid_that_is_reused_between_two_scans_is_new(void **state)
{
	struct left left = { 0 };
	(void)state;
	pid_t pid = child_with_pid(0);
	assert_true(pid > 0);
	struct gd_watch_discover d = open_discover("/proc");
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	struct gd_watch_known *known = gd_watch_discover_find(&d, pid);
	assert_non_null(known);
	gd_watch_discover_looked(&d, known, GD_KNOWN_WATCHED, 77);
	assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(left.n, 0);
	end_child(pid);
	if (child_with_pid(pid) != pid) {
		close_discover(&d);
		test_skip("no choosing of pids here (clone3 with set_tid)");
	}
	/* A pid that was asked for is not "given away", so it shows at the next listing, which comes
	 * anyway. */
	for (int i = 0; i < 8 && left.n == 0; i++)
		assert_int_equal(gd_watch_discover_scan(&d, on_left, &left), 0);
	assert_int_equal(left.n, 1);
	assert_int_equal(left.last, 77);
	assert_int_equal(gd_watch_discover_find(&d, pid)->kind, GD_KNOWN_NEW);
	end_child(pid);
	close_discover(&d);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(only_pids_are_listed_in_order),
		test_case(what_was_watched_and_is_not_there_has_left),
		test_case(another_directory_of_that_pid_is_another_process),
		test_case(nothing_is_listed_while_no_pid_was_given_away),
		test_case(looks_become_rare),
		test_case(a_storm_is_looked_at_in_turns),
		test_case(a_new_pid_is_found_without_listing_all),
		test_case(a_pid_that_is_reused_between_two_scans_is_new),
	};
	return test_run(tests);
}
