#include "policies/match.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

static void patterns_match_whole_texts(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool holds;
	} rows[] = {
		{ "checkout.service", "checkout.service", true },
		{ "checkout.service", "checkout.services", false },
		{ "checkout.service", "xcheckout.service", false },
		{ "checkout*", "checkout", true },
		{ "*", "", true },
		{ "*", "/any/thing", true },
		{ "", "", true },
		{ "", "x", false },
		{ "x", "", false },
		{ "/usr/*/checkout", "/usr/local/bin/checkout", true },
		{ "/usr/*/checkout", "/usr/checkout", false },
		{ "checkout@?.service", "checkout@1.service", true },
		{ "checkout@?.service", "checkout@.service", false },
		{ "checkout@?.service", "checkout@12.service", false },
		{ "a*b*c", "abbbcbc", true },
		{ "a*b*c", "abcb", false },
		{ "*--role=api*", "/bin/x --role=api --v", true },
		{ "*--role=api*", "/bin/x --role=apo", false },
		{ "**x", "aax", true },
		{ "*x*", "aay", false },
		{ "[abc]", "b", true },
		{ "[a-c]", "c", true },
		{ "[a-c]", "d", false },
		{ "[!a-c]", "d", true },
		{ "[!a-c]", "b", false },
		{ "[^a-c]", "b", false },
		{ "[]]", "]", true },
		{ "[]-a]", "^", true },
		{ "[!]]", "]", false },
		{ "[a-]", "-", true },
		{ "[a-]", "b", false },
		{ "worker-[0-9]*.service", "worker-17.service", true },
		{ "\\*", "*", true },
		{ "\\*", "x", false },
		{ "\\[x", "[x", true },
		{ "a\\\\b", "a\\b", true },
		{ "?", "\xff", true },
		{ "[\x80-\xff]", "\xe2", true },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct gd_error err = { 0 };
		assert_ok(gd_match_glob_check(rows[i].pattern, &err), &err);
		if (gd_match_glob(rows[i].pattern, rows[i].text) != rows[i].holds)
			fail_msg("%s on %s", rows[i].pattern, rows[i].text);
	}
}

static void open_brackets_and_lone_backslashes_are_refused(void **state)
{
	(void)state;
	static const char *const patterns[] = { "[", "a[", "[a", "[]", "[!", "[!]", "[^]", "x\\",
		                                "[a]\\" };
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct gd_error err = { 0 };
		assert_fails(gd_match_glob_check(patterns[i], &err), -EINVAL, &err);
		assert_contains(err.msg, patterns[i]);
	}
}

