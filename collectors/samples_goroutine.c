#include "collectors/samples_goroutine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collectors/known.h"
#include "golang/goroutines.h"
#include "golang/grecord.h"
#include "target/container.h"

enum {
	THREADS_MAX = 1 << 16,
	THREADS_BYTES_MAX = 4 << 20,
	LIST_EVERY_NS = 100 * 1000 * 1000,
	STACKS_MAX = 2048,
	STACKS_LISTED = 1024, /* goroutines looked at when a stack is not known */
};
#define STACKS_EVERY_NS INT64_C(1000000000)

/* Where a goroutine's stack was when we last saw it. */
struct stack_of {
	uint64_t lo, hi, g, goid;
};

struct gd_samples_goroutines {
	struct gd_go *go;
	/* A thread's m, by its number: learnt from samples whose register was good, else from the
	 * runtime's list.  An m is its thread's for life. */
	struct gd_known *ms;
	int64_t listed_ns; /* of the sample for which that list was last read */
	bool namespaced;
	struct gd_known *inner; /* namespaced: our number of a thread, by the target's own */
	struct stack_of stacks[STACKS_MAX]; /* goroutines', the oldest is replaced */
	size_t n_stacks, next_stack;
	int64_t stacks_ns; /* of the sample for which goroutines were last listed */
};

const char *gd_goroutine_confidence_name(uint32_t confidence)
{
	static const char *const names[GD_GOROUTINE_CONFIDENCES] = {
		[GD_GOROUTINE_NONE] = "none",
		[GD_GOROUTINE_THREAD] = "thread",
		[GD_GOROUTINE_MOVED] = "moved",
		[GD_GOROUTINE_EXACT] = "exact",
	};
	return confidence < GD_GOROUTINE_CONFIDENCES ? names[confidence] : "?";
}

/* What the target itself calls each of its threads. */
static void read_inner(struct gd_samples_goroutines *s, struct gd_target *target)
{
	GD_BUF struct gd_buf status = GD_BUF_INIT(64 << 10);
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	char path[32];
	if (gd_target_read_file(target, "status", &status, NULL) < 0)
		return;
	int32_t inner = gd_container_parse_nspid(status.data, status.len);
	s->namespaced = inner != 0 && inner != target->pid;
	if (!s->namespaced || gd_target_threads(target, &tids, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "task/%d/status", tids[i]);
		gd_buf_reset(&status);
		if (gd_target_read_file(target, path, &status, NULL) < 0)
			continue;
		uint64_t number = (uint64_t)gd_container_parse_nspid(status.data, status.len);
		uint64_t *ours = gd_known_slot(s->inner, &number, sizeof(number));
		if (ours != NULL)
			*ours = (uint64_t)tids[i];
	}
}

int gd_samples_goroutines_create(struct gd_go *go, struct gd_target *target,
                                 struct gd_samples_goroutines **ret, struct gd_error *err)
{
	struct gd_samples_goroutines *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "goroutines of samples");
	s->go = go;
	s->listed_ns = -LIST_EVERY_NS;
	s->stacks_ns = -STACKS_EVERY_NS;
	int r = gd_known_create(THREADS_MAX, THREADS_BYTES_MAX, &s->ms, err);
	if (r == 0)
		r = gd_known_create(THREADS_MAX, THREADS_BYTES_MAX, &s->inner, err);
	if (r < 0) {
		gd_samples_goroutines_destroy(s);
		return r;
	}
	if (target != NULL)
		read_inner(s, target);
	*ret = s;
	return 0;
}

