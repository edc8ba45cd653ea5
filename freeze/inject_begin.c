/* The first half of inject.c's story: a thread is found, stopped, and moved onto a frame. */
#include "freeze/inject.h"

#if defined(__x86_64__)

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "freeze/faults.h"
#include "freeze/tracer.h"

#define SETTLE_NS INT64_C(20000000)
#define PASSES 5
#define USER_CS 0x33 /* of 64-bit code */
#define RSEQ_CS_OFFSET 8u
#define ROOM_BYTES (GD_IMAGE_XSTATE_MAX + 2048u)
#define EFLAGS_CLEAR UINT64_C(0x500) /* trap and direction flag */

void gd_inject_prepare(struct gd_tracer *tracer)
{
	struct gd_inject *inject = tracer->inject;
	inject->mem_fd = -1;
	if (gd_target_refresh_maps(tracer->target, &inject->why) < 0 ||
	    gd_inject_find_site(tracer->target, &inject->site, &inject->why) < 0)
		return;
	/* Sending the signal needs a right of its own, so the descriptor is the smaller demand. */
	char path[sizeof(tracer->target->via) + 8];
	size_t n = strlen(tracer->target->via);
	memcpy(path, tracer->target->via, n);
	memcpy(path + n, "mem", sizeof("mem"));
	inject->mem_fd = openat(tracer->target->fds.proc_fd, path, O_RDWR | O_CLOEXEC);
	if (inject->mem_fd < 0)
		(void)gd_fail_errno(&inject->why, -ENOTSUP, "its memory cannot be written");
	else
		gd_inject_find_candidates(tracer->target, inject);
}

/* ---- a thread that stands where a frame can be put ------------------------------------------- */

/* To an ordinary stop: not at a signal, not in a group stop. */
static int stop_plainly(const struct gd_tracer *tracer, struct gd_tracer_thread *thread,
                        struct gd_error *err)
{
	int64_t deadline_ns = gd_clock_monotonic_ns() + SETTLE_NS;
	for (int i = 0; i < GD_INJECT_DETOURS; i++) {
		if (thread->state == GD_TRACER_RUNNING) {
			if (!thread->interrupted && gd_tracer_interrupt_thread(thread) < 0)
				return gd_tracer_lost(err, thread);
			int r = gd_tracer_wait_thread(thread, deadline_ns);
			if (r < 0)
				return gd_tracer_lost(err, thread);
			if (r == 0)
				return gd_fail(err, -ETIMEDOUT, "thread %d does not stop",
				               thread->tid);
		}
		if (thread->group_stop)
			return gd_fail(err, -ENOTSUP, "it is stopped (G8)");
		if (thread->signal == 0)
			return 0;
		if (tracer->all_stopped)
			return gd_fail(err, -EAGAIN, "thread %d is handed signal %d", thread->tid,
			               thread->signal);
		if (gd_tracer_resume_thread(thread, PTRACE_CONT) < 0)
			return gd_tracer_lost(err, thread);
	}
	return gd_fail(err, -EAGAIN, "thread %d gets signal after signal", thread->tid);
}

static int save(struct gd_inject *inject, pid_t tid, struct gd_error *err)
{
	struct iovec iov = { inject->xstate, sizeof(inject->xstate) };
	if (gd_tracer_get_regs(tid, &inject->regs) < 0 ||
	    ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &iov) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(inject->sigmask), &inject->sigmask) < 0)
		return gd_fail_errno(err, -errno, "thread %d: registers", tid);
	inject->xstate_bytes = (uint32_t)iov.iov_len;
	if (inject->regs.cs != USER_CS)
		return gd_fail(err, -ENOTSUP, "thread %d runs 32-bit code", tid);
	return 0;
}

