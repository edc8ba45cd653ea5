/*
 * Stacks laid out by hand over the made-up module of go_image.h, whose frame sizes are known; the
 * truth on real stacks is truth_goroutines.c.
 */
#include "golang/unwind.h"

#include <stdlib.h>
#include <string.h>

#include "tests/go_image.h"
#include "tests/test.h"

enum {
	STACK = 0x100000,
	MAIN = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_MAIN,
	LEAF = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_LEAF,
	SWITCH = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_SWITCH,
	MAIN_FRAME = 0x18, /* at MAIN + 0x10 and on */
	LEAF_FRAME = 8,
};

struct fixture {
	struct go_image image;
	struct gd_modules modules;
	struct gd_symbols *symbols;
};

static size_t flag_of(const struct go_image *image, unsigned func)
{
	return image->at_func[func] + (image->minor < 20 ? 37 : 41);
}

static void load(struct fixture *f)
{
	struct gd_error err = { 0 };
	go_image_load(&f->image);
	assert_ok(gd_modules_find(f->image.memory, &f->image.maps, &f->modules, &err), &err);
	assert_ok(gd_modules_complete(&f->modules, f->image.memory, f->image.minor, 0, &err), &err);
	assert_ok(gd_symbols_create(f->image.memory, &f->modules, f->image.minor, &f->symbols, &err),
	          &err);
}

/* systemstack_switch plays the root of the stack. */
static void begin(struct fixture *f, int minor)
{
	go_image_make(&f->image, minor);
	f->image.bytes[flag_of(&f->image, 2)] = GD_FUNC_TOP_FRAME;
	load(f);
}

static void end(struct fixture *f)
{
	gd_symbols_destroy(f->symbols);
	gd_modules_deinit(&f->modules);
	go_image_unload(&f->image);
}

static struct gd_stack stack_of(const uint64_t *words, size_t n)
{
	return (struct gd_stack){ .hi = STACK + n * 8, .at = STACK, .len = n * 8,
		                  .bytes = (const uint8_t *)words };
}

static void walks_from_leaf_to_root(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct fixture f;
		begin(&f, minor);
		/* leaf: one word, return; main: three words, return; the root */
		uint64_t words[] = { 1, MAIN + 0x30, 2, 3, 4, SWITCH + 5, 5, 6 };
		struct gd_stack stack = stack_of(words, 8);
		struct gd_unwind u;
		gd_unwind_begin(&u, f.symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SAVED);
		assert_non_null(u.site);
		assert_string_equal(u.site->lines[0].function, "main.leaf");
		assert_int_equal(u.sp, STACK);
		assert_int_equal(u.fp, STACK + 16);
		gd_unwind_next(&u);
		assert_non_null(u.site);
		assert_int_equal(u.pc, MAIN + 0x30);
		assert_int_equal(u.site->n_lines, 3); /* inner in outer in main */
		assert_int_equal(u.fp, STACK + 48);
		gd_unwind_next(&u);
		assert_non_null(u.site);
		assert_int_equal(u.pc, SWITCH + 5);
		gd_unwind_next(&u);
		assert_null(u.site);
		assert_int_equal(u.end, GD_UNWIND_ROOT);
		assert_true(gd_unwind_complete(u.end));
		end(&f);
	}
}

/* The same stack, but only eight bytes of it can be seen at a time. */
static void walks_through_a_window(void **state)
{
	(void)state;
	struct fixture f;
	struct gd_error err = { 0 };
	begin(&f, 22);
	uint64_t words[] = { 1, MAIN + 0x30, 2, 3, 4, MAIN + 0x80, 2, 3, 4, SWITCH + 5, 5, 6 };
	GD_MEMORY struct gd_memory *memory = NULL;
	assert_ok(gd_memory_bytes(STACK, words, sizeof(words), &memory, &err), &err);
	uint8_t window[8];
	struct gd_stack stack = { .hi = STACK + sizeof(words), .memory = memory, .window = window,
		                  .window_bytes = sizeof(window) };
	struct gd_unwind u;
	unsigned n = 0;
	for (gd_unwind_begin(&u, f.symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SAVED);
	     u.site != NULL; gd_unwind_next(&u))
		n++;
	assert_int_equal(n, 4);
	assert_int_equal(u.end, GD_UNWIND_ROOT);
	end(&f);
}

static void a_call_of_nil_begins_in_its_caller(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 25);
	uint64_t words[] = { MAIN + 0x80, 2, 3, 4, SWITCH + 5 };
	struct gd_stack stack = stack_of(words, 5);
	struct gd_unwind u;
	gd_unwind_begin(&u, f.symbols, &stack, 0, STACK, GD_UNWIND_SAVED);
	assert_non_null(u.site);
	assert_int_equal(u.pc, MAIN + 0x80);
	gd_unwind_next(&u);
	assert_int_equal(u.pc, SWITCH + 5);
	end(&f);
}

