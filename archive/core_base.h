#pragma once
/*
 * An earlier full capture of the same process as the base of another one: what lay at an address
 * then, and its bytes on demand.  A base has no base of its own, so a chain has one
 * link; and whether it is of the same process is the caller's to ask of its snapshot.
 *
 * After open nothing changes, and any number of threads may find and read.
 */
#include <stdbool.h>
#include <stdint.h>

#include "archive/core_read.h"

struct gd_core_base;

/*
 * `fd` is taken over, also on failure.  -ENOTSUP: it was captured against a base itself; -ENOENT:
 * it has no core.  A damaged archive opens; what is damaged in it shows when it is read.
 */
int gd_core_base_open(int fd, struct gd_core_base **ret, struct gd_error *err);
void gd_core_base_close(struct gd_core_base *base); /* NULL allowed */

const struct gd_core_head *gd_core_base_head(const struct gd_core_base *base);
/* Whose capture it is (pid, start_ticks, boot_id, build_id, id) and its manifest's digest. */
const struct gd_snapshot *gd_core_base_snapshot(const struct gd_core_base *base);
const char *gd_core_base_digest(const struct gd_core_base *base);

/* What lay at addr: where its frame lies, for a reference to it; NULL: nothing. */
const struct gd_core_chunk *gd_core_base_chunk(const struct gd_core_base *base, uint64_t addr);

/* Its plain bytes; -EBADMSG: damaged; -ENOENT: no chunk there. */
int gd_core_base_read(const struct gd_core_base *base, uint64_t addr,
                      uint8_t bytes[GD_PACK_CHUNK], struct gd_error *err);

/*
 * The archive whose manifest has that digest among the .tar files of a directory: an open
 * descriptor, or -ENOENT.
 */
int gd_core_base_look(int dir_fd, const char *digest, struct gd_error *err);
