#pragma once
/*
 * What a program counter means, over all modules of a target: function, file:line, inlined callers,
 * and how to step to the caller.  Answers are cached (a dump of 100,000 goroutines asks for a few
 * hundred different program counters millions of times) with a ceiling, after which the cache is
 * emptied.  Used by one thread at a time.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/moduledata.h"
#include "target/memory.h"

/* Inlining is at most a few deep; the compiler's budget keeps it far below this. */
#define GD_SITE_LINES_MAX 64

/* One logical frame.  The physical one is lines[n_lines - 1]; the others were inlined into it. */
struct gd_line {
	const char *function; /* as in the table: "main.(*T).run", "main.f[go.shape.int]" */
	const char *file;     /* "?" when unknown */
	int32_t line;
	int32_t start_line;   /* of the function, 0 before Go 1.20 */
	uint8_t func_id;
	bool wrapper;         /* compiler-made method wrapper: hidden in tracebacks */
};

struct gd_site {
	uint64_t pc;
	uint64_t entry;     /* of the physical function */
	int32_t sp_delta;   /* bytes from SP to the return address, -1 unknown */
	uint8_t flag;       /* GD_FUNC_* */
	const struct gd_module *module;
	struct gd_func func;
	unsigned n_lines;   /* >= 1 */
	const struct gd_line *lines;
	void *user; /* for the caller's own per-site cache (formatted text); freed with free() */
};

struct gd_symbols;

int gd_symbols_create(struct gd_memory *memory, const struct gd_modules *modules, int minor,
                      struct gd_symbols **ret, struct gd_error *err);
void gd_symbols_destroy(struct gd_symbols *symbols);

/*
 * The site of pc.  `exact`: pc is where execution is (a sampled or interrupted pc, the frame after
 * runtime.sigpanic or asyncPreempt); otherwise it is a return address and file, line and inlining
 * are those of pc - 1.  NULL when no Go function holds pc.  Valid until the next call that misses
 * the cache at its ceiling: use it, do not store it (gd_symbols_generation tells).
 */
const struct gd_site *gd_symbols_site(struct gd_symbols *symbols, uint64_t pc, bool exact);

/* Counts how often the cache was emptied; pointers of an earlier generation are dead. */
uint64_t gd_symbols_generation(const struct gd_symbols *symbols);
