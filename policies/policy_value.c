/*
 * Single values of a policy: texts, durations, sizes, rates, conditions.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "policies/match.h"
#include "policies/nearest.h"
#include "policies/policy_reader.h"

#define TEXT_MAX 1023
#define YEAR_NS (UINT64_C(366) * 86400 * 1000000000)

/* Keeps a copy; a value that came before (of an earlier file) is let go. */
static void keep(struct gd_policy_reader *reader, char **field, const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL) {
		reader->no_memory = true;
		return;
	}
	free(*field);
	*field = copy;
}

static const char *printable(struct gd_policy_reader *reader, const struct gd_node *node)
{
	const char *text = gd_policy_reader_text(reader, node, "a text");
	if (text == NULL)
		return NULL;
	size_t n = strlen(text);
	if (n == 0 || n > TEXT_MAX) {
		gd_policy_reader_error(reader, node, n == 0 ? "%s: an empty text"
		                                            : "%s: longer than 1023 bytes",
		                       node->key);
		return NULL;
	}
	for (const char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			gd_policy_reader_error(reader, node, "%s: a control character in the text",
			                       node->key);
			return NULL;
		}
	}
	return text;
}

void gd_policy_read_name(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char rest[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *text = gd_policy_reader_text(reader, node, "a name");
	if (text == NULL)
		return;
	size_t n = strlen(text);
	if (n == 0 || n >= GD_POLICY_NAME_MAX || strspn(text, first) == 0 ||
	    strspn(text, rest) != n) {
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.80s\" is not a name; write at most %d letters, "
		                       "digits, '-', '_' or '.', beginning with a letter or digit",
		                       node->key, text, GD_POLICY_NAME_MAX - 1);
		return;
	}
	memcpy(field, text, n + 1);
}

void gd_policy_read_text(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = printable(reader, node);
	if (text != NULL)
		keep(reader, field, text);
}

void gd_policy_read_glob(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = printable(reader, node);
	struct gd_error err = { 0 };
	if (text == NULL)
		return;
	if (gd_match_glob_check(text, &err) < 0)
		gd_policy_reader_error(reader, node, "%s: %s", node->key, err.msg);
	else
		keep(reader, field, text);
}

void gd_policy_read_url(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = printable(reader, node);
	if (text == NULL)
		return;
	const char *host = strncmp(text, "http://", 7) == 0    ? text + 7
	                   : strncmp(text, "https://", 8) == 0 ? text + 8
	                                                       : NULL;
	if (host == NULL || strchr("/:?#", *host) != NULL || strchr(text, ' ') != NULL) {
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.80s\" is not a URL such as "
		                       "http://127.0.0.1:9100/metrics",
		                       node->key, text);
		return;
	}
	if (memchr(host, '@', strcspn(host, "/?#")) != NULL) {
		gd_policy_reader_error(reader, node, "%s: a user or password in the URL", node->key);
		return;
	}
	keep(reader, field, text);
}

/* A unit's message already names the text and what to write instead. */
static bool parse_duration(struct gd_policy_reader *reader, const struct gd_node *node,
                           const char *text, uint64_t *ret)
{
	struct gd_error err = { 0 };
	uint64_t ns;
	if (gd_units_parse_duration(text, &ns, &err) < 0) {
		gd_policy_reader_error(reader, node, "%s: %s", node->key, err.msg);
		return false;
	}
	if (ns > YEAR_NS) {
		gd_policy_reader_error(reader, node, "%s: \"%.60s\" is longer than a year",
		                       node->key, text);
		return false;
	}
	*ret = ns;
	return true;
}

void gd_policy_read_duration(struct gd_policy_reader *reader, const struct gd_node *node,
                             void *field)
{
	const char *text =
		gd_policy_reader_text(reader, node, "a duration such as 250ms or 1m30s");
	if (text != NULL)
		(void)parse_duration(reader, node, text, field);
}

