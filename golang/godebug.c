#include "golang/godebug.h"

#include <string.h>

#include "base/bytes.h"

enum { HEADER_FUNCTION_MAX = 16 << 10 };

static bool within(const struct gd_range *range, uint64_t addr)
{
	return addr >= range->start && addr < range->end && range->end - addr >= 4;
}

static bool is_variable(const struct gd_module *module, uint64_t addr)
{
	return within(&module->noptrdata, addr) || within(&module->data, addr) ||
	       within(&module->bss, addr) || within(&module->noptrbss, addr);
}

/*
 * Address of the only int32 which the code loads and compares with 1, 0 when there is none or more
 * than one: MOVL x(RIP), reg; CMPL reg, $1.  x86-64.
 */
static uint64_t compared_with_one(const struct gd_module *module, const uint8_t *code, size_t len,
                                  uint64_t addr)
{
	uint64_t found = 0;
	for (size_t i = 0; i + 9 <= len; i++) {
		unsigned reg = code[i + 1] >> 3 & 7;
		if (code[i] != 0x8b || (code[i + 1] & 0xc7) != 0x05 || code[i + 6] != 0x83 ||
		    code[i + 7] != (0xf8 | reg) || code[i + 8] != 1)
			continue;
		uint64_t at = addr + i + 6 + (uint64_t)(int64_t)(int32_t)gd_load_u32(code + i + 2);
		if (!is_variable(module, at))
			continue;
		if (found != 0 && found != at)
			return 0;
		found = at;
	}
	return found;
}

/* 1 on, 0 off, -1 not found */
static int in_force(struct gd_go *go)
{
	const struct gd_module *module = &go->modules.list[0];
	struct gd_func func;
	if (go->modules.n == 0 ||
	    !gd_pclntab_func_named(&module->pclntab, "runtime.goroutineheader", &func))
		return -1;
	uint8_t code[HEADER_FUNCTION_MAX];
	uint64_t len = func.end - func.entry;
	if (len > sizeof(code))
		return -1;
	ssize_t n = gd_memory_read_some(go->memory, func.entry, code, (size_t)len);
	if (n <= 0)
		return -1;
	uint64_t at = compared_with_one(module, code, (size_t)n, func.entry);
	uint32_t value;
	if (at == 0 || gd_memory_read_u32(go->memory, at, &value, NULL) < 0)
		return -1;
	return value == 1;
}

/* The line "build\tDefaultGODEBUG=a=1,b=0,..." of the build info. */
static int linked_default(const struct gd_go *go, const char *setting)
{
	const char *line = go->build.modinfo == NULL ? NULL :
	                   strstr(go->build.modinfo, "build\tDefaultGODEBUG=");
	if (line == NULL)
		return -1;
	line = strchr(line, '=');
	size_t n = strlen(setting);
	while (line != NULL && *line != '\0' && *line != '\n') {
		line++;
		if (strncmp(line, setting, n) == 0 && line[n] == '=')
			return line[n + 1] == '1';
		line = strpbrk(line, ",\n");
	}
	return -1;
}

bool gd_godebug_traceback_labels(struct gd_go *go)
{
	if (go->version.minor < 26)
		return false;
	int on = in_force(go);
	if (on < 0)
		on = linked_default(go, "tracebacklabels");
	if (on < 0)
		on = go->version.minor >= 27;
	return on != 0;
}
