#pragma once
/*
 * Walks all goroutines of a Go runtime, in the order of runtime.allgs, and unwinds each.  Memory is
 * bounded whatever their number: they are read in batches, a deep stack through a window.
 *
 * Nothing is stopped, so what is read may change meanwhile.  A goroutine is read, its stack is
 * copied, and the goroutine is read again: only when nothing about it changed in between, and its
 * stack unwound to its root, is it whole; else it is read again up to three times.  What is still
 * not whole then is handed out with what there is and says so.
 *
 * Running goroutines have no saved registers.  Where they can be had without a stop the caller's
 * hook delivers them (target memory knows nothing of threads); otherwise the stack is searched for
 * the chain of calls that leads to its root, which says where the goroutine was lately.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "golang/labels.h"
#include "golang/runtime.h"
#include "golang/unwind.h"

/* g.atomicstatus without its scan bit (runtime/runtime2.go). */
enum gd_goroutine_status {
	GD_G_IDLE = 0,
	GD_G_RUNNABLE = 1,
	GD_G_RUNNING = 2,
	GD_G_SYSCALL = 3,
	GD_G_WAITING = 4,
	GD_G_DEAD = 6,
	GD_G_COPYSTACK = 8,
	GD_G_PREEMPTED = 9,
	GD_G_LEAKED = 10,    /* 1.26 */
	GD_G_DEAD_EXTRA = 11, /* 1.26 */
	GD_G_SCAN = 0x1000,
};

/* What the frames are worth. */
enum gd_goroutine_frames {
	GD_FRAMES_EXACT,       /* saved by the runtime, or from registers */
	GD_FRAMES_APPROXIMATE, /* running: found by searching the stack, may be out of date */
	GD_FRAMES_NONE,        /* running, and nothing was found */
	GD_FRAMES_TORN,        /* changed under our hands, or led nowhere: as far as it goes */
};

struct gd_frame {
	const struct gd_site *site;
	uint64_t pc;
	bool exact;           /* see gd_symbols_site */
	uint8_t lines;        /* private to the walk */
	uint32_t stack_len;
	const uint8_t *stack; /* what lies at the caller's sp: arguments; NULL when not at hand */
};

/* Of a deeper stack the innermost and the outermost frames are kept, half of these each. */
#define GD_FRAMES_MAX 512

struct gd_goroutine {
	uint64_t addr; /* of its g */
	uint64_t goid;
	uint64_t parent_goid; /* 0 before Go 1.21 */
	enum gd_goroutine_status status;
	bool scan;            /* the collector was looking at it */
	bool system;          /* the runtime's own: Go does not show it */
	bool locked;          /* to a thread */
	const char *reason;   /* wait reason's text; NULL when not waiting or unknown */
	int64_t wait_ns;      /* at least so long; 0 unknown: noted when Go collects */
	uint64_t tid;         /* thread it runs on (or is locked to), 0 none */
	uint64_t gopc;        /* where `go` created it; 0 for the first */
	uint64_t startpc;     /* its function's entry */
	uint64_t stack_lo, stack_hi;
	const struct gd_site *creator; /* of gopc; NULL: none */
	const struct gd_site *entry;   /* of startpc; NULL: not Go code */
	enum gd_goroutine_frames frames_are;
	enum gd_unwind_end end;
	const struct gd_frame *frames; /* innermost first */
	size_t n_frames;
	size_t n_inner;        /* of these before the gap; equal to n_frames when there is none */
	uint64_t elided;       /* frames in the gap */
	uint64_t elided_lines; /* of these, lines a traceback shows */
	const struct gd_labels *labels;
	const struct gd_error *labels_error; /* NULL, or why its labels are missing */
};

/* Registers of a thread that the kernel was willing to tell. */
struct gd_thread_registers {
	uint64_t pc, sp;
	/* A copy of the stack from sp on, taken at the same instant; NULL: none. */
	const uint8_t *stack;
	size_t stack_len;
};

struct gd_walk_options {
	int64_t now_ns;  /* CLOCK_MONOTONIC of the target's host, for wait times; 0 unknown */
	const volatile sig_atomic_t *cancelled; /* NULL: never */
	/*
	 * 0 and registers of thread `tid`, or a negative errno: -EAGAIN when it was on a CPU.
	 * NULL: there are none to be had.  *ret is valid until the next call.
	 */
	int (*registers)(void *arg, uint64_t tid, struct gd_thread_registers *ret);
	void *registers_arg;
	/* How many lines of a traceback a frame makes, for elided_lines; NULL: none. */
	unsigned (*lines)(void *arg, const struct gd_site *site, bool exact);
	void *lines_arg;
};

struct gd_walk_stats {
	uint64_t listed;      /* allgs had room for so many */
	uint64_t dead;        /* of these, not in use */
	uint64_t seen;        /* handed out */
	uint64_t torn;        /* changed while being read, at least once */
	uint64_t repeated;    /* of these, whole after reading again */
	uint64_t incomplete;  /* still torn at last: handed out as GD_FRAMES_TORN */
	uint64_t unreadable;  /* g itself not readable: not handed out */
	uint64_t approximate; /* running, frames found by searching */
	uint64_t unavailable; /* running, no frames */
	uint64_t frames;
	bool cancelled;
};

/*
 * Calls `each` for every goroutine in use; a negative return of it ends the walk and is returned.
 * The goroutine and all it points to are valid during the call.  -ENOTSUP when allgs was not found,
 * -EBADMSG when it makes no sense.
 */
int gd_goroutines_walk(struct gd_go *go, const struct gd_walk_options *options,
                       int (*each)(void *arg, const struct gd_goroutine *goroutine), void *arg,
                       struct gd_walk_stats *stats, struct gd_error *err);

/* "running", "waiting", "syscall", ...: as Go spells it. */
const char *gd_goroutine_status_name(enum gd_goroutine_status status);
