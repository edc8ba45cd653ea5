/*
 * A foreign profile in all forms of the report but the page's frame: the tree, folded stacks and
 * speedscope's JSON.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/flame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct gd_flame *f)
{
	if (f->n_types == 0 || f->n_types > GD_PPROF_READ_TYPES || f->default_type >= f->n_types)
		abort();
	for (uint32_t i = 1; i < f->nodes.n; i++) {
		const uint64_t *node = gd_tuples_at(&f->nodes, i);
		if (node[GD_FLAME_NODE_PARENT] >= i || node[GD_FLAME_NODE_FRAME] >= f->frames.n)
			abort();
	}
	for (uint32_t i = 0; i < f->rows.n; i++) {
		const uint64_t *row = gd_tuples_at(&f->rows, i);
		if (row[GD_FLAME_ROW_NODE] >= f->nodes.n || row[GD_FLAME_ROW_CLASS] >= f->classes.n ||
		    row[GD_FLAME_ROW_THREAD] >= f->threads.n || row[GD_FLAME_ROW_SET] >= f->sets.n)
			abort();
	}
	for (uint32_t i = 1; i < f->sets.n; i++)
		if (gd_tuples_at(&f->sets, i)[GD_FLAME_SET_REST] >= i)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_flame flame;
	char *text = NULL;
	size_t n = 0;
	if (gd_flame_parse("fuzz.pb.gz", data, size, &flame, NULL) < 0)
		return 0;
	check(&flame);
	FILE *out = open_memstream(&text, &n);
	if (out == NULL)
		abort();
	int folded = gd_flame_folded(&flame, flame.default_type, out, NULL);
	int speedscope = gd_flame_speedscope(&flame, gd_flame_type_in(&flame, "nanoseconds"), "fuzz",
	                                     out, NULL);
	/* Long names on deep stacks are too much, all else must be written. */
	if ((folded < 0 && folded != -E2BIG) || (speedscope < 0 && speedscope != -E2BIG))
		abort();
	(void)fclose(out);
	/* No name brings a NUL or a control character in. */
	if (memchr(text, '\0', n) != NULL)
		abort();
	free(text);
	gd_flame_deinit(&flame);
	return 0;
}
