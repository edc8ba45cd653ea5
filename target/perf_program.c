#include "target/perf_program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "target/btf.h"

#define INIT_PID_NAMESPACE 0xEFFFFFFCu /* PROC_PID_INIT_INO; fixed since 3.8 */
#define MAP_CPUS 8192                  /* a pointer each */

void gd_perf_programs_close(struct gd_perf_programs *p)
{
	const int fds[] = { p->filter_fd, p->wakeups_fd, p->syscalls_fd };
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	*p = (struct gd_perf_programs)GD_PERF_PROGRAMS_INIT;
}

/* ---- bpf(2) ---------------------------------------------------------------------------------- */

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
	return r < 0 ? -errno : (int)r;
}

static int make_map(enum bpf_map_type type, uint32_t value_bytes, uint32_t n, uint32_t flags,
                    struct gd_error *err)
{
	union bpf_attr attr;
	/* Not all of it has names here. */
	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = value_bytes;
	attr.max_entries = n;
	attr.map_flags = flags;
	int fd = bpf(BPF_MAP_CREATE, &attr);
	return fd < 0 ? gd_fail_errno(err, fd, "a BPF map (CAP_BPF, CAP_PERFMON)") : fd;
}

/* ---- putting together ------------------------------------------------------------------------ */

enum { INSTRUCTIONS = 128, OUTS = 24 };

struct assembly {
	struct bpf_insn list[INSTRUCTIONS];
	uint32_t n;
	uint32_t outs[OUTS]; /* jumps to where it is over */
	uint32_t n_outs;
};

enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = BPF_REG_10 };

static void put(struct assembly *a, struct bpf_insn insn)
{
	if (a->n < INSTRUCTIONS)
		a->list[a->n++] = insn;
}

#define REG(r) ((unsigned)(r) & 15u)

static void put_copy(struct assembly *a, unsigned to, unsigned from)
{
	put(a, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = REG(to),
		                  .src_reg = REG(from) });
}

/* An operation with a number; BPF_MOV puts all of its 32 bits there and zeros above. */
static void put_number(struct assembly *a, unsigned operation, unsigned to, uint32_t number)
{
	unsigned width = operation == BPF_MOV ? BPF_ALU : BPF_ALU64;
	put(a, (struct bpf_insn){ .code = (uint8_t)(width | operation | BPF_K), .dst_reg = REG(to),
		                  .imm = (int32_t)number });
}

static void put_load(struct assembly *a, unsigned size, unsigned to, unsigned from, int16_t offset)
{
	put(a, (struct bpf_insn){ .code = (uint8_t)(BPF_LDX | BPF_MEM | size), .dst_reg = REG(to),
		                  .src_reg = REG(from), .off = offset });
}

static void put_call(struct assembly *a, int function)
{
	put(a, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = function });
}

/* Over so many instructions. */
static void put_skip(struct assembly *a, unsigned when, unsigned reg, uint32_t number, int16_t n)
{
	put(a, (struct bpf_insn){ .code = (uint8_t)(BPF_JMP | when | BPF_K), .dst_reg = REG(reg),
		                  .off = n, .imm = (int32_t)number });
}

static void put_out(struct assembly *a, unsigned when, unsigned reg, uint32_t number)
{
	if (a->n_outs < OUTS)
		a->outs[a->n_outs++] = a->n;
	put_skip(a, when, reg, number, 0);
}

static void put_map(struct assembly *a, unsigned to, int map_fd)
{
	put(a, (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = REG(to),
		                  .src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd });
	put(a, (struct bpf_insn){ .code = 0 });
}

