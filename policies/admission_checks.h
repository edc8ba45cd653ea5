#pragma once
/*
 * The questions of admission, asked of what it remembers; nothing is changed or written here.
 */
#include "policies/admission_state.h"

/*
 * Fills *ret for a trigger at admission->now_ns.  *ret_first: the capture that a duplicate repeats,
 * NULL otherwise.  `rule`: index of the trigger's rule in the state.
 */
void gd_admission_checks(const struct gd_admission *admission, const struct gd_trigger *trigger,
                         size_t rule, const struct gd_load *load, struct gd_decision *ret,
                         struct gd_admission_capture **ret_first);
