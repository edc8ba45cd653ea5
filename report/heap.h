#pragma once
/* heap.pb.gz added up by allocation site: value is bytes in use, count objects.  Foreign bytes, bounded. */
#include "archive/reader.h"
#include "report/sites.h"

/* -ENOENT when the archive has none; -EBADMSG when it is no profile of a heap. */
int gd_heap_read(const struct gd_reader *reader, struct gd_sites *ret, struct gd_error *err);

/* From the decompressed profile. */
int gd_heap_parse(const void *profile, size_t n, struct gd_sites *ret, struct gd_error *err);
