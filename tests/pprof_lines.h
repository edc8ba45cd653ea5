#pragma once
/*
 * A pprof profile as lines of text which can be compared: one of the format's own readers, written
 * apart from collectors/pprof.c, so that both do not share an error.
 *
 * The first line says what the values are, every other is one sample; labels and samples are
 * sorted:
 *
 *	alloc_objects/count alloc_space/bytes period=524288 space/bytes
 *	{bytes=64} 0x4a1e3f main.leaf main.go:10; main.inlining main.go:12 <- 0x... : 12 768
 */
#include <stdbool.h>

#include "base/buf.h"

struct pprof_view {
	const char *without; /* a label to leave out; NULL: none */
	bool merge;          /* add up samples that are the same in all but values */
	unsigned frames_max; /* innermost frames of each stack; 0: all */
};

/* gz: a gzip-compressed profile.  Asserts that it is well-formed. */
void pprof_lines(const void *gz, size_t n, const struct pprof_view *view, struct gd_buf *out);

/*
 * How many lines only one of two has, but for those `excused`; prints the first few.  Takes both
 * texts apart.
 */
size_t pprof_compare(char *theirs, char *ours, bool (*excused)(const char *line, bool there));
