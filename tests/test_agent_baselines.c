#include "agent/baselines.h"

#include <stdio.h>
#include <string.h>

#include "tests/test.h"

#define HOUR INT64_C(3600000000000)

/* Services by name; those in `wanted` have a rule that wants a baseline. */
static struct gd_policy policy_of(const char *const names[], size_t n, unsigned wanted)
{
	static struct gd_service services[2][4];
	static struct gd_rule rules[2][4];
	static unsigned turn;
	struct gd_service *s = services[turn % 2];
	struct gd_rule *r = rules[turn++ % 2];
	memset(s, 0, sizeof(services[0]));
	memset(r, 0, sizeof(rules[0]));
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(s[i].name, sizeof(s[i].name), "%s", names[i]);
		r[i].service = (uint32_t)i;
		r[i].baseline = (wanted & (1u << i)) != 0;
	}
	return (struct gd_policy){ .services = s, .n_services = n, .rules = r, .n_rules = n };
}

static void one_a_day_where_a_rule_wants_it(void **state)
{
	static const char *const names[] = { "a", "b" };
	struct gd_policy policy = policy_of(names, 2, 1);
	struct gd_baselines b = { 0 };
	(void)state;
	assert_true(gd_baselines_is_due(&b, &policy, 0, HOUR));
	assert_false(gd_baselines_is_due(&b, &policy, 1, HOUR));
	/* Refused or not, it was asked for. */
	gd_baselines_asked(&b, 0, HOUR);
	assert_false(gd_baselines_is_due(&b, &policy, 0, HOUR + 1));
	assert_string_equal(b.list[0].id, "");
	gd_baselines_sealed(&b, &policy, "a", "id-1", 2 * HOUR);
	assert_string_equal(b.list[0].id, "id-1");
	assert_false(gd_baselines_is_due(&b, &policy, 0, 26 * HOUR - 1));
	assert_true(gd_baselines_is_due(&b, &policy, 0, 26 * HOUR));
	/* The last one counts while the next is not there. */
	gd_baselines_asked(&b, 0, 26 * HOUR);
	assert_string_equal(b.list[0].id, "id-1");
}

static void a_service_keeps_its_own_when_all_are_numbered_anew(void **state)
{
	static const char *const names[] = { "a", "b", "c" };
	static const char *const then[] = { "new", "c", "a" };
	struct gd_policy before = policy_of(names, 3, 7);
	struct gd_policy policy = policy_of(then, 3, 7);
	struct gd_baselines b = { 0 };
	(void)state;
	gd_baselines_sealed(&b, &before, "a", "of-a", HOUR);
	gd_baselines_sealed(&b, &before, "b", "of-b", 2 * HOUR);
	gd_baselines_asked(&b, 2, 3 * HOUR);
	gd_baselines_renumber(&b, &before, &policy);
	assert_string_equal(b.list[0].id, "");
	assert_true(gd_baselines_is_due(&b, &policy, 0, 4 * HOUR));
	assert_string_equal(b.list[1].id, "");
	assert_int_equal(b.list[1].taken_ns, 3 * HOUR);
	assert_string_equal(b.list[2].id, "of-a");
	assert_false(gd_baselines_is_due(&b, &policy, 2, 4 * HOUR));
	/* One that was under way for a service that is no more belongs to nobody. */
	gd_baselines_sealed(&b, &policy, "b", "late", 5 * HOUR);
	for (size_t i = 0; i < 3; i++)
		assert_string_not_equal(b.list[i].id, "late");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(one_a_day_where_a_rule_wants_it),
		test_case(a_service_keeps_its_own_when_all_are_numbered_anew),
	};
	return test_run(tests);
}
