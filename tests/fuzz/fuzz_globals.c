/*
 * A hostile process: its data segments are the input, its layout that of any release.  Scanning it
 * for globals and calibrating a layout on it must end, and say nothing that cannot be.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/calibrate.h"
#include "golang/operands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Low, so that a few bytes make a pointer. */
enum { BASE = 0x10000, SIZE_MAX_BYTES = 1 << 16 };

static void check_found(const struct gd_globals *found, const struct gd_range *range)
{
	for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++) {
		uint64_t addr = gd_globals_get(found, (enum gd_global)i);
		if (addr != 0 && (addr < range->start || addr >= range->end || addr % 8 != 0))
			abort();
	}
}

static void check_layout(const struct gd_layout *layout)
{
#define CHECK(member, type, path)                                                                  \
	if (layout->member < GD_ABSENT || layout->member > 4 << 20)                                \
		abort();
	GD_LAYOUT_FIELDS(CHECK)
#undef CHECK
}

static void calibrate(const struct gd_modules *modules, struct gd_memory *memory,
                      const struct gd_globals *found, const struct gd_layout *row)
{
	static const pid_t tids[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct gd_calibrate_input input = {
		.memory = memory,
		.modules = modules,
		.globals = found,
		.tids = tids,
		.n_tids = sizeof(tids) / sizeof(tids[0]),
	};
	struct gd_layout layout = *row;
	struct gd_calibration result;
	struct gd_error err = { 0 };
	if (gd_calibrate(&input, &layout, &result, &err) < 0) {
		if (err.msg[0] == '\0' || memcmp(&layout, row, sizeof(layout)) != 0)
			abort();
		return;
	}
	if (result.moved == 0 && memcmp(&layout, row, sizeof(layout)) != 0)
		abort();
	check_layout(&layout);
}

static void check_operands(const uint8_t *data, size_t size)
{
	struct gd_operand list[64];
	size_t n = gd_operands_of(data, size, BASE, list, 64);
	if (n > 64 || n > size)
		abort();
	for (size_t i = 0; i < n; i++)
		if (list[i].kind == 0 || list[i].width == 0 || list[i].width > 8 ||
		    (list[i].width & (list[i].width - 1)) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > SIZE_MAX_BYTES)
		return 0;
	struct gd_go_version version = { .minor = 18 + data[0] % 10 };
	struct gd_modules *modules = calloc(1, sizeof(*modules));
	struct gd_memory *memory = NULL;
	struct gd_layout layout;
	struct gd_globals found;

	data++;
	size--;
	check_operands(data, size);
	if (modules == NULL || gd_layout_of(&version, &layout, NULL) < 0 ||
	    gd_memory_bytes(BASE, data, size, &memory, NULL) < 0)
		abort();
	struct gd_range all = { BASE, BASE + size };
	modules->n = 1;
	modules->list[0].noptrdata = all;
	modules->list[0].data = all;
	modules->list[0].bss = all;
	modules->list[0].noptrbss = all;
	gd_globals_by_shape(modules, memory, &layout, &found);
	check_found(&found, &all);
	calibrate(modules, memory, &found, &layout);
	/* and with what a wrong operand could say */
	found = (struct gd_globals){ .allgs = BASE, .allm = BASE + 8, .allp = BASE + 32,
		                     .memstats = BASE };
	calibrate(modules, memory, &found, &layout);
	if (gd_globals_find(modules, memory, &layout, &found, NULL) == 0)
		check_found(&found, &all);
	gd_memory_close(memory);
	free(modules);
	return 0;
}
