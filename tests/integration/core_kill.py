"""Kills processes of a capture that takes a core, at random moments, and looks at the target.

For each of N captures a victim is taken by turns (C, and Go by three releases; programs that notice when
anything was done to them), and kill -9 hits one of our processes: the broker, its parsers, packer,
freezer, tracer, guard, compressor.  Afterwards the target must live, run, be nobody's tracee, have
noticed nothing, and have no child within three seconds; and the directory holds whole archives only.
Prints the totals; exit 1 when there was any harm.
"""
import collections
import os
import random
import signal
import subprocess
import sys
import time


def words(path):
    with open(path) as f:
        return f.read()


def field(pid, name):
    for line in words("/proc/%d/status" % pid).split("\n"):
        if line.startswith(name + ":"):
            return line.split()[1]
    return ""


def stat(pid):
    """(state, parent) of a process, None when it is gone."""
    try:
        rest = words("/proc/%d/stat" % pid).rsplit(")", 1)[1].split()
        return rest[0], int(rest[1])
    except (OSError, IndexError):
        return None


def family(root):
    """A process of ours and all below it that live."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            known = stat(int(name))
            if known and known[0] != "Z":
                parents[int(name)] = known[1]
    found, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return sorted(pid for pid in found if pid in parents)


class Victim:
    def __init__(self, argv):
        self.name = os.path.basename(argv[0])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError("%s did not get ready" % self.name)
        self.pid = self.process.pid
        self.own = self.children()

    def children(self):
        """Of any state, without those it made itself (they have an exit signal)."""
        found = []
        for name in os.listdir("/proc"):
            known = stat(int(name)) if name.isdigit() else None
            if known and known[1] == self.pid:
                try:
                    exit_signal = words("/proc/%s/stat" % name).rsplit(")", 1)[1].split()[35]
                except (OSError, IndexError):
                    continue
                if exit_signal == "0":
                    found.append((int(name), known[0]))
        return found

    def harm(self):
        """What is wrong with it, or None."""
        until = time.monotonic() + 3
        while True:
            known = stat(self.pid)
            if known is None or known[0] in "ZX":
                return "dead: " + self.process.stdout.read()[:200].strip()
            wrong = None
            if known[0] in "Tt":
                wrong = "stopped"
            elif field(self.pid, "TracerPid") != "0":
                wrong = "still traced"
            elif any(state not in "ZX" for _, state in self.children()):
                wrong = "a child lives: %s" % self.children()
            if wrong is None:
                break
            if time.monotonic() > until:
                return wrong
            time.sleep(0.02)
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:
            return "gone"
        line = self.process.stdout.readline()
        return None if line.startswith("beat") else line.strip() or "no beat"

    def stop(self):
        self.process.kill()
        self.process.wait()


def role(pid, root):
    """What it was doing, as far as can be told from outside."""
    if pid == root:
        return "broker"
    try:
        maps = words("/proc/%d/maps" % pid)
        traces = field(pid, "CapEff") != "0000000000000000"
        threads = int(field(pid, "Threads"))
    except (OSError, ValueError):
        return "ended"
    if traces:
        return "freezer, tracer or guard"
    return "compressor" if threads > 1 else "parser or packer" if maps else "ended"


def main():
    build, victims, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seed = int(os.environ.get("SEED", time.time()))
    random.seed(seed)
    spool = sys.argv[4]
    programs = [[os.path.join(victims, "selfcheck")]] + [[p] for p in sys.argv[5:]]
    running = [Victim(p) for p in programs]
    capture = [os.path.join(build, "godiag-capture"), "--output", spool, "--quiet",
               "--profile", "full"]
    spans = collections.defaultdict(lambda: 0.8)
    hits, harms, ended, zombies = collections.Counter(), [], 0, 0
    for i in range(kills):
        victim = running[i % len(running)]
        more = random.choice([[], ["--core", "thin"], ["--max-pause", "5ms"]])
        began = time.monotonic()
        ours = subprocess.Popen(capture + more + ["--pid", str(victim.pid)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, spans[victim.name]))
        pids = family(ours.pid)
        if pids and ours.poll() is None:
            # Each role alike, not each process: there are many parsers.
            roles = collections.defaultdict(list)
            for pid in pids:
                roles[role(pid, ours.pid)].append(pid)
            what = random.choice(sorted(roles))
            hit = random.choice(roles[what])
            try:
                os.kill(hit, signal.SIGKILL)
                hits[what] += 1
            except ProcessLookupError:
                ended += 1
        else:
            ended += 1
        try:
            ours.wait(60)
        except subprocess.TimeoutExpired:
            harms.append("%s: the capture hangs (kill %d)" % (victim.name, i))
            ours.kill()
            ours.wait()
        if not hits or ours.returncode in (0, 4):
            spans[victim.name] = 0.7 * spans[victim.name] + 0.3 * (time.monotonic() - began)
        wrong = victim.harm()
        zombies = max(zombies, len(victim.children()))
        if wrong is not None:
            harms.append("%s after kill %d (seed %d): %s" % (victim.name, i, seed, wrong))
            victim.stop()
            running[i % len(running)] = Victim(programs[i % len(running)])
    for victim in running:
        victim.stop()
    torn = 0
    for name in os.listdir(spool):
        path = os.path.join(spool, name)
        if subprocess.run([os.path.join(build, "godiag"), "verify", path, "--quiet"],
                          stdout=subprocess.DEVNULL, check=False).returncode != 0:
            harms.append("%s is not whole" % name)
            torn += 1
    for harm in harms:
        print(harm)
    print("# %d kills (%s), %d captures had ended; victims %s; %d harmed, %d archives torn of %d, at most "
          "%d zombies at once"
          % (sum(hits.values()), ", ".join("%s %d" % h for h in sorted(hits.items())), ended,
             ", ".join(sorted(v.name for v in running)), len(harms) - torn, torn,
             len(os.listdir(spool)), zombies))
    sys.exit(1 if harms else 0)


if __name__ == "__main__":
    main()
