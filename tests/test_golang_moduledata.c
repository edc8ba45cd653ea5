#include "golang/moduledata.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "golang/inltree.h"
#include "tests/go_image.h"
#include "tests/go_target.h"

/* ---- real programs -------------------------------------------------------------------------- */

struct symbol {
	const char *name, *old_name; /* "go.func.*" became "go:func.*" in 1.20 */
	uint64_t ours;
	uint64_t theirs;
};

enum { SYMBOLS = 14 };

struct compared {
	struct symbol list[SYMBOLS];
};

static void take_symbol(const char *name, uint64_t addr, bool function, void *arg)
{
	struct compared *c = arg;
	(void)function;
	for (size_t i = 0; i < SYMBOLS; i++) {
		struct symbol *s = c->list + i;
		if (strcmp(name, s->name) == 0 ||
		    (s->old_name != NULL && strcmp(name, s->old_name) == 0))
			s->theirs = addr;
	}
}

static void check_places(struct go_target *go)
{
	const struct gd_module *m = go->modules.list;
	assert_int_equal(go->modules.n, 1);
	struct compared c = { {
		{ "runtime.firstmoduledata", NULL, m->addr, 0 },
		{ "runtime.text", NULL, m->text.start, 0 },
		{ "runtime.etext", NULL, m->text.end, 0 },
		{ "runtime.noptrdata", NULL, m->noptrdata.start, 0 },
		{ "runtime.enoptrdata", NULL, m->noptrdata.end, 0 },
		{ "runtime.data", NULL, m->data.start, 0 },
		{ "runtime.bss", NULL, m->bss.start, 0 },
		{ "runtime.ebss", NULL, m->bss.end, 0 },
		{ "runtime.noptrbss", NULL, m->noptrbss.start, 0 },
		{ "runtime.enoptrbss", NULL, m->noptrbss.end, 0 },
		{ "runtime.types", NULL, m->types, 0 },
		{ "runtime.etypes", NULL, m->etypes, 0 },
		{ "runtime.rodata", NULL, m->rodata, 0 },
		{ "go:func.*", "go.func.*", m->gofunc, 0 },
	} };
	if (go_target_symbols(go, take_symbol, &c) == 0) {
		assert_true(m->gofunc != 0 && m->types < m->etypes && m->rodata != 0);
		return;
	}
	unsigned same = 0;
	for (size_t i = 0; i < SYMBOLS; i++) {
		const struct symbol *s = c.list + i;
		same += s->theirs != 0;
		if (s->theirs != 0 && s->theirs != s->ours)
			go_target_fail(go, "%s: we say %#" PRIx64 ", .symtab %#" PRIx64, s->name,
			               s->ours, s->theirs);
	}
	print_message("# %u of %d addresses like in .symtab\n", same, SYMBOLS);
	assert_in_range(same, SYMBOLS - 2, SYMBOLS);
}

static void addresses_are_those_of_the_elf_symbols(void **state)
{
	(void)state;
	go_target_each("symbols", check_places);
}

static void check_structural(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct gd_modules *modules = &go->modules;
	uint64_t gofunc = modules->list[0].gofunc;
	static const int unknown[] = { -1, 99, INT16_MAX };
	/* a wrong row is noticed, but for those rows that say the same */
	int wrong = go->version.minor < 20 ? 25 : 18;
	go_assert_ok(go, gd_modules_complete(modules, go->target->memory, wrong, 0, &err), &err);
	assert_int_equal(modules->list[0].gofunc, gofunc);
	for (size_t i = 0; i < 3; i++) {
		modules->list[0].gofunc = 0;
		go_assert_ok(go, gd_modules_complete(modules, go->target->memory, unknown[i], 0,
		                                     &err), &err);
		if (modules->list[0].gofunc != gofunc)
			go_target_fail(go, "gofunc is %#" PRIx64 ", found was %#" PRIx64, gofunc,
			               modules->list[0].gofunc);
	}
	/* nothing near it passes for it */
	for (int64_t off = -64; off <= 64; off += 4)
		if (off != 0 && gd_inltree_prove(go->target->memory, gofunc + (uint64_t)off,
		                                 &modules->list[0].pclntab) != GD_INLTREE_WRONG)
			go_target_fail(go, "gofunc %+" PRId64 " passes as well", off);
}

