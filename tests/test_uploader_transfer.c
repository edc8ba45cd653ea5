/*
 * The rules of a request, seen from the other end of the wire: a server that keeps what it was sent,
 * and answers as told.
 */
#include "uploader/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/s3_server.h"
#include "tests/test.h"
#include "uploader/uploader.h"

#define ANSWER(status, headers)                                                                    \
	"HTTP/1.1 " status "\r\n" headers "Content-Length: 0\r\nConnection: close\r\n\r\n"
#define OK ANSWER("200 OK", "")

static struct gd_upload_trouble trouble;
static struct gd_credentials credentials = { .access_key = "key", .secret_key = "secret" };

static int put_to(const char *url, size_t bytes, const struct gd_transfer_options *options,
                  struct gd_error *err)
{
	struct gd_uploaded done;
	int fd = open(test_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	int r = gd_uploader_put_fd(fd, "a.tar", url, &credentials, options, &done, &trouble, err);
	(void)close(fd);
	return r;
}

static int put(const struct s3_server *server, size_t bytes,
               const struct gd_transfer_options *options, struct gd_error *err)
{
	char url[100];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/bucket", server->port);
	return put_to(url, bytes, options, err);
}

static const struct gd_transfer_options plain = { .stall_s = 2 };

static void the_environment_has_no_say_in_where_things_go(void **state)
{
	(void)state;
	static const char *const names[] = { "http_proxy", "https_proxy", "HTTP_PROXY",
		                             "HTTPS_PROXY", "ALL_PROXY", "all_proxy" };
	const char *proxied[] = { ANSWER("599 the proxy was asked", "") };
	const char *direct[] = { ANSWER("403 the server was asked", "") };
	struct s3_server proxy = s3_server_canned(proxied, 1);
	struct s3_server server = s3_server_canned(direct, 1);
	struct gd_error err = { 0 };
	char text[100];
	(void)snprintf(text, sizeof(text), "http://127.0.0.1:%d", proxy.port);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)setenv(names[i], text, 1);
	assert_fails(put(&server, 100, &plain, &err), -EACCES, &err);
	assert_int_equal(trouble.status, 403);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)unsetenv(names[i]);
	s3_server_stop(&proxy);
	s3_server_stop(&server);
}

static void redirects_are_errors(void **state)
{
	(void)state;
	const char *target[] = { OK };
	struct s3_server elsewhere = s3_server_canned(target, 1);
	static const char *const statuses[] = { "301 Moved", "302 Found", "307 Temporary Redirect",
		                                "308 Permanent Redirect" };
	for (size_t i = 0; i < 4; i++) {
		char answer[300];
		(void)snprintf(answer, sizeof(answer),
		               "HTTP/1.1 %s\r\nLocation: http://127.0.0.1:%d/bucket/a.tar\r\n"
		               "Content-Length: 0\r\nConnection: close\r\n\r\n",
		               statuses[i], elsewhere.port);
		const char *answers[] = { answer };
		struct s3_server server = s3_server_canned(answers, 1);
		struct gd_error err = { 0 };
		assert_fails(put(&server, 100, &plain, &err), -EIO, &err);
		assert_true(trouble.permanent);
		s3_server_stop(&server);
	}
	s3_server_stop(&elsewhere);
}

/* In a mount namespace of its own a name means whatever we like. */
static int put_to_name(const char *hosts, const char *url, int port)
{
	struct gd_error err = { 0 };
	char full[200];
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) < 0)
		return 77;
	(void)snprintf(full, sizeof(full), "http://%s:%d/bucket", url, port);
	int r = put_to(full, 100, &plain, &err);
	(void)fprintf(stderr, "# %s\n", err.msg);
	if (r == -EACCES && trouble.permanent && strstr(err.msg, "refused") != NULL)
		return 1;
	return r == -EACCES && trouble.status == 403 ? 2 : 3;
}

static void names_that_mean_this_host_or_its_metadata_are_refused(void **state)
{
	(void)state;
	static const char hosts[] = "127.0.0.1 s3.example\n169.254.169.254 meta.example\n"
				    "127.0.0.1 bucket.localhost\n";
	static const struct {
		const char *host;
		int code; /* 1: refused, 2: the server was reached */
	} cases[] = { { "s3.example", 1 }, { "meta.example", 1 }, { "bucket.localhost", 2 },
		      { "127.0.0.1", 2 } };
	if (geteuid() != 0)
		test_skip("needs root to say what names mean");
	const char *answers[] = { ANSWER("403 reached", "") };
	struct s3_server server = s3_server_canned(answers, 1);
	const char *file = test_file("hosts", hosts, strlen(hosts));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(put_to_name(file, cases[i].host, server.port));
		int status = -1;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77) {
			s3_server_stop(&server);
			test_skip("no mount namespace of our own here");
		}
		assert_int_equal(WEXITSTATUS(status), cases[i].code);
	}
	s3_server_stop(&server);
}

