/*
 * `when:` of a rule, in its four kinds.
 */
#include <stdlib.h>
#include <string.h>

#include "policies/nearest.h"
#include "policies/policy_when.h"

#define MINUTE_NS (UINT64_C(60) * 1000000000)

const char *const gd_event_names[GD_EVENTS] = {
	[GD_EVENT_GONE] = "gone",
	[GD_EVENT_RESTARTS] = "restarts",
	[GD_EVENT_MEMORY_HIGH] = "memory_high",
	[GD_EVENT_MEMORY_MAX] = "memory_max",
	[GD_EVENT_OOM] = "oom",
	[GD_EVENT_OOM_KILL] = "oom_kill",
};

static void read_labels(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	struct gd_rule *rule = field;
	if (node->kind != GD_NODE_MAP) {
		gd_policy_reader_error(reader, node,
		                       "labels: expected a map such as {severity: page}, found %s",
		                       gd_node_kind_name(node));
		return;
	}
	for (const struct gd_node *child = node->first; child != NULL; child = child->next) {
		if (rule->n_labels == GD_POLICY_LABELS_MAX) {
			gd_policy_reader_error_at_key(reader, child, "more than %d labels",
			                              GD_POLICY_LABELS_MAX);
			return;
		}
		struct gd_policy_label *label = &rule->labels[rule->n_labels];
		gd_policy_read_text(reader, child, &label->value);
		if (label->value == NULL)
			continue;
		label->key = strdup(child->key);
		reader->no_memory |= label->key == NULL;
		rule->n_labels++;
	}
}

static void read_event_name(struct gd_policy_reader *reader, const struct gd_node *node,
                            void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "the name of an event");
	char hint[GD_NEAREST_HINT];
	if (text == NULL)
		return;
	struct gd_nearest nearest = GD_NEAREST(text);
	for (size_t i = 0; i < GD_EVENTS; i++) {
		if (strcmp(gd_event_names[i], text) == 0) {
			*(enum gd_event *)field = (enum gd_event)i;
			return;
		}
		gd_nearest_offer(&nearest, gd_event_names[i]);
	}
	gd_policy_reader_error(reader, node, "unknown event \"%.60s\"%s", text,
	                       nearest.best != NULL ? gd_nearest_hint(hint, &nearest)
	                                            : "; events are gone, restarts, memory_high, "
	                                              "memory_max, oom and oom_kill");
}

static bool read_metric(struct gd_policy_reader *reader, const struct gd_node *node,
                        struct gd_rule *rule)
{
	return gd_policy_reader_condition(reader, node, &rule->when);
}

static bool read_alert(struct gd_policy_reader *reader, const struct gd_node *node,
                       struct gd_rule *rule)
{
	static const struct gd_policy_key keys[] = {
		{ "alert", gd_policy_read_text, offsetof(struct gd_rule, alert) },
		{ "labels", read_labels, 0 },
		{ NULL, NULL, 0 },
	};
	return gd_policy_reader_map(reader, node, "when with alert", keys, rule);
}

static bool read_event(struct gd_policy_reader *reader, const struct gd_node *node,
                       struct gd_rule *rule)
{
	static const struct gd_policy_key keys[] = {
		{ "event", read_event_name, offsetof(struct gd_rule, event) },
		{ "count", gd_policy_read_count, offsetof(struct gd_rule, event_count) },
		{ "within", gd_policy_read_duration, offsetof(struct gd_rule, event_within_ns) },
		{ NULL, NULL, 0 },
	};
	size_t before = reader->findings->n_errors;
	(void)gd_policy_reader_map(reader, node, "when with event", keys, rule);
	if (reader->findings->n_errors != before)
		return false;
	const struct gd_node *count = gd_node_get(node, "count");
	const struct gd_node *within = gd_node_get(node, "within");
	const struct gd_node *extra = count != NULL ? count : within;
	if (rule->event != GD_EVENT_RESTARTS && extra != NULL)
		gd_policy_reader_error_at_key(reader, extra,
		                              "\"%s\" goes with event: restarts, not with %s",
		                              extra->key, gd_event_names[rule->event]);
	if (rule->event == GD_EVENT_RESTARTS && (count == NULL || within == NULL))
		gd_policy_reader_error(reader, node,
		                       "restarts has no %s; write {event: restarts, count: 3, "
		                       "within: 10m}",
		                       count == NULL ? "count" : "within");
	else if (rule->event == GD_EVENT_RESTARTS && rule->event_within_ns == 0)
		gd_policy_reader_error(reader, within, "within: nothing happens within 0");
	return true;
}

