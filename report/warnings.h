#pragma once
/*
 * What looks wrong in a snapshot.  Each rule is one function with its threshold beside it; a rule
 * that fires says what, how much and where, and never more than it knows.
 */
#include "report/summary.h"

/* Fills summary->warnings from the rest. */
void gd_warnings_find(struct gd_summary *summary);
