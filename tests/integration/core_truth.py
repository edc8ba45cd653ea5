"""Compares a core of ours with the one the kernel wrote of the same process standing still.

    core_truth.py OURS THEIRS SAID [no-registers] [all]
    core_truth.py end PID

SAID is what the victim printed: lines "KIND START BYTES" and "rseq TID ADDRESS"; its maps follow.  Every byte that both cores
have must be the same, and so must the notes; a difference is accepted only under a name below, and
counted.  Prints the counts; exit 1 when anything differs without a name.

With "no-registers" ours was made without a stop.  With "all" the kernel dumped what is in files, too
(coredump_filter 0x7f): the pages that ours leaves to them are compared then.

The second form makes the kernel write that core: each thread gets a SIGABRT of its own, so that of a process
that was stopped none runs on before the dump.
"""
import collections
import ctypes
import errno
import os
import signal
import struct
import sys

PAGE = 4096
NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_XSTATE, NT_XSAVE_LAYOUT, NT_FILE, NT_SIGINFO = 0x202, 0x205, 0x46494C45, 0x53494749
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
             "fs_base gs_base ds es fs gs").split()
SYS_TGKILL, RESTART_SYSCALL = 234, 219
# What the kernel keeps of restartable sequences in a thread's memory; it writes there as it likes.
RSEQ_BYTES = 32

# Set when it dumps: PF_DUMPCORE, PF_SIGNALED, PF_POSTCOREDUMP.
PF_OF_A_DUMP = 0x608
ABORT = 1 << (signal.SIGABRT - 1)
KILL = 1 << 8

# Whether a kind is in our core and in the kernel's with the default coredump_filter (0x33); None: that
# depends on the kernel.
KINDS = {
    "data": (True, True), "bss": (True, True), "private": (True, True), "shared": (True, True),
    "memfd": (True, True), "huge": (True, True), "written": (True, True),
    # A process says with it that it is no business of a core's.
    "dontdump": (False, False),
    "dontfork": (True, True), "wipeonfork": (True, True),
    # Readable for who may force it, and it was written once.
    "none": (True, True),
    # What is there is in the file.
    "unwritten": (False, False), "file": (False, False),
    # docs/freeze.md G12: they stay out.
    "hugetlb": (False, True),
    "[vdso]": (True, True),
    # The kernel's clocks, which differ a moment later.
    "[vvar]": (False, None), "[vvar_vclock]": (False, None),
}

wrong = []
named = collections.Counter()


class Core:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        phoff, = struct.unpack_from("<Q", self.bytes, 32)
        n, = struct.unpack_from("<H", self.bytes, 56)
        self.loads, self.threads, self.notes = [], {}, {}
        for i in range(n):
            kind, flags, at, addr, _, filesz, memsz, _ = struct.unpack_from(
                "<IIQQQQQQ", self.bytes, phoff + i * 56)
            if kind == 4:
                self.take_notes(at, at + filesz)
            elif kind == 1 and memsz > 0:
                self.loads.append((addr, addr + memsz, addr + filesz, at, flags))

    def take_notes(self, at, end):
        thread = None
        while at < end:
            name_bytes, n, kind = struct.unpack_from("<III", self.bytes, at)
            at += 12 + (name_bytes + 3) // 4 * 4
            content = self.bytes[at:at + n]
            at += (n + 3) // 4 * 4
            if kind == NT_PRSTATUS:
                thread = self.threads.setdefault(struct.unpack_from("<i", content, 32)[0], {})
            if kind in (NT_PRSTATUS, NT_FPREGSET, NT_XSTATE):
                thread[kind] = content
            else:
                self.notes[kind] = content

    def page(self, addr):
        """The bytes of a page, None when they are not in the core."""
        for start, _, file_end, at, _ in self.loads:
            if start <= addr < file_end:
                return self.bytes[at + addr - start:at + min(addr - start + PAGE, file_end - start)]
        return None

    def pages(self):
        return {addr for start, _, file_end, _, _ in self.loads for addr in range(start, file_end, PAGE)}

    def registers(self, tid):
        return dict(zip(REGISTERS, struct.unpack_from("<27Q", self.threads[tid][NT_PRSTATUS], 112)))

    def files(self):
        note = self.notes[NT_FILE]
        n, unit = struct.unpack_from("<QQ", note)
        names = note[16 + 24 * n:].split(b"\0")
        return [(*struct.unpack_from("<QQQ", note, 16 + 24 * i), names[i].decode()) for i in range(n)], unit


