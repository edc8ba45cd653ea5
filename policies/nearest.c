#include "policies/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Longer words are no typing mistakes any more. */
#define LONGEST 64

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static int folded(char c)
{
	return c == '-' ? '_' : tolower((unsigned char)c);
}

/* Optimal string alignment: insert, delete, replace, swap neighbours; three rows are enough. */
static unsigned distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
	unsigned rows[3][LONGEST + 1];
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n_a; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i + 2) % 3];
		const unsigned *two_above = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			bool same = folded(a[i - 1]) == folded(b[j - 1]);
			unsigned best = least(above[j - 1] + (same ? 0 : 1),
			                      least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
			    folded(a[i - 2]) == folded(b[j - 1]))
				best = least(best, two_above[j - 2] + 1);
			row[j] = best;
		}
	}
	return rows[n_a % 3][n_b];
}

void gd_nearest_offer(struct gd_nearest *nearest, const char *known)
{
	size_t n_word = strlen(nearest->word);
	size_t n_known = strlen(known);
	if (n_word == 0 || n_word > LONGEST || n_known > LONGEST)
		return;
	unsigned d = distance(nearest->word, n_word, known, n_known);
	size_t longer = n_word > n_known ? n_word : n_known;
	/* A third of the letters wrong: still meant.  More is another word. */
	if (d > (longer + 2) / 3 || (nearest->best != NULL && d >= nearest->distance))
		return;
	nearest->best = known;
	nearest->distance = d;
}

const char *gd_nearest_hint(char to[GD_NEAREST_HINT], const struct gd_nearest *nearest)
{
	if (nearest->best == NULL)
		to[0] = '\0';
	else
		(void)snprintf(to, GD_NEAREST_HINT, "; did you mean \"%s\"?", nearest->best);
	return to;
}
