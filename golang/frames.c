#include "golang/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "golang/running.h"

enum {
	HALF = GD_FRAMES_MAX / 2,
	ARGUMENTS_BYTES = 256, /* more than any description of arguments can reach */
	WINDOW_BYTES = 64 << 10,
	CANCEL_EVERY = 1 << 16, /* frames of a deep stack */
	REGISTERS_TRIES = 3,
};

struct gd_frames {
	struct gd_go *go;
	const struct gd_walk_options *options;
	uint8_t copy[GD_FRAMES_WHOLE_STACK_MAX];
	uint8_t window[WINDOW_BYTES];
	uint8_t arguments[GD_FRAMES_MAX][ARGUMENTS_BYTES]; /* of a deep stack's frames */
	struct gd_running_link links[GD_RUNNING_LINKS_MAX];
	struct gd_frame list[GD_FRAMES_MAX];
	struct gd_frame turned[HALF];
};

int gd_frames_create(struct gd_go *go, const struct gd_walk_options *options,
                     struct gd_frames **ret, struct gd_error *err)
{
	_Static_assert(GD_RUNNING_STACK_MAX <= GD_FRAMES_WHOLE_STACK_MAX, "");
	struct gd_frames *f = malloc(sizeof(*f));
	if (f == NULL)
		return gd_fail_errno(err, -ENOMEM, "frames of goroutines");
	f->go = go;
	f->options = options;
	*ret = f;
	return 0;
}

void gd_frames_destroy(struct gd_frames *frames)
{
	free(frames);
}

/* ---- what part of a stack ------------------------------------------------------------------- */

static uint32_t status_of(const struct gd_grecord *g)
{
	return g->status & ~(uint32_t)GD_G_SCAN;
}

static bool plausible_stack(const struct gd_grecord *g)
{
	return g->stack_lo < g->stack_hi && g->stack_hi - g->stack_lo <= GD_FRAMES_STACK_MAX &&
	       g->stack_hi >> 47 == 0 && g->stack_hi % 8 == 0;
}

static bool within_stack(const struct gd_grecord *g, uint64_t sp)
{
	return sp >= g->stack_lo && sp < g->stack_hi && sp % 8 == 0;
}

struct gd_range gd_frames_used_stack(const struct gd_grecord *g)
{
	struct gd_range none = { 0, 0 };
	if (!plausible_stack(g))
		return none;
	uint64_t sp = g->syscallsp != 0 ? g->syscallsp : g->sp;
	if (status_of(g) == GD_G_RUNNING) {
		/* its sp is not known: the upper end, where a search would look */
		sp = g->stack_hi - g->stack_lo > GD_RUNNING_STACK_MAX ?
		             g->stack_hi - GD_RUNNING_STACK_MAX : g->stack_lo;
		sp = (sp + 7) & ~UINT64_C(7);
	}
	return within_stack(g, sp) ? (struct gd_range){ sp, g->stack_hi } : none;
}

/* Makes the part of the stack from sp on visible, from the copy when it is there. */
static struct gd_stack look_at(struct gd_frames *f, const struct gd_grecord *g, uint64_t sp,
                               const uint8_t *stack, size_t stack_len)
{
	struct gd_stack view = { .hi = g->stack_hi };
	if (stack != NULL && sp >= g->stack_hi - stack_len) {
		view.at = g->stack_hi - stack_len;
		view.len = stack_len;
		view.bytes = stack;
		return view;
	}
	if (g->stack_hi - sp <= sizeof(f->copy)) {
		ssize_t n = gd_memory_read_some(f->go->memory, sp, f->copy,
		                                (size_t)(g->stack_hi - sp));
		view.at = sp;
		view.len = n > 0 ? (size_t)n : 0;
		view.bytes = f->copy;
		return view;
	}
	view.memory = f->go->memory;
	view.window = f->window;
	view.window_bytes = sizeof(f->window);
	return view;
}

/* ---- collecting frames ---------------------------------------------------------------------- */

static uint8_t count_lines(struct gd_frames *f, const struct gd_unwind *u)
{
	return f->options->lines == NULL ?
	               0 : (uint8_t)f->options->lines(f->options->lines_arg, u->site, u->exact);
}

