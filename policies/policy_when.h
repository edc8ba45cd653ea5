#pragma once
/*
 * Inside of policies/policy*.c: reads what a rule waits for.
 */
#include "policies/policy_reader.h"

/* Sets kind and what belongs to it; false: errors were added and kind means nothing. */
bool gd_policy_when_read(struct gd_policy_reader *reader, const struct gd_node *node,
                         struct gd_rule *rule);
