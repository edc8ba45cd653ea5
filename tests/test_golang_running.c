/*
 * A running goroutine's stack laid out by hand: main.main, called by the root, has called main.leaf.
 */
#include "golang/running.h"

#include <string.h>

#include "tests/go_image.h"
#include "tests/test.h"

enum {
	STACK = 0x100000,
	WORDS = 32,
	MAIN = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_MAIN,
	LEAF = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_LEAF,
	ROOT = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_SWITCH, /* plays runtime.goexit */
	/* Where the words lie: main's frame has three words, leaf's one. */
	ROOT_WORD = WORDS - 4,
	MAIN_WORD = ROOT_WORD - 4,
	LEAF_WORD = MAIN_WORD - 2,
};

struct fixture {
	struct go_image image;
	struct gd_modules modules;
	struct gd_symbols *symbols;
	uint64_t words[WORDS];
	struct gd_running_link links[GD_RUNNING_LINKS_MAX];
};

static struct fixture f;

static void put_call(uint64_t from, uint64_t to)
{
	uint8_t *code = f.image.bytes + (from - GO_IMAGE_BASE);
	int32_t distance = (int32_t)(to - (from + 5));
	code[0] = 0xe8;
	memcpy(code + 1, &distance, 4);
}

static void make(void)
{
	memset(&f, 0, sizeof(f));
	go_image_make(&f.image, 22);
	f.image.bytes[f.image.at_func[2] + 41] = GD_FUNC_TOP_FRAME;
	put_call(MAIN + 0x7b, LEAF); /* returns to MAIN + 0x80 */
	f.image.bytes[LEAF + 0x1e - GO_IMAGE_BASE] = 0xff; /* call *%rdx, returns to LEAF + 0x20 */
	f.image.bytes[LEAF + 0x1f - GO_IMAGE_BASE] = 0xd2;
	f.words[ROOT_WORD] = ROOT + 1;
	f.words[MAIN_WORD] = MAIN + 0x80;
	f.words[LEAF_WORD] = LEAF + 0x20;
}

static void load(void)
{
	struct gd_error err = { 0 };
	go_image_load(&f.image);
	assert_ok(gd_modules_find(f.image.memory, &f.image.maps, &f.modules, &err), &err);
	assert_ok(gd_modules_complete(&f.modules, f.image.memory, 22, 0, &err), &err);
	assert_ok(gd_symbols_create(f.image.memory, &f.modules, 22, &f.symbols, &err), &err);
}

static void unload(void)
{
	gd_symbols_destroy(f.symbols);
	gd_modules_deinit(&f.modules);
	go_image_unload(&f.image);
}

static size_t search(const uint64_t *before, uint64_t startpc)
{
	struct gd_stack stack = { .hi = STACK + sizeof(f.words), .at = STACK,
		                  .len = sizeof(f.words), .bytes = (const uint8_t *)f.words };
	return gd_running_search(f.symbols, f.image.memory, &stack, (const uint8_t *)before, startpc,
	                         f.links);
}

static void the_chain_to_the_root_is_found_innermost_first(void **state)
{
	(void)state;
	make();
	load();
	assert_int_equal(search(NULL, MAIN), 3);
	assert_int_equal(f.links[0].pc, LEAF + 0x20);
	assert_int_equal(f.links[0].sp, STACK + (LEAF_WORD + 1) * 8);
	assert_int_equal(f.links[1].pc, MAIN + 0x80);
	assert_int_equal(f.links[2].pc, ROOT + 1);
	unload();
}

static void another_function_than_the_goroutines_own_is_no_chain(void **state)
{
	(void)state;
	make();
	load();
	assert_int_equal(search(NULL, LEAF), 1); /* the root alone */
	f.words[ROOT_WORD] = 0;
	assert_int_equal(search(NULL, MAIN), 0);
	unload();
}

static void a_call_of_somebody_else_is_a_left_over(void **state)
{
	(void)state;
	make();
	put_call(MAIN + 0x7b, MAIN); /* main called itself there, not leaf */
	load();
	assert_int_equal(search(NULL, MAIN), 2);
	assert_int_equal(f.links[0].pc, MAIN + 0x80);
	unload();
}

static void a_word_that_is_not_behind_a_call_is_not_a_link(void **state)
{
	(void)state;
	make();
	load();
	f.words[LEAF_WORD] = LEAF + 0x21;
	assert_int_equal(search(NULL, MAIN), 2);
	f.words[MAIN_WORD] = MAIN + 0x81;
	assert_int_equal(search(NULL, MAIN), 1);
	unload();
}

/* Between two looks everything down to the changed word was in use; what lies deeper proves nothing. */
static void links_below_what_changed_are_left_out(void **state)
{
	(void)state;
	uint64_t before[WORDS];
	make();
	load();
	memcpy(before, f.words, sizeof(before));
	assert_int_equal(search(before, MAIN), 3); /* nothing changed: no proof against any */
	before[LEAF_WORD + 1]++;
	assert_int_equal(search(before, MAIN), 2);
	assert_int_equal(f.links[0].pc, MAIN + 0x80);
	before[LEAF_WORD - 3]++;
	assert_int_equal(search(before, MAIN), 3);
	unload();
}

static void stacks_of_any_content_are_survived(void **state)
{
	(void)state;
	make();
	load();
	for (uint64_t fill = 0; fill < 0x210; fill++) {
		for (size_t i = 0; i < WORDS; i++)
			f.words[i] = MAIN + fill;
		assert_true(search(NULL, MAIN) <= WORDS);
	}
	struct gd_stack odd = { .hi = STACK + 9, .at = STACK + 1, .len = 8,
		                .bytes = (const uint8_t *)f.words };
	assert_int_equal(gd_running_search(f.symbols, f.image.memory, &odd, NULL, MAIN, f.links), 0);
	unload();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_chain_to_the_root_is_found_innermost_first),
		test_case(another_function_than_the_goroutines_own_is_no_chain),
		test_case(a_call_of_somebody_else_is_a_left_over),
		test_case(a_word_that_is_not_behind_a_call_is_not_a_link),
		test_case(links_below_what_changed_are_left_out),
		test_case(stacks_of_any_content_are_survived),
	};
	return test_run(tests);
}
