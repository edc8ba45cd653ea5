#pragma once
/*
 * A policy in words, for people who want to know what they have written.  Only ASCII; foreign texts
 * (patterns, alerts, URLs) are escaped.
 */
#include "policies/policy.h"

/* "30s", "10m", "24h", "1m30s": as one writes it. */
void gd_policy_words_duration(uint64_t ns, struct gd_buf *to);

/* Each appends one or more lines, the first of which may follow a name on the same line; further
 * ones begin with `indent` blanks. */
void gd_policy_words_service(const struct gd_service *service, unsigned indent,
                             struct gd_buf *to);
void gd_policy_words_rule(const struct gd_policy *policy, const struct gd_rule *rule,
                          unsigned indent, struct gd_buf *to);
void gd_policy_words_host(const struct gd_policy *policy, unsigned indent, struct gd_buf *to);
