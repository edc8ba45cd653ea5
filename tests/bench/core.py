"""What a core costs the process it is taken of: godiag beside gcore and dlv, on targets of this run.

Targets are Go services (tests/victims/tgt) with a heap that is half random and half text, of which
20 MB a second are written.  Tools take turns within one series.  Rows show median / worst:

  pause     how long the process stood still: godiag's own clock (snapshot.json), for the peers the gap
  gap       largest time between two wake-ups of a 0.5 ms sleeper inside the target
  RSS       peak of RssAnon of all processes of the tool together, looked at every 20 ms
  on disk   blocks of what was written, in MiB
"""
import argparse
import collections
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import archive
import bench

Row = collections.namedtuple("Row", "pause gap wall tool_cpu rss_mib disk_mib method code note")
MIB = 1 << 20


def pair(values, digits):
    return bench.pair(values, digits)


class Watch(threading.Thread):
    """Peak of what all processes of the given program hold for themselves."""

    def __init__(self, names):
        super().__init__(daemon=True)
        self.names, self.peak, self.done = names, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            total = 0
            for status in glob.glob("/proc/[0-9]*/status"):
                try:
                    with open(status) as f:
                        fields = dict(line.split(":", 1) for line in f)
                except (OSError, ValueError):
                    continue
                if fields["Name"].strip() in self.names and "RssAnon" in fields:
                    total += int(fields["RssAnon"].split()[0])
            self.peak = max(self.peak, total)


class Rig(bench.Rig):
    def watched(self, names, command, stdin=None):
        watch = Watch(names)
        watch.start()
        figures, out = self.measured(command, stdin)
        watch.done.set()
        watch.join()
        return figures, out, watch.peak / 1024

    def godiag(self, spool, *options):
        def run(target):
            figures, out, rss = self.watched(
                {"godiag-capture", "godiag"},
                [os.path.join(self.args.build, "godiag-capture"), "--pid", str(target.pid),
                 "--output", spool, "--quiet"] + list(options))
            with open(out, errors="replace") as f:
                said = f.read().strip()
            path = said.rsplit(" sha256:", 1)[0].split("\n")[-1]
            if not os.path.exists(path):
                return Row(None, 0, figures["wall"], figures["cpu"], rss, 0, "", 1, said[-150:]), None
            snapshot = read_snapshot(path)
            freeze = snapshot.get("freeze", {})
            return Row(snapshot["cost"]["target_pause_ns"] / 1e6, 0, figures["wall"],
                       figures["cpu"], rss, disk(path), freeze.get("method", "none"),
                       int(figures["exit"]), ""), path
        return run

    def gcore(self, target):
        base = os.path.join(self.scratch, "gcore")
        figures, _, rss = self.watched({"gdb"}, ["gcore", "-o", base, str(target.pid)])
        return self.dumped(figures, rss, "%s.%d" % (base, target.pid))

    def delve_dump(self, target):
        path = os.path.join(self.scratch, "dlv.core")
        script = os.path.join(self.scratch, "dump")
        with open(script, "w") as f:
            f.write("dump %s\nexit\nn\n" % path)
        figures, _, rss = self.watched(
            {"dlv"}, [self.dlv, "attach", str(target.pid), "--check-go-version=false",
                      "--allow-non-terminal-interactive=true"], script)
        return self.dumped(figures, rss, path)

    def dumped(self, figures, rss, path):
        size = disk(path) if os.path.exists(path) else 0
        if size:
            os.unlink(path)
        return Row(None, 0, figures["wall"], figures["cpu"], rss, size, "",
                   int(figures["exit"]) if size else 1, "" if size else "no core"), None

    def turn(self, target, tool):
        target.gaps()
        began = time.monotonic()
        row, path = tool(target)
        rest = bench.WINDOW - (time.monotonic() - began)
        if rest > 0:
            time.sleep(rest)
        gap = target.gaps()[0]
        return row._replace(gap=gap, pause=gap if row.pause is None else row.pause), path


def read_snapshot(path):
    import tarfile
    with tarfile.open(path) as tar:
        config = archive.manifest(tar)["config"]
        return json.load(tar.extractfile(archive.blob_name(config["digest"])))


def disk(path):
    return os.stat(path).st_blocks * 512 / MIB


def start(path, goroutines, heap_mib, dirty, cpu):
    return bench.Target(path, goroutines, heap_mib, cpu, ["-dirty", str(dirty)])