/* Are the bytes still there that prepare saw?  A library may be gone. */
static bool still_there(const struct gd_inject *inject, uint64_t restorer)
{
	uint8_t bytes[16] = { 0 };
	if (pread(inject->mem_fd, bytes, 3, (off_t)inject->site.call_at) != 3 ||
	    memcmp(bytes, "\x0f\x05\xc3", 3) != 0)
		return false;
	return pread(inject->mem_fd, bytes, 9, (off_t)restorer) == 9 &&
	       memmem(bytes, 9, "\x0f\x05", 2) != NULL &&
	       (memcmp(bytes, "\x48\xc7\xc0\x0f", 4) == 0 || memcmp(bytes, "\xb8\x0f", 2) == 0);
}

/* The C stack of a thread: main's by its name, others by the thread's data at their upper end. */
static bool on_c_stack(const struct gd_target *target, const struct user_regs_struct *regs)
{
	const struct gd_map *map = gd_maps_find(&target->maps, regs->rsp);
	if (map == NULL || !map->write || map->shared || regs->rsp - map->start < ROOM_BYTES)
		return false;
	return strcmp(map->path, "[stack]") == 0 ||
	       (map->inode == 0 && regs->fs_base > regs->rsp && regs->fs_base < map->end);
}

/* A restartable sequence that is left and entered again by our frame would miss that it was. */
static bool in_sequence(const struct gd_inject *inject, const struct user_regs_struct *regs,
                        pid_t tid)
{
	struct { /* ptrace_rseq_configuration, since 5.13 */
		uint64_t abi;
		uint32_t abi_size, signature, flags, pad;
	} config = { 0 };
	uint64_t sequence = 0;
	if ((int64_t)regs->orig_rax >= 0)
		return false; /* a system call inside of one is a fault */
	if (ptrace((enum __ptrace_request)0x420f, tid, (void *)sizeof(config), &config) < 0)
		return errno != EIO && errno != EINVAL;
	if (config.abi == 0)
		return false;
	return pread(inject->mem_fd, &sequence, sizeof(sequence),
	             (off_t)(config.abi + RSEQ_CS_OFFSET)) != (ssize_t)sizeof(sequence) ||
	       sequence != 0;
}

/*
 * Is a call with a time limit about to be taken up again?  The kernel has set it so when it was let
 * go from an earlier stop, and rt_sigreturn would make that call fail with EINTR.  The thread may
 * stand before it entered user mode (orig_rax is still the old call's) or after.
 */
static bool takes_up_a_call(const struct gd_inject *inject, const struct user_regs_struct *regs)
{
	uint8_t bytes[GD_INJECT_CALL_BYTES];
	if (regs->rax != SYS_restart_syscall)
		return false;
	return pread(inject->mem_fd, bytes, sizeof(bytes), (off_t)regs->rip) !=
	               (ssize_t)sizeof(bytes) ||
	       memcmp(bytes, "\x0f\x05", sizeof(bytes)) == 0;
}

/* The thread moves onto the frame that restores `regs`; all of it is written before. */
static int enter_frame(struct gd_inject *inject, struct gd_tracer_thread *thread,
                       const struct user_regs_struct *regs, uint64_t top, uint64_t mask,
                       bool with_xstate, uint64_t restorer, struct gd_error *err)
{
	uint64_t at = 0;
	uint64_t frame = 0;
	uint64_t all = UINT64_MAX;
	size_t n = gd_inject_frame_build(inject->frame, sizeof(inject->frame), top, regs, mask,
	                                 with_xstate ? inject->xstate : NULL,
	                                 inject->xstate_bytes, &inject->site, restorer, &at,
	                                 &frame, &inject->child_stack);
	if (n == 0)
		return gd_fail(err, -ENOTSUP, "the frame is too large");
	if (!still_there(inject, restorer))
		return gd_fail(err, -ENOTSUP, "its text has changed");
	if (pwrite(inject->mem_fd, inject->frame, n, (off_t)at) != (ssize_t)n)
		return gd_fail(err, -ENOTSUP, "thread %d: its stack cannot be written",
		               thread->tid);
	gd_freeze_fault("written");
	inject->base = *regs;
	inject->base.rip = inject->site.call_at + GD_INJECT_CALL_BYTES;
	inject->base.rsp = frame;
	inject->base.rax = 0;
	inject->base.orig_rax = UINT64_MAX; /* the interrupted call is the frame's matter */
	inject->base.eflags &= ~EFLAGS_CLEAR;
	if (gd_tracer_set_regs(thread->tid, &inject->base) < 0)
		return gd_tracer_lost(err, thread);
	inject->thread = thread;
	gd_freeze_fault("setregs");
	/* Not before: a mask that nobody puts back would stay. */
	if (ptrace(PTRACE_SETSIGMASK, thread->tid, (void *)sizeof(all), &all) < 0)
		return gd_tracer_lost(err, thread);
	gd_freeze_fault("masked");
	return 0;
}

