/* The spool in peace: what is listed, moved, refused; and every row of the table of recovery. */
#include "uploader/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/spools.h"

static void a_capture_is_listed_uploaded_and_kept(void **state)
{
	(void)state;
	struct gd_spool_recovery recovery;
	struct gd_spool *spool = spool_open(&recovery);
	struct gd_spool_item item;
	struct gd_error err = { 0 };
	assert_int_equal(recovery.adopted + recovery.aborted + recovery.lost, 0);
	assert_false(gd_spool_next(spool, NULL, &item));
	spool_add(spool, "one", GD_SPOOL_ALERT, 5000);
	assert_true(gd_spool_next(spool, NULL, &item));
	assert_string_equal(item.id, "one");
	assert_false(gd_spool_next(spool, "one", &item));

	int fd = -1;
	char bytes[6];
	assert_ok(gd_spool_open_item(spool, "one", &fd, &err), &err);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), 6);
	(void)close(fd);

	assert_ok(gd_spool_failed(spool, "one", "HTTP 503\r\nSlowDown", &err), &err);
	assert_int_equal(spool_item(spool, "one")->attempts, 1);
	assert_string_equal(spool_item(spool, "one")->last_error, "HTTP 503\\x0d\\x0aSlowDown");
	assert_ok(gd_spool_uploaded(spool, "one", "s3://b/one.tar", &err), &err);
	assert_false(gd_spool_next(spool, NULL, &item));
	assert_true(spool_verifies(test_path("spool/done/godiag-one.tar")));
	gd_spool_close(spool);

	spool = spool_open(&recovery);
	assert_string_equal(spool_ids(spool), "one+");
	assert_string_equal(spool_item(spool, "one")->location, "s3://b/one.tar");
	assert_int_equal(spool_item(spool, "one")->class, GD_SPOOL_ALERT);
	struct gd_spool_stats stats;
	gd_spool_stats(spool, &stats);
	assert_int_equal(stats.done, 1);
	assert_int_equal(stats.ready, 0);
	assert_int_equal(stats.uploaded_total, 1);
	assert_int_equal(stats.failed_total, 1);
	assert_true(stats.fs_bytes >= stats.fs_free_bytes && stats.fs_bytes > 0);
	gd_spool_close(spool);
}

static void crashes_go_first_and_what_fails_waits_behind(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_spool_item item;
	struct gd_error err = { 0 };
	spool_add(spool, "p1", GD_SPOOL_PERIODIC, 10);
	spool_add(spool, "a1", GD_SPOOL_ALERT, 10);
	spool_add(spool, "a2", GD_SPOOL_ALERT, 10);
	spool_add(spool, "c1", GD_SPOOL_CRASH, 10);
	const char *const order[] = { "c1", "a1", "a2", "p1", "c1" };
	for (size_t i = 0; i < 5; i++) {
		assert_true(gd_spool_next(spool, NULL, &item));
		assert_string_equal(item.id, order[i]);
		assert_ok(gd_spool_failed(spool, item.id, "no", &err), &err);
	}
	gd_spool_close(spool);
	spool = spool_open(NULL);
	assert_int_equal(spool_item(spool, "c1")->attempts, 2);
	assert_string_equal(spool_item(spool, "p1")->last_error, "no");
	gd_spool_close(spool);
}

