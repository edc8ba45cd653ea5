/*
 * An uploader that was taken over, as far as the broker can tell: whatever it says, only the archive it
 * has changes, and only a descriptor of a ready archive ever reaches it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/upload.h"
#include "agent/upload_record.h"
#include "base/message.h"
#include "tests/spools.h"

struct ends {
	struct gd_spool *spool;
	struct gd_upload_peer *peer;
	int fd; /* ours: the uploader's */
};

static char url[] = "s3://bucket/prefix";
static struct gd_policy policy = { .upload = url, .budget = { .upload_bytes_per_s = 4711 } };

static struct ends begin(void)
{
	struct ends e;
	struct gd_error err = { 0 };
	int fds[2];
	e.spool = spool_open(NULL);
	assert_ok(gd_message_pair(fds, &err), &err);
	e.fd = fds[0];
	assert_ok(gd_upload_peer_create(fds[1], e.spool, &policy, &e.peer, &err), &err);
	return e;
}

static void end(struct ends *e)
{
	gd_upload_peer_destroy(e->peer);
	(void)close(e->fd);
	gd_spool_close(e->spool);
}

static int say(struct ends *e, uint16_t type, uint32_t seq, const void *body, size_t n,
               struct gd_error *err)
{
	assert_ok(gd_message_send(e->fd, type, seq, body, n, NULL, 0, err), err);
	return gd_upload_peer_handle(e->peer, err);
}

static int ask(struct ends *e, struct gd_error *err)
{
	const struct gd_upload_ask body = { .version = GD_UPLOAD_VERSION };
	return say(e, GD_UPLOAD_ASK, 0, &body, sizeof(body), err);
}

/* The archive that came, with its descriptor; type 0: nothing came. */
static uint16_t hear(struct ends *e, struct gd_upload_give *ret, uint32_t *ret_seq, int *ret_fd)
{
	static char body[GD_MESSAGE_MAX];
	struct gd_message message;
	struct gd_error err = { 0 };
	assert_int_equal(fcntl(e->fd, F_SETFL, O_NONBLOCK), 0);
	if (gd_message_recv(e->fd, &message, body, sizeof(body), &err) != 1)
		return 0;
	if (message.type == GD_UPLOAD_GIVE) {
		assert_int_equal(message.len, sizeof(*ret));
		assert_int_equal(message.n_fds, 1);
		memcpy(ret, body, sizeof(*ret));
		*ret_seq = message.seq;
		*ret_fd = message.fds[0];
	}
	return message.type;
}

