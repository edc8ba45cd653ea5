/* Archives that a dead broker left are verified without privilege, and that costs the broker nothing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/upload.h"
#include "base/cleanup.h"
#include "tests/spools.h"

static struct spool_sealed seal(const char *id, size_t n)
{
	struct spool_sealed sealed;
	struct gd_error err = { 0 };
	assert_ok(spool_seal(test_dir(), id, "event", n, &sealed, &err), &err);
	return sealed;
}

static int examine(const char *name, struct gd_spool_facts *facts, struct gd_error *err)
{
	int fd = open(test_path(name), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return gd_upload_examine(fd, facts, err);
}

static void the_jailed_child_says_what_we_would_have_said(void **state)
{
	(void)state;
	struct gd_spool_facts jailed = { .id = "" };
	struct gd_spool_facts plain = { .id = "" };
	struct gd_error err = { 0 };
	struct spool_sealed sealed = seal("one", 300000);
	assert_ok(examine(sealed.name, &jailed, &err), &err);
	int fd = open(test_path(sealed.name), O_RDONLY | O_CLOEXEC);
	assert_ok(gd_spool_examine(fd, &plain, &err), &err);
	assert_string_equal(jailed.id, "one");
	assert_string_equal(jailed.trigger, "event");
	assert_string_equal(jailed.digest, sealed.digest);
	assert_string_equal(jailed.digest, plain.digest);
	assert_true(jailed.started_realtime_ns == plain.started_realtime_ns);
}

static void what_is_broken_is_refused(void **state)
{
	(void)state;
	struct gd_spool_facts facts;
	struct gd_error err = { 0 };
	struct spool_sealed sealed = seal("one", 300000);
	GD_CLOSE int fd = open(test_path(sealed.name), O_RDWR | O_CLOEXEC);
	char byte;
	assert_int_equal(pread(fd, &byte, 1, 5000), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 5000), 1);
	assert_fails(examine(sealed.name, &facts, &err), -EBADMSG, &err);
	(void)test_file("none", "no archive", 10);
	assert_fails(examine("none", &facts, &err), -EBADMSG, &err);
	(void)test_file("empty", "", 0);
	assert_true(examine("empty", &facts, &err) < 0);
}

static void a_spool_is_mended_with_it(void **state)
{
	(void)state;
	struct spool_sealed sealed;
	struct gd_spool_recovery recovery;
	struct gd_error err = { 0 };
	struct gd_spool *spool = spool_open(NULL);
	char ready[4096];
	(void)snprintf(ready, sizeof(ready), "%s", gd_spool_ready(spool));
	gd_spool_close(spool);
	assert_ok(spool_seal(ready, "good", "schedule", 100, &sealed, &err), &err);
	(void)test_file("spool/ready/bad.tar", "bad", 3);
	gd_spool_examine_by(gd_upload_examine);
	spool = spool_open(&recovery);
	gd_spool_examine_by(NULL);
	assert_int_equal(recovery.adopted, 1);
	assert_int_equal(recovery.quarantined, 1);
	assert_int_equal(spool_item(spool, "good")->class, GD_SPOOL_PERIODIC);
	gd_spool_close(spool);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_jailed_child_says_what_we_would_have_said),
		test_case(what_is_broken_is_refused),
		test_case(a_spool_is_mended_with_it),
	};
	return test_run(tests);
}
