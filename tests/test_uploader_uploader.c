/*
 * Uploads of a whole file: into a directory, to a real S3 server that verifies signatures, and to
 * one that answers badly.
 */
#include "uploader/uploader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/s3_server.h"
#include "tests/test.h"
#include "uploader/digest.h"

#include <fcntl.h>

static const char *make_archive(size_t n)
{
	char *bytes = malloc(n);
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)(i * 31 + (i >> 8));
	const char *path = test_file("godiag-a b+c=d.tar", bytes, n);
	free(bytes);
	return path;
}

static void assert_same_content(const char *a, const char *b)
{
	GD_BUF struct gd_buf left = GD_BUF_INIT(8 << 20);
	GD_BUF struct gd_buf right = GD_BUF_INIT(8 << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, a, &left, &err), &err);
	assert_ok(gd_io_read_file_at(AT_FDCWD, b, &right, &err), &err);
	assert_int_equal(left.len, right.len);
	assert_memory_equal(left.data, right.data, left.len);
}

static void a_directory_gets_a_verified_copy_once(void **state)
{
	(void)state;
	char url[600];
	char archive[500];
	struct gd_uploaded done;
	struct gd_error err = { 0 };
	(void)snprintf(archive, sizeof(archive), "%s", make_archive(300000));
	(void)snprintf(url, sizeof(url), "file://%s", test_path("store"));
	assert_ok(gd_uploader_put(archive, url, &done, &err), &err);
	assert_int_equal(done.bytes, 300000);
	assert_same_content(archive, test_path("store/godiag-a b+c=d.tar"));
	assert_ok(gd_uploader_put(archive, url, &done, &err), &err);

	/* never over something else of the same name */
	(void)test_file("store/godiag-a b+c=d.tar", "other", 5);
	assert_fails(gd_uploader_put(archive, url, &done, &err), -EEXIST, &err);
	assert_contains(err.msg, "still at");
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
	(void)state;
	struct gd_uploaded done;
	struct gd_error err = { 0 };
	const char *archive = make_archive(10);
	assert_fails(gd_uploader_put(archive, "file:///proc/nowhere/store", &done, &err), -ENOENT,
	             &err);
	assert_contains(err.msg, "/proc/nowhere/store");
}

static void a_real_server_accepts_and_holds_the_same_bytes(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	char url[200];
	char archive[500];
	struct gd_uploaded done;
	struct gd_error err = { 0 };
	(void)snprintf(archive, sizeof(archive), "%s", make_archive(3 << 20));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence/dt=2026-11-20/web",
	               server.port);
	assert_ok(gd_uploader_put(archive, url, &done, &err), &err);
	assert_same_content(archive,
	                    test_path("s3/evidence/dt=2026-11-20/web/godiag-a b+c=d.tar"));
	assert_ok(gd_uploader_put(archive, url, &done, &err), &err);
	s3_server_stop(&server);
}

static void a_wrong_secret_is_refused_by_the_real_server(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	char url[200];
	struct gd_uploaded done;
	struct gd_error err = { 0 };
	(void)setenv("AWS_SECRET_ACCESS_KEY", "not it", 1);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence", server.port);
	const char *archive = make_archive(1000);
	assert_fails(gd_uploader_put(archive, url, &done, &err), -EACCES, &err);
	assert_contains(err.msg, "SignatureDoesNotMatch");
	s3_server_stop(&server);
}

static void a_missing_bucket_is_named_by_the_real_server(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	char url[200];
	struct gd_uploaded done;
	struct gd_error err = { 0 };
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/nobody", server.port);
	const char *archive = make_archive(1000);
	assert_fails(gd_uploader_put(archive, url, &done, &err), -ENOENT, &err);
	assert_contains(err.msg, "NoSuchBucket");
	s3_server_stop(&server);
}

static void bad_answers_are_never_success(void **state)
{
	(void)state;
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	static const struct {
		const char *put, *head, *says;
		int code;
	} cases[] = {
		{ "HTTP/1.1 503 Slow Down\r\nConnection: close\r\n\r\n<Error><Code>SlowDown</Code>"
		  "<Message>later\x1b[31m</Message></Error>",
		  ok, "HTTP 503 SlowDown: later\\x1b[31m", -EIO },
		{ "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
		  ok, "HTTP 307", -EIO },
		{ "", ok, "PUT 127.0.0.1", -EIO },
		{ ok, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		  "HEAD after the PUT: HTTP 404", -ENOENT },
		{ ok, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\nConnection: close\r\n\r\n",
		  "has 999 bytes instead of 1000", -EIO },
		{ ok, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n",
		  "does not carry our digest", -EIO },
		{ ok,
		  "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nx-amz-meta-godiag-sha256: "
		  "0000000000000000000000000000000000000000000000000000000000000000\r\n"
		  "Connection: close\r\n\r\n",
		  "does not carry our digest", -EIO },
	};
	char archive[500];
	(void)snprintf(archive, sizeof(archive), "%s", make_archive(1000));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *answers[] = { cases[i].put, cases[i].head };
		struct s3_server server = s3_server_canned(answers, 2);
		char url[200];
		struct gd_uploaded done;
		struct gd_error err = { 0 };
		(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence", server.port);
		assert_fails(gd_uploader_put(archive, url, &done, &err), cases[i].code, &err);
		assert_contains(err.msg, cases[i].says);
		s3_server_stop(&server);
	}
	assert_int_equal(access(archive, F_OK), 0);
}

static void missing_credentials_are_named_before_anything_happens(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	assert_fails(gd_uploader_check_url("s3://evidence/x", &err), -ENOKEY, &err);
	assert_contains(err.msg, "AWS_ACCESS_KEY_ID");
}

/* The connection ends instead of an answer, and the object is there: an earlier attempt of ours. */
static void what_is_there_although_the_answer_was_lost_is_uploaded(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_upload_digest digest;
	struct gd_uploaded done;
	char archive[500];
	char head[300];
	char url[200];
	(void)snprintf(archive, sizeof(archive), "%s", make_archive(1000));
	int fd = open(archive, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_ok(gd_upload_digest(fd, &digest, &err), &err);
	assert_int_equal(close(fd), 0);
	(void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n"
	               "x-amz-meta-godiag-sha256: %s\r\nConnection: close\r\n\r\n",
	               digest.sha256_hex);
	const char *answers[] = { "", head };
	struct s3_server server = s3_server_canned(answers, 2);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence", server.port);
	assert_ok(gd_uploader_put(archive, url, &done, &err), &err);
	assert_int_equal(done.bytes, 1000);
	s3_server_stop(&server);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_directory_gets_a_verified_copy_once),
		test_case(a_directory_that_cannot_be_made_is_named),
		test_case(a_real_server_accepts_and_holds_the_same_bytes),
		test_case(a_wrong_secret_is_refused_by_the_real_server),
		test_case(a_missing_bucket_is_named_by_the_real_server),
		test_case(bad_answers_are_never_success),
		test_case(what_is_there_although_the_answer_was_lost_is_uploaded),
		test_case(missing_credentials_are_named_before_anything_happens),
	};
	return test_run(tests);
}
