#include "freeze/tracer.h"

#if defined(__x86_64__)

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define PENDING_AT_ONCE 8

int gd_tracer_get_regs(pid_t tid, struct user_regs_struct *regs)
{
	struct iovec iov = { regs, sizeof(*regs) };
	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &iov) < 0 ? -errno : 0;
}

int gd_tracer_set_regs(pid_t tid, const struct user_regs_struct *regs)
{
	struct user_regs_struct copy = *regs;
	struct iovec iov = { &copy, sizeof(copy) };
	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &iov) < 0 ? -errno : 0;
}

/* Signals that wait for this thread alone; the mask of the process is in proc/status. */
static uint64_t read_pending(pid_t tid)
{
	siginfo_t infos[PENDING_AT_ONCE];
	struct __ptrace_peeksiginfo_args args = { .nr = PENDING_AT_ONCE };
	long n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos);
	uint64_t mask = 0;
	for (long i = 0; i < n; i++)
		if (infos[i].si_signo >= 1 && infos[i].si_signo <= 64)
			mask |= UINT64_C(1) << (infos[i].si_signo - 1);
	return mask;
}

static int read_thread(const struct gd_tracer_thread *from, struct gd_image_thread *to,
                       uint8_t *xstate, size_t xstate_each)
{
	struct iovec iov = { xstate, xstate_each };
	int r = gd_tracer_get_regs(from->tid, &to->regs);
	if (r < 0)
		return r;
	if (xstate_each > 0 &&
	    ptrace(PTRACE_GETREGSET, from->tid, (void *)NT_X86_XSTATE, &iov) == 0)
		to->xstate_bytes = (uint32_t)iov.iov_len;
	(void)ptrace(PTRACE_GETSIGMASK, from->tid, (void *)sizeof(to->sighold), &to->sighold);
	to->sigpend = read_pending(from->tid);
	if (from->signal > 0 && from->signal <= 64)
		to->sigpend |= UINT64_C(1) << (from->signal - 1);
	to->stopped = true;
	return 0;
}

/* It stands in a frame of ours; how it stood before is what it will go on with. */
static void copy_injected(const struct gd_inject *inject, struct gd_image_thread *to,
                          uint8_t *xstate, size_t xstate_each)
{
	to->regs = inject->regs;
	to->sighold = inject->sigmask;
	to->stopped = true;
	if (inject->xstate_bytes <= xstate_each) {
		to->xstate_bytes = inject->xstate_bytes;
		memcpy(xstate, inject->xstate, inject->xstate_bytes);
	}
}

int gd_stop_registers(struct gd_tracer *tracer, struct gd_image_thread *threads, size_t max,
                      uint8_t *xstates, size_t xstate_each, size_t *ret_n, struct gd_error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < tracer->n; i++) {
		const struct gd_tracer_thread *thread = &tracer->threads[i];
		if (thread->state == GD_TRACER_GONE)
			continue;
		if (n == max)
			return gd_fail(err, -E2BIG, "more than %zu threads", max);
		uint8_t *xstate = xstates + n * xstate_each;
		threads[n] = (struct gd_image_thread){ .tid = thread->tid };
		if (thread == tracer->inject->thread)
			copy_injected(tracer->inject, &threads[n], xstate, xstate_each);
		else if (thread->state == GD_TRACER_STOPPED &&
		         read_thread(thread, &threads[n], xstate, xstate_each) == -ESRCH)
			continue; /* SIGKILL ends a thread even while it stands */
		n++;
	}
	*ret_n = n;
	return 0;
}

#endif
