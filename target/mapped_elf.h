#pragma once
/*
 * A 64-bit ELF file (program, library, vdso) as it lies mapped in a process: where it begins, and what
 * its program headers say, read from memory.  Foreign bytes: nothing of them is trusted but that they
 * were read.
 */
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>

#include "target/maps.h"
#include "target/memory.h"

/* Where the file begins that `map` is a part of: the nearest below, for it may be mapped twice; 0: its
 * beginning is not mapped. */
uint64_t gd_mapped_elf_base(const struct gd_maps *maps, const struct gd_map *map);

struct gd_mapped_elf {
	uint64_t bias; /* address in memory less address in the file */
	Elf64_Phdr phdrs[64];
	unsigned n;
};

/* False: there is no ELF header at `base`, or one without a segment to load, or with too many. */
bool gd_mapped_elf_read(struct gd_memory *memory, uint64_t base, struct gd_mapped_elf *ret);

/* The first segment of that type (PT_DYNAMIC, PT_GNU_EH_FRAME), NULL: there is none. */
const Elf64_Phdr *gd_mapped_elf_segment(const struct gd_mapped_elf *elf, uint32_t type);

/* The bias of a file whose first segment to load is at `vaddr` and begins at `base` in memory. */
uint64_t gd_mapped_elf_bias(uint64_t base, uint64_t vaddr);
