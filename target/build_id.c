#include "target/build_id.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"

#define PROGRAM_HEADERS_MAX 512
/* A note segment of an executable holds a few hundred bytes. */
#define NOTES_MAX (1u << 20)
#define NOTE_SEGMENTS_MAX 16
#define GO_BUILD_ID_TYPE 4u /* cmd/link: ELF_NOTE_GOBUILDID_TAG */

static size_t align_up(size_t n, size_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static void keep_gnu(struct gd_build_id *ids, const uint8_t *desc, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	if (ids->gnu[0] != '\0' || n == 0 || n > (sizeof(ids->gnu) - 1) / 2)
		return;
	for (size_t i = 0; i < n; i++) {
		ids->gnu[2 * i] = digits[desc[i] >> 4];
		ids->gnu[2 * i + 1] = digits[desc[i] & 15];
	}
	ids->gnu[2 * n] = '\0';
}

static void keep_go(struct gd_build_id *ids, const uint8_t *desc, size_t n)
{
	if (ids->go[0] != '\0' || n == 0 || n > sizeof(ids->go) - 1)
		return;
	/* Base64 and slashes in reality; what is not printable is somebody's joke. */
	for (size_t i = 0; i < n; i++)
		if (desc[i] <= 0x20 || desc[i] > 0x7e)
			return;
	memcpy(ids->go, desc, n);
	ids->go[n] = '\0';
}

void gd_build_id_parse_notes(const void *notes, size_t len, size_t align,
                             struct gd_build_id *ids)
{
	struct gd_bytes b = gd_bytes_of(notes, len);
	for (;;) {
		size_t name_len = gd_bytes_u32(&b);
		size_t desc_len = gd_bytes_u32(&b);
		uint32_t type = gd_bytes_u32(&b);
		const uint8_t *name = gd_bytes_take(&b, name_len);
		if (b.bad)
			return;
		gd_bytes_seek(&b, align_up(b.pos, align));
		const uint8_t *desc = gd_bytes_take(&b, desc_len);
		if (b.bad)
			return;
		if (name_len == 4 && memcmp(name, "GNU", 4) == 0 && type == NT_GNU_BUILD_ID)
			keep_gnu(ids, desc, desc_len);
		if (name_len == 4 && memcmp(name, "Go\0", 4) == 0 && type == GO_BUILD_ID_TYPE)
			keep_go(ids, desc, desc_len);
		gd_bytes_seek(&b, align_up(b.pos, align));
	}
}

/* What the ELF header says about the program headers. */
struct table {
	uint64_t offset;
	unsigned entry_bytes;
	unsigned n;
	bool wide; /* ELFCLASS64 */
};

static int read_header(int fd, struct table *table, struct gd_error *err)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} h = { 0 };
	int r = gd_io_pread_all(fd, &h, sizeof(h.narrow), 0, err);
	if (r < 0)
		return r;
	if (memcmp(h.ident, ELFMAG, SELFMAG) != 0)
		return gd_fail(err, -EBADMSG, "not an ELF file");
	if (h.ident[EI_DATA] != ELFDATA2LSB)
		return gd_fail(err, -ENOTSUP, "a big-endian ELF file");
	if (h.ident[EI_CLASS] == ELFCLASS64) {
		r = gd_io_pread_all(fd, &h, sizeof(h.wide), 0, err);
		if (r < 0)
			return r;
		*table = (struct table){ h.wide.e_phoff, h.wide.e_phentsize, h.wide.e_phnum, true };
	} else {
		*table = (struct table){ h.narrow.e_phoff, h.narrow.e_phentsize, h.narrow.e_phnum,
			                 false };
	}
	unsigned least = table->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (table->entry_bytes < least || table->n > PROGRAM_HEADERS_MAX ||
	    table->offset > INT64_MAX - UINT32_MAX)
		return gd_fail(err, -EBADMSG, "program headers of %u x %u bytes make no sense",
		               table->n, table->entry_bytes);
	return 0;
}

static int read_segment(int fd, const struct table *table, unsigned i, Elf64_Phdr *ret)
{
	off_t at = (off_t)(table->offset + (uint64_t)i * table->entry_bytes);
	if (table->wide)
		return gd_io_pread_all(fd, ret, sizeof(*ret), at, NULL);
	Elf32_Phdr narrow;
	int r = gd_io_pread_all(fd, &narrow, sizeof(narrow), at, NULL);
	if (r == 0)
		*ret = (Elf64_Phdr){ .p_type = narrow.p_type,
			             .p_offset = narrow.p_offset,
			             .p_filesz = narrow.p_filesz,
			             .p_align = narrow.p_align };
	return r;
}

/* A segment beyond the end of the file, or too large to be honest, is passed over. */
static void read_notes(int fd, const Elf64_Phdr *segment, struct gd_build_id *ids)
{
	if (segment->p_filesz > NOTES_MAX || segment->p_offset > INT64_MAX - NOTES_MAX)
		return;
	size_t len = (size_t)segment->p_filesz;
	GD_FREE uint8_t *notes = malloc(len + 1);
	if (notes == NULL || gd_io_pread_all(fd, notes, len, (off_t)segment->p_offset, NULL) < 0)
		return;
	gd_build_id_parse_notes(notes, len, segment->p_align == 8 ? 8 : 4, ids);
}

int gd_build_id_read(int exe_fd, struct gd_build_id *ret, struct gd_error *err)
{
	struct table table = { 0 };
	struct gd_build_id ids = { 0 };
	int r = read_header(exe_fd, &table, err);
	if (r < 0)
		return gd_error_wrap(err, r, "build id");
	unsigned seen = 0;
	for (unsigned i = 0; i < table.n && seen < NOTE_SEGMENTS_MAX; i++) {
		Elf64_Phdr segment;
		if (read_segment(exe_fd, &table, i, &segment) < 0)
			return gd_fail(err, -EBADMSG, "build id: the file ends within its headers");
		if (segment.p_type != PT_NOTE)
			continue;
		seen++;
		read_notes(exe_fd, &segment, &ids);
	}
	*ret = ids;
	return 0;
}
