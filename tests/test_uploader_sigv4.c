/*
 * The signer against published vectors: AWS's signature version 4 test suite (service "service") and
 * the worked examples of the S3 API reference ("Authenticating Requests: Using the Authorization
 * Header").  Inputs and signatures are theirs.
 */
#include "uploader/sigv4.h"

#include <errno.h>
#include <string.h>

#include "tests/test.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void expect(const struct gd_sigv4_request *request, const char *signature)
{
	GD_BUF struct gd_buf header = GD_BUF_INIT(8192);
	struct gd_error err = { 0 };
	assert_ok(gd_sigv4_sign(request, &header, &err), &err);
	const char *at = strstr(gd_buf_str(&header), "Signature=");
	assert_non_null(at);
	assert_string_equal(at + strlen("Signature="), signature);
}

static struct gd_sigv4_request suite_request(const struct gd_sigv4_pair *headers, size_t n)
{
	return (struct gd_sigv4_request){
		.method = "GET",
		.path = "/",
		.headers = headers,
		.n_headers = n,
		.payload_sha256 = EMPTY,
		.access_key = "AKIDEXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1",
		.service = "service",
		.timestamp = "20150830T123600Z",
		.encode_path_twice = true,
	};
}

static const struct gd_sigv4_pair suite_headers[] = {
	{ "host", "example.amazonaws.com" },
	{ "x-amz-date", "20150830T123600Z" },
};

static void suite_get_vanilla(void **state)
{
	(void)state;
	struct gd_sigv4_request request = suite_request(suite_headers, 2);
	expect(&request, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

static void suite_query_is_sorted_by_key(void **state)
{
	(void)state;
	static const struct gd_sigv4_pair query[] = {
		{ "Param2", "value2" },
		{ "Param1", "value1" },
	};
	struct gd_sigv4_request request = suite_request(suite_headers, 2);
	request.query = query;
	request.n_query = 2;
	expect(&request, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

static struct gd_sigv4_request s3_request(const struct gd_sigv4_pair *headers, size_t n)
{
	return (struct gd_sigv4_request){
		.method = "GET",
		.path = "/",
		.headers = headers,
		.n_headers = n,
		.payload_sha256 = EMPTY,
		.access_key = "AKIAIOSFODNN7EXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1",
		.service = "s3",
		.timestamp = "20130524T000000Z",
	};
}

static void s3_get_with_a_range(void **state)
{
	(void)state;
	static const struct gd_sigv4_pair headers[] = {
		{ "x-amz-date", "20130524T000000Z" },
		{ "range", "bytes=0-9" },
		{ "host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-content-sha256", EMPTY },
	};
	struct gd_sigv4_request request = s3_request(headers, 4);
	request.path = "/test.txt";
	expect(&request, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void s3_put_with_a_dollar_in_the_key(void **state)
{
	(void)state;
	static const char *payload =
		"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	const struct gd_sigv4_pair headers[] = {
		{ "date", "Fri, 24 May 2013 00:00:00 GMT" },
		{ "host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-content-sha256", payload },
		{ "x-amz-date", "20130524T000000Z" },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
	};
	struct gd_sigv4_request request = s3_request(headers, 5);
	request.method = "PUT";
	request.path = "/test$file.text";
	request.payload_sha256 = payload;
	expect(&request, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void s3_query_without_a_value(void **state)
{
	(void)state;
	static const struct gd_sigv4_pair headers[] = {
		{ "host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-content-sha256", EMPTY },
		{ "x-amz-date", "20130524T000000Z" },
	};
	static const struct gd_sigv4_pair query[] = { { "lifecycle", "" } };
	struct gd_sigv4_request request = s3_request(headers, 3);
	request.query = query;
	request.n_query = 1;
	expect(&request, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void s3_list_with_two_parameters(void **state)
{
	(void)state;
	static const struct gd_sigv4_pair headers[] = {
		{ "host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-content-sha256", EMPTY },
		{ "x-amz-date", "20130524T000000Z" },
	};
	static const struct gd_sigv4_pair query[] = { { "prefix", "J" }, { "max-keys", "2" } };
	struct gd_sigv4_request request = s3_request(headers, 3);
	request.query = query;
	request.n_query = 2;
	expect(&request, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void keys_with_equals_colon_and_space_are_encoded_once(void **state)
{
	(void)state;
	GD_BUF struct gd_buf path = GD_BUF_INIT(256);
	gd_sigv4_encode(&path, "/b/dt=2026-11-20/a:b+c d~\xc3\xa4", true);
	assert_string_equal(gd_buf_str(&path), "/b/dt%3D2026-11-20/a%3Ab%2Bc%20d~%C3%A4");
}

static void a_name_sorts_before_a_longer_one_with_a_dash(void **state)
{
	(void)state;
	static const struct gd_sigv4_pair query[] = {
		{ "a-b", "1" }, { "a", "2" }, { "a.b", "3" }, { "a", "1" },
	};
	GD_BUF struct gd_buf text = GD_BUF_INIT(256);
	struct gd_error err = { 0 };
	assert_ok(gd_sigv4_query(&text, query, 4, &err), &err);
	assert_string_equal(gd_buf_str(&text), "a=1&a=2&a-b=1&a.b=3");
}

static void a_malformed_timestamp_is_refused(void **state)
{
	(void)state;
	GD_BUF struct gd_buf header = GD_BUF_INIT(8192);
	struct gd_error err = { 0 };
	struct gd_sigv4_request request = suite_request(suite_headers, 2);
	request.timestamp = "2015-08-30";
	assert_fails(gd_sigv4_sign(&request, &header, &err), -EINVAL, &err);
	assert_int_equal(header.len, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(suite_get_vanilla),
		test_case(suite_query_is_sorted_by_key),
		test_case(s3_get_with_a_range),
		test_case(s3_put_with_a_dollar_in_the_key),
		test_case(s3_query_without_a_value),
		test_case(s3_list_with_two_parameters),
		test_case(keys_with_equals_colon_and_space_are_encoded_once),
		test_case(a_name_sorts_before_a_longer_one_with_a_dash),
		test_case(a_malformed_timestamp_is_refused),
	};
	return test_run(tests);
}
