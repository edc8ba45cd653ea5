#include "golang/moduledata.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/inltree.h"
#include "golang/program.h"

/* Places of moduledata's first fields, the same in all of Go 1.18 to 1.27. */
enum {
	AT_PC_HEADER = 0,
	AT_FUNCNAMETAB = 8,
	AT_CUTAB = 32,
	AT_FILETAB = 56,
	AT_PCTAB = 80,
	AT_PCLNTABLE = 104,
	AT_FTAB = 128,
	AT_MINPC = 160,
	AT_MAXPC = 168,
	AT_TEXT = 176,
	AT_NOPTRDATA = 192,
	AT_DATA = 208,
	AT_BSS = 224,
	AT_NOPTRBSS = 240,
	FIRST_BYTES = 256, /* of the fields above */
};

/* The tables of the largest programs known have some 100 MiB. */
static const uint64_t PCLNTAB_MAX = UINT64_C(512) << 20;

enum { CANDIDATES_MAX = 64 };

struct scan {
	struct gd_memory *memory;
	const struct gd_maps *maps;
	struct gd_modules *found;
	uint64_t tables_bytes;  /* read so far */
	unsigned candidates;
	struct gd_error bad; /* why the first candidate was none */
};

/* One comparison or two turn away nearly every word; everything below is only for the others. */
static bool looks_like_moduledata(const uint8_t *p)
{
	uint64_t header = gd_load_u64(p + AT_PC_HEADER);
	uint64_t names = gd_load_u64(p + AT_FUNCNAMETAB);
	if (names - header > 4096 || names - header < 64 || header % 8 != 0)
		return false;
	static const unsigned slices[] = { AT_FUNCNAMETAB, AT_CUTAB,     AT_FILETAB,
		                           AT_PCTAB,       AT_PCLNTABLE, AT_FTAB };
	for (size_t i = 0; i < sizeof(slices) / sizeof(*slices); i++) {
		uint64_t len = gd_load_u64(p + slices[i] + 8);
		if (gd_load_u64(p + slices[i]) <= header || len == 0 || len > PCLNTAB_MAX ||
		    len != gd_load_u64(p + slices[i] + 16))
			return false;
	}
	return gd_load_u64(p + AT_PCLNTABLE) == gd_load_u64(p + AT_FTAB) &&
	       gd_load_u64(p + AT_TEXT) < gd_load_u64(p + AT_TEXT + 8) &&
	       gd_load_u64(p + AT_MINPC) < gd_load_u64(p + AT_MAXPC);
}

static struct gd_range range_at(const uint8_t *p)
{
	struct gd_range range = { gd_load_u64(p), gd_load_u64(p + 8) };
	if (range.end < range.start)
		range.end = range.start;
	return range;
}

static int read_pclntab(struct scan *scan, const uint8_t *p, struct gd_module *module,
                        struct gd_error *err)
{
	uint64_t functions = gd_load_u64(p + AT_PCLNTABLE);
	uint64_t end, len;
	if (__builtin_add_overflow(functions, gd_load_u64(p + AT_PCLNTABLE + 8), &end) ||
	    gd_program_mapped_until(scan->maps, module->pc_header) < end)
		return gd_fail(err, -EBADMSG,
		               "pclntab at %#" PRIx64 " ends outside of all mappings",
		               module->pc_header);
	len = end - module->pc_header;
	if (len > PCLNTAB_MAX || scan->tables_bytes + len > PCLNTAB_MAX)
		return gd_fail(err, -E2BIG,
		               "pclntab at %#" PRIx64 ": %" PRIu64 " bytes, our limit is %" PRIu64,
		               module->pc_header, len, PCLNTAB_MAX);
	scan->tables_bytes += len;
	GD_FREE uint8_t *data = malloc(len);
	if (data == NULL)
		return gd_fail_errno(err, -ENOMEM, "pclntab of %" PRIu64 " bytes", len);
	int r = gd_memory_read(scan->memory, module->pc_header, data, len, err);
	if (r < 0)
		return gd_error_wrap(err, r, "pclntab");
	if (len > 72 && gd_load_u64(data + 64) != functions - module->pc_header)
		return gd_fail(err, -EBADMSG, "pclntab at %#" PRIx64
		               " and moduledata differ about its place", module->pc_header);
	r = gd_pclntab_init(&module->pclntab, data, len, module->text.start, module->text.end, err);
	if (r == 0)
		data = NULL;
	return r;
}

static int try_module(struct scan *scan, uint64_t addr, const uint8_t *p, struct gd_error *err)
{
	struct gd_module module = {
		.addr = addr,
		.pc_header = gd_load_u64(p + AT_PC_HEADER),
		.text = range_at(p + AT_TEXT),
		.noptrdata = range_at(p + AT_NOPTRDATA),
		.data = range_at(p + AT_DATA),
		.bss = range_at(p + AT_BSS),
		.noptrbss = range_at(p + AT_NOPTRBSS),
	};
	struct gd_modules *found = scan->found;
	for (size_t i = 0; i < found->n; i++)
		if (found->list[i].pc_header == module.pc_header)
			return 0; /* a copy of the record */
	if (found->n == GD_MODULES_MAX)
		return gd_fail(err, -E2BIG, "more than %d Go modules", GD_MODULES_MAX);
	int r = read_pclntab(scan, p, &module, err);
	if (r < 0)
		return r;
	found->list[found->n++] = module;
	return 0;
}

