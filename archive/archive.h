#pragma once
/*
 * Writes one capture's archive: an OCI image layout inside a plain tar, streaming, with bounded
 * memory.  Artifacts come in through the sink; each is hashed (and compressed) into an unlinked
 * scratch file or a small buffer and appended to the tar when it is closed, because content
 * addressing needs size and digest before the header.  index.json is written last: its presence
 * means complete.  The file has no name until gd_archive_seal links it (O_TMPFILE, fsync, linkat,
 * directory fsync), so a crash or a full disk leaves nothing torn behind.
 *
 * Not thread safe.  Any write error is sticky: later calls return it.
 */
#include <stdint.h>

#include "archive/snapshot.h"
#include "base/error.h"
#include "base/sink.h"

struct gd_archive;
struct gd_output;
struct gd_sealed;

/*
 * Begins an archive in directory `dir`; -ENOSPC, -EACCES, -EROFS, -ENOTDIR, ... name the directory.
 * `plan_json` becomes the first blob: what this capture set out to collect.
 */
int gd_archive_create(const char *dir, const char *plan_json, size_t plan_len,
                      struct gd_archive **ret, struct gd_error *err);

/*
 * The two halves for a writer that may open nothing: it begins on an output that somebody else made
 * (taken over, also on failure), and finish writes the end but leaves it to them to make the file
 * durable and give it its name.  finish fills digest and bytes of *ret only, and frees the archive in
 * any case.
 */
int gd_archive_create_on(struct gd_output *output, const char *plan_json, size_t plan_len,
                         struct gd_archive **ret, struct gd_error *err);
int gd_archive_finish(struct gd_archive *archive, struct gd_snapshot *snapshot,
                      struct gd_sealed *ret, struct gd_error *err);

/* The failure that sticks, code 0 when there is none. */
const struct gd_error *gd_archive_failure(const struct gd_archive *archive);

/*
 * Where collectors write.  Borrowed, valid until seal or abandon, which both end streams that are
 * still open.  Artifact names are checked (layout.h) and unique; bytes of an artifact that is
 * closed as failed or skipped are dropped, its row stays.
 */
struct gd_sink *gd_archive_sink(struct gd_archive *archive);

/* Rows of everything stored so far, in order; borrowed until the next artifact. */
const struct gd_artifact_row *gd_archive_rows(const struct gd_archive *archive, size_t *ret_n);

struct gd_sealed {
	char path[4096];
	char digest[72];    /* "sha256:<hex>" of the OCI manifest: the name of this capture */
	uint64_t bytes;     /* of the archive file */
};

/*
 * Writes snapshot.json, manifest and index.json.  `snapshot` gets the artifact rows, and owns them
 * afterwards, also on failure (what it had there is freed: leave it empty, do not lend it
 * gd_archive_rows).  Makes the file durable and gives it its name `<dir>/<file_name>`, never
 * overwriting (-EEXIST).  The archive is freed in any case; on failure nothing is left in the
 * directory.
 */
int gd_archive_seal(struct gd_archive *archive, struct gd_snapshot *snapshot,
                    const char *file_name, struct gd_sealed *ret, struct gd_error *err);

/* Forgets everything; NULL allowed. */
void gd_archive_abandon(struct gd_archive *archive);