void gd_policy_read_bytes(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a size such as 5GiB");
	struct gd_error err = { 0 };
	uint64_t bytes;
	if (text == NULL)
		return;
	if (gd_units_parse_bytes(text, &bytes, &err) < 0)
		gd_policy_reader_error(reader, node, "%s: %s", node->key, err.msg);
	else if (bytes == 0)
		gd_policy_reader_error(reader, node, "%s: 0 bytes are no room for anything",
		                       node->key);
	else
		*(uint64_t *)field = bytes;
}

static bool parse_count(const char *text, uint64_t *ret)
{
	const char *end;
	return gd_text_u64(text, &end, 10, ret) && *end == '\0' && *ret > 0;
}

void gd_policy_read_count(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a whole number");
	uint64_t n;
	if (text == NULL)
		return;
	if (!parse_count(text, &n) || n > UINT32_MAX)
		gd_policy_reader_error(reader, node, "%s: \"%.60s\" is not a whole number from 1",
		                       node->key, text);
	else
		*(uint64_t *)field = n;
}

void gd_policy_read_bandwidth(struct gd_policy_reader *reader, const struct gd_node *node,
                              void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a bandwidth such as 20MiB/s");
	if (text == NULL)
		return;
	char size[64];
	size_t n = strlen(text);
	uint64_t bytes;
	if (n < 3 || n >= sizeof(size) || strcmp(text + n - 2, "/s") != 0 ||
	    (memcpy(size, text, n - 2), size[n - 2] = '\0',
	     gd_units_parse_bytes(size, &bytes, NULL) < 0) ||
	    bytes == 0)
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.60s\" is not a bandwidth; write a size and /s, "
		                       "such as 20MiB/s",
		                       node->key, text);
	else
		*(uint64_t *)field = bytes;
}

void gd_policy_read_ratio(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a part of a whole such as 15%");
	struct gd_error err = { 0 };
	double ratio;
	if (text == NULL)
		return;
	if (gd_metric_parse_level(GD_METRIC_CPU, text, &ratio, &err) < 0)
		gd_policy_reader_error(reader, node, "%s: %s", node->key, err.msg);
	else if (ratio >= 1)
		gd_policy_reader_error(reader, node, "%s: \"%.60s\" leaves nothing; write less than "
		                                     "100%%",
		                       node->key, text);
	else
		*(double *)field = ratio;
}

void gd_policy_read_bool(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "true or false");
	if (text == NULL)
		return;
	bool yes = strcmp(text, "true") == 0;
	if (!yes && strcmp(text, "false") != 0)
		gd_policy_reader_error(reader, node, "%s: \"%.60s\" is neither true nor false",
		                       node->key, text);
	else
		*(bool *)field = yes;
}

/* What stands before the "/" of a rate, and how to write it. */
struct rate_kind {
	const char *example;
	int (*parse)(const char *text, uint64_t *ret, struct gd_error *err);
};

static int parse_times(const char *text, uint64_t *ret, struct gd_error *err)
{
	uint64_t n;
	if (!parse_count(text, &n) || n > UINT32_MAX)
		return gd_fail(err, -EINVAL, "no count");
	*ret = n;
	return 0;
}

static void read_rate(struct gd_policy_reader *reader, const struct gd_node *node,
                      const struct rate_kind *kind, struct gd_rate *field)
{
	char what[64];
	(void)snprintf(what, sizeof(what), "%s or none", kind->example);
	const char *text = gd_policy_reader_text(reader, node, what);
	if (text == NULL)
		return;
	if (strcmp(text, "none") == 0) {
		*field = (struct gd_rate){ 0 };
		return;
	}
	const char *slash = strchr(text, '/');
	char before[64];
	struct gd_rate rate = { 0 };
	if (slash == NULL || (size_t)(slash - text) >= sizeof(before)) {
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.60s\" does not say in which time; write %s or none",
		                       node->key, text, kind->example);
		return;
	}
	memcpy(before, text, (size_t)(slash - text));
	before[slash - text] = '\0';
	if (kind->parse(before, &rate.n, NULL) < 0 || rate.n == 0) {
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.60s\" is not a rate; write %s or none", node->key,
		                       text, kind->example);
		return;
	}
	if (!parse_duration(reader, node, slash + 1, &rate.window_ns))
		return;
	if (rate.window_ns == 0)
		gd_policy_reader_error(reader, node, "%s: \"%.60s\" has no time in it; write %s",
		                       node->key, text, kind->example);
	else
		*field = rate;
}

