#include "policies/sampling.h"

#include <stdio.h>

#include "tests/test.h"

static void the_hash_never_changes(void **state)
{
	(void)state;
	/* A fleet is updated host by host: old and new have to agree on who captures. */
	const char *const one[] = { "gc-pause", "checkout" };
	const char *const none[] = { "" };
	assert_true(gd_sampling_hash(0, one, 2) == UINT64_C(0xc9ac4142b0f592b5));
	assert_true(gd_sampling_hash(42, one, 2) == UINT64_C(0x28e3b392a0e625bd));
	assert_true(gd_sampling_hash(0, none, 1) == UINT64_C(0x2b1b2a346a415819));
}

static void texts_do_not_run_into_each_other(void **state)
{
	(void)state;
	const char *const a[] = { "ab", "c" };
	const char *const b[] = { "a", "bc" };
	const char *const c[] = { "abc" };
	const char *const d[] = { "ab", "c", NULL };
	const char *const e[] = { "ab", "c", "" };
	assert_true(gd_sampling_hash(0, a, 2) != gd_sampling_hash(0, b, 2));
	assert_true(gd_sampling_hash(0, a, 2) != gd_sampling_hash(0, c, 1));
	assert_true(gd_sampling_hash(0, a, 2) != gd_sampling_hash(0, d, 3));
	assert_true(gd_sampling_hash(0, e, 3) == gd_sampling_hash(0, d, 3));
}

static unsigned chosen_of(unsigned hosts, const char *key, uint64_t k, uint64_t n)
{
	unsigned chosen = 0;
	for (unsigned i = 0; i < hosts; i++) {
		char host[32];
		(void)snprintf(host, sizeof(host), "node-%u", i);
		chosen += gd_sampling_chosen(host, &key, 1, k, n);
	}
	return chosen;
}

static void about_k_of_n_hosts_are_chosen_whatever_the_key(void **state)
{
	(void)state;
	for (unsigned key = 0; key < 50; key++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "alert-%u", key);
		/* 300 of 10000; four standard deviations are 68. */
		assert_in_range(chosen_of(10000, name, 3, 100), 232, 368);
	}
	assert_int_equal(chosen_of(100, "x", 0, 100), 0);
	assert_int_equal(chosen_of(100, "x", 100, 100), 100);
	assert_int_equal(chosen_of(100, "x", 200, 100), 100);
	assert_int_equal(chosen_of(100, "x", 1, 0), 100); /* nobody said of how many */
}

static void other_keys_choose_other_hosts(void **state)
{
	(void)state;
	const char *one = "one";
	const char *two = "two";
	unsigned both = 0;
	for (unsigned i = 0; i < 10000; i++) {
		char host[32];
		(void)snprintf(host, sizeof(host), "node-%u", i);
		both += gd_sampling_chosen(host, &one, 1, 1, 10) &&
		        gd_sampling_chosen(host, &two, 1, 1, 10);
	}
	assert_in_range(both, 60, 140); /* 100 expected when they know nothing of each other */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_hash_never_changes),
		test_case(texts_do_not_run_into_each_other),
		test_case(about_k_of_n_hosts_are_chosen_whatever_the_key),
		test_case(other_keys_choose_other_hosts),
	};
	return test_run(tests);
}
