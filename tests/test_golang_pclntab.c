#include "golang/pclntab.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/go_image.h"
#include "tests/go_target.h"

/* ---- real tables ---------------------------------------------------------------------------- */

struct compared {
	const struct go_target *go;
	unsigned same, without;
};

/* "main.sum[go.shape.int]" and what 1.18 to 1.20 make of it, "main.sum[...]"; "runtime.gogo" and
 * the symbol that says for which calling convention, "runtime.gogo.abi0". */
static bool same_name(const char *ours, const char *symbol)
{
	size_t n = strcspn(symbol, "[");
	if (symbol[n] == '[')
		return strncmp(ours, symbol, n) == 0 && ours[n] == '[';
	n = strlen(ours);
	return strncmp(ours, symbol, n) == 0 &&
	       (symbol[n] == '\0' || strncmp(symbol + n, ".abi", 4) == 0);
}

/* The linker's other table of the same functions. */
static void compare(const char *name, uint64_t addr, bool function, void *arg)
{
	struct compared *c = arg;
	const struct gd_pclntab *tab = &c->go->modules.list[0].pclntab;
	struct gd_func func;
	if (!function || addr < tab->text || addr >= tab->etext)
		return;
	if (!gd_pclntab_func(tab, addr, &func) || func.entry != addr ||
	    !same_name(gd_pclntab_name(tab, func.name_off), name))
		c->without++;
	else
		c->same++;
}

static void check_against_elf(struct go_target *go)
{
	struct compared c = { .go = go };
	if (go_target_symbols(go, compare, &c) == 0)
		return;
	print_message("# %u functions like in .symtab, %u others there\n", c.same, c.without);
	assert_in_range(c.same, go->modules.list[0].pclntab.nfunc * 95 / 100, 100000);
	/* the markers runtime.text and go:textfipsstart share their address with a function */
	assert_in_range(c.without, 0, 2);
}

static void functions_are_those_of_the_elf_symbols(void **state)
{
	(void)state;
	go_target_each("symbols", check_against_elf);
}

static void check_functions(struct go_target *go)
{
	const struct gd_pclntab *tab = &go->modules.list[0].pclntab;
	uint64_t last = tab->text;
	unsigned named = 0;
	for (uint64_t i = 0; i < tab->nfunc; i++) {
		struct gd_func func, again;
		if (!gd_pclntab_func_at(tab, i, &func))
			go_target_fail(go, "function %" PRIu64 " of %" PRIu64, i, tab->nfunc);
		assert_true(func.entry >= last && func.end > func.entry && func.end <= tab->etext);
		last = func.end;
		const char *name = gd_pclntab_name(tab, func.name_off);
		assert_string_not_equal(name, "?");
		assert_string_not_equal(name, "");
		/* found by its first and by its last byte */
		assert_true(gd_pclntab_func(tab, func.entry, &again));
		assert_int_equal(again.at, func.at);
		assert_true(gd_pclntab_func(tab, func.end - 1, &again));
		assert_int_equal(again.at, func.at);
		/* a function starts with nothing but the return address on its stack */
		int32_t delta = gd_pclntab_sp_delta(tab, &func, func.entry);
		if (func.pcsp != 0 && delta != 0)
			go_target_fail(go, "%s starts with SP %d below", name, delta);
		assert_in_range(func.func_id, 0, 30);
		if (i % 50 == 0) {
			assert_true(gd_pclntab_func_named(tab, name, &again));
			/* compiler-made ones can share a name */
			assert_string_equal(gd_pclntab_name(tab, again.name_off), name);
			named++;
		}
	}
	struct gd_func func;
	assert_true(named > 20);
	assert_false(gd_pclntab_func_named(tab, "untime.gopark", &func));
	assert_false(gd_pclntab_func_named(tab, "runtime.gopar", &func));
	assert_false(gd_pclntab_func_named(tab, "", &func));
	/* nothing outside of the text */
	assert_false(gd_pclntab_func(tab, tab->text - 1, &func));
	assert_false(gd_pclntab_func(tab, tab->etext + 16, &func));
	assert_false(gd_pclntab_func(tab, 0, &func));
	assert_false(gd_pclntab_func(tab, UINT64_MAX, &func));
}

static void every_function_is_found_by_address_and_name(void **state)
{
	(void)state;
	go_target_each("symbols", check_functions);
}

/* ---- made up -------------------------------------------------------------------------------- */