static void gofunc_is_found_without_knowing_the_release(void **state)
{
	(void)state;
	go_target_each("symbols", check_structural);
}

/* The whole of a light capture must end within 150 ms. */
static void check_speed(struct go_target *go)
{
	struct gd_error err = { 0 };
	int64_t best_ns = INT64_MAX;
	for (int i = 0; i < 3; i++) {
		struct gd_modules modules;
		int64_t start_ns = gd_clock_monotonic_ns();
		go_assert_ok(go, gd_modules_find(go->target->memory, &go->target->maps, &modules,
		                                 &err), &err);
		int64_t ns = gd_clock_monotonic_ns() - start_ns;
		gd_modules_deinit(&modules);
		if (ns < best_ns)
			best_ns = ns;
	}
	print_message("# %" PRId64 " us for a table of %zu KiB\n", best_ns / 1000,
	              go->modules.list[0].pclntab.len >> 10);
	assert_in_range(best_ns, 0, 100 * 1000 * 1000); /* sanitizers, other work on the machine */
}

static void finding_takes_milliseconds(void **state)
{
	(void)state;
	go_target_each("symbols", check_speed);
}

static void a_process_without_go_is_enoent(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_modules modules;
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_fails(gd_modules_find(target->memory, &target->maps, &modules, &err), -ENOENT, &err);
	assert_contains(err.msg, "no Go module in this process");
}

static void a_process_that_exited_is_esrch(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_modules modules;
	GD_TARGET struct gd_target *target = NULL;
	struct victim *victim = victim_start("life", NULL);
	assert_ok(gd_target_open(victim->pid, &target, &err), &err);
	victim_stop(victim);
	assert_fails(gd_modules_find(target->memory, &target->maps, &modules, &err), -ESRCH, &err);
}

/* ---- made up -------------------------------------------------------------------------------- */

static int find(struct go_image *image, struct gd_modules *ret, struct gd_error *err)
{
	go_image_load(image);
	int r = gd_modules_find(image->memory, &image->maps, ret, err);
	go_image_unload(image);
	return r;
}

static void every_release_is_completed(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_modules modules;
		go_image_make(&image, minor);
		go_image_load(&image);
		assert_ok(gd_modules_find(image.memory, &image.maps, &modules, &err), &err);
		assert_ok(gd_modules_complete(&modules, image.memory, minor, 0, &err), &err);
		assert_int_equal(modules.n, 1);
		assert_int_equal(modules.list[0].addr, GO_IMAGE_BASE + GO_IMAGE_MODULEDATA);
		assert_int_equal(modules.list[0].gofunc, GO_IMAGE_BASE + GO_IMAGE_GOFUNC);
		uint64_t text = GO_IMAGE_BASE + GO_IMAGE_TEXT;
		assert_ptr_equal(gd_modules_of(&modules, text), modules.list);
		assert_ptr_equal(gd_modules_of(&modules, text + GO_IMAGE_TEXT_END - 1),
		                 modules.list);
		assert_null(gd_modules_of(&modules, text + GO_IMAGE_TEXT_END));
		assert_null(gd_modules_of(&modules, text - 1));
		gd_modules_deinit(&modules);
		go_image_unload(&image);
	}
}

static void hostile_records_are_refused_with_a_reason(void **state)
{
	(void)state;
	static const struct {
		size_t at; /* in moduledata; from 0x1000 on in the pclntab */
		uint64_t value;
		int code;
		const char *says;
	} changes[] = {
		{ 112, 0x100000, -ENOENT, "" }, /* len differs from cap */
		{ 104, 0, -ENOENT, "" },
		{ 0, 0x10, -ENOENT, "" },
		{ 184, 0, -ENOENT, "" }, /* text ends before it starts */
		{ 0x1000 + 8, UINT64_C(1) << 32, -EBADMSG, "4294967296 functions" },
		{ 0x1000 + 64, 0x508, -EBADMSG, "differ about its place" },
		{ 0x1000 + 32, UINT64_MAX, -EBADMSG, "function names" },
		{ 0x1000, 0x08010000fffffffb, -ENOTSUP, "before 1.18" },
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_modules modules;
		go_image_make(&image, 24);
		size_t at = changes[i].at < 0x1000 ? GO_IMAGE_MODULEDATA + changes[i].at
		                                   : GO_IMAGE_PCLNTAB + changes[i].at - 0x1000;
		go_image_put_u64(&image, at, changes[i].value);
		assert_fails(find(&image, &modules, &err), changes[i].code, &err);
		assert_contains(err.msg, changes[i].says);
	}
}

