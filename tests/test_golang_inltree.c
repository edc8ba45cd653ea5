#include "golang/inltree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/go_image.h"
#include "tests/go_target.h"

static const uint64_t gofunc = GO_IMAGE_BASE + GO_IMAGE_GOFUNC;

static struct gd_modules modules;

static struct gd_func open_image(struct go_image *image)
{
	struct gd_error err = { 0 };
	struct gd_func func;
	go_image_load(image);
	assert_ok(gd_modules_find(image->memory, &image->maps, &modules, &err), &err);
	assert_true(gd_pclntab_func_named(&modules.list[0].pclntab, "main.main", &func));
	return func;
}

static void close_image(struct go_image *image)
{
	gd_modules_deinit(&modules);
	go_image_unload(image);
}

static void records_of_both_formats_are_read(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_inlined call;
		go_image_make(&image, minor);
		struct gd_func func = open_image(&image);
		const struct gd_pclntab *tab = &modules.list[0].pclntab;
		assert_ok(gd_inltree_read(image.memory, gofunc, tab, &func, 1, &call, &err), &err);
		assert_string_equal(gd_pclntab_name(tab, call.name_off), "main.inner");
		assert_int_equal(call.parent_pc, 0x50);
		assert_int_equal(call.start_line, minor < 20 ? 0 : 41);
		assert_int_equal(call.func_id, 0);
		close_image(&image);
	}
}

static void what_is_not_there_is_an_error(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_inlined call;
	struct gd_func leaf;
	go_image_make(&image, 24);
	struct gd_func func = open_image(&image);
	const struct gd_pclntab *tab = &modules.list[0].pclntab;
	struct gd_memory *memory = image.memory;
	assert_true(gd_pclntab_func_named(tab, "main.leaf", &leaf));
	assert_fails(gd_inltree_read(memory, gofunc, tab, &leaf, 0, &call, &err), -ENOENT, &err);
	assert_fails(gd_inltree_read(memory, 0, tab, &func, 0, &call, &err), -ENOENT, &err);
	assert_fails(gd_inltree_read(memory, gofunc, tab, &func, -1, &call, &err), -EBADMSG, &err);
	assert_fails(gd_inltree_read(memory, gofunc, tab, &func, 1 << 20, &call, &err), -EBADMSG,
	             &err);
	assert_fails(gd_inltree_read(memory, gofunc, tab, &func, 1 << 19, &call, &err), -EFAULT,
	             &err);
	assert_fails(gd_inltree_read(memory, UINT64_MAX - 8, tab, &func, 0, &call, &err), -EFAULT,
	             &err);
	close_image(&image);
}

static void too_few_trees_prove_nothing_but_one_disproves(void **state)
{
	(void)state;
	struct go_image image;
	go_image_make(&image, 24);
	(void)open_image(&image);
	const struct gd_pclntab *tab = &modules.list[0].pclntab;
	assert_int_equal(gd_inltree_prove(image.memory, gofunc, tab), GD_INLTREE_TOO_FEW);
	assert_int_equal(gd_inltree_prove(image.memory, 0, tab), GD_INLTREE_WRONG);
	assert_int_equal(gd_inltree_prove(image.memory, gofunc + 8, tab), GD_INLTREE_WRONG);
	/* the second record is no first one: its call stands inside of main.outer */
	assert_int_equal(gd_inltree_prove(image.memory, gofunc + 16, tab), GD_INLTREE_WRONG);
	assert_int_equal(gd_inltree_prove(image.memory, 0x10, tab), GD_INLTREE_WRONG);
	close_image(&image);
}

/* Every record that is in force anywhere must be one; the compiler puts parents first. */
static void check_all(struct go_target *go)
{
	const struct gd_module *module = go->modules.list;
	const struct gd_pclntab *tab = &module->pclntab;
	unsigned calls = 0;
	for (uint64_t i = 0; i < tab->nfunc; i++) {
		struct gd_func func;
		assert_true(gd_pclntab_func_at(tab, i, &func));
		for (uint64_t pc = func.entry; pc < func.end; pc += 5) {
			struct gd_error err = { 0 };
			struct gd_inlined call;
			int32_t index = gd_pclntab_pcdata(tab, &func, 2, pc);
			if (index < 0)
				continue;
			go_assert_ok(go, gd_inltree_read(go->target->memory, module->gofunc, tab,
			                                 &func, index, &call, &err), &err);
			int32_t parent = gd_pclntab_pcdata(tab, &func, 2,
			                                   func.entry + (uint64_t)call.parent_pc);
			if (call.parent_pc < 0 || parent >= index ||
			    (uint64_t)call.parent_pc >= func.end - func.entry)
				go_target_fail(go, "%s: call %d at %d, whose parent is %d",
				               gd_pclntab_name(tab, func.name_off), index,
				               call.parent_pc, parent);
			calls++;
			pc += 20;
		}
	}
	print_message("# %u inlined calls\n", calls);
	assert_true(calls > 1000);
}

static void calls_stand_in_what_was_inlined_before_them(void **state)
{
	(void)state;
	go_target_each("symbols", check_all);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(records_of_both_formats_are_read),
		test_case(what_is_not_there_is_an_error),
		test_case(too_few_trees_prove_nothing_but_one_disproves),
		test_case(calls_stand_in_what_was_inlined_before_them),
	};
	return test_run(tests);
}
