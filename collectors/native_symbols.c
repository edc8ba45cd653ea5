#include "collectors/native_symbols.h"

#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collectors/known.h"
#include "target/mapped_elf.h"

enum {
	NAMES_MAX = 1 << 14,
	MODULES_MAX = 256,
	PHDRS_MAX = 64,
	DYNAMIC_MAX = 512,
	SYMBOLS_MAX = 1 << 18,
	PIECE = 512, /* symbols read at once */
};

struct name {
	uint64_t pc;
	char text[96]; /* "" not known */
};

struct gd_native_names {
	struct gd_known *wanted;
	struct name *list; /* by pc */
	size_t n;
};

int gd_native_names_create(struct gd_native_names **ret, struct gd_error *err)
{
	struct gd_native_names *names = calloc(1, sizeof(*names));
	if (names == NULL)
		return gd_fail_errno(err, -ENOMEM, "native symbols");
	int r = gd_known_create(NAMES_MAX, NAMES_MAX * sizeof(uint64_t), &names->wanted, err);
	if (r < 0) {
		free(names);
		return r;
	}
	*ret = names;
	return 0;
}

void gd_native_names_destroy(struct gd_native_names *names)
{
	if (names == NULL)
		return;
	gd_known_destroy(names->wanted);
	free(names->list);
	free(names);
}

bool gd_native_names_want(struct gd_native_names *names, uint64_t pc)
{
	if (gd_known_find(names->wanted, &pc, sizeof(pc)) != NULL)
		return true;
	return !gd_known_full(names->wanted, sizeof(pc)) &&
	       gd_known_slot(names->wanted, &pc, sizeof(pc)) != NULL;
}

static int by_pc(const void *a, const void *b)
{
	const struct name *x = a;
	const struct name *y = b;
	return x->pc < y->pc ? -1 : x->pc > y->pc;
}

const char *gd_native_names_find(const struct gd_native_names *names, uint64_t pc)
{
	const struct name wanted = { .pc = pc };
	const struct name *found =
		names->n > 0 ? bsearch(&wanted, names->list, names->n, sizeof(wanted), by_pc) : NULL;
	return found != NULL && found->text[0] != '\0' ? found->text : NULL;
}

/* ---- symbols --------------------------------------------------------------------------------- */