static void names_from_outside_are_checked(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	assert_fails(gd_spool_begin(spool, "../x", GD_SPOOL_ALERT, &err), -EINVAL, &err);
	assert_fails(gd_spool_begin(spool, "", GD_SPOOL_ALERT, &err), -EINVAL, &err);
	assert_fails(gd_spool_begin(spool, "a b", GD_SPOOL_ALERT, &err), -EINVAL, &err);
	assert_ok(gd_spool_begin(spool, "x", GD_SPOOL_ALERT, &err), &err);
	assert_fails(gd_spool_begin(spool, "x", GD_SPOOL_ALERT, &err), -EEXIST, &err);
	assert_fails(gd_spool_commit(spool, "x", "../../etc/passwd", "", 1, &err), -EINVAL, &err);
	assert_fails(gd_spool_commit(spool, "x", "a\nb", "", 1, &err), -EINVAL, &err);
	assert_fails(gd_spool_commit(spool, "x", "nothing.tar", "", 1, &err), -ENOENT, &err);
	(void)test_file("spool/ready/short.tar", "abc", 3);
	assert_fails(gd_spool_commit(spool, "x", "short.tar", "", 4, &err), -EBADMSG, &err);
	assert_int_equal(symlink("short.tar", test_path("spool/ready/link.tar")), 0);
	assert_fails(gd_spool_commit(spool, "x", "link.tar", "", 9, &err), -EBADMSG, &err);
	assert_fails(gd_spool_commit(spool, "y", "short.tar", "", 3, &err), -ENOENT, &err);
	assert_fails(gd_spool_uploaded(spool, "y", "u", &err), -ENOENT, &err);
	assert_fails(gd_spool_failed(spool, "y", "u", &err), -ENOENT, &err);
	assert_fails(gd_spool_abort(spool, "y", "u", &err), -ENOENT, &err);
	int fd;
	assert_fails(gd_spool_open_item(spool, "y", &fd, &err), -ENOENT, &err);
	gd_spool_close(spool);
}

static int try_open(struct gd_error *err)
{
	struct gd_spool *spool = NULL;
	int r = gd_spool_open(test_path("spool"), &spool, NULL, err);
	if (r == 0)
		gd_spool_close(spool);
	return r;
}

