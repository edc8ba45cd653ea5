#pragma once
/*
 * Perf events that sample one process: made by who has the right to (CAP_PERFMON; one's own process as
 * far as perf_event_paranoid goes), read by anybody who gets the descriptor.  This file probes what the
 * kernel has and opens; it maps no ring, enables nothing and reads no record (collectors/perf_ring.h).
 *
 * All events have the same fields in their records (GD_PERF_SAMPLE_TYPE) and CLOCK_MONOTONIC, begin
 * disabled, and put the fields of a sample's end on all other records as well.
 */
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/perf_program.h"

/* How a process with all its threads, also those that come, is attached to. */
enum gd_perf_way {
	/* One event per CPU; a BPF program of seven instructions suppresses the records of others.
	 * Needs CAP_BPF and CAP_PERFMON, costs others a timer interrupt. */
	GD_PERF_FILTERED,
	/* One event per thread and CPU, inherited by the threads a thread makes. */
	GD_PERF_INHERITED,
	/* One event per CPU with everybody's records and without copies of stacks: the reader
	 * drops what is not the target's. */
	GD_PERF_EVERYBODY,
	GD_PERF_WAYS,
};
const char *gd_perf_way_name(uint32_t way); /* "per CPU, filtered", ... */

enum gd_perf_event {
	GD_PERF_BEST,      /* cycles where there are any, else the clock; only to ask for */
	GD_PERF_CYCLES,
	GD_PERF_CPU_CLOCK,
	GD_PERF_SWITCHES,  /* a sample at each context switch away from the target, records of all */
	/* Only FILTERED, and no events but the first; see target/perf_program.h. */
	GD_PERF_WAKEUPS,    /* a sample of each thread of the target's that is woken ... */
	GD_PERF_WAKEUPS_ON, /* ... on any CPU while this is open: the last of them to be asked for */
	GD_PERF_SYSCALLS,      /* counts of system calls, to be mapped ... */
	GD_PERF_SYSCALLS_ON,   /* ... which count while this is open */
	GD_PERF_EVENTS,
};
const char *gd_perf_event_name(uint32_t event); /* "cycles", "cpu-clock", "context-switches" */

#define GD_PERF_CPUS_MAX 8192
#define GD_PERF_FREQUENCY_MAX 5000
#define GD_PERF_STACK_MAX 32768 /* bytes of a stack copy; records have at most 64 KiB */

struct gd_perf_wanted {
	uint32_t way, event;
	uint32_t cpu;          /* 0 of what is no event */
	int32_t tid;           /* INHERITED: which thread; else 0 */
	uint32_t frequency_hz; /* only of CYCLES and CPU_CLOCK */
	uint32_t stack_bytes;  /* 0: neither registers nor stack; a multiple of 8 */
};

/* Could anybody want this? */
bool gd_perf_wanted_is_sound(const struct gd_perf_wanted *wanted);

struct gd_perf_opened {
	uint32_t event;  /* which one it is */
	uint32_t kernel; /* 0: nothing of the kernel's was allowed */
	uint64_t id;     /* what its records say they are of; 0: it is no event */
};

/*
 * Fields of a sample; the last two only with stack_bytes.  Not PERF_SAMPLE_PERIOD: with it the kernel
 * samples every context switch, whatever the period is set to (perf_swevent_event).
 */
#define GD_PERF_SAMPLE_TYPE                                                                        \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |            \
	 PERF_SAMPLE_CPU | PERF_SAMPLE_CALLCHAIN)
/* Of a wake-up, whose raw data is the tid (u32) of who was woken; the other fields are the waker's. */
#define GD_PERF_WAKEUP_TYPE                                                                        \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |            \
	 PERF_SAMPLE_CPU | PERF_SAMPLE_RAW)
#define GD_PERF_SAMPLE_STACK (PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER)

/* Which registers, in the order of their numbers (asm/perf_regs.h): all general ones, sp and pc. */
#if defined(__x86_64__)
#define GD_PERF_REGS UINT64_C(0xff01ff)
enum gd_perf_reg { GD_PERF_BP = 6, GD_PERF_SP = 7, GD_PERF_PC = 8, GD_PERF_G = 15 };
enum { GD_PERF_N_REGS = 17 };
#elif defined(__aarch64__)
#define GD_PERF_REGS UINT64_C(0x1ffffffff)
enum gd_perf_reg { GD_PERF_G = 28, GD_PERF_BP = 29, GD_PERF_SP = 31, GD_PERF_PC = 32 };
enum { GD_PERF_N_REGS = 33 };
#else
#error "which numbers do sp and pc have here?"
#endif

/*
 * Opens it for process `tgid`, as our pid namespace knows it.  *programs is what earlier calls for that
 * process left there (GD_PERF_PROGRAMS_INIT at first), and stays the caller's.  -EACCES, -EPERM say what would
 * have to be allowed; -ENOTSUP: this way does not exist here; -ESRCH: the thread is gone.
 */
int gd_perf_open(const struct gd_perf_wanted *wanted, pid_t tgid, struct gd_perf_programs *programs,
                 struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err);
