#pragma once
/*
 * Run-time addresses of the Go runtime's global variables in a binary without symbols.  Two ways
 * confirm each other: the RIP-relative operands of small named runtime functions, and a structural
 * scan of .data/.bss for what only the right variable can look like.  Where both exist and differ
 * the structural proof wins and `disagreements` says so.  Addresses are 0 when not found; each user
 * must cope with that and say so in its grade.  reference/go-runtime-facts.md section 4.
 */
#include <stdint.h>

#include "base/error.h"
#include "golang/layout.h"
#include "golang/moduledata.h"
#include "target/memory.h"

struct gd_globals {
	uint64_t allgs;        /* slice {ptr, len, cap} of *g */
	uint64_t allm;         /* *m */
	uint64_t allp;         /* slice of *p */
	uint64_t gomaxprocs;   /* int32 */
	uint64_t sched;        /* schedt */
	uint64_t mbuckets;     /* *bucket, memory profile */
	uint64_t bbuckets;     /* block profile */
	uint64_t xbuckets;     /* mutex profile */
	uint64_t memstats;     /* mstats */
	uint64_t gc_controller; /* gcControllerState */
	uint64_t mheap;
	uint64_t mem_profile_rate;       /* int */
	uint64_t block_profile_rate;     /* uint64 */
	uint64_t mutex_profile_fraction; /* uint64 */
	uint64_t wait_reason_strings;    /* array of strings */
	uint64_t build_version;          /* string */
	unsigned disagreements;
};

int gd_globals_find(const struct gd_modules *modules, struct gd_memory *memory,
                    const struct gd_layout *layout, struct gd_globals *ret, struct gd_error *err);
