/*
 * A policy: either a whole one whose every figure is within its bounds, or an error that says where
 * in the text.  Whatever loads is put into words and asked about processes made of the same bytes.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policies/match.h"
#include "policies/policy_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_findings(const struct gd_findings *findings, const char *text)
{
	unsigned lines = 2; /* libyaml has the end of a text in the line after it */
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n' || *p == '\r' || (unsigned char)*p >= 0x80; /* NEL, LS, PS too */
	for (size_t i = 0; i < findings->n; i++) {
		const struct gd_finding *f = &findings->list[i];
		GD_BUF struct gd_buf line = GD_BUF_INIT(65536);
		require(f->text[0] != '\0' && f->line <= lines && (f->line == 0) == (f->column == 0));
		gd_finding_put(f, &line);
		for (size_t j = 0; j + 1 < line.len; j++)
			require((unsigned char)line.data[j] >= 0x20);
	}
}

static void check_rule(const struct gd_policy *policy, const struct gd_rule *rule)
{
	require(rule->service < policy->n_services && rule->name[0] != '\0');
	require(gd_policy_rule(policy, rule->name) == rule);
	require(rule->sample_k <= rule->sample_n && rule->n_labels <= GD_POLICY_LABELS_MAX);
	require(rule->limit.n == 0 || rule->limit.window_ns > 0);
	switch (rule->kind) {
	case GD_WHEN_METRIC:
		require(rule->when.metric < GD_METRICS && rule->when.level >= 0);
		require(rule->when.below ? rule->clear >= rule->when.level
		                         : rule->clear <= rule->when.level);
		break;
	case GD_WHEN_ALERT:
		require(rule->alert != NULL && rule->for_ns == 0);
		break;
	case GD_WHEN_EVENT:
		require(rule->event < GD_EVENTS && rule->for_ns == 0);
		require(rule->event != GD_EVENT_RESTARTS ||
		        (rule->event_count > 0 && rule->event_within_ns > 0));
		break;
	case GD_WHEN_SCHEDULE:
		require(rule->every_ns > rule->jitter_ns && rule->for_ns == 0);
		break;
	}
}

static void check_policy(const struct gd_policy *policy, const char *text)
{
	GD_BUF struct gd_buf words = GD_BUF_INIT(64 << 20);
	const struct gd_facts facts = { .unit = text, .exe = text, .comm = text, .cmdline = text,
		                        .cgroup = text, .container = text, .pod_uid = text };
	int found = gd_match_find(policy, &facts);
	require(found >= -1 && found < (int)policy->n_services);
	require(policy->hook.listen != NULL && strlen(policy->digest) == 71);
	require(policy->budget.free_ratio >= 0 && policy->budget.free_ratio < 1);
	require(policy->budget.spool_bytes > 0);
	gd_policy_words_host(policy, 4, &words);
	for (size_t i = 0; i < policy->n_services; i++)
		gd_policy_words_service(&policy->services[i], 4, &words);
	for (size_t i = 0; i < policy->n_rules; i++) {
		check_rule(policy, &policy->rules[i]);
		gd_policy_words_rule(policy, &policy->rules[i], 4, &words);
	}
	require(words.failed == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_policy *policy = NULL;
	struct gd_findings findings = { 0 };
	struct gd_error err = { 0 };
	char *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	int r = gd_policy_parse("p.yaml", text, size, &policy, &findings, &err);
	require((r == 0) == (policy != NULL));
	if (strlen(text) == size)
		check_findings(&findings, text);
	if (r == 0)
		check_policy(policy, text);
	else
		require(err.code == r && err.msg[0] != '\0' && findings.n_errors > 0);
	gd_policy_free(policy);
	gd_findings_deinit(&findings);
	free(text);
	return 0;
}
