#include "golang/reference.h"

#define CODE_BYTES_MAX 1024
#define OPERANDS_MAX 64

uint64_t gd_reference_find(const struct gd_go *go, const char *function, enum gd_operand_kind kind,
                           uint8_t width)
{
	const struct gd_module *module = &go->modules.list[0];
	uint8_t code[CODE_BYTES_MAX];
	struct gd_operand list[OPERANDS_MAX];
	struct gd_func func;

	if (go->modules.n == 0 || !gd_pclntab_func_named(&module->pclntab, function, &func) ||
	    func.end <= func.entry)
		return 0;
	size_t len = func.end - func.entry < sizeof(code) ? (size_t)(func.end - func.entry) :
	                                                    sizeof(code);
	if (gd_memory_read(go->memory, func.entry, code, len, NULL) < 0)
		return 0;
	size_t n = gd_operands_of(code, len, func.entry, list, OPERANDS_MAX);
	for (size_t i = 0; i < n; i++)
		if (list[i].kind == kind && list[i].width == width &&
		    list[i].addr >= module->noptrbss.start && list[i].addr < module->noptrbss.end)
			return list[i].addr;
	return 0;
}