static void put_exit(struct assembly *a, uint32_t answer)
{
	put_number(a, BPF_MOV, R0, answer);
	put(a, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* 4 or 8 bytes of the kernel's at `from` + offset to the stack, 8 below its end.  Uses R0 to R5. */
static void put_read(struct assembly *a, unsigned from, uint32_t offset, uint32_t bytes)
{
	put_copy(a, R3, from);
	put_number(a, BPF_ADD, R3, offset);
	put_copy(a, R1, FP);
	put_number(a, BPF_ADD, R1, (uint32_t)-8);
	put_number(a, BPF_MOV, R2, bytes);
	put_call(a, BPF_FUNC_probe_read_kernel);
	put_out(a, BPF_JNE, R0, 0);
}

/* The same into a register. */
static void put_fetch(struct assembly *a, unsigned to, unsigned from, uint32_t offset, uint32_t bytes)
{
	put_read(a, from, offset, bytes);
	put_load(a, bytes == 8 ? BPF_DW : BPF_W, to, FP, -8);
}

/* Where it is over, and out of here. */
static int load(struct assembly *a, enum bpf_prog_type type, struct gd_error *err)
{
	union bpf_attr attr;
	for (uint32_t i = 0; i < a->n_outs; i++)
		a->list[a->outs[i]].off = (int16_t)(a->n - a->outs[i] - 1);
	put_exit(a, 0);
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insn_cnt = a->n;
	attr.insns = (uint64_t)(uintptr_t)a->list;
	attr.license = (uint64_t)(uintptr_t)"GPL";
	int fd = bpf(BPF_PROG_LOAD, &attr);
	return fd < 0 ? gd_fail_errno(err, fd, "a BPF program (CAP_BPF, CAP_PERFMON)") : fd;
}

static int trace(struct assembly *a, const char *tracepoint, int *ret_fd, struct gd_error *err)
{
	union bpf_attr attr;
	GD_CLOSE int program_fd = load(a, BPF_PROG_TYPE_RAW_TRACEPOINT, err);
	if (program_fd < 0)
		return program_fd;
	memset(&attr, 0, sizeof(attr));
	attr.raw_tracepoint.name = (uint64_t)(uintptr_t)tracepoint;
	attr.raw_tracepoint.prog_fd = (uint32_t)program_fd;
	int fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
	if (fd < 0)
		return gd_fail_errno(err, fd, "tracepoint %s", tracepoint);
	*ret_fd = fd;
	return 0;
}

/* ---- whose it is ----------------------------------------------------------------------------- */

/* By which numbers BPF knows the process. */
struct names {
	bool first;       /* those of the first pid namespace are ours */
	uint32_t dev, ino; /* else of this one, which is its own, too */
};

static int stat_namespace(const char *process, struct stat *st)
{
	char path[48];
	(void)snprintf(path, sizeof(path), "/proc/%s/ns/pid", process);
	return stat(path, st) < 0 ? -errno : 0;
}

static int find_names(pid_t tgid, struct names *ret, struct gd_error *err)
{
	struct stat ours, its;
	char number[16];
	if (stat_namespace("self", &ours) < 0)
		return gd_fail(err, -ENOTSUP, "which pid namespace is this? (/proc/self/ns/pid)");
	if (ours.st_ino == INIT_PID_NAMESPACE) {
		*ret = (struct names){ .first = true };
		return 0;
	}
	/* The kernel answers for a process of the namespace named, and for none below it. */
	(void)snprintf(number, sizeof(number), "%d", tgid);
	if (stat_namespace(number, &its) < 0 || its.st_ino != ours.st_ino)
		return gd_fail(err, -ENOTSUP, "BPF knows processes by the numbers of the first pid "
		               "namespace or of their own, and we are in neither");
	/* As the kernel writes a device's number, which is not how it tells it. */
	*ret = (struct names){ .dev = major(ours.st_dev) << 20 | minor(ours.st_dev),
		               .ino = (uint32_t)ours.st_ino };
	return 0;
}

/* Goes on only for the process that runs; uses R0 to R5. */
static void put_is_current(struct assembly *a, const struct names *names, pid_t tgid)
{
	if (names->first) {
		put_call(a, BPF_FUNC_get_current_pid_tgid);
		put_number(a, BPF_RSH, R0, 32);
	} else {
		put_number(a, BPF_MOV, R1, names->dev);
		put_number(a, BPF_MOV, R2, names->ino);
		put_copy(a, R3, FP);
		put_number(a, BPF_ADD, R3, (uint32_t)-8);
		put_number(a, BPF_MOV, R4, sizeof(struct bpf_pidns_info));
		put_call(a, BPF_FUNC_get_ns_current_pid_tgid);
		put_out(a, BPF_JNE, R0, 0);
		put_load(a, BPF_W, R0, FP, -8 + (int16_t)offsetof(struct bpf_pidns_info, tgid));
	}
	put_out(a, BPF_JNE, R0, (uint32_t)tgid);
}

int gd_perf_programs_filter(struct gd_perf_programs *p, pid_t tgid, struct gd_error *err)
{
	struct assembly a = { .n = 0 };
	struct names names;
	if (p->filter_fd >= 0)
		return p->filter_fd;
	int r = find_names(tgid, &names, err);
	if (r < 0)
		return r;
	put_is_current(&a, &names, tgid);
	put_exit(&a, 1);
	r = load(&a, BPF_PROG_TYPE_PERF_EVENT, err);
	/* A kernel before 5.7 knows no other namespace than the first. */
	if (r == -EINVAL && !names.first)
		return gd_fail(err, -ENOTSUP, "BPF of this kernel knows processes by the numbers of "
		               "the first pid namespace, and this is another");
	if (r >= 0)
		p->filter_fd = r;
	return r;
}

/* ---- where the kernel keeps things ----------------------------------------------------------- */

static int read_btf(struct gd_buf *btf, struct gd_error *err)
{
	int r = gd_io_read_file_at(AT_FDCWD, GD_BTF_VMLINUX, btf, err);
	return r == -ENOENT ? gd_fail(err, -ENOENT, "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
	                    : r;
}

static int find_offset(const struct gd_buf *btf, const char *name, const char *member, uint32_t *ret,
                       struct gd_error *err)
{
	return gd_btf_offset((const uint8_t *)btf->data, btf->len, name, member, ret, err);
}

/* ---- wake-ups -------------------------------------------------------------------------------- */

int gd_perf_programs_wakeups(struct gd_perf_programs *p, uint32_t cpu, int event_fd,
                             struct gd_error *err)
{
	union bpf_attr attr;
	uint32_t value = (uint32_t)event_fd;
	if (p->wakeups_fd < 0) {
		int fd = make_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, sizeof(uint32_t), MAP_CPUS, 0, err);
		if (fd < 0)
			return fd;
		p->wakeups_fd = fd;
	}
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)p->wakeups_fd;
	attr.key = (uint64_t)(uintptr_t)&cpu;
	attr.value = (uint64_t)(uintptr_t)&value;
	int r = bpf(BPF_MAP_UPDATE_ELEM, &attr);
	return r < 0 ? gd_fail_errno(err, r, "an event for wake-ups on CPU %u", cpu) : 0;
}

/* Where a task has its numbers. */
struct numbers {
	uint32_t tgid, pid; /* of the first namespace, in a task_struct */
	/* Of its own: task_struct's pointers, then in struct pid, whose last member is an array with one of
	 * these (the number, the namespace) for each namespace it is in. */
	uint32_t leader, thread_pid;
	uint32_t level, numbers, nr, ns;
	uint32_t inum; /* in a struct pid_namespace */
};
#define UPID_BYTES_SHIFT 4 /* struct upid: an int and a pointer, since 4.15 */

static int find_numbers(bool first, struct numbers *ret, struct gd_error *err)
{
	uint32_t common = 0, inum = 0;
	struct numbers n = { .tgid = 0 };
	const struct {
		bool first;
		const char *type, *member;
		uint32_t *to;
	} wanted[] = {
		{ true, "task_struct", "tgid", &n.tgid },
		{ true, "task_struct", "pid", &n.pid },
		{ false, "task_struct", "group_leader", &n.leader },
		{ false, "task_struct", "thread_pid", &n.thread_pid },
		{ false, "pid", "level", &n.level },
		{ false, "pid", "numbers", &n.numbers },
		{ false, "upid", "nr", &n.nr },
		{ false, "upid", "ns", &n.ns },
		{ false, "pid_namespace", "ns", &common },
		{ false, "ns_common", "inum", &inum },
	};
	GD_BUF struct gd_buf btf = GD_BUF_INIT(GD_BTF_BYTES_MAX);
	int r = read_btf(&btf, err);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]) && r == 0; i++)
		if (wanted[i].first == first)
			r = find_offset(&btf, wanted[i].type, wanted[i].member, wanted[i].to, err);
	if (r < 0)
		return r;
	n.inum = common + inum;
	*ret = n;
	return 0;
}

