#pragma once
/*
 * Archives with a core, made by the real writers from memory that a test describes.
 */
#include "tests/archives.h"

#include "archive/core_base.h"
#include "archive/core_elf.h"

struct core_chunk {
	uint64_t addr;
	uint64_t pages[4];
	uint8_t *bytes; /* GD_PACK_CHUNK of them */
};

struct core_made {
	const char *scope;
	const struct gd_core_area *areas;
	size_t n_areas;
	const struct core_chunk *chunks;
	size_t n_chunks;
	size_t per_pack;         /* chunks in a pack at most; 0: what fits */
	const void *notes;       /* NULL: a thread made up */
	size_t n_notes;
	const char *exe_path;    /* NULL: none */
	const void *exe;         /* NULL: not in the archive */
	size_t n_exe;
	const struct gd_core_base *base; /* NULL: a full capture */
};

struct gd_sealed core_make(const char *file, const struct core_made *made);

/* A chunk of its own content without any page kept yet; freed by the test with core_free. */
struct core_chunk core_chunk(uint64_t addr, unsigned seed);
void core_keep(struct core_chunk *chunk, unsigned first_page, unsigned n);
void core_free(struct core_chunk *chunks, size_t n);

/*
 * The archive's core as an ELF file at test_path(to); sentences of problems are appended to `said`.
 */
int core_extract(const char *archive, const struct gd_core_base *base, const char *to,
                 struct gd_core_elf_result *result, struct gd_buf *said, struct gd_error *err);

/* One page of an ELF core as its program headers say; false: it has no bytes for that address. */
bool core_peek(const char *elf, uint64_t addr, uint8_t page[4096]);

/* Prints what gdb says to that command; skips the test without gdb. */
char *core_gdb(const char *exe, const char *core, const char *command);

struct gd_core_base *core_base(const char *archive);
