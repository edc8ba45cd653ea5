#include "golang/inltree.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"

enum { FUNCDATA_INLTREE = 3, PCDATA_INLTREE_INDEX = 2 };

int gd_inltree_read(struct gd_memory *memory, uint64_t gofunc, const struct gd_pclntab *tab,
                    const struct gd_func *func, int32_t index, struct gd_inlined *ret,
                    struct gd_error *err)
{
	uint32_t off = gd_pclntab_funcdata(tab, func, FUNCDATA_INLTREE);
	if (off == UINT32_MAX || gofunc == 0)
		return gd_fail(err, -ENOENT, "function at %#" PRIx64 " has no inline tree",
		               func->entry);
	if (index < 0 || index >= GD_INLTREE_MAX)
		return gd_fail(err, -EBADMSG, "inlined call %" PRIi32 " is out of range", index);
	uint8_t record[20] = { 0 };
	size_t size = tab->has_start_line ? 16 : 20;
	int r = gd_memory_read(memory, gofunc + off + (uint64_t)index * size, record, size, err);
	if (r < 0)
		return gd_error_wrap(err, r, "inlined call %" PRIi32, index);
	struct gd_inlined inlined;
	if (tab->has_start_line)
		inlined = (struct gd_inlined){
			.func_id = record[0],
			.name_off = (int32_t)gd_load_u32(record + 4),
			.parent_pc = (int32_t)gd_load_u32(record + 8),
			.start_line = (int32_t)gd_load_u32(record + 12),
		};
	else
		inlined = (struct gd_inlined){
			.func_id = record[2],
			.name_off = (int32_t)gd_load_u32(record + 12),
			.parent_pc = (int32_t)gd_load_u32(record + 16),
		};
	*ret = inlined;
	return 0;
}

/* A name begins right behind the NUL of the one before it, and nothing has a hundred kinds of
 * special functions. */
static bool plausible(const struct gd_pclntab *tab, const struct gd_func *func,
                      const struct gd_inlined *call)
{
	if (call->func_id > 100 || call->name_off < 0 || call->start_line < 0 ||
	    call->parent_pc < 0 || (uint64_t)call->parent_pc >= func->end - func->entry)
		return false;
	size_t at = tab->funcname_off + (size_t)call->name_off;
	if (at >= tab->len || (call->name_off > 0 && tab->data[at - 1] != '\0'))
		return false;
	const char *name = gd_pclntab_name(tab, call->name_off);
	return name[0] != '\0' && name[0] != '?';
}

/*
 * Every tree has a record 0, and a call comes after the one it was inlined into: so record 0 was
 * called by the physical function itself, where no record is in force.  That also tells the right
 * base from one that is off by a record.
 */
enum gd_inltree_proof gd_inltree_prove(struct gd_memory *memory, uint64_t gofunc,
                                       const struct gd_pclntab *tab)
{
	enum { TREES_ENOUGH = 128, TREES_FEW = 4, FUNCS_MAX = 20000 };
	unsigned good = 0;
	if (gofunc == 0)
		return GD_INLTREE_WRONG;
	for (uint64_t i = 0; i < tab->nfunc && i < FUNCS_MAX && good < TREES_ENOUGH; i++) {
		struct gd_func func;
		struct gd_inlined call;
		if (!gd_pclntab_func_at(tab, i, &func) || func.entry >= func.end ||
		    gd_pclntab_funcdata(tab, &func, FUNCDATA_INLTREE) == UINT32_MAX)
			continue;
		if (gd_inltree_read(memory, gofunc, tab, &func, 0, &call, NULL) < 0 ||
		    !plausible(tab, &func, &call) ||
		    gd_pclntab_pcdata(tab, &func, PCDATA_INLTREE_INDEX,
		                      func.entry + (uint64_t)call.parent_pc) >= 0)
			return GD_INLTREE_WRONG;
		good++;
	}
	return good < TREES_FEW ? GD_INLTREE_TOO_FEW : GD_INLTREE_RIGHT;
}
