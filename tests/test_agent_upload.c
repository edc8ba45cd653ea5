/*
 * The uploader process against a real S3 server that verifies signatures, and against one that answers
 * badly, with the broker's end run here: what is stored is what the journal says, whoever dies.
 */
#include "agent/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/s3_server.h"
#include "tests/uploads.h"

/* Ids of the archives in a directory whose every byte is right, as uploads_journal gives them. */
static const char *stored(const char *dir)
{
	static char text[65536];
	char command[4600];
	text[0] = '\0';
	(void)snprintf(command, sizeof(command),
	               "cd '%s' 2>/dev/null && ls | sed -n 's/^godiag-\\(.*\\)\\.tar$/\\1/p' | "
	               "LC_ALL=C sort | tr '\\n' ' '",
	               dir);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	size_t n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	(void)pclose(pipe);
	return text;
}

static void assert_stored_is_what_the_journal_says(const char *dir)
{
	char path[4600];
	assert_string_equal(stored(dir), uploads_journal());
	char *names = strdup(stored(dir));
	char *rest = names;
	for (char *id; (id = strsep(&rest, " ")) != NULL && *id != '\0';) {
		(void)snprintf(path, sizeof(path), "%s/godiag-%s.tar", dir, id);
		if (!spool_verifies(path))
			fail_msg("%s is not what was sealed", path);
	}
	free(names);
}

static void add_many(struct uploads *u, const char *prefix, unsigned n, size_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		char id[40];
		(void)snprintf(id, sizeof(id), "%s%03u", prefix, i);
		spool_add(u->spool, id, (enum gd_spool_class)(i % GD_SPOOL_CLASSES), bytes);
	}
}

static struct uploads open_s3(const struct s3_server *server)
{
	char url[200];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence/x/", server->port);
	return uploads_open(url);
}

static bool is_idle(struct uploads *u)
{
	return u->peer != NULL && uploads_all_sent(u);
}

static bool has_failed(struct uploads *u)
{
	struct gd_spool_stats stats;
	gd_spool_stats(u->spool, &stats);
	return stats.failed_total >= 1;
}

static void archives_arrive_verified_and_new_ones_at_once(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	struct uploads u = open_s3(&server);
	add_many(&u, "a", 6, 300000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, is_idle));
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	/* it waits now: told, it takes the next one */
	assert_false(uploads_run(&u, 200, NULL));
	struct gd_error err = { 0 };
	add_many(&u, "b", 2, 1000);
	assert_ok(gd_upload_peer_wake(u.peer, &err), &err);
	assert_true(uploads_run(&u, 20000, is_idle));
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	assert_int_equal(uploads_end(&u), 0);
	assert_string_equal(spool_item(u.spool, "b001")->last_error, "");
	assert_int_equal(spool_item(u.spool, "b001")->attempts, 0);
	uploads_close(&u);
	s3_server_stop(&server);
}

static void the_uploader_may_be_killed_at_any_moment(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	struct uploads u = open_s3(&server);
	unsigned kills = 0;
	unsigned seed = 7;
	u.policy.budget.upload_bytes_per_s = 16 << 20;
	for (; kills < 100; kills++) {
		char prefix[16];
		(void)snprintf(prefix, sizeof(prefix), "k%02u-", kills);
		add_many(&u, prefix, 2, 400000);
		uploads_start(&u);
		(void)uploads_run(&u, 15 + (int)(rand_r(&seed) % 90), NULL);
		uploads_kill(&u);
		if (kills % 10 != 0)
			continue;
		/* whatever the journal says is there, is there */
		char *journal = strdup(uploads_journal());
		const char *there = stored(test_path("s3/evidence/x"));
		char *rest = journal;
		for (char *id; (id = strsep(&rest, " ")) != NULL && *id != '\0';)
			assert_contains(there, id);
		free(journal);
	}
	uploads_start(&u);
	assert_true(uploads_run(&u, 60000, uploads_all_sent));
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	struct gd_spool_stats stats;
	gd_spool_stats(u.spool, &stats);
	print_message("%u kills, %u archives, %u uploads in vain\n", kills, stats.done,
	              (unsigned)stats.failed_total);
	assert_int_equal(stats.done, 200);
	assert_true(stats.failed_total >= 10); /* killed while it had one */
	uploads_close(&u);
	s3_server_stop(&server);
}

