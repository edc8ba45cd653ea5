#include "golang/unwind.h"

#include <string.h>

#include "base/bytes.h"

const uint8_t *gd_stack_peek(const struct gd_stack *stack, uint64_t addr, size_t *ret_n)
{
	if (addr < stack->at || addr - stack->at >= stack->len) {
		*ret_n = 0;
		return NULL;
	}
	*ret_n = stack->len - (size_t)(addr - stack->at);
	return stack->bytes + (addr - stack->at);
}

/* Moves the window up to addr. */
static __attribute__((noinline)) bool move(struct gd_stack *stack, uint64_t addr)
{
	if (stack->memory == NULL)
		return false;
	size_t n = stack->window_bytes;
	if (n > stack->hi - addr)
		n = (size_t)(stack->hi - addr);
	ssize_t got = gd_memory_read_some(stack->memory, addr, stack->window, n);
	if (got <= 0)
		return false;
	stack->at = addr;
	stack->len = (size_t)got;
	stack->bytes = stack->window;
	return true;
}

const uint8_t *gd_stack_at(struct gd_stack *stack, uint64_t addr, size_t n)
{
	for (int i = 0; i < 2; i++) {
		if (addr >= stack->at && addr - stack->at <= stack->len &&
		    n <= stack->len - (addr - stack->at))
			return stack->bytes + (addr - stack->at);
		if (addr >= stack->hi || n > stack->hi - addr || !move(stack, addr))
			return NULL;
	}
	return NULL;
}

/*
 * Functions the unwinder must know.  By name and not by function id: ids are numbered anew by most
 * releases, names are what the linker derives them from.
 */
enum special { ORDINARY, INJECTED_CALL, CGO_CALLBACK };

static enum special special(const struct gd_site *site)
{
	const char *name = site->lines[site->n_lines - 1].function;
	if (strncmp(name, "runtime.", 8) != 0)
		return ORDINARY;
	switch (name[8]) {
	case 's':
		return strcmp(name + 8, "sigpanic") == 0 ? INJECTED_CALL : ORDINARY;
	case 'a':
		return strcmp(name + 8, "asyncPreempt") == 0 ? INJECTED_CALL : ORDINARY;
	case 'd':
		return strcmp(name + 8, "debugCallV2") == 0 ? INJECTED_CALL : ORDINARY;
	case 'c':
		return strcmp(name + 8, "cgocallback") == 0 ? CGO_CALLBACK : ORDINARY;
	default:
		return ORDINARY;
	}
}

static void end(struct gd_unwind *u, enum gd_unwind_end how)
{
	u->lr = 0;
	u->end = how;
}

/* Finds the return address of the frame at pc, sp. */
static void resolve(struct gd_unwind *u, bool syscall)
{
	const struct gd_site *site = u->site;
	u->fp = 0;
	if (site->sp_delta >= 0)
		u->fp = u->sp + (uint64_t)site->sp_delta + 8; /* CALL pushed the return address */
	if (site->flag & GD_FUNC_TOP_FRAME) {
		end(u, GD_UNWIND_ROOT);
		return;
	}
	/*
	 * cgocallback and the system calls that saved their way back beforehand do write to SP, but
	 * what they saved is good.
	 */
	if ((site->flag & GD_FUNC_SP_WRITE) && !syscall && special(site) != CGO_CALLBACK) {
		end(u, GD_UNWIND_SWITCHED);
		return;
	}
	if (u->fp == 0 || u->fp <= u->sp || ++u->n > GD_UNWIND_FRAMES_MAX) {
		end(u, u->n > GD_UNWIND_FRAMES_MAX ? GD_UNWIND_TOO_DEEP : GD_UNWIND_LOST_SP);
		return;
	}
	const uint8_t *slot = gd_stack_at(u->stack, u->fp - 8, 8);
	if (slot == NULL) {
		end(u, GD_UNWIND_LOST_SP);
		return;
	}
	u->lr = gd_load_u64(slot);
	if (u->lr == 0)
		end(u, GD_UNWIND_LOST_PC);
}

void gd_unwind_begin(struct gd_unwind *u, struct gd_symbols *symbols, struct gd_stack *stack,
                     uint64_t pc, uint64_t sp, enum gd_unwind_from from)
{
	*u = (struct gd_unwind){ .symbols = symbols, .stack = stack, .pc = pc, .sp = sp };
	u->exact = from == GD_UNWIND_TRAP;
	if (pc == 0) {
		/* a call of a nil function: its caller is on top of the stack */
		const uint8_t *top = gd_stack_at(stack, sp, 8);
		if (top == NULL) {
			u->end = GD_UNWIND_LOST_SP;
			return;
		}
		u->pc = gd_load_u64(top);
		u->sp += 8;
		u->exact = false;
	}
	u->site = gd_symbols_site(symbols, u->pc, u->exact);
	if (u->site == NULL) {
		u->end = GD_UNWIND_LOST_PC;
		return;
	}
	resolve(u, from == GD_UNWIND_SYSCALL);
}

void gd_unwind_next(struct gd_unwind *u)
{
	const struct gd_site *callee = u->site;
	if (callee == NULL)
		return;
	u->site = NULL;
	if (u->lr == 0)
		return;
	/* a signal handler made this call appear: the caller stands on the instruction itself */
	bool exact = special(callee) == INJECTED_CALL;
	const struct gd_site *site = gd_symbols_site(u->symbols, u->lr, exact);
	if (site == NULL) {
		u->end = GD_UNWIND_LOST_PC;
		return;
	}
	u->site = site;
	u->exact = exact;
	u->pc = u->lr;
	u->sp = u->fp;
	resolve(u, false);
}

const char *gd_unwind_end_name(enum gd_unwind_end end)
{
	switch (end) {
	case GD_UNWIND_GOING:
		return "going";
	case GD_UNWIND_ROOT:
		return "root";
	case GD_UNWIND_SWITCHED:
		return "stack switch";
	case GD_UNWIND_LOST_PC:
		return "return address outside Go code";
	case GD_UNWIND_LOST_SP:
		return "left the stack";
	case GD_UNWIND_TOO_DEEP:
		return "too deep";
	}
	return "?";
}
