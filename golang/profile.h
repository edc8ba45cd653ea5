#pragma once
/*
 * The buckets of Go's memory, block and mutex profiles, read from the target's memory: one per call
 * stack (and object size).  What is returned is what runtime.MemProfile, BlockProfile and
 * MutexProfile would return at that moment; scaling, symbols and the file format are the
 * collectors' business.
 *
 * The list only ever grows at its head and a bucket's stack never changes, so both can be read
 * while the target runs; each bucket's stored hash proves its stack.  The counters are read twice:
 * equal both times means that all of them are of one instant between the two.
 * Source: runtime/mprof.go of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/layout.h"
#include "target/memory.h"

#define GD_PROFILE_BUCKETS_MAX 1000000
#define GD_PROFILE_PCS_MAX (8u << 20) /* of all stacks together: 64 MiB */
#define GD_PROFILE_DEPTH_MAX 1100     /* GODEBUG=profstackdepth goes to 1024, and a little */

/* runtime.bucketType */
enum gd_profile_type {
	GD_PROFILE_MEMORY = 1,
	GD_PROFILE_BLOCK = 2,
	GD_PROFILE_MUTEX = 3,
};

struct gd_memory_counts {
	int64_t allocs, frees;           /* objects sampled */
	int64_t alloc_bytes, free_bytes; /* of these objects */
};

struct gd_block_counts {
	double count;   /* corrected for sampling by the runtime (mutex: since 1.20) */
	int64_t cycles; /* of runtime.cputicks */
};

struct gd_bucket {
	uint64_t addr;
	size_t stack;   /* index of the innermost pc in gd_profile_read.pcs */
	uint32_t depth;
	uint64_t size;  /* of one object, as allocated; 0 in block and mutex buckets */
	union {
		struct gd_memory_counts memory;
		struct gd_block_counts block;
	};
};

struct gd_profile_read {
	enum gd_profile_type type;
	struct gd_bucket *list; /* newest first: the order in which Go's own writer goes */
	size_t n;
	uint64_t *pcs;          /* return addresses, innermost first */
	size_t n_pcs;
	bool consistent;        /* all counters are of one instant */
	bool unpublished;       /* no collection yet: counts of all cycles, as Go does then */
	unsigned repeated;      /* how often the counters were read again */
	struct gd_error why;    /* code 0, or why the list ends before its end */
};

/*
 * head is the address of runtime.mbuckets, bbuckets or xbuckets; numgc that of memstats.numgc (0:
 * unknown; only used by memory profiles).  An empty list is no error.  -EBADMSG: not one bucket is
 * what it should be, or the list runs in a circle.  -ENOTSUP: layout without these structs.
 */
int gd_profile_read(struct gd_memory *memory, const struct gd_layout *layout,
                    enum gd_profile_type type, uint64_t head, uint64_t numgc,
                    struct gd_profile_read *ret, struct gd_error *err);
void gd_profile_deinit(struct gd_profile_read *profile);
#define GD_PROFILE __attribute__((cleanup(gd_profile_deinit)))

/*
 * runtime/pprof's correction for sampling: the estimate of what was really allocated.  `count`
 * objects of `bytes` together, one sample per `rate` bytes on average (runtime.MemProfileRate).
 */
void gd_profile_scale(int64_t *count, int64_t *bytes, int64_t rate);