/* R8: where `task` has the number and the namespace of its own. */
static void put_own(struct assembly *a, const struct numbers *n, unsigned task)
{
	put_fetch(a, R8, task, n->thread_pid, 8);
	put_fetch(a, R9, R8, n->level, 4);
	put_number(a, BPF_LSH, R9, UPID_BYTES_SHIFT);
	put(a, (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = R8, .src_reg = R9 });
	put_number(a, BPF_ADD, R8, n->numbers);
}

/* sched_wakeup(struct task_struct *p): p, in R7, is on a run queue from here on.  Leaves its number on the
 * stack when it is one of tgid's. */
static void put_number_of_first(struct assembly *a, const struct numbers *n, pid_t tgid)
{
	put_fetch(a, R0, R7, n->tgid, 4);
	put_out(a, BPF_JNE, R0, (uint32_t)tgid);
	put_read(a, R7, n->pid, 4);
}

static void put_number_of_own(struct assembly *a, const struct numbers *n, uint32_t ino, pid_t tgid)
{
	put_own(a, n, R7);
	put_fetch(a, R9, R8, n->ns, 8);
	put_fetch(a, R0, R9, n->inum, 4);
	/* A number of 32 bits, which the other comparisons would widen with its sign. */
	put_number(a, BPF_MOV, R9, ino);
	put(a, (struct bpf_insn){ .code = BPF_JMP | BPF_JEQ | BPF_X, .dst_reg = R0, .src_reg = R9,
		                  .off = 1 });
	put_out(a, BPF_JA, R0, 0);
	put_fetch(a, R9, R7, n->leader, 8);
	put_own(a, n, R9);
	put_fetch(a, R0, R8, n->nr, 4);
	put_out(a, BPF_JNE, R0, (uint32_t)tgid);
	put_own(a, n, R7);
	put_read(a, R8, n->nr, 4);
}