static void what_failed_says_whether_to_try_again(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		bool permanent;
		unsigned retry_after_s;
	} cases[] = {
		{ ANSWER("500 x", ""), false, 0 },
		{ ANSWER("502 x", ""), false, 0 },
		{ ANSWER("503 x", "Retry-After: 17\r\n"), false, 17 },
		{ ANSWER("429 x", "Retry-After: 90000000\r\n"), false, 21600 },
		{ ANSWER("408 x", "Retry-After: soon\r\n"), false, 0 },
		{ ANSWER("409 x", ""), false, 0 },
		{ ANSWER("400 x", ""), true, 0 },
		{ ANSWER("401 x", ""), true, 0 },
		{ ANSWER("403 x", ""), true, 0 },
		{ ANSWER("404 x", ""), true, 0 },
		{ ANSWER("405 x", ""), true, 0 },
		{ "HTTP/1.1 400 x\r\nConnection: close\r\n\r\n<Error><Code>RequestTimeout</Code>"
		  "</Error>", false, 0 },
		{ "HTTP/1.1 403 x\r\nConnection: close\r\n\r\n<Error><Code>RequestTimeTooSkewed"
		  "</Code></Error>", false, 0 },
		{ "garbage\r\n\r\n", false, 0 },
		{ "", false, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *answers[] = { cases[i].answer };
		struct s3_server server = s3_server_canned(answers, 1);
		struct gd_error err = { 0 };
		assert_true(put(&server, 100, &plain, &err) < 0);
		if (trouble.permanent != cases[i].permanent)
			fail_msg("%s: permanent %d", cases[i].answer, trouble.permanent);
		assert_int_equal(trouble.retry_after_ns, cases[i].retry_after_s * 1000000000ULL);
		s3_server_stop(&server);
	}
}

/* The digest header of 100 zero bytes, as a HEAD answers it. */
#define ZEROS_SHA "cd00e292c5970d3c5e2f0ffa5171e555bc46bfc4faddfb4a418b6840b86e79a3"
#define HEAD_OF(bytes, sha)                                                                        \
	"HTTP/1.1 200 OK\r\nContent-Length: " bytes "\r\nx-amz-meta-godiag-sha256: " sha           \
	"\r\nConnection: close\r\n\r\n"

static void what_is_there_already_is_verified_not_overwritten(void **state)
{
	(void)state;
	static const struct {
		const char *answers[5];
		size_t n;
		int code;
		bool permanent;
		const char *says;
	} cases[] = {
		/* ours, whole */
		{ { ANSWER("412 x", ""), HEAD_OF("100", ZEROS_SHA) }, 2, 0, false, NULL },
		/* somebody else's */
		{ { ANSWER("412 x", ""), HEAD_OF("100", "00") }, 2, -EEXIST, true, "another object" },
		{ { ANSWER("412 x", ""), HEAD_OF("99", "00") }, 2, -EEXIST, true, "another object" },
		/* ours, broken by an earlier attempt: once more, without the condition */
		{ { ANSWER("412 x", ""), HEAD_OF("50", ZEROS_SHA), OK, HEAD_OF("100", ZEROS_SHA) },
		  4, 0, false, NULL },
		{ { ANSWER("412 x", ""), HEAD_OF("50", ZEROS_SHA), OK, HEAD_OF("50", ZEROS_SHA) },
		  4, -EIO, false, "50 bytes" },
		/* a server that knows no conditions */
		{ { ANSWER("501 x", ""), OK, HEAD_OF("100", ZEROS_SHA) }, 3, 0, false, NULL },
		{ { ANSWER("501 x", ""), ANSWER("501 x", "") }, 2, -EIO, true, "HTTP 501" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct s3_server server = s3_server_canned(cases[i].answers, cases[i].n);
		struct gd_error err = { 0 };
		int r = put(&server, 100, &plain, &err);
		if (r != cases[i].code)
			fail_msg("case %zu: %d (%s) instead of %d", i, r, err.msg, cases[i].code);
		if (r < 0) {
			assert_contains(err.msg, cases[i].says);
			assert_int_equal(trouble.permanent, cases[i].permanent);
		}
		s3_server_stop(&server);
	}
}

static bool never(void *arg)
{
	(*(unsigned *)arg)++;
	return false;
}

static void the_rate_is_kept(void **state)
{
	(void)state;
	const char *answers[] = { OK, HEAD_OF("3000000", "00") };
	struct s3_server server = s3_server_canned(answers, 2);
	struct gd_error err = { 0 };
	unsigned asked = 0;
	const struct gd_transfer_options options = { .bytes_per_s = 1500000, .stop = never,
		                                     .stop_arg = &asked };
	int64_t start = gd_clock_monotonic_ns();
	assert_fails(put(&server, 3000000, &options, &err), -EIO, &err);
	/* two seconds' worth; a slow machine can only make it longer */
	assert_true(gd_clock_monotonic_ns() - start > 900000000);
	assert_true(asked > 2);
	s3_server_stop(&server);
}

static bool at_once(void *arg)
{
	(void)arg;
	return true;
}

static void a_transfer_can_be_stopped_and_does_not_wait_for_ever(void **state)
{
	(void)state;
	const char *answers[] = { S3_SILENCE };
	struct s3_server server = s3_server_canned(answers, 1);
	struct gd_error err = { 0 };
	const struct gd_transfer_options stop = { .stop = at_once };
	assert_fails(put(&server, 1000, &stop, &err), -ECANCELED, &err);
	s3_server_stop(&server);
	server = s3_server_canned(answers, 1);
	assert_fails(put(&server, 1000, &plain, &err), -EIO, &err);
	assert_contains(err.msg, "too slow");
	assert_false(trouble.permanent);
	s3_server_stop(&server);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_environment_has_no_say_in_where_things_go),
		test_case(redirects_are_errors),
		test_case(names_that_mean_this_host_or_its_metadata_are_refused),
		test_case(what_failed_says_whether_to_try_again),
		test_case(what_is_there_already_is_verified_not_overwritten),
		test_case(the_rate_is_kept),
		test_case(a_transfer_can_be_stopped_and_does_not_wait_for_ever),
	};
	return test_run(tests);
}
