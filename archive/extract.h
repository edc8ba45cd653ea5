#pragma once
/*
 * Artifacts of a hostile archive as files below one directory: no name leaves it, no link is
 * followed, nothing is overwritten, every file is 0600.  A file whose content turns out damaged is
 * removed again unless it is asked for.
 */
#include "archive/reader.h"

/*
 * Writes the artifact, decompressed, to dir_fd/row->name and makes the directories between.
 * -EEXIST: the file is there already.  -EBADMSG: damaged; with keep_damaged the file stays and
 * holds what could be read.
 */
int gd_extract_below(const struct gd_reader *reader, const struct gd_artifact_row *row, int dir_fd,
                     bool keep_damaged, struct gd_error *err);

/* The same onto a descriptor (stdout, a pipe). */
int gd_extract_to(const struct gd_reader *reader, const struct gd_artifact_row *row, int fd,
                  struct gd_error *err);

/* -ENOSPC when the file system of dir_fd (or of a file) cannot hold `bytes` more. */
int gd_extract_room(int dir_fd, uint64_t bytes, struct gd_error *err);

/*
 * Rows for the documents that are no artifacts but can be asked for like one: "snapshot.json",
 * "manifest.json".  The row borrows from reader and name; false when there is none.
 */
bool gd_extract_document(const struct gd_reader *reader, char *name, struct gd_artifact_row *ret);
