#pragma once
/*
 * The profiler labels of a goroutine (runtime/pprof.Do), read from g.labels.  Until Go 1.23 that is
 * a pointer to a map[string]string, from 1.24 on to a slice of pairs; both are immutable once set,
 * so a label set that reads at all reads whole.  Foreign bytes: counts and lengths are capped.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "target/memory.h"

#define GD_LABELS_MAX 128              /* pairs of one goroutine */
#define GD_LABELS_BYTES_MAX (16 << 10) /* of one goroutine, keys and values */

struct gd_labels_pair {
	const char *key, *value; /* raw foreign bytes, not terminated */
	size_t key_len, value_len;
};

/* In the order of the slice; those of a map, which has none, sorted by key as Go prints them. */
struct gd_labels {
	struct gd_labels_pair pairs[GD_LABELS_MAX];
	size_t n;
	bool cut;          /* our ceilings left some out */
	struct gd_buf text; /* holds the bytes */
};

#define GD_LABELS_INIT ((struct gd_labels){ .text = GD_BUF_INIT(GD_LABELS_BYTES_MAX) })
void gd_labels_deinit(struct gd_labels *labels);

/*
 * addr is the value of g.labels (0: there are none), minor that of the Go release.  Replaces what
 * labels held.  -EFAULT, -EBADMSG: not readable as labels; labels is then empty.
 */
int gd_labels_read(struct gd_memory *memory, int minor, uint64_t addr, struct gd_labels *labels,
                   struct gd_error *err);
