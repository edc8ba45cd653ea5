/*
 * Which function betrays which variable was found by disassembling every minor release from 1.18 to
 * 1.27: each rule below picked the right operand in all of them, small program and large, and where
 * possible a variable has two rules, so that a release that inlines one function still has one.
 */
#include "golang/globals.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/operands.h"
#include "golang/shapes.h"

/* Sections of a module that an operand may point into. */
enum { NOPTRDATA = 1, DATA = 2, BSS = 4, NOPTRBSS = 8, WRITABLE = 15 };

/* Which of the operands that pass kind, width and section. */
enum pick {
	LOWEST,
	FIRST,
	SECOND,       /* distinct */
	AFTER_MEMORY, /* the first distinct one behind &mbuckets */
	AFTER_MUTEX,  /* the second */
};

struct rule {
	enum gd_global global;
	const char *function; /* without "runtime." */
	unsigned kinds;       /* GD_OPERAND_* */
	uint8_t width;
	uint8_t sections;
	enum pick pick;
	uint16_t addend;   /* the operand is that far behind the variable's start ... */
	uint16_t field_at; /* ... plus this member of struct gd_layout, when not NO_FIELD */
};

#define NO_FIELD UINT16_MAX
#define FIELD(member) offsetof(struct gd_layout, member)
#define ANY 31
#define G(member) GD_GLOBAL_##member

static const struct rule rules[] = {
	{ G(allgs), "forEachG", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(allgs), "allgadd", GD_OPERAND_LOAD, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(allm), "mcommoninit", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(allm), "mexit", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(allp), "preemptall", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(allp), "timeSleepUntil", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(gomaxprocs), "gcBgMarkStartWorkers", GD_OPERAND_CMP, 4, NOPTRBSS, LOWEST, 0, NO_FIELD },
	{ G(gomaxprocs), "(*gcControllerState).enlistWorker", GD_OPERAND_LOAD, 4, NOPTRBSS, LOWEST,
	  0, NO_FIELD },
	{ G(sched), "wakeNetPoller", ANY, 8, BSS, LOWEST, 0, FIELD(sched_lastpoll) },
	{ G(sched), "oneNewExtraM", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(mbuckets), "mProf_FlushLocked", ANY, 8, WRITABLE, LOWEST, 0, NO_FIELD },
	{ G(xbuckets), "stkbucket", ANY, 8, WRITABLE, AFTER_MEMORY, 0, NO_FIELD },
	{ G(bbuckets), "stkbucket", ANY, 8, WRITABLE, AFTER_MUTEX, 0, NO_FIELD },
	{ G(memstats), "newBucket", GD_OPERAND_LEA, 8, NOPTRBSS, LOWEST, 0,
	  FIELD(mstats_buckhash_sys) },
	{ G(memstats), "gcenable", GD_OPERAND_STORE, 1, NOPTRBSS, LOWEST, 0,
	  FIELD(mstats_enablegc) },
	{ G(gc_controller), "gcinit", GD_OPERAND_LEA, 8, NOPTRBSS, FIRST, 0, NO_FIELD },
	{ G(gc_controller), "gcMark", ANY, 8, NOPTRBSS, LOWEST, 0, NO_FIELD },
	{ G(mheap), "gcResetMarkState", ANY, 8, BSS, FIRST, 0, NO_FIELD },
	{ G(mheap), "allocmcache.func1", ANY, 8, BSS, LOWEST, 0, NO_FIELD },
	{ G(mem_profile_rate), "allocmcache", ANY, 8, WRITABLE, LOWEST, 0, NO_FIELD },
	{ G(mem_profile_rate), "profilealloc", ANY, 8, WRITABLE, LOWEST, 0, NO_FIELD },
	{ G(block_profile_rate), "blockevent", ANY, 8, NOPTRBSS, LOWEST, 0, NO_FIELD },
	{ G(block_profile_rate), "semacquire1", ANY, 8, NOPTRBSS, FIRST, 0, NO_FIELD },
	{ G(mutex_profile_fraction), "semacquire1", ANY, 8, NOPTRBSS, SECOND, 0, NO_FIELD },
	{ G(wait_reason_strings), "waitReason.String", ANY, 8, DATA, LOWEST, 0, NO_FIELD },
	{ G(wait_reason_strings), "(*waitReason).String", ANY, 8, DATA, LOWEST, 0, NO_FIELD },
	{ G(build_version), "schedinit", ANY, 8, DATA, LOWEST, 0, NO_FIELD },
};

#define N_RULES (sizeof(rules) / sizeof(rules[0]))

/* The largest function of the rules has some 1,500 bytes. */
enum { CODE_MAX = 16384, OPERANDS_MAX = 256 };

