#include "collectors/perf_stack.h"

#include <string.h>

#include "base/bytes.h"
#include "golang/unwind.h"

enum {
	CHAIN_MAX = 256, /* the kernel's own limit is 127, more if somebody raised it */
};

const char *gd_perf_stack_end_name(enum gd_perf_stack_end end)
{
	static const char *const names[GD_PERF_ENDS] = {
		[GD_PERF_END_ROOT] = "root",       [GD_PERF_END_SWITCH] = "stack_switch",
		[GD_PERF_END_NATIVE] = "native",   [GD_PERF_END_DEEP] = "too_deep",
		[GD_PERF_END_LOST] = "lost",       [GD_PERF_END_NONE] = "none",
	};
	return names[end];
}

struct walk {
	struct gd_go *go;
	struct gd_native_unwind *native;
	const struct gd_maps *maps;
	const struct gd_perf_record *sample;
	struct gd_perf_stack *to;
	uint64_t chain[CHAIN_MAX]; /* by frame pointers; [0] is where execution was */
	size_t n_chain;
	bool done; /* `to->end` is known */
};

static void end(struct walk *w, enum gd_perf_stack_end how)
{
	w->to->end = how;
	w->done = true;
}

static void add(struct walk *w, uint64_t pc, enum gd_perf_frame_kind kind, bool exact,
                bool inferred)
{
	if (w->to->n == GD_PERF_DEPTH_MAX) {
		if (!w->done)
			end(w, GD_PERF_END_DEEP);
		return;
	}
	w->to->list[w->to->n++] = (struct gd_perf_frame){ .pc = pc, .kind = (uint8_t)kind,
		                                          .exact = exact, .inferred = inferred };
}

static const struct gd_site *site_of(struct walk *w, uint64_t pc, bool exact)
{
	return w->go != NULL ? gd_symbols_site(w->go->symbols, pc, exact) : NULL;
}

static const char *function_of(const struct gd_site *site)
{
	return site->lines[site->n_lines - 1].function;
}

/*
 * Functions after which no caller waits on the same or on another stack: they begin the work of a
 * scheduler's stack.  What they were called from has been put aside and is no part of what runs.
 */
static bool begins_anew(const struct gd_site *site)
{
	const char *name = function_of(site);
	return strcmp(name, "runtime.mcall") == 0 || strcmp(name, "runtime.rt0_go") == 0 || strcmp(name, "runtime.mstart") == 0 ||
	       strcmp(name, "runtime.mstart0") == 0;
}

static bool is_root(const struct gd_site *site)
{
	return (site->flag & GD_FUNC_TOP_FRAME) != 0;
}

/* ---- the chain by frame pointers ------------------------------------------------------------- */

/*
 * The entry that the CALL before a return address names, 0 when it names none.  x86-64: E8 rel32.
 */
static uint64_t called_from(struct walk *w, uint64_t ret)
{
#if defined(__x86_64__)
	uint8_t code[5];
	if (gd_memory_read(w->go->memory, ret - sizeof(code), code, sizeof(code), NULL) == 0 &&
	    code[0] == 0xe8)
		return ret + (uint64_t)(int64_t)(int32_t)gd_load_u32(code + 1);
#else
	(void)w;
	(void)ret;
#endif
	return 0;
}

/*
 * The chain says that the last frame returns to `ret`.  But a frame pointer skips the caller of a
 * function without a frame of its own: then the CALL there names somebody else.
 */
static void add_skipped(struct walk *w, uint64_t ret)
{
	const struct gd_perf_frame *last = &w->to->list[w->to->n - 1];
	const struct gd_site *callee = site_of(w, last->pc, last->exact || last->inferred);
	uint64_t entry = callee != NULL ? callee->entry : 0;
	uint64_t called = called_from(w, ret);
	if (called == 0 || called == entry)
		return;
	const struct gd_site *site = site_of(w, called, true);
	/* Not the beginning of a function: what looked like a CALL was none. */
	if (site != NULL && site->entry == called && !is_root(site))
		add(w, called, GD_PERF_FRAME_GO, true, true);
}

