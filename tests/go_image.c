#include "tests/go_image.h"

#include <string.h>

#include "tests/test.h"

/* Where the sections of the table begin, relative to it. */
enum { NAMES = 72, UNITS = 0x200, FILES = 0x240, PCTAB = 0x300, FUNCS = 0x500 };

void go_image_put_u32(struct go_image *image, size_t at, uint32_t value)
{
	memcpy(image->bytes + at, &value, sizeof(value));
}

void go_image_put_u64(struct go_image *image, size_t at, uint64_t value)
{
	memcpy(image->bytes + at, &value, sizeof(value));
}

/* Appends to a section and returns the offset in it. */
struct section {
	struct go_image *image;
	size_t start, end, used;
};

static uint32_t put(struct section *to, const void *bytes, size_t n)
{
	assert_true(to->start + to->used + n <= to->end);
	memcpy(to->image->bytes + to->start + to->used, bytes, n);
	to->used += n;
	return (uint32_t)(to->used - n);
}

static uint32_t put_string(struct section *to, const char *text)
{
	return put(to, text, strlen(text) + 1);
}

static void put_varint(struct section *to, uint32_t value)
{
	do {
		uint8_t c = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		(void)put(to, &c, 1);
		value >>= 7;
	} while (value != 0);
}

struct run {
	int32_t value;
	uint32_t end; /* of the run, from the function's entry */
};

static uint32_t put_runs(struct section *to, const struct run *runs, size_t n)
{
	uint32_t at = (uint32_t)to->used;
	int32_t value = -1;
	uint32_t pc = 0;
	for (size_t i = 0; i < n; i++) {
		int32_t delta = runs[i].value - value;
		put_varint(to, ((uint32_t)delta << 1) ^ (uint32_t)(delta >> 31));
		put_varint(to, runs[i].end - pc);
		value = runs[i].value;
		pc = runs[i].end;
	}
	(void)put(to, "", 1);
	return at;
}

#define RUNS(...)                                                                                  \
	(const struct run[]){ __VA_ARGS__ },                                                       \
		sizeof((const struct run[]){ __VA_ARGS__ }) / sizeof(struct run)

struct sections {
	struct section names, units, files, pctab, funcs;
};

static void put_u32(struct section *to, uint32_t value)
{
	(void)put(to, &value, sizeof(value));
}

/* One _func with its PCDATA and FUNCDATA. */
static void put_func(struct go_image *image, struct sections *s, unsigned i, uint32_t entry,
                     uint32_t name, const uint32_t pc_tables[3], uint8_t id, uint32_t inltree)
{
	struct section *to = &s->funcs;
	bool start_line = image->minor >= 20;
	image->at_func[i] = to->start + to->used;
	go_image_put_u32(image, GO_IMAGE_PCLNTAB + FUNCS + i * 8, entry);
	go_image_put_u32(image, GO_IMAGE_PCLNTAB + FUNCS + i * 8 + 4, (uint32_t)to->used + 40);
	put_u32(to, entry);
	put_u32(to, name);
	put_u32(to, 0); /* args */
	put_u32(to, 0); /* deferreturn */
	for (unsigned j = 0; j < 3; j++)
		put_u32(to, pc_tables[j]);
	put_u32(to, 3); /* npcdata */
	put_u32(to, 0); /* cuOffset */
	if (start_line)
		put_u32(to, 100 + i);
	uint8_t tail[4] = { id, 0, 0, 4 }; /* id, flag, -, nfuncdata */
	(void)put(to, tail, sizeof(tail));
	put_u32(to, 0);
	put_u32(to, 0);
	if (i == 0)
		image->at_inltree_pcdata = to->start + to->used;
	put_u32(to, 0);
	for (unsigned j = 0; j < 3; j++)
		put_u32(to, UINT32_MAX);
	put_u32(to, inltree);
}

static void put_inlined(struct go_image *image, unsigned index, uint32_t name, uint32_t parent_pc)
{
	bool old = image->minor < 20;
	size_t at = GO_IMAGE_GOFUNC + index * (old ? 20U : 16U);
	go_image_put_u32(image, at + (old ? 12 : 4), name);
	go_image_put_u32(image, at + (old ? 16 : 8), parent_pc);
	if (!old)
		go_image_put_u32(image, at + 12, 40 + index);
}

