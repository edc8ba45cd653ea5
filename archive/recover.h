#pragma once
/*
 * What can still be said about an archive that lost its snapshot.json: identity from plan.json,
 * artifacts from the labels in the tar headers.
 */
#include "archive/reader.h"

/* Fills reader->snapshot (which is empty) as far as possible; every row is graded partial. */
int gd_recover_rows(struct gd_reader *reader, struct gd_error *err);
