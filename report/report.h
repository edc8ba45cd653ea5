#pragma once
/*
 * What an archive says, for people.  Reads through archive/reader.h, never runs privileged code.
 */
#include <stdio.h>

#include "archive/reader.h"
#include "base/error.h"

/*
 * One screen: what happened (identity, grades, top goroutine groups with count and longest wait,
 * GC and memory line, warnings).  `color` when a terminal; `width` in columns.
 */
int gd_report_show(const struct gd_reader *reader, FILE *out, bool color, unsigned width,
                   struct gd_error *err);
