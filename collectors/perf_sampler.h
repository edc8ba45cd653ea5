#pragma once
/*
 * Samples one process with all its threads, also those that come: opens the events by way of the
 * target's access (the best way that is allowed), maps a ring per CPU, hands out the records.  It
 * neither stops nor touches the target.  What a record means is its reader's business, and so is
 * whether it is the target's: with GD_PERF_EVERYBODY, and of processes forked from it, others come too.
 *
 * One thread; whoever drains late loses records, which the kernel counts (GD_PERF_LOST).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "collectors/perf_record.h"
#include "target/perf_event.h"
#include "target/target.h"

struct gd_perf_sampler;

struct gd_perf_sampler_options {
	uint32_t frequency_hz;
	uint32_t stack_bytes; /* of a copy; see gd_perf_sampler_about for what came of it */
	size_t ring_bytes;    /* per CPU, a power of two; 0: GD_PERF_RING_MAX, half of it with switches */
	/* Also a sample at each context switch of the target's, with so much of its stack, and a
	 * record of each switch; 0: none.  And, where that can be had, of each of its wake-ups. */
	uint32_t switch_stack_bytes;
	bool syscalls; /* also count its system calls by number */
	/* For tests: pretend that these are not allowed. */
	bool ways_off[GD_PERF_WAYS], wakeups_off;
};

struct gd_perf_sampler_about {
	uint32_t way, event;
	bool kernel;          /* are samples taken in the kernel, too? */
	uint32_t stack_bytes; /* 0: chains by frame pointers are all there is */
	uint32_t cpus;
	size_t fds;
	size_t ring_bytes;    /* the smallest */
	struct gd_error fell_back; /* code 0, or why the better ways were not taken */
	/* Since the start: each code 0, or why there are none although they were asked for. */
	struct gd_error no_switches, no_wakeups, no_syscalls;
};

/* Opened and mapped, not running.  -EACCES, -EPERM: `err` says what would have to be allowed. */
int gd_perf_sampler_open(struct gd_target *target, const struct gd_perf_sampler_options *options,
                         struct gd_perf_sampler **ret, struct gd_error *err);
void gd_perf_sampler_close(struct gd_perf_sampler *sampler); /* NULL allowed */
static inline void gd_cleanup_perf_sampler(struct gd_perf_sampler **sampler)
{
	gd_perf_sampler_close(*sampler);
}
#define GD_PERF_SAMPLER __attribute__((cleanup(gd_cleanup_perf_sampler)))

const struct gd_perf_sampler_about *gd_perf_sampler_about(const struct gd_perf_sampler *sampler);

/* Counts of system calls while it ran, up to the last stop: [GD_PERF_SYSCALLS_NUMBERS], then of what has no
 * number there and of 32-bit code, at GD_PERF_SYSCALLS_OTHER and _COMPAT.  All 0: not counted. */
const uint64_t *gd_perf_sampler_syscalls(const struct gd_perf_sampler *sampler);

/*
 * Samples are taken from here on.  Only then what tells of switches and system calls is opened, for which the
 * kernel takes some milliseconds (its type information is read, and nobody may have listened to switches before).
 */
void gd_perf_sampler_start(struct gd_perf_sampler *sampler); /* once */
void gd_perf_sampler_stop(struct gd_perf_sampler *sampler);

/*
 * Records that did not fit, as the kernel counts them for each event: also those which no GD_PERF_LOST tells
 * of, because no other record came after them.  0 before 6.0, which does not say.
 */
uint64_t gd_perf_sampler_lost(const struct gd_perf_sampler *sampler, bool of_switches);

/* Takes a sample only of every so many-th context switch from here on; 0: of none, and no records, also
 * not of wake-ups. */
void gd_perf_sampler_thin_out(struct gd_perf_sampler *sampler, uint64_t every);

/* Waits until a ring has much in it, or so long. */
void gd_perf_sampler_wait(struct gd_perf_sampler *sampler, int timeout_ms);

/*
 * Takes out all records there are; each is valid during its call.  Returns how many made no sense.
 * `of_switches`: of the events of context switches.  Records of one CPU and kind come in order, those
 * of several do not.
 */
typedef void gd_perf_sampler_fn(void *arg, const struct gd_perf_record *record, bool of_switches);
uint64_t gd_perf_sampler_drain(struct gd_perf_sampler *sampler, gd_perf_sampler_fn *each, void *arg);
