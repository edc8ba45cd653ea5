#pragma once
/*
 * What an archive says, for people.  Reads through archive/reader.h, never runs privileged code.
 */
#include <stdbool.h>
#include <stdio.h>

#include "archive/reader.h"
#include "base/error.h"

/*
 * One screen: what happened (identity, what looks wrong, top goroutine groups with count and
 * longest wait, runtime, memory, heap, what is missing).  `color` when a terminal; lines but
 * warnings and headings are cut at `width` columns, 0: never.
 */
int gd_report_show(const struct gd_reader *reader, FILE *out, bool color, unsigned width,
                   struct gd_error *err);

/* The same as one JSON object (docs/archive-format.md describes the keys). */
int gd_report_show_json(const struct gd_reader *reader, FILE *out, struct gd_error *err);
