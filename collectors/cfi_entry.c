#include "collectors/cfi_entry.h"

#include <dwarf.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

enum {
	PAIR = 8,              /* of the table: where a function begins, where its FDE is */
	TABLE_HEAD = 12,
	PAIRS_AT_ONCE = 512,
	REGISTER_MAX = 127,    /* numbers above are of no register that is to be found again */
	UNIT_MAX = 16,         /* of addresses: the shortest instruction */
	STATES_MAX = 16,       /* remembered ones, one within the other */
	EXPRESSION_MAX = 64,   /* bytes */
	AUGMENTATION_MAX = 8,  /* letters */
	FIRST_READ = 512,
};

/* ---- the table ------------------------------------------------------------------------------- */

int gd_cfi_table_open(struct gd_memory *memory, uint64_t at, uint64_t bytes,
                      struct gd_cfi_table *ret, struct gd_error *err)
{
	/* Version 1; where .eh_frame is, how many there are, and how the pairs are written: four bytes
	 * each, relative to this header.  No linker writes it otherwise. */
	static const uint8_t usual[4] = { 1, DW_EH_PE_pcrel | DW_EH_PE_sdata4, DW_EH_PE_udata4,
		                          DW_EH_PE_datarel | DW_EH_PE_sdata4 };
	uint8_t head[TABLE_HEAD];
	if (bytes < sizeof(head))
		return gd_fail(err, -EBADMSG, "frame table at 0x%" PRIx64 ": too short", at);
	int r = gd_memory_read(memory, at, head, sizeof(head), err);
	if (r < 0)
		return r;
	if (memcmp(head, usual, sizeof(usual)) != 0)
		return gd_fail(err, -EBADMSG, "frame table at 0x%" PRIx64 ": unknown form", at);
	uint32_t n = gd_load_u32(head + 8);
	if (n > (bytes - TABLE_HEAD) / PAIR)
		return gd_fail(err, -EBADMSG, "frame table at 0x%" PRIx64 ": %" PRIu32
		               " entries do not fit", at, n);
	*ret = (struct gd_cfi_table){ .at = at, .n = n };
	return 0;
}

static uint64_t relative(const struct gd_cfi_table *table, const uint8_t *word)
{
	return table->at + (uint64_t)(int64_t)(int32_t)gd_load_u32(word);
}

static uint64_t pair_at(const struct gd_cfi_table *table, uint32_t i)
{
	return table->at + TABLE_HEAD + (uint64_t)i * PAIR;
}

static int find_listed(const struct gd_cfi_table *table, uint64_t pc, uint64_t *ret, uint64_t *ret_next,
                       struct gd_error *err)
{
	uint32_t low = 0, high = table->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (table->list[middle].start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return gd_fail(err, -ENOENT, "no frame table has 0x%" PRIx64, pc);
	*ret = table->list[low - 1].fde_at;
	*ret_next = low < table->n ? table->list[low].start : UINT64_MAX;
	return 0;
}

/* Where the FDE is of the last function that begins at or below pc, and where the next one begins. */
static int find(struct gd_memory *memory, const struct gd_cfi_table *table, uint64_t pc,
                uint64_t *ret, uint64_t *ret_next, struct gd_error *err)
{
	uint8_t pairs[PAIRS_AT_ONCE * PAIR];
	uint32_t low = 0, high = table->n; /* it is in [low, high) */
	if (table->list != NULL)
		return find_listed(table, pc, ret, ret_next, err);
	*ret_next = UINT64_MAX;
	while (high - low > PAIRS_AT_ONCE) {
		uint32_t middle = low + (high - low) / 2;
		int r = gd_memory_read(memory, pair_at(table, middle), pairs, PAIR, err);
		if (r < 0)
			return r;
		if (relative(table, pairs) <= pc) {
			low = middle;
		} else {
			high = middle;
			*ret_next = relative(table, pairs);
		}
	}
	int r = gd_memory_read(memory, pair_at(table, low), pairs, (size_t)(high - low) * PAIR, err);
	if (r < 0)
		return r;
	uint32_t first = low, last = high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (relative(table, pairs + (size_t)(middle - first) * PAIR) <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == first)
		return gd_fail(err, -ENOENT, "no frame table has 0x%" PRIx64, pc);
	*ret = relative(table, pairs + (size_t)(low - 1 - first) * PAIR + 4);
	if (low < last)
		*ret_next = relative(table, pairs + (size_t)(low - first) * PAIR);
	return 0;
}

/* ---- is it sound? ---------------------------------------------------------------------------- */

/* Signed or not is the same length. */
static void skip_leb(struct gd_bytes *b)
{
	for (int i = 0; i < 10 && !b->bad; i++)
		if ((gd_bytes_u8(b) & 0x80) == 0)
			return;
	b->bad = true;
}

static void skip_register(struct gd_bytes *b)
{
	if (gd_bytes_uvarint(b) > REGISTER_MAX)
		b->bad = true;
}

size_t gd_cfi_pointer_bytes(uint8_t encoding)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	default:
		return 0;
	}
}

