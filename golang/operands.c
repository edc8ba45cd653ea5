#include "golang/operands.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

/* What an opcode does with its memory operand; imm: bytes behind the displacement. */
struct opcode {
	uint8_t code;
	uint8_t imm;
	uint8_t width; /* 0: 4 bytes, 8 with REX.W */
	uint8_t kind;
};

static const struct opcode one_byte[] = {
	{ 0x8b, 0, 0, GD_OPERAND_LOAD },  { 0x8a, 0, 1, GD_OPERAND_LOAD },
	{ 0x89, 0, 0, GD_OPERAND_STORE }, { 0x88, 0, 1, GD_OPERAND_STORE },
	{ 0xc7, 4, 0, GD_OPERAND_STORE }, { 0xc6, 1, 1, GD_OPERAND_STORE },
	{ 0x8d, 0, 0, GD_OPERAND_LEA },   { 0x39, 0, 0, GD_OPERAND_CMP },
	{ 0x3b, 0, 0, GD_OPERAND_CMP },   { 0x85, 0, 0, GD_OPERAND_OTHER },
	{ 0x87, 0, 0, GD_OPERAND_OTHER }, { 0x03, 0, 0, GD_OPERAND_OTHER },
	{ 0x01, 0, 0, GD_OPERAND_OTHER }, { 0x2b, 0, 0, GD_OPERAND_OTHER },
	{ 0x29, 0, 0, GD_OPERAND_OTHER }, { 0xff, 0, 0, GD_OPERAND_OTHER },
	{ 0x83, 1, 0, GD_OPERAND_OTHER }, { 0x81, 4, 0, GD_OPERAND_OTHER },
	{ 0x80, 1, 1, GD_OPERAND_OTHER },
};

static const struct opcode two_bytes[] = {
	/* 0f xx: movzx, cmpxchg, xadd */
	{ 0xb6, 0, 1, GD_OPERAND_LOAD },
	{ 0xb1, 0, 0, GD_OPERAND_OTHER },
	{ 0xc1, 0, 0, GD_OPERAND_OTHER },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct opcode *lookup(const struct opcode *list, size_t n, uint8_t code)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].code == code)
			return &list[i];
	return NULL;
}

/* 0x80, 0x81 and 0x83 are a group of eight operations; /7 is a comparison. */
static enum gd_operand_kind kind_of(const struct opcode *op, uint8_t modrm)
{
	bool group = op->code == 0x80 || op->code == 0x81 || op->code == 0x83;
	return group && ((modrm >> 3) & 7) == 7 ? GD_OPERAND_CMP : (enum gd_operand_kind)op->kind;
}

/* The instruction at code[at], if it is one with a PC-relative operand: its length, else 0. */
static size_t decode(const uint8_t *code, size_t len, size_t at, uint64_t addr,
                     struct gd_operand *ret)
{
	size_t i = at;
	uint8_t rex = 0;
	if (i < len && (code[i] & 0xf0) == 0x40)
		rex = code[i++];
	bool two = i < len && code[i] == 0x0f;
	if (two)
		i++;
	/* opcode, modrm, disp32 */
	if (len - at < 6 || i > len - 6)
		return 0;
	const struct opcode *op = two ? lookup(two_bytes, COUNT(two_bytes), code[i]) :
	                                lookup(one_byte, COUNT(one_byte), code[i]);
	uint8_t modrm = code[i + 1];
	if (op == NULL || (modrm & 0xc7) != 5 || len - i - 6 < op->imm)
		return 0;
	int32_t disp;
	memcpy(&disp, code + i + 2, sizeof(disp));
	size_t end = i + 6 + op->imm;
	ret->addr = addr + end + (uint64_t)(int64_t)disp;
	ret->kind = kind_of(op, modrm);
	ret->width = op->width != 0 ? op->width : (rex & 8) != 0 ? 8 : 4;
	return end - at;
}

size_t gd_operands_of(const uint8_t *code, size_t len, uint64_t addr, struct gd_operand *to,
                      size_t max)
{
	size_t n = 0;
	/* Step by bytes, not by what was matched: a match inside an instruction hides nothing. */
	for (size_t at = 0; at < len && n < max; at++) {
		size_t used = decode(code, len, at, addr, &to[n]);
		if (used == 0)
			continue;
		/* With REX.W the same instruction must not be seen again without it. */
		if ((code[at] & 0xf0) == 0x40)
			at++;
		n++;
	}
	return n;
}
