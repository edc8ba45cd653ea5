#pragma once
/*
 * The BPF programs that make perf events be about one process: some dozen instructions each, put together
 * here and loaded by raw bpf(2).  No loops, no pointers but the kernel's own, nothing written but what is
 * said below.  Needs CAP_BPF and CAP_PERFMON.  One thread.
 *
 * Wake-ups and system calls come from raw tracepoints (4.17): these are not attached to one process, so
 * each wake-up or call of anybody's costs the comparison while they are on.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* What the events of one process share. */
struct gd_perf_programs {
	int filter_fd;  /* -1, or the filter */
	int wakeups_fd; /* -1, or the map of events that take wake-ups: empty when this is closed */
	int syscalls_fd;   /* -1, or the map of counts */
	bool wakeups_on, syscalls_on;
};
#define GD_PERF_PROGRAMS_INIT { .filter_fd = -1, .wakeups_fd = -1, .syscalls_fd = -1 }
void gd_perf_programs_close(struct gd_perf_programs *programs);

/*
 * A filter that suppresses the records of all processes but `tgid`; it stays theirs.  -ENOTSUP: BPF does not
 * know that process by a number of ours.
 */
int gd_perf_programs_filter(struct gd_perf_programs *programs, pid_t tgid, struct gd_error *err);

/* Wake-ups that happen on `cpu` become samples of that event (PERF_COUNT_SW_BPF_OUTPUT) ... */
int gd_perf_programs_wakeups(struct gd_perf_programs *programs, uint32_t cpu, int event_fd,
                             struct gd_error *err);
/*
 * ... from here on, as long as *ret_fd is open: each of a thread of tgid's, with its tid (u32) of our namespace as raw data.
 * Once; -EALREADY.  -ENOTSUP, -ENOENT: not by a number of ours, not without BTF.
 */
int gd_perf_programs_wakeups_on(struct gd_perf_programs *programs, pid_t tgid, int *ret_fd,
                                struct gd_error *err);

/*
 * System calls by number: a map of GD_PERF_SYSCALLS_SLICES times GD_PERF_SYSCALLS_STRIDE u64, to be mapped for
 * reading.  A CPU counts in one of the slices; what is meant is their sum.
 */
enum {
	GD_PERF_SYSCALLS_NUMBERS = 512, /* [n]: calls of that number; 6.18 has 470 */
	GD_PERF_SYSCALLS_OTHER = 512,   /* other numbers: none of the kernel's, x32 */
	GD_PERF_SYSCALLS_COMPAT = 513,  /* of 32-bit code, whose numbers are others */
	GD_PERF_SYSCALLS_STRIDE = 520,  /* whole cache lines */
	GD_PERF_SYSCALLS_SLICES = 64,
};
#define GD_PERF_SYSCALLS_BYTES (8u * GD_PERF_SYSCALLS_STRIDE * GD_PERF_SYSCALLS_SLICES)
int gd_perf_programs_syscalls(struct gd_perf_programs *programs, int *ret_fd, struct gd_error *err);
/* Counts tgid's from here on, as long as *ret_fd is open; the same errors.  While it is, every system call of
 * every process takes the kernel's slow path. */
int gd_perf_programs_syscalls_on(struct gd_perf_programs *programs, pid_t tgid, int *ret_fd,
                              struct gd_error *err);
