#include "golang/pclntab.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* pcHeader, the same 72 bytes in all of Go 1.18 to 1.27 */
enum {
	HEADER_BYTES = 72,
	HEADER_MIN_LC = 6,
	HEADER_PTR_SIZE = 7,
	HEADER_NFUNC = 8,
	HEADER_FUNCNAME = 32,
	HEADER_CU = 40,
	HEADER_FILETAB = 48,
	HEADER_PCTAB = 56,
	HEADER_PCLN = 64,
};

enum { FTAB_ENTRY_BYTES = 8 };

/* Twenty times what the largest program known has; bounds every pass over all of them. */
static const uint64_t FUNCS_MAX = UINT64_C(8) << 20;

/* Longer than any symbol or path the Go tools make; bounds the work on a string without end. */
enum { STRING_MAX = 1 << 16 };

/* No function has a million runs of one value; bounds the work on a table without end. */
enum { STEPS_MAX = 1 << 20 };

static int check_magic(const uint8_t *header, bool *has_start_line, struct gd_error *err)
{
	uint32_t magic = gd_load_u32(header);
	if (magic == 0xfffffffa || magic == 0xfffffffb)
		return gd_fail(err, -ENOTSUP, "pclntab: of a Go release before 1.18");
	if (magic != GD_PCLNTAB_MAGIC_118 && magic != GD_PCLNTAB_MAGIC_120)
		return gd_fail(err, -EBADMSG, "pclntab: unknown magic %#" PRIx32, magic);
	if (header[4] != 0 || header[5] != 0 || header[HEADER_MIN_LC] != 1 ||
	    header[HEADER_PTR_SIZE] != 8)
		return gd_fail(err, -EBADMSG,
		               "pclntab: not of amd64 (quantum %u, pointers of %u bytes)",
		               header[HEADER_MIN_LC], header[HEADER_PTR_SIZE]);
	*has_start_line = magic == GD_PCLNTAB_MAGIC_120;
	return 0;
}

/* The runtime refuses to start with entries out of order; we would find wrong functions. */
static int check_order(const struct gd_pclntab *tab, struct gd_error *err)
{
	const uint8_t *p = tab->data + tab->pcln_off;
	uint32_t last = 0;
	for (uint64_t i = 0; i <= tab->nfunc; i++, p += FTAB_ENTRY_BYTES) {
		uint32_t entry = gd_load_u32(p);
		if (entry < last)
			return gd_fail(err, -EBADMSG,
			               "pclntab: function %" PRIu64 " starts at %#" PRIx32
			               ", below the one before it at %#" PRIx32, i, entry, last);
		last = entry;
	}
	return 0;
}

int gd_pclntab_init(struct gd_pclntab *ret, uint8_t *data, size_t len, uint64_t text,
                    uint64_t etext, struct gd_error *err)
{
	struct gd_pclntab tab = { .data = data, .len = len, .text = text, .etext = etext };
	if (len < HEADER_BYTES)
		return gd_fail(err, -EBADMSG, "pclntab: %zu bytes are no table", len);
	int r = check_magic(data, &tab.has_start_line, err);
	if (r < 0)
		return r;
	const struct {
		const char *what;
		size_t at;
		size_t *to;
	} offsets[] = {
		{ "function names", HEADER_FUNCNAME, &tab.funcname_off },
		{ "compilation units", HEADER_CU, &tab.cu_off },
		{ "files", HEADER_FILETAB, &tab.filetab_off },
		{ "pc tables", HEADER_PCTAB, &tab.pctab_off },
		{ "functions", HEADER_PCLN, &tab.pcln_off },
	};
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		uint64_t off = gd_load_u64(data + offsets[i].at);
		if (off < HEADER_BYTES || off >= len)
			return gd_fail(err, -EBADMSG,
			               "pclntab: %s at offset %#" PRIx64 ", table has %zu bytes",
			               offsets[i].what, off, len);
		*offsets[i].to = (size_t)off;
	}
	/* one more entry than functions: the end of the last, without its second half */
	tab.nfunc = gd_load_u64(data + HEADER_NFUNC);
	if (tab.nfunc == 0 || tab.nfunc >= (len - tab.pcln_off) / FTAB_ENTRY_BYTES)
		return gd_fail(err, -EBADMSG,
		               "pclntab: %" PRIu64 " functions cannot fit into %zu bytes",
		               tab.nfunc, len - tab.pcln_off);
	if (tab.nfunc > FUNCS_MAX)
		return gd_fail(err, -E2BIG, "pclntab: %" PRIu64 " functions, our limit is %" PRIu64,
		               tab.nfunc, FUNCS_MAX);
	r = check_order(&tab, err);
	if (r < 0)
		return r;
	*ret = tab;
	return 0;
}