static void what_is_given_is_one_ready_archive_to_read(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_upload_give give;
	struct gd_error err = { 0 };
	struct stat st;
	struct stat file;
	uint32_t seq = 0;
	int fd = -1;
	spool_add(e.spool, "p", GD_SPOOL_PERIODIC, 100);
	spool_add(e.spool, "c", GD_SPOOL_CRASH, 100);
	assert_int_equal(hear(&e, &give, &seq, &fd), 0); /* not unasked */
	assert_ok(ask(&e, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_GIVE);
	assert_string_equal(give.id, "c");
	assert_string_equal(give.name, "godiag-c.tar");
	assert_string_equal(give.url, url);
	assert_int_equal(give.bytes_per_s, 4711);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(stat(test_path("spool/ready/godiag-c.tar"), &file), 0);
	assert_true(st.st_ino == file.st_ino && (uint64_t)st.st_size == give.bytes);
	(void)close(fd);

	struct gd_upload_done done = { .id = "c", .location = "s3://bucket/prefix/godiag-c.tar" };
	assert_ok(say(&e, GD_UPLOAD_DONE, seq, &done, sizeof(done), &err), &err);
	assert_string_equal(spool_ids(e.spool), "p c+");
	end(&e);
}

/* Brings it to an archive, then says something; that must be the end, and nothing uploaded. */
static void assert_hung_up(const char *what, uint16_t type, uint32_t seq_off, const void *body,
                           size_t n)
{
	struct ends e = begin();
	struct gd_upload_give give;
	struct gd_error err = { 0 };
	uint32_t seq = 0;
	int fd = -1;
	spool_add(e.spool, "one", GD_SPOOL_CRASH, 100);
	spool_add(e.spool, "two", GD_SPOOL_CRASH, 100);
	assert_ok(ask(&e, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_GIVE);
	(void)close(fd);
	int r = say(&e, type, seq + seq_off, body, n, &err);
	if (r != -EBADMSG)
		fail_msg("%s: %d instead of EBADMSG", what, r);
	assert_string_equal(spool_ids(e.spool), "one two");
	assert_int_equal(spool_item(e.spool, "two")->attempts, 0);
	end(&e);
	(void)unlink(test_path("spool/journal"));
	(void)unlink(test_path("spool/ready/godiag-one.tar"));
	(void)unlink(test_path("spool/ready/godiag-two.tar"));
}

static void whoever_misbehaves_is_hung_up_on(void **state)
{
	(void)state;
	const struct gd_upload_done good = { .id = "one", .location = "x" };
	const struct gd_upload_done other = { .id = "two", .location = "x" };
	const struct gd_upload_done nowhere = { .id = "one" };
	const struct gd_upload_done lines = { .id = "one", .location = "x\nD two 1 gone" };
	struct gd_upload_done endless = { .id = "one" };
	struct gd_upload_done no_id;
	struct gd_upload_failed failed = { .id = "one", .why = "no", .permanent = 2 };
	const struct gd_upload_ask odd = { .version = GD_UPLOAD_VERSION, .fresh_only = 2 };
	const struct gd_upload_give give = { .id = "one" };
	memset(endless.location, 'x', sizeof(endless.location));
	memset(&no_id, 'x', sizeof(no_id));
	assert_hung_up("another transfer", GD_UPLOAD_DONE, 1, &good, sizeof(good));
	assert_hung_up("another archive", GD_UPLOAD_DONE, 0, &other, sizeof(other));
	assert_hung_up("no location", GD_UPLOAD_DONE, 0, &nowhere, sizeof(nowhere));
	assert_hung_up("lines in a text", GD_UPLOAD_DONE, 0, &lines, sizeof(lines));
	assert_hung_up("no end of text", GD_UPLOAD_DONE, 0, &endless, sizeof(endless));
	assert_hung_up("no end of id", GD_UPLOAD_DONE, 0, &no_id, sizeof(no_id));
	assert_hung_up("too short", GD_UPLOAD_DONE, 0, &good, sizeof(good) - 1);
	assert_hung_up("empty", GD_UPLOAD_DONE, 0, "", 0);
	assert_hung_up("no truth value", GD_UPLOAD_FAILED, 0, &failed, sizeof(failed));
	failed.permanent = 0;
	memset(failed.why, 'x', sizeof(failed.why));
	assert_hung_up("no end of why", GD_UPLOAD_FAILED, 0, &failed, sizeof(failed));
	assert_hung_up("an odd question", GD_UPLOAD_ASK, 0, &odd, sizeof(odd));
	assert_hung_up("the broker's words", GD_UPLOAD_GIVE, 0, &give, sizeof(give));
	assert_hung_up("unknown", 77, 0, "", 0);
}

static void nothing_can_be_said_before_something_was_given(void **state)
{
	(void)state;
	const struct gd_upload_done done = { .id = "", .location = "x" };
	const struct gd_upload_done one = { .id = "one", .location = "x" };
	for (int i = 0; i < 2; i++) {
		struct ends e = begin();
		struct gd_error err = { 0 };
		if (i == 0)
			spool_add(e.spool, "one", GD_SPOOL_CRASH, 100);
		const struct gd_upload_done *body = i == 0 ? &one : &done;
		assert_fails(say(&e, GD_UPLOAD_DONE, 0, body, sizeof(*body), &err), -EBADMSG, &err);
		assert_string_equal(spool_ids(e.spool), "one");
		end(&e);
	}
}

static void asking_again_gets_no_second_archive(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_upload_give give;
	struct gd_error err = { 0 };
	uint32_t seq = 0;
	int fd = -1;
	spool_add(e.spool, "one", GD_SPOOL_CRASH, 100);
	spool_add(e.spool, "two", GD_SPOOL_CRASH, 100);
	assert_ok(ask(&e, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_GIVE);
	(void)close(fd);
	assert_ok(ask(&e, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), 0);
	end(&e);
}

static void only_fresh_ones_on_request(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_upload_give give;
	struct gd_error err = { 0 };
	const struct gd_upload_ask fresh = { .version = GD_UPLOAD_VERSION, .fresh_only = 1 };
	uint32_t seq = 0;
	int fd = -1;
	spool_add(e.spool, "stuck", GD_SPOOL_CRASH, 100);
	assert_ok(gd_spool_failed(e.spool, "stuck", "no", &err), &err);
	assert_ok(say(&e, GD_UPLOAD_ASK, 0, &fresh, sizeof(fresh), &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_IDLE);
	spool_add(e.spool, "new", GD_SPOOL_PERIODIC, 100);
	assert_ok(gd_upload_peer_wake(e.peer, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_GIVE);
	assert_string_equal(give.id, "new");
	(void)close(fd);
	end(&e);
}

static void descriptors_are_not_taken(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_error err = { 0 };
	const struct gd_upload_ask body = { .version = GD_UPLOAD_VERSION };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_ok(gd_message_send(e.fd, GD_UPLOAD_ASK, 0, &body, sizeof(body), &null, 1, &err),
	          &err);
	(void)close(null);
	assert_fails(gd_upload_peer_handle(e.peer, &err), -EBADMSG, &err);
	end(&e);
}

static void another_version_is_told_so(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_error err = { 0 };
	const struct gd_upload_ask body = { .version = GD_UPLOAD_VERSION + 1 };
	assert_fails(say(&e, GD_UPLOAD_ASK, 0, &body, sizeof(body), &err), -EBADMSG, &err);
	assert_contains(err.msg, "restart");
	end(&e);
}

static void an_archive_that_changed_is_passed_over(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_upload_give give;
	struct gd_error err = { 0 };
	uint32_t seq = 0;
	int fd = -1;
	spool_add(e.spool, "bad", GD_SPOOL_CRASH, 100);
	spool_add(e.spool, "link", GD_SPOOL_CRASH, 100);
	spool_add(e.spool, "good", GD_SPOOL_PERIODIC, 100);
	assert_int_equal(truncate(test_path("spool/ready/godiag-bad.tar"), 10), 0);
	assert_int_equal(unlink(test_path("spool/ready/godiag-link.tar")), 0);
	assert_int_equal(symlink("/etc/shadow", test_path("spool/ready/godiag-link.tar")), 0);
	assert_ok(ask(&e, &err), &err);
	assert_int_equal(hear(&e, &give, &seq, &fd), GD_UPLOAD_GIVE);
	assert_string_equal(give.id, "good");
	(void)close(fd);
	assert_contains(spool_item(e.spool, "bad")->last_error, "changed since");
	end(&e);
}

static void one_that_does_not_read_cannot_hold_up_the_broker(void **state)
{
	(void)state;
	struct ends e = begin();
	struct gd_error err = { 0 };
	int r = 0;
	/* asks and gives back, and never looks at what it was given */
	spool_add(e.spool, "one", GD_SPOOL_CRASH, 100);
	const struct gd_upload_return back = { .id = "one" };
	for (uint32_t i = 1; i < 5000 && r == 0; i++) {
		r = ask(&e, &err);
		if (r == 0)
			r = say(&e, GD_UPLOAD_RETURN, i, &back, sizeof(back), &err);
	}
	assert_fails(r, -EBADMSG, &err);
	assert_contains(err.msg, "does not read");
	end(&e);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_is_given_is_one_ready_archive_to_read),
		test_case(whoever_misbehaves_is_hung_up_on),
		test_case(nothing_can_be_said_before_something_was_given),
		test_case(asking_again_gets_no_second_archive),
		test_case(only_fresh_ones_on_request),
		test_case(descriptors_are_not_taken),
		test_case(another_version_is_told_so),
		test_case(an_archive_that_changed_is_passed_over),
		test_case(one_that_does_not_read_cannot_hold_up_the_broker),
	};
	return test_run(tests);
}
