/*
 * Calls run by the target itself.  The happy path, by example of Go:
 *
 *	begin   the thread stops; SIGURG is sent to it; the kernel writes its registers into a signal
 *	        frame on the handler's stack and the thread stops again at the handler's first
 *	        instruction.  Below, we write a frame that leads to exactly this instruction, and let the
 *	        stack end there: the next `ret` goes to rt_sigreturn, from there to the handler, and
 *	        from the handler's return, as ever, to where the thread was.
 *	call    registers of a call, at a `syscall; ret`: two stops, entry and exit
 *	end     the thread is let go at that `ret`
 *
 * That the handler runs is not for form's sake: a preemption the runtime asked for meanwhile came
 * with the same signal, and a thread whose handler never ran would never be asked again.
 *
 * On a program without such a handler the frame we write holds the registers of the thread itself.
 * No step depends on a later one: whoever kills us between two of them, the thread goes its way.
 */
#include "freeze/inject.h"

#if defined(__x86_64__)

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "freeze/faults.h"
#include "freeze/tracer.h"

#define CHILD_NS INT64_C(1000000000)
#define ERESTARTNOINTR_ 513

/* ---- call ------------------------------------------------------------------------------------ */

/* To the next stop of the call: its entry, its exit, or the event of clone; *ret says which. */
static int step(struct gd_tracer_thread *thread, int *ret, struct gd_error *err)
{
	for (int i = 0; i < GD_INJECT_DETOURS; i++) {
		int status = 0;
		if (gd_tracer_resume_thread(thread, PTRACE_SYSCALL) < 0)
			return gd_tracer_lost(err, thread);
		int r = gd_tracer_wait_thread(thread, gd_clock_monotonic_ns() + GD_INJECT_STEP_NS);
		if (r > 0)
			r = gd_tracer_wait(thread->tid, 0, &status);
		if (r < 0)
			return gd_tracer_lost(err, thread);
		if (r == 0)
			return gd_fail(err, -ETIMEDOUT, "thread %d: an injected call takes too "
			               "long", thread->tid);
		*ret = status;
		if (status == (SIGTRAP | 0x80) || status >> 8 == PTRACE_EVENT_CLONE)
			return 0;
		/* Only SIGSTOP gets here, all others are blocked; it works when we are gone. */
	}
	return gd_fail(err, -EAGAIN, "thread %d: stopped again and again", thread->tid);
}

static int start_call(struct gd_inject *inject, const struct gd_inject_call *call,
                      struct gd_error *err)
{
	int status = 0;
	struct user_regs_struct regs = inject->base;
	regs.rip = inject->site.call_at;
	regs.rax = (uint64_t)call->nr;
	regs.rdi = call->args[0];
	regs.rsi = call->args[1];
	regs.rdx = call->args[2];
	regs.r10 = call->args[3];
	regs.r8 = call->args[4];
	regs.r9 = call->args[5];
	if (gd_tracer_set_regs(inject->thread->tid, &regs) < 0)
		return gd_tracer_lost(err, inject->thread);
	gd_freeze_fault("armed");
	int r = step(inject->thread, &status, err);
	if (r < 0)
		return r;
	if (gd_tracer_get_regs(inject->thread->tid, &regs) < 0)
		return gd_tracer_lost(err, inject->thread);
	if (regs.rip != inject->base.rip || regs.orig_rax != (uint64_t)call->nr)
		return gd_fail(err, -EIO, "thread %d: entered call %lld at 0x%llx, not ours",
		               inject->thread->tid, (long long)regs.orig_rax, regs.rip);
	gd_freeze_fault("entered");
	return 0;
}

/* Takes the answer and leaves the thread at the `ret`, with nothing the kernel could restart. */
static int finish_call(struct gd_inject *inject, struct gd_inject_call *call, struct gd_error *err)
{
	struct user_regs_struct regs;
	if (gd_tracer_get_regs(inject->thread->tid, &regs) < 0)
		return gd_tracer_lost(err, inject->thread);
	call->ret = (int64_t)regs.rax;
	gd_freeze_fault("left");
	if (gd_tracer_set_regs(inject->thread->tid, &inject->base) < 0)
		return gd_tracer_lost(err, inject->thread);
	gd_freeze_fault("answered");
	return 0;
}

static int call_once(struct gd_inject *inject, struct gd_inject_call *call, struct gd_error *err)
{
	int status = 0;
	int r = start_call(inject, call, err);
	if (r == 0)
		r = step(inject->thread, &status, err);
	return r < 0 ? r : finish_call(inject, call, err);
}

/* What the parent would have to tidy is written down before it can exist. */
static void note_before(struct gd_stop_report *report, const struct gd_inject_call *call)
{
	if (call->nr == SYS_userfaultfd)
		report->left_fd = GD_STOP_FD_UNKNOWN;
}

static void note_after(struct gd_stop_report *report, const struct gd_inject_call *call)
{
	if (call->nr == SYS_userfaultfd)
		report->left_fd = call->ret >= 0 ? (int32_t)call->ret : -1;
	else if (call->nr == SYS_close && call->ret == 0 &&
	         (int64_t)call->args[0] == report->left_fd)
		report->left_fd = -1;
	else if (call->nr == SYS_wait4 && call->ret > 0 && call->ret == report->child_pid)
		report->child_made = false;
}