static void add(struct gd_frames *f, const struct gd_unwind *u, size_t n, struct gd_goroutine *out)
{
	/* the innermost half stays, the rest goes round in the other half */
	size_t at = n < HALF ? n : HALF + n % HALF;
	struct gd_frame *frame = &f->list[at];
	if (n >= GD_FRAMES_MAX) {
		out->elided++;
		out->elided_lines += frame->lines;
	}
	size_t len = 0;
	const uint8_t *bytes = NULL;
	if (u->fp != 0)
		bytes = gd_stack_peek(u->stack, u->fp, &len);
	if (u->stack->memory != NULL && u->fp != 0 && u->fp < u->stack->hi) {
		/* the window will move away from under it */
		len = ARGUMENTS_BYTES;
		if (len > u->stack->hi - u->fp)
			len = (size_t)(u->stack->hi - u->fp);
		bytes = gd_stack_at(u->stack, u->fp, len);
		if (bytes != NULL)
			bytes = memcpy(f->arguments[at], bytes, len);
	}
	*frame = (struct gd_frame){
		.site = u->site,
		.pc = u->pc,
		.exact = u->exact,
		.lines = n >= HALF ? count_lines(f, u) : 0,
		.stack = bytes,
		.stack_len = bytes != NULL ? (uint32_t)len : 0,
	};
}

static void finish(struct gd_frames *f, size_t n, struct gd_goroutine *out)
{
	out->frames = f->list;
	out->n_frames = n < GD_FRAMES_MAX ? n : GD_FRAMES_MAX;
	out->n_inner = out->elided > 0 ? HALF : out->n_frames;
	size_t oldest = n % HALF;
	if (n <= GD_FRAMES_MAX || oldest == 0)
		return;
	memcpy(f->turned, f->list + HALF, sizeof(f->turned));
	memcpy(f->list + HALF, f->turned + oldest, (HALF - oldest) * sizeof(*f->list));
	memcpy(f->list + GD_FRAMES_MAX - oldest, f->turned, oldest * sizeof(*f->list));
}

static void unwind(struct gd_frames *f, struct gd_stack *view, uint64_t pc, uint64_t sp,
                   enum gd_unwind_from from, struct gd_goroutine *out)
{
	struct gd_unwind u;
	size_t n = 0;
	out->elided = out->elided_lines = 0;
	gd_unwind_begin(&u, f->go->symbols, view, pc, sp, from);
	while (u.site != NULL) {
		add(f, &u, n++, out);
		gd_unwind_next(&u);
		if (n % CANCEL_EVERY == 0 && f->options->cancelled != NULL &&
		    *f->options->cancelled != 0) {
			u.end = GD_UNWIND_TOO_DEEP;
			break;
		}
	}
	finish(f, n, out);
	out->end = u.end;
}

/* ---- running goroutines --------------------------------------------------------------------- */

static bool is_function(const struct gd_site *site, const char *name)
{
	return site != NULL && strcmp(site->lines[site->n_lines - 1].function, name) == 0;
}

/* Runs on the system stack and has left its own: registers are saved as if it were waiting. */
static bool on_system_stack(struct gd_frames *f, const struct gd_grecord *g)
{
	return within_stack(g, g->sp) &&
	       is_function(gd_symbols_site(f->go->symbols, g->pc, true),
	                   "runtime.systemstack_switch");
}

/* A word of the m it runs on. */
static bool read_m(struct gd_frames *f, const struct gd_grecord *g, int32_t offset, uint64_t *ret)
{
	return g->m != 0 && offset != GD_ABSENT &&
	       gd_memory_read_u64(f->go->memory, g->m + (uint64_t)(int64_t)offset, ret, NULL) == 0;
}

static bool saved_by_vdso_call(struct gd_frames *f, const struct gd_grecord *g, uint64_t *pc,
                               uint64_t *sp)
{
	const struct gd_layout *l = &f->go->layout;
	return read_m(f, g, l->m_vdso_sp, sp) && read_m(f, g, l->m_vdso_pc, pc) &&
	       within_stack(g, *sp);
}