static void put_wakeup(struct assembly *a, const struct numbers *n, const struct names *names,
                       pid_t tgid, int map_fd)
{
	put_copy(a, R6, R1);
	put_load(a, BPF_DW, R7, R1, 0);
	if (names->first)
		put_number_of_first(a, n, tgid);
	else
		put_number_of_own(a, n, names->ino, tgid);
	put_copy(a, R1, R6);
	put_map(a, R2, map_fd);
	put_number(a, BPF_MOV, R3, (uint32_t)BPF_F_CURRENT_CPU);
	put_copy(a, R4, FP);
	put_number(a, BPF_ADD, R4, (uint32_t)-8);
	put_number(a, BPF_MOV, R5, 4);
	put_call(a, BPF_FUNC_perf_event_output);
}

int gd_perf_programs_wakeups_on(struct gd_perf_programs *p, pid_t tgid, int *ret_fd,
                                struct gd_error *err)
{
	struct assembly a = { .n = 0 };
	struct names names;
	struct numbers numbers = { .tgid = 0 };
	if (p->wakeups_on)
		return gd_fail(err, -EALREADY, "wake-ups are told already");
	if (p->wakeups_fd < 0)
		return gd_fail(err, -EINVAL, "wake-ups nobody takes");
	int r = find_names(tgid, &names, err);
	if (r == 0)
		r = find_numbers(names.first, &numbers, err);
	if (r < 0)
		return r;
	put_wakeup(&a, &numbers, &names, tgid, p->wakeups_fd);
	r = trace(&a, "sched_wakeup", ret_fd, err);
	p->wakeups_on = r == 0;
	return r;
}

/* ---- system calls ---------------------------------------------------------------------------- */

