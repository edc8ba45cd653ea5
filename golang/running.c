#include "golang/running.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* A word of the stack that could be a return address on a chain to the root. */
struct link {
	uint32_t word;   /* its place in the stack, in words from the lowest */
	int32_t parent;  /* index of the link it leads to, -1 for the root */
	uint32_t children;
	uint64_t entry;  /* of the function it returns into */
	uint64_t target; /* entry that was called there, 0 when the CALL is indirect */
};

#define CANDIDATES_MAX 1024

struct search {
	struct gd_symbols *symbols;
	struct gd_memory *memory;
	const struct gd_stack *stack;
	size_t n_words;
	struct link links[CANDIDATES_MAX]; /* the root first, then downwards */
	size_t n;
};

/* Length of FF /2 (CALL through a register or memory, without prefixes), 0 when it is not that. */
static size_t indirect_call_bytes(const uint8_t *code)
{
	unsigned mod = code[1] >> 6, rm = code[1] & 7;
	if (code[0] != 0xff || (code[1] >> 3 & 7) != 2)
		return 0;
	if (mod == 3)
		return 2;
	size_t n = rm == 4 ? 3 : 2;
	if (mod == 1)
		n += 1;
	else if (mod == 2)
		n += 4;
	if (mod == 0 && (rm == 5 || (rm == 4 && (code[2] & 7) == 5)))
		n += 4;
	return n;
}

/*
 * Is there a CALL right before pc?  *target is its destination when it names one.  x86-64: E8
 * rel32, or FF /2 of 2 to 7 bytes.
 */
static bool behind_call(struct search *s, uint64_t pc, uint64_t *target)
{
	enum { LONGEST = 7 };
	uint8_t code[LONGEST + 2] = { 0 };
	*target = 0;
	if (gd_memory_read(s->memory, pc - LONGEST, code, LONGEST, NULL) < 0)
		return false;
	if (code[2] == 0xe8) {
		*target = pc + (uint64_t)(int64_t)(int32_t)gd_load_u32(code + 3);
		if (gd_symbols_site(s->symbols, *target, true) != NULL)
			return true;
	}
	*target = 0;
	for (size_t n = 2; n <= LONGEST; n++)
		if (indirect_call_bytes(code + LONGEST - n) == n)
			return true;
	return false;
}

static struct link *link_at(struct search *s, uint64_t word)
{
	/* the newest are the nearest: frames are small */
	for (size_t i = s->n; i-- > 0;)
		if (s->links[i].word == word)
			return &s->links[i];
	return NULL;
}

/* The word as a link of the chain, if it is one. */
static void try_word(struct search *s, size_t word, uint64_t startpc)
{
	uint64_t pc = gd_load_u64(s->stack->bytes + word * 8);
	const struct gd_site *site = gd_symbols_site(s->symbols, pc, false);
	if (site == NULL || pc == site->entry || s->n == CANDIDATES_MAX)
		return;
	struct link link = { .word = (uint32_t)word, .parent = -1, .entry = site->entry };
	if (site->flag & GD_FUNC_TOP_FRAME) {
		/* put there when the goroutine was made: as if goexit had called its function */
		if (s->n_words - word > 16)
			return;
		link.target = startpc;
	} else {
		if (site->sp_delta < 0 || (site->sp_delta & 7) != 0 ||
		    (site->flag & GD_FUNC_SP_WRITE))
			return;
		struct link *parent = link_at(s, word + 1 + (uint64_t)site->sp_delta / 8);
		if (parent == NULL || (parent->target != 0 && parent->target != link.entry) ||
		    !behind_call(s, pc, &link.target))
			return;
		link.parent = (int32_t)(parent - s->links);
		parent->children++;
	}
	s->links[s->n++] = link;
}

/* The lowest word that differs between the two copies. */
static size_t lowest_change(const struct search *s, const uint8_t *before)
{
	for (size_t word = 0; before != NULL && word < s->n_words; word++)
		if (memcmp(before + word * 8, s->stack->bytes + word * 8, 8) != 0)
			return word;
	return 0;
}

/*
 * From the root as far down as there is one way to go.  Two links below the same one mean an
 * indirect call whose callee is not known: the chain ends there.
 */
static size_t follow(const struct search *s, size_t lowest,
                     struct gd_running_link links[GD_RUNNING_LINKS_MAX])
{
	size_t chain[GD_RUNNING_LINKS_MAX];
	size_t n = 0;
	int32_t at = -1;
	for (size_t i = 0; i < s->n && n < GD_RUNNING_LINKS_MAX; i++) {
		const struct link *link = &s->links[i];
		if (link->parent != at || link->word < lowest)
			continue;
		if (at >= 0 && s->links[at].children != 1)
			break;
		chain[n++] = i;
		at = (int32_t)i;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t word = s->links[chain[n - 1 - i]].word;
		links[i].pc = gd_load_u64(s->stack->bytes + (size_t)word * 8);
		links[i].sp = s->stack->at + ((uint64_t)word + 1) * 8;
	}
	return n;
}

size_t gd_running_search(struct gd_symbols *symbols, struct gd_memory *memory,
                         const struct gd_stack *stack, const uint8_t *before, uint64_t startpc,
                         struct gd_running_link links[GD_RUNNING_LINKS_MAX])
{
	if (stack->at % 8 != 0 || stack->at + stack->len != stack->hi)
		return 0;
	GD_FREE struct search *s = malloc(sizeof(*s));
	if (s == NULL)
		return 0;
	s->symbols = symbols;
	s->memory = memory;
	s->stack = stack;
	s->n = 0;
	s->n_words = stack->len / 8;
	for (size_t word = s->n_words; word-- > 0;)
		try_word(s, word, startpc);
	return follow(s, lowest_change(s, before), links);
}