/* Could somebody return there? */
static bool is_code(const struct walk *w, uint64_t pc)
{
	const struct gd_map *map = gd_maps_find(w->maps, pc);
	return map != NULL && map->exec;
}

/* All that is left of the chain from its entry `at` on. */
static void follow_chain(struct walk *w, size_t at)
{
	for (; at < w->n_chain && !w->done; at++) {
		uint64_t pc = w->chain[at];
		const struct gd_site *site = site_of(w, pc, false);
		if (site == NULL && !is_code(w, pc))
			break; /* the register held something else */
		if (site == NULL) {
			add(w, pc, GD_PERF_FRAME_NATIVE, false, false);
			w->to->by_pointer++;
			continue;
		}
		add_skipped(w, pc);
		site = site_of(w, pc, false);
		add(w, pc, GD_PERF_FRAME_GO, false, false);
		if (site != NULL && is_root(site))
			end(w, GD_PERF_END_ROOT);
		else if (site != NULL && begins_anew(site))
			end(w, GD_PERF_END_SWITCH);
	}
	if (w->done)
		return;
	const struct gd_perf_frame *last = &w->to->list[w->to->n - 1];
	const struct gd_site *site = site_of(w, last->pc, last->exact);
	/* A stack that grows: newer releases clear the frame pointer there. */
	if (site != NULL && strcmp(function_of(site), "runtime.morestack") == 0)
		end(w, GD_PERF_END_SWITCH);
	else
		end(w, last->kind == GD_PERF_FRAME_NATIVE ? GD_PERF_END_NATIVE : GD_PERF_END_DEEP);
}

/* Where in the chain the outermost frame is that both walkers know; 0: nowhere. */
static size_t common(const struct walk *w, size_t first)
{
	const struct gd_perf_stack *s = w->to;
	for (size_t i = s->n; i-- > first;)
		for (size_t at = 1; at < w->n_chain; at++)
			if (w->chain[at] == s->list[i].pc && !s->list[i].exact)
				return at;
	return 0;
}

/*
 * Where in the chain the return address is that lies beside this frame pointer: the kernel went from one
 * to the next, and as far as the copy goes so can we.  0: it never came there, or nobody can tell.
 */
static size_t chain_of(const struct walk *w, struct gd_stack *stack, uint64_t fp)
{
	uint64_t at = gd_perf_record_reg(w->sample, GD_PERF_BP);
	for (size_t i = 1; i < w->n_chain; i++) {
		if (at == fp)
			return i;
		const uint8_t *pair = gd_stack_at(stack, at, 16);
		if (pair == NULL || gd_load_u64(pair + 8) != w->chain[i])
			return 0;
		at = gd_load_u64(pair);
	}
	return 0;
}

/* The walk over the copy cannot go on; `fallback`: where the chain does if nothing is common, 0 no. */
static void splice(struct walk *w, size_t first, size_t fallback, enum gd_perf_stack_end otherwise)
{
	size_t at = common(w, first);
	if (at == 0 && fallback == 0) {
		end(w, otherwise);
		return;
	}
	w->to->spliced = true;
	follow_chain(w, at != 0 ? at + 1 : fallback);
}

/* ---- over the copy --------------------------------------------------------------------------- */

static struct gd_stack copy_of(const struct walk *w)
{
	uint64_t sp = gd_perf_record_reg(w->sample, GD_PERF_SP);
	return (struct gd_stack){ .at = sp, .hi = sp + w->sample->stack_len,
		                  .len = w->sample->stack_len, .bytes = w->sample->stack };
}

/*
 * The kernel has put what a signal interrupted right behind sigtramp's return address: struct ucontext
 * (asm/ucontext.h, asm/sigcontext.h).  Its own stack is not in the copy, but the frame pointer is still
 * its.
 */
