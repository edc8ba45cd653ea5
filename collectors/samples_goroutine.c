#include "collectors/samples_goroutine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "collectors/known.h"
#include "golang/goroutines.h"
#include "golang/grecord.h"

enum {
	THREADS_MAX = 1 << 16,
	THREADS_BYTES_MAX = 4 << 20,
};

struct gd_samples_goroutines {
	struct gd_go *go;
	/* A thread's m, by its number: learnt from samples whose register was good, so that numbers
	 * of other pid namespaces do not matter.  An m is its thread's for life. */
	struct gd_known *ms;
};

const char *gd_goroutine_confidence_name(uint32_t confidence)
{
	static const char *const names[GD_GOROUTINE_CONFIDENCES] = {
		[GD_GOROUTINE_NONE] = "none",
		[GD_GOROUTINE_THREAD] = "thread",
		[GD_GOROUTINE_REGISTER] = "register",
		[GD_GOROUTINE_EXACT] = "exact",
	};
	return confidence < GD_GOROUTINE_CONFIDENCES ? names[confidence] : "?";
}

int gd_samples_goroutines_create(struct gd_go *go, struct gd_samples_goroutines **ret,
                                 struct gd_error *err)
{
	struct gd_samples_goroutines *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "goroutines of samples");
	s->go = go;
	int r = gd_known_create(THREADS_MAX, THREADS_BYTES_MAX, &s->ms, err);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void gd_samples_goroutines_destroy(struct gd_samples_goroutines *s)
{
	if (s == NULL)
		return;
	gd_known_destroy(s->ms);
	free(s);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_g(struct gd_go *go, uint64_t addr, struct gd_grecord *ret)
{
	uint8_t bytes[GD_GRECORD_BYTES_MAX + 8] = { 0 };
	if (addr == 0 || addr % 8 != 0 || addr >> 47 != 0 ||
	    gd_memory_read(go->memory, addr, bytes, gd_grecord_bytes(&go->layout), NULL) < 0)
		return false;
	gd_grecord_parse(&go->layout, bytes, addr, ret);
	return ret->stack_lo < ret->stack_hi && ret->stack_hi >> 47 == 0;
}

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
	site = gd_symbols_site(go->symbols, first->pc, first->exact);
	return site == NULL || site->entry == g->startpc;
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

static void take(struct gd_samples_goroutine *ret, const struct gd_grecord *g,
                 enum gd_goroutine_confidence confidence)
{
	*ret = (struct gd_samples_goroutine){ .goid = g->goid, .labels = g->labels,
		                              .confidence = confidence };
}

/* What the register says.  True: that settles it. */
static bool by_register(struct gd_samples_goroutines *s, const struct gd_perf_record *sample,
                        const struct gd_perf_stack *stack, uint64_t *ret_m,
                        struct gd_samples_goroutine *ret)
{
	uint64_t sp = gd_perf_record_reg(sample, GD_PERF_SP);
	struct gd_grecord g;
	bool system = false;
	if (!read_g(s->go, gd_perf_record_reg(sample, GD_PERF_G), &g))
		return false;
	bool on_stack = on_stack_of(&g, sp);
	bool owned = is_owned(s->go, &g, &system);
	if (owned && system)
		*ret_m = g.m;
	if (system || g.goid == 0 || !began_there(s->go, stack, &g) || (!on_stack && !owned))
		return false;
	if (owned)
		*ret_m = g.m;
	take(ret, &g, on_stack ? GD_GOROUTINE_EXACT : GD_GOROUTINE_REGISTER);
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
	uint64_t *known = m != 0 ? gd_known_slot(s->ms, &sample->tid, sizeof(sample->tid))
	                         : gd_known_find(s->ms, &sample->tid, sizeof(sample->tid));
	if (known != NULL && m != 0)
		*known = m;
	if (settled || known == NULL)
		return;
	struct gd_grecord g;
	if (!read_g(s->go, read_field(s->go, *known, s->go->layout.m_curg), &g) || g.goid == 0 ||
	    !began_there(s->go, stack, &g))
		return;
	take(ret, &g, on_stack_of(&g, gd_perf_record_reg(sample, GD_PERF_SP)) ?
	                      GD_GOROUTINE_EXACT : GD_GOROUTINE_THREAD);
}
