#include "collectors/samples_cgo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "golang/grecord.h"
#include "golang/unwind.h"

enum {
	THREADS = 1024,
	WINDOW = 4096,
};

/* How many calls a thread had begun at some moment before `ns`. */
struct seen {
	uint64_t m, calls;
	int64_t ns;
};

struct gd_samples_cgo {
	struct gd_go *go;
	struct seen seen[THREADS]; /* by m; of two in one place the later stays */
	uint8_t window[WINDOW];
};

int gd_samples_cgo_create(struct gd_go *go, struct gd_samples_cgo **ret, struct gd_error *err)
{
	struct gd_samples_cgo *cgo = calloc(1, sizeof(*cgo));
	if (cgo == NULL)
		return gd_fail_errno(err, -ENOMEM, "cgo calls of samples");
	cgo->go = go;
	*ret = cgo;
	return 0;
}

void gd_samples_cgo_destroy(struct gd_samples_cgo *cgo)
{
	free(cgo);
}

struct call {
	uint64_t calls, curg;
	bool in_c;
};

/* What m says of the call it is in. */
static bool read_call(struct gd_go *go, uint64_t m, struct call *ret)
{
	const struct gd_layout *l = &go->layout;
	uint8_t in_c = 0;
	if (l->m_ncgo < 8 || l->m_incgo < 0 || l->m_curg < 0)
		return false;
	/* m.ncgocall, a uint64, lies before m.ncgo in every release (golang/offsets.tsv). */
	if (gd_memory_read_u64(go->memory, m + (uint64_t)l->m_ncgo - 8, &ret->calls, NULL) < 0 ||
	    gd_memory_read_u64(go->memory, m + (uint64_t)l->m_curg, &ret->curg, NULL) < 0 ||
	    gd_memory_read(go->memory, m + (uint64_t)l->m_incgo, &in_c, 1, NULL) < 0)
		return false;
	ret->in_c = in_c == 1;
	return true;
}

static bool is_named(const struct gd_site *site, const char *name)
{
	size_t n = strlen(name);
	const char *function = site->lines[site->n_lines - 1].function;
	return strncmp(function, name, n) == 0 && (function[n] == '\0' || function[n] == '.');
}

static void add(struct gd_perf_stack *stack, const struct gd_unwind *u)
{
	if (stack->n == GD_PERF_DEPTH_MAX)
		return;
	stack->list[stack->n++] = (struct gd_perf_frame){ .pc = u->pc, .kind = GD_PERF_FRAME_GO,
		                                          .exact = u->exact };
}

/*
 * On the frame that called asmcgocall, whose return address is at sp; behind the saved frame pointer since
 * assembly that calls something has that (1.21).
 */
static bool find_caller(struct gd_samples_cgo *cgo, struct gd_stack *copy, uint64_t sp,
                        struct gd_unwind *ret)
{
	for (int i = 0; i < 2; i++, sp += 8) {
		const uint8_t *word = gd_stack_at(copy, sp, 8);
		if (word == NULL)
			return false;
		gd_unwind_begin(ret, cgo->go->symbols, copy, gd_load_u64(word), sp + 8,
		                GD_UNWIND_SAVED);
		if (ret->site != NULL && (is_named(ret->site, "runtime.asmcgocall") ||
		                          is_named(ret->site, "runtime.cgocall")))
			return true;
	}
	return false;
}

/* All of the goroutine's stack from there on.  False: it is not like that. */
static bool walk(struct gd_samples_cgo *cgo, struct gd_perf_stack *stack)
{
	struct gd_grecord g;
	struct gd_unwind u;
	if (!gd_grecord_read(&cgo->go->layout, cgo->go->memory, stack->left_g, &g) || stack->left_depth < 8 ||
	    stack->left_depth > g.stack_hi - g.stack_lo)
		return false;
	uint64_t sp = g.stack_hi - stack->left_depth;
	struct gd_stack copy = { .hi = g.stack_hi, .at = sp, .memory = cgo->go->memory,
		                 .window = cgo->window, .window_bytes = sizeof(cgo->window) };
	if (!find_caller(cgo, &copy, sp, &u))
		return false;
	for (; u.site != NULL && stack->n < GD_PERF_DEPTH_MAX; gd_unwind_next(&u))
		add(stack, &u);
	return u.end == GD_UNWIND_ROOT;
}

bool gd_samples_cgo_resume(struct gd_samples_cgo *cgo, const struct gd_perf_record *sample, uint64_t m,
                           struct gd_perf_stack *stack)
{
	struct call now;
	size_t n = stack->n;
	if (stack->left_g == 0 || m == 0)
		return false;
	struct seen *seen = &cgo->seen[m / 64 % THREADS];
	bool before = seen->m == m && seen->ns < sample->time_ns;
	bool walked = before && walk(cgo, stack);
	/* Read last: what was the same then was the same all the time. */
	bool read = read_call(cgo->go, m, &now);
	bool same = walked && read && now.in_c && now.calls == seen->calls && now.curg == stack->left_g;
	/* The earliest moment of a call proves most. */
	if (read && (seen->m != m || seen->calls != now.calls))
		*seen = (struct seen){ .m = m, .calls = now.calls, .ns = gd_clock_monotonic_ns() };
	if (!same) {
		stack->n = n;
		return false;
	}
	stack->end = GD_PERF_END_ROOT;
	return true;
}
