"""Kills processes of a capture that takes a core, at random moments, and looks at the target.

For N kills a victim is taken by turns (C, and Go by three releases; programs that notice when
anything was done to them), and kill -9 hits one of a capture's processes, which bear the names of their roles.
Every second strike falls anywhere in the capture.  That seldom meets who lives for some milliseconds
only (tracer, guard), so the others wait until a certain role is there; for tracer and guard, until the
target is traced.

Afterwards the target must live, run, be nobody's tracee, have noticed nothing, and have no child within
three seconds; and the directory holds whole archives only.  Prints the totals; exit 1 when there was any
harm, or when of many strikes a role got next to none.
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


ROLES = ["broker", "parser", "packer", "freezer", "tracer", "guard", "reader", "compress"]


def role(pid, root):
    """The part it plays, None when it has ended; the kernel cuts the name of the compressor."""
    try:
        name = words("/proc/%d/comm" % pid).strip()
    except OSError:
        return None
    return "broker" if pid == root else name.replace("godiag-", "", 1)


def family(root):
    """A process of ours and all below it that live, by role."""
    found, at = [root], 0
    while at < len(found):
        try:
            found += map(int, words("/proc/%d/task/%d/children" % (found[at], found[at])).split())
        except OSError:
            pass
        at += 1
    roles = collections.defaultdict(list)
    for pid in found:
        what = role(pid, root)
        # A child that has not got its own name yet has its parent's.
        if (stat(pid) or "Z")[0] != "Z" and what in ROLES:
            roles[what].append(pid)
    return roles


def tracer_of(victim):
    try:
        return int(field(victim.pid, "TracerPid"))
    except (OSError, ValueError):
        return 0


def anywhere(ours, victim, span):
    """Each role alike, not each process: there are many parsers."""
    time.sleep(random.uniform(0, span))
    roles = family(ours.pid)
    if not roles:
        return None, 0
    what = random.choice(sorted(roles))
    return what, random.choice(roles[what])


def aimed(ours, victim, what):
    """Waits for that role; a capture makes up to five tracers, and any of them may be meant."""
    skip = random.choice([0, 0, 1, 2]) if what in ("tracer", "guard") else 0
    seen = 0
    while ours.poll() is None:
        if what in ("tracer", "guard"):
            tracer = tracer_of(victim)
            if tracer in (0, seen):
                continue
            if skip > 0:
                seen, skip = tracer, skip - 1
                continue
            if what == "tracer":
                time.sleep(random.choice([0, 0, random.uniform(0, 0.004)]))
                return what, tracer
        roles = family(ours.pid)
        if what in roles:
            if what != "guard":
                time.sleep(random.choice([0, random.uniform(0, 0.02), random.uniform(0, 0.2)]))
            return what, random.choice(roles[what])
    return None, 0


class Victim:
    def __init__(self, argv):
        self.name = " ".join([os.path.basename(argv[0])] + argv[1:])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        if not said.startswith("ready"):
            raise RuntimeError("%s: %s" % (self.name, said.strip()))
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


def main():
    build, victims, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seed = int(os.environ.get("SEED", time.time()))
    random.seed(seed)
    spool = sys.argv[4]
    programs = [[os.path.join(victims, "selfcheck"), "0"]] + [[p] for p in sys.argv[5:]]
    # Each once more with an io_uring, of which an image is made by fork.
    programs += [p + ["ring"] for p in programs]
    running = []
    for argv in list(programs):
        try:
            running.append(Victim(argv))
        except RuntimeError as e:
            print("# not covered: %s" % e)
            programs.remove(argv)
    capture = [os.path.join(build, "godiag-capture"), "--output", spool, "--quiet",
               "--profile", "full", "--duration", "100ms"]
    spans = collections.defaultdict(lambda: 0.5)
    hits, harms, ended, zombies, standing = collections.Counter(), [], 0, 0, 0
    i = -1
    # Some captures end before they are met; not more than that may.
    while sum(hits.values()) < kills and i < 4 * kills:
        i += 1
        victim = running[i % len(running)]
        more = random.choice([[], ["--core", "thin"], ["--max-pause", "5ms"]])
        began = time.monotonic()
        ours = subprocess.Popen(capture + more + ["--pid", str(victim.pid)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if i // len(running) % 2 == 0:
            what, hit = anywhere(ours, victim, spans[victim.name])
        else:
            # Whom few have met so far comes first.
            wanted = random.choices(ROLES, [1 / (1 + hits[name]) ** 2 for name in ROLES])[0]
            what, hit = aimed(ours, victim, wanted)
        traced = what is not None and tracer_of(victim) != 0
        try:
            if what is None or role(hit, ours.pid) != what:
                raise ProcessLookupError
            os.kill(hit, signal.SIGKILL)
            hits[what] += 1
            standing += traced
        except ProcessLookupError:
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
    harmed, torn = len(harms), 0
    for name in os.listdir(spool):
        path = os.path.join(spool, name)
        if subprocess.run([os.path.join(build, "godiag"), "verify", path, "--quiet"],
                          stdout=subprocess.DEVNULL, check=False).returncode != 0:
            harms.append("%s is not whole" % name)
            torn += 1
    for name in ROLES:
        # The reader of a fork's child is there only when the kernel has io_uring.
        if kills >= 500 and hits[name] < kills / 40 and name != "reader":
            harms.append("%d kills of %s among %d: says nothing" % (hits[name], name, kills))
    for harm in harms:
        print(harm)
    print("# %d kills (%s), %d while the target was traced, %d captures had ended; victims %s; %d harmed, "
          "%d archives torn of %d, at most %d zombies at once"
          % (sum(hits.values()), ", ".join("%s %d" % h for h in sorted(hits.items())), standing, ended,
             ", ".join(sorted(v.name for v in running)), harmed, torn,
             len(os.listdir(spool)), zombies))
    sys.exit(1 if harms else 0)


if __name__ == "__main__":
    main()
