#pragma once
/*
 * Which parts of the address space an ELF core shows, and where in the file they lie.  Pure: a core
 * map goes in, segments come out.
 */
#include <elf.h>

#include "archive/core_map.h"

#define GD_CORE_ELF_PAGE UINT64_C(4096)

struct gd_core_load {
	uint64_t addr, memory_bytes, file_bytes;
	uint64_t offset; /* in the file; set by place */
	const struct gd_core_area *area;
	bool of_exe;     /* pages that are missing are filled from the executable */
};

struct gd_core_layout {
	struct gd_core_load *loads; /* ascending */
	size_t n;
	uint64_t notes_at, notes_bytes, file_bytes;
	uint64_t content_bytes; /* at most so many of them are no hole */
};

/*
 * `exe`: the path whose private mappings are filled from the executable in the archive, which has
 * `exe_bytes`; NULL: none.
 * -E2BIG: no file can be that large.
 */
int gd_core_layout_plan(const struct gd_core_map *map, const char *exe, bool exe_deleted,
                        uint64_t exe_bytes, uint64_t notes_bytes, struct gd_core_layout *ret, struct gd_error *err);
void gd_core_layout_deinit(struct gd_core_layout *layout);

/* The headers, from offset 0 up to no further than notes_at. */
void gd_core_layout_put(const struct gd_core_layout *layout, struct gd_buf *out);

/* Is the page at addr, which the chunk covers, kept? */
static inline bool gd_core_layout_kept(const struct gd_core_chunk *chunk, uint64_t addr)
{
	uint64_t page = (addr - chunk->addr) / GD_CORE_ELF_PAGE;
	return (chunk->pages[page / 64] >> (page % 64) & 1) != 0;
}