static void a_table_beyond_the_mappings_is_not_even_asked_for(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_modules modules;
	go_image_make(&image, 24);
	go_image_put_u64(&image, GO_IMAGE_MODULEDATA + 112, 400 << 20);
	go_image_put_u64(&image, GO_IMAGE_MODULEDATA + 120, 400 << 20);
	assert_fails(find(&image, &modules, &err), -EBADMSG, &err);
	assert_contains(err.msg, "outside of all mappings");
	/* mapped, but not readable */
	go_image_load(&image);
	image.map_list[2].end += 1 << 30;
	assert_fails(gd_modules_find(image.memory, &image.maps, &modules, &err), -EFAULT, &err);
	go_image_unload(&image);
}

static void copies_of_a_record_are_one_module(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_modules modules;
	go_image_make(&image, 24);
	uint8_t *record = image.bytes + GO_IMAGE_MODULEDATA;
	memcpy(record + 0x1000, record, 0x400);
	assert_ok(find(&image, &modules, &err), &err);
	assert_int_equal(modules.n, 1);
	gd_modules_deinit(&modules);
}

/* Twice the same module, the second without a runtime: a plugin. */
static void the_module_with_the_runtime_is_first(void **state)
{
	(void)state;
	for (int with_runtime = 0; with_runtime < 2; with_runtime++) {
		static uint8_t bytes[2 * GO_IMAGE_BYTES];
		struct go_image images[2];
		struct gd_error err = { 0 };
		struct gd_modules modules;
		struct gd_map list[6];
		const struct gd_maps maps = { .list = list, .n = 6 };
		GD_MEMORY struct gd_memory *memory = NULL;
		for (size_t i = 0; i < 2; i++) {
			go_image_make(images + i, 24);
			if ((int)i != with_runtime)
				memcpy(memmem(images[i].bytes, GO_IMAGE_BYTES, "runtime.sched", 13),
				       "plugin.", 7);
			/* the second one lies behind the first */
			static const size_t words[] = { 0,   8,   32,  56,  80,  104, 128,
				                        160, 168, 176, 184, 320 };
			for (size_t j = 0; i == 1 && j < sizeof(words) / sizeof(*words); j++) {
				uint64_t word;
				size_t at = GO_IMAGE_MODULEDATA + words[j];
				memcpy(&word, images[i].bytes + at, 8);
				go_image_put_u64(images + i, at, word + GO_IMAGE_BYTES);
			}
			go_image_load(images + i);
			memcpy(bytes + i * GO_IMAGE_BYTES, images[i].bytes, GO_IMAGE_BYTES);
			memcpy(list + 3 * i, images[i].map_list, sizeof(images[i].map_list));
			go_image_unload(images + i);
		}
		for (size_t i = 3; i < 6; i++) {
			list[i].start += GO_IMAGE_BYTES;
			list[i].end += GO_IMAGE_BYTES;
			list[i].inode++;
		}
		assert_ok(gd_memory_bytes(GO_IMAGE_BASE, bytes, sizeof(bytes), &memory, &err),
		          &err);
		assert_ok(gd_modules_find(memory, &maps, &modules, &err), &err);
		assert_int_equal(modules.n, 2);
		assert_ok(gd_modules_complete(&modules, memory, 24, 0, &err), &err);
		uint64_t text[2] = { GO_IMAGE_BASE + GO_IMAGE_TEXT,
			             GO_IMAGE_BASE + GO_IMAGE_BYTES + GO_IMAGE_TEXT };
		assert_ptr_equal(gd_modules_of(&modules, text[with_runtime] + 8), modules.list);
		assert_ptr_equal(gd_modules_of(&modules, text[1 - with_runtime] + 8),
		                 modules.list + 1);
		gd_modules_deinit(&modules);
	}
}

