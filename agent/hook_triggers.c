#include "agent/hook_triggers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTCOMES_MAX 512

/* ---- what is to be asked ---- */

static int add(struct gd_hook_triggers *t, size_t alert, const struct gd_hook_rule *rule,
               struct gd_error *err)
{
	if (t->n == OUTCOMES_MAX)
		return gd_fail(err, -E2BIG, "more than %d rules for the alerts of one request",
		               OUTCOMES_MAX);
	if ((t->n & (t->n - 1)) == 0) { /* full: 1, 2, 4... places */
		size_t n = t->n == 0 ? 1 : 2 * t->n;
		struct gd_hook_outcome *list = reallocarray(t->list, n, sizeof(*list));
		if (list == NULL)
			return gd_fail(err, -ENOMEM, "%zu verdicts", n);
		t->list = list;
	}
	struct gd_hook_outcome *outcome = &t->list[t->n++];
	*outcome = (struct gd_hook_outcome){ .alert = (uint32_t)alert };
	if (rule == NULL)
		return 0;
	(void)snprintf(outcome->rule, sizeof(outcome->rule), "%s", rule->name);
	outcome->index = rule->index;
	outcome->asked = true;
	t->n_asked++;
	return 0;
}

static bool may(const struct gd_hook_token *token, const struct gd_hook_rule *rule)
{
	return token == NULL || gd_hook_token_may(token, rule->name);
}

static int add_alert(struct gd_hook_triggers *t, size_t i, const struct gd_hook_token *token,
                     struct gd_error *err)
{
	const struct gd_hook_table *table = gd_hook_link_table(t->link);
	const struct gd_hook_alert *alert = &t->alerts.list[i];
	const struct gd_hook_rule *rule;
	size_t before = t->n;
	size_t position = 0;
	int r = 0;
	if (!alert->firing)
		return add(t, i, NULL, err);
	if (alert->rule != NULL) {
		rule = gd_hook_table_rule(table, alert->rule);
		if (rule == NULL || !may(token, rule))
			return gd_fail(err, -ENOENT, "no such rule");
		return add(t, i, rule, err);
	}
	while (r == 0 && (rule = gd_hook_table_match(table, alert->alertname, alert->labels,
	                                             alert->n_labels, &position)) != NULL)
		if (may(token, rule))
			r = add(t, i, rule, err);
	return r == 0 && t->n == before ? add(t, i, NULL, err) : r;
}

/* ---- asking ---- */

static void ask_next(struct gd_hook_triggers *t);

static void on_answer(void *arg, struct gd_message *message, const void *body)
{
	struct gd_hook_triggers *t = arg;
	struct gd_hook_answer *answer = &t->list[t->next++].answer;
	if (message == NULL || message->type != GD_HOOK_VERDICT ||
	    gd_message_body(message, sizeof(*answer), NULL) < 0) {
		*answer = (struct gd_hook_answer){ .verdict = GD_VERDICT_BUSY,
			                           .why = "the agent is not there" };
	} else {
		memcpy(answer, body, sizeof(*answer));
		answer->id[sizeof(answer->id) - 1] = '\0';
		answer->why[sizeof(answer->why) - 1] = '\0';
	}
	ask_next(t);
}

static int ask(struct gd_hook_triggers *t, const struct gd_hook_outcome *outcome)
{
	const struct gd_hook_alert *alert = &t->alerts.list[outcome->alert];
	struct gd_hook_question q;
	memset(&q, 0, sizeof(q)); /* padding too: nothing of our stack leaves */
	q.generation = t->generation;
	q.trigger.rule = outcome->index;
	(void)snprintf(q.trigger.token, sizeof(q.trigger.token), "%s", t->who);
	memcpy(q.trigger.fingerprint, alert->fingerprint, sizeof(q.trigger.fingerprint));
	memcpy(q.trigger.starts_at, alert->starts_at, sizeof(q.trigger.starts_at));
	memcpy(q.trigger.reason, alert->reason, sizeof(q.trigger.reason));
	return gd_hook_link_ask(t->link, GD_HOOK_ASK_TRIGGER, &q, sizeof(q), on_answer, t, NULL);
}

static void ask_next(struct gd_hook_triggers *t)
{
	for (; t->next < t->n; t->next++) {
		struct gd_hook_outcome *outcome = &t->list[t->next];
		if (!outcome->asked)
			continue;
		if (ask(t, outcome) == 0)
			return;
		outcome->answer = (struct gd_hook_answer){ .verdict = GD_VERDICT_BUSY,
			                                   .why = "the agent is not there" };
	}
	t->done(t->arg);
}

