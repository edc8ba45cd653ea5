#include "golang/gather.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int by_address(const void *a, const void *b)
{
	const struct gd_piece *x = a, *y = b;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

/* Goroutines lie mostly in the order in which they are listed. */
static bool sorted(const struct gd_piece *pieces, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (pieces[i].addr < pieces[i - 1].addr)
			return false;
	return true;
}

static void read_one(struct gd_memory *memory, struct gd_piece *piece)
{
	ssize_t got = gd_memory_read_some(memory, piece->addr, piece->to, piece->len);
	piece->got = got > 0 ? (uint32_t)got : 0;
}

/* Pieces [0, n) lie within one scratch from pieces[0].addr on. */
static void read_run(struct gd_memory *memory, struct gd_piece *pieces, size_t n, uint64_t end,
                     uint8_t *scratch)
{
	if (n == 1) {
		read_one(memory, pieces);
		return;
	}
	uint64_t start = pieces[0].addr;
	ssize_t got = gd_memory_read_some(memory, start, scratch, (size_t)(end - start));
	uint64_t have = start + (got > 0 ? (uint64_t)got : 0);
	for (size_t i = 0; i < n; i++) {
		struct gd_piece *p = &pieces[i];
		if (p->addr + p->len <= have) {
			memcpy(p->to, scratch + (p->addr - start), p->len);
			p->got = p->len;
		} else {
			read_one(memory, p); /* behind a hole */
		}
	}
}

void gd_gather(struct gd_memory *memory, struct gd_piece *pieces, size_t n, size_t gap,
               uint8_t *scratch, size_t scratch_bytes)
{
	if (!sorted(pieces, n))
		qsort(pieces, n, sizeof(*pieces), by_address);
	for (size_t i = 0; i < n;) {
		uint64_t start = pieces[i].addr, end = start;
		size_t j = i;
		for (; j < n; j++) {
			uint64_t piece_end;
			if (__builtin_add_overflow(pieces[j].addr, pieces[j].len, &piece_end) ||
			    (j > i && (pieces[j].addr > end && pieces[j].addr - end > gap)) ||
			    piece_end - start > scratch_bytes)
				break;
			if (piece_end > end)
				end = piece_end;
		}
		if (j == i) { /* too large for the scratch, or wrapping around: alone */
			read_one(memory, &pieces[i]);
			i++;
			continue;
		}
		read_run(memory, pieces + i, j - i, end, scratch);
		i = j;
	}
}
