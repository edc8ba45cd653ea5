#pragma once
/*
 * The build ids of an executable, from its ELF notes: what links a snapshot to a release.  The file
 * is foreign: only the ELF header, the program headers and note segments are looked at, all of them
 * capped.
 */
#include <stddef.h>

#include "base/error.h"

struct gd_build_id {
	char gnu[2 * 64 + 1]; /* lower-case hex of NT_GNU_BUILD_ID; "" when there is none */
	char go[256];         /* Go's own ("action/.../content"), printable; "" when none */
};

/*
 * Reads both from exe_fd by pread.  A file without notes succeeds with two empty strings.
 * -EBADMSG: no ELF file, or a nonsensical one; -ENOTSUP: big endian.
 */
int gd_build_id_read(int exe_fd, struct gd_build_id *ret, struct gd_error *err);

/* One note segment's bytes; `align` is the segment's (4 or 8).  Keeps what it finds, never fails. */
void gd_build_id_parse_notes(const void *notes, size_t len, size_t align,
                             struct gd_build_id *ids);
