#include "collectors/cfi_scan.h"

#include <dwarf.h>
#include <errno.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/unwind.h"

enum {
	SECTIONS_MAX = 4096,
	ENTRIES_MAX = 1 << 18,
	BYTES_MAX = 16 << 20,
	WINDOW = 64 << 10,
};

/* ---- where ----------------------------------------------------------------------------------- */

void gd_cfi_scan_locate(int fd, uint64_t *ret_at, uint64_t *ret_bytes)
{
	size_t names = 0;
	*ret_at = *ret_bytes = 0;
	(void)elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf == NULL)
		return;
	Elf_Scn *section = elf_getshdrstrndx(elf, &names) == 0 ? elf_nextscn(elf, NULL) : NULL;
	for (int i = 0; section != NULL && i < SECTIONS_MAX; i++, section = elf_nextscn(elf, section)) {
		GElf_Shdr header;
		if (gelf_getshdr(section, &header) == NULL || (header.sh_flags & SHF_ALLOC) == 0)
			continue;
		const char *name = elf_strptr(elf, names, header.sh_name);
		if (name == NULL || strcmp(name, ".eh_frame") != 0)
			continue;
		*ret_at = header.sh_addr;
		*ret_bytes = header.sh_size;
		break;
	}
	(void)elf_end(elf);
}

/* ---- the table ------------------------------------------------------------------------------- */

struct scan {
	struct gd_memory *memory;
	struct gd_stack bytes; /* a window that moves up */
	uint64_t cie_at;       /* of the last FDE; 0 none */
	uint8_t pointer;       /* how FDEs of that write addresses; DW_EH_PE_omit: it is not sound */
	struct gd_cfi_table *to;
};

/* Many FDEs in a row have the same CIE. */
static void know_cie(struct scan *s, uint64_t at)
{
	uint8_t cie[GD_CFI_CIE_MAX];
	bool sized = false;
	if (at == s->cie_at)
		return;
	s->cie_at = at;
	s->pointer = DW_EH_PE_omit;
	ssize_t got = gd_memory_read_some(s->memory, at, cie, sizeof(cie));
	uint64_t len = got >= 8 ? (uint64_t)gd_load_u32(cie) + 4 : 0;
	uint8_t pointer = DW_EH_PE_omit;
	if (len >= 8 && len <= (uint64_t)got &&
	    gd_cfi_cie_is_sound(cie + 4, (size_t)len - 4, &sized, &pointer))
		s->pointer = pointer;
}

/* Where the function begins that the FDE at `at` is of. */
static bool read_start(struct scan *s, uint64_t at, uint64_t *ret)
{
	size_t n = gd_cfi_pointer_bytes(s->pointer);
	const uint8_t *bytes = n != 0 ? gd_stack_at(&s->bytes, at + 8, n) : NULL;
	uint64_t value = 0;
	if (bytes == NULL)
		return false;
	memcpy(&value, bytes, n);
	unsigned unused = 64 - 8 * (unsigned)n;
	if ((s->pointer & DW_EH_PE_signed) != 0 || (s->pointer & 0x70) == DW_EH_PE_pcrel)
		value = (uint64_t)((int64_t)(value << unused) >> unused);
	*ret = (s->pointer & 0x70) == DW_EH_PE_pcrel ? at + 8 + value : value;
	return true;
}

static bool add(struct gd_cfi_table *to, size_t *room, uint64_t start, uint64_t fde_at)
{
	if (to->n == *room) {
		size_t more = *room == 0 ? 1024 : *room * 2;
		struct gd_cfi_pair *list = to->n < ENTRIES_MAX ?
			realloc(to->list, more * sizeof(*list)) : NULL;
		if (list == NULL)
			return false;
		to->list = list;
		*room = more;
	}
	to->list[to->n++] = (struct gd_cfi_pair){ .start = start, .fde_at = fde_at };
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct gd_cfi_pair *x = a;
	const struct gd_cfi_pair *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

int gd_cfi_scan(struct gd_memory *memory, uint64_t at, uint64_t bytes, struct gd_cfi_table *ret,
                struct gd_error *err)
{
	GD_FREE uint8_t *window = malloc(WINDOW);
	struct gd_cfi_table table = { .at = at };
	size_t room = 0;
	bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX;
	if (window == NULL)
		return gd_fail_errno(err, -ENOMEM, "frame table");
	struct scan s = { .memory = memory, .to = &table,
		          .bytes = { .hi = at + bytes, .at = at, .memory = memory, .window = window,
		                     .window_bytes = WINDOW } };
	for (uint64_t end = at + bytes; at < end && end - at >= 8;) {
		const uint8_t *head = gd_stack_at(&s.bytes, at, 8);
		uint64_t start = 0;
		if (head == NULL)
			break;
		uint64_t len = (uint64_t)gd_load_u32(head) + 4;
		uint32_t back = gd_load_u32(head + 4);
		if (len < 8 || len > end - at)
			break; /* the end mark is a length of 0 */
		if (back != 0) {
			know_cie(&s, at + 4 - back);
			if (read_start(&s, at, &start) && !add(&table, &room, start, at))
				break;
		}
		at += len;
	}
	if (table.n > 0)
		qsort(table.list, table.n, sizeof(table.list[0]), by_start);
	*ret = table;
	return 0;
}