/* What follows an operation: 1 to 8 bytes as they are, L a LEB128; NULL: not one that we let through. */
static const char *expression_operands(uint8_t op)
{
	static const char *const operands[] = {
		[DW_OP_deref] = "",    [DW_OP_const1u] = "1", [DW_OP_const1s] = "1",
		[DW_OP_const2u] = "2", [DW_OP_const2s] = "2", [DW_OP_const4u] = "4",
		[DW_OP_const4s] = "4", [DW_OP_const8u] = "8", [DW_OP_const8s] = "8",
		[DW_OP_constu] = "L",  [DW_OP_consts] = "L",  [DW_OP_dup] = "",
		[DW_OP_drop] = "",     [DW_OP_over] = "",     [DW_OP_swap] = "",
		[DW_OP_and] = "",      [DW_OP_minus] = "",    [DW_OP_mul] = "",
		[DW_OP_neg] = "",      [DW_OP_not] = "",      [DW_OP_or] = "",
		[DW_OP_plus] = "",     [DW_OP_plus_uconst] = "L", [DW_OP_shl] = "",
		[DW_OP_shr] = "",      [DW_OP_shra] = "",     [DW_OP_xor] = "",
		[DW_OP_eq] = "",       [DW_OP_ge] = "",       [DW_OP_gt] = "",
		[DW_OP_le] = "",       [DW_OP_lt] = "",       [DW_OP_ne] = "",
		[DW_OP_nop] = "",
	};
	if (op >= DW_OP_lit0 && op <= DW_OP_lit31)
		return "";
	if (op >= DW_OP_breg0 && op <= DW_OP_breg31)
		return "L";
	return op < sizeof(operands) / sizeof(operands[0]) ? operands[op] : NULL;
}

static void skip_operand(struct gd_bytes *b, char kind);

static void check_expression(struct gd_bytes *b)
{
	uint64_t len = gd_bytes_uvarint(b);
	const uint8_t *bytes = len <= EXPRESSION_MAX ? gd_bytes_take(b, (size_t)len) : NULL;
	if (bytes == NULL) {
		b->bad = true;
		return;
	}
	struct gd_bytes e = gd_bytes_of(bytes, (size_t)len);
	while (e.pos < e.len && !e.bad) {
		const char *operands = expression_operands(gd_bytes_u8(&e));
		if (operands == NULL)
			e.bad = true;
		else if (operands[0] != '\0')
			skip_operand(&e, operands[0]);
	}
	b->bad = b->bad || e.bad;
}

/* R a register, L a LEB128, E an expression, 1 to 8 bytes. */
static void skip_operand(struct gd_bytes *b, char kind)
{
	if (kind == 'R')
		skip_register(b);
	else if (kind == 'L')
		skip_leb(b);
	else if (kind == 'E')
		check_expression(b);
	else
		(void)gd_bytes_take(b, (size_t)(kind - '0'));
}

