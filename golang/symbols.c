#include "golang/symbols.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "golang/inltree.h"

/* All sites, their users' data and the hash table together. */
enum { CACHE_BYTES_MAX = 16 << 20 };

enum { SLOTS_FIRST = 1024, CHUNK_BYTES = 64 << 10 };

enum { PCDATA_INLTREE_INDEX = 2 };

struct slot {
	uint64_t key; /* pc << 1 | exact; 0 is free */
	struct gd_site *site; /* NULL: no Go function holds that pc */
};

struct chunk {
	struct chunk *next;
	size_t used;
	char bytes[];
};

struct gd_symbols {
	struct gd_memory *memory;         /* borrowed */
	const struct gd_modules *modules; /* borrowed */
	uint8_t wrapper_id;
	struct slot *slots;
	size_t n_slots; /* a power of two */
	size_t n_used;
	unsigned shift; /* 64 - log2(n_slots) */
	struct chunk *chunks; /* sites and their lines; the newest first */
	size_t bytes;         /* of slots, chunks and users' data */
	uint64_t generation;
};

/* ---- which functions are wrappers ----------------------------------------------------------- */

/*
 * Their id moved with the releases, but has always been the last one, right behind that of
 * runtime.systemstack_switch; so the target tells it itself.  The rows are for a target whose names
 * were garbled.  Source: internal/abi/symtab.go, runtime/symtab.go.
 */
static uint8_t wrapper_id_of(const struct gd_modules *modules, int minor)
{
	struct gd_func func;
	for (size_t i = 0; i < modules->n; i++)
		if (gd_pclntab_func_named(&modules->list[i].pclntab, "runtime.systemstack_switch",
		                          &func) &&
		    func.func_id >= 16 && func.func_id < 64)
			return (uint8_t)(func.func_id + 1);
	if (minor >= 0 && minor < 22)
		return 21;
	return minor >= 0 && minor < 25 ? 22 : 23;
}

/* ---- memory --------------------------------------------------------------------------------- */

static void *take(struct gd_symbols *symbols, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	struct chunk *chunk = symbols->chunks;
	if (chunk == NULL || CHUNK_BYTES - chunk->used < n) {
		chunk = malloc(sizeof(*chunk) + CHUNK_BYTES);
		if (chunk == NULL)
			return NULL;
		chunk->next = symbols->chunks;
		chunk->used = 0;
		symbols->chunks = chunk;
		symbols->bytes += sizeof(*chunk) + CHUNK_BYTES;
	}
	void *p = chunk->bytes + chunk->used;
	chunk->used += n;
	return p;
}

static bool set_slots(struct gd_symbols *symbols, size_t n)
{
	struct slot *slots = calloc(n, sizeof(*slots));
	if (slots == NULL)
		return false;
	symbols->bytes += n * sizeof(*slots) - symbols->n_slots * sizeof(*slots);
	symbols->slots = slots;
	symbols->n_slots = n;
	symbols->shift = 64 - (unsigned)__builtin_ctzll(n);
	return true;
}

static void free_all(struct gd_symbols *symbols)
{
	for (size_t i = 0; i < symbols->n_slots; i++)
		if (symbols->slots[i].site != NULL)
			free(symbols->slots[i].site->user);
	while (symbols->chunks != NULL) {
		struct chunk *next = symbols->chunks->next;
		free(symbols->chunks);
		symbols->chunks = next;
	}
	free(symbols->slots);
	symbols->slots = NULL;
	symbols->n_slots = symbols->n_used = symbols->bytes = 0;
}

static bool empty(struct gd_symbols *symbols)
{
	free_all(symbols);
	symbols->generation++;
	return set_slots(symbols, SLOTS_FIRST);
}

int gd_symbols_create(struct gd_memory *memory, const struct gd_modules *modules, int minor,
                      struct gd_symbols **ret, struct gd_error *err)
{
	struct gd_symbols *symbols = calloc(1, sizeof(*symbols));
	if (symbols == NULL)
		return gd_fail_errno(err, -ENOMEM, "symbols");
	symbols->memory = memory;
	symbols->modules = modules;
	symbols->wrapper_id = wrapper_id_of(modules, minor);
	if (!set_slots(symbols, SLOTS_FIRST)) {
		free(symbols);
		return gd_fail_errno(err, -ENOMEM, "symbols");
	}
	*ret = symbols;
	return 0;
}

void gd_symbols_destroy(struct gd_symbols *symbols)
{
	if (symbols == NULL)
		return;
	free_all(symbols);
	free(symbols);
}

/* ---- what a pc means ------------------------------------------------------------------------ */

static void locate(const struct gd_pclntab *tab, const struct gd_func *func, uint64_t pc,
                   struct gd_line *line)
{
	line->file = gd_pclntab_file(tab, func, pc);
	line->line = gd_pclntab_line(tab, func, pc);
	/* like the runtime: never one without the other */
	if (line->line == 0 || line->file[0] == '?') {
		line->file = "?";
		line->line = 0;
	}
}

/*
 * From the innermost inlined function out to the physical one.  Each record of the inline tree
 * names the function that was inlined and an instruction whose position is that of the call; which
 * record is in force there says what that call was inlined into in turn.
 */
