/*
 * A policy when memory runs out or a file cannot be read: a whole one or none, and an error that
 * says so; never half a policy, never a crash, never a leak (the sanitizers' part).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "policies/policy.h"
#include "tests/fault.h"
#include "tests/test.h"

static const char *put(const char *name, const char *text)
{
	return test_file(name, text, strlen(text));
}

static const char *two_files(void)
{
	assert_int_equal(mkdir(test_path("etc"), 0755), 0);
	assert_int_equal(mkdir(test_path("etc/policy.d"), 0755), 0);
	(void)put("etc/policy.yaml",
	          "rules:\n"
	          "  - {name: a, service: s, when: {alert: A, labels: {x: y, z: w}}}\n"
	          "  - {name: m, service: s, when: {metric: http_p99, above: 1s}}\n"
	          "upload: file:///x\nhook: {listen: 127.0.0.1:1, tokens: /x}\n");
	(void)put("etc/policy.d/x.yaml",
	          "services:\n"
	          "  - name: s\n"
	          "    match: {unit: a.service, exe: /a, comm: a, cmdline: a, cgroup: /a,\n"
	          "            container: '*-a'}\n"
	          "    scrape: http://127.0.0.1/m\n"
	          "upload: file:///y\n");
	return test_path("etc");
}

/* The n-th of such calls fails, for every n there is. */
static void try_all(unsigned calls, int code)
{
	const char *path = two_files();
	for (unsigned n = 1;; n++) {
		struct gd_policy *policy = NULL;
		struct gd_findings findings = { 0 };
		struct gd_error err = { 0 };
		fault_arm(calls, n, code);
		int r = gd_policy_load(path, &policy, &findings, &err);
		bool failed = fault_disarm();
		gd_findings_deinit(&findings);
		if (!failed) {
			assert_ok(r, &err);
			assert_int_equal(policy->n_rules, 2);
			assert_string_equal(policy->upload, "file:///y");
			gd_policy_free(policy);
			assert_true(n > 3);
			return;
		}
		if (r != -code && r != -EINVAL)
			fail_msg("call %u: %d, %s", n, r, err.msg);
		assert_int_equal(err.code, r);
		assert_true(err.msg[0] != '\0');
		assert_null(policy);
	}
}

static void without_memory_there_is_no_policy(void **state)
{
	(void)state;
	try_all(FAULT_MEMORY, ENOMEM);
}

static void without_its_files_there_is_no_policy(void **state)
{
	(void)state;
	try_all(FAULT_READ | FAULT_OPENAT, EIO);
}

static void errors_count_when_there_is_no_memory_to_keep_them(void **state)
{
	(void)state;
	static const char text[] = "services: [{name: s}]\nrules: [{name: r, service: x}]\nx: y\n";
	for (unsigned n = 1;; n++) {
		struct gd_policy *policy = NULL;
		struct gd_findings findings = { 0 };
		struct gd_error err = { 0 };
		fault_arm(FAULT_REALLOC, n, ENOMEM);
		int r = gd_policy_parse("p.yaml", text, strlen(text), &policy, &findings, &err);
		bool failed = fault_disarm();
		assert_null(policy);
		assert_true(r == -EINVAL || (failed && r == -ENOMEM));
		if (r == -EINVAL)
			assert_true(findings.n_errors > 0 && findings.n <= findings.n_errors);
		if (!failed)
			assert_int_equal(findings.n, 4);
		gd_findings_deinit(&findings);
		if (!failed)
			return;
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(without_memory_there_is_no_policy),
		test_case(without_its_files_there_is_no_policy),
		test_case(errors_count_when_there_is_no_memory_to_keep_them),
	};
	return test_run(tests);
}