/* Is it still the same goroutine on the same stack, running on the same thread? */
static bool still_there(struct gd_frames *f, const struct gd_grecord *g)
{
	uint8_t bytes[GD_GRECORD_BYTES_MAX] = { 0 };
	struct gd_grecord now;
	const struct gd_layout *l = &f->go->layout;
	if (gd_memory_read(f->go->memory, g->addr, bytes, gd_grecord_bytes(l), NULL) < 0)
		return false;
	gd_grecord_parse(l, bytes, g->addr, &now);
	return now.goid == g->goid && now.stack_hi == g->stack_hi && now.m == g->m &&
	       status_of(&now) == GD_G_RUNNING;
}

/* 1 frames found, 0 none, -1 it has moved on meanwhile. */
static int from_registers(struct gd_frames *f, const struct gd_grecord *g,
                          struct gd_goroutine *out)
{
	uint64_t tid = 0;
	struct gd_thread_registers regs;
	if (f->options->registers == NULL || !read_m(f, g, f->go->layout.m_procid, &tid))
		return 0;
	for (int try = 0; try < REGISTERS_TRIES; try++) {
		if (f->options->registers(f->options->registers_arg, tid, &regs) < 0)
			return 0;
		if (!still_there(f, g))
			return -1;
		if (!within_stack(g, regs.sp))
			continue; /* in the scheduler or the like: back in no time */
		struct gd_stack view = { .hi = g->stack_hi, .at = regs.sp,
			                 .len = regs.stack != NULL ? regs.stack_len : 0,
			                 .bytes = regs.stack };
		if (view.len > g->stack_hi - regs.sp)
			view.len = (size_t)(g->stack_hi - regs.sp);
		/* beyond the copy lie callers, which stay as they are for a while */
		view.memory = f->go->memory;
		view.window = f->window;
		view.window_bytes = sizeof(f->window);
		unwind(f, &view, regs.pc, regs.sp, GD_UNWIND_TRAP, out);
		if (gd_unwind_complete(out->end))
			return 1;
	}
	return 0;
}

static bool from_search(struct gd_frames *f, const struct gd_grecord *g, const uint8_t *before,
                        size_t before_len, struct gd_goroutine *out)
{
	struct gd_range part = gd_frames_used_stack(g);
	struct gd_stack view = look_at(f, g, part.start, NULL, 0);
	if (part.start == part.end || view.len != part.end - part.start)
		return false;
	size_t n = gd_running_search(f->go->symbols, f->go->memory, &view,
	                             before_len == view.len ? before : NULL, g->startpc, f->links);
	/* goexit alone says nothing */
	if (n < 2)
		return false;
	unwind(f, &view, f->links[0].pc, f->links[0].sp, GD_UNWIND_SAVED, out);
	return out->end == GD_UNWIND_ROOT;
}

static void unwind_running(struct gd_frames *f, const struct gd_grecord *g, const uint8_t *stack,
                           size_t stack_len, struct gd_goroutine *out)
{
	uint64_t pc, sp;
	out->frames_are = GD_FRAMES_EXACT;
	if (g->syscallsp != 0 && within_stack(g, g->syscallsp)) {
		struct gd_stack view = look_at(f, g, g->syscallsp, stack, stack_len);
		unwind(f, &view, g->syscallpc, g->syscallsp, GD_UNWIND_SYSCALL, out);
		if (gd_unwind_complete(out->end))
			return;
	}
	if (on_system_stack(f, g)) {
		struct gd_stack view = look_at(f, g, g->sp, stack, stack_len);
		unwind(f, &view, g->pc, g->sp, GD_UNWIND_SAVED, out);
		if (gd_unwind_complete(out->end))
			return;
	}
	int registers = from_registers(f, g, out);
	if (registers > 0)
		return;
	if (registers < 0) {
		out->frames_are = GD_FRAMES_TORN;
		return;
	}
	if (saved_by_vdso_call(f, g, &pc, &sp)) {
		struct gd_stack view = look_at(f, g, sp, NULL, 0);
		unwind(f, &view, pc, sp, GD_UNWIND_SAVED, out);
		if (gd_unwind_complete(out->end))
			return;
	}
	out->frames_are = GD_FRAMES_APPROXIMATE;
	if (from_search(f, g, stack, stack_len, out))
		return;
	out->frames_are = GD_FRAMES_NONE;
	out->n_frames = out->n_inner = 0;
	out->elided = out->elided_lines = 0;
	out->end = GD_UNWIND_GOING;
}

