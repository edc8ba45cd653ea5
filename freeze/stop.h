#pragma once
/*
 * The stop itself, and the only ptrace there is.  A *tracer* is a process forked for one job: it seizes,
 * interrupts, runs the caller's short work while all threads stand still, and detaches.  A *guard* is
 * another one, which knows nothing but the tracer's pidfd and a deadline, and kills it at that time: the
 * kernel then resumes the target by itself (measured: 2 to 6 ms; shared/security 0.1).
 *
 * The parent of both never traces.  If it dies they die with it (PR_SET_PDEATHSIG).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/image.h"
#include "target/target.h"

struct gd_tracer; /* in the tracer process: the seized threads, preallocated */

/* ---- for the parent ---------------------------------------------------------------------------- */

struct gd_stop_job {
	struct gd_target *target;
	/*
	 * In the tracer, nothing seized yet: whatever must be allocated, opened or prefaulted.  May be
	 * NULL.  Negative: the job ends there.
	 */
	int (*prepare)(struct gd_tracer *tracer, void *arg, struct gd_error *err);
	/* In the tracer: does the job with the functions below.  Negative: it failed, all is detached. */
	int (*run)(struct gd_tracer *tracer, void *arg, struct gd_error *err);
	void *arg;              /* what the parent wants back lies in MAP_SHARED memory */
	int64_t deadline_ns;    /* the whole job in the tracer may take so long after prepare */
	int64_t stop_deadline_ns; /* from first interrupt to last detach; the guard's budget */
	const int *keep;        /* descriptors the tracer needs beside the target's */
	size_t n_keep;
	/* Private test hook: NULL, or called by the parent with both pids once they run. */
	void (*started)(void *arg, pid_t tracer, pid_t guard);
};

struct gd_stop_report { /* filled in shared memory as the job goes, so it survives the tracer */
	int64_t interrupt_ns, resume_ns; /* CLOCK_MONOTONIC; 0: not reached */
	int64_t inject_ns; /* a single thread stood so long for injected calls, outside of that */
	uint64_t threads, not_stopped;
	bool killed_by_guard, died; /* the tracer did not end by itself */
	bool child_made;            /* an injected clone may have left a child: reap it */
	int32_t child_pid;          /* as clone returned it, in the target's pid namespace; 0 unknown */
	int32_t left_fd;            /* a userfaultfd injected into the target and not closed yet; -1 */
};
#define GD_STOP_FD_UNKNOWN (-2) /* in left_fd: there may be one, its number is not known */

/*
 * Forks tracer and guard, waits for both, kills what is late.  0: the job has run; -ETIMEDOUT: the guard
 * ended it (the target runs); -EPERM: another tracer (G6), or not allowed; -ESRCH; or what run returned.
 * In all cases nothing of ours is left and the target is not stopped by us.
 */
int gd_stop_run(const struct gd_stop_job *job, struct gd_stop_report *report, struct gd_error *err);

/* ---- for run(), in the tracer: no allocation, no files, every wait bounded ---------------------- */

/*
 * Seizes all threads (rescanning task/ until stable, G18), which stops nothing by itself; but a signal
 * makes a seized thread stand until gd_stop_interrupt or gd_stop_detach, so one of them must follow at
 * once.  -EPERM names another tracer (G6).  May be called again after a detach.
 * `one`: seizes nothing yet; gd_inject_begin will hold one thread, and gd_inject_end let it go.
 */
int gd_stop_seize(struct gd_tracer *tracer, bool one, struct gd_error *err);
/*
 * Interrupts them and waits until they stand, at most wait_ns each (a D state thread is left out, G7).
 * Then no thread of the target runs but those that are counted as not stopped.  New threads that
 * appear meanwhile are seized as well.  A thread in the middle of a signal's delivery stands there and
 * gets it at the detach, or when the tracer dies; one in a group stop stays in it.
 * -ETIMEDOUT: not one has stopped; -EAGAIN: a thread storm beyond 50 rounds.
 */
int gd_stop_interrupt(struct gd_tracer *tracer, int64_t wait_ns, struct gd_error *err);
/*
 * Registers of all threads, into memory given by prepare; n in *ret_n.  Those that were left out have
 * stopped false and no registers.  The xstate of thread i lies at xstates + i * xstate_each (0: not
 * wanted; its `xstate` is for gd_image_add_thread to set).  rax and rip of an interrupted call are as the
 * kernel shows them and writes them into cores: rax a code of -512 to -516, rip behind the call.  A
 * thread in a frame of ours is shown as it stood before.
 */
int gd_stop_registers(struct gd_tracer *tracer, struct gd_image_thread *threads, size_t max,
                      uint8_t *xstates, size_t xstate_each, size_t *ret_n, struct gd_error *err);
/*
 * Lets all go; safe at any time and twice.  Who had not stopped (D state) can only be let go when it
 * does: a job that goes on for long after a stop with not_stopped > 0 calls this again now and then.
 */
void gd_stop_detach(struct gd_tracer *tracer);

/*
 * System calls run by the target itself, from a frame that restores the thread whatever becomes of us
 * (docs/freeze.md; shared/snapshot-pause 4): the kernel's own signal frame for SIGURG when the target is
 * a Go program (it catches that and nearly all other signals, on stacks of their own), else a frame
 * built by us below the red zone of a C stack.  -ENOTSUP with the guard's reason, -EAGAIN: not now.
 * begin stops one thread; the others run unless gd_stop_interrupt came first, and then it stays where it
 * is at the end, to go with the others by gd_stop_detach.
 */
struct gd_inject_call {
	long nr;
	uint64_t args[6];
	int64_t ret; /* what the kernel answered */
};
int gd_inject_begin(struct gd_tracer *tracer, struct gd_error *err);
int gd_inject_call(struct gd_tracer *tracer, struct gd_inject_call *call, struct gd_error *err);
/*
 * Asks the target itself whether it is dumpable (PR_GET_DUMPABLE), which nobody else is told for certain.
 * -EACCES: it is not.
 */
int gd_inject_ask_dumpable(struct gd_tracer *tracer, struct gd_error *err);
/*
 * clone() without flags, and with a stack on which the child, should nobody hold it, ends itself by
 * exit_group(0): no SIGSEGV, no core.  It is a tracee of ours, stopped before its first instruction, with
 * EXITKILL (the one place for it).  *ret_pid in our namespace, *ret_inner as the target's wait4 wants it
 * (with __WALL: its end is told nobody).  One at a time.
 */
int gd_inject_fork(struct gd_tracer *tracer, pid_t *ret_pid, int32_t *ret_inner, struct gd_error *err);
void gd_inject_kill_child(struct gd_tracer *tracer); /* SIGKILL, waited for by us; still its zombie */
/* The thread goes on as it would have; begin may be called again. */
int gd_inject_end(struct gd_tracer *tracer, struct gd_error *err);

/*
 * Can this target be injected into, without touching it?  0 or -ENOTSUP with why (seccomp, a shadow
 * stack, no `syscall; ret` in its text, ...).  gd_inject_begin may still find that no thread will do: of a
 * native program none in a wait with a time limit, which would end it with EINTR.  Reads maps anew.
 */
int gd_inject_possible(struct gd_target *target, struct gd_error *err);