static void make_pclntab(struct go_image *image)
{
	const size_t at = GO_IMAGE_PCLNTAB;
	struct sections s = {
		.names = { image, at + NAMES, at + UNITS, 0 },
		.units = { image, at + UNITS, at + FILES, 0 },
		.files = { image, at + FILES, at + PCTAB, 0 },
		.pctab = { image, at + PCTAB, at + FUNCS, 0 },
		.funcs = { image, at + FUNCS + 40, GO_IMAGE_GOFUNC, 0 },
	};
	static const size_t places[] = { NAMES, UNITS, FILES, PCTAB, FUNCS };
	go_image_put_u32(image, at,
	                 image->minor < 20 ? GD_PCLNTAB_MAGIC_118 : GD_PCLNTAB_MAGIC_120);
	image->bytes[at + 6] = 1;
	image->bytes[at + 7] = 8;
	go_image_put_u64(image, at + 8, 4);
	for (size_t i = 0; i < 5; i++)
		go_image_put_u64(image, at + 32 + i * 8, places[i]);

	uint32_t first = put_string(&s.names, "main.main");
	uint32_t outer = put_string(&s.names, "main.outer");
	uint32_t inner = put_string(&s.names, "main.inner");
	uint32_t leaf = put_string(&s.names, "main.leaf");
	uint32_t gone = put_string(&s.names, "runtime.systemstack_switch");
	uint32_t init = put_string(&s.names, "runtime.schedinit");
	put_u32(&s.units, put_string(&s.files, "/src/main.go"));
	put_u32(&s.units, put_string(&s.files, "/src/inlined.go"));
	put_u32(&s.units, UINT32_MAX);

	(void)put(&s.pctab, "", 1); /* offset 0 means no table */
	/* main.inner's code stands at 0x20; it was called at 0x50 in main.outer, that at 0x70 */
	uint32_t index = put_runs(&s.pctab, RUNS({ -1, 0x20 }, { 1, 0x40 }, { -1, 0x50 },
	                                         { 0, 0x60 }, { -1, 0x100 }));
	uint32_t main_tables[3] = {
		put_runs(&s.pctab, RUNS({ 0, 0x10 }, { 0x18, 0xf0 }, { 0, 0x100 })),
		put_runs(&s.pctab, RUNS({ 0, 0x20 }, { 1, 0x60 }, { 0, 0x100 })),
		put_runs(&s.pctab, RUNS({ 10, 0x20 }, { 20, 0x40 }, { 10, 0x50 }, { 30, 0x60 },
		                        { 11, 0x100 })),
	};
	uint32_t leaf_tables[3] = {
		put_runs(&s.pctab, RUNS({ 0, 0x1 }, { 8, 0x80 })),
		put_runs(&s.pctab, RUNS({ 0, 0x80 })),
		put_runs(&s.pctab, RUNS({ 50, 0x80 })),
	};
	uint8_t switch_id = image->minor < 22 ? 20 : image->minor < 25 ? 21 : 22;
	put_func(image, &s, 0, GO_IMAGE_MAIN, first, main_tables, 0, 0);
	go_image_put_u32(image, image->at_inltree_pcdata, index);
	put_func(image, &s, 1, GO_IMAGE_LEAF, leaf, leaf_tables, 0, UINT32_MAX);
	put_func(image, &s, 2, GO_IMAGE_SWITCH, gone, leaf_tables, switch_id, UINT32_MAX);
	put_func(image, &s, 3, GO_IMAGE_SCHEDINIT, init, leaf_tables, 0, UINT32_MAX);
	go_image_put_u32(image, at + FUNCS + 4 * 8, GO_IMAGE_TEXT_END);
	put_inlined(image, 0, outer, 0x70);
	put_inlined(image, 1, inner, 0x50);
	image->pclntab_len = s.funcs.start + s.funcs.used - at;
}

static void put_slice(struct go_image *image, size_t at, uint64_t addr, uint64_t len)
{
	go_image_put_u64(image, at, addr);
	go_image_put_u64(image, at + 8, len);
	go_image_put_u64(image, at + 16, len);
}

static void make_moduledata(struct go_image *image)
{
	const size_t at = GO_IMAGE_MODULEDATA;
	const uint64_t table = GO_IMAGE_BASE + GO_IMAGE_PCLNTAB;
	const uint64_t text = GO_IMAGE_BASE + GO_IMAGE_TEXT;
	const uint64_t data = GO_IMAGE_BASE + GO_IMAGE_MODULEDATA;
	go_image_put_u64(image, at, table);
	put_slice(image, at + 8, table + NAMES, UNITS - NAMES);
	put_slice(image, at + 32, table + UNITS, (FILES - UNITS) / 4);
	put_slice(image, at + 56, table + FILES, PCTAB - FILES);
	put_slice(image, at + 80, table + PCTAB, FUNCS - PCTAB);
	put_slice(image, at + 104, table + FUNCS, image->pclntab_len - FUNCS);
	put_slice(image, at + 128, table + FUNCS, 5);
	go_image_put_u64(image, at + 160, text);
	go_image_put_u64(image, at + 168, text + GO_IMAGE_TEXT_END);
	go_image_put_u64(image, at + 176, text);
	go_image_put_u64(image, at + 184, text + GO_IMAGE_TEXT_END);
	for (size_t i = 192; i < 256; i += 16) { /* noptrdata, data, bss, noptrbss */
		go_image_put_u64(image, at + i, data + 0x1000);
		go_image_put_u64(image, at + i + 8, data + 0x2000);
	}
	size_t gofunc = image->minor < 20 ? 304 : image->minor < 27 ? 320 : 344;
	go_image_put_u64(image, at + gofunc, GO_IMAGE_BASE + GO_IMAGE_GOFUNC);
}

void go_image_make(struct go_image *image, int minor)
{
	*image = (struct go_image){ .minor = minor };
	make_pclntab(image);
	make_moduledata(image);
}

void go_image_load(struct go_image *image)
{
	struct gd_error err = { 0 };
	const struct gd_map file = { .inode = 7, .dev_major = 8, .read = true, .path = "/bin/go" };
	static const uint64_t ends[] = { GO_IMAGE_TEXT, GO_IMAGE_PCLNTAB, GO_IMAGE_MODULEDATA,
		                         GO_IMAGE_BYTES };
	for (size_t i = 0; i < 3; i++) {
		image->map_list[i] = file;
		image->map_list[i].start = GO_IMAGE_BASE + ends[i];
		image->map_list[i].end = GO_IMAGE_BASE + ends[i + 1];
	}
	image->map_list[0].exec = true;
	image->map_list[2].write = true;
	image->maps = (struct gd_maps){ .list = image->map_list, .n = 3 };
	assert_ok(gd_memory_bytes(GO_IMAGE_BASE, image->bytes, sizeof(image->bytes),
	                          &image->memory, &err), &err);
}

void go_image_unload(struct go_image *image)
{
	gd_memory_close(image->memory);
	image->memory = NULL;
}