static void only_a_directory_of_ours_is_a_spool(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char real[4096];
	(void)snprintf(real, sizeof(real), "%s", test_path("real"));
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, test_path("spool")), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_contains(err.msg, "link");
	assert_int_equal(access(test_path("real/ready"), F_OK), -1);
	assert_int_equal(unlink(test_path("spool")), 0);

	assert_int_equal(mkdir(test_path("spool"), 0700), 0);
	assert_int_equal(chmod(test_path("spool"), 0777), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_contains(err.msg, "written by others");
	assert_int_equal(chmod(test_path("spool"), 0700), 0);
	assert_ok(try_open(&err), &err);

	assert_int_equal(chmod(test_path("spool/done"), 0702), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_int_equal(chmod(test_path("spool/done"), 0700), 0);
	assert_int_equal(rmdir(test_path("spool/done")), 0);
	assert_int_equal(symlink(real, test_path("spool/done")), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_int_equal(unlink(test_path("spool/done")), 0);
	assert_ok(try_open(&err), &err);
}

static void a_spool_of_somebody_else_is_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	if (geteuid() != 0)
		test_skip("needs root to give a directory away");
	assert_int_equal(mkdir(test_path("spool"), 0700), 0);
	assert_int_equal(chown(test_path("spool"), 65534, 65534), 0);
	assert_fails(try_open(&err), -EPERM, &err);
	assert_contains(err.msg, "uid 65534");
}

static void one_process_at_a_time(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	pid_t child = fork();
	if (child == 0) {
		struct gd_error err = { 0 };
		_exit(try_open(&err) == -EBUSY && strstr(err.msg, "process") != NULL ? 0 : 1);
	}
	test_child_exits(child, 0);
	gd_spool_close(spool);

	/* A child that outlives us does not keep it locked. */
	int wait_for[2];
	assert_int_equal(pipe2(wait_for, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		struct gd_error err = { 0 };
		struct gd_spool *own = NULL;
		if (gd_spool_open(test_path("spool"), &own, NULL, &err) < 0)
			_exit(1);
		pid_t grandchild = fork();
		if (grandchild == 0) {
			char c;
			(void)close(wait_for[1]);
			_exit(read(wait_for[0], &c, 1) == 0 ? 0 : 1);
		}
		_exit(0);
	}
	test_child_exits(child, 0);
	struct gd_error err = { 0 };
	assert_ok(try_open(&err), &err);
	(void)close(wait_for[0]);
	(void)close(wait_for[1]);
}

/* --- recovery ------------------------------------------------------------------------------ */

static struct gd_spool_recovery reopen(const char *ids)
{
	struct gd_spool_recovery recovery;
	struct gd_spool *spool = spool_open(&recovery);
	assert_string_equal(spool_ids(spool), ids);
	gd_spool_close(spool);
	/* What was settled is settled. */
	struct gd_spool_recovery again;
	spool = spool_open(&again);
	assert_string_equal(spool_ids(spool), ids);
	gd_spool_close(spool);
	assert_int_equal(again.adopted + again.aborted + again.lost + again.quarantined, 0);
	assert_false(again.torn_tail || again.rebuilt);
	return recovery;
}

static void begun_and_never_sealed_is_aborted(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	assert_ok(gd_spool_begin(spool, "x", GD_SPOOL_ALERT, &err), &err);
	assert_ok(gd_spool_begin(spool, "y", GD_SPOOL_ALERT, &err), &err);
	assert_ok(gd_spool_abort(spool, "y", "no\nspace", &err), &err);
	gd_spool_close(spool);
	assert_int_equal(reopen("").aborted, 1);
}

/* Its file's time is of a clock that ticks: within a tick it would stand before what came before it. */
static void an_adopted_one_stays_behind_what_was_committed_before_it(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	for (unsigned i = 0; i < 40; i += 2) {
		struct gd_spool_recovery recovery;
		struct spool_sealed sealed;
		char id[16];
		struct gd_spool *spool = spool_open(NULL);
		(void)snprintf(id, sizeof(id), "k%03u", i);
		spool_add(spool, id, GD_SPOOL_ALERT, 100);
		(void)snprintf(id, sizeof(id), "k%03u", i + 1);
		assert_ok(gd_spool_begin(spool, id, GD_SPOOL_ALERT, &err), &err);
		assert_ok(spool_seal(gd_spool_ready(spool), id, "rule", 100, &sealed, &err), &err);
		gd_spool_close(spool); /* as if killed before the commit */
		spool = spool_open(&recovery);
		assert_int_equal(recovery.adopted, 1);
		const struct gd_spool_item *items;
		assert_int_equal(gd_spool_items(spool, &items), i + 2);
		for (unsigned at = 0; at < i + 2; at++)
			assert_int_equal(strtoul(items[at].id + 1, NULL, 10), at);
		gd_spool_close(spool);
	}
}

static void sealed_without_a_line_is_verified_and_adopted(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct spool_sealed sealed;
	struct gd_error err = { 0 };
	char ready[4096];
	(void)snprintf(ready, sizeof(ready), "%s", gd_spool_ready(spool));
	assert_ok(gd_spool_begin(spool, "x", GD_SPOOL_CRASH, &err), &err);
	assert_ok(spool_seal(ready, "x", "rule", 500, &sealed, &err), &err);
	gd_spool_close(spool);
	assert_ok(spool_seal(ready, "y", "schedule", 500, &sealed, &err), &err);

	struct gd_spool_recovery recovery = reopen("x y");
	assert_int_equal(recovery.adopted, 2);
	assert_int_equal(recovery.aborted, 0);
	spool = spool_open(NULL);
	assert_int_equal(spool_item(spool, "x")->class, GD_SPOOL_CRASH); /* as it was begun */
	assert_int_equal(spool_item(spool, "y")->class, GD_SPOOL_PERIODIC); /* by its trigger */
	assert_string_equal(spool_item(spool, "y")->digest, sealed.digest);
	gd_spool_close(spool);
}

static void what_does_not_verify_goes_into_quarantine(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct spool_sealed sealed;
	struct gd_error err = { 0 };
	assert_ok(spool_seal(gd_spool_ready(spool), "x", "rule", 50000, &sealed, &err), &err);
	spool_add(spool, "short", GD_SPOOL_ALERT, 50000);
	gd_spool_close(spool);
	/* a byte of the one flips, the other is cut, and things lie there that nobody sealed */
	GD_CLOSE int fd = open(test_path("spool/ready/godiag-x.tar"), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "!", 1, 20000), 1);
	assert_int_equal(truncate(test_path("spool/ready/godiag-short.tar"), 20000), 0);
	(void)test_file("spool/ready/notes.txt", "hello", 5);
	assert_int_equal(symlink("/etc/shadow", test_path("spool/ready/link.tar")), 0);
	assert_int_equal(mkfifo(test_path("spool/ready/fifo.tar"), 0600), 0);
	assert_int_equal(mkdir(test_path("spool/ready/dir.tar"), 0700), 0);
	(void)test_file("spool/ready/.hidden", "hello", 5);
	(void)test_file("spool/ready/.godiag-0123.tmp", "half", 4); /* an output that was killed */

	struct gd_spool_recovery recovery = reopen("");
	assert_int_equal(recovery.quarantined, 7);
	assert_int_equal(access(test_path("spool/quarantine/godiag-x.tar"), F_OK), 0);
	assert_int_equal(access(test_path("spool/quarantine/godiag-short.tar"), F_OK), 0);
	assert_int_equal(access(test_path("spool/ready/.godiag-0123.tmp"), F_OK), -1);
	assert_int_equal(rmdir(test_path("spool/ready")), 0); /* empty */
}

static void uploaded_but_not_moved_is_moved(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	spool_add(spool, "x", GD_SPOOL_ALERT, 10);
	assert_ok(gd_spool_uploaded(spool, "x", "s3://b/x", &err), &err);
	gd_spool_close(spool);
	char done[4096];
	(void)snprintf(done, sizeof(done), "%s", test_path("spool/done/godiag-x.tar"));
	assert_int_equal(rename(done, test_path("spool/ready/godiag-x.tar")), 0);
	(void)reopen("x+");
	assert_int_equal(access(done, F_OK), 0);
}

static void deleted_by_somebody_is_lost_and_told(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	spool_add(spool, "x", GD_SPOOL_ALERT, 10);
	spool_add(spool, "y", GD_SPOOL_ALERT, 10);
	gd_spool_close(spool);
	assert_int_equal(unlink(test_path("spool/ready/godiag-x.tar")), 0);
	assert_int_equal(reopen("y").lost, 1);
}

static void dropped_but_not_deleted_is_deleted(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	const struct gd_spool_keep keep = { .count = 1, .local = true };
	struct gd_spool_pruned pruned;
	struct gd_error err = { 0 };
	struct gd_clock now = gd_clock_now();
	spool_add(spool, "x", GD_SPOOL_ALERT, 10);
	spool_add(spool, "y", GD_SPOOL_ALERT, 10);
	assert_int_equal(link(test_path("spool/ready/godiag-x.tar"), test_path("copy")), 0);
	assert_ok(gd_spool_prune(spool, &keep, &now, &pruned, &err), &err);
	assert_int_equal(pruned.n, 1);
	gd_spool_close(spool);
	assert_int_equal(rename(test_path("copy"), test_path("spool/ready/godiag-x.tar")), 0);
	struct gd_spool_recovery recovery = reopen("y");
	assert_int_equal(recovery.adopted, 0);
	assert_int_equal(access(test_path("spool/ready/godiag-x.tar"), F_OK), -1);
}

static void without_a_journal_the_directories_tell(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	spool_add(spool, "x", GD_SPOOL_ALERT, 1000);
	spool_add(spool, "y", GD_SPOOL_ALERT, 1000);
	assert_ok(gd_spool_uploaded(spool, "x", "s3://b/x", &err), &err);
	gd_spool_close(spool);
	assert_int_equal(unlink(test_path("spool/journal")), 0);
	assert_int_equal(reopen("x+ y").adopted, 2);
}

static void a_damaged_journal_is_kept_and_written_anew(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	spool_add(spool, "x", GD_SPOOL_PERIODIC, 1000);
	spool_add(spool, "y", GD_SPOOL_CRASH, 1000);
	assert_ok(gd_spool_uploaded(spool, "y", "s3://b/y", &err), &err);
	gd_spool_close(spool);
	/* in the commit of x */
	GD_CLOSE int fd = open(test_path("spool/journal"), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "\0\0", 2, 45), 2);
	struct gd_spool_recovery recovery = reopen("x y+");
	assert_true(recovery.rebuilt);
	assert_int_equal(recovery.adopted, 1);
	spool = spool_open(NULL);
	assert_int_equal(spool_item(spool, "x")->class, GD_SPOOL_PERIODIC); /* its B line is whole */
	assert_string_equal(spool_item(spool, "y")->location, "s3://b/y");
	struct gd_spool_stats stats;
	gd_spool_stats(spool, &stats);
	assert_int_equal(stats.quarantined, 1); /* the old journal */
	gd_spool_close(spool);
}

