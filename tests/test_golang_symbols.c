/*
 * The truth is the victim's own runtime: it prints what runtime.CallersFrames and FuncForPC say of
 * thousands of its program counters (tests/victims/symbols), and we must say the same.
 */
#include "golang/symbols.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/go_image.h"
#include "tests/go_target.h"

enum { FIELDS_MAX = 8 };

/* What the runtime prints instead of a shape: the outermost brackets emptied to "...". */
static const char *printed(const char *function)
{
	static char name[4096];
	const char *open = strchr(function, '[');
	const char *close = strrchr(function, ']');
	if (open == NULL || close == NULL || close < open)
		return function;
	(void)snprintf(name, sizeof(name), "%.*s[...]%s", (int)(open - function), function,
	               close + 1);
	return name;
}

/*
 * The runtime takes name offset 0 for "no name", but the linker gives it to the first function of
 * the binary.  We print that function's name.
 */
static bool same_function(const struct gd_site *site, const char *ours, const char *theirs)
{
	const char *first = gd_pclntab_name(&site->module->pclntab, 0);
	return strcmp(printed(ours), theirs) == 0 || (theirs[0] == '\0' && ours == first);
}

static bool same_line(const struct gd_site *site, const struct gd_line *ours, char **theirs)
{
	return same_function(site, ours->function, theirs[0]) &&
	       strcmp(ours->file, theirs[1]) == 0 && ours->line == atoi(theirs[2]);
}

static void differ(const struct go_target *go, const char *what, uint64_t pc,
                   const struct gd_line *ours, char **theirs)
{
	go_target_fail(go, "%s %#" PRIx64 ": we say %s %s:%d, the runtime %s %s:%s", what, pc,
	               ours->function, ours->file, ours->line, theirs[0], theirs[1], theirs[2]);
}

/* One "pc" line; those inlined at it must be the lines after it. */
struct frame {
	uint64_t pc;
	char *fields[3];
};

/* Wrappers are left out of what Callers returns, except those that call into panics. */
static void check_stack(struct go_target *go, struct gd_symbols *symbols,
                        const struct frame *frames, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct gd_site *site = gd_symbols_site(symbols, frames[i].pc, false);
		assert_non_null(site);
		size_t at = i;
		for (unsigned j = 0; j < site->n_lines && at < n; j++) {
			const struct gd_line *line = site->lines + j;
			if (j > 0 && line->wrapper)
				continue;
			if (!same_line(site, line, (char **)(uintptr_t)frames[at].fields))
				differ(go, "stack", frames[i].pc, line,
				       (char **)(uintptr_t)frames[at].fields);
			assert_int_equal(line->wrapper, false);
			at++;
		}
	}
}

static unsigned visible_lines(const struct gd_site *site)
{
	unsigned n = 1;
	for (unsigned i = 1; i < site->n_lines; i++)
		n += !site->lines[i].wrapper;
	return n;
}

/* Returns how many frames the runtime will list for that address, when it does. */
static unsigned check_at(struct go_target *go, struct gd_symbols *symbols, char **fields)
{
	uint64_t pc = strtoull(fields[1], NULL, 16);
	const struct gd_site *site = gd_symbols_site(symbols, pc, true);
	if (site == NULL)
		go_target_fail(go, "%#" PRIx64 ": we know no function, the runtime %s", pc,
		               fields[2]);
	char *theirs[] = { fields[2], fields[4], fields[5] };
	if (!same_line(site, site->lines, theirs))
		differ(go, "address", pc, site->lines, theirs);
	assert_int_equal(site->entry, strtoull(fields[3], NULL, 16));
	return go->version.minor < 23 ? 0 : visible_lines(site);
}

