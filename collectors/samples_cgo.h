#pragma once
/*
 * The goroutine's part of a stack that ends in C which goroutines call.  Nothing of the instant of the
 * sample leads there when C uses the frame pointer's register for data.  But as long as the thread is
 * still in the same call, the goroutine's own stack is as it was; and whether it is the runtime's count
 * of a thread's calls tells: the same before the sample as now, and the thread is in C.  So calls that
 * last from one look to the next are known (20 ms apart), others are not guessed.
 */
#include <stdbool.h>
#include <stdint.h>

#include "collectors/perf_record.h"
#include "collectors/perf_stack.h"
#include "golang/runtime.h"

struct gd_samples_cgo;

/* go is borrowed. */
int gd_samples_cgo_create(struct gd_go *go, struct gd_samples_cgo **ret, struct gd_error *err);
void gd_samples_cgo_destroy(struct gd_samples_cgo *cgo); /* NULL allowed */

/*
 * Puts the goroutine's frames behind the last one of a stack that has `left`, when they are proved to
 * be the sample's.  m: the runtime's record of the sample's thread, 0 not known.  To be asked soon after
 * the sample was taken.
 */
bool gd_samples_cgo_resume(struct gd_samples_cgo *cgo, const struct gd_perf_record *sample, uint64_t m,
                           struct gd_perf_stack *stack);