/* ---- all together --------------------------------------------------------------------------- */

static void unwind_saved(struct gd_frames *f, const struct gd_grecord *g, const uint8_t *stack,
                         size_t stack_len, struct gd_goroutine *out)
{
	uint64_t sp = g->syscallsp != 0 ? g->syscallsp : g->sp;
	uint64_t pc = g->syscallsp != 0 ? g->syscallpc : g->pc;
	out->frames_are = GD_FRAMES_TORN;
	out->end = GD_UNWIND_LOST_SP;
	if (status_of(g) == GD_G_COPYSTACK || !plausible_stack(g) || !within_stack(g, sp))
		return;
	struct gd_stack view = look_at(f, g, sp, stack, stack_len);
	unwind(f, &view, pc, sp, g->syscallsp != 0 ? GD_UNWIND_SYSCALL : GD_UNWIND_SAVED, out);
	if (gd_unwind_complete(out->end))
		out->frames_are = GD_FRAMES_EXACT;
}

/*
 * As runtime.isSystemGoroutine.  The finalizer and cleanup goroutines are the user's while they
 * call back into his code, which we see by what is on their stack.
 */
static bool is_system(const struct gd_goroutine *g)
{
	if (g->entry == NULL)
		return false;
	const char *name = g->entry->lines[g->entry->n_lines - 1].function;
	if (strncmp(name, "runtime.", 8) != 0)
		return false;
	name += 8;
	if (strcmp(name, "main") == 0 || strcmp(name, "handleAsyncEvent") == 0 ||
	    strcmp(name, "corostart") == 0)
		return false;
	if (strcmp(name, "runfinq") != 0 && strcmp(name, "runFinalizers") != 0 &&
	    strcmp(name, "runCleanups") != 0)
		return true;
	for (size_t i = 0; i < g->n_frames; i++)
		for (unsigned k = 0; k < g->frames[i].site->n_lines; k++)
			if (strncmp(g->frames[i].site->lines[k].function, "runtime.", 8) != 0)
				return false;
	return true;
}

/* Were all sites looked up again without the cache having been emptied under them? */
static bool settle(struct gd_frames *f, const struct gd_grecord *g, struct gd_goroutine *out)
{
	struct gd_symbols *symbols = f->go->symbols;
	uint64_t generation = gd_symbols_generation(symbols);
	for (size_t i = 0; i < out->n_frames; i++) {
		f->list[i].site = gd_symbols_site(symbols, f->list[i].pc, f->list[i].exact);
		if (f->list[i].site == NULL)
			return false;
	}
	out->creator = gd_symbols_site(symbols, g->gopc, false);
	out->entry = gd_symbols_site(symbols, g->startpc, true);
	return generation == gd_symbols_generation(symbols);
}

void gd_frames_unwind(struct gd_frames *f, const struct gd_grecord *g, const uint8_t *stack,
                      size_t stack_len, struct gd_goroutine *out)
{
	struct gd_symbols *symbols = f->go->symbols;
	if (stack_len == 0)
		stack = NULL;
	out->frames = f->list;
	out->n_frames = out->n_inner = 0;
	out->creator = gd_symbols_site(symbols, g->gopc, false);
	uint64_t generation = gd_symbols_generation(symbols);
	out->entry = gd_symbols_site(symbols, g->startpc, true);
	if (status_of(g) == GD_G_RUNNING && plausible_stack(g))
		unwind_running(f, g, stack, stack_len, out);
	else
		unwind_saved(f, g, stack, stack_len, out);
	if (generation != gd_symbols_generation(symbols) && !settle(f, g, out) &&
	    !settle(f, g, out)) {
		out->frames_are = GD_FRAMES_TORN;
		out->n_frames = out->n_inner = 0;
	}
	out->system = is_system(out);
}