void gd_policy_read_counts(struct gd_policy_reader *reader, const struct gd_node *node,
                           void *field)
{
	static const struct rate_kind kind = { "5/24h", parse_times };
	read_rate(reader, node, &kind, field);
}

void gd_policy_read_bytes_rate(struct gd_policy_reader *reader, const struct gd_node *node,
                               void *field)
{
	static const struct rate_kind kind = { "2GiB/24h", gd_units_parse_bytes };
	read_rate(reader, node, &kind, field);
}

void gd_policy_read_time_rate(struct gd_policy_reader *reader, const struct gd_node *node,
                              void *field)
{
	static const struct rate_kind kind = { "1s/24h", gd_units_parse_duration };
	read_rate(reader, node, &kind, field);
}

/* Levels that a metric can never pass are mistakes, mostly of scale. */
static bool can_hold(struct gd_policy_reader *reader, const struct gd_node *node,
                     const struct gd_condition *condition)
{
	const struct gd_metric_info *info = &gd_metrics[condition->metric];
	if (condition->below && condition->level == 0) {
		gd_policy_reader_error(reader, node, "%s is never below 0", info->name);
		return false;
	}
	if (!condition->below && info->unit == GD_UNIT_RATIO && condition->level >= 1 &&
	    condition->metric != GD_METRIC_GO_HEAP_OF_GOAL) {
		gd_policy_reader_error(reader, node, "%s is never above 100 %%: it is the %s",
		                       info->name, info->summary);
		return false;
	}
	return true;
}

bool gd_policy_reader_condition(struct gd_policy_reader *reader, const struct gd_node *node,
                                struct gd_condition *ret)
{
	static const struct gd_policy_key keys[] = {
		{ "metric", NULL, 0 }, { "above", NULL, 0 }, { "below", NULL, 0 }, { NULL, NULL, 0 }
	};
	struct gd_condition condition = { 0 };
	struct gd_error err = { 0 };
	if (!gd_policy_reader_map(reader, node, "a condition", keys, &condition))
		return false;
	const struct gd_node *metric = gd_node_get(node, "metric");
	const struct gd_node *above = gd_node_get(node, "above");
	const struct gd_node *below = gd_node_get(node, "below");
	if (metric == NULL || (above == NULL) == (below == NULL)) {
		gd_policy_reader_error(reader, node,
		                       metric == NULL  ? "a condition has no metric"
		                       : above == NULL ? "a condition has neither above nor below"
		                                       : "a condition has both above and below");
		return false;
	}
	const struct gd_node *level = above != NULL ? above : below;
	const char *name = gd_policy_reader_text(reader, metric, "the name of a metric");
	const char *text = gd_policy_reader_text(reader, level, "a level");
	if (name == NULL || text == NULL)
		return false;
	if (gd_metric_find(name, &condition.metric, &err) < 0) {
		gd_policy_reader_error(reader, metric, "%s", err.msg);
		return false;
	}
	condition.below = below != NULL;
	if (gd_metric_parse_level(condition.metric, text, &condition.level, &err) < 0) {
		gd_policy_reader_error(reader, level, "%s of %s: %s", level->key, name, err.msg);
		return false;
	}
	if (!can_hold(reader, level, &condition))
		return false;
	*ret = condition;
	return true;
}
