#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "target/target.h"

#define KNOWN UINT64_C(0x1122334455667788)

static struct gd_target *open_target(pid_t pid)
{
	struct gd_error err = { 0 };
	struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	return target;
}

static uint64_t address_said(const struct victim *v)
{
	const char *at = strstr(v->said.data, "at ");
	assert_non_null(at);
	return strtoull(at + 3, NULL, 16);
}

static void tell(struct victim *v, const char *line)
{
	victim_tell(v, line);
	assert_string_equal(victim_line(v), "done");
}

/* Reads its first lines after it has become itself again. */
static void wait_until_ready(struct victim *v)
{
	const char *line;
	while ((line = victim_line(v)) != NULL && strcmp(line, "ready") != 0)
		;
	assert_non_null(line);
}

static void a_living_process_is_opened_with_all_its_parts(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	assert_int_equal(t->pid, v->pid);
	assert_string_equal(t->comm, "life");
	assert_true(t->start_ticks > 0);
	assert_false(t->kernel_thread);
	assert_false(t->zombie);
	assert_int_equal(t->mem_error.code, 0);
	assert_int_equal(t->exe_error.code, 0);
	assert_int_equal(t->maps_error.code, 0);

	uint64_t value = 0;
	assert_ok(gd_memory_read_u64(t->memory, address_said(v), &value, &err), &err);
	assert_int_equal(value, KNOWN);
	const struct gd_map *map = gd_maps_find(&t->maps, address_said(v));
	assert_non_null(map);
	assert_true(map->write);
	assert_contains(map->path, "/life");

	struct stat ours;
	struct stat theirs;
	assert_int_equal(stat(victim_path("life"), &ours), 0);
	assert_int_equal(fstat(t->fds.exe_fd, &theirs), 0);
	assert_int_equal(ours.st_ino, theirs.st_ino);
	assert_ok(gd_target_check(t, &err), &err);
}

