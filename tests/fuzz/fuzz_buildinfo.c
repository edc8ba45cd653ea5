/*
 * Build info: the first byte says how the others are taken.
 *
 *	0x80 set    memory at 0x400000 with code, constants and data: the block is looked for
 *	            in the data, and recovered from the operands of runtime.schedinit
 *	else        the text of a version
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/buildinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x400000, TEXT = 0x1000, CONSTANTS = 0x2000, DATA = 0x5000, IMAGE = 0x8000 };

static void check(struct gd_buildinfo *info)
{
	struct gd_go_version version;
	/* a version that was cut can end in the middle of a number, but is still one */
	if (gd_go_version_parse(info->version, &version, NULL) < 0 || info->modinfo == NULL ||
	    strlen(info->modinfo) > IMAGE)
		abort();
	gd_buildinfo_deinit(info);
}

static void try_image(const uint8_t *data, size_t size)
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
	struct gd_buildinfo info;
	GD_MEMORY struct gd_memory *memory = NULL;
	memset(image, 0, sizeof(image));
	memcpy(image, data, size < IMAGE ? size : IMAGE);
	if (gd_memory_bytes(BASE, image, IMAGE, &memory, &err) < 0)
		return;
	int r = gd_buildinfo_find(memory, &maps, &info, &err);
	if (r == 0)
		check(&info);
	else if (err.code != r || err.msg[0] == '\0')
		abort();
	if (gd_modules_find(memory, &maps, &modules, &err) < 0)
		return;
	if (gd_buildinfo_recover(&modules, memory, &info, &err) == 0)
		check(&info);
	gd_modules_deinit(&modules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if ((data[0] & 0x80) != 0) {
		try_image(data + 1, size - 1);
		return 0;
	}
	char *text = strndup((const char *)data + 1, size - 1);
	struct gd_go_version version;
	if (text != NULL && gd_go_version_parse(text, &version, NULL) == 0 &&
	    (version.minor < 0 || version.patch < 0))
		abort();
	free(text);
	return 0;
}