static bool read_schedule(struct gd_policy_reader *reader, const struct gd_node *node,
                          struct gd_rule *rule)
{
	static const struct gd_policy_key keys[] = {
		{ "every", gd_policy_read_duration, offsetof(struct gd_rule, every_ns) },
		{ "jitter", gd_policy_read_duration, offsetof(struct gd_rule, jitter_ns) },
		{ NULL, NULL, 0 },
	};
	size_t before = reader->findings->n_errors;
	(void)gd_policy_reader_map(reader, node, "when with every", keys, rule);
	if (reader->findings->n_errors != before)
		return false;
	if (rule->every_ns < MINUTE_NS)
		gd_policy_reader_error(reader, gd_node_get(node, "every"),
		                       "every: at least a minute lies between captures");
	else if (rule->jitter_ns >= rule->every_ns)
		gd_policy_reader_error(reader, gd_node_get(node, "jitter"),
		                       "jitter: must be less than every");
	return true;
}

/* What makes each kind what it is, and how it is read. */
static const struct kind {
	const char *key;
	enum gd_when when;
	bool (*read)(struct gd_policy_reader *reader, const struct gd_node *node,
	             struct gd_rule *rule);
} kinds[] = {
	{ "metric", GD_WHEN_METRIC, read_metric },
	{ "alert", GD_WHEN_ALERT, read_alert },
	{ "event", GD_WHEN_EVENT, read_event },
	{ "every", GD_WHEN_SCHEDULE, read_schedule },
};

#define N_KINDS (sizeof(kinds) / sizeof(*kinds))
#define FORMS                                                                                      \
	"{metric: NAME, above: LEVEL}, {alert: NAME}, {event: NAME} or {every: TIME}"

/* None of the four keys is there: perhaps one is misspelt. */
static void no_kind(struct gd_policy_reader *reader, const struct gd_node *node)
{
	for (const struct gd_node *child = node->first; child != NULL; child = child->next) {
		char hint[GD_NEAREST_HINT];
		struct gd_nearest nearest = GD_NEAREST(child->key);
		for (size_t i = 0; i < N_KINDS; i++)
			gd_nearest_offer(&nearest, kinds[i].key);
		if (nearest.best == NULL)
			continue;
		gd_policy_reader_error_at_key(reader, child, "unknown key \"%.60s\" in when%s",
		                              child->key, gd_nearest_hint(hint, &nearest));
		return;
	}
	gd_policy_reader_error(reader, node, "when is one of " FORMS);
}

bool gd_policy_when_read(struct gd_policy_reader *reader, const struct gd_node *node,
                         struct gd_rule *rule)
{
	const struct kind *kind = NULL;
	if (node->kind != GD_NODE_MAP) {
		gd_policy_reader_error(reader, node, "when is written as a map: " FORMS);
		return false;
	}
	for (size_t i = 0; i < N_KINDS; i++) {
		const struct gd_node *key = gd_node_get(node, kinds[i].key);
		if (key == NULL)
			continue;
		if (kind != NULL) {
			gd_policy_reader_error_at_key(reader, key,
			                              "when has both %s and %s; make it two rules",
			                              kind->key, kinds[i].key);
			return false;
		}
		kind = &kinds[i];
	}
	if (kind == NULL) {
		no_kind(reader, node);
		return false;
	}
	if (!kind->read(reader, node, rule))
		return false;
	rule->kind = kind->when;
	return true;
}
