#include "uploader/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/test.h"

static int check(const char *host, const char *address, struct gd_error *err)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		return gd_address_check((const struct sockaddr *)&in, host, err);
	assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
	return gd_address_check((const struct sockaddr *)&in6, host, err);
}

static void names_never_lead_to_this_host_or_its_metadata(void **state)
{
	(void)state;
	static const char *const forbidden[] = {
		"169.254.169.254",    "169.254.0.1",        "127.0.0.1",
		"127.8.8.8",          "0.0.0.0",            "::1",
		"::",                 "fe80::1",            "febf::1",
		"::ffff:127.0.0.1",   "::ffff:169.254.1.1", "::127.0.0.1",
		"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",    "fd00:ec2::254",
	};
	static const char *const fine[] = {
		"10.0.0.1",    "192.168.1.1", "52.218.0.1", "169.253.255.255", "169.255.0.1",
		"2a00::1",     "fd00::1",     "fec0::1",    "::ffff:10.0.0.1", "64:ff9b::a00:1",
		"128.0.0.1",
	};
	static const char *const hosts[] = { "s3.example.com", "s3.example.com:443", "10.1.1.1:80",
		                             "[2a00::2]:80", "localhost.example.com",
		                             "notlocalhost", "" };
	for (size_t h = 0; h < sizeof(hosts) / sizeof(*hosts); h++) {
		struct gd_error err = { 0 };
		for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
			assert_fails(check(hosts[h], forbidden[i], &err), -EACCES, &err);
			assert_contains(err.msg, "refused");
		}
		for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
			assert_ok(check(hosts[h], fine[i], &err), &err);
	}
}

static void a_url_may_say_so_literally(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	assert_ok(check("169.254.10.1:9000", "169.254.10.1", &err), &err);
	assert_fails(check("169.254.10.1:9000", "169.254.169.254", &err), -EACCES, &err);
	assert_ok(check("[fe80::7]:9000", "fe80::7", &err), &err);
	assert_fails(check("[fe80::7]:9000", "fe80::8", &err), -EACCES, &err);
	static const char *const loopback[] = { "127.0.0.1:7070", "127.1.2.3", "[::1]:80",
		                                "localhost", "localhost:7070", "LocalHost.",
		                                "s3.localhost:80" };
	for (size_t i = 0; i < sizeof(loopback) / sizeof(*loopback); i++) {
		assert_ok(check(loopback[i], "127.0.0.1", &err), &err);
		assert_ok(check(loopback[i], "::1", &err), &err);
		assert_fails(check(loopback[i], "169.254.169.254", &err), -EACCES, &err);
	}
}

static void other_families_are_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	const struct sockaddr local = { .sa_family = AF_UNIX };
	assert_fails(gd_address_check(&local, "localhost", &err), -EACCES, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(names_never_lead_to_this_host_or_its_metadata),
		test_case(a_url_may_say_so_literally),
		test_case(other_families_are_refused),
	};
	return test_run(tests);
}
