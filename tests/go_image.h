#pragma once
/*
 * A tiny Go module made up in memory: moduledata, pclntab, inline trees, a little code.  Tests
 * change single bytes of it to what no linker would write.  Linked only with tests of golang/.
 *
 *	main.main    0x100 bytes; inlined into it main.outer, and main.inner into that
 *	main.leaf    0x80 bytes; no inlining, one word of stack
 *	runtime.systemstack_switch, runtime.schedinit
 */
#include "golang/moduledata.h"
#include "target/maps.h"
#include "target/memory.h"

enum {
	GO_IMAGE_BASE = 0x400000,
	GO_IMAGE_BYTES = 0x8000,
	/* offsets in the image */
	GO_IMAGE_TEXT = 0x1000,
	GO_IMAGE_PCLNTAB = 0x2000,
	GO_IMAGE_GOFUNC = 0x4000, /* main.main's inline tree: two records */
	GO_IMAGE_MODULEDATA = 0x5000,
	GO_IMAGE_MAIN = 0,     /* offsets in the text */
	GO_IMAGE_LEAF = 0x100,
	GO_IMAGE_SWITCH = 0x180,
	GO_IMAGE_SCHEDINIT = 0x190,
	GO_IMAGE_TEXT_END = 0x200,
};

struct go_image {
	int minor;
	uint8_t bytes[GO_IMAGE_BYTES];
	size_t pclntab_len;
	size_t at_func[4];  /* of each _func, in bytes[] */
	size_t at_inltree_pcdata; /* of main.main's PCDATA 2 */
	struct gd_map map_list[3];
	struct gd_maps maps;
	struct gd_memory *memory;
};

/* minor 18 to 27 decides the formats.  Asserts that it fits. */
void go_image_make(struct go_image *image, int minor);

/* Makes memory and maps of the bytes as they are now; a test changes them before. */
void go_image_load(struct go_image *image);
void go_image_unload(struct go_image *image);

void go_image_put_u32(struct go_image *image, size_t at, uint32_t value);
void go_image_put_u64(struct go_image *image, size_t at, uint64_t value);