static void a_torn_last_line_is_cut(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	spool_add(spool, "x", GD_SPOOL_ALERT, 1000);
	gd_spool_close(spool);
	struct stat st;
	assert_int_equal(stat(test_path("spool/journal"), &st), 0);
	assert_int_equal(truncate(test_path("spool/journal"), st.st_size - 3), 0);
	struct gd_spool_recovery recovery = reopen("x");
	assert_true(recovery.torn_tail);
	assert_int_equal(recovery.adopted, 1); /* the line that was cut was its C */
}

static void the_journal_stays_small(void **state)
{
	(void)state;
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	struct stat st;
	spool_add(spool, "x", GD_SPOOL_ALERT, 10);
	for (unsigned i = 0; i < 3000; i++)
		assert_ok(gd_spool_failed(spool, "x", "HTTP 503 SlowDown: later", &err), &err);
	assert_int_equal(stat(test_path("spool/journal"), &st), 0);
	assert_true(st.st_size < 600 * 100);
	gd_spool_close(spool);
	(void)reopen("x");
	spool = spool_open(NULL);
	struct gd_spool_stats stats;
	gd_spool_stats(spool, &stats);
	assert_int_equal(spool_item(spool, "x")->attempts, 3000);
	assert_int_equal(stats.failed_total, 3000);
	gd_spool_close(spool);
}

