#pragma once
/*
 * Accounts for every byte of an archive: each blob against its name, each header and the padding
 * between, that manifest and snapshot.json list what is there, that index.json is what it must be.
 * Names what is broken; `repair` writes what is still good.
 */
#include "archive/reader.h"

struct gd_verdict {
	size_t blobs_good, blobs_bad, blobs_missing; /* missing: listed, not stored */
	size_t problems; /* sentences given out */
	bool complete;   /* sealed, nothing bad, nothing missing, nothing foreign, not repaired */
	bool truncated;
};

/*
 * Calls `problem` once per finding with a sentence such as
 * "blob 3a7f0c2be911: artifact goroutines.txt: content does not match its digest".
 * Returns 0 also when problems were found (see the verdict); negative when it could not be read.
 */
int gd_verify(const struct gd_reader *reader,
              void (*problem)(void *arg, const char *sentence), void *arg,
              struct gd_verdict *ret, struct gd_error *err);

/*
 * Writes the good blobs of a truncated or damaged archive to `to` (must not exist).  When only
 * index.json or a header was lost, the result is the archive as it was sealed.  Otherwise it has a
 * rebuilt manifest marked "complete": false, so that every reader opens it, and rows of lost
 * artifacts are graded failed.  The verdict counts artifacts: good are kept, missing are lost.
 */
int gd_verify_repair(const struct gd_reader *reader, const char *to, struct gd_verdict *ret,
                     struct gd_error *err);
