#pragma once
/*
 * The call stack of one perf sample: kernel frames as the kernel walked them, then the user's.  In Go
 * code the pclntab unwinder (golang/unwind.h) goes over the copy of the stack, which is right also
 * where frame pointers are not (assembly that uses the register, callers of frameless functions).
 * Native code is unwound by its call frame information (collectors/native_unwind.h), where there is none
 * by frame pointers, and that is counted.  Where a walker cannot go on, at a switch of stacks or at the
 * end of the copy, the kernel's chain by frame pointers takes over: behind the last frame that both know,
 * or where the chain follows the frame pointer that native code was found to have kept for its caller; a
 * caller which that chain skipped shows in the CALL instruction before the next return address, and is
 * put in.
 *
 * Foreign bytes throughout.  No names: those are for who writes them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collectors/native_unwind.h"
#include "collectors/perf_record.h"
#include "golang/runtime.h"

enum gd_perf_frame_kind {
	GD_PERF_FRAME_KERNEL,
	GD_PERF_FRAME_GO,
	GD_PERF_FRAME_NATIVE, /* C, the vdso, code made at run time: whatever no table of Go's has */
};

struct gd_perf_frame {
	uint64_t pc;
	uint8_t kind;   /* enum gd_perf_frame_kind */
	bool exact;     /* pc is the instruction itself, not a return address */
	bool inferred;  /* only its function is known: pc is the entry */
};

enum gd_perf_stack_end {
	GD_PERF_END_ROOT,    /* a function that begins a stack */
	GD_PERF_END_SWITCH,  /* a runtime's stack whose caller never gets control back (mcall) */
	GD_PERF_END_NATIVE,  /* in native code, or behind it, where nothing sound leads on */
	GD_PERF_END_DEEP,    /* deeper than copy and chain reach */
	GD_PERF_END_LOST,    /* something did not fit */
	GD_PERF_END_NONE,    /* no user part: a thread that never was in user mode */
	GD_PERF_ENDS,
};
const char *gd_perf_stack_end_name(enum gd_perf_stack_end end);

#define GD_PERF_DEPTH_MAX 512

struct gd_perf_stack {
	struct gd_perf_frame list[GD_PERF_DEPTH_MAX]; /* innermost first */
	size_t n, n_kernel;
	/* Callers in native code that were found by call frame information, and by frame pointers. */
	size_t by_cfi, by_pointer;
	enum gd_perf_stack_end end;
	bool spliced; /* both walkers were needed */
	/* Not 0: it ends where C was called, and the goroutine that did has put its stack aside; it goes
	 * on so many bytes below the end of that. */
	uint64_t left_g, left_depth;
};

/* Puts the function with that entry before the last frame, a root that it was called from. */
void gd_perf_stack_insert_first(struct gd_perf_stack *stack, uint64_t entry);

/*
 * go NULL: not Go.  native NULL: of native code frame pointers are all there is.  maps: where return
 * addresses may lead.
 */
void gd_perf_stack_of(struct gd_go *go, struct gd_native_unwind *native, const struct gd_maps *maps,
                      const struct gd_perf_record *sample, struct gd_perf_stack *ret);
