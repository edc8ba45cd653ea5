#pragma once
/*
 * heap.pb.gz (the pprof format, google/pprof proto/profile.proto) summed up by allocation site: the
 * innermost function of the program itself on each sample's stack.  Foreign bytes, bounded.
 */
#include <stdint.h>

#include "archive/reader.h"
#include "report/groups.h"

struct gd_heap_site {
	struct gd_group_frame frame;
	int64_t bytes, objects; /* in use */
};

struct gd_heap {
	int64_t bytes, objects; /* in use, all together */
	struct gd_heap_site *list; /* largest first */
	size_t n;
	struct gd_words *words; /* texts that the sites point to */
};

/* -ENOENT when the archive has none; -EBADMSG when it is no profile of a heap. */
int gd_heap_read(const struct gd_reader *reader, struct gd_heap *ret, struct gd_error *err);
void gd_heap_deinit(struct gd_heap *heap);

/* From the decompressed profile. */
int gd_heap_parse(const void *profile, size_t n, struct gd_heap *ret, struct gd_error *err);