static const uint64_t text = GO_IMAGE_BASE + GO_IMAGE_TEXT;

static int init_table(const struct go_image *image, size_t len, struct gd_pclntab *ret,
                      struct gd_error *err)
{
	/* no byte more than the table, so that a sanitizer sees every step too far */
	uint8_t *data = malloc(len);
	assert_non_null(data);
	memcpy(data, image->bytes + GO_IMAGE_PCLNTAB, len);
	int r = gd_pclntab_init(ret, data, len, text, text + GO_IMAGE_TEXT_END, err);
	if (r < 0)
		free(data);
	return r;
}

static struct gd_pclntab good_table(const struct go_image *image)
{
	struct gd_error err = { 0 };
	struct gd_pclntab tab;
	assert_ok(init_table(image, image->pclntab_len, &tab, &err), &err);
	return tab;
}

static void both_formats_are_decoded(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct go_image image;
		struct gd_func func;
		go_image_make(&image, minor);
		struct gd_pclntab tab = good_table(&image);
		assert_true(gd_pclntab_func_named(&tab, "main.main", &func));
		assert_int_equal(func.entry, text);
		assert_int_equal(func.end, text + GO_IMAGE_LEAF);
		assert_int_equal(func.start_line, minor < 20 ? 0 : 100);
		assert_int_equal(gd_pclntab_sp_delta(&tab, &func, text), 0);
		assert_int_equal(gd_pclntab_sp_delta(&tab, &func, text + 0xf), 0);
		assert_int_equal(gd_pclntab_sp_delta(&tab, &func, text + 0x10), 0x18);
		assert_int_equal(gd_pclntab_sp_delta(&tab, &func, text + 0xff), 0);
		assert_int_equal(gd_pclntab_sp_delta(&tab, &func, text + 0x100), -1);
		assert_int_equal(gd_pclntab_line(&tab, &func, text + 0x3f), 20);
		assert_string_equal(gd_pclntab_file(&tab, &func, text + 0x3f), "/src/inlined.go");
		assert_string_equal(gd_pclntab_file(&tab, &func, text + 0x60), "/src/main.go");
		assert_int_equal(gd_pclntab_pcdata(&tab, &func, 2, text + 0x20), 1);
		assert_int_equal(gd_pclntab_pcdata(&tab, &func, 2, text), -1);
		assert_int_equal(gd_pclntab_pcdata(&tab, &func, 1, text), -1);
		assert_int_equal(gd_pclntab_pcdata(&tab, &func, 3, text), -1);
		assert_int_equal(gd_pclntab_funcdata(&tab, &func, 3), 0);
		assert_int_equal(gd_pclntab_funcdata(&tab, &func, 2), UINT32_MAX);
		assert_int_equal(gd_pclntab_funcdata(&tab, &func, 4), UINT32_MAX);
		gd_pclntab_deinit(&tab);
	}
}

static void impossible_headers_are_refused(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint64_t value; /* 8 bytes */
		int code;
		const char *says;
	} changes[] = {
		{ 0, 0x08010000fffffffb, -ENOTSUP, "before 1.18" },
		{ 0, 0x08010000fffffffa, -ENOTSUP, "before 1.18" },
		{ 0, 0x08010000fffffff2, -EBADMSG, "unknown magic 0xfffffff2" },
		{ 0, 0x04010000fffffff1, -EBADMSG, "not of amd64" },
		{ 0, 0x08040000fffffff1, -EBADMSG, "not of amd64" },
		{ 0, 0x08010001fffffff1, -EBADMSG, "unknown magic" },
		{ 8, 0, -EBADMSG, "0 functions" },
		{ 8, UINT64_C(1) << 32, -EBADMSG, "4294967296 functions cannot fit" },
		{ 8, UINT64_MAX, -EBADMSG, "cannot fit" },
		{ 8, UINT64_C(1) << 61, -EBADMSG, "cannot fit" },
		{ 32, 0, -EBADMSG, "function names at offset 0" },
		{ 32, UINT64_MAX, -EBADMSG, "function names" },
		{ 40, UINT64_C(1) << 40, -EBADMSG, "compilation units at offset 0x10000000000" },
		{ 48, 71, -EBADMSG, "files at offset 0x47" },
		{ 56, UINT64_MAX - 7, -EBADMSG, "pc tables" },
		{ 64, UINT64_MAX, -EBADMSG, "functions at offset" },
		{ 0x500 + 8, 0x300, -EBADMSG, "function 2 starts at 0x180, below" },
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_pclntab tab;
		go_image_make(&image, 24);
		go_image_put_u64(&image, GO_IMAGE_PCLNTAB + changes[i].at, changes[i].value);
		if (i == 5) /* padding that is not 0 */
			image.bytes[GO_IMAGE_PCLNTAB + 4] = 1;
		int r = init_table(&image, image.pclntab_len, &tab, &err);
		if (i == 5)
			assert_int_equal(r, -EBADMSG);
		else {
			assert_fails(r, changes[i].code, &err);
			assert_contains(err.msg, changes[i].says);
		}
	}
}

