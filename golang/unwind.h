#pragma once
/*
 * Steps through the frames of one Go stack, innermost first, with nothing but the pclntab's stack
 * depths: no frame pointers, no DWARF.  It follows the rules of Go's own unwinder (runtime/
 * traceback.go, 1.18 to 1.27) except that what makes Go throw makes us stop and say why.
 *
 * It reads one stack only.  A goroutine which runs on its thread's system stack is unwound from
 * where it left its own.  Foreign bytes: every step moves up the stack, so it ends.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "golang/symbols.h"
#include "target/memory.h"

/*
 * A stack seen through a window.  With memory NULL only [at, at + len) is there; otherwise the
 * window is moved up through the memory as needed, which is how a stack of 1 GB is unwound.
 */
struct gd_stack {
	uint64_t hi; /* exclusive end of the stack */
	uint64_t at; /* address of bytes[0] */
	size_t len;
	const uint8_t *bytes;
	struct gd_memory *memory;
	uint8_t *window; /* where to read to; bytes points here once it moved */
	size_t window_bytes;
};

/* n bytes at addr, or NULL when they are not within the stack or not readable.  Valid until the
 * next call. */
const uint8_t *gd_stack_at(struct gd_stack *stack, uint64_t addr, size_t n);

/* The bytes from addr on that are at hand without moving the window. */
const uint8_t *gd_stack_peek(const struct gd_stack *stack, uint64_t addr, size_t *ret_n);

enum gd_unwind_from {
	GD_UNWIND_SAVED,   /* g.sched and the like: pc is a return address */
	GD_UNWIND_SYSCALL, /* g.syscallpc, g.syscallsp */
	GD_UNWIND_TRAP,    /* registers: pc is the instruction itself */
};

enum gd_unwind_end {
	GD_UNWIND_GOING,
	GD_UNWIND_ROOT,     /* a function that begins a stack: goexit, mstart, rt0_go */
	GD_UNWIND_SWITCHED, /* assembly that moves SP in a way no table tells; Go stops here too */
	GD_UNWIND_LOST_PC,  /* a return address outside Go code */
	GD_UNWIND_LOST_SP,  /* out of the stack, or no depth known for this pc */
	GD_UNWIND_TOO_DEEP, /* our ceiling */
};

/* More than a stack of 1 GB can hold of real frames. */
#define GD_UNWIND_FRAMES_MAX (32u << 20)

struct gd_unwind {
	struct gd_symbols *symbols;
	struct gd_stack *stack;
	/* The current frame; site is NULL after the last one. */
	const struct gd_site *site;
	uint64_t pc, sp;
	uint64_t fp;   /* the caller's sp: where arguments on the stack begin; 0 when not known */
	bool exact;    /* pc is the instruction itself, as gd_symbols_site has it */
	/* Private. */
	uint64_t lr;   /* return address, 0 when this is the last frame */
	uint32_t n;
	enum gd_unwind_end end;
};

/* Positions u on the innermost frame (u->site NULL when pc is not in Go code). */
void gd_unwind_begin(struct gd_unwind *u, struct gd_symbols *symbols, struct gd_stack *stack,
                     uint64_t pc, uint64_t sp, enum gd_unwind_from from);

/* On to the caller; u->site is NULL after the last frame, and u->end says how that came. */
void gd_unwind_next(struct gd_unwind *u);

/* Did it see the whole stack? */
static inline bool gd_unwind_complete(enum gd_unwind_end end)
{
	return end == GD_UNWIND_ROOT || end == GD_UNWIND_SWITCHED;
}

/* "root", "lost pc", ... for JSON lines. */
const char *gd_unwind_end_name(enum gd_unwind_end end);
