#!/usr/bin/env python3
"""What watching costs while nothing happens: N small Go processes, sampled once a second.

Prints CPU milliseconds per second of all of the agent's processes together (median and worst of some
windows), their RSS and PSS, and whether the targets noticed: none is ever stopped or traced, and they
are switched as often with as without.  Goal: 200 targets, at most 10 ms/s and 16 MiB.

    idle.py --driver build/tests/bench/idle --victim PROGRAM     the watcher and its broker's end alone
    idle.py --godiagd build/godiagd         --victim PROGRAM     the whole daemon
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

POLICY = """services:
  - name: idle
    match: { exe: "%s/*" }
rules:
  - name: leak
    service: idle
    when: { metric: go_goroutines, above: 1000000 }
  - name: pause
    service: idle
    when: { metric: go_gc_pause_p99, above: 1h }
    for: 30s
  - name: pressure
    service: idle
    when: { metric: psi_memory_some, above: 99%% }
    for: 30s
hook: { listen: "off" }
"""


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def family(pid):
    """pid and all its descendants."""
    pids = [pid]
    for p in pids:
        try:
            tasks = os.listdir("/proc/%d/task" % p)
        except OSError:
            continue
        for t in tasks:
            pids += [int(c) for c in read("/proc/%d/task/%s/children" % (p, t)).split()]
    return pids


def cpu_ns(pid):
    """CPU time of a process and of the children it has waited for."""
    total = 0
    try:
        for t in os.listdir("/proc/%d/task" % pid):
            total += int((read("/proc/%d/task/%s/schedstat" % (pid, t)).split() or ["0"])[0])
    except OSError:
        return 0
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    if len(fields) > 14:
        total += (int(fields[13]) + int(fields[14])) * 1000000000 // os.sysconf("SC_CLK_TCK")
    return total


def kib(pid, key, file="status"):
    for line in read("/proc/%d/%s" % (pid, file)).splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def switches(pids):
    """Context switches of all threads of the targets."""
    n = 0
    for pid in pids:
        for t in os.listdir("/proc/%d/task" % pid):
            for line in read("/proc/%d/task/%s/status" % (pid, t)).splitlines():
                if "ctxt_switches" in line:
                    n += int(line.split()[1])
    return n


def stopped(pids):
    """Targets in state T or t, or with a tracer."""
    n = 0
    for pid in pids:
        text = read("/proc/%d/status" % pid)
        n += "State:\tT" in text or "State:\tt" in text or "TracerPid:\t0" not in text
    return n


def start_targets(folder, victim, n):
    program = os.path.join(folder, "target")
    shutil.copy(victim, program)
    os.chmod(program, 0o755)
    targets = []
    for _ in range(n):
        targets.append(subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for t in targets:
        while not t.stdout.readline().startswith(b"ready"):
            if t.poll() is not None:
                sys.exit("idle: %s does not start" % victim)
    return targets


def start_agent(args, folder):
    policy = os.path.join(folder, "policy.yaml")
    with open(policy, "w") as f:
        f.write(POLICY % folder)
    if args.driver:
        agent = subprocess.Popen([args.driver, policy], stdout=subprocess.PIPE)
        for line in agent.stdout:
            if b" go=%d\n" % args.n in line:
                break
        else:
            sys.exit("idle: the driver has ended")
        # Nobody reads on: a pipe holds hours of these lines.
        return agent
    run = os.path.join(folder, "run")
    agent = subprocess.Popen([args.godiagd, "--config", policy, "--state",
                              os.path.join(folder, "state"), "--run", run])
    status = [os.path.join(os.path.dirname(args.godiagd), "godiag"), "status", "--run", run, "--json"]
    for _ in range(120):
        time.sleep(1)
        if agent.poll() is not None:
            sys.exit("idle: godiagd has ended with %d" % agent.returncode)
        said = subprocess.run(status, capture_output=True).stdout or b"{}"
        if sum(w.get("go", False) for w in json.loads(said).get("watched", [])) == args.n:
            return agent
    sys.exit("idle: godiagd does not read all runtimes")


def measure(args, agent, pids):
    windows = []
    worst_stopped = 0
    for _ in range(args.windows):
        group = family(agent.pid)
        before = {p: cpu_ns(p) for p in group}
        begun = time.monotonic()
        while time.monotonic() - begun < args.seconds:
            time.sleep(1)
            worst_stopped = max(worst_stopped, stopped(pids[:20]))
        passed = time.monotonic() - begun
        used = sum(cpu_ns(p) - ns for p, ns in before.items())
        windows.append({
            "ms": used / 1e6 / passed,
            "each": [(p, (cpu_ns(p) - ns) / 1e6 / passed) for p, ns in before.items()],
            "rss": sum(kib(p, "VmRSS") for p in group),
            "pss": sum(kib(p, "Pss", "smaps_rollup") for p in group),
            "processes": len(group),
        })
    return windows, worst_stopped


def report(args, windows, worst_stopped, switched):
    ms = sorted(w["ms"] for w in windows)
    rss = max(w["rss"] for w in windows)
    pss = max(w["pss"] for w in windows)
    print("idle: %d Go processes, once a second, %d windows of %d s, load %s" %
          (args.n, args.windows, args.seconds, read("/proc/loadavg").split()[0]))
    print("idle: CPU %.2f ms/s median, %.2f worst; %d processes: %s" %
          (ms[len(ms) // 2], ms[-1], windows[-1]["processes"],
           ", ".join("%.2f" % each for _, each in windows[-1]["each"])))
    print("idle: memory %.1f MiB RSS, %.1f MiB PSS together" % (rss / 1024, pss / 1024))
    print("idle: targets: %d seen stopped or traced; switched %.1f times a second each without, %.1f with"
          % (worst_stopped, switched[0] / args.n, switched[1] / args.n))
    good = ms[len(ms) // 2] <= 10 and rss <= 16384 and worst_stopped == 0
    print("idle: %s (goal: 10 ms/s, 16 MiB RSS, no stop)" % ("reached" if good else "MISSED"))
    return 0 if good else 1


def rate_of_switches(pids, seconds):
    before = switches(pids)
    time.sleep(seconds)
    return (switches(pids) - before) / seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver")
    parser.add_argument("--godiagd")
    parser.add_argument("--victim", required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    args = parser.parse_args()
    if bool(args.driver) == bool(args.godiagd):
        parser.error("one of --driver and --godiagd")
    folder = tempfile.mkdtemp(prefix="godiag-idle-")
    targets = []
    agent = None
    try:
        targets = start_targets(folder, args.victim, args.n)
        pids = [t.pid for t in targets]
        time.sleep(2)
        without = rate_of_switches(pids, args.seconds)
        agent = start_agent(args, folder)
        time.sleep(5)
        windows, worst_stopped = measure(args, agent, pids)
        switched = without, rate_of_switches(pids, args.seconds)
        return report(args, windows, worst_stopped, switched)
    finally:
        for p in targets + ([agent] if agent else []):
            p.send_signal(signal.SIGKILL)
            p.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
