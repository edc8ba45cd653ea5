/* Code as gcc's assembler encodes it, at address 0x1000 (checked with objdump). */
#include "golang/operands.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

static struct gd_operand only(const uint8_t *code, size_t len)
{
	struct gd_operand list[4];
	assert_int_equal(gd_operands_of(code, len, 0x1000, list, 4), 1);
	return list[0];
}

#define ONLY(...) only((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void assert_operand(struct gd_operand operand, uint64_t addr, enum gd_operand_kind kind,
                           unsigned width)
{
	assert_int_equal(operand.addr, addr);
	assert_int_equal(operand.kind, kind);
	assert_int_equal(operand.width, width);
}

static void loads_and_stores_carry_their_width(void **state)
{
	(void)state;
	/* mov rax, [rip+0x100]; mov r9, ...; mov eax, ...; movzx eax, byte ptr ... */
	assert_operand(ONLY(0x48, 0x8b, 0x05, 0x00, 0x01, 0, 0), 0x1107, GD_OPERAND_LOAD, 8);
	assert_operand(ONLY(0x4c, 0x8b, 0x0d, 0x00, 0x01, 0, 0), 0x1107, GD_OPERAND_LOAD, 8);
	assert_operand(ONLY(0x8b, 0x05, 0x00, 0x01, 0, 0), 0x1106, GD_OPERAND_LOAD, 4);
	assert_operand(ONLY(0x0f, 0xb6, 0x05, 0x00, 0x01, 0, 0), 0x1107, GD_OPERAND_LOAD, 1);
	/* mov [rip+0x100], rcx; mov [rip+0x100], cl */
	assert_operand(ONLY(0x48, 0x89, 0x0d, 0x00, 0x01, 0, 0), 0x1107, GD_OPERAND_STORE, 8);
	assert_operand(ONLY(0x88, 0x0d, 0x00, 0x01, 0, 0), 0x1106, GD_OPERAND_STORE, 1);
}

/* The displacement counts from the end of the instruction, constants included. */
static void constants_behind_the_displacement_are_counted(void **state)
{
	(void)state;
	/* mov byte ptr [rip+0x100], 1; mov qword ptr [rip+0x100], 7; cmp qword ptr [rip+0x100], 0 */
	assert_operand(ONLY(0xc6, 0x05, 0x00, 0x01, 0, 0, 1), 0x1107, GD_OPERAND_STORE, 1);
	assert_operand(ONLY(0x48, 0xc7, 0x05, 0x00, 0x01, 0, 0, 7, 0, 0, 0), 0x110b,
	               GD_OPERAND_STORE, 8);
	assert_operand(ONLY(0x48, 0x83, 0x3d, 0x00, 0x01, 0, 0, 0), 0x1108, GD_OPERAND_CMP, 8);
	/* add dword ptr [rip+0x100], 1000: the same opcode as cmp with a 32-bit constant */
	assert_operand(ONLY(0x81, 0x05, 0x00, 0x01, 0, 0, 0xe8, 3, 0, 0), 0x110a,
	               GD_OPERAND_OTHER, 4);
	assert_operand(ONLY(0x81, 0x3d, 0x00, 0x01, 0, 0, 0xe8, 3, 0, 0), 0x110a, GD_OPERAND_CMP, 4);
}

static void displacements_reach_backwards(void **state)
{
	(void)state;
	/* lea rdi, [rip-0x10] */
	assert_operand(ONLY(0x48, 0x8d, 0x3d, 0xf0, 0xff, 0xff, 0xff), 0x0ff7, GD_OPERAND_LEA, 8);
}

static void locked_instructions_are_seen(void **state)
{
	(void)state;
	/* lock xadd [rip+0x100], rax; lock cmpxchg [rip+0x100], ecx; xchg [rip+0x100], rdx */
	assert_operand(ONLY(0xf0, 0x48, 0x0f, 0xc1, 0x05, 0x00, 0x01, 0, 0), 0x1109,
	               GD_OPERAND_OTHER, 8);
	assert_operand(ONLY(0xf0, 0x0f, 0xb1, 0x0d, 0x00, 0x01, 0, 0), 0x1108, GD_OPERAND_OTHER, 4);
	assert_operand(ONLY(0x48, 0x87, 0x15, 0x00, 0x01, 0, 0), 0x1107, GD_OPERAND_OTHER, 8);
}

static void other_addressing_is_not_taken_for_it(void **state)
{
	(void)state;
	/* mov rax, [rax]; mov rax, [rsp+0x20]; mov eax, 5; ret */
	static const uint8_t code[] = { 0x48, 0x8b, 0x00, 0x48, 0x8b, 0x44, 0x24,
		                        0x20, 0xb8, 5,    0,    0,    0,    0xc3 };
	struct gd_operand list[4];
	assert_int_equal(gd_operands_of(code, sizeof(code), 0x1000, list, 4), 0);
}

static void operands_come_in_the_order_of_the_code_up_to_the_limit(void **state)
{
	(void)state;
	/* mov rax, [rip+0x100]; lea rcx, [rip+0x200]; cmp [rip+0x300], edx */
	static const uint8_t code[] = { 0x48, 0x8b, 0x05, 0x00, 0x01, 0, 0, 0x48, 0x8d, 0x0d,
		                        0x00, 0x02, 0,    0,    0x39, 0x15, 0x00, 0x03, 0, 0 };
	struct gd_operand list[4];
	assert_int_equal(gd_operands_of(code, sizeof(code), 0x1000, list, 4), 3);
	assert_operand(list[0], 0x1107, GD_OPERAND_LOAD, 8);
	assert_operand(list[1], 0x120e, GD_OPERAND_LEA, 8);
	assert_operand(list[2], 0x1314, GD_OPERAND_CMP, 4);
	assert_int_equal(gd_operands_of(code, sizeof(code), 0x1000, list, 2), 2);
}

static void code_cut_anywhere_is_not_read_beyond(void **state)
{
	(void)state;
	static const uint8_t code[] = { 0x48, 0xc7, 0x05, 0x00, 0x01, 0, 0, 7, 0, 0, 0 };
	struct gd_operand list[4];
	for (size_t len = 0; len < sizeof(code); len++) {
		/* exactly as long as said, so that a sanitizer sees a byte too many */
		uint8_t *cut = malloc(len > 0 ? len : 1);
		assert_non_null(cut);
		memcpy(cut, code, len);
		assert_int_equal(gd_operands_of(cut, len, 0x1000, list, 4), 0);
		free(cut);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(loads_and_stores_carry_their_width),
		test_case(constants_behind_the_displacement_are_counted),
		test_case(displacements_reach_backwards),
		test_case(locked_instructions_are_seen),
		test_case(other_addressing_is_not_taken_for_it),
		test_case(operands_come_in_the_order_of_the_code_up_to_the_limit),
		test_case(code_cut_anywhere_is_not_read_beyond),
	};
	return test_run(tests);
}