static void a_table_cut_anywhere_is_refused_or_harmless(void **state)
{
	(void)state;
	struct go_image image;
	go_image_make(&image, 24);
	unsigned good = 0;
	for (size_t len = 0; len < image.pclntab_len; len++) {
		struct gd_pclntab tab;
		struct gd_func func;
		if (init_table(&image, len, &tab, NULL) < 0)
			continue;
		good++;
		for (uint64_t pc = text; pc < text + GO_IMAGE_TEXT_END; pc += 8)
			if (gd_pclntab_func(&tab, pc, &func)) {
				(void)gd_pclntab_file(&tab, &func, pc);
				(void)gd_pclntab_pcdata(&tab, &func, 2, pc);
				(void)gd_pclntab_funcdata(&tab, &func, 3);
			}
		/* main.main's record is the first */
		assert_int_equal(gd_pclntab_func_named(&tab, "main.main", &func),
		                 image.at_func[1] - GO_IMAGE_PCLNTAB <= len);
		gd_pclntab_deinit(&tab);
	}
	assert_true(good > 0);
}

static void broken_functions_are_not_found(void **state)
{
	(void)state;
	static const struct {
		size_t at; /* in _func */
		uint32_t value;
	} changes[] = {
		{ 28, UINT32_MAX },      /* npcdata */
		{ 28, 0x40000000 },      /* times 4 is 0 in 32 bits */
		{ 40, UINT32_C(0xff000000) }, /* nfuncdata 255, at the end of the table */
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct go_image image;
		struct gd_func func;
		go_image_make(&image, 24);
		go_image_put_u32(&image, image.at_func[3] + changes[i].at, changes[i].value);
		struct gd_pclntab tab = good_table(&image);
		assert_false(gd_pclntab_func(&tab, text + GO_IMAGE_SCHEDINIT, &func));
		assert_false(gd_pclntab_func_named(&tab, "runtime.schedinit", &func));
		assert_true(gd_pclntab_func(&tab, text, &func));
		gd_pclntab_deinit(&tab);
	}
	/* the place of the record itself */
	struct go_image image;
	struct gd_func func;
	go_image_make(&image, 24);
	go_image_put_u32(&image, GO_IMAGE_PCLNTAB + 0x500 + 4, 0xfffffff0);
	struct gd_pclntab tab = good_table(&image);
	assert_false(gd_pclntab_func(&tab, text, &func));
	assert_true(gd_pclntab_func(&tab, text + GO_IMAGE_LEAF, &func));
	gd_pclntab_deinit(&tab);
}

static void broken_offsets_give_question_marks(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_func func;
	go_image_make(&image, 24);
	go_image_put_u32(&image, image.at_func[0] + 32, UINT32_MAX); /* cuOffset */
	go_image_put_u32(&image, image.at_func[1] + 32, 2);          /* unit entry "no file" */
	go_image_put_u32(&image, image.at_func[1] + 16, UINT32_MAX); /* pcsp */
	struct gd_pclntab tab = good_table(&image);
	assert_true(gd_pclntab_func(&tab, text, &func));
	assert_string_equal(gd_pclntab_file(&tab, &func, text), "?");
	assert_true(gd_pclntab_func(&tab, text + GO_IMAGE_LEAF, &func));
	assert_string_equal(gd_pclntab_file(&tab, &func, func.entry), "?");
	assert_int_equal(gd_pclntab_sp_delta(&tab, &func, func.entry), -1);
	assert_string_equal(gd_pclntab_name(&tab, -1), "?");
	assert_string_equal(gd_pclntab_name(&tab, INT32_MAX), "?");
	assert_string_equal(gd_pclntab_name(&tab, (int32_t)tab.len - 72), "?");
	gd_pclntab_deinit(&tab);
}