static int enter_made_frame(struct gd_tracer *tracer, struct gd_tracer_thread *thread,
                            struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	struct user_regs_struct regs = inject->regs;
	int r = gd_inject_frame_check_xstate(inject->xstate, inject->xstate_bytes, err);
	if (r == 0)
		r = gd_inject_frame_settle(&regs, err);
	if (r < 0)
		return r;
	if (!on_c_stack(tracer->target, &regs))
		return gd_fail(err, -ENOTSUP, "thread %d is not on a C stack with room",
		               thread->tid);
	if (takes_up_a_call(inject, &inject->regs))
		return gd_fail(err, -EAGAIN, "thread %d takes up a call with a time limit",
		               thread->tid);
	if (in_sequence(inject, &inject->regs, thread->tid))
		return gd_fail(err, -EAGAIN, "thread %d may be in a restartable sequence",
		               thread->tid);
	return enter_frame(inject, thread, &regs, regs.rsp, inject->sigmask, true,
	                   inject->site.restore_at, err);
}

/* Until the thread stands at the delivery of our SIGURG. */
static int await_signal(const struct gd_tracer *tracer, struct gd_tracer_thread *thread,
                        struct gd_error *err)
{
	if (syscall(SYS_tgkill, tracer->target->pid, thread->tid, SIGURG) < 0)
		return gd_fail_errno(err, errno == ESRCH ? -ESRCH : -ENOTSUP, "thread %d: SIGURG",
		                     thread->tid);
	gd_freeze_fault("signalled");
	for (int i = 0; i < GD_INJECT_DETOURS; i++) {
		if (gd_tracer_resume_thread(thread, PTRACE_CONT) < 0)
			return gd_tracer_lost(err, thread);
		int r = gd_tracer_wait_thread(thread, gd_clock_monotonic_ns() + GD_INJECT_STEP_NS);
		if (r < 0)
			return gd_tracer_lost(err, thread);
		if (r == 0)
			return gd_fail(err, -ETIMEDOUT, "thread %d: SIGURG does not come",
			               thread->tid);
		if (thread->signal == SIGURG)
			return 0;
		/* What runs now would run while all others stand still. */
		if (thread->group_stop || (thread->signal != 0 && tracer->all_stopped))
			break;
	}
	return gd_fail(err, -EAGAIN, "thread %d: other signals come first", thread->tid);
}

/* From there into the handler, by an interrupt that waits behind the delivery. */
static int enter_handler(struct gd_tracer_thread *thread, struct user_regs_struct *ret,
                         struct gd_error *err)
{
	if (gd_tracer_interrupt_thread(thread) < 0 ||
	    gd_tracer_resume_thread(thread, PTRACE_CONT) < 0)
		return gd_tracer_lost(err, thread);
	gd_freeze_fault("delivered");
	int r = gd_tracer_wait_thread(thread, gd_clock_monotonic_ns() + GD_INJECT_STEP_NS);
	if (r < 0 || (r > 0 && gd_tracer_get_regs(thread->tid, ret) < 0))
		return gd_tracer_lost(err, thread);
	if (r == 0 || thread->signal != 0 || thread->group_stop)
		return gd_fail(err, -EAGAIN, "thread %d did not reach its handler", thread->tid);
	return 0;
}