int gd_perf_programs_syscalls(struct gd_perf_programs *p, int *ret_fd, struct gd_error *err)
{
	if (p->syscalls_fd < 0) {
		/* Not BPF_F_RDONLY, with which the kernel maps none; who writes spoils his own counts. */
		int fd = make_map(BPF_MAP_TYPE_ARRAY, sizeof(uint64_t),
		                  GD_PERF_SYSCALLS_STRIDE * GD_PERF_SYSCALLS_SLICES,
		                  BPF_F_MMAPABLE, err);
		if (fd < 0)
			return fd;
		p->syscalls_fd = fd;
	}
	int copy = fcntl(p->syscalls_fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return gd_fail_errno(err, -errno, "a map of system calls");
	*ret_fd = copy;
	return 0;
}

/*
 * Which bit says that 32-bit code calls, and where it is: in the task (in its thread_info, since 4.9) on
 * x86, where 64-bit code can do it as well (int 0x80); on arm64 in the registers, whose place is fixed.
 */
struct compat {
	uint32_t at, bit;
};

#if defined(__x86_64__)
static int find_compat(struct compat *ret, struct gd_error *err)
{
	uint32_t info_at = 0, status_at = 0;
	GD_BUF struct gd_buf btf = GD_BUF_INIT(GD_BTF_BYTES_MAX);
	int r = read_btf(&btf, err);
	if (r == 0)
		r = find_offset(&btf, "task_struct", "thread_info", &info_at, err);
	if (r == 0)
		r = find_offset(&btf, "thread_info", "status", &status_at, err);
	if (r == 0)
		*ret = (struct compat){ info_at + status_at, 2 /* TS_COMPAT */ };
	return r;
}

static void put_compat(struct assembly *a, const struct compat *compat)
{
	put_call(a, BPF_FUNC_get_current_task);
	put_read(a, R0, compat->at, 4);
}
#else
static int find_compat(struct compat *ret, struct gd_error *err)
{
	(void)err;
	*ret = (struct compat){ 33 * 8 /* user_pt_regs.pstate */, 0x10 /* PSR_MODE32_BIT */ };
	return 0;
}

static void put_compat(struct assembly *a, const struct compat *compat)
{
	put_load(a, BPF_DW, R7, R6, 0);
	put_read(a, R7, compat->at, 4);
}
#endif

/* sys_enter(struct pt_regs *regs, long number): counted, its arguments are not looked at. */
static void put_call_count(struct assembly *a, const struct names *names, pid_t tgid,
                           const struct compat *compat, int map_fd)
{
	put_copy(a, R6, R1);
	put_is_current(a, names, tgid);
	put_compat(a, compat);
	put_load(a, BPF_W, R7, FP, -8);
	put_number(a, BPF_MOV, R8, GD_PERF_SYSCALLS_COMPAT);
	put_skip(a, BPF_JSET, R7, compat->bit, 3);
	put_load(a, BPF_DW, R8, R6, 8);
	put_skip(a, BPF_JLT, R8, GD_PERF_SYSCALLS_NUMBERS, 1);
	put_number(a, BPF_MOV, R8, GD_PERF_SYSCALLS_OTHER);
	put_call(a, BPF_FUNC_get_smp_processor_id);
	put_number(a, BPF_AND, R0, GD_PERF_SYSCALLS_SLICES - 1);
	put_number(a, BPF_MUL, R0, GD_PERF_SYSCALLS_STRIDE);
	put(a, (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = R0, .src_reg = R8 });
	put(a, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = FP, .src_reg = R0,
		                  .off = -8 });
	put_map(a, R1, map_fd);
	put_copy(a, R2, FP);
	put_number(a, BPF_ADD, R2, (uint32_t)-8);
	put_call(a, BPF_FUNC_map_lookup_elem);
	put_out(a, BPF_JEQ, R0, 0);
	put_number(a, BPF_MOV, R1, 1);
	put(a, (struct bpf_insn){ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = R0,
		                  .src_reg = R1, .imm = BPF_ADD });
}

int gd_perf_programs_syscalls_on(struct gd_perf_programs *p, pid_t tgid, int *ret_fd,
                              struct gd_error *err)
{
	struct assembly a = { .n = 0 };
	struct names names;
	struct compat compat = { .at = 0 };
	if (p->syscalls_on)
		return gd_fail(err, -EALREADY, "system calls are counted already");
	if (p->syscalls_fd < 0)
		return gd_fail(err, -EINVAL, "system calls counted for nobody");
	int r = find_names(tgid, &names, err);
	if (r == 0)
		r = find_compat(&compat, err);
	if (r < 0)
		return r;
	put_call_count(&a, &names, tgid, &compat, p->syscalls_fd);
	r = trace(&a, "sys_enter", ret_fd, err);
	p->syscalls_on = r == 0;
	return r;
}