/* The frames of one address come one by one, the depth counts them. */
static void check_chain(struct go_target *go, struct gd_symbols *symbols, char **fields)
{
	uint64_t pc = strtoull(fields[1], NULL, 16);
	const struct gd_site *site = gd_symbols_site(symbols, pc, true);
	assert_non_null(site);
	/* what is an exact address here was handed to the runtime as the return address after it */
	int depth = atoi(fields[2]);
	unsigned i = 0;
	for (int seen = 0; i < site->n_lines; i++) {
		if (i > 0 && site->lines[i].wrapper)
			continue;
		if (seen++ == depth)
			break;
	}
	if (i == site->n_lines)
		go_target_fail(go, "%#" PRIx64 ": we have %u frames, the runtime more", pc,
		               site->n_lines);
	if (!same_line(site, site->lines + i, fields + 3))
		differ(go, "chain", pc, site->lines + i, fields + 3);
}

/* byValue is a method of base; the compiler made one of *base that calls it, and method values. */
static void check_wrappers(struct go_target *go, struct gd_symbols *symbols)
{
	static const struct {
		const char *name;
		bool wrapper;
	} functions[] = {
		{ "main.(*base).byValue", true },
		{ "main.embedding.byValue", true },
		{ "main.byValuer.byValue-fm", true },
		{ "main.base.byValue", false },
		{ "main.main", false },
		{ "runtime.systemstack_switch", false },
	};
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		struct gd_func func;
		if (!gd_pclntab_func_named(&go->modules.list[0].pclntab, functions[i].name, &func))
			go_target_fail(go, "no function %s", functions[i].name);
		const struct gd_site *site = gd_symbols_site(symbols, func.entry, true);
		assert_non_null(site);
		const struct gd_line *line = site->lines + site->n_lines - 1;
		assert_string_equal(line->function, functions[i].name);
		if (line->wrapper != functions[i].wrapper)
			go_target_fail(go, "%s (id %u) is %sseen as a wrapper", line->function,
			               line->func_id, line->wrapper ? "" : "not ");
	}
}

static void check_answers(struct go_target *go)
{
	enum { FRAMES_MAX = 64 };
	struct gd_error err = { 0 };
	GD_SYMBOLS struct gd_symbols *symbols = NULL;
	struct frame frames[FRAMES_MAX];
	size_t n_frames = 0;
	unsigned stacks = 0, addresses = 0, chains = 0;
	unsigned promised = 0; /* frames of the last address, without the first */
	go_assert_ok(go, gd_symbols_create(go->target->memory, &go->modules, go->version.minor,
	                                   &symbols, &err), &err);
	char *rest = go->victim->said.data;
	for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
		char *fields[FIELDS_MAX] = { 0 };
		size_t n = 0;
		for (char *field; n < FIELDS_MAX && (field = strsep(&line, "\t")) != NULL;)
			fields[n++] = field;
		if (strcmp(fields[0], "pc") != 0 && n_frames > 0) {
			check_stack(go, symbols, frames, n_frames);
			n_frames = 0;
			stacks++;
		}
		if (strcmp(fields[0], "pc") == 0 && n == 5) {
			assert_true(n_frames < FRAMES_MAX);
			frames[n_frames++] = (struct frame){
				.pc = strtoull(fields[1], NULL, 16),
				.fields = { fields[2], fields[3], fields[4] },
			};
		} else if (strcmp(fields[0], "at") == 0 && n == 6) {
			if (promised > 1)
				go_target_fail(go, "before %s: we have %u frames more", fields[1],
				               promised);
			promised = check_at(go, symbols, fields);
			addresses++;
		} else if (strcmp(fields[0], "chain") == 0 && n == 6) {
			check_chain(go, symbols, fields);
			promised--;
			chains++;
		}
	}
	check_wrappers(go, symbols);
	print_message("# %u stacks, %u addresses, %u frames of inlined calls\n", stacks, addresses,
	              chains);
	assert_true(stacks >= 15 && addresses > 10000);
	assert_true(go->version.minor < 23 || chains > 1000);
	assert_int_equal(gd_symbols_generation(symbols), 0);
}

static void every_answer_is_that_of_the_runtime_itself(void **state)
{
	(void)state;
	go_target_each("symbols", check_answers);
}

/* ---- a module made up ----------------------------------------------------------------------- */

static const uint64_t text = GO_IMAGE_BASE + GO_IMAGE_TEXT;