def print_rows(rows):
    lines = [("", "runs", "pause ms", "gap ms", "wall s", "tool CPU s", "RSS MiB", "on disk MiB", "")]
    for name, all_of in rows.items():
        good = [r for r in all_of if r.code in (0, 4)] or all_of
        methods = collections.Counter(r.method for r in good if r.method)
        note = ", ".join("%s %d" % m for m in methods.items())
        bad = [r for r in all_of if r.code != 0]
        if bad:
            note += " exit %d in %d of %d: %s" % (bad[0].code, len(bad), len(all_of), bad[0].note)
        lines.append((name, str(len(good)), pair([r.pause for r in good], 1),
                      pair([r.gap for r in good], 1), pair([r.wall for r in good], 2),
                      pair([r.tool_cpu for r in good], 2), pair([r.rss_mib for r in good], 0),
                      pair([r.disk_mib for r in good], 1), note))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  " + "  ".join(c.ljust(w) if i in (0, len(line) - 1) else c.rjust(w)
                               for i, (c, w) in enumerate(zip(line, widths))).rstrip())


def throughput(rig, target, spool):
    """The core's step against zstd -1 and SHA-256 alone, same bytes, same processors, three times."""
    ratios = []
    reference = os.path.join(rig.args.bench, "reference")
    for _ in range(3):
        row, path = rig.godiag(spool, "--only", "core")(target)
        if path is None:
            print("  throughput: %s" % row.note)
            return
        snapshot = read_snapshot(path)
        step = next(s for s in snapshot["steps"] if s["name"] == "core")
        seconds = (step["ended_ns"] - step["started_ns"]) / 1e9
        ours = snapshot["freeze"]["core_plain_bytes"] / MIB / seconds
        core = os.path.join(rig.scratch, "core")
        subprocess.run([os.path.join(rig.args.build, "godiag"), "extract", path, "core", "--output",
                        core, "--quiet"], check=True)
        os.unlink(path)
        out = subprocess.run([reference, core], stdout=subprocess.PIPE, check=True).stdout.split()
        os.unlink(core)
        floor = int(out[0]) / float(out[1])
        ratios.append((ours / floor, ours, floor))
    ratios.sort()
    print("  packing after the resume: %.0f MiB/s, zstd -1 and SHA-256 alone %.0f MiB/s on %s CPU(s): "
          "%.0f %% (median of 3; %.0f to %.0f %%)"
          % (ratios[1][1], ratios[1][2], int(out[2]), 100 * ratios[1][0], 100 * ratios[0][0],
             100 * ratios[-1][0]))


def series(rig, path, gib, repeats, peers, measure_packing):
    target = start(path, 200, gib * 1024, 20, rig.target_cpu)
    spool = tempfile.mkdtemp(dir=rig.scratch)
    rows, loads = collections.OrderedDict(), []
    tools = [("godiag core", rig.godiag(spool, "--only", "core"), repeats)]
    if shutil.which("gcore"):
        tools.append(("gcore", rig.gcore, min(peers, repeats)))
    if rig.dlv:
        tools.append(("dlv dump", rig.delve_dump, min(peers, repeats)))
    try:
        time.sleep(1)
        for repeat in range(repeats):
            for name, tool, most in tools:
                if repeat >= most:
                    continue
                loads.append(os.getloadavg()[0])
                row, made = rig.turn(target, tool)
                rows.setdefault(name, []).append(row)
                if made:
                    os.unlink(made)
        print("\ncore, %d GiB heap, 20 MB/s written: resident %.0f MiB, load %.1f to %.1f"
              % (gib, target.rss_mib(), min(loads), max(loads)))
        print_rows(rows)
        ours = statistics.median(r.pause for r in rows["godiag core"])
        for name in rows:
            if name != "godiag core" and ours > 0:
                print("  %s / godiag: pause x%.0f" % (
                    name, statistics.median(r.pause for r in rows[name]) / ours))
        if measure_packing:
            throughput(rig, target, spool)
    finally:
        target.stop()
        shutil.rmtree(spool, ignore_errors=True)


