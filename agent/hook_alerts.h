#pragma once
/*
 * What the bodies that callers post mean: a list of alerts, each by name and labels (or by a rule's
 * name), firing or not, and what makes a repeat of it a repeat.  Three shapes: Alertmanager's
 * payload version 4, a generic one that Grafana's fits too, and {"rule", "reason"} of POST /v1/captures.
 * Pids, paths, URLs, commands and patterns are not even looked for.
 */
#include <stdbool.h>
#include <stddef.h>

#include "agent/hook_table.h"
#include "base/error.h"

#define GD_HOOK_ALERTS_MAX 128
#define GD_HOOK_ALERT_LABELS_MAX 64
#define GD_HOOK_JSON_DEPTH 16

enum gd_hook_shape { GD_HOOK_ALERTMANAGER, GD_HOOK_GENERIC, GD_HOOK_CAPTURE };

struct gd_hook_alert {
	const char *alertname; /* "" none */
	const char *rule;      /* by name instead; NULL */
	bool firing;
	struct gd_hook_label labels[GD_HOOK_ALERT_LABELS_MAX];
	size_t n_labels;
	char fingerprint[65];  /* hex; made from the labels when the caller sent none */
	char starts_at[40];    /* "" none */
	char reason[248];      /* printable ASCII */
};

struct gd_hook_alerts {
	struct gd_hook_alert *list;
	size_t n;
	uint64_t n_cut; /* more that Alertmanager left out (max_alerts) */
	void *json; /* owns what the list points to */
};

/*
 * -EBADMSG: not JSON, nested too deep, or not that shape; -E2BIG: more than one of our ceilings;
 * -ENOTSUP: another version of the payload.
 */
int gd_hook_alerts_parse(enum gd_hook_shape shape, const char *text, size_t n,
                         struct gd_hook_alerts *ret, struct gd_error *err);
void gd_hook_alerts_deinit(struct gd_hook_alerts *alerts);
