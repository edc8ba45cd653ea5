/*
 * Every system call of the spool fails once, or from then on, with the errors that disks have.  A
 * change that was reported as done is there after the next open; one that failed left nothing behind
 * that the next open or the next call cannot mend; an archive is never lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fault.h"
#include "tests/spools.h"

enum op { OPEN, BEGIN, COMMIT, UPLOADED, FAILED, ABORT, PRUNE, OPEN_DAMAGED, OPS };

static const char *const op_names[OPS] = { "open",   "begin", "commit", "uploaded",
	                                   "failed", "abort", "prune",  "open damaged" };

#define CALLS (FAULT_READ | FAULT_WRITE | FAULT_OPENAT | FAULT_FSYNC | FAULT_LINKAT | FAULT_NAMES)

struct scene {
	struct gd_spool *spool;
	struct spool_sealed sealed; /* of "x", begun and sealed, not yet committed */
};

/* A spool with "old" uploaded, "ready" waiting, "x" begun and sealed, "y" begun. */
static struct scene set(enum op op)
{
	struct scene scene = { .spool = spool_open(NULL) };
	struct gd_error err = { 0 };
	spool_add(scene.spool, "old", GD_SPOOL_ALERT, 100);
	assert_ok(gd_spool_uploaded(scene.spool, "old", "s3://b/old", &err), &err);
	spool_add(scene.spool, "ready", GD_SPOOL_CRASH, 100);
	assert_ok(gd_spool_begin(scene.spool, "x", GD_SPOOL_PERIODIC, &err), &err);
	assert_ok(gd_spool_begin(scene.spool, "y", GD_SPOOL_ALERT, &err), &err);
	assert_ok(spool_seal(gd_spool_ready(scene.spool), "x", "rule", 100, &scene.sealed, &err),
	          &err);
	if (op == OPEN || op == OPEN_DAMAGED) {
		gd_spool_close(scene.spool);
		scene.spool = NULL;
	}
	if (op == OPEN_DAMAGED) {
		int fd = open(test_path("spool/journal"), O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "?", 1, 20), 1);
		(void)close(fd);
	}
	return scene;
}

static int act(enum op op, struct scene *scene, struct gd_error *err)
{
	const struct gd_spool_keep keep = { .age_ns = 1 };
	struct gd_clock now = gd_clock_now();
	switch (op) {
	case OPEN:
	case OPEN_DAMAGED:
		return gd_spool_open(test_path("spool"), &scene->spool, NULL, err);
	case BEGIN:
		return gd_spool_begin(scene->spool, "z", GD_SPOOL_ALERT, err);
	case COMMIT:
		return gd_spool_commit(scene->spool, "x", scene->sealed.name, scene->sealed.digest,
		                       scene->sealed.bytes, err);
	case UPLOADED:
		return gd_spool_uploaded(scene->spool, "ready", "s3://b/ready", err);
	case FAILED:
		return gd_spool_failed(scene->spool, "ready", "HTTP 503", err);
	case ABORT:
		return gd_spool_abort(scene->spool, "y", "no space", err);
	case PRUNE:
		return gd_spool_prune(scene->spool, &keep, &now, NULL, err);
	case OPS:
	default:
		return -EINVAL;
	}
}

static void clear(void)
{
	char command[600];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", test_path("spool"));
	assert_int_equal(system(command), 0);
}

static void look(enum op op, int r, unsigned n, int error)
{
	struct gd_spool_recovery recovery;
	struct gd_spool *spool = spool_open(&recovery);
	const struct gd_spool_item *x = spool_item(spool, "x");
	const struct gd_spool_item *ready = spool_item(spool, "ready");
	const struct gd_spool_item *old = spool_item(spool, "old");
	bool good = x != NULL && ready != NULL && !x->uploaded &&
	            spool_verifies(test_path("spool/ready/godiag-x.tar"));
	good = good && (old != NULL || op == PRUNE) && recovery.quarantined == 0;
	if (op == PRUNE && r == 0)
		good = good && old == NULL && access(test_path("spool/done/godiag-old.tar"), F_OK) < 0;
	if (op == UPLOADED && r == 0)
		good = good && ready->uploaded && strcmp(ready->location, "s3://b/ready") == 0;
	if (op != UPLOADED)
		good = good && !ready->uploaded;
	if (op == FAILED && r == 0)
		good = good && ready->attempts == 1;
	if (op == COMMIT && r == 0)
		good = good && x->class == GD_SPOOL_PERIODIC && recovery.adopted == 0;
	if (!good)
		fail_msg("%s, call %u failed with %d: returned %d and left \"%s\" (%u put aside)",
		         op_names[op], n, error, r, spool_ids(spool), recovery.quarantined);
	gd_spool_close(spool);
}