static void the_server_may_go_and_come_back(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	struct uploads u = open_s3(&server);
	add_many(&u, "s", 60, 400000);
	u.policy.budget.upload_bytes_per_s = 16 << 20;
	uploads_start(&u);
	unsigned seed = 3;
	unsigned restarts = 0;
	for (; restarts < 6 && !uploads_all_sent(&u); restarts++) {
		(void)uploads_run(&u, 30 + (int)(rand_r(&seed) % 150), uploads_all_sent);
		s3_server_stop(&server);
		(void)uploads_run(&u, 150, uploads_all_sent);
		s3_server_restart(&server);
	}
	assert_true(uploads_run(&u, 60000, uploads_all_sent));
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	assert_true(restarts >= 2);
	uploads_close(&u);
	s3_server_stop(&server);
}

static void the_broker_may_be_killed_and_come_back(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	struct uploads u = open_s3(&server);
	add_many(&u, "r", 60, 400000);
	u.policy.budget.upload_bytes_per_s = 16 << 20;
	uploads_start(&u);
	for (int i = 0; i < 12 && !uploads_all_sent(&u); i++) {
		/* its memory goes, its connection ends; the uploader stays */
		gd_upload_peer_destroy(u.peer);
		u.peer = NULL;
		gd_spool_close(u.spool);
		u.spool = spool_open(NULL);
		(void)uploads_run(&u, 40 + i * 20, uploads_all_sent);
	}
	assert_true(uploads_run(&u, 60000, uploads_all_sent));
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	assert_int_equal(uploads_end(&u), 0);
	uploads_close(&u);
	s3_server_stop(&server);
}

static void a_directory_is_a_place_even_in_the_jail(void **state)
{
	(void)state;
	char url[600];
	(void)snprintf(url, sizeof(url), "file://%s", test_path("store"));
	struct uploads u = uploads_open(url);
	if (geteuid() == 0) { /* as its unit starts it: somebody with no rights at all */
		u.uid = 65534;
		assert_int_equal(mkdir(test_path("store"), 0700), 0);
		assert_int_equal(chown(test_path("store"), u.uid, u.uid), 0);
	}
	add_many(&u, "d", 5, 100000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, uploads_all_sent));
	assert_stored_is_what_the_journal_says(test_path("store"));
	assert_int_equal(uploads_end(&u), 0);
	uploads_close(&u);
}

static void tls_works_in_the_jail_and_strangers_are_not_trusted(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw_tls();
	struct gd_upload_state shown;
	char url[100];
	char bundle[4096];
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%d/evidence/x", server.port);
	(void)snprintf(bundle, sizeof(bundle), "%s", test_path("cert.pem"));
	struct uploads u = uploads_open(url);
	add_many(&u, "t", 3, 100000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, has_failed));
	gd_upload_peer_state(u.peer, &shown);
	assert_contains(shown.last_error, "certificate");
	assert_true(shown.permanent);
	assert_int_equal(uploads_end(&u), 0);
	assert_string_equal(stored(test_path("s3/evidence/x")), "");

	assert_int_equal(chmod(bundle, 0644), 0);
	(void)setenv("AWS_CA_BUNDLE", bundle, 1);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, uploads_all_sent));
	(void)unsetenv("AWS_CA_BUNDLE");
	assert_stored_is_what_the_journal_says(test_path("s3/evidence/x"));
	uploads_close(&u);
	s3_server_stop(&server);
}

static void without_a_place_it_waits_for_one(void **state)
{
	(void)state;
	char url[600];
	struct gd_error err = { 0 };
	struct s3_server server = s3_server_versitygw(); /* first: it may not be there, and skips */
	struct uploads u = uploads_open(NULL);
	add_many(&u, "w", 1, 100);
	uploads_start(&u);
	assert_false(uploads_run(&u, 700, uploads_all_sent));
	assert_non_null(u.peer);
	struct gd_policy reloaded = u.policy;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence/x", server.port);
	reloaded.upload = url;
	gd_upload_peer_policy(u.peer, &reloaded);
	assert_ok(gd_upload_peer_wake(u.peer, &err), &err);
	u.policy.upload = url;
	assert_true(uploads_run(&u, 20000, uploads_all_sent));
	s3_server_stop(&server);
	uploads_close(&u);
}

