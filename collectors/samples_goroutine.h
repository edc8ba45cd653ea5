#pragma once
/*
 * Which goroutine did a sampled thread run?  The register that holds g says so in Go's own code, but
 * assembly uses it for other things; the thread's m says so too, but only for the moment when it is
 * read, up to a tenth of a second later.  So both are read and checked against the sample: its stack
 * pointer, and the function that the goroutine began with.  What is not proved says how far it goes.
 */
#include <stdint.h>

#include "collectors/perf_record.h"
#include "collectors/perf_stack.h"
#include "golang/runtime.h"
#include "target/target.h"

enum gd_goroutine_confidence {
	GD_GOROUTINE_NONE,     /* it ran none, or nobody knows */
	GD_GOROUTINE_THREAD,   /* what its thread ran when the ring was read */
	GD_GOROUTINE_MOVED,    /* register or stack said so, and the stack has moved since */
	GD_GOROUTINE_EXACT,    /* the sample was taken on this goroutine's stack */
	GD_GOROUTINE_CONFIDENCES,
};
const char *gd_goroutine_confidence_name(uint32_t confidence); /* "exact", "moved", ... */

struct gd_samples_goroutine {
	uint64_t goid; /* 0 none */
	uint64_t labels; /* value of g.labels */
	enum gd_goroutine_confidence confidence;
	/* Not 0: the entry of the function it began with, which the stack lacks: the chain of frame
	 * pointers has skipped it. */
	uint64_t skipped;
};

struct gd_samples_goroutines;

/*
 * go is borrowed.  The target's threads are looked at now, when it lives in a pid namespace of its own
 * and knows them by other numbers than we do; NULL: it does not.
 */
int gd_samples_goroutines_create(struct gd_go *go, struct gd_target *target,
                                 struct gd_samples_goroutines **ret, struct gd_error *err);
void gd_samples_goroutines_destroy(struct gd_samples_goroutines *goroutines); /* NULL allowed */

/* The runtime's record (m) of the sample's thread; 0: not known. */
uint64_t gd_samples_goroutines_m(struct gd_samples_goroutines *goroutines,
                                 const struct gd_perf_record *sample);

/* To be asked soon after the sample was taken.  `stack` is the sample's. */
void gd_samples_goroutines_find(struct gd_samples_goroutines *goroutines,
                                const struct gd_perf_record *sample,
                                const struct gd_perf_stack *stack,
                                struct gd_samples_goroutine *ret);
