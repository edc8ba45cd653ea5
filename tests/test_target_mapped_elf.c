#include "target/mapped_elf.h"

#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "target/target.h"
#include "tests/test.h"

/* What the loader says of a file and we find of it must be the same. */
struct compared {
	struct gd_target *target;
	unsigned n;
};

static int compare(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	struct compared *c = arg;
	struct gd_mapped_elf elf;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0)
			continue;
		const struct gd_map *map = gd_maps_find(&c->target->maps, info->dlpi_addr + p->p_vaddr);
		assert_non_null(map);
		if (map->path[0] != '/')
			return 0; /* the vdso: its beginning is given */
		uint64_t base = gd_mapped_elf_base(&c->target->maps, map);
		assert_true(gd_mapped_elf_read(c->target->memory, base, &elf));
		assert_int_equal(elf.bias, info->dlpi_addr);
		assert_int_equal(elf.n, info->dlpi_phnum);
		const Elf64_Phdr *dynamic = gd_mapped_elf_segment(&elf, PT_DYNAMIC);
		assert_non_null(dynamic);
		assert_true(dynamic->p_memsz > 0);
		c->n++;
		return 0;
	}
	return 0;
}

static void it_is_what_the_loader_says(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	struct compared c = { .target = target };
	(void)dl_iterate_phdr(compare, &c);
	assert_true(c.n >= 3); /* this program, libc, libcmocka at least */
}

static void the_vdso_has_a_dynamic_segment(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_mapped_elf elf;
	GD_TARGET struct gd_target *target = NULL;
	uint64_t at = getauxval(AT_SYSINFO_EHDR);
	if (at == 0)
		test_skip("this kernel maps no vdso");
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_true(gd_mapped_elf_read(target->memory, at, &elf));
	assert_non_null(gd_mapped_elf_segment(&elf, PT_DYNAMIC));
	assert_null(gd_mapped_elf_segment(&elf, PT_INTERP));
}

static void what_is_no_elf_file_is_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_mapped_elf elf;
	static Elf64_Ehdr head;
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_false(gd_mapped_elf_read(target->memory, 16, &elf));
	assert_false(gd_mapped_elf_read(target->memory, (uint64_t)(uintptr_t)&head, &elf));
	memcpy(head.e_ident, ELFMAG, SELFMAG);
	head.e_ident[EI_CLASS] = ELFCLASS64;
	head.e_phentsize = sizeof(Elf64_Phdr);
	head.e_phoff = 0;
	head.e_phnum = 65; /* more than are taken */
	assert_false(gd_mapped_elf_read(target->memory, (uint64_t)(uintptr_t)&head, &elf));
	head.e_phnum = 0; /* nothing to load */
	assert_false(gd_mapped_elf_read(target->memory, (uint64_t)(uintptr_t)&head, &elf));
	head.e_phnum = 1;
	head.e_phoff = UINT64_MAX / 2; /* not there */
	assert_false(gd_mapped_elf_read(target->memory, (uint64_t)(uintptr_t)&head, &elf));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(it_is_what_the_loader_says),
		test_case(the_vdso_has_a_dynamic_segment),
		test_case(what_is_no_elf_file_is_refused),
	};
	return test_run(tests);
}
