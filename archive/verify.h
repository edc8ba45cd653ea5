#pragma once
/*
 * Checks every blob of an archive against its name, that the manifest lists what is there, and
 * that index.json is present.  Names what is broken; `repair` writes what is still good.
 */
#include "archive/reader.h"

struct gd_verdict {
	size_t blobs_good, blobs_bad, blobs_missing; /* missing: listed, not stored */
	bool complete;  /* sealed, nothing bad, nothing missing, nothing foreign */
	bool truncated;
};

/*
 * Calls `problem` once per finding with a sentence such as
 * "blob 3a7f...: artifact goroutines.txt: content does not match its digest".
 * Returns 0 also when problems were found (see the verdict); negative when it could not be read.
 */
int gd_verify(const struct gd_reader *reader,
              void (*problem)(void *arg, const char *sentence), void *arg,
              struct gd_verdict *ret, struct gd_error *err);

/*
 * Writes the good blobs of a truncated or damaged archive to `to` (must not exist) with a rebuilt
 * manifest marked "complete": false, so that every reader opens it.
 */
int gd_verify_repair(const struct gd_reader *reader, const char *to, struct gd_verdict *ret,
                     struct gd_error *err);