static bool walk_interrupted(struct walk *w, struct gd_stack *stack, uint64_t context, size_t first)
{
#if defined(__x86_64__)
	enum { RIP = 40 + 16 * 8 };
	const uint8_t *word = gd_stack_at(stack, context - 8, 8);
	uint64_t restorer = word != NULL ? gd_load_u64(word) : 0;
	word = gd_stack_at(stack, context + RIP, 8);
	if (word == NULL)
		return false;
	uint64_t pc = gd_load_u64(word);
	bool is_go = site_of(w, pc, true) != NULL;
	/* Where execution was is the chain's first; else it goes on behind what both know. */
	size_t at = common(w, first);
	if (pc == 0 || (at == 0 && w->to->n > first + 1))
		return false;
	add(w, pc, is_go ? GD_PERF_FRAME_GO : GD_PERF_FRAME_NATIVE, true, false);
	w->to->spliced = true;
	/* Where the handler returns to, for releases that leave a frame for it, is no caller. */
	at++;
	if (at < w->n_chain && w->chain[at] == restorer)
		at++;
	follow_chain(w, at);
	return true;
#else
	(void)w;
	(void)stack;
	(void)context;
	(void)first;
	return false;
#endif
}

struct entry {
	uint64_t pc, sp;
	enum gd_unwind_from from;
	bool by_native;  /* it has called native code, which was unwound */
	size_t chain_at; /* by_native: as leave_native has it */
};
static void walk_go(struct walk *w, struct gd_stack *stack, const struct entry *entry);

/* asmcgocall was called on the thread's stack already: its caller is where that was, behind the frame
 * pointer where such assembly saves it. */
static bool stay(struct walk *w, struct gd_stack *stack, uint64_t sp)
{
	for (int i = 0; i < 2; i++, sp += 8) {
		const uint8_t *word = gd_stack_at(stack, sp, 8);
		struct entry caller = { .pc = word != NULL ? gd_load_u64(word) : 0, .sp = sp + 8,
			                .from = GD_UNWIND_SAVED };
		if (caller.pc == 0 || site_of(w, caller.pc, false) == NULL)
			continue;
		walk_go(w, stack, &caller);
		return true;
	}
	return false;
}

/*
 * What asmcgocall keeps on the thread's stack (runtime/asm_amd64.s, 1.18 to 1.27): g and how deep in its
 * stack it was, or 0 and the stack pointer when it did not change stacks.
 */
static void leave_asmcgocall(struct walk *w, struct gd_stack *stack, uint64_t sp)
{
	int minor = w->go->version.minor;
	const uint8_t *pair = gd_stack_at(stack, sp + (minor >= 18 && minor < 22 ? 40 : 0), 16);
	uint64_t depth = pair != NULL ? gd_load_u64(pair) : 0;
	uint64_t g = pair != NULL ? gd_load_u64(pair + 8) : 0;
	if (g == 0 && depth > sp && stay(w, stack, depth))
		return;
	w->to->left_depth = g != 0 ? depth : 0;
	w->to->left_g = g;
	end(w, GD_PERF_END_NATIVE);
}

/*
 * Assembly has called native code from where the thread's stack was at sp; the frame pointer that it had
 * is `chain_at` of the chain (0: nobody knows).  It has changed stacks, and what the goroutine's own is
 * like only the chain tells.
 */
static void leave_native(struct walk *w, struct gd_stack *stack, uint64_t sp, size_t chain_at)
{
	const struct gd_site *site = site_of(w, w->to->list[w->to->n - 1].pc, false);
	if (chain_at != 0) {
		w->to->spliced = true;
		follow_chain(w, chain_at);
		return;
	}
	if (site != NULL && strncmp(function_of(site), "runtime.asmcgocall", 18) == 0)
		leave_asmcgocall(w, stack, sp);
	else
		end(w, GD_PERF_END_NATIVE);
}

static void walk_native(struct walk *w, struct gd_stack *stack, struct gd_native_frame *frame);

/*
 * Go's assembly that C has called on the stack they share (crosscall2, _cgo_topofstack): on in C.  Of C's
 * registers only sp is certain; where nothing has a frame yet also those that it must find again.
 */
static bool return_to_native(struct walk *w, struct gd_stack *stack, const struct gd_unwind *u,
                             bool frameless)
{
	struct gd_native_frame frame;
	if (u->end != GD_UNWIND_LOST_PC || u->lr == 0 || u->fp == 0 || !is_code(w, u->lr))
		return false;
	gd_native_frame_of(w->sample, &frame);
	frame.known = (frameless ? GD_CFI_KEPT : 0) | UINT64_C(1) << GD_CFI_SP;
	frame.reg[GD_CFI_SP] = u->fp;
	frame.pc = u->lr;
	frame.exact = false;
	add(w, frame.pc, GD_PERF_FRAME_NATIVE, false, false);
	walk_native(w, stack, &frame);
	return true;
}

