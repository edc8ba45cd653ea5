/*
 * The list `rules`: keys, defaults, and combinations that make no sense.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "policies/nearest.h"
#include "policies/policy_reader.h"
#include "policies/policy_when.h"

#define NS_PER_S UINT64_C(1000000000)
#define DAY_NS (86400 * NS_PER_S)
#define FOR_NS (30 * NS_PER_S)
#define COOLDOWN_NS (600 * NS_PER_S)
#define LIMIT 5

const char *const gd_policy_profile_names[3] = {
	[GD_POLICY_LIGHT] = "light",
	[GD_POLICY_STANDARD] = "standard",
	[GD_POLICY_FULL] = "full",
};

static void read_profile(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "light, standard or full");
	char hint[GD_NEAREST_HINT];
	if (text == NULL)
		return;
	struct gd_nearest nearest = GD_NEAREST(text);
	for (size_t i = 0; i < 3; i++) {
		if (strcmp(gd_policy_profile_names[i], text) == 0) {
			*(enum gd_policy_profile *)field = (enum gd_policy_profile)i;
			return;
		}
		gd_nearest_offer(&nearest, gd_policy_profile_names[i]);
	}
	gd_policy_reader_error(reader, node, "unknown profile \"%.60s\"%s", text,
	                       nearest.best != NULL ? gd_nearest_hint(hint, &nearest)
	                                            : "; profiles are light, standard and full");
}

const char *const gd_policy_core_names[3] = {
	[GD_POLICY_CORE_NONE] = "none",
	[GD_POLICY_CORE_THIN] = "thin",
	[GD_POLICY_CORE_FULL] = "full",
};

static void read_core(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "none, thin or full");
	for (size_t i = 0; text != NULL && i < 3; i++) {
		if (strcmp(gd_policy_core_names[i], text) == 0) {
			*(enum gd_policy_core *)field = (enum gd_policy_core)i;
			return;
		}
	}
	if (text != NULL)
		gd_policy_reader_error(reader, node,
		                       "core: \"%.60s\" is no core; there are none, thin and full",
		                       text);
}

static void unknown_service(struct gd_policy_reader *reader, const struct gd_node *node)
{
	char hint[GD_NEAREST_HINT];
	struct gd_nearest nearest = GD_NEAREST(node->text);
	for (size_t i = 0; i < reader->policy->n_services; i++)
		if (reader->policy->services[i].name[0] != '\0')
			gd_nearest_offer(&nearest, reader->policy->services[i].name);
	gd_policy_reader_error(reader, node, "unknown service \"%.60s\"%s", node->text,
	                       gd_nearest_hint(hint, &nearest));
}

/* All services of all files are known by now. */
static void read_service_name(struct gd_policy_reader *reader, const struct gd_node *node,
                              void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "the name of a service");
	if (text == NULL)
		return;
	for (size_t i = 0; i < reader->policy->n_services; i++) {
		if (strcmp(reader->policy->services[i].name, text) == 0) {
			*(size_t *)field = i;
			return;
		}
	}
	if (!reader->incomplete)
		unknown_service(reader, node);
}

/* "3/fleet" or "3/500" */
static void read_sample(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	struct gd_rule *rule = field;
	const char *text = gd_policy_reader_text(reader, node, "3/fleet or 3/500");
	const char *end;
	uint64_t k;
	uint64_t n;
	if (text == NULL)
		return;
	if (!gd_text_u64(text, &end, 10, &k) || k == 0 || *end != '/' ||
	    (strcmp(end + 1, "fleet") != 0 &&
	     (!gd_text_u64(end + 1, &end, 10, &n) || *end != '\0' || n == 0))) {
		gd_policy_reader_error(reader, node,
		                       "sample: \"%.60s\" is no sample; write 3/fleet, or 3/500 for 3 "
		                       "of 500 hosts",
		                       text);
		return;
	}
	if (*end == '/') {
		n = reader->policy->fleet_size;
		if (n == 0 && !reader->incomplete)
			gd_policy_reader_error(reader, node,
			                       "sample: \"%.60s\" needs the number of hosts; write "
			                       "fleet: {size: 500} at the top",
			                       text);
		if (n == 0)
			return;
	}
	if (k > n)
		gd_policy_reader_error(reader, node, "sample: %" PRIu64 " of %" PRIu64
		                       " hosts are more than there are", k, n);
	rule->sample_k = k;
	rule->sample_n = n;
}

static void read_unless(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	struct gd_rule *rule = field;
	if (!gd_policy_reader_condition(reader, node, &rule->unless))
		return;
	rule->has_unless = true;
}

