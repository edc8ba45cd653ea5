#pragma once
/*
 * Registers of a target's threads, for goroutines that are running.  Of an image they are part of it.
 * Of a process they are had without stopping it; two sources, both read-only: /proc/PID/task/TID/syscall for a thread that sleeps in the kernel, and
 * one sample of the perf CPU clock for a thread on a CPU, which comes with a copy of the top of its
 * stack made at the same instant.  A sample costs the thread one timer interrupt.
 *
 * What is not allowed here (perf_event_paranoid, seccomp, no CAP_PERFMON) is found out by trying
 * and not tried again.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/goroutines.h"
#include "target/image.h"
#include "target/target.h"

struct gd_registers;

/* `image`: NULL, or what is read in the place of the process; both are borrowed. */
int gd_registers_create(struct gd_target *target, const struct gd_image *image,
                        struct gd_registers **ret, struct gd_error *err);
void gd_registers_destroy(struct gd_registers *registers); /* NULL allowed */

/*
 * Asks for a sample of every thread that is running now, so that it is there when its goroutine's
 * turn comes: who runs gets it within 0.1 ms, who waits for a CPU later.  Not needed, saves time.
 */
void gd_registers_prepare(struct gd_registers *registers);

/* A gd_walk_options.registers: tid is as the target itself knows it, in its own pid namespace. */
int gd_registers_read(void *registers, uint64_t tid, struct gd_thread_registers *ret);
