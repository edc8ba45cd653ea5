#pragma once
/*
 * The spans of a Go heap, read from outside: which address ranges hold objects of the program, and which
 * of those have no pointers.  What a thin core leaves out, and what a policy may zero.  Reads only; on a
 * live target a span may change meanwhile, so a range is a snapshot like everything else.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/runtime.h"

struct gd_span_range {
	uint64_t start, end; /* page aligned, exclusive end */
	bool noscan;         /* objects without pointers: strings, []byte, numbers */
};

struct gd_spans {
	struct gd_span_range *list; /* in use for objects; ascending, disjoint, neighbours of a kind merged */
	size_t n;
	uint64_t object_bytes, noscan_bytes;
	uint64_t stack_bytes; /* of spans that are goroutine stacks or the runtime's own */
	uint64_t odd;         /* spans that made no sense and were left out of `list` */
};

/* -ENOTSUP: a release whose spans are not known. */
int gd_spans_read(struct gd_go *go, struct gd_spans *ret, struct gd_error *err);
void gd_spans_deinit(struct gd_spans *spans);