/* DW_CFA_set_loc, which could lead back, is nobody's. */
static const char *instruction_operands(uint8_t op)
{
	static const char *const operands[] = {
		[DW_CFA_nop] = "",                 [DW_CFA_advance_loc1] = "1",
		[DW_CFA_advance_loc2] = "2",       [DW_CFA_advance_loc4] = "4",
		[DW_CFA_offset_extended] = "RL",   [DW_CFA_restore_extended] = "R",
		[DW_CFA_undefined] = "R",          [DW_CFA_same_value] = "R",
		[DW_CFA_register] = "RR",          [DW_CFA_remember_state] = "",
		[DW_CFA_restore_state] = "",       [DW_CFA_def_cfa] = "RL",
		[DW_CFA_def_cfa_register] = "R",   [DW_CFA_def_cfa_offset] = "L",
		[DW_CFA_def_cfa_expression] = "E", [DW_CFA_expression] = "RE",
		[DW_CFA_offset_extended_sf] = "RL", [DW_CFA_def_cfa_sf] = "RL",
		[DW_CFA_def_cfa_offset_sf] = "L",  [DW_CFA_val_offset] = "RL",
		[DW_CFA_val_offset_sf] = "RL",     [DW_CFA_val_expression] = "RE",
		[DW_CFA_GNU_args_size] = "L",      [DW_CFA_GNU_negative_offset_extended] = "RL",
#if defined(__aarch64__)
		[DW_CFA_AARCH64_negate_ra_state] = "",
#endif
	};
	switch (op & 0xc0) {
	case DW_CFA_offset:
		return "L";
	case DW_CFA_advance_loc:
	case DW_CFA_restore:
		return "";
	default:
		return op < sizeof(operands) / sizeof(operands[0]) ? operands[op] : NULL;
	}
}

static bool instructions_are_sound(struct gd_bytes *b)
{
	int states = 0;
	while (b->pos < b->len && !b->bad) {
		uint8_t op = gd_bytes_u8(b);
		const char *operands = instruction_operands(op);
		states += (op == DW_CFA_remember_state) - (op == DW_CFA_restore_state);
		if (operands == NULL || states < 0 || states > STATES_MAX)
			return false;
		for (; *operands != '\0'; operands++)
			skip_operand(b, *operands);
	}
	return !b->bad;
}

/* What the letters behind 'z' say of its data; *pointer is how addresses are written. */
static bool augmentation_is_sound(const char *letters, struct gd_bytes *data, uint8_t *pointer)
{
	for (; *letters != '\0'; letters++) {
		if (*letters == 'S' || *letters == 'B')
			continue;
		if (*letters != 'R' && *letters != 'L' && *letters != 'P')
			return false;
		uint8_t encoding = gd_bytes_u8(data);
		if (*letters == 'R')
			*pointer = encoding;
		else if (*letters == 'P' && gd_bytes_take(data, gd_cfi_pointer_bytes(encoding)) == NULL)
			return false;
	}
	return !data->bad;
}

bool gd_cfi_cie_is_sound(const uint8_t *bytes, size_t len, bool *sized, uint8_t *pointer)
{
	struct gd_bytes b = gd_bytes_of(bytes, len);
	uint32_t id = gd_bytes_u32(&b);
	uint8_t version = gd_bytes_u8(&b);
	const char *letters = (const char *)bytes + b.pos;
	size_t n = b.bad ? 0 : strnlen(letters, len - b.pos);
	if (b.bad || id != 0 || (version != 1 && version != 3) || n > AUGMENTATION_MAX ||
	    gd_bytes_take(&b, n + 1) == NULL)
		return false;
	uint64_t unit = gd_bytes_uvarint(&b);
	skip_leb(&b);
	if (version == 1)
		(void)gd_bytes_u8(&b);
	else
		skip_register(&b);
	*sized = letters[0] == 'z';
	*pointer = DW_EH_PE_absptr;
	if (*sized) {
		uint64_t size = gd_bytes_uvarint(&b);
		const uint8_t *data = size <= len ? gd_bytes_take(&b, (size_t)size) : NULL;
		struct gd_bytes d = gd_bytes_of(data, data != NULL ? (size_t)size : 0);
		if (data == NULL || !augmentation_is_sound(letters + 1, &d, pointer))
			return false;
	}
	uint8_t base = *pointer & 0xf0;
	return unit <= UNIT_MAX && (n == 0 || *sized) && gd_cfi_pointer_bytes(*pointer) != 0 &&
	       (base == DW_EH_PE_absptr || base == DW_EH_PE_pcrel) &&
	       instructions_are_sound(&b);
}

