#pragma once
/*
 * Run-time addresses of the Go runtime's global variables in a binary without symbols.  Two ways
 * confirm each other: the PC-relative operands of small named runtime functions (operands.h), and a
 * structural test of what only the right variable can look like (shapes.h), which also finds it by
 * scanning .data and .bss.  Where both exist and differ the structure wins and `disagreements` says
 * so.  Addresses are 0 when not found; each user must cope with that and say so in its grade.
 * reference/go-runtime-facts.md section 4.
 */
#include <stdint.h>

#include "base/error.h"
#include "golang/layout.h"
#include "golang/moduledata.h"
#include "target/memory.h"

/* X(member, name in the runtime) */
#define GD_GLOBALS_FIELDS(X)                                                                       \
	X(allgs, "allgs")                              /* slice {ptr, len, cap} of *g */           \
	X(allm, "allm")                                /* *m */                                    \
	X(allp, "allp")                                /* slice of *p */                           \
	X(gomaxprocs, "gomaxprocs")                    /* int32 */                                 \
	X(sched, "sched")                              /* schedt */                                \
	X(mbuckets, "mbuckets")                        /* *bucket, memory profile */               \
	X(bbuckets, "bbuckets")                        /* block profile */                         \
	X(xbuckets, "xbuckets")                        /* mutex profile */                         \
	X(memstats, "memstats")                        /* mstats */                                \
	X(gc_controller, "gcController")               /* gcControllerState */                     \
	X(mheap, "mheap_")                                                                         \
	X(mem_profile_rate, "MemProfileRate")          /* int */                                   \
	X(block_profile_rate, "blockprofilerate")      /* uint64 */                                \
	X(mutex_profile_fraction, "mutexprofilerate")  /* uint64 */                                \
	X(wait_reason_strings, "waitReasonStrings")    /* array of strings */                      \
	X(build_version, "buildVersion")               /* string */

enum gd_global {
#define GD_GLOBAL_ENUM_(member, name) GD_GLOBAL_##member,
	GD_GLOBALS_FIELDS(GD_GLOBAL_ENUM_)
#undef GD_GLOBAL_ENUM_
	GD_GLOBAL_COUNT
};

struct gd_globals {
#define GD_GLOBAL_MEMBER_(member, name) uint64_t member;
	GD_GLOBALS_FIELDS(GD_GLOBAL_MEMBER_)
#undef GD_GLOBAL_MEMBER_
	uint32_t by_operands; /* bit 1 << GD_GLOBAL_x: code says so */
	uint32_t by_shape;    /* what is there now can only be it */
	unsigned disagreements;
};

/*
 * Addresses for modules->list[0], which must hold the runtime.  -ENOENT when not even the list of
 * goroutines is found.
 */
int gd_globals_find(const struct gd_modules *modules, struct gd_memory *memory,
                    const struct gd_layout *layout, struct gd_globals *ret, struct gd_error *err);

/* Each way alone: what it finds, without asking the other. */
void gd_globals_by_operands(const struct gd_modules *modules, struct gd_memory *memory,
                            const struct gd_layout *layout, struct gd_globals *ret);
void gd_globals_by_shape(const struct gd_modules *modules, struct gd_memory *memory,
                         const struct gd_layout *layout, struct gd_globals *ret);

/* One of them by number, and what Go calls it ("allgs"). */
uint64_t gd_globals_get(const struct gd_globals *globals, enum gd_global which);
const char *gd_globals_name(enum gd_global which);
