#include "collectors/native_unwind.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "collectors/cfi_scan.h"
#include "target/mapped_elf.h"

enum {
	ROWS_MAX = 4096,
	MODULES_MAX = 512,
	VALUES_MAX = 16, /* of an expression */
};

/* A mapping with code, and the table of the file that is mapped there. */
struct module {
	uint64_t start, end;
	struct gd_cfi_table table; /* n 0: none */
};

struct gd_native_unwind {
	struct gd_memory *memory;
	const struct gd_maps *maps;
	uint64_t unmapped, rows;
	struct module modules[MODULES_MAX];
	size_t n_modules;
	int program_fd; /* -1: none */
	char *program_path;
	bool scanned;   /* once, whatever came of it */
	struct gd_cfi_table program;
	struct gd_cfi_entry entry; /* the one being read */
	/* By `start`; the rows themselves stay where they are. */
	uint16_t order[ROWS_MAX];
	size_t n_rows;
	struct gd_cfi_row kept[ROWS_MAX];
};

int gd_native_unwind_create(struct gd_memory *memory, const struct gd_maps *maps,
                            struct gd_native_unwind **ret, struct gd_error *err)
{
	struct gd_native_unwind *u = calloc(1, sizeof(*u));
	if (u == NULL)
		return gd_fail_errno(err, -ENOMEM, "native unwinder");
	u->memory = memory;
	u->maps = maps;
	u->program_fd = -1;
	*ret = u;
	return 0;
}

int gd_native_unwind_set_program(struct gd_native_unwind *u, int exe_fd, const char *path,
                                 struct gd_error *err)
{
	char *copy = strdup(path);
	if (copy == NULL)
		return gd_fail_errno(err, -ENOMEM, "native unwinder");
	free(u->program_path);
	u->program_path = copy;
	u->program_fd = exe_fd;
	return 0;
}

void gd_native_unwind_destroy(struct gd_native_unwind *u)
{
	if (u == NULL)
		return;
	free(u->program_path);
	free(u->program.list);
	free(u);
}

void gd_native_unwind_forget(struct gd_native_unwind *u)
{
	u->n_modules = 0;
	u->n_rows = 0;
}

uint64_t gd_native_unwind_unmapped(struct gd_native_unwind *u)
{
	uint64_t n = u->unmapped;
	u->unmapped = 0;
	return n;
}

uint64_t gd_native_unwind_rows(const struct gd_native_unwind *u)
{
	return u->rows;
}

/* ---- modules --------------------------------------------------------------------------------- */

/* The program has no table: one is made. */
static void scan_program(struct gd_native_unwind *u, uint64_t bias, struct gd_cfi_table *ret)
{
	uint64_t at = 0, bytes = 0;
	if (!u->scanned) {
		u->scanned = true;
		gd_cfi_scan_locate(u->program_fd, &at, &bytes);
		if (bytes != 0)
			(void)gd_cfi_scan(u->memory, at + bias, bytes, &u->program, NULL);
	}
	*ret = u->program;
}