static const struct gd_policy_key rule_keys[] = {
	{ "name", gd_policy_read_name, offsetof(struct gd_rule, name) },
	{ "service", read_service_name, offsetof(struct gd_rule, service) },
	{ "when", NULL, 0 },
	{ "for", gd_policy_read_duration, offsetof(struct gd_rule, for_ns) },
	{ "clear", NULL, 0 },
	{ "clear_for", gd_policy_read_duration, offsetof(struct gd_rule, clear_for_ns) },
	{ "cooldown", gd_policy_read_duration, offsetof(struct gd_rule, cooldown_ns) },
	{ "limit", gd_policy_read_counts, offsetof(struct gd_rule, limit) },
	{ "budget", gd_policy_read_rule_budget, offsetof(struct gd_rule, budget) },
	{ "sample", read_sample, 0 },
	{ "dedup", gd_policy_read_duration, offsetof(struct gd_rule, dedup_ns) },
	{ "unless", read_unless, 0 },
	{ "profile", read_profile, offsetof(struct gd_rule, profile) },
	{ "core", read_core, offsetof(struct gd_rule, core) },
	{ "consistent", gd_policy_read_bool, offsetof(struct gd_rule, consistent) },
	{ "force_core", gd_policy_read_bool, offsetof(struct gd_rule, force_core) },
	{ "baseline", gd_policy_read_bool, offsetof(struct gd_rule, baseline) },
	{ NULL, NULL, 0 },
};

/* Only a metric holds on for a while and clears; alerts have done that where they come from. */
static void refuse_metric_keys(struct gd_policy_reader *reader, const struct gd_node *node,
                               enum gd_when kind)
{
	static const char *const keys[] = { "for", "clear", "clear_for" };
	static const char *const why[] = {
		[GD_WHEN_METRIC] = "",
		[GD_WHEN_ALERT] = "an alert: its own rule waits and resolves",
		[GD_WHEN_EVENT] = "an event: it happens at once",
		[GD_WHEN_SCHEDULE] = "a schedule",
	};
	for (size_t i = 0; kind != GD_WHEN_METRIC && i < sizeof(keys) / sizeof(*keys); i++) {
		const struct gd_node *extra = gd_node_get(node, keys[i]);
		if (extra != NULL)
			gd_policy_reader_error_at_key(reader, extra,
			                              "\"%s\" goes with a metric, not with %s",
			                              keys[i], why[kind]);
	}
}

static void read_clear(struct gd_policy_reader *reader, const struct gd_node *rule_node,
                       struct gd_rule *rule)
{
	const struct gd_condition *when = &rule->when;
	const struct gd_node *node = gd_node_get(rule_node, "clear");
	rule->clear = when->level * (when->below ? 1.1 : 0.9);
	if (node == NULL || gd_node_is_empty(node))
		return;
	const char *text = gd_policy_reader_text(reader, node, "a level");
	struct gd_error err = { 0 };
	if (text == NULL)
		return;
	if (gd_metric_parse_level(when->metric, text, &rule->clear, &err) < 0) {
		gd_policy_reader_error(reader, node, "clear of %s: %s",
		                       gd_metrics[when->metric].name, err.msg);
		return;
	}
	if (when->below ? rule->clear >= when->level : rule->clear <= when->level)
		return;
	char level[GD_METRIC_TEXT];
	char clear[GD_METRIC_TEXT];
	gd_policy_reader_error(reader, node,
	                       "clear: %s is on the wrong side: %s %s re-arms at %s or %s",
	                       gd_metric_text(clear, when->metric, rule->clear),
	                       when->below ? "below" : "above",
	                       gd_metric_text(level, when->metric, when->level), level,
	                       when->below ? "more" : "less");
}

static void check_metric(struct gd_policy_reader *reader, const struct gd_node *node,
                         struct gd_rule *rule)
{
	if (gd_node_get(node, "for") == NULL)
		rule->for_ns = FOR_NS;
	read_clear(reader, node, rule);
	const struct gd_node *service = gd_node_get(node, "service");
	if (gd_metrics[rule->when.metric].source == GD_SOURCE_HTTP && rule->service != SIZE_MAX &&
	    reader->policy->services[rule->service].scrape == NULL)
		gd_policy_reader_error(reader, service,
		                       "service \"%s\" has no scrape, where %s would come from",
		                       reader->policy->services[rule->service].name,
		                       gd_metrics[rule->when.metric].name);
}

/* A schedule limits itself: its defaults must let it through. */
static void check_schedule(struct gd_policy_reader *reader, const struct gd_node *node,
                           struct gd_rule *rule)
{
	const struct gd_node *cooldown = gd_node_get(node, "cooldown");
	const struct gd_node *limit = gd_node_get(node, "limit");
	uint64_t a_day = DAY_NS / rule->every_ns + 1;
	char every[GD_UNITS_TEXT];
	if (cooldown == NULL)
		rule->cooldown_ns = 0;
	if (limit == NULL && rule->limit.n < a_day)
		rule->limit.n = a_day;
	if (cooldown != NULL && rule->cooldown_ns > rule->every_ns - rule->jitter_ns)
		gd_policy_reader_error(reader, cooldown,
		                       "cooldown: longer than the %s between captures, so some are "
		                       "always refused",
		                       gd_units_duration(every, rule->every_ns - rule->jitter_ns));
	if (limit != NULL && rule->limit.n != 0 &&
	    rule->limit.window_ns / rule->every_ns > rule->limit.n)
		gd_policy_reader_warn(reader, limit,
		                      "limit: %" PRIu64 " captures are due in that time, %" PRIu64
		                      " get through",
		                      rule->limit.window_ns / rule->every_ns, rule->limit.n);
}

