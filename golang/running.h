#pragma once
/*
 * Where is a running goroutine?  Nothing has saved its registers, so its stack is searched for the
 * chain of return addresses that leads to its root.  Each link is proved: the word is in Go code
 * right behind a CALL, the frame it would belong to ends exactly where the next link lies, and
 * where the CALL names its target the frame is that function's.  What no memory tells is whether
 * the innermost calls of the chain have returned meanwhile: the result is approximate, and the very
 * function that is executing is not part of it.
 */
#include <stddef.h>
#include <stdint.h>

#include "golang/symbols.h"
#include "golang/unwind.h"

/* How much of a stack's upper end is searched. */
#define GD_RUNNING_STACK_MAX (64u << 10)
#define GD_RUNNING_LINKS_MAX 256

struct gd_running_link {
	uint64_t pc; /* return address */
	uint64_t sp; /* of the frame: right above the word that holds pc */
};

/*
 * stack holds the upper end of the goroutine's stack, up to stack->hi; startpc is its function's
 * entry.  Fills links, innermost first, and returns their number; 0: not even the root is there.
 * before may be an earlier copy of the same bytes (NULL: none): where words have changed between
 * the two, links below the changes are left out, as nothing shows that they are no left-overs.
 */
size_t gd_running_search(struct gd_symbols *symbols, struct gd_memory *memory,
                         const struct gd_stack *stack, const uint8_t *before, uint64_t startpc,
                         struct gd_running_link links[GD_RUNNING_LINKS_MAX]);