int gd_hook_triggers_begin(struct gd_hook_triggers *t, struct gd_hook_link *link,
                           enum gd_hook_shape shape, const void *body, size_t n, const char *who,
                           const struct gd_hook_token *token, void (*done)(void *arg), void *arg,
                           struct gd_error *err)
{
	t->link = link;
	t->who = who;
	t->done = done;
	t->arg = arg;
	int r = gd_hook_alerts_parse(shape, body != NULL ? body : "", n, &t->alerts, err);
	if (r < 0)
		return r;
	if (!gd_hook_link_is_up(link))
		return gd_fail(err, -EPIPE, "the agent is not there");
	t->generation = gd_hook_link_table(link)->generation;
	for (size_t i = 0; i < t->alerts.n; i++) {
		r = add_alert(t, i, token, err);
		if (r < 0)
			return r;
	}
	t->begun = true;
	ask_next(t);
	return 0;
}

void gd_hook_triggers_cancel(struct gd_hook_triggers *t)
{
	if (t->link != NULL)
		gd_hook_link_cancel(t->link, t);
}

void gd_hook_triggers_deinit(struct gd_hook_triggers *t)
{
	gd_hook_triggers_cancel(t);
	gd_hook_alerts_deinit(&t->alerts);
	free(t->list);
	*t = (struct gd_hook_triggers){ .n = 0 };
}

/* ---- saying ---- */

bool gd_hook_triggers_is_busy(int32_t verdict)
{
	return verdict == GD_VERDICT_BUSY || verdict < 0 || verdict >= GD_VERDICTS;
}

static const char *verdict_name(int32_t verdict)
{
	return gd_hook_triggers_is_busy(verdict) ? "busy" : gd_verdict_names[verdict];
}

void gd_hook_triggers_put_outcome(const struct gd_hook_outcome *outcome, struct gd_json *json)
{
	const struct gd_hook_answer *answer = &outcome->answer;
	gd_json_string(json, "rule", outcome->rule);
	gd_json_string(json, "verdict", verdict_name(answer->verdict));
	if (answer->id[0] != '\0')
		gd_json_string(json, "id", answer->id);
	if (answer->why[0] != '\0')
		gd_json_string(json, "why", answer->why);
}

bool gd_hook_triggers_put(const struct gd_hook_triggers *t, struct gd_json *json)
{
	bool busy = false;
	for (size_t i = 0; i < t->n; i++)
		busy |= t->list[i].asked && gd_hook_triggers_is_busy(t->list[i].answer.verdict);
	gd_json_object(json, NULL);
	gd_json_string(json, "status", busy ? "busy" : "ok");
	gd_json_array(json, "alerts");
	for (size_t i = 0; i < t->n; i++) {
		const struct gd_hook_outcome *outcome = &t->list[i];
		const struct gd_hook_alert *alert = &t->alerts.list[outcome->alert];
		gd_json_object(json, NULL);
		gd_json_string(json, "alertname", alert->alertname);
		gd_json_string(json, "fingerprint", alert->fingerprint);
		if (outcome->asked)
			gd_hook_triggers_put_outcome(outcome, json);
		else
			gd_json_string(json, "verdict", alert->firing ? "no rule" : "resolved");
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
	gd_json_object_end(json);
	return busy;
}

void gd_hook_triggers_summary(const struct gd_hook_triggers *t, struct gd_buf *to)
{
	unsigned verdicts[GD_VERDICTS] = { 0 };
	unsigned resolved = 0;
	unsigned unknown = 0;
	for (size_t i = 0; i < t->n; i++) {
		const struct gd_hook_outcome *o = &t->list[i];
		if (o->asked)
			verdicts[gd_hook_triggers_is_busy(o->answer.verdict) ?
			                 GD_VERDICT_BUSY :
			                 (enum gd_verdict)o->answer.verdict]++;
		else if (t->alerts.list[o->alert].firing)
			unknown++;
		else
			resolved++;
	}
	gd_buf_printf(to, "%zu alert%s", t->alerts.n, t->alerts.n == 1 ? "" : "s");
	for (size_t i = 0; i < GD_VERDICTS; i++)
		if (verdicts[i] > 0)
			gd_buf_printf(to, ", %u %s", verdicts[i], gd_verdict_names[i]);
	if (unknown > 0)
		gd_buf_printf(to, ", %u without a rule", unknown);
	if (resolved > 0)
		gd_buf_printf(to, ", %u resolved", resolved);
	if (t->alerts.n_cut > 0)
		gd_buf_printf(to, "; %" PRIu64 " more were left out by Alertmanager (max_alerts)",
		              t->alerts.n_cut);
}
