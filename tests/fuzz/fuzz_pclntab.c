/*
 * The Go tables of a program: the first byte says how the others are taken.
 *
 *	0x80 set    memory at 0x400000 with code, constants and data: modules are looked for,
 *	            completed for Go 1.(the byte's low bits), and addresses asked for
 *	else        one pclntab as it is
 *
 * Whatever comes out must be strings with an end and functions that hold the address asked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/moduledata.h"
#include "golang/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x400000, TEXT = 0x1000, CONSTANTS = 0x2000, DATA = 0x5000, IMAGE = 0x8000 };

static void check_text(const char *text)
{
	if (strlen(text) > 1 << 16)
		abort();
}

static void ask_function(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc)
{
	check_text(gd_pclntab_name(tab, func->name_off));
	check_text(gd_pclntab_file(tab, func, pc));
	if (gd_pclntab_line(tab, func, pc) < 0 || gd_pclntab_sp_delta(tab, func, pc) < -1)
		abort();
	for (unsigned i = 0; i < 5; i++)
		(void)gd_pclntab_pcdata(tab, func, i, pc);
	for (unsigned i = 0; i < 10; i++)
		(void)gd_pclntab_funcdata(tab, func, i);
}

static void try_table(const uint8_t *data, size_t size)
{
	enum { FUNCS_MAX = 64 };
	struct gd_error err = { 0 };
	struct gd_pclntab tab;
	struct gd_func func, same;
	uint8_t *copy = malloc(size > 0 ? size : 1);
	if (copy == NULL)
		return;
	if (size > 0)
		memcpy(copy, data, size);
	if (gd_pclntab_init(&tab, copy, size, BASE, BASE + (1 << 20), &err) < 0) {
		if (err.code == 0 || err.msg[0] == '\0')
			abort();
		free(copy);
		return;
	}
	for (uint64_t i = 0; i < tab.nfunc && i < FUNCS_MAX; i++) {
		if (!gd_pclntab_func_at(&tab, i, &func))
			continue;
		ask_function(&tab, &func, func.entry);
		ask_function(&tab, &func, func.end - 1);
		ask_function(&tab, &func, func.entry + (func.end - func.entry) / 2);
		if (func.end > func.entry && gd_pclntab_func(&tab, func.entry, &same) &&
		    (same.entry > func.entry || same.end <= func.entry))
			abort();
	}
	if (gd_pclntab_func_named(&tab, "runtime.schedinit", &func) &&
	    strcmp(gd_pclntab_name(&tab, func.name_off), "runtime.schedinit") != 0)
		abort();
	gd_pclntab_deinit(&tab);
}

static void ask_site(struct gd_symbols *symbols, uint64_t pc, bool exact)
{
	uint8_t info[64];
	const struct gd_site *site = gd_symbols_site(symbols, pc, exact);
	if (site == NULL)
		return;
	if (site->pc != pc || site->n_lines < 1 || site->n_lines > GD_SITE_LINES_MAX ||
	    site->func.entry > pc || site->func.end <= pc)
		abort();
	for (unsigned i = 0; i < site->n_lines; i++) {
		check_text(site->lines[i].function);
		check_text(site->lines[i].file);
	}
	(void)gd_symbols_funcdata(symbols, site, 5, info, sizeof(info), NULL);
	if (gd_symbols_site(symbols, pc, exact) != site)
		abort();
}

static void try_image(const uint8_t *data, size_t size, int minor)
{
	static uint8_t image[IMAGE];
	struct gd_map list[3] = {
		{ .start = BASE + TEXT, .end = BASE + CONSTANTS, .inode = 1, .read = true,
		  .exec = true, .path = "/x" },
		{ .start = BASE + CONSTANTS, .end = BASE + DATA, .inode = 1, .read = true,
		  .path = "/x" },
		{ .start = BASE + DATA, .end = BASE + IMAGE, .inode = 1, .read = true,
		  .write = true, .path = "/x" },
	};
	const struct gd_maps maps = { .list = list, .n = 3 };
	struct gd_error err = { 0 };
	struct gd_modules modules;
	GD_MEMORY struct gd_memory *memory = NULL;
	GD_SYMBOLS struct gd_symbols *symbols = NULL;
	memset(image, 0, sizeof(image));
	memcpy(image, data, size < IMAGE ? size : IMAGE);
	if (gd_memory_bytes(BASE, image, IMAGE, &memory, &err) < 0)
		return;
	if (gd_modules_find(memory, &maps, &modules, &err) < 0) {
		if (err.code == 0 || err.msg[0] == '\0')
			abort();
		return;
	}
	(void)gd_modules_complete(&modules, memory, minor, 0, &err);
	if (gd_symbols_create(memory, &modules, minor, &symbols, &err) == 0) {
		for (size_t i = 0; i < modules.n; i++)
			for (uint64_t pc = 0; pc < 0x210; pc += 16) {
				ask_site(symbols, modules.list[i].text.start + pc, pc % 32 == 0);
				ask_site(symbols, modules.list[i].text.end - pc, pc % 32 == 0);
			}
		gd_symbols_destroy(symbols);
		symbols = NULL;
	}
	gd_modules_deinit(&modules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if ((data[0] & 0x80) != 0)
		try_image(data + 1, size - 1, (data[0] & 0x1f) == 0x1f ? -1 : data[0] & 0x1f);
	else
		try_table(data + 1, size - 1);
	return 0;
}
