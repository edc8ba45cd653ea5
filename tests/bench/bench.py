"""What a goroutine dump costs the service it is taken from: godiag and its peers side by side.

Every number is taken on targets of this run (tests/victims/tgt), tools take turns within one
series, and idle windows of the same kind are part of it.  Target on CPU 0, tools on CPU 1.  A row
shows median / worst of its repeats:

  gap         largest time between two wake-ups of a 0.5 ms sleeper inside the target
  5 gaps      sum of the five largest
  CPU taken   the target's CPU time above what it uses when nobody looks
"""
import argparse
import collections
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import archive

WINDOW = 1.5  # seconds a window lasts at least, so that idle and busy ones compare
TICK = os.sysconf("SC_CLK_TCK")
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


class Target:
    """A tgt process."""

    def __init__(self, path, goroutines, heap_mib, cpu, more=()):
        def settle_down():
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        began = time.monotonic()
        self.process = subprocess.Popen(
            [path, "-n", str(goroutines), "-heap", str(heap_mib)] + list(more), stdout=subprocess.PIPE,
            env=dict(os.environ, GOMAXPROCS="4"), preexec_fn=settle_down)
        line = self.process.stdout.readline().split()
        if line[:1] != [b"ready"]:
            self.stop()
            raise RuntimeError("%s did not get ready" % path)
        self.pid, self.port = self.process.pid, int(line[1])
        self.start_seconds = time.monotonic() - began

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    def get(self, path):
        with HTTP.open(self.url(path), timeout=600) as answer:
            return answer.read()

    def gaps(self):
        return json.loads(self.get("/gap"))["gaps_ms"]

    def cpu(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mib(self):
        with open("/proc/%d/status" % self.pid) as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


Sample = collections.namedtuple(
    "Sample", "gap gaps target_cpu window tool_cpu wall rss_mib listed code note")


class Rig:
    def __init__(self, args):
        self.args = args
        self.scratch = tempfile.mkdtemp(prefix="bench-", dir=args.bench)
        cpus = sorted(os.sched_getaffinity(0))
        self.target_cpu, self.tool_cpu = (cpus[0], cpus[1]) if len(cpus) > 1 else (None, -1)
        if self.target_cpu is not None:
            os.sched_setaffinity(0, {self.tool_cpu})
        self.dlv = next((p for p in (os.path.join(args.bench, "dlv"), shutil.which("dlv"))
                         if p and os.access(p, os.X_OK)), None)
        self.curl = shutil.which("curl")

    def measured(self, command, stdin=None):
        """Runs a tool; (its figures, the file its output went to)."""
        out, figures = (os.path.join(self.scratch, n) for n in ("out", "figures"))
        if os.path.exists(figures):
            os.unlink(figures)
        with open(out, "wb") as stdout, open(stdin or os.devnull, "rb") as given:
            subprocess.run(
                [os.path.join(self.args.bench, "measure"), str(self.tool_cpu), figures] + command,
                stdout=stdout, stderr=subprocess.STDOUT, stdin=given, check=False)
        with open(figures) as f:
            words = f.read().split()
        return dict(zip(words[::2], map(float, words[1::2]))), out

    def window(self, target, tool):
        """One window: what `tool` did, and what the target felt."""
        target.gaps()
        cpu, began = target.cpu(), time.monotonic()
        figures, listed, note = tool(target)
        rest = WINDOW - (time.monotonic() - began)
        if rest > 0:
            time.sleep(rest)
        window = time.monotonic() - began
        cpu = target.cpu() - cpu
        gaps = target.gaps()
        return Sample(gaps[0], sum(gaps), cpu, window, figures.get("cpu", 0),
                      figures.get("wall", 0), figures.get("peak_kib", 0) / 1024, listed,
                      int(figures.get("exit", 0)), note)

    # -- the tools: each takes a target and returns (figures, goroutines listed, note) -------------

    def idle(self, target):
        return {}, None, ""

    def godiag(self, *options):
        def run(target):
            spool = tempfile.mkdtemp(dir=self.scratch)
            figures, out = self.measured(
                [os.path.join(self.args.build, "godiag-capture"), "--pid", str(target.pid),
                 "--output", spool, "--quiet"] + list(options))
            try:
                with open(out, errors="replace") as f:
                    said = f.read().strip()
                path = said.rsplit(" sha256:", 1)[0].split("\n")[-1]
                if not os.path.exists(path):
                    return figures, 0, said[-120:]
                with archive.artifact(path, "goroutines.txt") as text:
                    listed = count_lines(text, b"goroutine ")
                size = "%.1f MiB" % (os.path.getsize(path) / (1 << 20))
                return figures, listed, size if figures["exit"] == 0 else size + ", " + said[-120:]
            finally:
                shutil.rmtree(spool)
        return run

    def pprof(self, debug):
        def run(target):
            url = target.url("/debug/pprof/goroutine?debug=%d" % debug)
            if self.curl:
                command = [self.curl, "--noproxy", "*", "-s", url]
            else:
                command = [sys.executable, "-c", "import shutil, sys, urllib.request as u;"
                           "shutil.copyfileobj(u.urlopen(sys.argv[1]), sys.stdout.buffer)", url]
            figures, out = self.measured(command)
            with open(out, "rb") as f:
                if debug == 2:
                    listed = count_lines(f, b"goroutine ")
                    return figures, listed, "%.1f MiB" % (os.path.getsize(out) / (1 << 20))
                groups = sum(1 for line in f if b" @ " in line)
            return figures, None, "%d groups" % groups
        return run

    def delve(self, target):
        script = os.path.join(self.scratch, "script")
        with open(script, "w") as f:
            f.write("goroutines -t 50\nexit\nn\n")
        figures, out = self.measured(
            [self.dlv, "attach", str(target.pid), "--check-go-version=false",
             "--allow-non-terminal-interactive=true"], stdin=script)
        with open(out, "rb") as f:
            listed = count_lines(f, b"  Goroutine ", b"* Goroutine ")
        return figures, listed, "%.1f MiB" % (os.path.getsize(out) / (1 << 20))

    # -- series ----------------------------------------------------------------------------------

    def series(self, title, path, goroutines, heap_mib, tools, repeats):
        """Interleaved repeats of the tools on one target, and their table."""
        target = Target(path, goroutines, heap_mib, self.target_cpu)
        try:
            total = goroutines + 2  # main's own and the canary's
            time.sleep(1)
            samples, loads = collections.OrderedDict(), []
            for repeat in range(repeats):
                for name, tool, most in tools:
                    if repeat >= most:
                        continue
                    loads.append(os.getloadavg()[0])
                    samples.setdefault(name, []).append(self.window(target, tool))
            rss = target.rss_mib()
        finally:
            target.stop()
        print("\n%s: %d goroutines, %s, resident %.0f MiB, load %.1f to %.1f"
              % (title, total, os.path.basename(path), rss, min(loads), max(loads)))
        table(samples, total)
        return samples

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


def count_lines(stream, *prefixes):
    return sum(1 for line in stream if line.startswith(prefixes))


def pair(values, digits):
    """'median / worst', or one of them when they are the same."""
    middle, worst = ("%.*f" % (digits, v) for v in (statistics.median(values), max(values)))
    return middle if len(values) == 1 else middle + " / " + worst


def table(samples, total):
    idle_rate = statistics.median([s.target_cpu / s.window for s in samples["idle"]])
    rows = [("", "runs", "gap ms", "5 gaps ms", "CPU taken s", "tool CPU s", "wall s", "RSS MiB",
             "listed", "")]
    for name, all_of in samples.items():
        taken = [max(0.0, s.target_cpu - idle_rate * s.window) for s in all_of]
        row = [name, str(len(all_of)), pair([s.gap for s in all_of], 1),
               pair([s.gaps for s in all_of], 0), pair(taken, 2)]
        if name == "idle":
            row += ["", "", "", "", ""]
        else:
            listed = [s.listed for s in all_of if s.listed is not None]
            bad = [s.code for s in all_of if s.code != 0]
            row += [pair([s.tool_cpu for s in all_of], 3), pair([s.wall for s in all_of], 3),
                    pair([s.rss_mib for s in all_of], 0),
                    "%.1f %%" % min(100.0, 100.0 * min(listed) / total) if listed else "-",
                    (("exit %d: " % bad[0]) if bad else "") + all_of[-1].note]
        rows.append(tuple(row))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(
            cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def ratios(samples, ours="godiag goroutines"):
    """How many times more than godiag the others take, from the medians."""
    if ours not in samples or any(s.code not in (0, 4) for s in samples[ours]):
        return
    def middle(name, field):
        return statistics.median(getattr(s, field) for s in samples[name])
    for name in samples:
        if name in ("idle", ours) or name.startswith("godiag"):
            continue
        parts = ["%s x%.3g" % (label, middle(name, field) / middle(ours, field))
                 for field, label in (("gap", "gap"), ("gaps", "5 gaps"), ("wall", "wall"),
                                      ("tool_cpu", "tool CPU"), ("rss_mib", "RSS"))
                 if middle(ours, field) > 0]
        print("  %s / godiag: %s" % (name, ", ".join(parts)))
    idle, mine = ([s.gap for s in samples[n]] for n in ("idle", ours))
    print("  largest gap: idle %.1f to %.1f ms, godiag %.1f to %.1f ms"
          % (min(idle), max(idle), min(mine), max(mine)))


def first_line(command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return out.stdout.decode(errors="replace").strip().replace("\n", " ")[:100]
    except OSError as error:
        return str(error)


def machine(rig):
    model = "unknown CPU"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    pinning = ("target on CPU %d, tools on CPU %d" % (rig.target_cpu, rig.tool_cpu)
               if rig.target_cpu is not None else "one CPU only: nothing is pinned")
    print("%s, %d CPUs (%s), %.0f GiB, Linux %s %s; %s, GOMAXPROCS=4"
          % (time.strftime("%Y-%m-%d"), os.cpu_count(), model, memory, platform.release(),
             platform.machine(), pinning))
    print("godiag %s; %s; %s; load %.1f at the start"
          % (first_line(["git", "describe", "--always", "--dirty"]),
             first_line([rig.dlv, "version"]) if rig.dlv else "no Delve to be had: left out",
             first_line([rig.curl, "--version"]).split("(")[0] if rig.curl else "no curl: Python",
             os.getloadavg()[0]))


def built_targets(index):
    with open(index) as f:
        for line in f:
            what, release, _, rest = line.split(None, 3)
            if what == "built":
                yield release, rest.strip()
            else:
                print("go%s: skipped: %s" % (release, rest.strip()))


def available_gib():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / (1 << 20)
    return 0


def main():
    parser = argparse.ArgumentParser(description="benchmarks of godiag and its peers")
    parser.add_argument("--build", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--victims", required=True, help="tgt.index")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="series, comma-separated: 100k,10k,1m,light")
    args = parser.parse_args()
    only = set(filter(None, args.only.split(",")))

    rig = Rig(args)
    try:
        machine(rig)
        targets = list(built_targets(args.victims))
        if not targets:
            sys.exit("bench: no target could be built")
        wanted = lambda name: not only or name in only
        many = 2 if args.quick else 5
        ours = [("godiag goroutines", rig.godiag("--only", "goroutines"), many),
                ("godiag light", rig.godiag("--profile", "light"), many)]
        peers = [("pprof debug=2", rig.pprof(2), many), ("pprof debug=1", rig.pprof(1), many)]
        delve = [("dlv goroutines -t", rig.delve, 1 if args.quick else 3)] if rig.dlv else []
        idle = [("idle", rig.idle, many)]
        for release, path in targets:
            if wanted("100k"):
                ratios(rig.series("100k", path, 100000, 8, idle + ours + peers, many))
        path = targets[-1][1]
        if wanted("10k"):
            ratios(rig.series("10k", path, 10000, 8, idle + ours + peers + delve, many))
        if wanted("1m"):
            if available_gib() < 8:
                print("\n1m: skipped: less than 8 GiB of memory are available")
            else:
                rig.series("1m", path, 1000000, 8, idle + ours[:1], 1 if args.quick else 3)
        if wanted("light"):
            rig.series("an ordinary service", path, 200, 64,
                       idle + [("godiag light", rig.godiag("--profile", "light"), 10),
                               ("godiag standard", rig.godiag("--skip", "samples"), 10)], many * 2)
    finally:
        rig.close()


if __name__ == "__main__":
    main()