/* NULL: that is not in any mapping with code. */
static const struct module *module_of(struct gd_native_unwind *u, uint64_t pc)
{
	for (size_t i = 0; i < u->n_modules; i++)
		if (pc >= u->modules[i].start && pc < u->modules[i].end)
			return &u->modules[i];
	const struct gd_map *map = gd_maps_find(u->maps, pc);
	u->unmapped += map == NULL;
	if (map == NULL || !map->exec)
		return NULL;
	if (u->n_modules == MODULES_MAX)
		u->n_modules = 0;
	struct module *m = &u->modules[u->n_modules++];
	*m = (struct module){ .start = map->start, .end = map->end };
	uint64_t base = gd_mapped_elf_base(u->maps, map);
	struct gd_mapped_elf elf;
	if (base == 0 || !gd_mapped_elf_read(u->memory, base, &elf))
		return m;
	const Elf64_Phdr *frames = gd_mapped_elf_segment(&elf, PT_GNU_EH_FRAME);
	if (frames != NULL)
		(void)gd_cfi_table_open(u->memory, elf.bias + frames->p_vaddr, frames->p_memsz,
		                        &m->table, NULL);
	if (m->table.n == 0 && u->program_fd >= 0 && strcmp(map->path, u->program_path) == 0)
		scan_program(u, elf.bias, &m->table);
	return m;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* How many begin at or below pc. */
static size_t rank_of(const struct gd_native_unwind *u, uint64_t pc)
{
	size_t low = 0;
	size_t high = u->n_rows;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (u->kept[u->order[middle]].start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct gd_cfi_row *keep(struct gd_native_unwind *u, const struct gd_cfi_row *row)
{
	if (u->n_rows == ROWS_MAX)
		u->n_rows = 0;
	size_t rank = rank_of(u, row->start);
	memmove(u->order + rank + 1, u->order + rank, (u->n_rows - rank) * sizeof(u->order[0]));
	u->order[rank] = (uint16_t)u->n_rows;
	u->kept[u->n_rows] = *row;
	return &u->kept[u->n_rows++];
}

/* found false when there is none: that is kept, too. */
static const struct gd_cfi_row *row_of(struct gd_native_unwind *u, uint64_t pc)
{
	size_t rank = rank_of(u, pc);
	const struct gd_cfi_row *known = rank > 0 ? &u->kept[u->order[rank - 1]] : NULL;
	if (known != NULL && pc < known->end)
		return known;
	struct gd_cfi_row row = { .found = false };
	const struct module *m = module_of(u, pc);
	u->rows++;
	if (m == NULL || m->table.n == 0 ||
	    gd_cfi_entry_read(u->memory, &m->table, pc, &u->entry, NULL) < 0 ||
	    gd_cfi_row_of(&u->entry, pc, &row, NULL) < 0)
		row = (struct gd_cfi_row){ .start = pc, .end = pc + 1 };
	else if (row.end > m->end)
		row.end = m->end;
	return keep(u, &row);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* What a row is applied to. */
struct at {
	const struct gd_cfi_row *row;
	const struct gd_native_frame *frame;
	struct gd_stack *stack;
	uint64_t cfa;
	bool beyond; /* something was not in the copy */
};

static bool value_of(const struct at *a, unsigned reg, uint64_t *ret)
{
	if (reg == GD_CFI_FRAME)
		*ret = a->cfa;
	else if (reg == GD_CFI_PC)
		*ret = a->frame->pc;
	else if (reg < GD_CFI_REGS && gd_native_frame_knows(a->frame, reg))
		*ret = a->frame->reg[reg];
	else
		return false;
	return true;
}

static bool load(struct at *a, uint64_t addr, uint64_t *ret)
{
	const uint8_t *word = gd_stack_at(a->stack, addr, 8);
	a->beyond = a->beyond || word == NULL;
	if (word == NULL)
		return false;
	*ret = gd_load_u64(word);
	return true;
}

/* Two operands, `under` the one that was pushed first.  False: not such an operation. */
static bool combine(uint8_t atom, uint64_t under, uint64_t top, uint64_t *ret)
{
	int64_t a = (int64_t)under;
	int64_t b = (int64_t)top;
	switch (atom) {
	case DW_OP_and:   *ret = under & top; return true;
	case DW_OP_or:    *ret = under | top; return true;
	case DW_OP_xor:   *ret = under ^ top; return true;
	case DW_OP_plus:  *ret = under + top; return true;
	case DW_OP_minus: *ret = under - top; return true;
	case DW_OP_mul:   *ret = under * top; return true;
	case DW_OP_shl:   *ret = top < 64 ? under << top : 0; return true;
	case DW_OP_shr:   *ret = top < 64 ? under >> top : 0; return true;
	case DW_OP_shra:  *ret = (uint64_t)(a >> (top < 64 ? top : 63)); return true;
	case DW_OP_eq:    *ret = a == b; return true;
	case DW_OP_ne:    *ret = a != b; return true;
	case DW_OP_ge:    *ret = a >= b; return true;
	case DW_OP_gt:    *ret = a > b; return true;
	case DW_OP_le:    *ret = a <= b; return true;
	case DW_OP_lt:    *ret = a < b; return true;
	default:          return false;
	}
}

struct values {
	uint64_t list[VALUES_MAX];
	size_t n;
};

static bool push(struct values *v, uint64_t value)
{
	if (v->n == VALUES_MAX)
		return false;
	v->list[v->n++] = value;
	return true;
}

/* Those that push something new. */
static bool is_constant(struct at *a, const struct gd_cfi_op *op, uint64_t *ret)
{
	switch (op->atom) {
	case DW_OP_const1u: case DW_OP_const1s: case DW_OP_const2u: case DW_OP_const2s:
	case DW_OP_const4u: case DW_OP_const4s: case DW_OP_const8u: case DW_OP_const8s:
	case DW_OP_constu: case DW_OP_consts:
		*ret = (uint64_t)op->number;
		return true;
	case DW_OP_call_frame_cfa:
		*ret = a->cfa;
		return true;
	default:
		break;
	}
	if (op->atom >= DW_OP_lit0 && op->atom <= DW_OP_lit31) {
		*ret = op->atom - (uint64_t)DW_OP_lit0;
		return true;
	}
	if (op->atom < DW_OP_breg0 || op->atom > DW_OP_breg31 ||
	    !value_of(a, op->atom - (unsigned)DW_OP_breg0, ret))
		return false;
	*ret += (uint64_t)op->number;
	return true;
}

static bool operate(struct at *a, const struct gd_cfi_op *op, struct values *v)
{
	uint64_t value = 0;
	if (op->atom == DW_OP_nop)
		return true;
	if (is_constant(a, op, &value))
		return push(v, value);
	if (v->n == 0)
		return false;
	uint64_t *top = &v->list[v->n - 1];
	switch (op->atom) {
	case DW_OP_deref:       return load(a, *top, top);
	case DW_OP_dup:         return push(v, *top);
	case DW_OP_drop:        v->n--; return true;
	case DW_OP_neg:         *top = -*top; return true;
	case DW_OP_not:         *top = ~*top; return true;
	case DW_OP_plus_uconst: *top += (uint64_t)op->number; return true;
	default:                break;
	}
	if (v->n < 2)
		return false;
	uint64_t under = top[-1];
	if (op->atom == DW_OP_over)
		return push(v, under);
	if (op->atom == DW_OP_swap) {
		top[-1] = *top;
		*top = under;
		return true;
	}
	v->n--;
	return combine(op->atom, under, *top, &top[-1]);
}

static bool result_of(struct at *a, const struct gd_cfi_rule *rule, uint64_t *ret)
{
	struct values v = { .n = 0 };
	for (size_t i = rule->first; i < (size_t)rule->first + rule->n; i++)
		if (!operate(a, &a->row->ops[i], &v))
			return false;
	if (v.n == 0)
		return false;
	*ret = v.list[v.n - 1];
	return true;
}

/* The value that a rule gives; *ret_at is where it lies in memory, 0 when it does not. */
static bool apply(struct at *a, const struct gd_cfi_rule *rule, unsigned reg, uint64_t *ret,
                  uint64_t *ret_at)
{
	*ret_at = 0;
	switch ((enum gd_cfi_how)rule->how) {
	case GD_CFI_SAME:
		return value_of(a, reg, ret);
	case GD_CFI_REGISTER:
		return value_of(a, rule->reg, ret);
	case GD_CFI_IS:
	case GD_CFI_AT:
		if (!value_of(a, rule->reg, ret))
			return false;
		*ret += (uint64_t)rule->offset;
		break;
	case GD_CFI_IS_RESULT:
	case GD_CFI_AT_RESULT:
		if (!result_of(a, rule, ret))
			return false;
		break;
	case GD_CFI_UNKNOWN:
	case GD_CFI_UNDEFINED:
		return false;
	}
	if (rule->how == GD_CFI_IS || rule->how == GD_CFI_IS_RESULT)
		return true;
	*ret_at = *ret;
	return load(a, *ret, ret);
}

/* ---- steps ----------------------------------------------------------------------------------- */

void gd_native_frame_of(const struct gd_perf_record *sample, struct gd_native_frame *ret)
{
	*ret = (struct gd_native_frame){ .pc = gd_perf_record_reg(sample, GD_PERF_PC), .exact = true };
	for (unsigned i = 0; i < GD_CFI_REGS; i++) {
#if defined(__x86_64__)
		/* rax rdx rcx rbx rsi rdi rbp rsp r8...r15, of the kernel's rax rbx rcx rdx ... */
		static const uint8_t kernels[GD_CFI_REGS] = { 0, 3, 2, 1, 4, 5, 6, 7, 9, 10, 11, 12,
			                                      13, 14, 15, 16 };
		unsigned which = kernels[i];
#else
		unsigned which = i;
#endif
		ret->reg[i] = gd_perf_record_reg(sample, (enum gd_perf_reg)which);
		ret->known |= UINT64_C(1) << i;
	}
}

/* All registers of the caller that can be known. */
static void restore(struct at *a, struct gd_native_frame *caller)
{
	caller->known = 0;
	for (unsigned i = 0; i < GD_CFI_REGS; i++) {
		uint64_t at = 0;
		if (apply(a, &a->row->regs[i], i, &caller->reg[i], &at))
			caller->known |= UINT64_C(1) << i;
	}
	if (a->row->regs[GD_CFI_SP].how == GD_CFI_UNDEFINED) {
		caller->reg[GD_CFI_SP] = a->cfa;
		caller->known |= UINT64_C(1) << GD_CFI_SP;
	}
}

enum gd_native_step gd_native_unwind_step(struct gd_native_unwind *u, struct gd_stack *stack,
                                          struct gd_native_frame *frame)
{
	struct gd_native_frame caller = { .exact = false };
	uint64_t at = 0;
	frame->ret_at = 0;
	const struct gd_cfi_row *row = row_of(u, frame->exact ? frame->pc : frame->pc - 1);
	/* In the system call that ends a handler: the next instruction is of no function any more. */
	if (!row->found && frame->exact && row_of(u, frame->pc - 1)->signal)
		row = row_of(u, frame->pc - 1);
	struct at a = { .row = row, .frame = frame, .stack = stack };
	if (!row->found)
		return GD_NATIVE_NO_RULES;
	if (row->ret.how == GD_CFI_UNDEFINED)
		return GD_NATIVE_ROOT;
	if (!apply(&a, &row->frame, GD_CFI_FRAME, &a.cfa, &at))
		return a.beyond ? GD_NATIVE_BEYOND : GD_NATIVE_LOST;
	/* Stacks grow down; a signal may have come on another one. */
	if (!row->signal && gd_native_frame_knows(frame, GD_CFI_SP) &&
	    (a.cfa < frame->reg[GD_CFI_SP] || (a.cfa == frame->reg[GD_CFI_SP] && !frame->exact)))
		return GD_NATIVE_LOST;
	bool known = apply(&a, &row->ret, GD_CFI_PC, &caller.pc, &at);
	frame->ret_at = at;
	if (!known)
		return a.beyond ? GD_NATIVE_BEYOND : GD_NATIVE_LOST;
	if (row->ret.how == GD_CFI_SAME && caller.pc == frame->pc)
		return GD_NATIVE_LOST;
	if (caller.pc == 0)
		return GD_NATIVE_ROOT;
	restore(&a, &caller);
	caller.exact = row->signal;
	*frame = caller;
	return GD_NATIVE_CALLER;
}

enum gd_native_step gd_native_unwind_by_pointer(struct gd_stack *stack, struct gd_native_frame *frame)
{
	uint64_t fp = frame->reg[GD_CFI_BP];
	bool sound = gd_native_frame_knows(frame, GD_CFI_BP) &&
	             (!gd_native_frame_knows(frame, GD_CFI_SP) || fp >= frame->reg[GD_CFI_SP]);
	frame->ret_at = sound ? fp + 8 : 0;
	const uint8_t *pair = sound ? gd_stack_at(stack, fp, 16) : NULL;
	if (pair == NULL)
		return GD_NATIVE_BEYOND;
	struct gd_native_frame caller = { .pc = gd_load_u64(pair + 8) };
	if (caller.pc == 0) {
		frame->ret_at = 0;
		return GD_NATIVE_BEYOND;
	}
	caller.reg[GD_CFI_BP] = gd_load_u64(pair);
	caller.reg[GD_CFI_SP] = fp + 16;
	caller.known = UINT64_C(1) << GD_CFI_BP | UINT64_C(1) << GD_CFI_SP;
	*frame = caller;
	return GD_NATIVE_CALLER;
}
