/*
 * Signal frames of x86-64 as rt_sigreturn takes them (arch/x86/kernel/signal_64.c, since 2.6):
 *
 *	at        restorer          popped by the `ret` that leads there
 *	at + 8    struct ucontext   registers, mask, a pointer to the xstate
 *	at + 312  siginfo           not looked at
 *	...       xstate            64-aligned, with magic numbers and its own size
 */
#include "freeze/inject.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's codes for "this call was interrupted", which no program ever sees. */
enum {
	ERESTARTSYS_ = 512,
	ERESTARTNOINTR_ = 513,
	ERESTARTNOHAND_ = 514,
	ERESTART_RESTARTBLOCK_ = 516,
};

#define RED_ZONE 128u
#define TRAP_FLAG 0x100u
#define DIRECTION_FLAG 0x400u
#define UC_FP_XSTATE_ 1u
#define UC_SIGCONTEXT_SS_ 2u
#define UC_STRICT_RESTORE_SS_ 4u
#define NO_SUCH_STACK 0x40000000u /* no value of ss_flags: sigreturn leaves the stack as it is */

#define XSTATE_SW 464u     /* struct _fpx_sw_bytes within the legacy area */
#define XSTATE_HEADER 512u
#define XSTATE_MIN 576u
#define XSTATE_PKRU (UINT64_C(1) << 9)
#define XSTATE_TILES (UINT64_C(1) << 18)
#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u

struct rt_frame {
	uint64_t restorer;
	struct {
		uint64_t flags, link;
		struct {
			uint64_t sp;
			uint32_t flags, pad;
			uint64_t size;
		} stack;
		uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx,
			rsp, rip, eflags;
		uint16_t cs, gs, fs, ss;
		uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
		uint64_t sigmask;
	} uc;
	uint8_t info[128];
};
_Static_assert(sizeof(struct rt_frame) == GD_INJECT_FRAME_BYTES, "as the kernel lays it out");

struct fpx_sw {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};
_Static_assert(sizeof(struct fpx_sw) == 48, "as the kernel lays it out");

/*
 * A call that the kernel would go on with after the time it already waited is one that rt_sigreturn
 * turns into EINTR.  It may start from the beginning only when it waits for ever, or until a point in time.
 */