/* The first at or above `addr`. */
static size_t lower_bound(const struct gd_native_names *names, uint64_t addr)
{
	size_t low = 0;
	size_t high = names->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (names->list[middle].pc < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Is any of the wanted ones within? */
static bool holds_wanted(const struct gd_native_names *names, uint64_t start, uint64_t size)
{
	size_t i = lower_bound(names, start);
	return i < names->n && names->list[i].pc - start < size;
}

static void take(struct gd_native_names *names, uint64_t start, uint64_t size, const char *text)
{
	for (size_t i = lower_bound(names, start);
	     i < names->n && names->list[i].pc - start < size; i++)
		if (names->list[i].text[0] == '\0')
			(void)strncat(names->list[i].text, text, sizeof(names->list[i].text) - 1);
}

static bool is_function(uint8_t info, uint16_t section, uint64_t size)
{
	uint8_t type = ELF64_ST_TYPE(info);
	return (type == STT_FUNC || type == STT_GNU_IFUNC) && section != SHN_UNDEF && size > 0;
}

/* ---- the main program's file ------------------------------------------------------------------- */

static void read_section(struct gd_native_names *names, Elf *elf, Elf_Scn *section,
                         const GElf_Shdr *header, uint64_t bias)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym symbol;
	for (int i = 0; data != NULL && i < SYMBOLS_MAX && gelf_getsym(data, i, &symbol) != NULL; i++) {
		if (!is_function(symbol.st_info, symbol.st_shndx, symbol.st_size) ||
		    !holds_wanted(names, symbol.st_value + bias, symbol.st_size))
			continue;
		const char *text = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (text != NULL)
			take(names, symbol.st_value + bias, symbol.st_size, text);
	}
}

static void read_file(struct gd_native_names *names, int fd, uint64_t base)
{
	GElf_Phdr first = { 0 };
	size_t n = 0;
	(void)elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf == NULL)
		return;
	if (elf_getphdrnum(elf, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n && i < PHDRS_MAX && first.p_type != PT_LOAD; i++)
		if (gelf_getphdr(elf, (int)i, &first) == NULL)
			break;
	uint64_t bias = gd_mapped_elf_bias(base, first.p_vaddr);
	for (Elf_Scn *section = NULL;
	     first.p_type == PT_LOAD && (section = elf_nextscn(elf, section)) != NULL;) {
		GElf_Shdr header;
		if (gelf_getshdr(section, &header) != NULL && header.sh_type == SHT_SYMTAB)
			read_section(names, elf, section, &header, bias);
	}
	(void)elf_end(elf);
}

/* ---- what a module exports, in memory ----------------------------------------------------------- */

struct exported {
	uint64_t symbols, strings, strings_bytes, bias;
};

/* glibc has added the module's address to what it points to, musl and the vdso have not. */
static uint64_t absolute(uint64_t value, uint64_t bias)
{
	return value < bias ? value + bias : value;
}

static bool find_exported(struct gd_memory *memory, uint64_t base, struct exported *ret)
{
	struct gd_mapped_elf elf;
	Elf64_Dyn dynamic[DYNAMIC_MAX];
	if (!gd_mapped_elf_read(memory, base, &elf))
		return false;
	const Elf64_Phdr *where = gd_mapped_elf_segment(&elf, PT_DYNAMIC);
	if (where == NULL)
		return false;
	*ret = (struct exported){ .bias = elf.bias };
	size_t bytes = where->p_memsz < sizeof(dynamic) ? where->p_memsz : sizeof(dynamic);
	ssize_t got = gd_memory_read_some(memory, where->p_vaddr + ret->bias, dynamic, bytes);
	for (size_t i = 0; got > 0 && i < (size_t)got / sizeof(dynamic[0]); i++) {
		uint64_t value = dynamic[i].d_un.d_val;
		if (dynamic[i].d_tag == DT_NULL)
			break;
		if (dynamic[i].d_tag == DT_SYMTAB)
			ret->symbols = absolute(value, ret->bias);
		else if (dynamic[i].d_tag == DT_STRTAB)
			ret->strings = absolute(value, ret->bias);
		else if (dynamic[i].d_tag == DT_STRSZ)
			ret->strings_bytes = value;
	}
	/* Linkers put the strings right behind the symbols: there is no other count of them. */
	return ret->symbols != 0 && ret->strings > ret->symbols && ret->strings_bytes != 0;
}

static void read_exported(struct gd_native_names *names, struct gd_memory *memory, uint64_t base)
{
	static Elf64_Sym symbols[PIECE];
	struct exported e;
	if (!find_exported(memory, base, &e))
		return;
	uint64_t n = (e.strings - e.symbols) / sizeof(symbols[0]);
	for (uint64_t i = 0; i < n && i < SYMBOLS_MAX; i += PIECE) {
		size_t piece = n - i < PIECE ? (size_t)(n - i) : PIECE;
		if (gd_memory_read(memory, e.symbols + i * sizeof(symbols[0]), symbols,
		                   piece * sizeof(symbols[0]), NULL) < 0)
			return;
		for (size_t k = 0; k < piece; k++) {
			const Elf64_Sym *s = &symbols[k];
			char text[96] = "";
			if (!is_function(s->st_info, s->st_shndx, s->st_size) ||
			    s->st_name >= e.strings_bytes ||
			    !holds_wanted(names, s->st_value + e.bias, s->st_size))
				continue;
			(void)gd_memory_read_some(memory, e.strings + s->st_name, text, sizeof(text) - 1);
			take(names, s->st_value + e.bias, s->st_size, text);
		}
	}
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The main program is what the kernel calls so: its path is that of `exe`. */
static bool is_program(struct gd_target *target, const struct gd_map *map)
{
	char exe[4096];
	ssize_t n = gd_target_read_link(target, "exe", exe, sizeof(exe), NULL);
	return n > 0 && strcmp(exe, map->path) == 0;
}

static bool list_wanted(struct gd_native_names *names)
{
	const void *key;
	size_t cursor = 0, len, n = 0;
	uint64_t value;
	while (gd_known_next(names->wanted, &cursor, &key, &len, &value))
		n++;
	struct name *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return false;
	cursor = 0;
	for (size_t i = 0; gd_known_next(names->wanted, &cursor, &key, &len, &value); i++)
		memcpy(&list[i].pc, key, sizeof(list[i].pc));
	qsort(list, n, sizeof(*list), by_pc);
	free(names->list);
	names->list = list;
	names->n = n;
	return n > 0;
}

void gd_native_names_read(struct gd_native_names *names, struct gd_target *target)
{
	uint64_t done[MODULES_MAX];
	size_t n_done = 0;
	if (!list_wanted(names))
		return;
	for (size_t i = 0; i < names->n && n_done < MODULES_MAX; i++) {
		const struct gd_map *map = gd_maps_find(&target->maps, names->list[i].pc);
		uint64_t base = map != NULL && map->path[0] != '\0' ? gd_mapped_elf_base(&target->maps, map) : 0;
		bool again = base == 0;
		for (size_t k = 0; k < n_done && !again; k++)
			again = done[k] == base;
		if (again)
			continue;
		done[n_done++] = base;
		if (target->fds.exe_fd >= 0 && is_program(target, map))
			read_file(names, target->fds.exe_fd, base);
		if (target->memory != NULL)
			read_exported(names, target->memory, base);
	}
}
