#pragma once
/*
 * Which global variables a piece of machine code refers to: its PC-relative operands with the kind
 * and width of the access.  This is no disassembler.  It looks at every byte for what could be an
 * instruction with such an operand; bytes inside another instruction can look like one, so callers
 * keep only operands that fall into the data segment they expect (a chance hit has odds of some
 * 1 in 10,000 there) and validate what they take.
 *
 * x86-64 only.  Another processor gets a file of its own with the same function.
 */
#include <stddef.h>
#include <stdint.h>

enum gd_operand_kind {
	GD_OPERAND_LOAD = 1,
	GD_OPERAND_STORE = 2,
	GD_OPERAND_LEA = 4, /* its address is taken */
	GD_OPERAND_CMP = 8,
	GD_OPERAND_OTHER = 16, /* arithmetic, exchange, ... */
};

struct gd_operand {
	uint64_t addr;
	enum gd_operand_kind kind;
	uint8_t width; /* bytes: 1, 4 or 8; of an address taken 8 */
};

/* Operands of the code loaded at `addr`, in its order; at most max of them.  Returns how many. */
size_t gd_operands_of(const uint8_t *code, size_t len, uint64_t addr, struct gd_operand *to,
                      size_t max);
