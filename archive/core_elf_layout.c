#include "archive/core_elf_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive/pack.h"

#define PAGE GD_CORE_ELF_PAGE

/*
 * Zeros cost nothing in a sparse file but its size, which file systems limit (16 TiB on ext4): a
 * reservation of this much (shadow memory of a sanitizer, an arena) is shown up to its last page
 * that was kept.
 */
#define HUGE_BYTES (UINT64_C(64) << 30)

static bool covers(const struct gd_core_chunk *chunk, uint64_t addr)
{
	return addr >= chunk->addr && addr - chunk->addr < GD_PACK_CHUNK;
}

/* The first kept page in [addr, end), or end.  *at moves on with addr, which only grows. */
static uint64_t find_kept(const struct gd_core_map *map, size_t *at, uint64_t addr, uint64_t end)
{
	for (; *at < map->n_chunks; ++*at) {
		const struct gd_core_chunk *chunk = &map->chunks[*at];
		if (chunk->addr >= end)
			return end;
		if (addr < chunk->addr)
			addr = chunk->addr;
		for (; addr < end && covers(chunk, addr); addr += PAGE)
			if (gd_core_layout_kept(chunk, addr))
				return addr;
		if (addr >= end)
			return end;
	}
	return end;
}

/* The first page in [addr, end) that is not kept, or end. */
static uint64_t find_gap(const struct gd_core_map *map, size_t *at, uint64_t addr, uint64_t end)
{
	for (; addr < end; addr += PAGE) {
		if (*at < map->n_chunks && !covers(&map->chunks[*at], addr))
			++*at;
		if (*at == map->n_chunks || !covers(&map->chunks[*at], addr) ||
		    !gd_core_layout_kept(&map->chunks[*at], addr))
			break;
	}
	return addr;
}

struct plan {
	const struct gd_core_map *map;
	struct gd_core_layout layout;
	size_t cap;
	size_t chunk; /* where find_kept is */
};

static int add(struct plan *p, const struct gd_core_area *area, uint64_t start, uint64_t file_end,
               uint64_t end, struct gd_error *err)
{
	struct gd_core_layout *l = &p->layout;
	if (l->n == p->cap) {
		size_t cap = p->cap > 0 ? 2 * p->cap : 256;
		struct gd_core_load *loads = reallocarray(l->loads, cap, sizeof(*loads));
		if (loads == NULL)
			return gd_fail_errno(err, -ENOMEM, "core");
		l->loads = loads;
		p->cap = cap;
	}
	l->loads[l->n++] = (struct gd_core_load){ .addr = start, .memory_bytes = end - start,
		                                  .file_bytes = file_end - start, .area = area };
	return 0;
}

/* What is missing in it is zero. */
static int plan_zero(struct plan *p, const struct gd_core_area *area, struct gd_error *err)
{
	uint64_t last = area->start; /* end of the last kept page */
	uint64_t at = area->start;
	while ((at = find_kept(p->map, &p->chunk, at, area->end)) < area->end) {
		last = find_gap(p->map, &p->chunk, at, area->end);
		p->layout.content_bytes += last - at;
		at = last;
	}
	bool show = last != area->start || area->read;
	bool huge = area->end - area->start > HUGE_BYTES;
	return add(p, area, area->start, huge || !show ? last : area->end, area->end, err);
}

/*
 * What is missing in it lies in a file: a load for each run of kept pages and what is missing
 * behind.  What is lost is in no load at all: gdb 13 takes memory without bytes in the core for
 * zeros.
 */
static int plan_runs(struct plan *p, const struct gd_core_area *area, struct gd_error *err)
{
	bool lost = area->missing == GD_CORE_LOST;
	uint64_t at = find_kept(p->map, &p->chunk, area->start, area->end);
	int r = at > area->start && !lost ? add(p, area, area->start, area->start, at, err) : 0;
	while (r == 0 && at < area->end) {
		uint64_t gap = find_gap(p->map, &p->chunk, at, area->end);
		uint64_t next = find_kept(p->map, &p->chunk, gap, area->end);
		p->layout.content_bytes += gap - at;
		r = add(p, area, at, gap, lost ? gap : next, err);
		at = next;
	}
	return r;
}

