#include "golang/buildinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/operands.h"
#include "golang/program.h"

/*
 * The block: 14 bytes of magic, pointer size, flags, two pointers (unused from 1.18 on, where the
 * flag for inline strings is set), then version and module lines, each behind its varint length.
 */
enum {
	BLOCK_ALIGN = 16,
	BLOCK_HEADER = 32,
	FLAGS_AT = 15,
	FLAG_BIG_ENDIAN = 1,
	FLAG_INLINE = 2,
};
static const char magic[] = "\xff Go buildinf:";
enum { MAGIC_BYTES = sizeof(magic) - 1 };

enum { VERSION_MAX = 1 << 10, MODINFO_MAX = 16 << 20 };

/* ---- making the answer ---------------------------------------------------------------------- */

/* Copies what is printable ASCII; anything else in a version means that it is none. */
static int set_version(struct gd_buildinfo *info, const char *text, size_t len,
                       struct gd_error *err)
{
	char whole[VERSION_MAX + 1];
	if (len == 0 || len > VERSION_MAX)
		return gd_fail(err, -EBADMSG, "a version of %zu bytes", len);
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return gd_fail(err, -EBADMSG, "a version with byte %#x",
			               (unsigned)(unsigned char)text[i]);
	memcpy(whole, text, len);
	whole[len] = '\0';
	struct gd_go_version version;
	int r = gd_go_version_parse(whole, &version, err);
	if (r < 0)
		return r;
	if (len >= sizeof(info->version))
		len = sizeof(info->version) - 1;
	memcpy(info->version, whole, len);
	info->version[len] = '\0';
	return 0;
}

/* The go command puts 16 bytes before and after the lines; without them it is nobody's text. */
static int set_modinfo(struct gd_buildinfo *info, const char *text, size_t len,
                       struct gd_error *err)
{
	enum { FRAME = 16 };
	bool framed = len >= 2 * FRAME + 1 && text[len - FRAME - 1] == '\n';
	size_t n = framed ? len - (size_t)(2 * FRAME) : 0;
	info->modinfo = malloc(n + 1);
	if (info->modinfo == NULL)
		return gd_fail_errno(err, -ENOMEM, "module lines");
	if (n > 0)
		memcpy(info->modinfo, text + FRAME, n);
	info->modinfo[n] = '\0';
	return 0;
}

void gd_buildinfo_deinit(struct gd_buildinfo *info)
{
	free(info->modinfo);
	*info = (struct gd_buildinfo){ 0 };
}

/* ---- the block ------------------------------------------------------------------------------ */

/* Reads a varint length and that many bytes; moves *addr behind them. */
static int read_string(struct gd_memory *memory, uint64_t *addr, uint64_t max, char **ret,
                       size_t *ret_len, struct gd_error *err)
{
	uint8_t head[10];
	ssize_t got = gd_memory_read_some(memory, *addr, head, sizeof(head));
	if (got < 0)
		return gd_fail_errno(err, (int)got, "build info");
	struct gd_bytes b = gd_bytes_of(head, (size_t)got);
	uint64_t len = gd_bytes_uvarint(&b);
	if (b.bad || len > max)
		return gd_fail(err, -EBADMSG, "build info: a string of %" PRIu64 " bytes", len);
	GD_FREE char *text = malloc(len + 1);
	if (text == NULL)
		return gd_fail_errno(err, -ENOMEM, "build info of %" PRIu64 " bytes", len);
	int r = gd_memory_read(memory, *addr + b.pos, text, len, err);
	if (r < 0)
		return gd_error_wrap(err, r, "build info");
	*addr += b.pos + len;
	*ret_len = (size_t)len;
	*ret = gd_steal_ptr(&text);
	return 0;
}