/* --- a server that answers badly ----------------------------------------------------------- */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define ANSWER(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static bool has_failed_six_times(struct uploads *u)
{
	struct gd_spool_stats stats;
	gd_spool_stats(u->spool, &stats);
	return stats.failed_total >= 6;
}

static void bad_answers_delete_nothing_and_show(void **state)
{
	(void)state;
	static const struct {
		const char *put, *head, *says;
		bool permanent;
	} cases[] = {
		{ ANSWER("500 Internal Server Error"), OK, "HTTP 500", false },
		{ ANSWER("503 Slow Down"), OK, "HTTP 503", false },
		{ "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<Error><Code>AccessDenied</Code>"
		  "<Message>no</Message></Error>", OK, "AccessDenied", true },
		{ "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<Error><Code>NoSuchBucket</Code>"
		  "</Error>", OK, "NoSuchBucket", true },
		{ "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\n"
		  "Content-Length: 0\r\nConnection: close\r\n\r\n", OK, "HTTP 307", true },
		{ OK, ANSWER("404 Not Found"), "HEAD after the PUT: HTTP 404", true },
		{ OK, OK, "has 0 bytes", false },
		{ "", OK, "PUT 127.0.0.1", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *answers[8] = { cases[i].put, cases[i].head, cases[i].put, cases[i].head,
			                   cases[i].put, cases[i].head, cases[i].put, cases[i].head };
		struct s3_server server = s3_server_canned(answers, 8);
		struct gd_upload_state shown;
		struct uploads u = open_s3(&server);
		spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
		uploads_start(&u);
		assert_true(uploads_run(&u, 20000, has_failed));
		gd_upload_peer_state(u.peer, &shown);
		assert_contains(shown.last_error, cases[i].says);
		assert_int_equal(shown.permanent, cases[i].permanent);
		assert_contains(spool_item(u.spool, "one")->last_error, cases[i].says);
		assert_false(spool_item(u.spool, "one")->uploaded);
		assert_true(spool_verifies(test_path("spool/ready/godiag-one.tar")));
		assert_string_equal(uploads_journal(), "");
		uploads_close(&u);
		s3_server_stop(&server);
		assert_int_equal(unlink(test_path("upload")), 0);
		assert_int_equal(unlink(test_path("spool/ready/godiag-one.tar")), 0);
		assert_int_equal(unlink(test_path("spool/journal")), 0);
	}
}

static void five_failures_open_the_circuit_and_one_success_closes_it(void **state)
{
	(void)state;
	const char *answers[] = { ANSWER("503 Slow Down") };
	if (access(victim_path("versitygw"), X_OK) < 0)
		test_skip("versitygw was not built: no server that comes back");
	struct s3_server server = s3_server_canned(answers, 1);
	struct gd_upload_state shown;
	struct uploads u = open_s3(&server);
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, has_failed_six_times));
	gd_upload_peer_state(u.peer, &shown);
	assert_true(shown.circuit_open);
	assert_false(shown.permanent);
	assert_true(shown.retry_realtime_ns > 0);
	assert_int_equal(shown.done, 0);
	s3_server_stop(&server);
	/* the same port, a real server now */
	int port = server.port;
	struct s3_server real = s3_server_versitygw();
	s3_server_stop(&real);
	real.port = port;
	real.pid = -1;
	s3_server_restart(&real);
	/* it was started with the other server's credentials: 403, until somebody mends that */
	(void)uploads_run(&u, 1000, uploads_all_sent);
	assert_int_equal(uploads_end(&u), 0);
	uploads_start(&u);
	assert_true(uploads_run(&u, 30000, uploads_all_sent));
	gd_upload_peer_state(u.peer, &shown);
	assert_false(shown.circuit_open);
	assert_int_equal(shown.retry_realtime_ns, 0);
	assert_int_equal(shown.done, 1);
	uploads_close(&u);
	s3_server_stop(&real);
}

static void silence_ends_after_the_stall_limit(void **state)
{
	(void)state;
	const char *answers[] = { S3_SILENCE };
	struct s3_server server = s3_server_canned(answers, 1);
	struct uploads u = open_s3(&server);
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, has_failed));
	assert_contains(spool_item(u.spool, "one")->last_error, "too slow");
	/* and a signal ends it in the middle, without counting a failure */
	unsigned attempts = spool_item(u.spool, "one")->attempts;
	s3_server_stop(&server);
	uploads_close(&u);
	assert_int_equal(attempts, 1);
}

static bool is_busy(struct uploads *u)
{
	struct gd_upload_state shown;
	if (u->peer == NULL)
		return false;
	gd_upload_peer_state(u->peer, &shown);
	return shown.busy;
}