/* -ESRCH when the target went away, else 0: what is bad about a candidate is kept in scan->bad. */
static int scan_bytes(uint64_t addr, const uint8_t *bytes, size_t n, void *arg)
{
	struct scan *scan = arg;
	for (size_t i = 0; i + FIRST_BYTES <= n; i += 8) {
		if (!looks_like_moduledata(bytes + i))
			continue;
		if (++scan->candidates > CANDIDATES_MAX)
			return 1;
		struct gd_error err = { 0 };
		int r = try_module(scan, addr + i, bytes + i, &err);
		if (r == -ESRCH)
			return r;
		if (r < 0 && scan->bad.code == 0)
			scan->bad = err;
	}
	return 0;
}

/* The module with the runtime goes first: globals and named functions are looked up there. */
static void put_runtime_first(struct gd_modules *modules)
{
	for (size_t i = 0; i < modules->n; i++) {
		struct gd_func func;
		if (!gd_pclntab_func_named(&modules->list[i].pclntab, "runtime.schedinit", &func))
			continue;
		struct gd_module runtime = modules->list[i];
		memmove(modules->list + 1, modules->list, i * sizeof(*modules->list));
		modules->list[0] = runtime;
		return;
	}
}

int gd_modules_find(struct gd_memory *memory, const struct gd_maps *maps, struct gd_modules *ret,
                    struct gd_error *err)
{
	GD_FREE struct gd_modules *found = calloc(1, sizeof(*found));
	if (found == NULL)
		return gd_fail_errno(err, -ENOMEM, "Go modules");
	struct scan scan = { .memory = memory, .maps = maps, .found = found };
	int r = 0;
	for (int what = GD_PROGRAM_FILES; what <= GD_PROGRAM_UNPACKED && r == 0 && found->n == 0;
	     what++)
		r = gd_program_scan(memory, maps, (enum gd_program_data)what, FIRST_BYTES,
		                    scan_bytes, &scan, err);
	if (r < 0) {
		gd_modules_deinit(found);
		return gd_error_wrap(err, r, "Go modules");
	}
	if (found->n == 0 && scan.bad.code != 0) {
		if (err != NULL)
			*err = scan.bad;
		return scan.bad.code;
	}
	if (found->n == 0)
		return gd_fail(err, -ENOENT, "no Go module in this process");
	put_runtime_first(found);
	*ret = *found;
	return 0;
}

/* Where the later fields lie, by minor release. */
struct places {
	int minor; /* from this one on */
	unsigned types, etypes, rodata, gofunc;
};

static const struct places places_by_minor[] = {
	{ 18, 280, 288, 296, 304 },
	{ 20, 296, 304, 312, 320 }, /* covctrs */
	{ 27, 296, 312, 336, 344 }, /* typedesclen, itaboffset, itabsize */
};

enum { NEWEST_MINOR = 27, RECORD_BYTES = 512 };

static const struct places *places_of(int minor)
{
	const struct places *best = NULL;
	for (size_t i = 0; i < sizeof(places_by_minor) / sizeof(*places_by_minor); i++)
		if (minor >= places_by_minor[i].minor && minor <= NEWEST_MINOR)
			best = places_by_minor + i;
	return best;
}

/* For a release nobody has looked at: the one word that is a base of all inline trees. */
static uint64_t find_gofunc(struct gd_memory *memory, const struct gd_module *module,
                            const uint8_t *record)
{
	for (size_t at = FIRST_BYTES; at + 8 <= RECORD_BYTES; at += 8) {
		uint64_t word = gd_load_u64(record + at);
		if (word >= 4096 &&
		    gd_inltree_prove(memory, word, &module->pclntab) == GD_INLTREE_RIGHT)
			return word;
	}
	return 0;
}

static int complete(struct gd_module *module, struct gd_memory *memory, int minor,
                    struct gd_error *err)
{
	uint8_t record[RECORD_BYTES];
	int r = gd_memory_read(memory, module->addr, record, sizeof(record), err);
	if (r < 0)
		return gd_error_wrap(err, r, "moduledata");
	const struct places *places = places_of(minor);
	if (places != NULL) {
		uint64_t gofunc = gd_load_u64(record + places->gofunc);
		if (gd_inltree_prove(memory, gofunc, &module->pclntab) != GD_INLTREE_WRONG) {
			module->gofunc = gofunc;
			module->types = gd_load_u64(record + places->types);
			module->etypes = gd_load_u64(record + places->etypes);
			module->rodata = gd_load_u64(record + places->rodata);
			return 0;
		}
	}
	module->gofunc = find_gofunc(memory, module, record);
	return 0;
}

int gd_modules_complete(struct gd_modules *modules, struct gd_memory *memory, int minor, int patch,
                        struct gd_error *err)
{
	(void)patch; /* moduledata never changed within a minor release so far */
	for (size_t i = 0; i < modules->n; i++) {
		int r = complete(modules->list + i, memory, minor, err);
		if (r < 0)
			return r;
	}
	return 0;
}

void gd_modules_deinit(struct gd_modules *modules)
{
	for (size_t i = 0; i < modules->n; i++)
		gd_pclntab_deinit(&modules->list[i].pclntab);
	modules->n = 0;
}

const struct gd_module *gd_modules_of(const struct gd_modules *modules, uint64_t pc)
{
	for (size_t i = 0; i < modules->n; i++) {
		const struct gd_module *module = modules->list + i;
		if (pc >= module->text.start && pc < module->text.end)
			return module;
	}
	return NULL;
}