void gd_pclntab_deinit(struct gd_pclntab *tab)
{
	free((void *)(uintptr_t)tab->data);
	*tab = (struct gd_pclntab){ 0 };
}

static uint32_t ftab_entry(const struct gd_pclntab *tab, uint64_t i)
{
	return gd_load_u32(tab->data + tab->pcln_off + i * FTAB_ENTRY_BYTES);
}

/* Where the i-th _func lies in the table; false when it would not fit. */
static bool func_place(const struct gd_pclntab *tab, uint64_t i, size_t *ret)
{
	size_t size = tab->has_start_line ? 44 : 40;
	uint32_t off = gd_load_u32(tab->data + tab->pcln_off + i * FTAB_ENTRY_BYTES + 4);
	if (tab->len - tab->pcln_off < size || off > tab->len - tab->pcln_off - size)
		return false;
	*ret = tab->pcln_off + off;
	return true;
}

bool gd_pclntab_func_at(const struct gd_pclntab *tab, uint64_t i, struct gd_func *ret)
{
	size_t at;
	if (i >= tab->nfunc || !func_place(tab, i, &at))
		return false;
	struct gd_bytes b = gd_bytes_of(tab->data, tab->len);
	gd_bytes_seek(&b, at + 4);
	struct gd_func func = {
		.entry = tab->text + ftab_entry(tab, i),
		.end = tab->text + ftab_entry(tab, i + 1),
		.at = at,
	};
	func.name_off = gd_bytes_i32(&b);
	func.args_bytes = gd_bytes_i32(&b);
	func.deferreturn = gd_bytes_u32(&b);
	func.pcsp = gd_bytes_u32(&b);
	func.pcfile = gd_bytes_u32(&b);
	func.pcln = gd_bytes_u32(&b);
	func.npcdata = gd_bytes_u32(&b);
	func.cu_offset = gd_bytes_u32(&b);
	if (tab->has_start_line)
		func.start_line = gd_bytes_i32(&b);
	func.func_id = gd_bytes_u8(&b);
	func.flag = gd_bytes_u8(&b);
	(void)gd_bytes_u8(&b);
	func.nfuncdata = gd_bytes_u8(&b);
	uint64_t arrays = ((uint64_t)func.npcdata + func.nfuncdata) * 4;
	if (b.bad || arrays > b.len - b.pos)
		return false;
	*ret = func;
	return true;
}

bool gd_pclntab_func(const struct gd_pclntab *tab, uint64_t pc, struct gd_func *ret)
{
	if (pc < tab->text || pc - tab->text > UINT32_MAX)
		return false;
	uint32_t off = (uint32_t)(pc - tab->text);
	if (off < ftab_entry(tab, 0) || off >= ftab_entry(tab, tab->nfunc))
		return false;
	uint64_t low = 0, high = tab->nfunc; /* entry(low) <= off < entry(high) */
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		if (ftab_entry(tab, middle) <= off)
			low = middle;
		else
			high = middle;
	}
	return gd_pclntab_func_at(tab, low, ret);
}

static bool func_with_name_off(const struct gd_pclntab *tab, uint32_t name_off,
                               struct gd_func *ret)
{
	for (uint64_t i = 0; i < tab->nfunc; i++) {
		size_t at;
		if (func_place(tab, i, &at) && gd_load_u32(tab->data + at + 4) == name_off)
			return gd_pclntab_func_at(tab, i, ret);
	}
	return false;
}

/*
 * Looking for the name's bytes first and then for the function that refers to them is much faster
 * than comparing the name of every function: both walks are sequential.  A name can occur without a
 * function (it was inlined everywhere).  It can also occur twice: functions that Go and assembly
 * call have a second entry for the other calling convention, made by the compiler and marked as a
 * wrapper, which is the highest id in every release.
 */
