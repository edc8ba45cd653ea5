#pragma once
/*
 * The alerts of one request, asked of the broker one after the other: each firing alert once for
 * every rule that it means and that the caller may trigger.  All are asked, also after a refusal;
 * whoever was busy makes the caller come back, which is harmless for the others.
 */
#include "agent/hook_alerts.h"
#include "agent/hook_link.h"
#include "agent/hook_tokens.h"
#include "base/json.h"

struct gd_hook_outcome {
	uint32_t alert;   /* index in the request */
	bool asked;       /* else `answer` is of no meaning: see alert's status */
	char rule[GD_POLICY_NAME_MAX]; /* "" none */
	uint32_t index;   /* of the rule */
	struct gd_hook_answer answer;
};

struct gd_hook_triggers { /* zeroed: nothing */
	struct gd_hook_link *link;
	struct gd_hook_alerts alerts;
	struct gd_hook_outcome *list;
	size_t n, n_asked;
	size_t next;
	uint32_t generation;
	const char *who; /* borrowed */
	bool begun;
	void (*done)(void *arg);
	void *arg;
};

/*
 * Parses, matches, asks the first.  `done` is called when all have been answered: at once when there
 * is nothing to ask.  `token` NULL: any rule.  -ENOENT: a rule was asked for by name and is not there
 * or not for this caller; -EPIPE: the broker is not there; else as gd_hook_alerts_parse.
 */
int gd_hook_triggers_begin(struct gd_hook_triggers *triggers, struct gd_hook_link *link,
                           enum gd_hook_shape shape, const void *body, size_t n, const char *who,
                           const struct gd_hook_token *token, void (*done)(void *arg), void *arg,
                           struct gd_error *err);
/* No answers any more. */
void gd_hook_triggers_cancel(struct gd_hook_triggers *triggers);
void gd_hook_triggers_deinit(struct gd_hook_triggers *triggers);

/* Whether that verdict means "ask again". */
bool gd_hook_triggers_is_busy(int32_t verdict);

/* Members of an open object: rule, verdict, id, why. */
void gd_hook_triggers_put_outcome(const struct gd_hook_outcome *outcome, struct gd_json *json);
/* {"status":..., "alerts":[...]}; true: somebody was busy. */
bool gd_hook_triggers_put(const struct gd_hook_triggers *triggers, struct gd_json *json);
/* "3 alerts: 1 admitted, 1 duplicate, 1 resolved" for the log. */
void gd_hook_triggers_summary(const struct gd_hook_triggers *triggers, struct gd_buf *to);