static void told_to_end_it_gives_back_what_it_has(void **state)
{
	(void)state;
	const char *answers[] = { S3_SILENCE };
	struct s3_server server = s3_server_canned(answers, 1);
	struct uploads u = open_s3(&server);
	u.options.stall_s = 30;
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, is_busy));
	(void)uploads_run(&u, 200, NULL);
	assert_int_equal(uploads_end(&u), 0);
	(void)uploads_run(&u, 200, NULL);
	assert_null(u.peer);
	assert_int_equal(spool_item(u.spool, "one")->attempts, 0);
	uploads_close(&u);
	s3_server_stop(&server);
}

static void an_uploader_that_dies_of_an_archive_gets_another_one(void **state)
{
	(void)state;
	const char *answers[] = { S3_SILENCE };
	struct s3_server server = s3_server_canned(answers, 1);
	struct uploads u = open_s3(&server);
	struct gd_upload_state shown;
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
	spool_add(u.spool, "two", GD_SPOOL_PERIODIC, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, is_busy));
	gd_upload_peer_state(u.peer, &shown);
	assert_string_equal(shown.id, "one");
	uploads_kill(&u);
	(void)uploads_run(&u, 100, NULL);
	assert_contains(spool_item(u.spool, "one")->last_error, "ended while it had");
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, is_busy));
	gd_upload_peer_state(u.peer, &shown);
	assert_string_equal(shown.id, "two");
	uploads_close(&u);
	s3_server_stop(&server);
}

static bool new_is_sent(struct uploads *u)
{
	const struct gd_spool_item *item = spool_item(u->spool, "new");
	return item != NULL && item->uploaded;
}

static void one_that_fails_alone_does_not_hold_up_the_others(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char url[600];
	(void)snprintf(url, sizeof(url), "file://%s", test_path("store"));
	struct uploads u = uploads_open(url);
	u.options.backoff_min_ns = u.options.backoff_max_ns = UINT64_C(900000000000);
	u.options.jail = false; /* the directory is root's */
	/* somebody else's file has its name; it is asked again in up to a quarter of an hour */
	assert_int_equal(mkdir(test_path("store"), 0700), 0);
	(void)test_file("store/godiag-stuck.tar", "theirs", 6);
	spool_add(u.spool, "stuck", GD_SPOOL_CRASH, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, has_failed));
	assert_contains(spool_item(u.spool, "stuck")->last_error, "other content");
	spool_add(u.spool, "new", GD_SPOOL_PERIODIC, 1000);
	assert_ok(gd_upload_peer_wake(u.peer, &err), &err);
	assert_true(uploads_run(&u, 20000, new_is_sent));
	assert_string_equal(spool_ids(u.spool), "stuck new+");
	uploads_close(&u);
}

static void missing_credentials_are_shown_and_nothing_is_lost(void **state)
{
	(void)state;
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	(void)unsetenv("AWS_SECRET_ACCESS_KEY");
	struct uploads u = uploads_open("http://127.0.0.1:1/evidence");
	struct gd_upload_state shown;
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 1000);
	uploads_start(&u);
	assert_true(uploads_run(&u, 20000, has_failed));
	gd_upload_peer_state(u.peer, &shown);
	assert_true(shown.permanent);
	assert_contains(shown.last_error, "AWS_ACCESS_KEY_ID");
	assert_string_equal(spool_ids(u.spool), "one");
	uploads_close(&u);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(archives_arrive_verified_and_new_ones_at_once),
		test_case(the_uploader_may_be_killed_at_any_moment),
		test_case(the_server_may_go_and_come_back),
		test_case(the_broker_may_be_killed_and_come_back),
		test_case(a_directory_is_a_place_even_in_the_jail),
		test_case(tls_works_in_the_jail_and_strangers_are_not_trusted),
		test_case(without_a_place_it_waits_for_one),
		test_case(bad_answers_delete_nothing_and_show),
		test_case(five_failures_open_the_circuit_and_one_success_closes_it),
		test_case(silence_ends_after_the_stall_limit),
		test_case(told_to_end_it_gives_back_what_it_has),
		test_case(an_uploader_that_dies_of_an_archive_gets_another_one),
		test_case(one_that_fails_alone_does_not_hold_up_the_others),
		test_case(missing_credentials_are_shown_and_nothing_is_lost),
	};
	return test_run(tests);
}
