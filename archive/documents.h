#pragma once
/*
 * The members that close an archive: snapshot.json, the manifest that lists everything, and
 * index.json.  Shared by the writer and by repair.
 */
#include "archive/layout.h"
#include "archive/snapshot.h"
#include "archive/tarfile.h"
#include "base/buf.h"
#include "base/error.h"

/* A member that is no blob: oci-layout, index.json. */
int gd_documents_append(struct gd_tarfile_writer *tar, const char *name, const void *bytes,
                        size_t n, const char *label, struct gd_error *err);

/* A document as a blob; `ret` gets its digest and size. */
int gd_documents_blob(struct gd_tarfile_writer *tar, const struct gd_buf *json, const char *label,
                      struct gd_layer *ret, struct gd_error *err);

/* "blobs/sha256/<hex>" */
#define GD_DOCUMENTS_PATH 80
void gd_documents_path(char to[GD_DOCUMENTS_PATH], const char *hex);

/*
 * Appends snapshot.json, the manifest of its artifacts (all of them with a digest must be in the
 * tar already) and index.json; `digest` becomes the manifest's.
 */
int gd_documents_close(struct gd_tarfile_writer *tar, const struct gd_snapshot *snapshot,
                       char digest[GD_LAYOUT_DIGEST], struct gd_error *err);
