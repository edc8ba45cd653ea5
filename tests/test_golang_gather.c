#include "golang/gather.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { BASE = 0x10000, SIZE = 0x10000, SCRATCH = 4096 };

struct fixture {
	uint8_t bytes[SIZE];
	struct gd_memory *memory;
	uint8_t scratch[SCRATCH];
	uint8_t to[64][SCRATCH * 2];
};

static struct fixture f;

static void begin(void)
{
	struct gd_error err = { 0 };
	for (size_t i = 0; i < SIZE; i++)
		f.bytes[i] = (uint8_t)(i * 31 + (i >> 8));
	memset(f.to, 0, sizeof(f.to));
	assert_ok(gd_memory_bytes(BASE, f.bytes, SIZE, &f.memory, &err), &err);
}

static void assert_filled(const struct gd_piece *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(pieces[i].got, pieces[i].len);
		assert_memory_equal(pieces[i].to, f.bytes + (pieces[i].addr - BASE), pieces[i].len);
	}
}

static void neighbours_are_read_together(void **state)
{
	(void)state;
	struct gd_piece pieces[16];
	begin();
	for (size_t i = 0; i < 16; i++) /* backwards, 100 bytes between them */
		pieces[i] = (struct gd_piece){ .addr = BASE + (15 - i) * 200, .len = 100,
			                       .to = f.to[i] };
	gd_gather(f.memory, pieces, 16, 100, f.scratch, SCRATCH);
	assert_filled(pieces, 16);
	assert_int_equal(f.memory->stats.reads, 1);
	for (size_t i = 0; i < 16; i++)
		pieces[i].got = 0;
	gd_gather(f.memory, pieces, 16, 99, f.scratch, SCRATCH);
	assert_filled(pieces, 16);
	assert_int_equal(f.memory->stats.reads, 1 + 16);
	gd_memory_close(f.memory);
}

static void pieces_may_overlap_and_be_larger_than_the_scratch(void **state)
{
	(void)state;
	begin();
	struct gd_piece pieces[] = {
		{ .addr = BASE + 10, .len = 50, .to = f.to[0] },
		{ .addr = BASE, .len = 100, .to = f.to[1] },
		{ .addr = BASE + 20, .len = SCRATCH * 2, .to = f.to[2] },
		{ .addr = BASE + 30, .len = 5, .to = f.to[3] },
		{ .addr = BASE + 10, .len = 50, .to = f.to[4] },
	};
	gd_gather(f.memory, pieces, 5, 0, f.scratch, SCRATCH);
	assert_filled(pieces, 5);
	gd_memory_close(f.memory);
}

static void holes_only_cost_the_pieces_in_them(void **state)
{
	(void)state;
	begin();
	struct gd_piece pieces[] = {
		{ .addr = BASE + SIZE - 300, .len = 100, .to = f.to[0] },
		{ .addr = BASE + SIZE - 150, .len = 100, .to = f.to[1] },
		{ .addr = BASE + SIZE - 20, .len = 100, .to = f.to[2] },
		{ .addr = BASE + SIZE + 40, .len = 100, .to = f.to[3] },
		{ .addr = UINT64_MAX - 10, .len = 100, .to = f.to[4] },
		{ .addr = 0, .len = 100, .to = f.to[5] },
	};
	gd_gather(f.memory, pieces, 6, 1000, f.scratch, SCRATCH);
	for (size_t i = 0; i < 6; i++) {
		size_t expected = pieces[i].to == f.to[0] || pieces[i].to == f.to[1] ? 100 :
		                  pieces[i].to == f.to[2] ? 20 : 0;
		assert_int_equal(pieces[i].got, expected);
		assert_memory_equal(pieces[i].to, f.bytes + (expected > 0 ? pieces[i].addr - BASE : 0),
		                    expected);
	}
	gd_gather(f.memory, pieces, 0, 1000, f.scratch, SCRATCH);
	gd_memory_close(f.memory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(neighbours_are_read_together),
		test_case(pieces_may_overlap_and_be_larger_than_the_scratch),
		test_case(holes_only_cost_the_pieces_in_them),
	};
	return test_run(tests);
}