/* What needs `when` to be understood. */
static void check_kind(struct gd_policy_reader *reader, const struct gd_node *node,
                       struct gd_rule *rule)
{
	refuse_metric_keys(reader, node, rule->kind);
	if (rule->kind == GD_WHEN_METRIC)
		check_metric(reader, node, rule);
	if (rule->kind == GD_WHEN_ALERT && strcmp(reader->policy->hook.listen, "off") == 0)
		gd_policy_reader_warn(reader, gd_node_get(gd_node_get(node, "when"), "alert"),
		                      "alert: never arrives, the hook is off");
	if (rule->kind == GD_WHEN_SCHEDULE && rule->every_ns > 0)
		check_schedule(reader, node, rule);
}

static void check_name(struct gd_policy_reader *reader, const struct gd_node *name,
                       struct gd_rule *rule)
{
	rule->at.line = name->line;
	rule->at.column = name->column;
	const struct gd_rule *other = gd_policy_rule(reader->policy, rule->name);
	if (rule->name[0] != '\0' && other != NULL)
		gd_policy_reader_error(reader, name,
		                       "two rules are named \"%s\"; the first is at %s:%u:%u",
		                       rule->name, other->at.file, other->at.line,
		                       other->at.column);
}

static void check_core(struct gd_policy_reader *reader, const struct gd_node *node,
                       struct gd_rule *rule)
{
	const struct gd_node *core = gd_node_get(node, "core");
	const struct gd_node *force = gd_node_get(node, "force_core");
	if (core == NULL && rule->profile == GD_POLICY_FULL)
		rule->core = GD_POLICY_CORE_FULL;
	if (core != NULL && rule->core == GD_POLICY_CORE_NONE && rule->profile == GD_POLICY_FULL)
		gd_policy_reader_error_at_key(reader, core,
		                              "\"core: none\" leaves of profile full what standard "
		                              "is");
	if (force != NULL && rule->force_core && rule->core == GD_POLICY_CORE_NONE)
		gd_policy_reader_error_at_key(reader, force,
		                              "\"force_core\" goes with a core: write core: thin or "
		                              "core: full");
}

static void read_rule(struct gd_policy_reader *reader, const struct gd_node *node,
                      struct gd_rule *rule)
{
	bool whole = gd_policy_reader_map(reader, node, "a rule", rule_keys, rule);
	const struct gd_node *name = gd_node_get(node, "name");
	if (name != NULL)
		check_name(reader, name, rule);
	else if (whole)
		gd_policy_reader_error(reader, node, "a rule has no name");
	if (whole && gd_node_get(node, "service") == NULL)
		gd_policy_reader_error(reader, node, "rule \"%s\" has no service", rule->name);
	const struct gd_node *when = gd_node_get(node, "when");
	if (whole && when == NULL)
		gd_policy_reader_error(reader, node,
		                       "rule \"%s\" has no when, such as when: {metric: cpu, above: "
		                       "90%%}",
		                       rule->name);
	else if (when != NULL && !gd_node_is_empty(when) && gd_policy_when_read(reader, when, rule))
		check_kind(reader, node, rule);
	check_core(reader, node, rule);
	const struct gd_node *unless = gd_node_get(node, "unless");
	if (unless != NULL && rule->profile == GD_POLICY_LIGHT)
		gd_policy_reader_error_at_key(reader, unless,
		                              "\"unless\" degrades to light, which profile is "
		                              "already");
}

void gd_policy_read_rules(struct gd_policy_reader *reader, const struct gd_node *node)
{
	struct gd_policy *policy = reader->policy;
	if (node->kind != GD_NODE_LIST) {
		gd_policy_reader_error(reader, node, "rules: expected a list, found %s",
		                       gd_node_kind_name(node));
		return;
	}
	for (const struct gd_node *item = node->first; item != NULL; item = item->next) {
		if (policy->n_rules == GD_POLICY_RULES_MAX) {
			gd_policy_reader_error(reader, item, "more than %d rules",
			                       GD_POLICY_RULES_MAX);
			return;
		}
		struct gd_rule *list =
			realloc(policy->rules, (policy->n_rules + 1) * sizeof(*policy->rules));
		if (list == NULL) {
			reader->no_memory = true;
			return;
		}
		policy->rules = list;
		struct gd_rule *rule = &list[policy->n_rules];
		*rule = (struct gd_rule){
			.service = SIZE_MAX,
			.cooldown_ns = COOLDOWN_NS,
			.limit = { .n = LIMIT, .window_ns = DAY_NS },
			.budget = { .free_ratio = -1 },
			.profile = GD_POLICY_STANDARD,
			.at = { .file = reader->file, .line = item->line, .column = item->column },
		};
		read_rule(reader, item, rule);
		policy->n_rules++;
	}
}
