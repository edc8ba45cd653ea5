#pragma once
/*
 * "Did you mean ...?": the known word that a mistyped one is nearest to, by edit distance in which
 * two swapped letters are one mistake and neither case nor "-" for "_" is any.  Words are borrowed.
 */
struct gd_nearest {
	const char *word; /* as written */
	const char *best; /* NULL: nothing offered is near enough to be meant */
	unsigned distance;
};

#define GD_NEAREST(as_written) ((struct gd_nearest){ .word = (as_written) })

/* Considers one known word; of equally near ones the first wins. */
void gd_nearest_offer(struct gd_nearest *nearest, const char *known);

/* "; did you mean \"above\"?", or "" when nothing is near. */
#define GD_NEAREST_HINT 128
const char *gd_nearest_hint(char to[GD_NEAREST_HINT], const struct gd_nearest *nearest);
