"""What a core costs the process it is taken of: godiag beside gcore and dlv, on targets of this run.

Targets are Go services (tests/victims/tgt) with a heap that is half random and half text, of which
20 MB a second are written.  Tools take turns within one series.  Rows show median / worst:

  pause     how long the process stood still: godiag's own clock (snapshot.json), for the peers the gap
  gap       largest time between two wake-ups of a 0.5 ms sleeper inside the target
  on disk   blocks of what was written, in MiB

Each round has a target of its own, and gcore comes last in it: it reads what was only reserved, which fills
the target's page tables with entries for zeros, and every later look at them takes twice as long.
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

import archive
import bench

Row = collections.namedtuple("Row", "pause gap wall tool_cpu disk_mib method code note")
MIB = 1 << 20


def pair(values, digits):
    return bench.pair(values, digits)


def family(pid):
    """pid and all its descendants."""
    pids = [pid]
    for p in pids:
        for children in glob.glob("/proc/%d/task/*/children" % p):
            try:
                with open(children) as f:
                    pids += [int(c) for c in f.read().split()]
            except OSError:
                continue
    return pids


def own_kib(pid):
    """What a process has for itself: memory, not files; what it shares is divided among the sharers."""
    kib = 0
    try:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            for line in f:
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    kib += int(line.split()[1])
    except OSError:
        pass
    return kib


class Watch(threading.Thread):
    """Peak of what a process and all it started have for themselves together."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, sum(own_kib(p) for p in family(self.pid)))


class Rig(bench.Rig):
    def command(self, spool, target, options):
        return [os.path.join(self.args.build, "godiag-capture"), "--pid", str(target.pid),
                "--output", spool, "--quiet"] + list(options)

    def godiag(self, spool, *options):
        def run(target):
            figures, out = self.measured(self.command(spool, target, options))
            with open(out, errors="replace") as f:
                said = f.read().strip()
            path = said.rsplit(" sha256:", 1)[0].split("\n")[-1]
            if not os.path.exists(path):
                return Row(None, 0, figures["wall"], figures["cpu"], 0, "", 1, said[-150:]), None
            snapshot = read_snapshot(path)
            freeze = snapshot.get("freeze", {})
            return Row(snapshot["cost"]["target_pause_ns"] / 1e6, 0, figures["wall"],
                       figures["cpu"], disk(path), freeze.get("method", "none"),
                       int(figures["exit"]), ""), path
        return run

    def peak_mib(self, spool, target):
        """Memory of all our processes together; a capture of its own, since looking takes processor time."""
        with subprocess.Popen(self.command(spool, target, ["--only", "core"]),
                              stdout=subprocess.PIPE, text=True) as ours:
            watch = Watch(ours.pid)
            watch.start()
            said = ours.communicate()[0]
            watch.done.set()
            watch.join()
        path = said.rsplit(" sha256:", 1)[0].split("\n")[-1]
        if os.path.exists(path):
            os.unlink(path)
        return watch.peak / 1024

    def gcore(self, target):
        base = os.path.join(self.scratch, "gcore")
        figures, _ = self.measured(["gcore", "-o", base, str(target.pid)])
        return self.dumped(figures, "%s.%d" % (base, target.pid))

    def delve_dump(self, target):
        path = os.path.join(self.scratch, "dlv.core")
        script = os.path.join(self.scratch, "dump")
        with open(script, "w") as f:
            f.write("dump %s\nexit\nn\n" % path)
        figures, _ = self.measured(
            [self.dlv, "attach", str(target.pid), "--check-go-version=false",
             "--allow-non-terminal-interactive=true"], script)
        return self.dumped(figures, path)

    def dumped(self, figures, path):
        size = disk(path) if os.path.exists(path) else 0
        if size:
            os.unlink(path)
        return Row(None, 0, figures["wall"], figures["cpu"], size, "",
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
    lines = [("", "runs", "pause ms", "gap ms", "wall s", "tool CPU s", "on disk MiB", "")]
    for name, all_of in rows.items():
        good = [r for r in all_of if r.code in (0, 4)]
        bad = [r for r in all_of if r.code not in (0, 4)]
        methods = collections.Counter(r.method for r in good if r.method)
        note = ", ".join("%s %d" % m for m in methods.items())
        if bad:
            note += " failed %d of %d: %s" % (len(bad), len(all_of), bad[0].note)
        if not good:
            lines.append((name, "0", "", "", "", "", "", note))
            continue
        lines.append((name, str(len(good)), pair([r.pause for r in good], 1),
                      pair([r.gap for r in good], 1), pair([r.wall for r in good], 2),
                      pair([r.tool_cpu for r in good], 2), pair([r.disk_mib for r in good], 1), note))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  " + "  ".join(c.ljust(w) if i in (0, len(line) - 1) else c.rjust(w)
                               for i, (c, w) in enumerate(zip(line, widths))).rstrip())


def middle(rows):
    """Median pause of those that went well, or None."""
    good = [r.pause for r in rows if r.code in (0, 4)]
    return statistics.median(good) if good else None


