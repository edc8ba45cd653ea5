#!/usr/bin/env python3
"""Starts a program as the process with a pid of one's choice and waits for it.

    with_pid.py PID PROGRAM [ARGUMENT ...]

While that pid is another process's, waits for its end.  Writes "ready" when it begins to.  Exits with 77
where pids cannot be chosen (clone3 with set_tid: root, Linux 5.5), else with its exit status or, when it was killed, the number of the signal.
"""
import ctypes
import errno
import os
import sys
import time

CLONE3 = 435


def main():
    pid = ctypes.c_int32(int(sys.argv[1]))
    fields = [0] * 11
    fields[4] = 17  # exit_signal: SIGCHLD
    fields[8] = ctypes.addressof(pid)
    fields[9] = 1
    args = (ctypes.c_uint64 * len(fields))(*fields)
    libc = ctypes.CDLL(None, use_errno=True)
    print("ready", flush=True)
    while True:
        child = libc.syscall(CLONE3, ctypes.byref(args), ctypes.sizeof(args))
        if child >= 0 or ctypes.get_errno() != errno.EEXIST:
            break
        time.sleep(0.001)
    if child == 0:
        os.execv(sys.argv[2], sys.argv[2:])
    if child < 0:
        sys.exit(77)
    sys.exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


if __name__ == "__main__":
    main()