/* --- a full disk --------------------------------------------------------------------------- */

static void a_full_disk_refuses_and_pruning_cures_it(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	assert_int_equal(mkdir(test_path("spool"), 0700), 0);
	if (mount("tmpfs", test_path("spool"), "tmpfs", MS_NOSUID | MS_NODEV,
	          "size=1536k,mode=0700") < 0)
		test_skip("cannot mount a small tmpfs: %s", strerror(errno));
	struct gd_spool *spool = spool_open(NULL);
	char id[32];
	int r = 0;
	unsigned n = 0;
	for (; n < 200 && r == 0; n++) {
		(void)snprintf(id, sizeof(id), "c%03u", n);
		r = spool_capture(spool, id, GD_SPOOL_ALERT, 100000, &err);
	}
	assert_fails(r, -ENOSPC, &err);
	assert_true(n > 3);
	char ids[4096];
	(void)snprintf(ids, sizeof(ids), "%s", spool_ids(spool));
	gd_spool_close(spool);

	/* to the last byte */
	int fd = open(test_path("spool/filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char page[4096] = "";
	while (write(fd, page, sizeof(page)) > 0)
		;
	(void)close(fd);
	spool = spool_open(NULL);
	assert_string_equal(spool_ids(spool), ids);
	/* nothing of it verifies less for that */
	for (unsigned i = 0; i + 1 < n; i++) {
		(void)snprintf(id, sizeof(id), "spool/ready/godiag-c%03u.tar", i);
		assert_true(spool_verifies(test_path(id)));
	}
	const struct gd_spool_keep keep = { .spool_bytes = 300000 };
	struct gd_spool_pruned pruned;
	struct gd_clock now = gd_clock_now();
	assert_ok(gd_spool_prune(spool, &keep, &now, &pruned, &err), &err);
	assert_true(pruned.n > 0 && pruned.n == pruned.n_unsent);
	assert_int_equal(unlink(test_path("spool/filler")), 0);
	spool_add(spool, "after", GD_SPOOL_ALERT, 1000);
	gd_spool_close(spool);
	assert_int_equal(umount(test_path("spool")), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_capture_is_listed_uploaded_and_kept),
		test_case(crashes_go_first_and_what_fails_waits_behind),
		test_case(names_from_outside_are_checked),
		test_case(only_a_directory_of_ours_is_a_spool),
		test_case(a_spool_of_somebody_else_is_refused),
		test_case(one_process_at_a_time),
		test_case(begun_and_never_sealed_is_aborted),
		test_case(an_adopted_one_stays_behind_what_was_committed_before_it),
		test_case(sealed_without_a_line_is_verified_and_adopted),
		test_case(what_does_not_verify_goes_into_quarantine),
		test_case(uploaded_but_not_moved_is_moved),
		test_case(deleted_by_somebody_is_lost_and_told),
		test_case(dropped_but_not_deleted_is_deleted),
		test_case(without_a_journal_the_directories_tell),
		test_case(a_damaged_journal_is_kept_and_written_anew),
		test_case(a_torn_last_line_is_cut),
		test_case(the_journal_stays_small),
		test_case(a_full_disk_refuses_and_pruning_cures_it),
	};
	return test_run(tests);
}
