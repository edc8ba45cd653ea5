"""What sampling costs the service that is sampled, and what the sampler takes itself.

The service counts turns of one loop; work per CPU second is what a profiler takes away.  Each round
has a window of every kind, one after the other, and each window is compared with the idle ones of its
own round before and after it.  Target on CPU 0, tools on CPU 1.  A row shows the median of the rounds
and the middle half of them.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SECONDS = 4


class Busy:
    def __init__(self, path, kinds):
        self.process = subprocess.Popen(
            [path] + kinds, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, GOMAXPROCS="1"), preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        self.read("ready")
        self.pid = self.process.pid

    def read(self, word):
        line = self.process.stdout.readline().decode().split()
        if line[:1] != [word]:
            raise RuntimeError("the victim says %s" % line)
        return line[1:]

    def turns(self):
        self.process.stdin.write(b"o")
        self.process.stdin.flush()
        turns, ns = self.read("turns")
        return int(turns), int(ns)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Rig:
    def __init__(self, args):
        self.args = args
        self.scratch = tempfile.mkdtemp(prefix="godiag-samples-")

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def measured(self, command):
        """Its CPU seconds and output, on CPU 1."""
        figures = os.path.join(self.scratch, "figures")
        out = subprocess.run([os.path.join(self.args.bench, "measure"), "1", figures] + command,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        with open(figures) as f:
            words = f.read().split()
        return float(words[words.index("cpu") + 1]), out

    def idle(self, busy):
        time.sleep(SECONDS)
        return {}

    def godiag(self, frequency):
        def run(busy):
            spool = tempfile.mkdtemp(dir=self.scratch)
            cpu, out = self.measured(
                [os.path.join(self.args.build, "godiag-capture"), "--pid", str(busy.pid), "--only",
                 "samples", "--duration", "%ds" % SECONDS, "--frequency", str(frequency),
                 "--output", spool, "--quiet"])
            archive = out.rsplit(" sha256:", 1)[0].split("\n")[-1]
            if not os.path.exists(archive):
                return {"note": "no archive: " + out.strip()}
            said = dict(self.facts(archive), cpu=cpu)
            shutil.rmtree(spool)
            return said
        return run

    def extract(self, archive, name):
        return json.loads(subprocess.run(
            [os.path.join(self.args.build, "godiag"), "extract", archive, name, "--output", "-"],
            stdout=subprocess.PIPE, check=True).stdout)

    def facts(self, archive):
        facts, snapshot = self.extract(archive, "samples.json"), self.extract(archive, "snapshot.json")
        step = [s for s in snapshot["steps"] if s["name"] == "collect:samples"][0]
        return {"samples": facts["samples"], "switches": facts["offcpu"].get("switches", 0),
                "window_cpu": facts["sampler_cpu_ns"] / 1e9, "fds": facts["descriptors"],
                "lost": facts["lost"],
                "start": (facts["window"]["started_ns"] - step["started_ns"]) / 1e9}

    def perf(self, busy):
        data = os.path.join(self.scratch, "perf.data")
        cpu, _ = self.measured(["perf", "record", "-q", "-g", "-F", "99", "-p", str(busy.pid), "-o",
                                data, "--", "sleep", str(SECONDS)])
        return {"cpu": cpu}


def window(busy, run):
    before = busy.turns()
    said = run(busy)
    after = busy.turns()
    said["rate"] = (after[0] - before[0]) / ((after[1] - before[1]) / 1e9)
    return said


def middle(values, form):
    values = sorted(values)
    n = len(values)
    return "%s (%s to %s)" % tuple(form % v for v in (statistics.median(values), values[n // 4],
                                                       values[(3 * n) // 4]))


def series(rig, busy, kinds, rounds):
    rows = {name: [] for name, _ in kinds}
    print("\n%-22s %-32s %-26s %s" % ("", "work per CPU second, less", "CPU of the tool", "sampler in the window"))
    for i in range(rounds):
        before = window(busy, rig.idle)["rate"]
        for name, run in kinds[i % len(kinds):] + kinds[:i % len(kinds)]:
            row = window(busy, run)
            after = window(busy, rig.idle)["rate"]
            row["loss"] = 100 * (1 - row["rate"] / ((before + after) / 2))
            before = after
            rows[name].append(row)
    for name, _ in kinds:
        told = rows[name]
        cpu = [1e3 * r["cpu"] for r in told if "cpu" in r]
        inside = [1e3 * r["window_cpu"] for r in told if "window_cpu" in r]
        samples = sum(r.get("samples", 0) + r.get("switches", 0) for r in told)
        note = ""
        if samples:
            note = "%s ms, %.1f us a sample of %d; lost %d" % (
                middle(inside, "%.1f"), 1e3 * sum(inside) / samples, samples,
                sum(r.get("lost", 0) for r in told))
        print("%-22s %-32s %-26s %s" % (name, middle([r["loss"] for r in told], "%.2f %%"),
                                        middle(cpu, "%.0f ms") if cpu else "", note), flush=True)


def threads(rig, path, rounds):
    busy = Busy(path, ["threads"])
    try:
        # They come one after the other, as the runtime sees that one is in a call.
        for _ in range(60):
            n = len(os.listdir("/proc/%d/task" % busy.pid))
            if n > 1000:
                break
            time.sleep(0.5)
        told = [rig.godiag(99)(busy) for _ in range(rounds)]
        print("\n%d threads: %d descriptors, begins after %s" % (
            n, told[0]["fds"], middle([1e3 * t["start"] for t in told], "%.1f ms")))
    finally:
        busy.stop()


def main():
    parser = argparse.ArgumentParser(description="what sampling costs")
    parser.add_argument("--build", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--victim", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    rig = Rig(args)
    busy = Busy(args.victim, ["sha"])
    try:
        time.sleep(1)
        kinds = [("nobody looks", rig.idle), ("godiag 99 Hz", rig.godiag(99)),
                 ("godiag 999 Hz", rig.godiag(999))]
        if shutil.which("perf"):
            kinds.append(("perf record -g 99 Hz", rig.perf))
        else:
            print("perf is not installed")
        series(rig, busy, kinds, args.rounds)
        threads(rig, args.victim, 3)
    finally:
        busy.stop()
        rig.close()


if __name__ == "__main__":
    sys.exit(main())