static int enter_signal_frame(struct gd_tracer *tracer, struct gd_tracer_thread *thread,
                              struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	struct user_regs_struct regs = { 0 };
	struct gd_inject_kernel_frame frame = { 0 };
	uint64_t mask = 0;
	if ((inject->sigmask >> (SIGURG - 1) & 1) != 0)
		return gd_fail(err, -EAGAIN, "thread %d blocks SIGURG", thread->tid);
	int r = await_signal(tracer, thread, err);
	if (r == 0)
		r = enter_handler(thread, &regs, err);
	if (r < 0)
		return r;
	/* From here on a failure lets the handler run, for a signal that Go expects at any time. */
	r = gd_inject_frame_read(inject->mem_fd, regs.rsp, &frame, err);
	if (r < 0)
		return r;
	if (regs.rdi != SIGURG || frame.rsp != inject->regs.rsp || frame.stack_low == 0 ||
	    regs.rsp - frame.stack_low < ROOM_BYTES)
		return gd_fail(err, -ENOTSUP, "thread %d: its handler is not on a stack of its own "
		               "with room", thread->tid);
	if (ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)sizeof(mask), &mask) < 0)
		return gd_tracer_lost(err, thread);
	return enter_frame(inject, thread, &regs, regs.rsp, mask, false, frame.restorer, err);
}

static int begin_on(struct gd_tracer *tracer, pid_t tid, struct gd_error *err)
{
	struct gd_tracer_thread *thread = NULL;
	int r = gd_tracer_seize_thread(tracer, tid, &thread, err);
	if (r < 0)
		return r == -ESRCH ? gd_fail(err, r, "thread %d has ended", tid) : r;
	if (thread->late)
		return gd_fail(err, -ETIMEDOUT, "thread %d does not stop", tid);
	tracer->inject->began_ns = gd_clock_monotonic_ns();
	r = stop_plainly(tracer, thread, err);
	if (r == 0)
		r = save(tracer->inject, tid, err);
	if (r == 0)
		r = tracer->inject->site.by_signal ? enter_signal_frame(tracer, thread, err)
		                                   : enter_made_frame(tracer, thread, err);
	if (r == 0 || tracer->all_stopped)
		return r;
	tracer->inject->thread = NULL;
	if (tracer->one)
		gd_stop_detach(tracer);
	else if (thread->state == GD_TRACER_STOPPED)
		(void)gd_tracer_resume_thread(thread, PTRACE_CONT);
	return r;
}

/* The best ranked first, then, when they are held anyhow, all others. */
static int try_all(struct gd_tracer *tracer, struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	int r = gd_fail(err, -ENOTSUP, "no thread stands where a frame can be put");
	for (size_t i = 0; i < inject->n_candidates; i++) {
		r = begin_on(tracer, inject->candidates[i].tid, err);
		if (r == 0 || r == -EPERM)
			return r;
	}
	for (size_t i = 0; !tracer->one && i < tracer->n; i++) {
		if (tracer->threads[i].state == GD_TRACER_GONE)
			continue;
		r = begin_on(tracer, tracer->threads[i].tid, err);
		if (r == 0)
			return r;
	}
	return r;
}

int gd_inject_begin(struct gd_tracer *tracer, struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	if (inject->why.code < 0) {
		if (err != NULL)
			*err = inject->why;
		return inject->why.code;
	}
	if (inject->thread != NULL)
		return 0; /* still on its frame */
	gd_tracer_note_standing(tracer);
	int r = -ENOTSUP;
	for (int pass = 0; pass < PASSES; pass++) {
		if (pass > 0)
			gd_tracer_rest();
		r = try_all(tracer, err);
		if (r == 0 || r == -EPERM || tracer->all_stopped ||
		    gd_clock_monotonic_ns() > tracer->deadline_ns)
			break;
	}
	if (r < 0 && !tracer->all_stopped)
		gd_tracer_note_resumed(tracer);
	return r < 0 ? gd_error_wrap(err, r, "no call can be injected") : 0;
}

#endif
