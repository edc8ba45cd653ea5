#include "tests/test.h"

#include <string.h>

#include "target/touched.h"

#define BASE UINT64_C(0xc000000000)
#define PAGE GD_TOUCHED_PAGE

struct gaps {
	size_t n;
	uint64_t list[16][2];
};

static int take(void *arg, uint64_t start, uint64_t end)
{
	struct gaps *gaps = arg;
	gaps->list[gaps->n][0] = start;
	gaps->list[gaps->n++][1] = end;
	return 0;
}

static void pages_that_were_read_are_known(void **state)
{
	(void)state;
	static uint8_t bytes[600 * 4096];
	uint8_t to[3 * 4096];
	struct gd_error err = { 0 };
	struct gaps gaps = { 0 };
	GD_MEMORY struct gd_memory *memory = NULL;
	struct gd_touched touched = GD_TOUCHED_INIT;
	assert_ok(gd_memory_bytes(BASE, bytes, sizeof(bytes), &memory, &err), &err);
	assert_ok(gd_memory_read(memory, BASE, to, 8, &err), &err); /* before */
	gd_touched_begin(&touched, memory);
	assert_ok(gd_memory_read(memory, BASE + 5 * PAGE + 4090, to, 4096, &err), &err);
	assert_ok(gd_memory_read(memory, BASE + 300 * PAGE, to, 1, &err), &err);
	assert_ok(gd_memory_read(memory, BASE + 256 * PAGE - 1, to, 2, &err), &err);
	(void)gd_memory_read_some(memory, BASE + 599 * PAGE, to, 3 * 4096); /* ends there */
	(void)gd_memory_read_some(memory, 0x1000, to, 8);
	gd_touched_end(&touched);
	assert_ok(gd_memory_read(memory, BASE + 100 * PAGE, to, 8, &err), &err); /* after */

	static const unsigned read[] = { 5, 6, 255, 256, 300, 599 };
	for (unsigned page = 0, i = 0; page < 602; page++) {
		bool was = i < 6 && read[i] == page;
		i += was;
		assert_int_equal(gd_touched_has(&touched, BASE + page * PAGE + 17), was);
	}
	assert_false(gd_touched_has(&touched, 0x1000));
	assert_int_equal(touched.failed, 0);

	assert_int_equal(gd_touched_gaps(&touched, BASE + 2 * PAGE, BASE + 301 * PAGE, take, &gaps), 0);
	static const unsigned expected[][2] = { { 2, 5 }, { 7, 255 }, { 257, 300 } };
	assert_int_equal(gaps.n, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(gaps.list[i][0], BASE + expected[i][0] * PAGE);
		assert_int_equal(gaps.list[i][1], BASE + expected[i][1] * PAGE);
	}
	gaps.n = 0;
	assert_int_equal(gd_touched_gaps(&touched, 0x10000, 0x20000, take, &gaps), 0);
	assert_int_equal(gaps.n, 1);
	assert_int_equal(gaps.list[0][1], 0x20000);
	gd_touched_deinit(&touched);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(pages_that_were_read_are_known),
	};
	return test_run(tests);
}
