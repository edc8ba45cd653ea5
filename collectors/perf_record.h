#pragma once
/*
 * One record of a perf ring, of an event that target/perf_event.h opened: bytes in, fields out.  The
 * kernel writes the frame, but copies of a stack and everything they claim come from the target, so it
 * is parsed as foreign: bounded, nothing believed.  Pure; pointers lead into the bytes given.
 * Layouts: include/uapi/linux/perf_event.h, perf_event_open(2).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "target/perf_event.h"

enum gd_perf_record_kind {
	GD_PERF_SAMPLE,
	GD_PERF_LOST,    /* `lost` records did not fit into the ring */
	GD_PERF_SWITCH,  /* a thread went off or came on a CPU */
	GD_PERF_EXEC,    /* the process runs another program from here on */
	GD_PERF_WAKEUP,  /* the thread `woken` could run from here on; pid and tid are the waker's */
	GD_PERF_THROTTLE, /* the kernel found that sampling takes too long, and paused it */
	GD_PERF_OTHER,
};

struct gd_perf_record {
	enum gd_perf_record_kind kind;
	uint64_t id;      /* of the event (PERF_EVENT_IOC_ID) */
	uint32_t pid, tid, cpu;
	int64_t time_ns;  /* CLOCK_MONOTONIC */
	uint64_t lost;
	/* SWITCH */
	bool out;         /* else in */
	bool preempted;   /* out, and could have run on */
	uint32_t woken;   /* WAKEUP */
	/* SAMPLE */
	bool in_kernel;   /* where it was taken */
	uint64_t pc;
	const uint8_t *chain; /* n_chain u64, unaligned: addresses with PERF_CONTEXT_* between them */
	size_t n_chain;
	const uint8_t *regs;  /* GD_PERF_N_REGS u64; NULL: there was nothing in user mode */
	const uint8_t *stack; /* from its sp on; NULL: none */
	size_t stack_len;
};

/* Of which events a ring has records. */
struct gd_perf_layout {
	uint32_t stack_bytes; /* that those which sample were opened with */
	uint64_t wakeups_id;  /* samples of this one are wake-ups; 0: of none */
};

/* `bytes` is one record with its header.  -EBADMSG: it makes no sense. */
int gd_perf_record_parse(const uint8_t *bytes, size_t len, const struct gd_perf_layout *layout,
                         struct gd_perf_record *ret, struct gd_error *err);

uint64_t gd_perf_record_reg(const struct gd_perf_record *record, enum gd_perf_reg which);

/*
 * The two halves of a sample's call chain: of the kernel, and of the user by frame pointers.  Innermost
 * first; the first of each is where execution was, the others are return addresses.  Writes at most
 * `max` to `to` and returns how many.
 */
enum gd_perf_half { GD_PERF_KERNEL_HALF, GD_PERF_USER_HALF };
size_t gd_perf_record_chain(const struct gd_perf_record *record, enum gd_perf_half half,
                            uint64_t *to, size_t max);