/* A frame's caller in its own copy is always right; what comes behind the end is the chain's. */
static void walk_go(struct walk *w, struct gd_stack *stack, const struct entry *entry)
{
	struct gd_unwind u;
	size_t first = w->to->n;
	bool anew = false, frameless = false;
	gd_unwind_begin(&u, w->go->symbols, stack, entry->pc, entry->sp, entry->from);
	for (; u.site != NULL && !w->done; gd_unwind_next(&u)) {
		anew = begins_anew(u.site);
		frameless = u.exact && u.site->sp_delta == 0;
		/* What Go pretends to have called while another stack is in use, when C calls back. */
		if (u.exact || strcmp(function_of(u.site), "runtime.systemstack_switch") != 0)
			add(w, u.pc, GD_PERF_FRAME_GO, u.exact, false);
		if (strcmp(function_of(u.site), "runtime.sigtramp") == 0 && u.fp != 0 &&
		    walk_interrupted(w, stack, u.fp, first))
			return;
	}
	if (w->done)
		return;
	/* Assembly that has just changed stacks is where execution was, or has called what is: nothing
	 * here has a frame yet, and the caller is the chain's next. */
	bool fresh = entry->from == GD_UNWIND_TRAP && w->to->n <= first + 2;
	switch (u.end) {
	case GD_UNWIND_ROOT:
		end(w, GD_PERF_END_ROOT);
		return;
	case GD_UNWIND_SWITCHED:
		if (anew)
			end(w, GD_PERF_END_SWITCH);
		else if (entry->by_native && w->to->n == first + 1)
			leave_native(w, stack, u.sp, entry->chain_at);
		else
			splice(w, first, fresh ? 1 : 0, GD_PERF_END_SWITCH);
		return;
	case GD_UNWIND_LOST_PC:
		if (return_to_native(w, stack, &u, frameless))
			return;
		break;
	case GD_UNWIND_GOING:
	case GD_UNWIND_LOST_SP:
	case GD_UNWIND_TOO_DEEP:
		break;
	}
	splice(w, first, 0, u.end == GD_UNWIND_LOST_SP ? GD_PERF_END_DEEP : GD_PERF_END_LOST);
}

/* Is the caller of native code Go?  Then the rest is Go's. */
static bool enter_go(struct walk *w, struct gd_stack *stack, const struct gd_native_frame *frame)
{
	if (site_of(w, frame->pc, frame->exact) == NULL)
		return false;
	struct entry entry = { .pc = frame->pc, .sp = frame->reg[GD_CFI_SP],
		               .from = frame->exact ? GD_UNWIND_TRAP : GD_UNWIND_SAVED,
		               .by_native = !frame->exact };
	if (gd_native_frame_knows(frame, GD_CFI_BP))
		entry.chain_at = chain_of(w, stack, frame->reg[GD_CFI_BP]);
	walk_go(w, stack, &entry);
	return true;
}

/*
 * What the copy has is used up.  The chain leads on where the return address that is missing is the one
 * beside a frame pointer.
 */
static void leave_copy(struct walk *w, struct gd_stack *stack, const struct gd_native_frame *frame,
                       enum gd_perf_stack_end otherwise)
{
	size_t at = frame->ret_at != 0 ? chain_of(w, stack, frame->ret_at - 8) : 0;
	if (at == 0) {
		end(w, otherwise);
		return;
	}
	w->to->spliced = true;
	follow_chain(w, at);
}

