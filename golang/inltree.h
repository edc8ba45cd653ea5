#pragma once
/*
 * One record of a function's inline tree (FUNCDATA 3, runtime.inlinedCall): which function was
 * inlined, and where in the physical function the call stood.  Which record is in force at a
 * program counter says PCDATA 2 (gd_pclntab_pcdata).  Walking from an inlined function to the one
 * it was inlined into is symbols.h.
 *
 * The records lie at moduledata.gofunc + an offset, outside of the pclntab's own bytes, so they are
 * read from memory.  Foreign bytes: a record can say anything.
 * Source: runtime/symtabinl.go (1.21+) and runtime/symtab.go; 20 bytes in 1.18 and 1.19 (with the
 * parent's index, file and line, which the pc tables say as well), 16 from 1.20 on.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/pclntab.h"
#include "target/memory.h"

/* What the runtime can address (it uses *[1 << 20]inlinedCall). */
#define GD_INLTREE_MAX (1 << 20)

struct gd_inlined {
	int32_t name_off;
	int32_t parent_pc;  /* offset from the physical function's entry */
	int32_t start_line; /* 0 before 1.20 */
	uint8_t func_id;
};

/*
 * Record number `index` of func's tree.  -ENOENT: func has no tree, or gofunc is 0; -EBADMSG: the
 * index is out of range; -EFAULT: not readable.
 */
int gd_inltree_read(struct gd_memory *memory, uint64_t gofunc, const struct gd_pclntab *tab,
                    const struct gd_func *func, int32_t index, struct gd_inlined *ret,
                    struct gd_error *err);

/*
 * Whether gofunc can be the base of this table's funcdata: the first inline trees found must hold
 * only records that make sense, which random words practically never do.
 */
enum gd_inltree_proof { GD_INLTREE_WRONG, GD_INLTREE_TOO_FEW, GD_INLTREE_RIGHT };
enum gd_inltree_proof gd_inltree_prove(struct gd_memory *memory, uint64_t gofunc,
                                       const struct gd_pclntab *tab);