/* A Go string of a variable at addr. */
static int read_variable(struct gd_memory *memory, uint64_t addr, uint64_t max, char **ret,
                         size_t *ret_len, struct gd_error *err)
{
	uint8_t header[16];
	int r = gd_memory_read(memory, addr, header, sizeof(header), err);
	if (r < 0)
		return r;
	uint64_t data = gd_load_u64(header);
	uint64_t len = gd_load_u64(header + 8);
	if (len > max)
		return gd_fail(err, -EBADMSG, "string at %#" PRIx64 " of %" PRIu64 " bytes", addr,
		               len);
	GD_FREE char *text = malloc(len + 1);
	if (text == NULL)
		return gd_fail_errno(err, -ENOMEM, "string of %" PRIu64 " bytes", len);
	r = gd_memory_read(memory, data, text, len, err);
	if (r < 0)
		return r;
	*ret_len = (size_t)len;
	*ret = gd_steal_ptr(&text);
	return 0;
}

static int read_block(struct gd_memory *memory, uint64_t addr, struct gd_buildinfo *ret,
                      struct gd_error *err)
{
	struct gd_buildinfo info = { 0 };
	uint8_t header[BLOCK_HEADER];
	GD_FREE char *version = NULL;
	GD_FREE char *modinfo = NULL;
	size_t version_len, modinfo_len;
	int r = gd_memory_read(memory, addr, header, sizeof(header), err);
	if (r < 0)
		return r;
	if ((header[FLAGS_AT] & FLAG_BIG_ENDIAN) != 0)
		return gd_fail(err, -EBADMSG, "build info of a big-endian program");
	if ((header[FLAGS_AT] & FLAG_INLINE) != 0) {
		uint64_t at = addr + BLOCK_HEADER;
		r = read_string(memory, &at, VERSION_MAX, &version, &version_len, err);
		if (r == 0)
			r = read_string(memory, &at, MODINFO_MAX, &modinfo, &modinfo_len, err);
	} else {
		/* before 1.18: we read it to be able to say which release is too old */
		r = read_variable(memory, gd_load_u64(header + 16), VERSION_MAX, &version,
		                  &version_len, err);
		if (r == 0)
			r = read_variable(memory, gd_load_u64(header + 24), MODINFO_MAX, &modinfo,
			                  &modinfo_len, err);
	}
	if (r == 0)
		r = set_version(&info, version, version_len, err);
	if (r == 0)
		r = set_modinfo(&info, modinfo, modinfo_len, err);
	if (r == 0)
		*ret = info;
	return r;
}

struct scan {
	struct gd_memory *memory;
	struct gd_buildinfo *ret;
	struct gd_error bad; /* what was wrong with the first block */
};

/* 1: found; 0: not here; -ESRCH, -ENOMEM. */
static int scan_bytes(uint64_t at, const uint8_t *bytes, size_t n, void *arg)
{
	struct scan *scan = arg;
	const uint8_t *p = bytes;
	const uint8_t *end = bytes + n;
	while ((p = memmem(p, (size_t)(end - p), magic, MAGIC_BYTES)) != NULL) {
		uint64_t addr = at + (uint64_t)(p - bytes);
		p++;
		if (addr % BLOCK_ALIGN != 0)
			continue; /* the constant in a program that looks for build info itself */
		struct gd_error err = { 0 };
		int r = read_block(scan->memory, addr, scan->ret, &err);
		if (r == 0)
			return 1;
		if (r == -ESRCH || r == -ENOMEM)
			return r;
		if (scan->bad.code == 0)
			scan->bad = err;
	}
	return 0;
}

int gd_buildinfo_find(struct gd_memory *memory, const struct gd_maps *maps,
                      struct gd_buildinfo *ret, struct gd_error *err)
{
	struct scan scan = { .memory = memory, .ret = ret };
	int r = 0;
	for (int what = GD_PROGRAM_FILES; what <= GD_PROGRAM_UNPACKED && r == 0; what++)
		r = gd_program_scan(memory, maps, (enum gd_program_data)what, 0, scan_bytes, &scan,
		                    err);
	if (r > 0)
		return 0;
	if (r < 0)
		return gd_fail_errno(err, r, "looking for build info");
	if (scan.bad.code != 0)
		return gd_fail(err, -EBADMSG, "%s", scan.bad.msg);
	return gd_fail(err, -ENOENT, "no Go build info in this process");
}