struct finder {
	const struct gd_module *module;
	struct gd_memory *memory;
	const struct gd_layout *layout;
	struct gd_func functions[N_RULES]; /* entry 0: not in this binary */
	uint64_t candidates[GD_GLOBAL_COUNT][2];
	unsigned n_candidates[GD_GLOBAL_COUNT];
};

static bool inside(const struct gd_range *range, uint64_t addr)
{
	return addr >= range->start && addr < range->end;
}

static unsigned section_of(const struct gd_module *module, uint64_t addr)
{
	return (inside(&module->noptrdata, addr) ? NOPTRDATA : 0) |
	       (inside(&module->data, addr) ? DATA : 0) | (inside(&module->bss, addr) ? BSS : 0) |
	       (inside(&module->noptrbss, addr) ? NOPTRBSS : 0);
}

/* One pass over all names: asking by name costs a pass each. */
static void find_functions(struct finder *f)
{
	static const char prefix[] = "runtime.";
	size_t n_prefix = sizeof(prefix) - 1;
	const struct gd_pclntab *tab = &f->module->pclntab;
	struct gd_func func;

	for (uint64_t i = 0; i < tab->nfunc; i++) {
		if (!gd_pclntab_func_at(tab, i, &func))
			continue;
		const char *name = gd_pclntab_name(tab, func.name_off);
		if (strncmp(name, prefix, n_prefix) != 0)
			continue;
		/* A name can be there twice: the small one is a wrapper for the other ABI. */
		for (size_t r = 0; r < N_RULES; r++)
			if (strcmp(rules[r].function, name + n_prefix) == 0 &&
			    func.end - func.entry > f->functions[r].end - f->functions[r].entry)
				f->functions[r] = func;
	}
}

static uint64_t mbuckets_of(const struct finder *f)
{
	return f->n_candidates[GD_GLOBAL_mbuckets] > 0 ? f->candidates[GD_GLOBAL_mbuckets][0] : 0;
}

static bool already(const struct gd_operand *list, size_t n, uint64_t addr)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].addr == addr)
			return true;
	return false;
}

/* Drops what the rule does not ask for and repetitions. */
static size_t filter(const struct finder *f, const struct rule *rule, struct gd_operand *list,
                     size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (((unsigned)list[i].kind & rule->kinds) != 0 && list[i].width == rule->width &&
		    (section_of(f->module, list[i].addr) & rule->sections) != 0 &&
		    !already(list, kept, list[i].addr))
			list[kept++] = list[i];
	return kept;
}

static uint64_t pick(const struct finder *f, const struct rule *rule, const struct gd_operand *list,
                     size_t n)
{
	uint64_t found = 0;
	size_t at;

	switch (rule->pick) {
	case LOWEST:
		for (size_t i = 0; i < n; i++)
			if (found == 0 || list[i].addr < found)
				found = list[i].addr;
		return found;
	case FIRST:
		return n > 0 ? list[0].addr : 0;
	case SECOND:
		return n > 1 ? list[1].addr : 0;
	case AFTER_MEMORY:
	case AFTER_MUTEX:
		for (at = 0; at < n && list[at].addr != mbuckets_of(f); at++)
			;
		at += rule->pick == AFTER_MEMORY ? 1 : 2;
		return at < n ? list[at].addr : 0;
	}
	return 0;
}

/* Where the variable starts, going by the operand; 0 when the layout lacks the field. */
static uint64_t start_of(const struct finder *f, const struct rule *rule, uint64_t addr)
{
	int32_t field = 0;
	if (rule->field_at != NO_FIELD)
		memcpy(&field, (const char *)f->layout + rule->field_at, sizeof(field));
	if (addr == 0 || field < 0)
		return 0;
	return addr - rule->addend - (uint64_t)field;
}

static void apply(struct finder *f, size_t r, uint8_t *code)
{
	struct gd_operand list[OPERANDS_MAX];
	const struct gd_func *func = &f->functions[r];

	if (func->entry == 0 || func->end <= func->entry)
		return;
	size_t len = func->end - func->entry < CODE_MAX ? func->end - func->entry : CODE_MAX;
	if (gd_memory_read(f->memory, func->entry, code, len, NULL) < 0)
		return;
	size_t n = gd_operands_of(code, len, func->entry, list, OPERANDS_MAX);
	n = filter(f, &rules[r], list, n);
	uint64_t addr = start_of(f, &rules[r], pick(f, &rules[r], list, n));
	unsigned *have = &f->n_candidates[rules[r].global];
	if (addr != 0 && *have < 2)
		f->candidates[rules[r].global][(*have)++] = addr;
}

static int collect(struct finder *f, const struct gd_modules *modules, struct gd_memory *memory,
                   const struct gd_layout *layout)
{
	GD_FREE uint8_t *code = malloc(CODE_MAX);

	memset(f, 0, sizeof(*f));
	if (code == NULL)
		return -ENOMEM;
	f->module = &modules->list[0];
	f->memory = memory;
	f->layout = layout;
	find_functions(f);
	for (size_t r = 0; r < N_RULES; r++)
		apply(f, r, code);
	return 0;
}