/* For functions called from both sides the compiler makes a second entry, with a wrapper's id. */
static void of_two_functions_of_one_name_the_real_one_is_found(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_func func;
	go_image_make(&image, 24);
	uint8_t *names = image.bytes + GO_IMAGE_PCLNTAB + 72;
	uint8_t *other = memmem(names, 200, "runtime.schedinit", 17);
	assert_non_null(other);
	memcpy(other, "main.leaf", 10);
	image.bytes[image.at_func[1] + 40] = 22;
	struct gd_pclntab tab = good_table(&image);
	assert_true(gd_pclntab_func_named(&tab, "main.leaf", &func));
	assert_int_equal(func.entry, text + GO_IMAGE_SCHEDINIT);
	gd_pclntab_deinit(&tab);
	image.bytes[image.at_func[1] + 40] = 0;
	image.bytes[image.at_func[3] + 40] = 22;
	tab = good_table(&image);
	assert_true(gd_pclntab_func_named(&tab, "main.leaf", &func));
	assert_int_equal(func.entry, text + GO_IMAGE_LEAF);
	gd_pclntab_deinit(&tab);
}

static void more_functions_than_the_limit_are_refused(void **state)
{
	(void)state;
	enum { LEN = 72 << 20 };
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_pclntab tab;
	go_image_make(&image, 24);
	go_image_put_u64(&image, GO_IMAGE_PCLNTAB + 8, (8 << 20) + 1);
	uint8_t *data = calloc(1, LEN); /* they would fit */
	assert_non_null(data);
	memcpy(data, image.bytes + GO_IMAGE_PCLNTAB, image.pclntab_len);
	assert_fails(gd_pclntab_init(&tab, data, LEN, text, text + GO_IMAGE_TEXT_END, &err),
	             -E2BIG, &err);
	assert_contains(err.msg, "8388609 functions");
	free(data);
}

static void a_name_without_end_is_a_question_mark(void **state)
{
	(void)state;
	enum { LEN = 1 << 17 };
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_pclntab tab;
	go_image_make(&image, 24);
	uint8_t *data = malloc(LEN);
	assert_non_null(data);
	memset(data, 'x', LEN);
	memcpy(data, image.bytes + GO_IMAGE_PCLNTAB, image.pclntab_len);
	assert_ok(gd_pclntab_init(&tab, data, LEN, text, text + GO_IMAGE_TEXT_END, &err), &err);
	int32_t tail = (int32_t)image.pclntab_len - 72;
	assert_string_equal(gd_pclntab_name(&tab, tail), "?");
	data[LEN - 1] = '\0';
	/* longer than any name: an end further away does not count */
	assert_string_equal(gd_pclntab_name(&tab, tail), "?");
	assert_int_equal(strlen(gd_pclntab_name(&tab, LEN - 72 - 100)), 99);
	gd_pclntab_deinit(&tab);
}

static void a_pc_table_without_end_ends(void **state)
{
	(void)state;
	enum { LEN = 8 << 20 };
	static const uint8_t patterns[][2] = {
		{ 0x02, 0x00 }, /* value + 1, no step forward */
		{ 0x80, 0x80 }, /* a varint without end */
	};
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_pclntab tab;
		struct gd_func func;
		go_image_make(&image, 24);
		uint8_t *data = malloc(LEN);
		assert_non_null(data);
		for (size_t j = 0; j < LEN; j++)
			data[j] = patterns[i][j % 2];
		memcpy(data, image.bytes + GO_IMAGE_PCLNTAB, image.pclntab_len);
		assert_ok(gd_pclntab_init(&tab, data, LEN, text, text + GO_IMAGE_TEXT_END, &err),
		          &err);
		assert_true(gd_pclntab_func(&tab, text, &func));
		assert_int_equal(gd_pclntab_value(&tab, &func, 0x2000, text + 1, -7), -7);
		gd_pclntab_deinit(&tab);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(functions_are_those_of_the_elf_symbols),
		test_case(every_function_is_found_by_address_and_name),
		test_case(both_formats_are_decoded),
		test_case(impossible_headers_are_refused),
		test_case(a_table_cut_anywhere_is_refused_or_harmless),
		test_case(broken_functions_are_not_found),
		test_case(broken_offsets_give_question_marks),
		test_case(of_two_functions_of_one_name_the_real_one_is_found),
		test_case(more_functions_than_the_limit_are_refused),
		test_case(a_name_without_end_is_a_question_mark),
		test_case(a_pc_table_without_end_ends),
	};
	return test_run(tests);
}