static void fail_each(enum op op, int error, bool stays, bool go_on, unsigned *calls,
                      unsigned *fatal)
{
	for (unsigned n = 1;; n++) {
		struct scene scene = set(op);
		struct gd_error err = { 0 };
		if (stays)
			fault_arm_from(CALLS, n, error);
		else
			fault_arm(CALLS, n, error);
		int r = act(op, &scene, &err);
		bool fired = fault_disarm();
		if (r < 0) {
			assert_int_equal(err.code, r);
			assert_true(err.msg[0] != '\0');
			(*fatal)++;
		}
		/* The disk is well again, and so is the spool. */
		if (go_on && scene.spool != NULL)
			assert_ok(gd_spool_begin(scene.spool, "later", GD_SPOOL_ALERT, &err), &err);
		gd_spool_close(scene.spool);
		look(op, r, n, error);
		clear();
		(*calls)++;
		if (!fired) {
			assert_ok(r, &err);
			break;
		}
	}
}

static void each_call_with_each_error(void **state)
{
	(void)state;
	static const int errors[] = { EIO, ENOSPC, EROFS };
	(void)test_path("spool");
	for (unsigned op = 0; op < OPS; op++) {
		unsigned calls = 0;
		unsigned fatal = 0;
		for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
			for (int how = 0; how < 4; how++)
				fail_each((enum op)op, errors[i], (how & 1) != 0, (how & 2) != 0,
				          &calls, &fatal);
		print_message("%s: %u runs, %u reported a failure\n", op_names[op], calls, fatal);
		assert_true(fatal > 0);
	}
}

static void short_writes_are_continued(void **state)
{
	(void)state;
	unsigned calls = 0;
	unsigned fatal = 0;
	for (unsigned op = 0; op < OPS; op++)
		for (unsigned n = 1;; n++) {
			struct scene scene = set((enum op)op);
			struct gd_error err = { 0 };
			fault_arm(FAULT_WRITE | FAULT_READ, n, FAULT_SHORT);
			int r = act((enum op)op, &scene, &err);
			bool fired = fault_disarm();
			assert_ok(r, &err);
			gd_spool_close(scene.spool);
			look((enum op)op, r, n, FAULT_SHORT);
			clear();
			calls++;
			fatal += r < 0;
			if (!fired)
				break;
		}
	assert_true(calls > OPS);
	assert_int_equal(fatal, 0);
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	for (unsigned op = 0; op < OPS; op++)
		for (unsigned n = 1;; n++) {
			struct scene scene = set((enum op)op);
			struct gd_error err = { 0 };
			fault_arm(FAULT_MEMORY, n, ENOMEM);
			int r = act((enum op)op, &scene, &err);
			bool fired = fault_disarm();
			gd_spool_close(scene.spool);
			look((enum op)op, r, n, ENOMEM);
			clear();
			if (!fired) {
				assert_ok(r, &err);
				break;
			}
		}
}

static void a_full_disk_keeps_nobody_from_opening(void **state)
{
	(void)state;
	static const enum op ops[] = { OPEN, OPEN_DAMAGED };
	for (size_t i = 0; i < 2; i++) {
		struct scene scene = set(ops[i]);
		struct gd_error err = { 0 };
		fault_arm_from(FAULT_WRITE, 1, ENOSPC);
		assert_ok(act(ops[i], &scene, &err), &err);
		assert_non_null(spool_item(scene.spool, "x")); /* adopted, unwritten */
		assert_fails(act(BEGIN, &scene, &err), -ENOSPC, &err);
		/* pruning needs no room */
		int r = act(PRUNE, &scene, &err);
		assert_true(fault_disarm());
		assert_true(r == 0 || r == -ENOSPC);
		assert_int_equal(access(test_path("spool/done/godiag-old.tar"), F_OK), -1);
		assert_ok(act(BEGIN, &scene, &err), &err);
		gd_spool_close(scene.spool);
		look(PRUNE, 0, 0, ENOSPC);
		clear();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(each_call_with_each_error),
		test_case(short_writes_are_continued),
		test_case(any_allocation_may_fail),
		test_case(a_full_disk_keeps_nobody_from_opening),
	};
	return test_run(tests);
}