def idle_service(rig, path, heap_mib, repeats):
    target = start(path, 50, heap_mib, 0, rig.target_cpu)
    spool = tempfile.mkdtemp(dir=rig.scratch)
    try:
        time.sleep(1)
        sizes = collections.defaultdict(list)
        for _ in range(repeats):
            for name, options in (("full", ["--only", "core"]),
                                  ("thin", ["--only", "goroutines", "--core", "thin"])):
                row, made = rig.godiag(spool, *options)(target)
                if made is None:
                    print("  idle service, %s: %s" % (name, row.note))
                    continue
                stored = {a["name"]: a["stored_bytes"] for a in read_snapshot(made)["artifacts"]}
                sizes[name].append((sum(stored.values()) - stored.get("exe", 0)) / MIB)
                os.unlink(made)
        row, _ = rig.gcore(target) if shutil.which("gcore") else (None, None)
        dlv, _ = rig.delve_dump(target) if rig.dlv else (None, None)
        print("\ncore of an idle service, %d MiB of random bytes in it, resident %.0f MiB; MiB without the "
              "executable: %s%s%s"
              % (heap_mib // 2, target.rss_mib(), ", ".join("%s %s" % (n, pair(v, 2)) for n, v in sizes.items()),
                 ", gcore %.0f" % row.disk_mib if row else "",
                 ", dlv dump %.1f" % dlv.disk_mib if dlv else ""))
    finally:
        target.stop()
        shutil.rmtree(spool, ignore_errors=True)


def second_capture(rig, path, heap_mib, dirty, seconds):
    target = start(path, 200, heap_mib, dirty, rig.target_cpu)
    spool = tempfile.mkdtemp(dir=rig.scratch)

    def packs(made):
        return sum(a["stored_bytes"] for a in read_snapshot(made)["artifacts"]
                   if a["name"].startswith("core/"))
    try:
        time.sleep(1)
        first_row, first = rig.godiag(spool, "--only", "core")(target)
        time.sleep(seconds)
        second_row, second = rig.godiag(spool, "--only", "core", "--base", first or "")(target)
        if first is None or second is None:
            print("  second capture: %s %s" % (first_row.note, second_row.note))
            return
        print("\nsecond capture after %d s, %d MiB heap, %d MB/s written: first %.1f MiB, second %.2f "
              "MiB: 1/%.0f" % (seconds, heap_mib, dirty, packs(first) / MIB, packs(second) / MIB,
                               packs(first) / max(1, packs(second))))
    finally:
        target.stop()
        shutil.rmtree(spool, ignore_errors=True)


class Probe(threading.Thread):
    """A liveness probe: asks once a second, and a second without an answer is a miss."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.done = target, threading.Event()
        self.answers, self.misses = [], 0

    def run(self):
        while not self.done.is_set():
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self.target.url("/gap"), timeout=1) as answer:
                    answer.read()
                self.answers.append((time.monotonic() - began) * 1000)
            except OSError:
                self.misses += 1
            self.done.wait(max(0, 1 - (time.monotonic() - began)))


def liveness(rig, path, captures):
    target = start(path, 200, 64, 20, rig.target_cpu)
    spool = tempfile.mkdtemp(dir=rig.scratch)
    probe, pauses, failed = Probe(target), [], 0
    try:
        time.sleep(1)
        probe.start()
        for _ in range(captures):
            row, made = rig.godiag(spool, "--only", "core")(target)
            if made is None:
                failed += 1
                continue
            pauses.append(row.pause)
            os.unlink(made)
        probe.done.set()
        probe.join()
        print("\nliveness probe, every second, during %d captures of a core (64 MiB heap; %d failed, pause "
              "%s ms): %d asked, %d missed, answered after %s ms"
              % (captures, failed, pair(pauses, 1), len(probe.answers) + probe.misses, probe.misses,
                 pair(probe.answers, 1)))
    finally:
        target.stop()
        shutil.rmtree(spool, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="benchmarks of cores")
    parser.add_argument("--build", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--victims", required=True, help="tgt.index")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", default="1,4,8", help="heaps in GiB")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", type=int, default=7, help="repeats of gcore and dlv")
    args = parser.parse_args()
    sizes = [1] if args.quick else [int(s) for s in args.sizes.split(",") if s]
    repeats = 3 if args.quick else args.repeats

    rig = Rig(args)
    try:
        bench.machine(rig)
        targets = list(bench.built_targets(args.victims))
        if not targets:
            sys.exit("bench: no target could be built")
        path = targets[-1][1]
        for gib in sizes:
            room = shutil.disk_usage(rig.scratch).free / (1 << 30)
            # The target, its image in the page cache, and what peers write.
            if bench.available_gib() < 2.2 * gib + 1 or room < 4 * gib + 2:
                print("\ncore, %d GiB: skipped: %.0f GiB of memory and %.0f of disk are too little"
                      % (gib, bench.available_gib(), room))
                continue
            series(rig, path, gib, repeats, args.peers, gib == min(sizes))
        for heap_mib in (0, 8):
            idle_service(rig, path, heap_mib, repeats)
        second_capture(rig, path, 400, 1, 17)
        liveness(rig, path, 10 if args.quick else 100)
    finally:
        rig.close()


if __name__ == "__main__":
    main()