static uint64_t *slot(struct gd_globals *globals, enum gd_global which)
{
	static const size_t at[] = {
#define AT(member, name) offsetof(struct gd_globals, member),
		GD_GLOBALS_FIELDS(AT)
#undef AT
	};
	return (uint64_t *)(void *)((char *)globals + at[which]);
}

uint64_t gd_globals_get(const struct gd_globals *globals, enum gd_global which)
{
	struct gd_globals copy = *globals;
	return *slot(&copy, which);
}

const char *gd_globals_name(enum gd_global which)
{
	static const char *const names[] = {
#define NAME(member, name) name,
		GD_GLOBALS_FIELDS(NAME)
#undef NAME
	};
	return which < GD_GLOBAL_COUNT ? names[which] : "?";
}

void gd_globals_by_operands(const struct gd_modules *modules, struct gd_memory *memory,
                            const struct gd_layout *layout, struct gd_globals *ret)
{
	struct finder f;

	memset(ret, 0, sizeof(*ret));
	if (modules->n == 0 || collect(&f, modules, memory, layout) < 0)
		return;
	for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++) {
		if (f.n_candidates[i] == 0)
			continue;
		*slot(ret, (enum gd_global)i) = f.candidates[i][0];
		ret->by_operands |= UINT32_C(1) << i;
		if (f.n_candidates[i] > 1 && f.candidates[i][0] != f.candidates[i][1])
			ret->disagreements++;
	}
}

/* What later tests lean on. */
static void note(struct gd_shapes *shapes, enum gd_global which, uint64_t addr)
{
	if (which == GD_GLOBAL_allm)
		shapes->allm = addr;
	else if (which == GD_GLOBAL_allp)
		shapes->allp = addr;
}

void gd_globals_by_shape(const struct gd_modules *modules, struct gd_memory *memory,
                         const struct gd_layout *layout, struct gd_globals *ret)
{
	struct gd_shapes shapes = { .memory = memory, .modules = modules, .layout = layout };

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < GD_GLOBAL_COUNT && modules->n > 0; i++) {
		uint64_t addr = gd_shapes_scan(&shapes, (enum gd_global)i);
		if (addr == 0)
			continue;
		*slot(ret, (enum gd_global)i) = addr;
		ret->by_shape |= UINT32_C(1) << i;
		note(&shapes, (enum gd_global)i, addr);
	}
}

/* Of what code says take what memory confirms; when memory refutes it all, scan. */
static void settle(const struct finder *f, struct gd_shapes *shapes, enum gd_global which,
                   struct gd_globals *ret)
{
	uint32_t bit = UINT32_C(1) << which;
	uint64_t open = 0;

	if (f->n_candidates[which] == 2 && f->candidates[which][0] != f->candidates[which][1])
		ret->disagreements++;
	for (unsigned i = 0; i < f->n_candidates[which]; i++) {
		uint64_t addr = f->candidates[which][i];
		enum gd_shape shape = gd_shapes_test(shapes, which, addr);
		if (shape == GD_SHAPE_RIGHT) {
			*slot(ret, which) = addr;
			ret->by_operands |= bit;
			ret->by_shape |= bit;
			return;
		}
		if (shape == GD_SHAPE_OPEN && open == 0)
			open = addr;
	}
	if (open != 0) {
		*slot(ret, which) = open;
		ret->by_operands |= bit;
		return;
	}
	uint64_t addr = gd_shapes_scan(shapes, which);
	if (addr == 0)
		return;
	*slot(ret, which) = addr;
	ret->by_shape |= bit;
	if (f->n_candidates[which] > 0)
		ret->disagreements++;
}

int gd_globals_find(const struct gd_modules *modules, struct gd_memory *memory,
                    const struct gd_layout *layout, struct gd_globals *ret, struct gd_error *err)
{
	struct gd_shapes shapes = { .memory = memory, .modules = modules, .layout = layout };
	struct gd_globals found = { 0 };
	struct finder f;

	if (modules->n == 0)
		return gd_fail(err, -ENOENT, "globals: no Go module");
	if (collect(&f, modules, memory, layout) < 0)
		return gd_fail_errno(err, -ENOMEM, "globals");
	for (unsigned i = 0; i < GD_GLOBAL_COUNT; i++) {
		settle(&f, &shapes, (enum gd_global)i, &found);
		note(&shapes, (enum gd_global)i, *slot(&found, (enum gd_global)i));
	}
	/* The number of Ps is also the length of their list. */
	if (found.gomaxprocs == 0 && found.allp != 0)
		found.gomaxprocs = found.allp + 8;
	if (found.allgs == 0)
		return gd_fail(err, -ENOENT, "globals: the list of goroutines was not found");
	*ret = found;
	return 0;
}