static unsigned expand(const struct gd_symbols *symbols, const struct gd_module *module,
                       const struct gd_func *func, uint64_t pc,
                       struct gd_line lines[GD_SITE_LINES_MAX])
{
	const struct gd_pclntab *tab = &module->pclntab;
	unsigned n = 0;
	for (; n < GD_SITE_LINES_MAX - 1; n++) {
		struct gd_inlined call;
		int32_t index = gd_pclntab_pcdata(tab, func, PCDATA_INLTREE_INDEX, pc);
		if (index < 0 || gd_inltree_read(symbols->memory, module->gofunc, tab, func, index,
		                                 &call, NULL) < 0)
			break;
		locate(tab, func, pc, lines + n);
		lines[n].function = gd_pclntab_name(tab, call.name_off);
		lines[n].start_line = call.start_line;
		lines[n].func_id = call.func_id;
		/* a tree of foreign bytes can lead in circles: the array's end stops them */
		pc = func->entry + (uint64_t)(int64_t)call.parent_pc;
	}
	locate(tab, func, pc, lines + n);
	lines[n].function = gd_pclntab_name(tab, func->name_off);
	lines[n].start_line = func->start_line;
	lines[n].func_id = func->func_id;
	n++;
	for (unsigned i = 0; i < n; i++)
		lines[i].wrapper = lines[i].func_id == symbols->wrapper_id;
	return n;
}

static bool resolve(struct gd_symbols *symbols, uint64_t pc, bool exact, struct gd_site **ret)
{
	*ret = NULL;
	const struct gd_module *module = gd_modules_of(symbols->modules, pc);
	struct gd_func func;
	if (module == NULL || !gd_pclntab_func(&module->pclntab, pc, &func))
		return true;
	struct gd_line lines[GD_SITE_LINES_MAX];
	uint64_t at = exact || pc == func.entry ? pc : pc - 1;
	unsigned n = expand(symbols, module, &func, at, lines);
	struct gd_site *site = take(symbols, sizeof(*site) + n * sizeof(*lines));
	if (site == NULL)
		return false;
	struct gd_line *kept = (struct gd_line *)(site + 1);
	memcpy(kept, lines, n * sizeof(*lines));
	*site = (struct gd_site){
		.pc = pc,
		.entry = func.entry,
		.sp_delta = gd_pclntab_sp_delta(&module->pclntab, &func, pc),
		.flag = func.flag,
		.module = module,
		.func = func,
		.n_lines = n,
		.lines = kept,
	};
	*ret = site;
	return true;
}

/* ---- the cache ------------------------------------------------------------------------------ */

static struct slot *slot_of(const struct gd_symbols *symbols, uint64_t key)
{
	size_t mask = symbols->n_slots - 1;
	size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> symbols->shift);
	while (symbols->slots[i].key != key && symbols->slots[i].key != 0)
		i = (i + 1) & mask;
	return symbols->slots + i;
}

static bool grow(struct gd_symbols *symbols)
{
	struct slot *old = symbols->slots;
	size_t n_old = symbols->n_slots;
	if (!set_slots(symbols, n_old * 2))
		return false;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].key != 0)
			*slot_of(symbols, old[i].key) = old[i];
	free(old);
	return true;
}

static __attribute__((noinline)) const struct gd_site *miss(struct gd_symbols *symbols,
                                                            uint64_t pc, bool exact, uint64_t key)
{
	bool full = symbols->n_used * 2 >= symbols->n_slots;
	size_t growth = full ? symbols->n_slots * sizeof(*symbols->slots) : 0;
	if (symbols->slots == NULL || symbols->bytes + growth > CACHE_BYTES_MAX) {
		if (!empty(symbols))
			return NULL;
	} else if (full && !grow(symbols)) {
		return NULL;
	}
	struct gd_site *site;
	if (!resolve(symbols, pc, exact, &site))
		return NULL;
	*slot_of(symbols, key) = (struct slot){ key, site };
	symbols->n_used++;
	return site;
}

const struct gd_site *gd_symbols_site(struct gd_symbols *symbols, uint64_t pc, bool exact)
{
	/* no user space address has the highest bit, so the key loses nothing */
	if (pc == 0 || pc >> 63 != 0)
		return NULL;
	uint64_t key = pc << 1 | exact;
	if (symbols->slots != NULL) {
		const struct slot *slot = slot_of(symbols, key);
		if (slot->key == key)
			return slot->site;
	}
	return miss(symbols, pc, exact, key);
}

void gd_symbols_keep(struct gd_symbols *symbols, const struct gd_site *site, void *user,
                     size_t bytes)
{
	struct gd_site *own = (struct gd_site *)(uintptr_t)site;
	free(own->user);
	own->user = user;
	symbols->bytes += bytes;
}

int gd_symbols_funcdata(struct gd_symbols *symbols, const struct gd_site *site, unsigned i,
                        void *to, size_t max, struct gd_error *err)
{
	uint32_t off = gd_pclntab_funcdata(&site->module->pclntab, &site->func, i);
	if (off == UINT32_MAX || site->module->gofunc == 0)
		return gd_fail(err, -ENOENT, "function at %#" PRIx64 " has no funcdata %u",
		               site->entry, i);
	if (max > 1 << 20)
		max = 1 << 20;
	ssize_t n = gd_memory_read_some(symbols->memory, site->module->gofunc + off, to, max);
	if (n < 0)
		return gd_fail_errno(err, (int)n, "funcdata %u at %#" PRIx64, i,
		                     site->module->gofunc + off);
	return (int)n;
}

uint64_t gd_symbols_generation(const struct gd_symbols *symbols)
{
	return symbols->generation;
}
