#include "tests/go_target.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

void go_target_fail(const struct go_target *go, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail_msg("go%s %s: %s", go->release, go->variant, text);
}

void go_target_ok(const struct go_target *go, long r, const struct gd_error *err, const char *file,
                  int line)
{
	if (r >= 0)
		return;
	go_target_fail(go, "%s:%d: %ld (%s)", file, line, r, err->msg);
}

/* Where the file's addresses were loaded: the first mapping of a PIE stands for address 0. */
static uint64_t load_bias(const struct go_target *go, Elf *elf)
{
	GElf_Ehdr header;
	GElf_Phdr first = { 0 };
	struct gd_target *target = go->target;
	assert_non_null(gelf_getehdr(elf, &header));
	for (int i = 0; i < header.e_phnum && first.p_type != PT_LOAD; i++)
		assert_non_null(gelf_getphdr(elf, i, &first));
	for (size_t i = 0; i < target->maps.n; i++)
		if (strstr(target->maps.list[i].path, target->comm) != NULL)
			return target->maps.list[i].start - (first.p_vaddr & ~UINT64_C(4095));
	return 0;
}

size_t go_target_symbols(const struct go_target *go, go_target_symbol_fn *each, void *arg)
{
	size_t n = 0;
	(void)elf_version(EV_CURRENT);
	Elf *elf = elf_begin(go->target->fds.exe_fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	uint64_t bias = load_bias(go, elf);
	for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;) {
		GElf_Shdr header;
		GElf_Sym symbol;
		assert_non_null(gelf_getshdr(section, &header));
		if (header.sh_type != SHT_SYMTAB)
			continue;
		Elf_Data *data = elf_getdata(section, NULL);
		for (int i = 0; gelf_getsym(data, i, &symbol) != NULL; i++) {
			const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
			if (symbol.st_value == 0 || name == NULL)
				continue;
			each(name, symbol.st_value + bias, GELF_ST_TYPE(symbol.st_info) == STT_FUNC,
			     arg);
			n++;
		}
	}
	(void)elf_end(elf);
	return n;
}

struct wanted {
	const char *name;
	uint64_t addr;
};

static void take_wanted(const char *name, uint64_t addr, bool function, void *arg)
{
	struct wanted *wanted = arg;
	(void)function;
	if (strcmp(name, wanted->name) == 0)
		wanted->addr = addr;
}

uint64_t go_target_symbol(const struct go_target *go, const char *name)
{
	struct wanted wanted = { .name = name };
	(void)go_target_symbols(go, take_wanted, &wanted);
	return wanted.addr;
}

static void run(struct go_target *go, const char *path, void (*check)(struct go_target *go))
{
	struct gd_error err = { 0 };
	char text[48];
	(void)snprintf(text, sizeof(text), "go%s", go->release);
	go_assert_ok(go, gd_go_version_parse(text, &go->version, &err), &err);
	go->victim = victim_start(path, NULL);
	go_assert_ok(go, gd_target_open(go->victim->pid, &go->target, &err), &err);
	go_assert_ok(go, gd_modules_find(go->target->memory, &go->target->maps, &go->modules, &err),
	             &err);
	go_assert_ok(go, gd_modules_complete(&go->modules, go->target->memory, go->version.minor,
	                                     go->version.patch, &err), &err);
	check(go);
	gd_modules_deinit(&go->modules);
	gd_target_close(go->target);
	victim_stop(go->victim);
}

void go_target_each(const char *name, void (*check)(struct go_target *go))
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf index = GD_BUF_INIT(1 << 20);
	char file[128];
	unsigned built = 0;
	(void)snprintf(file, sizeof(file), "%s.index", name);
	if (gd_io_read_file_at(AT_FDCWD, victim_path(file), &index, &err) < 0)
		test_skip("no Go victims: %s", err.msg);
	(void)gd_buf_str(&index);
	char *rest = index.data;
	for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
		struct go_target go = { 0 };
		char path[4096];
		if (sscanf(line, "built %31s %15s %4095s", go.release, go.variant, path) == 3) {
			built++;
			print_message("# go%s %s\n", go.release, go.variant);
			run(&go, path, check);
		} else {
			print_message("# not covered: %s\n", line);
		}
	}
	if (built == 0)
		test_skip("no Go victim was built: %.200s", index.len > 0 ? index.data : "");
}
