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
	void *user; /* what gd_symbols_keep stored, or NULL */
};

struct gd_symbols;

/*
 * memory and modules are borrowed; the modules must be complete (gd_modules_complete).  minor is
 * that of the Go release, < 0 when unknown: it only matters where the target's own tables do not
 * tell which functions are wrappers.
 */
int gd_symbols_create(struct gd_memory *memory, const struct gd_modules *modules, int minor,
                      struct gd_symbols **ret, struct gd_error *err);
void gd_symbols_destroy(struct gd_symbols *symbols); /* NULL allowed */
static inline void gd_cleanup_symbols(struct gd_symbols **symbols)
{
	gd_symbols_destroy(*symbols);
}
#define GD_SYMBOLS __attribute__((cleanup(gd_cleanup_symbols)))

/*
 * The site of pc.  `exact`: pc is where execution is (a sampled or interrupted pc, the frame after
 * runtime.sigpanic or asyncPreempt); otherwise it is a return address and file, line and inlining
 * are those of pc - 1.  NULL when no Go function holds pc.  Valid until the next call that misses
 * the cache at its ceiling: use it, do not store it (gd_symbols_generation tells).
 */
const struct gd_site *gd_symbols_site(struct gd_symbols *symbols, uint64_t pc, bool exact);

/*
 * Hangs something of the caller's own (formatted text) on a site: site->user from now on, `bytes`
 * of the cache's ceiling.  Freed with free() when the cache is emptied, or by the next keep.
 */
void gd_symbols_keep(struct gd_symbols *symbols, const struct gd_site *site, void *user,
                     size_t bytes);

/*
 * Bytes of FUNCDATA i of the site's physical function (5 argument info, 6 argument liveness): at
 * most max of them, fewer at the end of readable memory.  Their length is in their own encoding, so
 * what follows the data may be read too.  -ENOENT: the function has none.
 */
int gd_symbols_funcdata(struct gd_symbols *symbols, const struct gd_site *site, unsigned i,
                        void *to, size_t max, struct gd_error *err);

/* Counts how often the cache was emptied; pointers of an earlier generation are dead. */
uint64_t gd_symbols_generation(const struct gd_symbols *symbols);
