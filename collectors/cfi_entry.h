#pragma once
/*
 * The call frame information of one function (a CIE and an FDE of .eh_frame), found by the table in
 * .eh_frame_hdr and read from the memory of the process that runs it: both are mapped in every program
 * and library that was linked with the usual flags, so no file is needed, stripped or not.
 *
 * What is read is checked before libdw sees it (cfi_row.h): libdw believes lengths in a CIE, and takes
 * memory by the largest register number it meets.  Here no rule is understood, only that each is whole.
 * Format: Linux Standard Base, "Exception Frames"; DWARF 6.4.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/memory.h"

enum {
	GD_CFI_CIE_MAX = 1 << 10,
	GD_CFI_FDE_MAX = 32 << 10,
	GD_CFI_HEAD = 64 + 56 + 16, /* ELF header, one program header, .eh_frame_hdr without a table */
	GD_CFI_PAD = 256,           /* zeros: the end mark, and room for who reads too far */
};

/* A function and its FDE. */
struct gd_cfi_pair {
	uint64_t start, fde_at;
};

/* The sorted table of a module. */
struct gd_cfi_table {
	uint64_t at; /* of .eh_frame_hdr; what it holds is relative to it */
	uint32_t n;
	struct gd_cfi_pair *list; /* NULL: there; else here (collectors/cfi_scan.h) */
};

/* One function's CIE and FDE behind each other, as an ELF image that has nothing else. */
struct gd_cfi_entry {
	uint64_t fde_at; /* where the FDE is in memory */
	uint64_t next;   /* where the next function begins by the table; UINT64_MAX: not known */
	size_t cie_len, fde_len;
	uint8_t image[GD_CFI_HEAD + GD_CFI_CIE_MAX + GD_CFI_FDE_MAX + GD_CFI_PAD];
};

/* Is a CIE without its length whole?  *sized: its FDEs have data of their own; *pointer: how they write
 * addresses (DW_EH_PE_*). */
bool gd_cfi_cie_is_sound(const uint8_t *bytes, size_t len, bool *sized, uint8_t *pointer);

/* How many bytes a pointer takes that is written so; 0: none that we know. */
size_t gd_cfi_pointer_bytes(uint8_t encoding);

/* `at` is the run-time address of PT_GNU_EH_FRAME.  -EBADMSG: none, or not as linkers write it. */
int gd_cfi_table_open(struct gd_memory *memory, uint64_t at, uint64_t bytes,
                      struct gd_cfi_table *ret, struct gd_error *err);

/*
 * The entry of the last function that begins at or below pc; whether it reaches as far as pc is not
 * looked at.  -ENOENT: there is none; -EBADMSG: it is not sound; -E2BIG: it is too long.
 */
int gd_cfi_entry_read(struct gd_memory *memory, const struct gd_cfi_table *table, uint64_t pc,
                      struct gd_cfi_entry *ret, struct gd_error *err);