def expect(what, ours, theirs):
    if ours != theirs:
        wrong.append("%s: %.300r, not %.300r" % (what, ours, theirs))


def compare_registers(tid, ours, theirs):
    mine, real = ours.registers(tid), theirs.registers(tid)
    for name in REGISTERS:
        if mine[name] == real[name]:
            continue
        if name == "orig_rax" and real[name] == RESTART_SYSCALL:
            # It was in a wait with a timeout, which it went on with by this call after our stop.
            named["orig_rax is restart_syscall"] += 1
        else:
            wrong.append("thread %d: %s: ours %#x, the kernel's %#x" % (tid, name, mine[name], real[name]))


def compare_status(tid, ours, theirs):
    """struct elf_prstatus: siginfo, cursig, sigpend, sighold, four ids, four times, registers, fpvalid."""
    mine, real = ours.threads[tid], theirs.threads[tid]
    a, b = mine[NT_PRSTATUS], real[NT_PRSTATUS]
    expect("thread %d: length of its status" % tid, len(a), len(b))
    # Nobody's signal ends the process we look at, and nothing asks a core for its times.
    named["pr_info, pr_cursig: ours has no signal"] += a[0:14] != b[0:14]
    named["pr_utime and the like: ours are 0"] += a[48:112] != b[48:112]
    expect("thread %d: no signal of ours" % tid, a[0:14], bytes(14))
    pending, held = struct.unpack_from("<QQ", b, 16)
    named["pr_sigpend: the SIGABRT of this test"] += pending & ABORT != 0
    named["pr_sigpend: the SIGKILL that holds threads for the dump"] += pending & KILL != 0
    expect("thread %d: pr_sigpend, pr_sighold" % tid, struct.unpack_from("<QQ", a, 16),
           (pending & ~(ABORT | KILL), held))
    expect("thread %d: pr_pid, ppid, pgrp, sid" % tid, struct.unpack_from("<4i", a, 32),
           struct.unpack_from("<4i", b, 32))
    expect("thread %d: pr_fpvalid" % tid, a[328:332], b[328:332])
    compare_registers(tid, ours, theirs)
    for kind in (NT_FPREGSET, NT_XSTATE):
        expect("thread %d: note %#x" % (tid, kind), mine.get(kind), real.get(kind))


def compare_process(ours, theirs):
    """struct elf_prpsinfo: state, sname, zomb, nice, flag, uid, gid, pid, ppid, pgrp, sid, fname, args."""
    a, b = ours.notes[NT_PRPSINFO], theirs.notes[NT_PRPSINFO]
    expect("length of the process's note", len(a), len(b))
    # One that dumps its core runs.
    named["pr_state: ours waits"] += a[0:2] != b[0:2]
    flags = struct.unpack_from("<Q", b, 8)[0]
    named["pr_flag: ours does not dump"] += flags & PF_OF_A_DUMP != 0
    expect("pr_flag", struct.unpack_from("<Q", a, 8)[0], flags & ~PF_OF_A_DUMP)
    expect("pr_zomb, pr_nice", struct.unpack_from("<bb", a, 2), struct.unpack_from("<bb", b, 2))
    expect("pr_uid, gid, pid, ppid, pgrp, sid", struct.unpack_from("<IIiiii", a, 16),
           struct.unpack_from("<IIiiii", b, 16))
    expect("pr_fname", a[40:56].rstrip(b"\0"), b[40:56].rstrip(b"\0"))
    # The kernel writes a blank for each argument's end, the last one's too.
    expect("pr_psargs", a[56:136].rstrip(b"\0"), b[56:136].rstrip(b"\0").rstrip(b" "))


def compare_threads(ours, theirs):
    expect("threads", sorted(ours.threads), sorted(theirs.threads))
    for tid in sorted(set(ours.threads) & set(theirs.threads)):
        compare_status(tid, ours, theirs)


def compare_notes(ours, theirs):
    compare_process(ours, theirs)
    expect("auxv", ours.notes[NT_AUXV], theirs.notes[NT_AUXV])
    expect("mapped files", ours.files(), theirs.files())
    # From Linux 6.12 on; debuggers that know it do without where it is missing.
    named["the layout of the extended state"] += NT_XSAVE_LAYOUT in theirs.notes
    expect("kinds of notes", sorted(ours.notes), sorted(set(theirs.notes) - {NT_XSAVE_LAYOUT}))
    named["siginfo: ours has none"] += ours.notes[NT_SIGINFO] != theirs.notes[NT_SIGINFO]