/* In native code, until a return address lies in Go's. */
static void walk_native(struct walk *w, struct gd_stack *stack, struct gd_native_frame *frame)
{
	while (!w->done) {
		enum gd_native_step step = w->native != NULL ?
			gd_native_unwind_step(w->native, stack, frame) : GD_NATIVE_NO_RULES;
		bool by_pointer = step == GD_NATIVE_NO_RULES;
		if (by_pointer)
			step = gd_native_unwind_by_pointer(stack, frame);
		if (step == GD_NATIVE_ROOT)
			end(w, GD_PERF_END_ROOT);
		else if (step == GD_NATIVE_BEYOND)
			leave_copy(w, stack, frame,
			           by_pointer ? GD_PERF_END_NATIVE : GD_PERF_END_DEEP);
		else if (step != GD_NATIVE_CALLER)
			end(w, GD_PERF_END_LOST);
		if (w->done)
			return;
		/* Where a handler returns to nobody has called: it is the first instruction there. */
		if (frame->exact && w->to->list[w->to->n - 1].kind == GD_PERF_FRAME_NATIVE)
			w->to->list[w->to->n - 1].exact = true;
		if (enter_go(w, stack, frame))
			return;
		if (!is_code(w, frame->pc)) { /* the register or the word held something else */
			end(w, by_pointer ? GD_PERF_END_NATIVE : GD_PERF_END_LOST);
			return;
		}
		add(w, frame->pc, GD_PERF_FRAME_NATIVE, frame->exact, false);
		w->to->by_cfi += !by_pointer;
		w->to->by_pointer += by_pointer;
	}
}

static void walk_user(struct walk *w)
{
	bool copied = w->sample->regs != NULL && w->sample->stack != NULL;
	uint64_t pc = copied ? gd_perf_record_reg(w->sample, GD_PERF_PC)
	                     : (w->n_chain > 0 ? w->chain[0] : 0);
	if (pc == 0 && w->n_chain == 0 && !copied) {
		end(w, GD_PERF_END_NONE);
		return;
	}
	struct gd_stack stack = copied ? copy_of(w) : (struct gd_stack){ .hi = 0 };
	bool is_go = site_of(w, pc, true) != NULL || (w->go != NULL && copied && pc == 0);
	if (is_go && copied) {
		const struct entry entry = { .pc = pc, .sp = stack.at, .from = GD_UNWIND_TRAP };
		walk_go(w, &stack, &entry);
		return;
	}
	add(w, pc, is_go ? GD_PERF_FRAME_GO : GD_PERF_FRAME_NATIVE, true, false);
	if (!copied) {
		follow_chain(w, 1);
		return;
	}
	struct gd_native_frame frame;
	gd_native_frame_of(w->sample, &frame);
	walk_native(w, &stack, &frame);
}

void gd_perf_stack_of(struct gd_go *go, struct gd_native_unwind *native, const struct gd_maps *maps,
                      const struct gd_perf_record *sample, struct gd_perf_stack *ret)
{
	struct walk w = { .go = go, .native = native, .maps = maps, .sample = sample, .to = ret };
	ret->n = ret->by_cfi = ret->by_pointer = 0;
	ret->spliced = false;
	ret->left_g = ret->left_depth = 0;
	w.n_chain = gd_perf_record_chain(sample, GD_PERF_KERNEL_HALF, w.chain, CHAIN_MAX);
	for (size_t i = 0; i < w.n_chain; i++)
		add(&w, w.chain[i], GD_PERF_FRAME_KERNEL, i == 0 && sample->in_kernel, false);
	ret->n_kernel = ret->n;
	w.n_chain = gd_perf_record_chain(sample, GD_PERF_USER_HALF, w.chain, CHAIN_MAX);
	w.done = false;
	walk_user(&w);
	if (ret->n > 0)
		return;
	/* A chain that was empty: where it was is known all the same. */
	add(&w, sample->pc, sample->in_kernel ? GD_PERF_FRAME_KERNEL : GD_PERF_FRAME_NATIVE, true,
	    false);
	ret->n_kernel = sample->in_kernel ? 1 : 0;
}

void gd_perf_stack_insert_first(struct gd_perf_stack *stack, uint64_t entry)
{
	if (stack->n == 0 || stack->n == GD_PERF_DEPTH_MAX)
		return;
	stack->list[stack->n] = stack->list[stack->n - 1];
	stack->list[stack->n - 1] = (struct gd_perf_frame){ .pc = entry, .kind = GD_PERF_FRAME_GO,
		                                            .exact = true, .inferred = true };
	stack->n++;
}
