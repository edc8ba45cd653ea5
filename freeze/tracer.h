#pragma once
/*
 * Inside the tracer process: the threads it has seized and what it shares with guard and parent.
 * Private to freeze/.
 *
 * A stop is looked at with WNOWAIT and never taken from the kernel: a signal that a thread is about to
 * be handed then still reaches it when the tracer dies before it could pass the signal on.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "freeze/inject.h"
#include "freeze/stop.h"
#include "target/target.h"

/* Lies in MAP_SHARED memory of parent, guard and tracer, and outlives the latter. */
struct gd_tracer_shared {
	struct gd_stop_report report;
	_Atomic int64_t prepared_ns;       /* CLOCK_MONOTONIC; 0: still preparing */
	_Atomic int64_t standing_since_ns; /* 0: no thread stands still because of us */
	atomic_bool killed_by_guard;
	bool finished; /* result and err are whole */
	int result;
	struct gd_error err;
};

enum gd_tracer_state {
	GD_TRACER_GONE,    /* ended, detached, or never seized */
	GD_TRACER_RUNNING, /* seized; runs, or waits in the kernel */
	GD_TRACER_STOPPED,
};

struct gd_tracer_thread {
	pid_t tid;
	uint8_t state;    /* enum gd_tracer_state */
	bool interrupted; /* an interrupt is on its way */
	bool late;        /* it did not stop in time once */
	bool group_stop;  /* it stood before we came: SIGSTOP and its like */
	int signal;       /* it stands at the delivery of this one, 0: at none */
};

struct gd_tracer {
	struct gd_target *target;
	struct gd_tracer_shared *shared;
	int news_fd; /* eventfd: tells the guard that a stop began */
	int task_fd; /* /proc/PID/task */
	int64_t deadline_ns;
	bool one;          /* only one thread at a time is held, for an injection */
	bool all_stopped;  /* gd_stop_interrupt was here */
	struct gd_tracer_thread *threads;
	size_t n, max;
	uint32_t *slots; /* open addressing by tid: index in threads + 1 */
	size_t slots_mask;
	uint8_t *dents;
	struct gd_inject *inject;
};

/* Before the target is touched; frees nothing, a tracer ends with its process. */
int gd_tracer_create(struct gd_target *target, struct gd_tracer_shared *shared, int news_fd,
                     struct gd_tracer **ret, struct gd_error *err);

/*
 * Waits for the next stop of a tracee, at most until deadline_ns.  1: it stands, *ret is signal | event
 * << 8; 0: it does not yet; -ESRCH: it has ended.
 */
int gd_tracer_wait(pid_t tid, int64_t deadline_ns, int *ret);

/* The same for one of ours, kept in its record. */
int gd_tracer_wait_thread(struct gd_tracer_thread *thread, int64_t deadline_ns);

/* Seizes one thread; 0, -ESRCH when it has ended, -EPERM with words.  *ret stays valid until the next
 * gd_stop_seize. */
int gd_tracer_seize_thread(struct gd_tracer *tracer, pid_t tid, struct gd_tracer_thread **ret,
                           struct gd_error *err);

int gd_tracer_interrupt_thread(struct gd_tracer_thread *thread); /* or -errno */

/* A stopped one goes on, by PTRACE_CONT or PTRACE_SYSCALL, and gets the signal it stands at. */
int gd_tracer_resume_thread(struct gd_tracer_thread *thread, int request);

/* Lets a stopped one go. */
void gd_tracer_detach_thread(struct gd_tracer_thread *thread);

/* From here on the guard counts to the job's deadline; from the first interrupt to the last detach to
 * the stop's. */
void gd_tracer_note_prepared(struct gd_tracer *tracer);
void gd_tracer_note_standing(struct gd_tracer *tracer);
void gd_tracer_note_resumed(struct gd_tracer *tracer);

/* A pause of the tracer's own. */
void gd_tracer_rest(void);

/* -ESRCH: that thread has ended, by SIGKILL even while it stood. */
int gd_tracer_lost(struct gd_error *err, const struct gd_tracer_thread *thread);

#if defined(__x86_64__)
/* All at once, or not at all: a tracer is never killed between two registers. */
int gd_tracer_get_regs(pid_t tid, struct user_regs_struct *regs);
int gd_tracer_set_regs(pid_t tid, const struct user_regs_struct *regs);
#endif
