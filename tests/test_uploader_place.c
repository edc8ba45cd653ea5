#include "uploader/place.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/test.h"

static void clear_environment(void)
{
	static const char *const names[] = { "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL",
		                             "AWS_REGION", "AWS_DEFAULT_REGION" };
	for (size_t i = 0; i < 4; i++)
		(void)unsetenv(names[i]);
}

static struct gd_place parsed(const char *url)
{
	struct gd_place place;
	struct gd_error err = { 0 };
	assert_ok(gd_place_parse(url, &place, &err), &err);
	return place;
}

static void a_directory(void **state)
{
	(void)state;
	struct gd_place place = parsed("file:///var/lib/godiag/store");
	assert_true(place.is_directory);
	assert_string_equal(place.directory, "/var/lib/godiag/store");
	assert_string_equal(parsed("file://store").directory, "store");
}

static void amazon_by_bucket_host(void **state)
{
	(void)state;
	clear_environment();
	(void)setenv("AWS_REGION", "eu-west-1", 1);
	struct gd_place place = parsed("s3://evidence/prod/web");
	assert_true(place.tls);
	assert_string_equal(place.host, "evidence.s3.eu-west-1.amazonaws.com");
	assert_string_equal(place.bucket, "");
	assert_string_equal(place.prefix, "prod/web/");
	assert_string_equal(place.region, "eu-west-1");
}

static void a_dotted_bucket_is_addressed_by_path(void **state)
{
	(void)state;
	clear_environment();
	struct gd_place place = parsed("s3://my.evidence");
	assert_string_equal(place.host, "s3.us-east-1.amazonaws.com");
	assert_string_equal(place.bucket, "my.evidence");
	assert_string_equal(place.prefix, "");
}

static void another_endpoint_from_the_environment(void **state)
{
	(void)state;
	clear_environment();
	(void)setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7070", 1);
	struct gd_place place = parsed("s3://evidence/a/");
	assert_false(place.tls);
	assert_string_equal(place.host, "127.0.0.1:7070");
	assert_string_equal(place.bucket, "evidence");
	assert_string_equal(place.prefix, "a/");
	clear_environment();
}

static void an_endpoint_url_with_bucket_and_prefix(void **state)
{
	(void)state;
	struct gd_place place = parsed("https://minio.example:9000/evidence/dt%3D1/x");
	assert_string_equal(place.host, "minio.example:9000");
	assert_string_equal(place.bucket, "evidence");
	assert_string_equal(place.prefix, "dt=1/x/");
	assert_string_equal(parsed("https://h.example:443/evidence").host, "h.example");
	assert_string_equal(parsed("http://h.example:443/evidence").host, "h.example:443");
}

static void what_cannot_be_used_says_what_to_write(void **state)
{
	(void)state;
	clear_environment();
	static const struct {
		const char *url, *says;
	} bad[] = {
		{ "ftp://host/bucket", "cannot upload there" },
		{ "evidence", "cannot upload there" },
		{ "https://host", "names no bucket" },
		{ "https://host/UPPER/x", "names no bucket" },
		{ "s3://", "names no bucket" },
		{ "file://", "names no directory" },
		{ "https://key:secret@host/bucket", "credentials do not belong" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct gd_place place;
		struct gd_error err = { 0 };
		assert_fails(gd_place_parse(bad[i].url, &place, &err), -EINVAL, &err);
		assert_contains(err.msg, bad[i].says);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_directory),
		test_case(amazon_by_bucket_host),
		test_case(a_dotted_bucket_is_addressed_by_path),
		test_case(another_endpoint_from_the_environment),
		test_case(an_endpoint_url_with_bucket_and_prefix),
		test_case(what_cannot_be_used_says_what_to_write),
	};
	return test_run(tests);
}