def compare_bytes(ours, theirs, rseqs):
    both = ours.pages() & theirs.pages()
    for addr in sorted(both):
        a, b = ours.page(addr), theirs.page(addr)
        if a == b:
            continue
        for i in range(min(len(a), len(b))):
            if a[i] == b[i]:
                continue
            if not any(at <= addr + i < at + RSEQ_BYTES for at in rseqs):
                wrong.append("the byte at %#x is %#x, the kernel says %#x" % (addr + i, a[i], b[i]))
                break
            named["bytes of rseq areas"] += 1
    return len(both)


def of_file(addr, files, unit):
    """The page of the mapped file that lies there, None when there is no file."""
    for start, end, offset, path in files:
        if start <= addr < end:
            try:
                with open(path, "rb") as f:
                    f.seek(offset * unit + addr - start)
                    return f.read(PAGE).ljust(PAGE, b"\0")
            except OSError:
                return None
    return None


def explain_missing(ours, theirs, kinds):
    """Pages that one of them has not: by the rules of the mapping they lie in, or of files."""
    files, unit = ours.files()
    for addr in sorted(theirs.pages() - ours.pages()):
        kind = next((k for k, start, n in kinds if start <= addr < start + n), None)
        if kind is not None and not KINDS[kind][0] and KINDS[kind][1] is not False:
            named["pages of %s" % kind] += 1
        elif addr >= 1 << 63:
            named["pages of vsyscall, which no process can read"] += 1
        elif of_file(addr, files, unit) == theirs.page(addr):
            # Whoever opens our core takes them from there.
            named["pages of files"] += 1
        else:
            wrong.append("the page at %#x is only in the kernel's core, and in no file" % addr)
    for addr in sorted(ours.pages() - theirs.pages()):
        if of_file(addr, files, unit) == ours.page(addr):
            named["pages of files that only ours has"] += 1
        else:
            wrong.append("the page at %#x is only in our core, and in no file" % addr)


def check_kinds(ours, theirs, kinds):
    for kind, start, n in kinds:
        # Of "written" the third page was; all others have their first one.
        at = start // PAGE * PAGE + (2 * PAGE if kind == "written" else 0)
        rule = KINDS[kind]
        if "all" in sys.argv[4:] and kind in ("unwritten", "file"):
            rule = (rule[0], True)
        for core, name, wanted in zip((ours, theirs), ("ours", "the kernel's"), rule):
            if wanted is not None:
                expect("%s is in %s" % (kind, name), core.page(at) is not None, wanted)


def end_it(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    for tid in sorted(map(int, os.listdir("/proc/%d/task" % pid))):
        # The first may have ended the others by now.
        if libc.syscall(SYS_TGKILL, pid, tid, signal.SIGABRT) < 0 and ctypes.get_errno() != errno.ESRCH:
            sys.exit("tgkill: %s" % os.strerror(ctypes.get_errno()))
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def main():
    if sys.argv[1] == "end":
        end_it(int(sys.argv[2]))
        return
    ours, theirs = Core(sys.argv[1]), Core(sys.argv[2])
    kinds, rseqs = [], []
    with open(sys.argv[3]) as f:
        for line in f:
            word = line.split()
            if word[0] == "rseq":
                rseqs.append(int(word[2], 16))
            elif word[-1] in KINDS:
                start, end = (int(half, 16) for half in word[0].split("-"))
                kinds.append((word[-1], start, end - start))
            elif word[0] in KINDS:
                kinds.append((word[0], int(word[1], 16), int(word[2])))
    if "no-registers" not in sys.argv[4:]:
        compare_threads(ours, theirs)
    compare_notes(ours, theirs)
    n = compare_bytes(ours, theirs, rseqs)
    explain_missing(ours, theirs, kinds)
    check_kinds(ours, theirs, kinds)
    for line in wrong[:40]:
        print(line)
    print("# %d threads, %d pages in both; %s" % (len(ours.threads), n, "; ".join(
        "%s: %d" % (k, v) for k, v in sorted(named.items()) if v > 0)))
    sys.exit(1 if wrong or n == 0 else 0)


if __name__ == "__main__":
    main()