static struct gd_symbols *open_image(struct go_image *image, struct gd_modules *modules)
{
	struct gd_error err = { 0 };
	struct gd_symbols *symbols;
	go_image_load(image);
	assert_ok(gd_modules_find(image->memory, &image->maps, modules, &err), &err);
	assert_ok(gd_modules_complete(modules, image->memory, image->minor, 0, &err), &err);
	assert_ok(gd_symbols_create(image->memory, modules, image->minor, &symbols, &err), &err);
	return symbols;
}

static void close_image(struct go_image *image, struct gd_modules *modules,
                        struct gd_symbols *symbols)
{
	gd_symbols_destroy(symbols);
	gd_modules_deinit(modules);
	go_image_unload(image);
}

static void assert_line(const struct gd_line *line, const char *function, const char *file,
                        int number)
{
	assert_string_equal(line->function, function);
	assert_string_equal(line->file, file);
	assert_int_equal(line->line, number);
}

static void inlined_calls_come_innermost_first(void **state)
{
	(void)state;
	static const int minors[] = { 18, 20, 27 };
	for (size_t i = 0; i < sizeof(minors) / sizeof(*minors); i++) {
		struct go_image image;
		struct gd_modules modules;
		go_image_make(&image, minors[i]);
		struct gd_symbols *symbols = open_image(&image, &modules);
		const struct gd_site *site = gd_symbols_site(symbols, text + 0x30, true);
		assert_non_null(site);
		assert_int_equal(site->n_lines, 3);
		assert_line(site->lines, "main.inner", "/src/inlined.go", 20);
		assert_line(site->lines + 1, "main.outer", "/src/inlined.go", 30);
		assert_line(site->lines + 2, "main.main", "/src/main.go", 11);
		assert_int_equal(site->lines[1].start_line, minors[i] < 20 ? 0 : 40);
		assert_int_equal(site->lines[2].start_line, minors[i] < 20 ? 0 : 100);
		assert_int_equal(site->sp_delta, 0x18);
		assert_int_equal(site->entry, text);
		close_image(&image, &modules, symbols);
	}
}

static void a_return_address_means_the_instruction_before_it(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	go_image_make(&image, 24);
	struct gd_symbols *symbols = open_image(&image, &modules);
	/* 0x40 is behind main.inner's code */
	assert_int_equal(gd_symbols_site(symbols, text + 0x40, true)->n_lines, 1);
	assert_int_equal(gd_symbols_site(symbols, text + 0x40, false)->n_lines, 3);
	/* the stack depth is that of the address itself: the call has returned there */
	assert_int_equal(gd_symbols_site(symbols, text + 0xf0, false)->sp_delta, 0);
	/* nothing is before a function's entry */
	const struct gd_site *site = gd_symbols_site(symbols, text + GO_IMAGE_LEAF, false);
	assert_line(site->lines, "main.leaf", "/src/main.go", 50);
	close_image(&image, &modules, symbols);
}

static void no_go_function_is_null(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	go_image_make(&image, 24);
	struct gd_symbols *symbols = open_image(&image, &modules);
	static const uint64_t nowhere[] = { 0, 1, GO_IMAGE_BASE + GO_IMAGE_TEXT - 1,
		                            GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_TEXT_END,
		                            UINT64_MAX, UINT64_C(0xffffffff81000000) };
	for (int twice = 0; twice < 2; twice++)
		for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++)
			assert_null(gd_symbols_site(symbols, nowhere[i], i % 2 == 0));
	close_image(&image, &modules, symbols);
}

static void inlining_in_circles_ends(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	go_image_make(&image, 24);
	go_image_put_u32(&image, GO_IMAGE_GOFUNC + 8, 0x30); /* outer was called in inner */
	struct gd_symbols *symbols = open_image(&image, &modules);
	/* such a tree disproves the base; here it is the only one that is wrong */
	modules.list[0].gofunc = GO_IMAGE_BASE + GO_IMAGE_GOFUNC;
	const struct gd_site *site = gd_symbols_site(symbols, text + 0x30, true);
	assert_int_equal(site->n_lines, GD_SITE_LINES_MAX);
	assert_string_equal(site->lines[GD_SITE_LINES_MAX - 1].function, "main.main");
	close_image(&image, &modules, symbols);
}

