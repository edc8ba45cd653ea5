#pragma once
/*
 * What a forked reader finds out about a heap for the capture itself: which of its pages a thin image
 * may leave out, and which hold no pointers.  Runs in the parser's jail.
 */
#include "agent/ranges.h"
#include "base/error.h"
#include "collectors/collector.h"

/* Pages a thin image may leave out. */
int gd_parser_ranges_skip(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err);

/* Pages of spans without pointers. */
int gd_parser_ranges_noscan(struct gd_collect *c, struct gd_ranges *ret, struct gd_error *err);