/* fnmatch needs longer than the universe for this one; here the steps are n times m. */
static void many_stars_end(void **state)
{
	(void)state;
	char *text = malloc(4097);
	assert_non_null(text);
	memset(text, 'a', 4096);
	text[4096] = '\0';
	assert_false(gd_match_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
	assert_true(gd_match_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", text));
	free(text);
}

static struct gd_policy *policy_of(const char *text)
{
	struct gd_policy *policy = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_policy_parse("p.yaml", text, strlen(text), &policy, NULL, &err), &err);
	return policy;
}

static struct gd_facts some_facts(void)
{
	static const uint16_t ports[] = { 80, 8080 };
	return (struct gd_facts){
		.unit = "shop.service", .exe = "/usr/bin/shop", .comm = "shop",
		.cmdline = "/usr/bin/shop --role=api", .cgroup = "/system.slice/shop.service",
		.container = "4f1c9b7d2e0a11223344556677889900aabbccddeeff00112233445566778899",
		.pod_uid = "0a1b2c3d-0000-1111-2222-333344445555",
		.ports = ports, .n_ports = 2, .uid = 1000,
	};
}

static bool holds(const char *match)
{
	char text[400];
	struct gd_facts facts = some_facts();
	(void)snprintf(text, sizeof(text), "services: [{name: s, match: %s}]\n", match);
	struct gd_policy *policy = policy_of(text);
	int found = gd_match_find(policy, &facts);
	gd_policy_free(policy);
	return found == 0;
}

static void each_key_of_a_match_is_looked_at(void **state)
{
	(void)state;
	assert_true(holds("{unit: shop.service}"));
	assert_false(holds("{unit: chop.service}"));
	assert_true(holds("{exe: /usr/bin/shop}"));
	assert_true(holds("{exe: '*/shop'}"));
	assert_false(holds("{exe: /usr/bin/sho}"));
	assert_true(holds("{comm: sh*}"));
	assert_false(holds("{comm: s}"));
	assert_true(holds("{cmdline: '* --role=api'}"));
	assert_false(holds("{cmdline: '* --role=job'}"));
	assert_true(holds("{cgroup: '/system.slice/*'}"));
	assert_false(holds("{cgroup: '/user.slice/*'}"));
	assert_true(holds("{listen: 8080}"));
	assert_false(holds("{listen: 8081}"));
	assert_true(holds("{uid: 1000}"));
	assert_false(holds("{uid: 0}"));
	assert_true(holds("{container: 4f1c9b7d2e0a}"));
	assert_false(holds("{container: 4f1c9b7d2e0b}"));
	assert_true(holds("{container: '0a1b2c3d-*'}"));
	assert_false(holds("{container: '1a1b2c3d-*'}"));
}

static void all_keys_of_a_match_must_hold(void **state)
{
	(void)state;
	assert_true(holds("{unit: shop.service, listen: 80, uid: 1000}"));
	assert_false(holds("{unit: shop.service, listen: 81, uid: 1000}"));
	assert_false(holds("{unit: shop.service, listen: 80, uid: 1001}"));
}

static void what_is_unknown_matches_nothing(void **state)
{
	(void)state;
	struct gd_facts facts = { .unit = "", .exe = "", .comm = "", .cmdline = "", .cgroup = "",
		                  .container = "", .pod_uid = "", .uid = -1 };
	struct gd_policy *policy = policy_of("services:\n"
	                                     "  - {name: a, match: {uid: 0}}\n"
	                                     "  - {name: b, match: {listen: 1}}\n"
	                                     "  - {name: c, match: {comm: 's*', exe: '*'}}\n"
	                                     "  - {name: d, match: {unit: '*.*'}}\n"
	                                     "  - {name: e, match: {container: '*-*'}}\n");
	assert_int_equal(gd_match_find(policy, &facts), -1);
	facts = (struct gd_facts){ .uid = -1 };
	assert_int_equal(gd_match_find(policy, &facts), -1);
	facts.comm = "shop"; /* exe of a kernel thread or of another user: "*" does not mean it */
	assert_int_equal(gd_match_find(policy, &facts), -1);
	gd_policy_free(policy);
}

static void the_first_service_that_matches_has_it(void **state)
{
	(void)state;
	struct gd_facts facts = some_facts();
	struct gd_policy *policy = policy_of("services:\n"
	                                     "  - {name: other, match: {comm: other}}\n"
	                                     "  - {name: api, match: {cmdline: '*--role=api*'}}\n"
	                                     "  - {name: shop, match: {comm: shop}}\n");
	assert_int_equal(gd_match_find(policy, &facts), 1);
	facts.cmdline = "/usr/bin/shop --role=job";
	assert_int_equal(gd_match_find(policy, &facts), 2);
	gd_policy_free(policy);
}

static void a_static_pod_has_a_uid_without_dashes(void **state)
{
	(void)state;
	struct gd_facts facts = { .container = "", .uid = -1,
		                  .pod_uid = "0123456789abcdef0123456789abcdef" };
	struct gd_policy *policy = policy_of(
		"services: [{name: s, match: {container: 0123456789abcdef0123456789abcdef}}]\n");
	assert_int_equal(gd_match_find(policy, &facts), 0);
	gd_policy_free(policy);
}

static void only_facts_that_somebody_asks_for_are_needed(void **state)
{
	(void)state;
	struct gd_policy *none = policy_of("services: []\n");
	struct gd_policy *two = policy_of("services:\n"
	                                  "  - {name: a, match: {unit: a.service, uid: 0}}\n"
	                                  "  - {name: b, match: {listen: 80}}\n");
	struct gd_policy *rest = policy_of("services:\n"
	                                   "  - {name: a, match: {exe: /a, comm: a, cmdline: a, "
	                                   "cgroup: /a, container: '*-a'}}\n");
	assert_int_equal(gd_match_needs(none), 0);
	assert_int_equal(gd_match_needs(two), GD_FACT_UNIT | GD_FACT_UID | GD_FACT_LISTEN);
	assert_int_equal(gd_match_needs(rest), GD_FACT_EXE | GD_FACT_COMM | GD_FACT_CMDLINE |
	                                               GD_FACT_CGROUP | GD_FACT_CONTAINER);
	gd_policy_free(none);
	gd_policy_free(two);
	gd_policy_free(rest);
}

static void units_are_found_in_cgroup_paths(void **state)
{
	(void)state;
	static const struct {
		const char *cgroup, *unit;
	} rows[] = {
		{ "/system.slice/a.service", "a.service" },
		{ "/system.slice/a.service/x", "a.service" },
		{ "/system.slice/a.service/b.scope", "a.service" },
		{ "/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service" },
		{ "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service",
		  "app.service" },
		{ "/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope" },
		{ "/user.slice/user-1000.slice/user@1000.service", "user@1000.service" },
		{ "/user.slice/user-1000.slice/session-3.scope", "session-3.scope" },
		{ "/system.slice/docker-4f1c.scope", "docker-4f1c.scope" },
		{ "/kubepods.slice/kubepods-pod1.slice/cri-containerd-4f.scope",
		  "cri-containerd-4f.scope" },
		{ "/docker/4f1c9b", "" },
		{ "/system.slice", "" },
		{ "/.service", "" },
		{ "/", "" },
		{ "", "" },
		{ "//a.service//", "a.service" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char unit[64] = "untouched";
		gd_match_unit_of_cgroup(rows[i].cgroup, unit, sizeof(unit));
		assert_string_equal(unit, rows[i].unit);
	}
	char small[6];
	gd_match_unit_of_cgroup("/system.slice/abcdef.service", small, sizeof(small));
	assert_string_equal(small, "abcde");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(patterns_match_whole_texts),
		test_case(open_brackets_and_lone_backslashes_are_refused),
		test_case(many_stars_end),
		test_case(each_key_of_a_match_is_looked_at),
		test_case(all_keys_of_a_match_must_hold),
		test_case(what_is_unknown_matches_nothing),
		test_case(the_first_service_that_matches_has_it),
		test_case(a_static_pod_has_a_uid_without_dashes),
		test_case(only_facts_that_somebody_asks_for_are_needed),
		test_case(units_are_found_in_cgroup_paths),
	};
	return test_run(tests);
}