static bool starts_again(const struct user_regs_struct *regs)
{
	switch (regs->orig_rax) {
	case SYS_poll:
		return (int)regs->rdx < 0;
	case SYS_futex:
		return regs->r10 == 0 ||
		       ((int)regs->rsi & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	default:
		return false;
	}
}

int gd_inject_frame_settle(struct user_regs_struct *regs, struct gd_error *err)
{
	if ((int64_t)regs->orig_rax < 0)
		return 0;
	switch (-(int64_t)regs->rax) {
	case ERESTART_RESTARTBLOCK_:
		if (!starts_again(regs))
			return gd_fail(err, -ENOTSUP, "it waits with a time limit in call %lld",
			               (long long)regs->orig_rax);
		break;
	case ERESTARTSYS_:
	case ERESTARTNOINTR_:
	case ERESTARTNOHAND_:
		break;
	default:
		regs->orig_rax = UINT64_MAX;
		return 0;
	}
	regs->rax = regs->orig_rax;
	regs->rip -= GD_INJECT_CALL_BYTES;
	regs->orig_rax = UINT64_MAX;
	return 0;
}

/* Size of the standard format for what every thread may have (no tiles: those are asked for). */
static size_t default_xstate_bytes(uint64_t features)
{
	size_t bytes = XSTATE_MIN;
	for (unsigned i = 2; i < 63; i++) {
		unsigned size = 0;
		unsigned offset = 0;
		unsigned c = 0;
		unsigned d = 0;
		if ((features >> i & 1) == 0)
			continue;
		__cpuid_count(0xd, i, size, offset, c, d);
		if ((size_t)size + offset > bytes)
			bytes = (size_t)size + offset;
	}
	return bytes;
}

/* The kernel writes XCR0 where a frame has its own words (NT_X86_XSTATE, since 2.6.34). */
static uint64_t features_of(const uint8_t *xstate)
{
	uint64_t xcr0;
	memcpy(&xcr0, xstate + XSTATE_SW, sizeof(xcr0));
	return xcr0 & ~XSTATE_TILES;
}

int gd_inject_frame_check_xstate(const uint8_t *xstate, size_t bytes, struct gd_error *err)
{
	uint64_t in_use = 0;
	if (bytes < XSTATE_MIN)
		return gd_fail(err, -ENOTSUP, "its extended registers cannot be read");
	memcpy(&in_use, xstate + XSTATE_HEADER, sizeof(in_use));
	if ((in_use & XSTATE_TILES) != 0)
		return gd_fail(err, -ENOTSUP, "it uses tile registers");
	if (default_xstate_bytes(features_of(xstate)) > bytes)
		return gd_fail(err, -ENOTSUP, "%zu bytes of extended registers are not all", bytes);
	return 0;
}

static size_t put_xstate(uint8_t *to, const uint8_t *xstate)
{
	uint64_t features = features_of(xstate);
	size_t bytes = default_xstate_bytes(features);
	struct fpx_sw sw = {
		.magic1 = MAGIC1,
		.extended_size = (uint32_t)bytes + (uint32_t)sizeof(uint32_t),
		.xfeatures = features,
		.xstate_size = (uint32_t)bytes,
	};
	uint32_t magic2 = MAGIC2;
	uint64_t in_use;
	memcpy(to, xstate, bytes);
	memcpy(to + XSTATE_SW, &sw, sizeof(sw));
	memcpy(to + bytes, &magic2, sizeof(magic2));
	/* The keys' register is always in the bytes, whether or not its bit says so. */
	memcpy(&in_use, to + XSTATE_HEADER, sizeof(in_use));
	in_use |= features & XSTATE_PKRU;
	memcpy(to + XSTATE_HEADER, &in_use, sizeof(in_use));
	return bytes + sizeof(magic2);
}

static struct rt_frame frame_of(const struct user_regs_struct *regs, uint64_t mask,
                                uint64_t fpstate, uint64_t restorer)
{
	struct rt_frame frame = {
		.restorer = restorer,
		.uc = {
			.flags = UC_SIGCONTEXT_SS_ | UC_STRICT_RESTORE_SS_ |
			         (fpstate != 0 ? UC_FP_XSTATE_ : 0),
			.stack.flags = NO_SUCH_STACK,
			.r8 = regs->r8, .r9 = regs->r9, .r10 = regs->r10, .r11 = regs->r11,
			.r12 = regs->r12, .r13 = regs->r13, .r14 = regs->r14, .r15 = regs->r15,
			.rdi = regs->rdi, .rsi = regs->rsi, .rbp = regs->rbp, .rbx = regs->rbx,
			.rdx = regs->rdx, .rax = regs->rax, .rcx = regs->rcx, .rsp = regs->rsp,
			.rip = regs->rip, .eflags = regs->eflags,
			.cs = (uint16_t)regs->cs, .ss = (uint16_t)regs->ss,
			.fpstate = fpstate, .sigmask = mask,
		},
	};
	return frame;
}

size_t gd_inject_frame_build(uint8_t *to, size_t max, uint64_t top,
                             const struct user_regs_struct *regs, uint64_t mask,
                             const uint8_t *xstate, size_t xstate_bytes,
                             const struct gd_inject_site *site, uint64_t restorer,
                             uint64_t *ret_at, uint64_t *ret_frame, uint64_t *ret_child_frame)
{
	uint64_t fpstate = 0;
	uint64_t end = top - RED_ZONE;
	uint64_t below = end;
	if (xstate != NULL) {
		/* No more of it than the check saw. */
		size_t bytes = default_xstate_bytes(features_of(xstate));
		if (bytes > xstate_bytes)
			return 0;
		fpstate = (end - bytes - sizeof(uint32_t)) & ~UINT64_C(63);
		below = fpstate;
	}
	uint64_t at_frame = (below - sizeof(struct rt_frame)) & ~UINT64_C(15);
	uint64_t at_child = (at_frame - sizeof(struct rt_frame)) & ~UINT64_C(15);
	if (end - at_child > max)
		return 0;

	/* The child: exit_group(0) from its own frame, in silence and with all signals blocked. */
	struct user_regs_struct last = *regs;
	last.rip = site->call_at;
	last.rax = SYS_exit_group;
	last.rdi = 0;
	last.rsp = at_child;
	last.eflags &= ~(uint64_t)(TRAP_FLAG | DIRECTION_FLAG);
	struct rt_frame child = frame_of(&last, UINT64_MAX, 0, restorer);
	struct rt_frame frame = frame_of(regs, mask, fpstate, restorer);
	memset(to, 0, end - at_child);
	memcpy(to, &child, sizeof(child));
	memcpy(to + (at_frame - at_child), &frame, sizeof(frame));
	if (xstate != NULL)
		(void)put_xstate(to + (fpstate - at_child), xstate);
	*ret_at = at_child;
	*ret_frame = at_frame;
	*ret_child_frame = at_child;
	return end - at_child;
}

int gd_inject_frame_read(int mem_fd, uint64_t at, struct gd_inject_kernel_frame *ret,
                         struct gd_error *err)
{
	struct rt_frame frame;
	if (pread(mem_fd, &frame, sizeof(frame), (off_t)at) != (ssize_t)sizeof(frame))
		return gd_fail(err, -EBADMSG, "no signal frame at 0x%llx", (unsigned long long)at);
	bool on_stack = frame.uc.stack.size != 0 && at >= frame.uc.stack.sp &&
	                at - frame.uc.stack.sp < frame.uc.stack.size;
	*ret = (struct gd_inject_kernel_frame){
		.restorer = frame.restorer,
		.rip = frame.uc.rip,
		.rsp = frame.uc.rsp,
		.stack_low = on_stack ? frame.uc.stack.sp : 0,
	};
	return 0;
}

#endif
