#pragma once
/*
 * What can still be had of a damaged archive: blobs behind damaged headers, and without
 * snapshot.json the identity from plan.json and artifacts from the labels in the tar headers.
 */
#include "archive/reader.h"

/*
 * Looks behind damaged headers for blobs that the manifest lists and nobody found: the size is
 * known, so the digest decides.  Returns how many were added to reader->blobs (unsorted).
 */
int gd_recover_blobs(struct gd_reader *reader, struct gd_error *err);

/* Fills reader->snapshot (which is empty) as far as possible; every row is graded partial. */
int gd_recover_rows(struct gd_reader *reader, struct gd_error *err);
