#pragma once
/*
 * Where a caller's registers are to be found: one row of a function's call frame information, as libdw
 * works it out, in a form that can be kept and applied without libdw.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collectors/cfi_entry.h"

/* Registers by their DWARF numbers (psABI of each architecture): the general ones with sp. */
#if defined(__x86_64__)
enum { GD_CFI_REGS = 16, GD_CFI_BP = 6, GD_CFI_SP = 7, GD_CFI_PC = 16 };
#elif defined(__aarch64__)
enum { GD_CFI_REGS = 32, GD_CFI_BP = 29, GD_CFI_SP = 31, GD_CFI_PC = 32 };
#else
#error "which numbers does DWARF give to registers here?"
#endif

/* Those that a function must give back as they were. */
#if defined(__x86_64__)
#define GD_CFI_KEPT UINT64_C(0xf0c8) /* rbx, rbp, rsp, r12 to r15 */
#elif defined(__aarch64__)
#define GD_CFI_KEPT UINT64_C(0xfff80000) /* x19 to x30, sp */
#endif

enum gd_cfi_how {
	GD_CFI_UNKNOWN,    /* said in a way that this cannot hold */
	GD_CFI_UNDEFINED,  /* gone; of the return address: there is no caller */
	GD_CFI_SAME,       /* untouched */
	GD_CFI_REGISTER,   /* in register `reg` */
	GD_CFI_IS,         /* value of `reg` + offset */
	GD_CFI_AT,         /* in memory, there */
	GD_CFI_IS_RESULT,  /* of the row's expression */
	GD_CFI_AT_RESULT,
};

/* Stands for the frame's own address (CFA) where a register may. */
#define GD_CFI_FRAME 255

struct gd_cfi_rule {
	uint8_t how; /* enum gd_cfi_how */
	uint8_t reg;
	uint8_t first, n; /* of the row's operations */
	int64_t offset;
};

struct gd_cfi_op {
	uint8_t atom; /* DW_OP_* */
	int64_t number, number2;
};

/* A PLT's expression has nine, and no compiler was seen to write longer ones. */
enum { GD_CFI_OPS = 16 };

struct gd_cfi_row {
	uint64_t start, end; /* program counters that it is right for */
	bool found;          /* false: there is none, the rest means nothing */
	bool signal;         /* the kernel made this frame: its caller stands on an instruction */
	uint8_t n_ops;
	struct gd_cfi_rule frame; /* the CFA; never relative to itself */
	struct gd_cfi_rule ret;   /* the return address */
	struct gd_cfi_rule regs[GD_CFI_REGS];
	struct gd_cfi_op ops[GD_CFI_OPS];
};

/* -ENOENT: the entry does not reach as far as pc; -EBADMSG: libdw makes no sense of it. */
int gd_cfi_row_of(struct gd_cfi_entry *entry, uint64_t pc, struct gd_cfi_row *ret,
                  struct gd_error *err);