/* ---- without a block ------------------------------------------------------------------------ */

enum { SCHEDINIT_MAX = 16 << 10, OPERANDS_MAX = 1024 };

/* The go command's frame around the module lines. */
static const uint8_t frame_start[16] = { 0x30, 0x77, 0xaf, 0x0c, 0x92, 0x74, 0x08, 0x02,
	                                 0x41, 0xe1, 0xc1, 0x07, 0xe6, 0xd6, 0x18, 0xe6 };

static bool in_data(const struct gd_module *module, uint64_t addr)
{
	return (addr >= module->data.start && addr < module->data.end) ||
	       (addr >= module->noptrdata.start && addr < module->noptrdata.end);
}

/* Takes the Go string at addr if it is one of the two looked for and still missing. */
static void try_variable(struct gd_memory *memory, uint64_t addr, struct gd_buildinfo *info)
{
	GD_FREE char *text = NULL;
	size_t len;
	uint64_t data;
	uint8_t start[sizeof(frame_start)];
	if (gd_memory_read_u64(memory, addr, &data, NULL) < 0 ||
	    gd_memory_read_some(memory, data, start, sizeof(start)) != sizeof(start))
		return;
	bool is_version = memcmp(start, "go1", 3) == 0 || memcmp(start, "devel ", 6) == 0;
	bool is_modinfo = memcmp(start, frame_start, sizeof(start)) == 0;
	if (is_version && info->version[0] == '\0' &&
	    read_variable(memory, addr, VERSION_MAX, &text, &len, NULL) == 0)
		(void)set_version(info, text, len, NULL);
	else if (is_modinfo && info->modinfo == NULL &&
	         read_variable(memory, addr, MODINFO_MAX, &text, &len, NULL) == 0)
		(void)set_modinfo(info, text, len, NULL);
}

/*
 * schedinit compares the lengths of runtime.buildVersion and runtime.modinfo ("ensures that they
 * are kept in the binary"), so both are among its operands, at their own address or 8 behind it.
 */
static int recover_from(const struct gd_module *module, struct gd_memory *memory,
                        struct gd_buildinfo *ret, struct gd_error *err)
{
	uint8_t code[SCHEDINIT_MAX];
	struct gd_operand operands[OPERANDS_MAX];
	struct gd_buildinfo info = { 0 };
	struct gd_func func;
	if (!gd_pclntab_func_named(&module->pclntab, "runtime.schedinit", &func) ||
	    func.end <= func.entry)
		return gd_fail(err, -ENOENT, "no function runtime.schedinit");
	uint64_t size = func.end - func.entry;
	ssize_t n = gd_memory_read_some(memory, func.entry, code,
	                                size < sizeof(code) ? (size_t)size : sizeof(code));
	if (n < 0)
		return gd_fail_errno(err, (int)n, "runtime.schedinit");
	size_t n_operands = gd_operands_of(code, (size_t)n, func.entry, operands, OPERANDS_MAX);
	for (size_t i = 0; i < n_operands; i++) {
		if (!in_data(module, operands[i].addr))
			continue;
		try_variable(memory, operands[i].addr, &info);
		try_variable(memory, operands[i].addr - 8, &info);
	}
	if (info.version[0] == '\0') {
		gd_buildinfo_deinit(&info);
		return gd_fail(err, -ENOENT, "no Go version among the operands of schedinit");
	}
	if (info.modinfo == NULL) {
		int r = set_modinfo(&info, "", 0, err);
		if (r < 0)
			return r;
	}
	*ret = info;
	return 0;
}

int gd_buildinfo_recover(const struct gd_modules *modules, struct gd_memory *memory,
                         struct gd_buildinfo *ret, struct gd_error *err)
{
	int r = gd_fail(err, -ENOENT, "no Go module in this process");
	for (size_t i = 0; i < modules->n && r == -ENOENT; i++)
		r = recover_from(modules->list + i, memory, ret, err);
	return r;
}