def reference(rig, spool, path):
    """MiB/s of zstd -1 and SHA-256 over what this archive's core holds: alone, with the result written to
    a file, and the number of processors."""
    core = os.path.join(rig.scratch, "core")
    subprocess.run([os.path.join(rig.args.build, "godiag"), "extract", path, "core", "--output",
                    core, "--quiet"], check=True)
    out = subprocess.run([os.path.join(rig.args.bench, "reference"), core, spool],
                         stdout=subprocess.PIPE, check=True).stdout.split()
    os.unlink(core)
    return int(out[0]) / float(out[1]), int(out[0]) / float(out[3]), int(out[2])


def throughput(rig, target, spool):
    """The core's step against zstd -1 and SHA-256 alone, same bytes, same processors, five times."""
    ratios = []
    for _ in range(5):
        row, path = rig.godiag(spool, "--only", "core")(target)
        if path is None:
            print("  throughput: %s" % row.note)
            return
        snapshot = read_snapshot(path)
        step = next(s for s in snapshot["steps"] if s["name"] == "core")
        seconds = (step["ended_ns"] - step["started_ns"]) / 1e9
        ours = snapshot["freeze"]["core_plain_bytes"] / MIB / seconds
        floor, written, cpus = reference(rig, spool, path)
        os.unlink(path)
        ratios.append((ours / floor, ours, floor, ours / written))
    ratios.sort()
    print("  packing after the resume: %.0f MiB/s, zstd -1 and SHA-256 alone %.0f MiB/s on %d CPU(s): "
          "%.0f %% (median of 5; %.0f to %.0f %%), %.0f %% of the two with the result written to a file"
          % (ratios[2][1], ratios[2][2], cpus, 100 * ratios[2][0], 100 * ratios[0][0],
             100 * ratios[-1][0], 100 * statistics.median(r[3] for r in ratios)))


def rounds(rig, start_target, tools, repeats, rows, loads):
    """One target a round; each tool has its turn with it.  Returns the last one, which still runs."""
    target = None
    for repeat in range(repeats):
        if target is not None:
            target.stop()
        target = start_target()
        time.sleep(1)
        for name, tool, most in tools:
            if repeat >= most:
                continue
            loads.append(os.getloadavg()[0])
            row, made = rig.turn(target, tool)
            rows.setdefault(name, []).append(row)
            if made:
                os.unlink(made)
    return target


def series(rig, path, gib, repeats, peers, smallest):
    spool = tempfile.mkdtemp(dir=rig.scratch)
    rows, loads = collections.OrderedDict(), []
    tools = [("godiag core", rig.godiag(spool, "--only", "core"), repeats)]
    if smallest:
        tools.append(("godiag core again", rig.godiag(spool, "--only", "core"), repeats))
    if rig.dlv:
        tools.append(("dlv dump", rig.delve_dump, min(peers, repeats)))
    if shutil.which("gcore"):
        tools.append(("gcore", rig.gcore, min(peers, repeats)))
    target = None
    try:
        target = rounds(rig, lambda: start(path, 200, gib * 1024, 20, rig.target_cpu), tools, repeats,
                        rows, loads)
        print("\ncore, %d GiB heap, 20 MB/s written: resident %.0f MiB, load %.1f to %.1f"
              % (gib, target.rss_mib(), min(loads), max(loads)))
        print_rows(rows)
        ours = middle(rows["godiag core"])
        for name in rows:
            theirs = middle(rows[name])
            if not name.startswith("godiag") and ours and theirs:
                print("  %s / godiag: pause x%.0f" % (name, theirs / ours))
        print("  memory of all our processes together: %.0f MiB at most" % rig.peak_mib(spool, target))
        if smallest:
            target.stop()
            target = start(path, 200, gib * 1024, 20, rig.target_cpu)
            time.sleep(1)
            throughput(rig, target, spool)
    finally:
        if target is not None:
            target.stop()
        shutil.rmtree(spool, ignore_errors=True)


def without_exe(made):
    """MiB an archive takes on disk, without the executable in it."""
    exe = sum(a["stored_bytes"] for a in read_snapshot(made)["artifacts"] if a["name"] == "exe")
    return disk(made) - exe / MIB


def idle_service(rig, title, target, repeats):
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
                sizes[name].append(without_exe(made))
                os.unlink(made)
        peers = [("dlv dump", rig.delve_dump)] if rig.dlv else []
        peers += [("gcore", rig.gcore)] if shutil.which("gcore") else []
        print("\ncore of an idle service (%s), resident %.0f MiB; MiB on disk without the executable: %s%s"
              % (title, target.rss_mib(), ", ".join("%s %s" % (n, pair(v, 2)) for n, v in sizes.items()),
                 "".join(", %s %.0f" % (name, tool(target)[0].disk_mib) for name, tool in peers)))
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
                with bench.HTTP.open(self.target.url("/gap"), timeout=1) as answer:
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
        idle_service(rig, "50 goroutines", start(path, 50, 0, 0, rig.target_cpu), repeats)
        idle_service(rig, "1,000 goroutines", start(path, 1000, 0, 0, rig.target_cpu), repeats)
        idle_service(rig, "50 goroutines and 4 MiB of random bytes",
                     start(path, 50, 8, 0, rig.target_cpu), repeats)
        second_capture(rig, path, 400, 1, 17)
        liveness(rig, path, 10 if args.quick else 100)
    finally:
        rig.close()


if __name__ == "__main__":
    main()
