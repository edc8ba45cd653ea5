#pragma once
/*
 * goroutines.jsonl: one JSON object per line.  A stack is written when it is first seen and has a
 * number from then on, which goroutines refer to.  docs/archive-format.md describes the keys.
 *
 *	{"stack":1,"frames":[{"function":"main.f","file":"/src/main.go","line":7,"pc":"0x48e1a5"}]}
 *	{"goid":18,"state":"waiting","reason":"chan receive","stack":1,"created_by":"main.main",...}
 */
#include <stdint.h>

#include "base/buf.h"
#include "collectors/known.h"
#include "golang/goroutines.h"

struct gd_goroutines_lines {
	int minor;              /* of the Go release: how names are spelled */
	struct gd_known *stacks; /* what stack has which number; emptied when full, numbers go on */
	uint64_t n_stacks;
	struct gd_buf key;
};

int gd_goroutines_lines_init(struct gd_goroutines_lines *lines, int minor, struct gd_error *err);
void gd_goroutines_lines_deinit(struct gd_goroutines_lines *lines);

/* Appends the goroutine's line, before it its stack's when that is new. */
void gd_goroutines_lines_put(struct gd_goroutines_lines *lines, const struct gd_goroutine *g,
                             struct gd_buf *out);