/* Saved at main's first instruction, or interrupted there: the site is that of the pc itself. */
static void a_trap_is_where_the_pc_is(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 24);
	uint64_t words[] = { SWITCH + 5, 0, 0, 0, SWITCH + 5 };
	struct gd_stack stack = stack_of(words, 5);
	struct gd_unwind u;
	gd_unwind_begin(&u, f.symbols, &stack, MAIN + 0x20, STACK, GD_UNWIND_SAVED);
	assert_string_equal(u.site->lines[0].function, "main.main"); /* the call was before 0x20 */
	gd_unwind_begin(&u, f.symbols, &stack, MAIN + 0x20, STACK, GD_UNWIND_TRAP);
	assert_string_equal(u.site->lines[0].function, "main.inner");
	assert_true(u.exact);
	end(&f);
}

static void assembly_that_moves_sp_ends_it_unless_it_saved_its_way(void **state)
{
	(void)state;
	struct fixture f;
	go_image_make(&f.image, 23);
	f.image.bytes[flag_of(&f.image, 1)] = GD_FUNC_SP_WRITE;
	f.image.bytes[flag_of(&f.image, 2)] = GD_FUNC_TOP_FRAME;
	load(&f);
	uint64_t words[] = { 1, SWITCH + 5, 2 };
	struct gd_stack stack = stack_of(words, 3);
	struct gd_unwind u;
	gd_unwind_begin(&u, f.symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SAVED);
	assert_non_null(u.site);
	gd_unwind_next(&u);
	assert_null(u.site);
	assert_int_equal(u.end, GD_UNWIND_SWITCHED);
	gd_unwind_begin(&u, f.symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SYSCALL);
	gd_unwind_next(&u);
	assert_non_null(u.site);
	assert_int_equal(u.end, GD_UNWIND_ROOT);
	end(&f);
}

static enum gd_unwind_end end_of(struct fixture *f, const uint64_t *words, size_t n)
{
	struct gd_stack stack = stack_of(words, n);
	struct gd_unwind u;
	gd_unwind_begin(&u, f->symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SAVED);
	while (u.site != NULL)
		gd_unwind_next(&u);
	return u.end;
}

static void what_leads_nowhere_says_so(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 26);
	assert_int_equal(end_of(&f, (uint64_t[]){ 1, 0xdeadbeef, 2 }, 3), GD_UNWIND_LOST_PC);
	assert_int_equal(end_of(&f, (uint64_t[]){ 1, 0, 2 }, 3), GD_UNWIND_LOST_PC);
	assert_int_equal(end_of(&f, (uint64_t[]){ 1, UINT64_MAX, 2 }, 3), GD_UNWIND_LOST_PC);
	/* the stack ends within main's frame, and within leaf's */
	assert_int_equal(end_of(&f, (uint64_t[]){ 1, MAIN + 0x30, 2 }, 3), GD_UNWIND_LOST_SP);
	assert_int_equal(end_of(&f, (uint64_t[]){ 1 }, 1), GD_UNWIND_LOST_SP);
	/* no stack depth is known for the pc: schedinit has none here beyond its 0x70 bytes */
	struct gd_stack none = { .hi = STACK };
	struct gd_unwind u;
	gd_unwind_begin(&u, f.symbols, &none, 0, STACK, GD_UNWIND_SAVED);
	assert_null(u.site);
	assert_int_equal(u.end, GD_UNWIND_LOST_SP);
	gd_unwind_begin(&u, f.symbols, &none, 0x1234, STACK, GD_UNWIND_SAVED);
	assert_null(u.site);
	assert_int_equal(u.end, GD_UNWIND_LOST_PC);
	gd_unwind_next(&u);
	assert_null(u.site);
	end(&f);
}

/* A stack full of the same return address is walked once, upwards. */
static void a_stack_of_one_address_ends(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 21);
	static uint64_t words[100000];
	for (size_t i = 0; i < 100000; i++)
		words[i] = LEAF + 0x10;
	struct gd_stack stack = stack_of(words, 100000);
	struct gd_unwind u;
	size_t n = 0;
	for (gd_unwind_begin(&u, f.symbols, &stack, LEAF + 0x10, STACK, GD_UNWIND_SAVED);
	     u.site != NULL; gd_unwind_next(&u))
		n++;
	assert_int_equal(n, 50001); /* two words each, and the last found no room */
	assert_int_equal(u.end, GD_UNWIND_LOST_SP);
	end(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(walks_from_leaf_to_root),
		test_case(walks_through_a_window),
		test_case(a_call_of_nil_begins_in_its_caller),
		test_case(a_trap_is_where_the_pc_is),
		test_case(assembly_that_moves_sp_ends_it_unless_it_saved_its_way),
		test_case(what_leads_nowhere_says_so),
		test_case(a_stack_of_one_address_ends),
	};
	return test_run(tests);
}