static void broken_inline_trees_leave_the_physical_function(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint32_t value;
		unsigned n_lines;
	} changes[] = {
		{ GO_IMAGE_GOFUNC + 16 + 8, 0xffffff00, 2 }, /* before the function's start */
		{ GO_IMAGE_GOFUNC + 16 + 8, 0x7fffffff, 2 },
		{ GO_IMAGE_GOFUNC + 16 + 4, 0xffffffff, 3 }, /* its name is "?" */
		{ GO_IMAGE_GOFUNC + 16 + 4, 0x7fffffff, 3 },
		{ 0, 0x7ffffff0, 1 },                        /* place of the tree: not readable */
		{ 0, 0xffffffff, 1 },                        /* no tree */
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct go_image image;
		struct gd_modules modules;
		go_image_make(&image, 24);
		size_t at = changes[i].at;
		if (at == 0)
			at = image.at_inltree_pcdata + 4 + 3 * 4;
		go_image_put_u32(&image, at, changes[i].value);
		struct gd_symbols *symbols = open_image(&image, &modules);
		modules.list[0].gofunc = GO_IMAGE_BASE + GO_IMAGE_GOFUNC;
		const struct gd_site *site = gd_symbols_site(symbols, text + 0x30, true);
		assert_int_equal(site->n_lines, changes[i].n_lines);
		assert_string_equal(site->lines[site->n_lines - 1].function, "main.main");
		close_image(&image, &modules, symbols);
	}
}

static void wrappers_are_known_without_names(void **state)
{
	(void)state;
	static const struct {
		int minor;
		uint8_t id;
	} ids[] = { { 18, 21 }, { 21, 21 }, { 22, 22 }, { 24, 22 }, { 25, 23 }, { -1, 23 } };
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		struct go_image image;
		struct gd_modules modules;
		struct gd_error err = { 0 };
		struct gd_symbols *symbols;
		go_image_make(&image, ids[i].minor < 0 ? 27 : ids[i].minor);
		uint8_t *name = memmem(image.bytes, sizeof(image.bytes),
		                       "runtime.systemstack_switch", 26);
		memcpy(name, "garbled", 7);
		image.bytes[image.at_func[1] + (ids[i].minor < 20 && ids[i].minor > 0 ? 36 : 40)] =
			ids[i].id;
		gd_symbols_destroy(open_image(&image, &modules));
		assert_ok(gd_symbols_create(image.memory, &modules, ids[i].minor, &symbols, &err),
		          &err);
		const struct gd_site *site = gd_symbols_site(symbols, text + GO_IMAGE_LEAF, true);
		assert_true(site->lines[0].wrapper);
		site = gd_symbols_site(symbols, text + GO_IMAGE_MAIN, true);
		assert_false(site->lines[0].wrapper);
		close_image(&image, &modules, symbols);
	}
}

static void funcdata_is_read_up_to_the_end_of_memory(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	struct gd_error err = { 0 };
	uint8_t bytes[GO_IMAGE_BYTES];
	go_image_make(&image, 24);
	struct gd_symbols *symbols = open_image(&image, &modules);
	const struct gd_site *site = gd_symbols_site(symbols, text, true);
	assert_int_equal(gd_symbols_funcdata(symbols, site, 3, bytes, 32, &err), 32);
	assert_memory_equal(bytes, image.bytes + GO_IMAGE_GOFUNC, 32);
	assert_int_equal(gd_symbols_funcdata(symbols, site, 3, bytes, sizeof(bytes), &err),
	                 GO_IMAGE_BYTES - GO_IMAGE_GOFUNC);
	assert_fails(gd_symbols_funcdata(symbols, site, 2, bytes, 32, &err), -ENOENT, &err);
	assert_fails(gd_symbols_funcdata(symbols, site, 5, bytes, 32, &err), -ENOENT, &err);
	close_image(&image, &modules, symbols);
}

/* ---- the cache ------------------------------------------------------------------------------ */

