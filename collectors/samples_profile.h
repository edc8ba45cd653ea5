#pragma once
/*
 * Counts samples by stack and labels while a window lasts, and writes them as a pprof profile and as
 * folded stacks when it has ended.  Only program counters are kept meanwhile, with a ceiling; names are
 * looked up once for each, at the end.  Not thread safe.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sink.h"
#include "collectors/perf_stack.h"
#include "collectors/pprof.h"
#include "collectors/samples_class.h"
#include "collectors/samples_goroutine.h"
#include "golang/runtime.h"
#include "target/target.h"

#define GD_SAMPLES_STACKS_MAX (1u << 18)
#define GD_SAMPLES_BYTES_MAX (256u << 20)

struct gd_samples_profile;

/* What a sample is counted under besides its stack. */
struct gd_samples_labels {
	uint32_t tid;
	uint32_t confidence; /* enum gd_goroutine_confidence */
	uint64_t goid;       /* 0 none */
};

int gd_samples_profile_create(struct gd_samples_profile **ret, struct gd_error *err);
void gd_samples_profile_destroy(struct gd_samples_profile *profile); /* NULL allowed */

/* False: the ceiling is reached and it was not counted. */
bool gd_samples_profile_add(struct gd_samples_profile *profile, const struct gd_perf_stack *stack,
                            const struct gd_samples_labels *labels);

struct gd_samples_thread {
	uint32_t tid;
	char name[64]; /* raw; "" not known */
};

/* The threads that samples are of, ascending, without names.  malloc'ed. */
int gd_samples_profile_threads(const struct gd_samples_profile *profile,
                               struct gd_samples_thread **ret, size_t *ret_n,
                               struct gd_error *err);

struct gd_samples_write {
	struct gd_target *target;
	struct gd_go *go;                      /* NULL: not Go */
	const struct gd_samples_thread *threads; /* as above, with names */
	size_t n_threads;
	int kallsyms_fd;                       /* -1: the kernel's functions get no names */
	uint64_t lost;                         /* samples that were not counted */
	int64_t period_ns;                     /* of CPU time, that one sample stands for */
	int64_t started_realtime_ns, duration_ns;
	const char *comment;
};

struct gd_samples_written {
	uint64_t by_class[GD_CLASSES];
	struct gd_error no_kernel_names; /* code 0, or why there are none */
};

/* Writes both; the streams stay the caller's. */
int gd_samples_profile_write(struct gd_samples_profile *profile,
                             const struct gd_samples_write *how, struct gd_stream *pprof,
                             struct gd_stream *folded, struct gd_samples_written *ret,
                             struct gd_error *err);
