#include "collectors/cfi_row.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdlib.h>

/* The operations as they are, when there is room. */
static void keep_ops(struct gd_cfi_row *row, const Dwarf_Op *ops, size_t n, bool value,
                     struct gd_cfi_rule *ret)
{
	if (n == 0 || n > (size_t)GD_CFI_OPS - row->n_ops)
		return;
	*ret = (struct gd_cfi_rule){ .how = value ? GD_CFI_IS_RESULT : GD_CFI_AT_RESULT,
		                     .first = row->n_ops, .n = (uint8_t)n };
	for (size_t i = 0; i < n; i++)
		row->ops[row->n_ops++] = (struct gd_cfi_op){ .atom = ops[i].atom,
			                                     .number = (int64_t)ops[i].number,
			                                     .number2 = (int64_t)ops[i].number2 };
}

/* A register and an offset, as one operation. */
static bool is_based(const Dwarf_Op *op, struct gd_cfi_rule *ret)
{
	uint64_t reg = op->atom == DW_OP_bregx ? op->number : (uint64_t)op->atom - DW_OP_breg0;
	if (op->atom != DW_OP_bregx && (op->atom < DW_OP_breg0 || op->atom > DW_OP_breg31))
		return false;
	if (reg >= GD_CFI_REGS)
		return false;
	ret->reg = (uint8_t)reg;
	ret->offset = (int64_t)(op->atom == DW_OP_bregx ? op->number2 : op->number);
	return true;
}

static bool read_frame(Dwarf_Frame *frame, struct gd_cfi_row *row)
{
	Dwarf_Op *ops = NULL;
	size_t n = 0;
	row->frame.how = GD_CFI_UNKNOWN;
	if (dwarf_frame_cfa(frame, &ops, &n) < 0)
		return false;
	if (n == 1 && is_based(ops, &row->frame))
		row->frame.how = GD_CFI_IS;
	else
		keep_ops(row, ops, n, true, &row->frame);
	return true;
}

/* Those of libdw, which begin with the CFA wherever that is on the stack of the expression. */
static void read_location(struct gd_cfi_row *row, const Dwarf_Op *ops, size_t n,
                          struct gd_cfi_rule *ret)
{
	bool value = ops[n - 1].atom == DW_OP_stack_value;
	bool by_frame = ops[0].atom == DW_OP_call_frame_cfa;
	const uint8_t simple = value ? GD_CFI_IS : GD_CFI_AT;
	n -= value;
	if (n == 1 && ops[0].atom == DW_OP_regx && ops[0].number < GD_CFI_REGS)
		*ret = (struct gd_cfi_rule){ .how = GD_CFI_REGISTER, .reg = (uint8_t)ops[0].number };
	else if (n == 1 && by_frame)
		*ret = (struct gd_cfi_rule){ .how = simple, .reg = GD_CFI_FRAME };
	else if (n == 2 && by_frame && ops[1].atom == DW_OP_plus_uconst)
		*ret = (struct gd_cfi_rule){ .how = simple, .reg = GD_CFI_FRAME,
			                     .offset = (int64_t)ops[1].number };
	else if (n == 2 && by_frame && is_based(&ops[1], ret))
		ret->how = simple;
	else
		keep_ops(row, ops, n, value, ret);
}

static void read_register(Dwarf_Frame *frame, int reg, struct gd_cfi_row *row, struct gd_cfi_rule *ret)
{
	Dwarf_Op room[3];
	Dwarf_Op *ops = NULL;
	size_t n = 0;
	*ret = (struct gd_cfi_rule){ .how = GD_CFI_UNKNOWN };
	if (dwarf_frame_register(frame, reg, room, &ops, &n) < 0)
		return;
	if (n == 0)
		ret->how = ops == NULL ? GD_CFI_SAME : GD_CFI_UNDEFINED;
	else
		read_location(row, ops, n, ret);
}

static int read_row(Dwarf_Frame *frame, uint64_t pc, struct gd_cfi_row *ret, struct gd_error *err)
{
	Dwarf_Addr end = 0;
	bool signal = false;
	int reg = dwarf_frame_info(frame, NULL, &end, &signal);
	/* Not from its start: behind DW_CFA_restore_state libdw has that of the state which comes back
	 * (0.188).  An end that is not above is of addresses that run backwards. */
	*ret = (struct gd_cfi_row){ .start = pc, .end = end > pc ? end : pc + 1, .found = true,
		                    .signal = signal };
	if (reg < 0 || !read_frame(frame, ret))
		return gd_fail(err, -EBADMSG, "frame of 0x%" PRIx64 ": %s", pc, dwarf_errmsg(-1));
	read_register(frame, reg, ret, &ret->ret);
	for (int i = 0; i < GD_CFI_REGS; i++) {
		read_register(frame, i, ret, &ret->regs[i]);
		/* What nothing is said of libdw calls untouched, too; but it is the callee's to use. */
		if (ret->regs[i].how == GD_CFI_SAME && !signal && (GD_CFI_KEPT >> i & 1) == 0)
			ret->regs[i].how = GD_CFI_UNDEFINED;
	}
	return 0;
}

int gd_cfi_row_of(struct gd_cfi_entry *entry, uint64_t pc, struct gd_cfi_row *ret,
                  struct gd_error *err)
{
	size_t size = GD_CFI_HEAD + entry->cie_len + entry->fde_len + GD_CFI_PAD;
	Dwarf_Frame *frame = NULL;
	(void)elf_version(EV_CURRENT);
	Elf *elf = elf_memory((char *)entry->image, size);
	Dwarf_CFI *cfi = elf != NULL ? dwarf_getcfi_elf(elf) : NULL;
	int r = 0;
	if (cfi == NULL)
		r = gd_fail(err, -EBADMSG, "frame of 0x%" PRIx64 ": %s", pc, dwarf_errmsg(-1));
	else if (dwarf_cfi_addrframe(cfi, pc, &frame) != 0)
		r = gd_fail(err, -ENOENT, "frame of 0x%" PRIx64 ": %s", pc, dwarf_errmsg(-1));
	else
		r = read_row(frame, pc, ret, err);
	free(frame);
	/* Functions that overlap are nobody's; what is kept of one must not hold for the other. */
	if (r == 0 && ret->end > entry->next)
		ret->end = entry->next > pc ? entry->next : pc + 1;
	if (cfi != NULL)
		(void)dwarf_cfi_end(cfi);
	if (elf != NULL)
		(void)elf_end(elf);
	return r;
}
