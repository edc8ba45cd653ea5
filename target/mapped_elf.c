#include "target/mapped_elf.h"

#include <string.h>

#define PAGE UINT64_C(4096)

uint64_t gd_mapped_elf_base(const struct gd_maps *maps, const struct gd_map *map)
{
	for (size_t i = (size_t)(map - maps->list) + 1; map->path[0] != '\0' && i-- > 0;)
		if (maps->list[i].offset == 0 && maps->list[i].inode == map->inode &&
		    strcmp(maps->list[i].path, map->path) == 0)
			return maps->list[i].start;
	return 0;
}

uint64_t gd_mapped_elf_bias(uint64_t base, uint64_t vaddr)
{
	return base - (vaddr & ~(PAGE - 1));
}

const Elf64_Phdr *gd_mapped_elf_segment(const struct gd_mapped_elf *elf, uint32_t type)
{
	for (unsigned i = 0; i < elf->n; i++)
		if (elf->phdrs[i].p_type == type)
			return &elf->phdrs[i];
	return NULL;
}

bool gd_mapped_elf_read(struct gd_memory *memory, uint64_t base, struct gd_mapped_elf *ret)
{
	Elf64_Ehdr head;
	ret->n = 0;
	if (gd_memory_read(memory, base, &head, sizeof(head), NULL) < 0 ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phentsize != sizeof(ret->phdrs[0]) ||
	    head.e_phnum > sizeof(ret->phdrs) / sizeof(ret->phdrs[0]) ||
	    gd_memory_read(memory, base + head.e_phoff, ret->phdrs,
	                   head.e_phnum * sizeof(ret->phdrs[0]), NULL) < 0)
		return false;
	ret->n = head.e_phnum;
	const Elf64_Phdr *load = gd_mapped_elf_segment(ret, PT_LOAD);
	if (load == NULL)
		return false;
	ret->bias = gd_mapped_elf_bias(base, load->p_vaddr);
	return true;
}