static void an_answer_is_given_again_with_what_was_kept(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	go_image_make(&image, 24);
	struct gd_symbols *symbols = open_image(&image, &modules);
	const struct gd_site *site = gd_symbols_site(symbols, text + 0x30, true);
	uint64_t reads = image.memory->stats.reads;
	gd_symbols_keep(symbols, site, strdup("first"), 6);
	gd_symbols_keep(symbols, site, strdup("second"), 7);
	assert_ptr_equal(gd_symbols_site(symbols, text + 0x30, true), site);
	assert_string_equal(site->user, "second");
	assert_int_equal(image.memory->stats.reads, reads);
	assert_ptr_not_equal(gd_symbols_site(symbols, text + 0x30, false), site);
	close_image(&image, &modules, symbols);
}

static void the_cache_is_emptied_at_its_ceiling(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_modules modules;
	go_image_make(&image, 24);
	/* one function of 16 MiB: as many different sites as there are addresses */
	go_image_put_u32(&image, GO_IMAGE_PCLNTAB + 0x500 + 4 * 8, 16 << 20);
	go_image_put_u64(&image, GO_IMAGE_MODULEDATA + 184, text + (16 << 20));
	struct gd_symbols *symbols = open_image(&image, &modules);
	unsigned asked = 0;
	while (gd_symbols_generation(symbols) == 0 && asked < 1000000) {
		const struct gd_site *site =
			gd_symbols_site(symbols, text + GO_IMAGE_SCHEDINIT + asked++, true);
		assert_non_null(site);
		gd_symbols_keep(symbols, site, strdup("text"), 5);
	}
	/* 16 MiB of sites with one line each */
	assert_in_range(asked, 20000, 200000);
	assert_int_equal(gd_symbols_generation(symbols), 1);
	const struct gd_site *site = gd_symbols_site(symbols, text + 0x30, true);
	assert_line(site->lines, "main.inner", "/src/inlined.go", 20);
	assert_int_equal(gd_symbols_generation(symbols), 1);

	/* what callers keep counts as well, and so does asking for what is no code */
	gd_symbols_keep(symbols, site, malloc(1), 17 << 20);
	assert_non_null(gd_symbols_site(symbols, text + 0x31, true));
	assert_int_equal(gd_symbols_generation(symbols), 2);
	for (uint64_t pc = 1; pc < 3000000; pc++)
		assert_null(gd_symbols_site(symbols, pc, true));
	assert_in_range(gd_symbols_generation(symbols), 3, 30);
	close_image(&image, &modules, symbols);
}

/* A dump of 100,000 goroutines asks some hundred addresses a million times. */
static void a_known_address_is_answered_at_once(void **state)
{
	(void)state;
	enum { LOOKUPS = 2000000 };
	struct go_image image;
	struct gd_modules modules;
	unsigned lines = 0;
	uint32_t random = 1;
	go_image_make(&image, 24);
	struct gd_symbols *symbols = open_image(&image, &modules);
	int64_t start_ns = gd_clock_cpu_ns();
	for (unsigned i = 0; i < LOOKUPS; i++) {
		random = random * 1664525 + 1013904223;
		lines += gd_symbols_site(symbols, text + (random >> 24), false)->n_lines;
	}
	int64_t ns = gd_clock_cpu_ns() - start_ns;
	print_message("# %.1f million lookups a second\n", LOOKUPS * 1e3 / (double)ns);
	assert_true(lines > LOOKUPS);
	/* 30 million are promised; sanitizers and valgrind are slow */
	assert_true(ns < INT64_C(2000000000));
	close_image(&image, &modules, symbols);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_answer_is_that_of_the_runtime_itself),
		test_case(inlined_calls_come_innermost_first),
		test_case(a_return_address_means_the_instruction_before_it),
		test_case(no_go_function_is_null),
		test_case(inlining_in_circles_ends),
		test_case(broken_inline_trees_leave_the_physical_function),
		test_case(wrappers_are_known_without_names),
		test_case(funcdata_is_read_up_to_the_end_of_memory),
		test_case(an_answer_is_given_again_with_what_was_kept),
		test_case(the_cache_is_emptied_at_its_ceiling),
		test_case(a_known_address_is_answered_at_once),
	};
	return test_run(tests);
}
