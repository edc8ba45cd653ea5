#pragma once
/*
 * Go's program counter line table: function names, files, lines, stack depths and inlining for
 * every program counter, present in every Go binary, stripped or not.  This file decodes one
 * table whose bytes we hold; which table belongs to which code is symbols.h.
 *
 * The bytes are foreign: every offset is bounded, every count capped, nothing is trusted.
 * Formats of Go 1.18 to 1.27 (magics 0xfffffff0 and 0xfffffff1); source: runtime/symtab.go and
 * cmd/link/internal/ld/pcln.go of those releases.  Immutable after creation, so threads may share.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_PCLNTAB_MAGIC_118 UINT32_C(0xfffffff0) /* 1.18, 1.19 */
#define GD_PCLNTAB_MAGIC_120 UINT32_C(0xfffffff1) /* 1.20 to 1.27 at least */

struct gd_pclntab {
	const uint8_t *data; /* from pcHeader on; owned */
	size_t len;
	uint64_t text;    /* run-time address entry offsets are relative to (moduledata.text) */
	uint64_t etext;   /* exclusive */
	uint64_t nfunc;
	bool has_start_line; /* 44-byte _func of 1.20+, else 40 bytes */
	size_t funcname_off, cu_off, filetab_off, pctab_off, pcln_off;
};

/*
 * Takes over `data` (malloc) on success.  -EBADMSG says which count or offset is impossible;
 * -ENOTSUP: a table of Go before 1.18; -E2BIG: more functions than 8 Mi.
 */
int gd_pclntab_init(struct gd_pclntab *ret, uint8_t *data, size_t len, uint64_t text,
                    uint64_t etext, struct gd_error *err);
void gd_pclntab_deinit(struct gd_pclntab *tab);

enum { GD_FUNC_TOP_FRAME = 1, GD_FUNC_SP_WRITE = 2, GD_FUNC_ASM = 4 }; /* gd_func.flag */

struct gd_func {
	uint64_t entry; /* run-time address */
	uint64_t end;   /* entry of the next function; exclusive */
	size_t at;      /* offset of its _func in the table */
	int32_t name_off;
	int32_t args_bytes;
	int32_t start_line; /* 0 before 1.20 */
	uint32_t deferreturn;
	uint32_t pcsp, pcfile, pcln, npcdata, cu_offset;
	uint8_t func_id; /* numbering differs between releases: prefer names */
	uint8_t flag;
	uint8_t nfuncdata;
};

/* The function that holds pc; false when none does. */
bool gd_pclntab_func(const struct gd_pclntab *tab, uint64_t pc, struct gd_func *ret);

/* The i-th function in address order, i < nfunc. */
bool gd_pclntab_func_at(const struct gd_pclntab *tab, uint64_t i, struct gd_func *ret);

/*
 * Finds a function by its exact name, the real one where the compiler made a second entry under the
 * same name; false also when it was inlined everywhere.  A pass over the names and one over the
 * functions: below a millisecond for 50,000 of them.
 */
bool gd_pclntab_func_named(const struct gd_pclntab *tab, const char *name, struct gd_func *ret);

/* NUL-terminated and inside the table, or "?" when the offset is bad.  Lives as long as tab. */
const char *gd_pclntab_name(const struct gd_pclntab *tab, int32_t name_off);

/* Value of the pc-value table at offset `off` for pc; `missing` when there is none. */
int32_t gd_pclntab_value(const struct gd_pclntab *tab, const struct gd_func *func, uint32_t off,
                         uint64_t pc, int32_t missing);

/* Bytes between SP and the return address at pc, -1 when unknown or no multiple of 8. */
int32_t gd_pclntab_sp_delta(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc);

/*
 * File and line of the source at pc, which belongs to the innermost function inlined there; "?" and
 * 0 when absent.  Those of the callers it was inlined into are at their parentPc (inltree.h).
 */
const char *gd_pclntab_file(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc);
int32_t gd_pclntab_line(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc);

/* PCDATA table i at pc (-1 when absent): 0 unsafe point, 1 stack map, 2 inline tree, 3 arg live. */
int32_t gd_pclntab_pcdata(const struct gd_pclntab *tab, const struct gd_func *func, unsigned i,
                          uint64_t pc);

/* FUNCDATA i as an offset from moduledata.gofunc, UINT32_MAX when absent: 3 inline tree,
 * 5 argument info, 6 argument liveness. */
uint32_t gd_pclntab_funcdata(const struct gd_pclntab *tab, const struct gd_func *func, unsigned i);
