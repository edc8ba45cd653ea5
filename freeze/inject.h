#pragma once
/*
 * What gd_inject_* of stop.h keep between their calls.  Private to freeze/.
 *
 * Every frame is one that rt_sigreturn takes: the injected calls end in `ret`, `ret` goes to a
 * restorer, and the restorer asks the kernel for all registers of the frame.  So whatever runs after
 * our death puts the thread back by itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/image.h"
#include "target/target.h"

struct gd_tracer;
struct gd_tracer_thread;

#define GD_INJECT_CANDIDATES 64
#define GD_INJECT_STEP_NS INT64_C(200000000) /* for one stop of a thread that is not throttled */
#define GD_INJECT_DETOURS 8 /* other signals and stops on the way to one of ours */
#define GD_INJECT_CALL_BYTES 2u /* of the instruction syscall */

/* What is found out before the target is touched. */
struct gd_inject_site {
	bool by_signal; /* Go: the kernel's frame for SIGURG; else a frame of our making */
	uint64_t call_at;    /* syscall; ret */
	uint64_t restore_at; /* mov $SYS_rt_sigreturn, %eax; syscall */
};

struct gd_inject {
	struct gd_inject_site site;
	struct gd_error why; /* code 0, or why there is no site */
	int mem_fd;          /* /proc/PID/mem, O_RDWR */
	struct {
		pid_t tid;
		int rank; /* lower: an injection shows less */
	} candidates[GD_INJECT_CANDIDATES];
	size_t n_candidates;

#if defined(__x86_64__)
	struct gd_tracer_thread *thread; /* the one in our frame; NULL: none */
	int64_t began_ns;
	struct user_regs_struct base; /* on the frame: goes back when it runs */
	uint64_t child_stack;         /* where a child returns into its own end */
	uint64_t restorer;            /* of this frame */
	pid_t child;
	/* As it stood before the frame: what an image says of this thread. */
	struct user_regs_struct regs;
	uint64_t sigmask;
	uint32_t xstate_bytes;
	uint8_t xstate[GD_IMAGE_XSTATE_MAX] __attribute__((aligned(64)));
	uint8_t frame[GD_IMAGE_XSTATE_MAX + 2048] __attribute__((aligned(64)));
#endif
};

/* Finds the site; -ENOTSUP says which guard forbids it. */
int gd_inject_find_site(struct gd_target *target, struct gd_inject_site *ret, struct gd_error *err);
/* Ranks the threads by what they do now, best first; those that must not be used are left out. */
void gd_inject_find_candidates(struct gd_target *target, struct gd_inject *inject);
void gd_inject_prepare(struct gd_tracer *tracer);

#if defined(__x86_64__)
/* ---- inject_frame_x86_64.c ------------------------------------------------------------------- */

#define GD_INJECT_FRAME_BYTES 440u /* struct rt_sigframe of the kernel, without its xstate */

/*
 * May this thread's registers be kept in a frame of our making?  Corrects them to what the thread goes on
 * with (an interrupted call starts again).  -ENOTSUP: its call would see that it was interrupted.
 */
int gd_inject_frame_settle(struct user_regs_struct *regs, struct gd_error *err);

/*
 * Builds, in `to`, what has to lie at *ret_at (at most `top`): a frame that restores regs, mask and
 * xstate (NULL: a fresh one), and below it one in which a child ends itself.  Returns its size.
 */
size_t gd_inject_frame_build(uint8_t *to, size_t max, uint64_t top,
                             const struct user_regs_struct *regs, uint64_t mask,
                             const uint8_t *xstate, size_t xstate_bytes,
                             const struct gd_inject_site *site, uint64_t restorer,
                             uint64_t *ret_at, uint64_t *ret_frame, uint64_t *ret_child_frame);

/* Does this xstate fit into a frame?  -ENOTSUP for tile registers in use. */
int gd_inject_frame_check_xstate(const uint8_t *xstate, size_t bytes, struct gd_error *err);

/* The frame the kernel made for a handler: reads what it will restore.  -EBADMSG: it is none. */
struct gd_inject_kernel_frame {
	uint64_t restorer, rip, rsp;
	uint64_t stack_low; /* of the alternate stack it lies on; 0: it lies on none */
};
int gd_inject_frame_read(int mem_fd, uint64_t at, struct gd_inject_kernel_frame *ret,
                         struct gd_error *err);
#endif