static bool fde_is_sound(const uint8_t *bytes, size_t len, bool sized, uint8_t pointer)
{
	struct gd_bytes b = gd_bytes_of(bytes, len);
	(void)gd_bytes_u32(&b);
	(void)gd_bytes_take(&b, 2 * gd_cfi_pointer_bytes(pointer));
	if (sized) {
		uint64_t size = gd_bytes_uvarint(&b);
		if (size > len || gd_bytes_take(&b, (size_t)size) == NULL)
			return false;
	}
	return !b.bad && instructions_are_sound(&b);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A length and as many bytes.  Lengths of 64 bits (0xffffffff) are nobody's in .eh_frame. */
static int read_entry(struct gd_memory *memory, uint64_t at, uint8_t *to, size_t max, size_t *ret_len,
                      struct gd_error *err)
{
	ssize_t got = gd_memory_read_some(memory, at, to, max < FIRST_READ ? max : FIRST_READ);
	if (got < 8)
		return gd_fail(err, -EFAULT, "frame information at 0x%" PRIx64, at);
	uint64_t len = (uint64_t)gd_load_u32(to) + 4;
	if (len < 8)
		return gd_fail(err, -EBADMSG, "frame information at 0x%" PRIx64 ": empty", at);
	if (len > max)
		return gd_fail(err, -E2BIG, "frame information at 0x%" PRIx64, at);
	int r = 0;
	if (len > (uint64_t)got)
		r = gd_memory_read(memory, at + (uint64_t)got, to + got, (size_t)len - (size_t)got, err);
	*ret_len = (size_t)len;
	return r;
}

static void store(uint8_t *to, const void *from, size_t n)
{
	memcpy(to, from, n);
}

/* Such a program header and such a section that the FDE has its own address: what it says of places is
 * relative to that. */
static void put_head(struct gd_cfi_entry *e)
{
	const size_t head = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
	const uint64_t frames_at = e->fde_at - e->cie_len;
	const size_t size = GD_CFI_HEAD + e->cie_len + e->fde_len + GD_CFI_PAD;
	const Elf64_Ehdr elf = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN,
#if defined(__x86_64__)
		.e_machine = EM_X86_64,
#elif defined(__aarch64__)
		.e_machine = EM_AARCH64,
#endif
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	const Elf64_Phdr frames = { .p_type = PT_GNU_EH_FRAME, .p_offset = head,
		                    .p_vaddr = frames_at - (GD_CFI_HEAD - head),
		                    .p_filesz = size - head, .p_memsz = size - head };
	const uint8_t table[4] = { 1, DW_EH_PE_udata8, DW_EH_PE_omit, DW_EH_PE_omit };
	store(e->image, &elf, sizeof(elf));
	store(e->image + sizeof(elf), &frames, sizeof(frames));
	memset(e->image + head, 0, GD_CFI_HEAD - head);
	store(e->image + head, table, sizeof(table));
	store(e->image + head + sizeof(table), &frames_at, sizeof(frames_at));
	memset(e->image + size - GD_CFI_PAD, 0, GD_CFI_PAD);
}

int gd_cfi_entry_read(struct gd_memory *memory, const struct gd_cfi_table *table, uint64_t pc,
                      struct gd_cfi_entry *ret, struct gd_error *err)
{
	uint8_t fde[8] = { 0 };
	uint8_t *cie = ret->image + GD_CFI_HEAD;
	bool sized = false;
	uint8_t pointer = 0;
	int r = table->n > 0 ? find(memory, table, pc, &ret->fde_at, &ret->next, err)
	                     : gd_fail(err, -ENOENT, "an empty frame table");
	if (r == 0)
		r = gd_memory_read(memory, ret->fde_at, fde, sizeof(fde), err);
	/* The distance from where it stands back to the CIE; 0 is a CIE itself. */
	uint32_t back = gd_load_u32(fde + 4);
	if (r == 0 && back == 0)
		r = gd_fail(err, -EBADMSG, "frame information at 0x%" PRIx64 ": no function's",
		            ret->fde_at);
	if (r == 0)
		r = read_entry(memory, ret->fde_at + 4 - back, cie, GD_CFI_CIE_MAX, &ret->cie_len, err);
	if (r == 0)
		r = read_entry(memory, ret->fde_at, cie + ret->cie_len, GD_CFI_FDE_MAX, &ret->fde_len,
		               err);
	if (r < 0)
		return r;
	if (!gd_cfi_cie_is_sound(cie + 4, ret->cie_len - 4, &sized, &pointer) ||
	    !fde_is_sound(cie + ret->cie_len + 4, ret->fde_len - 4, sized, pointer))
		return gd_fail(err, -EBADMSG, "frame information at 0x%" PRIx64 ": not sound",
		               ret->fde_at);
	back = (uint32_t)ret->cie_len + 4;
	store(cie + ret->cie_len + 4, &back, sizeof(back));
	put_head(ret);
	return 0;
}
