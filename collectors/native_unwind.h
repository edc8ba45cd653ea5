#pragma once
/*
 * Steps through frames of native code (C, C++, Rust, the vdso), innermost first, over a copy of the
 * stack and registers of the same instant.  By call frame information (collectors/cfi_entry.h), which
 * compilers write for all code whether it keeps frame pointers or not; rows once worked out are kept.
 *
 * It guesses nothing: without information it says so, and who asks may take the frame pointer instead.
 * Foreign bytes throughout; memory and time are bounded.  One thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "collectors/cfi_row.h"
#include "collectors/perf_record.h"
#include "golang/unwind.h"
#include "target/maps.h"
#include "target/memory.h"

struct gd_native_unwind;

/* Both are borrowed; the maps may be read anew, which must be told (gd_native_unwind_forget). */
int gd_native_unwind_create(struct gd_memory *memory, const struct gd_maps *maps,
                            struct gd_native_unwind **ret, struct gd_error *err);
/*
 * The main program's file, borrowed, and the path that its mappings have: where its information is not
 * told in memory, its sections tell it.
 */
int gd_native_unwind_set_program(struct gd_native_unwind *unwind, int exe_fd, const char *path,
                                 struct gd_error *err);
void gd_native_unwind_destroy(struct gd_native_unwind *unwind); /* NULL allowed */

/* Other code may be at the same addresses. */
void gd_native_unwind_forget(struct gd_native_unwind *unwind);

/* Program counters that were in no mapping since that was last asked: something has been loaded. */
uint64_t gd_native_unwind_unmapped(struct gd_native_unwind *unwind);

/* Rows that libdw had to work out, since the beginning. */
uint64_t gd_native_unwind_rows(const struct gd_native_unwind *unwind);

struct gd_native_frame {
	uint64_t reg[GD_CFI_REGS]; /* by DWARF number, where bit of `known` */
	uint64_t known;
	uint64_t pc;
	bool exact;      /* pc is the instruction itself */
	uint64_t ret_at; /* where its return address is on the stack; 0 not known */
};

/* The sample must have registers. */
void gd_native_frame_of(const struct gd_perf_record *sample, struct gd_native_frame *ret);

static inline bool gd_native_frame_knows(const struct gd_native_frame *frame, unsigned reg)
{
	return (frame->known >> reg & 1) != 0;
}

enum gd_native_step {
	GD_NATIVE_CALLER,   /* *frame is the caller's now */
	GD_NATIVE_ROOT,     /* it says that there is none */
	GD_NATIVE_NO_RULES, /* nothing is said of this program counter */
	GD_NATIVE_BEYOND,   /* what is needed is not in the copy of the stack */
	GD_NATIVE_LOST,     /* it makes no sense */
};

/* On to the caller; else *frame stays but for ret_at. */
enum gd_native_step gd_native_unwind_step(struct gd_native_unwind *unwind, struct gd_stack *stack,
                                          struct gd_native_frame *frame);

/* The same by the frame pointer, which is believed: CALLER, else BEYOND. */
enum gd_native_step gd_native_unwind_by_pointer(struct gd_stack *stack, struct gd_native_frame *frame);
