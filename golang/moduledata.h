#pragma once
/*
 * The runtime.moduledata records of a target: where text, data, bss and the pclntab of each module
 * (the executable, plugins, a c-shared library) lie at run time.  Found by scanning process memory
 * for {address of a pcHeader, that + funcnameOffset}, so neither section headers nor symbols are
 * needed and PIE relocation is already applied.  reference/go-runtime-facts.md section 3.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/range.h"
#include "golang/pclntab.h"
#include "target/maps.h"
#include "target/memory.h"

#define GD_MODULES_MAX 32

struct gd_module {
	uint64_t addr;      /* of the moduledata record */
	uint64_t pc_header; /* address of the pclntab */
	uint64_t gofunc;    /* base of funcdata offsets; 0 when the release's place is unknown */
	uint64_t rodata, types, etypes;
	struct gd_range text, noptrdata, data, bss, noptrbss;
	struct gd_pclntab pclntab;
};

struct gd_modules {
	struct gd_module list[GD_MODULES_MAX];
	size_t n; /* list[0] is the one that holds runtime.schedinit */
};

/* -ENOENT when there is no Go in this process; -EBADMSG/-E2BIG name what is hostile about it. */
int gd_modules_find(struct gd_memory *memory, const struct gd_maps *maps, struct gd_modules *ret,
                    struct gd_error *err);

/*
 * Second step, once the version is known (minor < 0: unknown, then found structurally): fills
 * gofunc, rodata, types, etypes, whose places differ between releases.
 */
int gd_modules_complete(struct gd_modules *modules, struct gd_memory *memory, int minor, int patch,
                        struct gd_error *err);
void gd_modules_deinit(struct gd_modules *modules);

/* The module whose text holds pc, or NULL. */
const struct gd_module *gd_modules_of(const struct gd_modules *modules, uint64_t pc);