static int place(struct gd_core_layout *l, uint64_t notes_bytes, struct gd_error *err)
{
	uint64_t at = sizeof(Elf64_Ehdr) + (l->n + 1) * sizeof(Elf64_Phdr) + sizeof(Elf64_Shdr);
	l->notes_at = (at + 7) / 8 * 8;
	l->notes_bytes = notes_bytes;
	bool over = __builtin_add_overflow(l->notes_at, notes_bytes, &at) || at > INT64_MAX;
	at = over ? 0 : (at + PAGE - 1) / PAGE * PAGE;
	for (size_t i = 0; !over && i < l->n; i++) {
		l->loads[i].offset = at;
		over = __builtin_add_overflow(at, l->loads[i].file_bytes, &at) || at > INT64_MAX;
	}
	l->file_bytes = at;
	return over ? gd_fail(err, -E2BIG, "core: larger than any file") : 0;
}

int gd_core_layout_plan(const struct gd_core_map *map, const char *exe, bool exe_deleted,
                        uint64_t exe_bytes, uint64_t notes_bytes, struct gd_core_layout *ret, struct gd_error *err)
{
	struct plan p = { .map = map };
	int r = 0;
	for (size_t i = 0; r == 0 && i < map->n_areas; i++) {
		const struct gd_core_area *area = &map->areas[i];
		bool of_exe = exe != NULL && area->missing == GD_CORE_OF_FILE && !area->shared &&
		              area->deleted == exe_deleted && strcmp(area->path, exe) == 0;
		r = of_exe || area->missing == GD_CORE_ZERO ? plan_zero(&p, area, err)
		                                            : plan_runs(&p, area, err);
		if (r == 0 && of_exe) {
			struct gd_core_load *load = &p.layout.loads[p.layout.n - 1];
			load->of_exe = true;
			load->file_bytes = load->memory_bytes;
			p.layout.content_bytes +=
				load->memory_bytes < exe_bytes ? load->memory_bytes : exe_bytes;
		}
	}
	if (r == 0)
		r = place(&p.layout, notes_bytes, err);
	if (r < 0) {
		gd_core_layout_deinit(&p.layout);
		return r;
	}
	*ret = p.layout;
	return 0;
}

void gd_core_layout_deinit(struct gd_core_layout *layout)
{
	free(layout->loads);
	*layout = (struct gd_core_layout){ 0 };
}

void gd_core_layout_put(const struct gd_core_layout *l, struct gd_buf *out)
{
	size_t n = l->n + 1;
	bool many = n >= PN_XNUM; /* then section 0 has the number, as elf(5) says */
	Elf64_Ehdr head = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
		                         ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE },
		            .e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		            .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
		            .e_phentsize = sizeof(Elf64_Phdr),
		            .e_phnum = many ? PN_XNUM : (Elf64_Half)n,
		            .e_shoff = many ? sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr) : 0,
		            .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = many ? 1 : 0 };
	gd_buf_append(out, &head, sizeof(head));
	Elf64_Phdr notes = { .p_type = l->notes_bytes > 0 ? PT_NOTE : PT_NULL,
		             .p_offset = l->notes_at,
		             .p_filesz = l->notes_bytes, .p_align = 4 };
	gd_buf_append(out, &notes, sizeof(notes));
	for (size_t i = 0; i < l->n; i++) {
		const struct gd_core_load *load = &l->loads[i];
		const struct gd_core_area *area = load->area;
		Elf64_Phdr p = { .p_type = PT_LOAD, .p_offset = load->offset, .p_vaddr = load->addr,
			         .p_filesz = load->file_bytes, .p_memsz = load->memory_bytes,
			         .p_align = PAGE,
			         .p_flags = (area->read ? PF_R : 0u) | (area->write ? PF_W : 0u) |
			                    (area->exec ? PF_X : 0u) };
		gd_buf_append(out, &p, sizeof(p));
	}
	Elf64_Shdr section = { .sh_size = 1, .sh_info = (Elf64_Word)n };
	if (many)
		gd_buf_append(out, &section, sizeof(section));
}