static void all_descriptors_are_read_only_and_closed_on_exec(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	const int fds[] = { t->fds.pid_fd, t->fds.proc_fd, t->fds.mem_fd, t->fds.exe_fd };
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(t->fds.mem_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(t->fds.exe_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(pwrite(t->fds.mem_fd, "x", 1, (off_t)address_said(v)), -1);
}

static void no_such_process_is_esrch(void **state)
{
	(void)state;
	static const pid_t none[] = { 0, -1, 0x3fffffff };
	for (size_t i = 0; i < 3; i++) {
		struct gd_error err = { 0 };
		struct gd_target *t = NULL;
		assert_fails(gd_target_open(none[i], &t, &err), -ESRCH, &err);
		assert_contains(err.msg, "no such process");
		assert_null(t);
	}
}

static void the_number_of_a_thread_is_refused_with_a_hint(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	tell(v, "thread");
	/* The thread announces itself only by existing. */
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	GD_TARGET struct gd_target *t = open_target(v->pid);
	for (int i = 0; i < 1000 && n < 2; i++) {
		free(gd_steal_ptr(&tids));
		assert_ok(gd_target_threads(t, &tids, &n, NULL), NULL);
		(void)usleep(1000);
	}
	assert_int_equal(n, 2);
	struct gd_error err = { 0 };
	struct gd_target *none = NULL;
	assert_fails(gd_target_open(tids[1], &none, &err), -EINVAL, &err);
	assert_contains(err.msg, "a thread of another process");
}

static void a_kernel_thread_has_no_memory(void **state)
{
	(void)state;
	GD_BUF struct gd_buf comm = GD_BUF_INIT(64);
	if (gd_io_read_file_at(AT_FDCWD, "/proc/2/comm", &comm, NULL) < 0 ||
	    strcmp(gd_buf_str(&comm), "kthreadd\n") != 0)
		test_skip("pid 2 is not kthreadd here (a pid namespace)");
	GD_TARGET struct gd_target *t = open_target(2);
	assert_true(t->kernel_thread);
	assert_null(t->memory);
	assert_int_equal(t->mem_error.code, -EFAULT);
	assert_contains(t->mem_error.msg, "kernel thread");
	assert_int_equal(t->fds.mem_fd, -1);
	assert_int_equal(t->fds.exe_fd, -1);
	assert_int_equal(t->maps.n, 0);
	assert_ok(gd_target_check(t, NULL), NULL);
}

static void a_zombie_is_opened_without_memory(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	GD_TARGET struct gd_target *t = open_target(pid);
	assert_true(t->zombie);
	assert_null(t->memory);
	assert_int_equal(t->mem_error.code, -ESRCH);
	assert_contains(t->mem_error.msg, "zombie");
	struct gd_error err = { 0 };
	assert_fails(gd_target_check(t, &err), -ESRCH, &err);
	test_child_exits(pid, 0);
}

static void a_process_whose_main_thread_has_left_is_read_through_another(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	tell(v, "thread");
	tell(v, "leave");
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	uint64_t value = 0;
	assert_false(t->zombie);
	assert_contains(t->via, "task/");
	assert_non_null(t->memory);
	assert_ok(gd_memory_read_u64(t->memory, address_said(v), &value, &err), &err);
	assert_int_equal(value, KNOWN);
	assert_true(t->maps.n > 0);
	assert_true(t->fds.exe_fd >= 0);
	assert_ok(gd_target_check(t, &err), &err);
	victim_tell(v, "exec");
	wait_until_ready(v);
	assert_fails(gd_target_check(t, &err), -ESTALE, &err);
}

/* Runs fn as nobody in a child, which must end with 0. */
static void as_nobody(int (*fn)(pid_t pid), pid_t pid)
{
	if (geteuid() != 0)
		test_skip("only root can become another user");
	pid_t child = fork();
	if (child == 0) {
		if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
			_exit(100);
		_exit(fn(pid));
	}
	test_child_exits(child, 0);
}

static int open_is_refused_politely(pid_t pid)
{
	GD_TARGET struct gd_target *t = NULL;
	struct gd_error err = { 0 };
	if (gd_target_open(pid, &t, &err) < 0)
		return 1;
	if (t->memory != NULL || t->fds.mem_fd != -1 || t->fds.exe_fd != -1 || t->maps.n != 0)
		return 2;
	if (t->mem_error.code != -EACCES && t->mem_error.code != -EPERM)
		return 3;
	if (strstr(t->mem_error.msg, "uid 0") == NULL ||
	    strstr(t->mem_error.msg, "CAP_SYS_PTRACE") == NULL ||
	    strstr(t->exe_error.msg, "CAP_SYS_PTRACE") == NULL ||
	    strstr(t->maps_error.msg, "CAP_SYS_PTRACE") == NULL)
		return 4;
	char link[64];
	if (gd_target_read_link(t, "cwd", link, sizeof(link), &err) >= 0 ||
	    strstr(err.msg, "CAP_SYS_PTRACE") == NULL)
		return 5;
	/* What everybody may read still works. */
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	if (gd_target_read_file(t, "status", &text, &err) < 0 || gd_target_check(t, &err) < 0)
		return 6;
	return strcmp(t->comm, "life") == 0 ? 0 : 7;
}

static void another_users_process_says_what_would_be_needed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	as_nobody(open_is_refused_politely, v->pid);
}

static struct gd_target_fds passed;
static uint64_t passed_address;

static int read_by_passed_descriptors(pid_t pid)
{
	GD_TARGET struct gd_target *t = NULL;
	uint64_t value = 0;
	char magic[4];
	if (gd_target_open_fds(&passed, pid, &t, NULL) < 0)
		return 1;
	if (gd_memory_read_u64(t->memory, passed_address, &value, NULL) < 0 || value != KNOWN)
		return 2;
	if (gd_io_pread_all(t->fds.exe_fd, magic, 4, 0, NULL) < 0 ||
	    memcmp(magic, "\177ELF", 4) != 0)
		return 3;
	/* maps is opened anew, so it needs the privilege that the opener had. */
	if (t->maps.n != 0 || t->maps_error.code == 0)
		return 4;
	return gd_target_check(t, NULL) == 0 ? 0 : 5;
}

static void passed_descriptors_need_no_privilege(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	passed = t->fds;
	passed_address = address_said(v);
	as_nobody(read_by_passed_descriptors, v->pid);
}

static void passed_descriptors_of_another_process_are_refused_and_closed(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	struct gd_target *t = open_target(v->pid);
	struct gd_target_fds fds = {
		.pid_fd = dup(t->fds.pid_fd),
		.proc_fd = dup(t->fds.proc_fd),
		.mem_fd = dup(t->fds.mem_fd),
		.exe_fd = dup(t->fds.exe_fd),
	};
	gd_target_close(t);
	struct gd_error err = { 0 };
	struct gd_target *none = NULL;
	/* The fixture would find them open. */
	assert_fails(gd_target_open_fds(&fds, getpid(), &none, &err), -EINVAL, &err);
	assert_null(none);
}

static void passed_descriptors_may_lack_memory_and_executable(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_target_fds fds = {
		.pid_fd = dup(t->fds.pid_fd),
		.proc_fd = dup(t->fds.proc_fd),
		.mem_fd = -1,
		.exe_fd = -1,
	};
	GD_TARGET struct gd_target *half = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_target_open_fds(&fds, v->pid, &half, &err), &err);
	assert_null(half->memory);
	assert_int_equal(half->mem_error.code, -EACCES);
	assert_int_equal(half->exe_error.code, -EACCES);
	assert_true(half->maps.n > 0);
	assert_ok(gd_target_check(half, &err), &err);
	victim_tell(v, "exec");
	wait_until_ready(v);
	assert_fails(gd_target_check(half, &err), -ESTALE, &err);
}

static void a_hostile_comm_does_not_lie_about_the_start_time(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *before = open_target(v->pid);
	tell(v, "rename a) S 1\\n) Z 2");
	GD_TARGET struct gd_target *t = open_target(v->pid);
	assert_string_equal(t->comm, "a) S 1\n) Z 2");
	assert_int_equal(t->start_ticks, before->start_ticks);
	assert_false(t->zombie);
	assert_false(t->kernel_thread);
	assert_ok(gd_target_check(before, NULL), NULL);
}