static void data_without_a_file_is_looked_at_last(void **state)
{
	(void)state;
	struct go_image image;
	struct gd_error err = { 0 };
	struct gd_modules modules;
	go_image_make(&image, 24);
	go_image_load(&image);
	for (size_t i = 0; i < 3; i++) {
		image.map_list[i].inode = 0;
		image.map_list[i].path = "";
	}
	assert_ok(gd_modules_find(image.memory, &image.maps, &modules, &err), &err);
	assert_int_equal(modules.n, 1);
	gd_modules_deinit(&modules);
	/* without such code before it, it is only somebody's heap */
	image.map_list[0].exec = false;
	assert_fails(gd_modules_find(image.memory, &image.maps, &modules, &err), -ENOENT, &err);
	go_image_unload(&image);
}

/* A memory with a hole: what a page that was never written back looks like in a core. */
struct holed {
	struct gd_memory memory;
	struct gd_memory *whole;
	uint64_t hole_start, hole_end;
};

static ssize_t holed_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	const struct holed *holed = (const struct holed *)memory;
	if (addr >= holed->hole_start && addr < holed->hole_end)
		return 0;
	if (addr < holed->hole_start && len > holed->hole_start - addr)
		len = (size_t)(holed->hole_start - addr);
	return gd_memory_read_some(holed->whole, addr, to, len);
}

/* The record lies across the edge of two chunks, and behind a page that cannot be read. */
static void chunks_and_holes_hide_nothing(void **state)
{
	(void)state;
	enum { DATA = 3 << 20 };
	static const struct gd_memory_ops ops = { .kind = "holed", .read = holed_read };
	static uint8_t bytes[GO_IMAGE_MODULEDATA + DATA];
	static const size_t places[] = { 0, 8, (1 << 20) - 248, (1 << 20) - 256, (1 << 20) - 8,
		                         1 << 20, (2 << 20) - 100 * 8, DATA - 0x400 };
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_modules modules;
		GD_MEMORY struct gd_memory *whole = NULL;
		go_image_make(&image, 24);
		go_image_load(&image);
		image.map_list[2].end = image.map_list[2].start + DATA;
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes, image.bytes, GO_IMAGE_MODULEDATA);
		memcpy(bytes + GO_IMAGE_MODULEDATA + places[i], image.bytes + GO_IMAGE_MODULEDATA,
		       0x400);
		assert_ok(gd_memory_bytes(GO_IMAGE_BASE, bytes, sizeof(bytes), &whole, &err), &err);
		uint64_t record = GO_IMAGE_BASE + GO_IMAGE_MODULEDATA + places[i];
		struct holed holed = { .memory.ops = &ops, .whole = whole };
		for (int hole = 0; hole < 3; hole++) {
			/* none; the page before the record's; the one before that, and a half */
			holed.hole_end = record & ~UINT64_C(4095);
			holed.hole_start = holed.hole_end - (hole == 1 ? 4096U : 6000U);
			if (hole == 0 || holed.hole_start < image.map_list[2].start)
				holed.hole_start = holed.hole_end = 0;
			assert_ok(gd_modules_find(&holed.memory, &image.maps, &modules, &err),
			          &err);
			assert_int_equal(modules.list[0].addr, record);
			gd_modules_deinit(&modules);
		}
		go_image_unload(&image);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(addresses_are_those_of_the_elf_symbols),
		test_case(gofunc_is_found_without_knowing_the_release),
		test_case(finding_takes_milliseconds),
		test_case(a_process_without_go_is_enoent),
		test_case(a_process_that_exited_is_esrch),
		test_case(every_release_is_completed),
		test_case(hostile_records_are_refused_with_a_reason),
		test_case(a_table_beyond_the_mappings_is_not_even_asked_for),
		test_case(copies_of_a_record_are_one_module),
		test_case(the_module_with_the_runtime_is_first),
		test_case(data_without_a_file_is_looked_at_last),
		test_case(chunks_and_holes_hide_nothing),
	};
	return test_run(tests);
}
