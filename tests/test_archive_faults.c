#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/verify.h"
#include "base/cleanup.h"
#include "tests/fault.h"

static char *text;

/*
 * One whole life of an archive.  An artifact that could not even be opened is the collector's
 * failure and ends nothing; what fails later must hold until the seal.
 */
static int make(const char *dir, struct gd_error *err)
{
	static const char plan[] = "{\"format\":1,\"id\":\"x\"}\n";
	static const struct {
		const char *name;
		size_t n;
		int compress;
	} artifacts[] = {
		{ "proc/status", 100, 1 }, { "middle", 9000, 1 }, { "plain", 300000, 0 },
		{ "goroutines.txt", 900000, 1 }, { "same", 100, 1 },
	};
	struct gd_archive *archive;
	struct gd_snapshot snapshot = { .pid = 1 };
	struct gd_sealed sealed;
	int r = gd_archive_create(dir, plan, strlen(plan), &archive, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < 5; i++) {
		struct gd_artifact artifact = { .name = artifacts[i].name, .media_type = "text/plain",
			                        .collector = "proc",
			                        .compress = artifacts[i].compress };
		r = gd_sink_put(gd_archive_sink(archive), &artifact, text, artifacts[i].n,
		                &GD_OUTCOME_COMPLETE, err);
	}
	r = gd_archive_seal(archive, &snapshot, "a.tar", &sealed, err);
	gd_snapshot_deinit(&snapshot);
	return r;
}

static bool is_empty(const char *dir)
{
	return strcmp(archive_run("ls -A '%s'", dir), "") == 0;
}

/* Either an archive in which every byte is right, or an empty directory. */
static void look(const char *dir, int r, unsigned n)
{
	char path[4096];
	(void)snprintf(path, sizeof(path), "%s/a.tar", dir);
	if (r < 0) {
		if (!is_empty(dir))
			fail_msg("call %u failed with %d and left something behind", n, r);
		return;
	}
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(path, &reader, &err), &err);
	assert_ok(gd_verify(&reader, NULL, NULL, &verdict, &err), &err);
	if (!verdict.complete)
		fail_msg("call %u failed, the archive was sealed and is not complete", n);
	assert_int_equal(unlink(path), 0);
}

static void fail_each(unsigned calls, int error, bool stays)
{
	const char *dir = test_dir();
	unsigned n = 1;
	unsigned failed = 0;
	text = archive_text(900000);
	for (;; n++) {
		struct gd_error err = { 0 };
		if (stays)
			fault_arm_from(calls, n, error);
		else
			fault_arm(calls, n, error);
		int r = make(dir, &err);
		bool fired = fault_disarm();
		look(dir, r, n);
		if (r < 0) {
			failed++;
			assert_int_equal(err.code, r);
			assert_true(err.msg[0] != '\0');
		}
		if (!fired) {
			assert_ok(r, &err);
			break;
		}
	}
	free(text);
	text = NULL;
	print_message("%u calls, %u of them fatal\n", n - 1, failed);
	assert_true(n > 1);
	if (error != FAULT_SHORT)
		assert_true(failed > 0);
	else
		assert_int_equal(failed, 0);
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	fail_each(FAULT_MEMORY, ENOMEM, false);
}

static void memory_may_run_out_for_good(void **state)
{
	(void)state;
	fail_each(FAULT_MEMORY, ENOMEM, true);
}

static void any_write_may_find_the_disk_full(void **state)
{
	(void)state;
	fail_each(FAULT_WRITE, ENOSPC, false);
	fail_each(FAULT_WRITE, ENOSPC, true);
}

static void any_file_call_may_fail(void **state)
{
	(void)state;
	fail_each(FAULT_FILES, EIO, false);
	fail_each(FAULT_FILES, EIO, true);
}

static void syncing_or_naming_may_fail(void **state)
{
	(void)state;
	fail_each(FAULT_FSYNC | FAULT_LINKAT, EIO, false);
	fail_each(FAULT_FSYNC | FAULT_LINKAT, EIO, true);
}

static void short_writes_and_interrupted_calls_are_continued(void **state)
{
	(void)state;
	fail_each(FAULT_WRITE | FAULT_PREAD, FAULT_SHORT, false);
	const char *dir = test_dir();
	text = archive_text(900000);
	for (unsigned n = 1;; n++) {
		struct gd_error err = { 0 };
		fault_arm(FAULT_WRITE | FAULT_PREAD, n, EINTR);
		int r = make(dir, &err);
		bool fired = fault_disarm();
		assert_ok(r, &err);
		look(dir, r, n);
		if (!fired)
			break;
	}
	free(text);
	text = NULL;
}

static void a_file_system_without_o_tmpfile_will_do(void **state)
{
	(void)state;
	const char *dir = test_dir();
	struct gd_error err = { 0 };
	text = archive_text(900000);
	for (unsigned n = 1; n < 8; n++) {
		fault_arm(FAULT_OPENAT, n, EOPNOTSUPP);
		int r = make(dir, &err);
		bool fired = fault_disarm();
		if (r < 0)
			assert_int_equal(r, -EOPNOTSUPP); /* the second way failed, too */
		look(dir, r, n);
		if (n == 1)
			assert_ok(r, &err);
		if (!fired)
			break;
	}
	free(text);
	text = NULL;
}

/* Reading, verifying and repairing: an error, never a wrong answer. */
static void readers_bear_failing_calls(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	const char *cut = test_file("cut.tar", file.data, file.len - 300000);
	const char *fixed = test_path("fixed.tar");
	static const struct {
		unsigned calls;
		int error;
	} faults[] = { { FAULT_MEMORY, ENOMEM }, { FAULT_FILES, EIO } };
	for (size_t k = 0; k < 2; k++) {
		for (unsigned n = 1;; n++) {
			GD_READER struct gd_reader reader = GD_READER_INIT;
			struct gd_verdict verdict = { 0 };
			struct gd_error err = { 0 };
			fault_arm(faults[k].calls, n, faults[k].error);
			int r = gd_reader_open(cut, &reader, &err);
			if (r == 0)
				r = gd_verify(&reader, NULL, NULL, &verdict, &err);
			if (r == 0)
				assert_false(verdict.complete);
			if (r == 0)
				r = gd_verify_repair(&reader, fixed, &verdict, &err);
			bool fired = fault_disarm();
			if (r == 0) {
				GD_READER struct gd_reader again = GD_READER_INIT;
				assert_ok(gd_reader_open(fixed, &again, &err), &err);
				assert_ok(gd_verify(&again, NULL, NULL, &verdict, &err), &err);
				assert_int_equal(verdict.blobs_bad + verdict.blobs_missing, 0);
				assert_int_equal(unlink(fixed), 0);
			} else {
				assert_int_equal(access(fixed, F_OK), -1);
			}
			if (!fired) {
				assert_ok(r, &err);
				break;
			}
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(any_allocation_may_fail),
		test_case(memory_may_run_out_for_good),
		test_case(any_write_may_find_the_disk_full),
		test_case(any_file_call_may_fail),
		test_case(syncing_or_naming_may_fail),
		test_case(short_writes_and_interrupted_calls_are_continued),
		test_case(a_file_system_without_o_tmpfile_will_do),
		test_case(readers_bear_failing_calls),
	};
	return test_run(tests);
}
