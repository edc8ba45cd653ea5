#pragma once
/*
 * The table that a program lacks which was linked without .eh_frame_hdr, as static ones often are: made by
 * going through all of its .eh_frame in memory, once.  Where that is only its file says, by its section
 * headers.  Foreign bytes; the file is read with libelf.
 */
#include <stdint.h>

#include "collectors/cfi_entry.h"

/* Where .eh_frame is, as it was linked; bytes 0: there is none, or no telling. */
void gd_cfi_scan_locate(int fd, uint64_t *ret_at, uint64_t *ret_bytes);

/* ret->list is the caller's to free, also when it is empty.  What makes no sense ends the search. */
int gd_cfi_scan(struct gd_memory *memory, uint64_t at, uint64_t bytes, struct gd_cfi_table *ret,
                struct gd_error *err);