bool gd_pclntab_func_named(const struct gd_pclntab *tab, const char *name, struct gd_func *ret)
{
	enum { HITS_MAX = 4 };
	const uint8_t *names = tab->data + tab->funcname_off;
	const uint8_t *end = tab->data + (tab->cu_off > tab->funcname_off ? tab->cu_off : tab->len);
	const uint8_t *hit = names;
	size_t n = strlen(name) + 1; /* with its NUL */
	bool found = false;
	for (unsigned hits = 0; hits < HITS_MAX; hit++) {
		struct gd_func func;
		hit = memmem(hit, (size_t)(end - hit), name, n);
		if (hit == NULL)
			break;
		if (hit != names && hit[-1] != '\0')
			continue; /* the end of a longer name */
		hits++;
		if (hit - names > INT32_MAX ||
		    !func_with_name_off(tab, (uint32_t)(hit - names), &func) ||
		    (found && func.func_id >= ret->func_id))
			continue;
		*ret = func;
		found = true;
	}
	return found;
}

static const char *string_at(const struct gd_pclntab *tab, uint64_t off)
{
	if (off >= tab->len)
		return "?";
	size_t max = tab->len - (size_t)off;
	const uint8_t *s = tab->data + off;
	if (memchr(s, '\0', max < STRING_MAX ? max : STRING_MAX) == NULL)
		return "?";
	return (const char *)s;
}

const char *gd_pclntab_name(const struct gd_pclntab *tab, int32_t name_off)
{
	return name_off < 0 ? "?" : string_at(tab, tab->funcname_off + (uint64_t)name_off);
}

/*
 * One unsigned number of a pc-value table.  Like the runtime's reader it keeps the low 32 bits, and
 * unlike it stops at the table's end.
 */
static bool take_varint(const uint8_t **p, const uint8_t *end, uint32_t *ret)
{
	uint32_t value = 0;
	for (unsigned shift = 0; *p < end && shift < 70; shift += 7) {
		uint8_t c = *(*p)++;
		value |= shift < 32 ? (uint32_t)(c & 0x7f) << shift : 0;
		if ((c & 0x80) == 0) {
			*ret = value;
			return true;
		}
	}
	return false;
}

int32_t gd_pclntab_value(const struct gd_pclntab *tab, const struct gd_func *func, uint32_t off,
                         uint64_t pc, int32_t missing)
{
	if (off == 0 || off >= tab->len - tab->pctab_off || pc < func->entry)
		return missing;
	const uint8_t *p = tab->data + tab->pctab_off + off;
	const uint8_t *end = tab->data + tab->len;
	uint64_t wanted = pc - func->entry;
	uint64_t at = 0;
	uint32_t value = UINT32_MAX; /* -1 */
	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		uint32_t dvalue, dpc;
		if (!take_varint(&p, end, &dvalue) || (dvalue == 0 && steps > 0) ||
		    !take_varint(&p, end, &dpc))
			return missing;
		value += (dvalue >> 1) ^ (0 - (dvalue & 1)); /* zig-zag */
		at += dpc;
		if (wanted < at)
			return (int32_t)value;
	}
	return missing;
}

int32_t gd_pclntab_sp_delta(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc)
{
	int32_t delta = gd_pclntab_value(tab, func, func->pcsp, pc, -1);
	/* SP stays aligned to 8 in Go code; anything else is not a stack depth */
	return delta < 0 || delta % 8 != 0 ? -1 : delta;
}

const char *gd_pclntab_file(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc)
{
	int32_t number = gd_pclntab_value(tab, func, func->pcfile, pc, -1);
	if (number < 0)
		return "?";
	uint64_t index = (uint64_t)func->cu_offset + (uint32_t)number;
	if (index >= (tab->len - tab->cu_off) / 4)
		return "?";
	uint32_t off = gd_load_u32(tab->data + tab->cu_off + index * 4);
	return off == UINT32_MAX ? "?" : string_at(tab, tab->filetab_off + (uint64_t)off);
}

int32_t gd_pclntab_line(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc)
{
	int32_t line = gd_pclntab_value(tab, func, func->pcln, pc, -1);
	return line < 0 ? 0 : line;
}

/* The arrays behind a _func were bounded when it was decoded. */
static uint32_t func_array(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t i)
{
	return gd_load_u32(tab->data + func->at + (tab->has_start_line ? 44 : 40) + i * 4);
}

int32_t gd_pclntab_pcdata(const struct gd_pclntab *tab, const struct gd_func *func, unsigned i,
                          uint64_t pc)
{
	if (i >= func->npcdata)
		return -1;
	return gd_pclntab_value(tab, func, func_array(tab, func, i), pc, -1);
}

uint32_t gd_pclntab_funcdata(const struct gd_pclntab *tab, const struct gd_func *func, unsigned i)
{
	if (i >= func->nfuncdata)
		return UINT32_MAX;
	return func_array(tab, func, (uint64_t)func->npcdata + i);
}