int gd_inject_call(struct gd_tracer *tracer, struct gd_inject_call *call, struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	struct gd_stop_report *report = &tracer->shared->report;
	if (inject->thread == NULL)
		return gd_fail(err, -EINVAL, "no thread is on a frame");
	note_before(report, call);
	int r = 0;
	do {
		r = call_once(inject, call, err);
	} while (r == 0 && call->ret == -ERESTARTNOINTR_ &&
	         gd_clock_monotonic_ns() < tracer->deadline_ns);
	if (r == 0)
		note_after(report, call);
	return r;
}

int gd_inject_ask_dumpable(struct gd_tracer *tracer, struct gd_error *err)
{
	struct gd_inject_call ask = { .nr = SYS_prctl, .args = { PR_GET_DUMPABLE } };
	int r = gd_inject_call(tracer, &ask, err);
	if (r < 0)
		return r;
	return ask.ret == 1 ? 0 : gd_fail(err, -EACCES, "it says that it is not dumpable (G10): its "
	                                  "memory counts as secret; allow secret memory to take it");
}

/* ---- fork ------------------------------------------------------------------------------------ */

static int hold_child(struct gd_inject *inject, struct gd_error *err)
{
	unsigned long message = 0;
	int status = 0;
	if (ptrace(PTRACE_GETEVENTMSG, inject->thread->tid, NULL, &message) < 0)
		return gd_tracer_lost(err, inject->thread);
	inject->child = (pid_t)message;
	gd_freeze_fault("born");
	int r = -ESRCH; /* 0: it is in a pid namespace that is not below ours */
	if (inject->child > 0)
		r = gd_tracer_wait(inject->child, gd_clock_monotonic_ns() + CHILD_NS, &status);
	if (r > 0 && status >> 8 == PTRACE_EVENT_STOP &&
	    ptrace(PTRACE_SETOPTIONS, inject->child, NULL,
	           (long)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) == 0) {
		gd_freeze_fault("held");
		return 0;
	}
	if (inject->child > 0)
		(void)kill(inject->child, SIGKILL);
	return gd_fail(err, r < 0 ? -ESRCH : -ETIMEDOUT, "the child %d is not in our hands (G3)",
	               inject->child);
}

static int clone_once(struct gd_inject *inject, struct gd_inject_call *call, bool *ret_made,
                      struct gd_error *err)
{
	int status = 0;
	int held = 0;
	int r = start_call(inject, call, err);
	if (r == 0)
		r = step(inject->thread, &status, err);
	if (r == 0 && status >> 8 == PTRACE_EVENT_CLONE) {
		*ret_made = true;
		held = hold_child(inject, err);
		r = step(inject->thread, &status, held < 0 ? NULL : err);
	}
	if (r == 0)
		r = finish_call(inject, call, held < 0 ? NULL : err);
	return held < 0 ? held : r;
}

int gd_inject_fork(struct gd_tracer *tracer, pid_t *ret_pid, int32_t *ret_inner,
                   struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	struct gd_stop_report *report = &tracer->shared->report;
	if (inject->thread == NULL || inject->child != 0)
		return gd_fail(err, -EINVAL, "no thread is on a frame, or there is a child");
	pid_t tid = inject->thread->tid;
	/* No exit signal: the target is told nothing of this child, and waits for none like it. */
	struct gd_inject_call call = { .nr = SYS_clone, .args = { 0, inject->child_stack } };
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL,
	           (long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)) < 0)
		return gd_tracer_lost(err, inject->thread);
	report->child_pid = 0;
	report->child_made = true;
	bool made = false;
	int r = 0;
	do {
		r = clone_once(inject, &call, &made, err);
	} while (r == 0 && !made && call.ret == -ERESTARTNOINTR_ &&
	         gd_clock_monotonic_ns() < tracer->deadline_ns);
	(void)ptrace(PTRACE_SETOPTIONS, tid, NULL, (long)PTRACE_O_TRACESYSGOOD);
	if (made && call.ret > 0)
		report->child_pid = (int32_t)call.ret;
	if (r == 0 && call.ret < 0) {
		report->child_made = false;
		r = gd_fail_errno(err, (int)call.ret, "clone in thread %d", tid);
	}
	if (r < 0) {
		gd_inject_kill_child(tracer);
		return r;
	}
	*ret_pid = inject->child;
	*ret_inner = report->child_pid;
	return 0;
}

void gd_inject_kill_child(struct gd_tracer *tracer)
{
	struct gd_inject *inject = tracer->inject;
	int status = 0;
	if (inject->child <= 0)
		return;
	/* Not reaped yet, so the number is still its own. */
	(void)kill(inject->child, SIGKILL);
	int64_t deadline_ns = gd_clock_monotonic_ns() + CHILD_NS;
	if (deadline_ns < tracer->deadline_ns)
		deadline_ns = tracer->deadline_ns;
	while (gd_clock_monotonic_ns() < deadline_ns &&
	       gd_tracer_wait(inject->child, deadline_ns, &status) > 0)
		gd_tracer_rest(); /* it still shows the stop it was killed in */
	inject->child = 0;
}

int gd_inject_end(struct gd_tracer *tracer, struct gd_error *err)
{
	struct gd_inject *inject = tracer->inject;
	struct gd_tracer_thread *thread = inject->thread;
	(void)err;
	if (thread == NULL || tracer->all_stopped)
		return 0; /* it goes with all others, by gd_stop_detach */
	inject->thread = NULL;
	if (tracer->one)
		gd_stop_detach(tracer);
	else
		(void)gd_tracer_resume_thread(thread, PTRACE_CONT);
	gd_freeze_fault("ended");
	gd_tracer_note_resumed(tracer);
	tracer->shared->report.inject_ns += gd_clock_monotonic_ns() - inject->began_ns;
	return 0;
}

#endif