static void a_deleted_executable_is_still_read(void **state)
{
	(void)state;
	GD_BUF struct gd_buf program = GD_BUF_INIT(16 << 20);
	assert_ok(gd_io_read_file_at(AT_FDCWD, victim_path("life"), &program, NULL), NULL);
	const char *copy = test_file("gone", program.data, program.len);
	assert_int_equal(chmod(copy, 0755), 0);
	struct victim *v = victim_start(copy, NULL);
	assert_int_equal(unlink(copy), 0);

	GD_TARGET struct gd_target *t = open_target(v->pid);
	GD_BUF struct gd_buf seen = GD_BUF_INIT(16 << 20);
	assert_ok(gd_io_read_all(t->fds.exe_fd, &seen, NULL), NULL);
	assert_int_equal(seen.len, program.len);
	assert_memory_equal(seen.data, program.data, program.len);
	char link[4096];
	assert_true(gd_target_read_link(t, "exe", link, sizeof(link), NULL) > 0);
	assert_contains(link, " (deleted)");
	const struct gd_map *map = gd_maps_find(&t->maps, address_said(v));
	assert_non_null(map);
	assert_true(map->deleted);
	assert_string_equal(map->path, copy);
}

static void an_executable_in_another_mount_namespace_is_still_read(void **state)
{
	(void)state;
	if (geteuid() != 0 || access("/usr/bin/unshare", X_OK) != 0)
		test_skip("needs root and unshare(1) for a mount namespace");
	if (system("unshare -m true 2>/dev/null") != 0)
		test_skip("unshare -m fails here: / is no mount point (chroot), or it is not allowed");
	char script[3 * 4096];
	const char *dir = test_dir();
	(void)snprintf(script, sizeof(script),
	               "mount -t tmpfs none '%s' && cp '%s' '%s/inside' && exec '%s/inside'", dir,
	               victim_path("life"), dir, dir);
	struct victim *v = victim_start("/usr/bin/unshare", "-m", "sh", "-c", script, NULL);
	assert_int_equal(access(test_path("inside"), F_OK), -1);

	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	char magic[4];
	assert_ok(gd_io_pread_all(t->fds.exe_fd, magic, 4, 0, &err), &err);
	assert_memory_equal(magic, "\177ELF", 4);
	assert_string_equal(t->comm, "inside");
}

static void a_page_nobody_serves_faults_at_once(void **state)
{
	(void)state;
	struct victim *v = victim_start("uffd", NULL);
	if (strstr(v->said.data, "unsupported") != NULL)
		test_skip("no userfaultfd here");
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	uint64_t value;
	int64_t before = gd_clock_monotonic_ns();
	assert_fails(gd_memory_read_u64(t->memory, address_said(v), &value, &err), -EFAULT, &err);
	assert_true(gd_clock_monotonic_ns() - before < 1000000000);
	assert_int_equal(t->memory->stats.faults, 1);
}

static void files_and_links_are_read_below_the_target(void **state)
{
	(void)state;
	struct victim *v = victim_start("life", NULL);
	GD_TARGET struct gd_target *t = open_target(v->pid);
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	assert_ok(gd_target_read_file(t, "comm", &text, &err), &err);
	assert_string_equal(gd_buf_str(&text), "life\n");
	GD_BUF struct gd_buf tiny = GD_BUF_INIT(10);
	assert_fails(gd_target_read_file(t, "status", &tiny, &err), -E2BIG, &err);
	assert_fails(gd_target_read_file(t, "no-such-file", &text, &err), -ENOENT, &err);
	/* Links of the target are never followed. */
	assert_fails(gd_target_read_file(t, "exe", &text, &err), -ELOOP, &err);

	char link[4096] = "keep";
	assert_fails(gd_target_read_link(t, "exe", link, 6, &err), -E2BIG, &err);
	assert_string_equal(link, "keep");
	assert_true(gd_target_read_link(t, "ns/net", link, sizeof(link), &err) > 0);
	assert_contains(link, "net:[");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_living_process_is_opened_with_all_its_parts),
		test_case(all_descriptors_are_read_only_and_closed_on_exec),
		test_case(no_such_process_is_esrch),
		test_case(the_number_of_a_thread_is_refused_with_a_hint),
		test_case(a_kernel_thread_has_no_memory),
		test_case(a_zombie_is_opened_without_memory),
		test_case(a_process_whose_main_thread_has_left_is_read_through_another),
		test_case(another_users_process_says_what_would_be_needed),
		test_case(passed_descriptors_need_no_privilege),
		test_case(passed_descriptors_of_another_process_are_refused_and_closed),
		test_case(passed_descriptors_may_lack_memory_and_executable),
		test_case(a_hostile_comm_does_not_lie_about_the_start_time),
		test_case(a_deleted_executable_is_still_read),
		test_case(an_executable_in_another_mount_namespace_is_still_read),
		test_case(a_page_nobody_serves_faults_at_once),
		test_case(files_and_links_are_read_below_the_target),
	};
	return test_run(tests);
}
