#pragma once
/*
 * Counts samples, or the times that threads were away from the CPU, by stack and labels while a window
 * lasts, and writes them as a pprof profile and as folded stacks when it has ended.  Only program
 * counters are kept meanwhile, with a ceiling; names are looked up once for each, at the end.  Not
 * thread safe.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sink.h"
#include "collectors/kernel_symbols.h"
#include "collectors/native_symbols.h"
#include "collectors/perf_stack.h"
#include "collectors/pprof.h"
#include "golang/class.h"
#include "collectors/samples_goroutine.h"
#include "collectors/samples_places.h"
#include "collectors/samples_switches.h"
#include "golang/labels.h"
#include "golang/runtime.h"
#include "target/target.h"

#define GD_SAMPLES_STACKS_MAX (1u << 17)
#define GD_SAMPLES_BYTES_MAX (64u << 20)

struct gd_samples_profile;

/* What a sample is counted under besides its stack. */
struct gd_samples_labels {
	uint32_t tid;
	uint32_t confidence; /* enum gd_goroutine_confidence */
	uint64_t goid;       /* 0 none */
	uint32_t label_set;  /* of gd_samples_profile_label_set, 0 none */
	uint32_t unused;     /* 0: no byte of this is undefined */
};

int gd_samples_profile_create(struct gd_samples_profile **ret, struct gd_error *err);
void gd_samples_profile_destroy(struct gd_samples_profile *profile); /* NULL allowed */

/* The number of that stack with those labels; 0: the ceiling is reached. */
uint32_t gd_samples_profile_number(struct gd_samples_profile *profile,
                                   const struct gd_perf_stack *stack,
                                   const struct gd_samples_labels *labels);

/*
 * One more, or `n` of together `ns`; `state`: of threads that were away, else 0.  n 0 with some ns: the rest
 * of an absence that has been counted in another state.
 */
void gd_samples_profile_count(struct gd_samples_profile *profile, uint32_t number, uint32_t state,
                              uint64_t n, int64_t ns);

/* The number of a goroutine's own labels; 0: there are none, or the ceiling is reached. */
uint32_t gd_samples_profile_label_set(struct gd_samples_profile *profile,
                                      const struct gd_labels *labels);

struct gd_samples_thread {
	uint32_t tid;
	char name[64]; /* raw; "" not known */
};

/* The threads that samples of either are of, ascending, without names.  malloc'ed.  b NULL: only a. */
int gd_samples_profile_threads(const struct gd_samples_profile *a, const struct gd_samples_profile *b,
                               struct gd_samples_thread **ret, size_t *ret_n,
                               struct gd_error *err);

/* Names of all frames of the kernel's and of C are about to be wanted. */
void gd_samples_profile_want(const struct gd_samples_profile *profile, struct gd_kernel_names *kernel,
                             struct gd_native_names *native);

struct gd_samples_write {
	bool away;                             /* it is of threads that were away from the CPU */
	struct gd_target *target;
	struct gd_go *go;                      /* NULL: not Go */
	const struct gd_samples_thread *threads; /* as above, with names */
	size_t n_threads;
	const struct gd_kernel_names *kernel;  /* after gd_samples_profile_want */
	const struct gd_native_names *native;  /* the same */
	uint64_t lost;                         /* samples that were not counted */
	int64_t period_ns;                     /* of CPU time, that one sample stands for; not `away` */
	int64_t started_realtime_ns, duration_ns;
	const char *comment;
};

struct gd_samples_written {
	uint64_t by_class[GD_CLASSES];         /* samples, or switches */
	int64_t away_ns[GD_SWITCH_STATES], parked_ns; /* parked: of it, threads without work */
};

/* The thread's name, "" not known. */
const char *gd_samples_write_thread(const struct gd_samples_write *how, uint32_t tid);

/* How many numbers there are; the last one. */
uint32_t gd_samples_profile_numbers(const struct gd_samples_profile *profile);

struct gd_samples_group {
	uint32_t number;
	struct gd_samples_labels labels;
	enum gd_go_class class_;
	bool parked; /* a thread of the runtime's without work: its frames are of no interest */
	const struct gd_perf_frame *frames; /* innermost first */
	size_t n, n_kernel;
};

/* Each number with what it stands for, ascending; `away` as above. */
void gd_samples_profile_each(const struct gd_samples_profile *profile,
                             struct gd_samples_places *places, bool away,
                             void (*each)(void *arg, const struct gd_samples_group *group),
                             void *arg);

/* Writes both (folded NULL: not that); the streams stay the caller's. */
int gd_samples_profile_write(struct gd_samples_profile *profile,
                             const struct gd_samples_write *how, struct gd_stream *pprof,
                             struct gd_stream *folded, struct gd_samples_written *ret,
                             struct gd_error *err);