void gd_samples_goroutines_destroy(struct gd_samples_goroutines *s)
{
	if (s == NULL)
		return;
	gd_known_destroy(s->ms);
	gd_known_destroy(s->inner);
	free(s);
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint64_t read_field(struct gd_go *go, uint64_t addr, int32_t offset)
{
	uint64_t value = 0;
	if (addr == 0 || offset < 0 ||
	    gd_memory_read_u64(go->memory, addr + (uint64_t)offset, &value, NULL) < 0)
		return 0;
	return value;
}

static bool on_stack_of(const struct gd_grecord *g, uint64_t sp)
{
	return sp >= g->stack_lo && sp < g->stack_hi;
}

/* ---- proving --------------------------------------------------------------------------------- */

/* Assembly without a frame, no goroutine begins with it: it was called from the one that did. */
static bool changes_stacks(const struct gd_site *site)
{
	const char *name = site->lines[site->n_lines - 1].function;
	return strcmp(name, "runtime.systemstack") == 0 || strcmp(name, "runtime.asmcgocall") == 0;
}

/*
 * A stack that was unwound to its root names the function its goroutine began with.  Records are used
 * again for other goroutines: one that began elsewhere is not the sample's.
 */
static bool began_there(struct gd_go *go, const struct gd_perf_stack *stack,
                        const struct gd_grecord *g)
{
	if (stack->end != GD_PERF_END_ROOT || stack->n < 2)
		return true; /* not known to be wrong */
	const struct gd_perf_frame *root = &stack->list[stack->n - 1];
	const struct gd_site *site = gd_symbols_site(go->symbols, root->pc, root->exact);
	if (site == NULL || strcmp(site->lines[0].function, "runtime.goexit") != 0)
		return true;
	const struct gd_perf_frame *first = &stack->list[stack->n - 2];
	site = gd_symbols_site(go->symbols, first->pc, first->exact || first->inferred);
	return site == NULL || site->entry == g->startpc || changes_stacks(site);
}

/* The function it began with, when only that is missing. */
static uint64_t skipped(struct gd_go *go, const struct gd_perf_stack *stack,
                        const struct gd_grecord *g)
{
	if (stack->end != GD_PERF_END_ROOT || stack->n < 2)
		return 0;
	const struct gd_perf_frame *first = &stack->list[stack->n - 2];
	const struct gd_site *site = gd_symbols_site(go->symbols, first->pc, first->exact);
	return site != NULL && changes_stacks(site) ? g->startpc : 0;
}

/* Is it a g at all?  Its m must own it. */
static bool is_owned(struct gd_go *go, const struct gd_grecord *g, bool *ret_system)
{
	const struct gd_layout *l = &go->layout;
	bool system = read_field(go, g->m, l->m_g0) == g->addr ||
	              read_field(go, g->m, l->m_gsignal) == g->addr;
	*ret_system = system;
	return system || read_field(go, g->m, l->m_curg) == g->addr;
}

static void take(struct gd_samples_goroutines *s, const struct gd_perf_stack *stack,
                 struct gd_samples_goroutine *ret, const struct gd_grecord *g,
                 enum gd_goroutine_confidence confidence)
{
	*ret = (struct gd_samples_goroutine){ .goid = g->goid, .labels = g->labels,
		                              .confidence = confidence,
		                              .skipped = skipped(s->go, stack, g) };
}

/* ---- by the runtime's list of threads -------------------------------------------------------- */

static void list_ms(struct gd_samples_goroutines *s)
{
	struct gd_go *go = s->go;
	const struct gd_layout *l = &go->layout;
	uint64_t m = go->globals.allm != 0 ? read_field(go, go->globals.allm, 0) : 0;
	/* A list that runs in a circle ends as well. */
	for (int i = 0; i < THREADS_MAX && m != 0 && m % 8 == 0; i++) {
		uint64_t number = read_field(go, m, l->m_procid);
		if (s->namespaced) {
			const uint64_t *ours = gd_known_find(s->inner, &number, sizeof(number));
			number = ours != NULL ? *ours : 0;
		}
		uint32_t tid = (uint32_t)number;
		uint64_t *known = number != 0 && number <= INT32_MAX ?
			gd_known_slot(s->ms, &tid, sizeof(tid)) : NULL;
		if (known != NULL)
			*known = m;
		m = read_field(go, m, l->m_alllink);
	}
}

static const uint64_t *m_of(struct gd_samples_goroutines *s, const struct gd_perf_record *sample)
{
	const uint64_t *known = gd_known_find(s->ms, &sample->tid, sizeof(sample->tid));
	if (known != NULL || (sample->time_ns - s->listed_ns < LIST_EVERY_NS &&
	                      sample->time_ns >= s->listed_ns))
		return known;
	s->listed_ns = sample->time_ns;
	list_ms(s);
	return gd_known_find(s->ms, &sample->tid, sizeof(sample->tid));
}

uint64_t gd_samples_goroutines_m(struct gd_samples_goroutines *s, const struct gd_perf_record *sample)
{
	const uint64_t *known = m_of(s, sample);
	return known != NULL ? *known : 0;
}

/* ---- by its stack ---------------------------------------------------------------------------- */

/*
 * Whose it is now, or was a moment ago: stacks move when they grow and when the collector finds them too
 * large, and their memory is used again.
 */
static bool find_stack(struct gd_samples_goroutines *s, uint64_t sp, struct gd_grecord *ret,
                       bool *ret_moved)
{
	bool found = false;
	for (size_t i = 0; i < s->n_stacks; i++) {
		struct stack_of *known = &s->stacks[i];
		struct gd_grecord g;
		if (sp < known->lo || sp >= known->hi)
			continue;
		bool read = gd_grecord_read(&s->go->layout, s->go->memory, known->g, &g);
		if (read && on_stack_of(&g, sp)) {
			*ret = g;
			*ret_moved = false;
			return true;
		}
		if (read && g.goid == known->goid) {
			*ret = g;
			*ret_moved = found = true;
			continue;
		}
		*known = (struct stack_of){ 0, 0, 0, 0 };
	}
	return found;
}

static void remember_stack(struct gd_samples_goroutines *s, const struct gd_grecord *g)
{
	struct stack_of *known = NULL;
	for (size_t i = 0; i < s->n_stacks && known == NULL; i++)
		if (s->stacks[i].g == g->addr && s->stacks[i].lo == g->stack_lo)
			known = &s->stacks[i];
	if (known == NULL) {
		known = &s->stacks[s->next_stack];
		s->next_stack = (s->next_stack + 1) % STACKS_MAX;
		if (s->n_stacks < STACKS_MAX)
			s->n_stacks++;
	}
	*known = (struct stack_of){ g->stack_lo, g->stack_hi, g->addr, g->goid };
}

/* The first goroutines there are; not more, for of 100,000 it would take too long. */
static void list_stacks(struct gd_samples_goroutines *s)
{
	static uint64_t addrs[STACKS_LISTED];
	uint64_t slice[2]; /* runtime.allgs: where, how many */
	struct gd_memory *memory = s->go->memory;
	if (gd_memory_read(memory, s->go->globals.allgs, slice, sizeof(slice), NULL) < 0)
		return;
	size_t n = slice[1] < STACKS_LISTED ? (size_t)slice[1] : STACKS_LISTED;
	if (gd_memory_read(memory, slice[0], addrs, n * sizeof(addrs[0]), NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct gd_grecord g;
		if (gd_grecord_read(&s->go->layout, s->go->memory, addrs[i], &g) && (g.status & 0xf) != GD_G_DEAD)
			remember_stack(s, &g);
	}
}

/* Whose stack the sample was taken on. */
static bool by_stack(struct gd_samples_goroutines *s, const struct gd_perf_record *sample,
                     const struct gd_perf_stack *stack, struct gd_samples_goroutine *ret)
{
	uint64_t sp = gd_perf_record_reg(sample, GD_PERF_SP);
	struct gd_grecord g;
	bool moved = false;
	bool found = find_stack(s, sp, &g, &moved);
	if (!found && (sample->time_ns - s->stacks_ns >= STACKS_EVERY_NS ||
	               sample->time_ns < s->stacks_ns)) {
		s->stacks_ns = sample->time_ns;
		list_stacks(s);
		found = find_stack(s, sp, &g, &moved);
	}
	if (!found || g.goid == 0 || !began_there(s->go, stack, &g))
		return false;
	take(s, stack, ret, &g, moved ? GD_GOROUTINE_MOVED : GD_GOROUTINE_EXACT);
	if (moved)
		remember_stack(s, &g);
	return true;
}

/* What the register says.  True: that settles it. */
static bool by_register(struct gd_samples_goroutines *s, const struct gd_perf_record *sample,
                        const struct gd_perf_stack *stack, uint64_t *ret_m,
                        struct gd_samples_goroutine *ret)
{
	uint64_t sp = gd_perf_record_reg(sample, GD_PERF_SP);
	struct gd_grecord g;
	bool system = false;
	if (!gd_grecord_read(&s->go->layout, s->go->memory, gd_perf_record_reg(sample, GD_PERF_G), &g))
		return false;
	bool on_stack = on_stack_of(&g, sp);
	bool owned = is_owned(s->go, &g, &system);
	if (owned && system)
		*ret_m = g.m;
	if (system || g.goid == 0 || !began_there(s->go, stack, &g) || (!on_stack && !owned))
		return false;
	if (owned)
		*ret_m = g.m;
	take(s, stack, ret, &g, on_stack ? GD_GOROUTINE_EXACT : GD_GOROUTINE_MOVED);
	remember_stack(s, &g);
	return true;
}

void gd_samples_goroutines_find(struct gd_samples_goroutines *s,
                                const struct gd_perf_record *sample,
                                const struct gd_perf_stack *stack,
                                struct gd_samples_goroutine *ret)
{
	uint64_t m = 0;
	*ret = (struct gd_samples_goroutine){ .confidence = GD_GOROUTINE_NONE };
	if (sample->regs == NULL)
		return;
	bool settled = by_register(s, sample, stack, &m, ret);
	if (m != 0) {
		uint64_t *slot = gd_known_slot(s->ms, &sample->tid, sizeof(sample->tid));
		if (slot != NULL)
			*slot = m;
	}
	if (settled || by_stack(s, sample, stack, ret))
		return;
	const uint64_t *known = m_of(s, sample);
	struct gd_grecord g;
	if (known == NULL || !gd_grecord_read(&s->go->layout, s->go->memory, read_field(s->go, *known, s->go->layout.m_curg), &g) ||
	    g.goid == 0 || !began_there(s->go, stack, &g))
		return;
	take(s, stack, ret, &g, on_stack_of(&g, gd_perf_record_reg(sample, GD_PERF_SP)) ?
	                      GD_GOROUTINE_EXACT : GD_GOROUTINE_THREAD);
}
