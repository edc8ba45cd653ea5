#!/bin/bash
# Samples where they are hard to get: in pid namespaces, without rights, of a process that ends, forks or
# becomes another program, in a deep control group.  What is missing is said each time.
set -eu
. tests/agent.sh
capture=$BUILD/godiag-capture
godiag=$BUILD/godiag
[ -x "$capture" ] || { echo "# skip: $capture is not built"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "# skip: no permission to read another process"; exit 77; }
for tool in jq python3 unshare setpriv; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done

dir=$(mktemp -d)
chmod 1777 "$dir"
# One that others may run, too.
python=$(PATH=/usr/bin:/bin:$PATH command -v python3)
started=
groups=
finish() {
	agent_stop "$dir/agent"
	for pid in $started; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	for group in $groups; do
		find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap finish EXIT
fail() { echo "$*"; exit 1; }

# Works and sleeps, says so, and does on a line of its input what the line says.
cat >"$dir/busy.py" <<'END'
import os, signal, sys, threading, time

def work():
    while True:
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            sum(range(500))
        time.sleep(0.002)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
with open(sys.argv[1], "w") as said:
    said.write("%d\n" % os.getpid())
for line in sys.stdin:
    if line.startswith("fork"):
        if os.fork() == 0:
            signal.alarm(20)  # nobody else ends it
            work()
    elif line.startswith("exec"):
        os.execv("/bin/sleep", ["sleep", "60"])
    elif line.startswith("exit"):
        os._exit(0)
time.sleep(600)
END

start() { # NAME COMMAND... : busy.py under COMMAND; sets $pid to what the host calls its parent or itself
	local name=$1
	shift
	rm -f "$dir/$name.in"
	mkfifo "$dir/$name.in"
	"$@" "$python" "$dir/busy.py" "$dir/$name.said" <"$dir/$name.in" >/dev/null 2>"$dir/$name.err" &
	pid=$!
	started="$started $pid"
	exec 9>"$dir/$name.in"
	for _ in $(seq 100); do
		[ -s "$dir/$name.said" ] && return
		sleep 0.1
	done
	fail "$name did not get ready: $(cat "$dir/$name.err")"
}

# Of a chain of programs that each started one, the last.
innermost() { # PID
	local at=$1 next
	while next=$(cat "/proc/$at/task/$at/children" 2>/dev/null) && [ -n "${next// /}" ]; do
		at=${next%% *}
	done
	echo "$at"
}

taken=0
take() { # WANTED-EXITS COMMAND... -- PID [OPTION...]: sets $archive and the array $facts reads from
	local wanted=$1 run=()
	shift
	while [ "$1" != -- ]; do run+=("$1"); shift; done
	local target=$2
	shift 2
	taken=$((taken + 1))
	local out=$dir/out$taken
	mkdir -m 777 "$out"
	status=0
	"${run[@]}" "$capture" --pid "$target" --output "$out" --quiet --only samples --duration 1s "$@" \
		>"$dir/out" 2>"$dir/err" || status=$?
	case " $wanted " in *" $status "*) ;; *) fail "$*: exit $status, not $wanted: $(cat "$dir/err")" ;; esac
	archive=$(ls "$out"/*.tar 2>/dev/null || true)
	rm -f "$dir/facts"
	[ -z "$archive" ] || "$godiag" extract "$archive" samples.json --output - >"$dir/facts" 2>/dev/null || true
}
fact() { jq -r "$1" "$dir/facts"; }
expect() { # JQ: true of samples.json
	[ "$(fact "$1")" = true ] || fail "not so: $1 of $(cat "$dir/facts" "$dir/err")"
}
grade() { # ARTIFACT
	"$godiag" list "$archive" --json | jq -r --arg name "$1" \
		'first(.[] | select(.name == $name)) | "\(.grade): \(.why)"'
}
filtered='per CPU, filtered in the kernel'
have_bpf=true
have_wakeups=true

start first env
take "0 4" env -- "$pid" --syscalls
if [ "$(fact .way)" = "$filtered" ]; then
	expect '.samples > 0 and .of_others == 0'
	if [ "$(fact .offcpu.runnable_why_not)" = null ]; then
		expect '.offcpu.runnable_ns != null and .offcpu.wakeups > 0'
	else
		have_wakeups=false
		echo "# not covered: wake-ups: $(fact .offcpu.runnable_why_not)"
	fi
	if [ "$(fact .syscalls.why_not)" = null ]; then
		expect '.syscalls.all > 0 and .syscalls.compat == 0 and (.syscalls.counts | map(.n) | add) == .syscalls.all'
		expect '.syscalls.counts | map(.name) | any(. == "clock_nanosleep" or . == "futex" or . == "select" or . == "pselect6")'
		"$godiag" show "$archive" | grep -q 'system calls [0-9]' || fail "godiag show says nothing of system calls"
	fi
else
	have_bpf=false
	echo "# not covered: BPF: $(fact .fell_back)"
fi
take "0 4" env -- "$pid"
expect '.syscalls.why_not == "not asked for" and (.syscalls | has("counts") | not)'

# Everything in a pid namespace that is not the first: the agent is in the target's own.
if $have_bpf && unshare -pf --mount-proc true 2>/dev/null; then
	mkdir -m 777 "$dir/inner"
	cat >"$dir/inner.sh" <<'END'
python3 "$1/busy.py" "$1/inner.said" </dev/null >/dev/null 2>&1 &
while [ ! -s "$1/inner.said" ]; do sleep 0.1; done
[ "$(cat "$1/inner.said")" = $! ] || exit 90
"$2" --pid $! --output "$1/inner" --quiet --only samples --duration 1s --syscalls || exit $?
END
	status=0
	unshare -pf --kill-child --mount-proc bash "$dir/inner.sh" "$dir" "$capture" >/dev/null 2>"$dir/err" || status=$?
	case $status in 0 | 4) ;; *) fail "in a pid namespace: exit $status: $(cat "$dir/err")" ;; esac
	archive=$(ls "$dir"/inner/*.tar)
	"$godiag" extract "$archive" samples.json --output - >"$dir/facts"
	expect ".way == \"$filtered\" and .samples > 0 and .of_others == 0"
	expect '.offcpu.switches > 0'
	# No wake-up of a number that is somebody else's: they pair as they do outside.
	! $have_wakeups || expect '.offcpu.runnable_ns > 0 and .offcpu.wakeups > 0'
	expect '.syscalls.why_not == null and .syscalls.all > 0'
	echo "# in a pid namespace of both: $(fact .samples) samples, $(fact .syscalls.all) system calls"

	# The target in one of its own, as in a container, and the agent outside.
	start container unshare -pf --kill-child --mount-proc
	inner=$(innermost "$pid")
	[ "$(cat "$dir/container.said")" = 1 ] || fail "it is not the first of its namespace"
	take "0 4" env -- "$inner"
	expect ".way == \"$filtered\" and .samples > 0 and .of_others == 0"
	! $have_wakeups || expect '.offcpu.runnable_ns != null and .offcpu.wakeups > 0'
	echo "# a target in a pid namespace: $(fact .samples) samples, $(fact .offcpu.wakeups) wake-ups"

	# The agent in one, the target in one below: BPF has no number for it that we know.
	cat >"$dir/below.sh" <<'END'
unshare -pf --kill-child --mount-proc python3 "$1/busy.py" "$1/below.said" </dev/null >/dev/null 2>&1 &
while [ ! -s "$1/below.said" ]; do sleep 0.1; done
read -r inner _ <"/proc/$!/task/$!/children"
"$2" --pid "$inner" --output "$1/below" --quiet --only samples --duration 1s || exit $?
END
	mkdir -m 777 "$dir/below"
	status=0
	unshare -pf --kill-child --mount-proc bash "$dir/below.sh" "$dir" "$capture" >/dev/null 2>"$dir/err" || status=$?
	case $status in 0 | 4) ;; *) fail "below a pid namespace: exit $status: $(cat "$dir/err")" ;; esac
	"$godiag" extract "$dir"/below/*.tar samples.json --output - >"$dir/facts"
	expect ".way != \"$filtered\" and .samples > 0 and (.fell_back | test(\"namespace\"))"
	echo "# a target below our pid namespace: $(fact .way)"
else
	echo "# not covered: pid namespaces"
fi

# Root without what BPF and perf need, and without what the kernel's names need.
start target env
without() { setpriv --bounding-set="$1" --inh-caps="$1" "${@:2}"; }
take "0 4" without -bpf,-perfmon,-sys_admin -- "$pid"
paranoid=$(cat /proc/sys/kernel/perf_event_paranoid)
if [ -s "$dir/facts" ]; then
	expect ".way != \"$filtered\" and (.fell_back | test(\"CAP_PERFMON\"))"
	expect '.offcpu.runnable_ns == null or .offcpu.why_not != null'
	if [ "$paranoid" -ge 2 ]; then
		expect '.kernel == false'
		case $(grade cpu.pb.gz) in partial*CAP_PERFMON*) ;; *) fail "$(grade cpu.pb.gz)" ;; esac
	fi
	echo "# without CAP_PERFMON, perf_event_paranoid $paranoid: $(fact .way), kernel $(fact .kernel)"
else
	case $(grade samples.json) in
	skipped*CAP_PERFMON*) echo "# without CAP_PERFMON, perf_event_paranoid $paranoid: $(grade samples.json)" ;;
	*) fail "without CAP_PERFMON: $(grade samples.json)" ;;
	esac
fi
# With perf events and without BPF: thread by thread, and nobody tells of wake-ups and system calls.
take "0 4" without -bpf,-sys_admin -- "$pid" --syscalls
if [ -s "$dir/facts" ]; then
	expect ".way != \"$filtered\" and .samples > 0 and (.fell_back | test(\"BPF\"))"
	expect '.offcpu.runnable_ns == null and (.offcpu.runnable_why_not | test("BPF")) and .offcpu.blocked_ns > 0'
	expect '.syscalls.why_not | test("BPF")'
	"$godiag" extract "$archive" offcpu.pb.gz --output - | gzip -dc | grep -aq 'wake-up is in `blocked`' ||
		fail "the profile does not say what is in blocked"
fi
take "0 4" without -syslog -- "$pid"
if [ "$(cat /proc/sys/kernel/kptr_restrict)" != 0 ] || [ "$paranoid" -gt 1 ]; then
	# Then the kernel shows its addresses only to whom has that, and frames of it have no names.
	expect '.kernel_names != null'
	"$godiag" extract "$archive" cpu.folded --output - >"$dir/folded"
	grep -q '\[kernel\]' "$dir/folded" || [ "$(fact .classes.kernel)" = 0 ] || fail "frames of the kernel have names"
	expect '.samples > 0'
fi

# Somebody who may not look at all.
take 3 setpriv --reuid 65534 --regid 65534 --clear-groups -- "$pid"
[ -z "$archive" ] || fail "an archive of what nobody may read"
grep -q 'CAP_SYS_PTRACE' "$dir/err" || fail "no word of what to allow: $(cat "$dir/err")"

# Somebody without rights, of a process of his own.
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
if nobody "$capture" --help >/dev/null 2>&1; then
	start own setpriv --reuid 65534 --regid 65534 --clear-groups
	take "0 4" nobody -- "$pid" --syscalls
	if [ -s "$dir/facts" ]; then
		expect ".way != \"$filtered\" and .samples > 0 and .syscalls.why_not != null"
		case $(grade samples.json) in partial*BPF*) ;; *) fail "system calls not counted: $(grade samples.json)" ;; esac
		echo "# nobody, his own: $(fact .way), kernel $(fact .kernel)"
	else
		case $(grade samples.json) in skipped*CAP_PERFMON*) ;; *) fail "nobody: $(grade samples.json)" ;; esac
		echo "# nobody, his own: $(grade samples.json)"
	fi
	start target env
else
	echo "# not covered: nobody may not run the program where it lies"
fi

# A process forked from it is another one.
echo fork >&9
take "0 4" env -- "$pid"
! $have_bpf || expect '.of_others == 0'
expect '.samples > 0'

later() { sleep "$1"; echo "$2" >&9; }

# Another program in the middle of the window.
later 1 exec &
take "0 2 4" env -- "$pid" --duration 2s
wait $! || true
if [ "$status" = 4 ] && [ -s "$dir/facts" ]; then
	case $(grade cpu.pb.gz) in partial*execve*) ;; *) fail "execve: $(grade cpu.pb.gz)" ;; esac
fi
[ "$status" != 0 ] || fail "another program, and nothing is said"
echo "# execve: exit $status, $([ -z "$archive" ] || grade cpu.pb.gz)"

# The end of it, in the middle.
start ends env
later 2 exit &
began=$SECONDS
take "0 2 4" env -- "$pid" --duration 20s
[ $((SECONDS - began)) -lt 15 ] || fail "a process that has ended was sampled to the end"
[ -n "$archive" ] || fail "no archive of a process that ended in its window"
expect '.samples > 0'
echo "# ended in the window: exit $status, $(grade cpu.pb.gz), $(fact .samples) samples"

# 64 control groups in each other.
start deep env
for root in /sys/fs/cgroup /sys/fs/cgroup/pids /sys/fs/cgroup/unified; do
	[ -w "$root/cgroup.procs" ] || continue
	group=$root/godiag-test-$$
	mkdir "$group" 2>/dev/null || continue
	groups="$groups $group"
	at=$group
	for _ in $(seq 64); do at=$at/g; done
	mkdir -p "$at" 2>/dev/null && echo "$pid" >"$at/cgroup.procs" 2>/dev/null && break
done
if [ -n "$groups" ] && grep -q "godiag-test-$$/g/g/g" "/proc/$pid/cgroup"; then
	take "0 4" env -- "$pid" --only samples,proc
	expect '.samples > 0'
	"$godiag" extract "$archive" proc/cgroup --output - | grep -q "godiag-test-$$/g/g/g" || fail "its group is missing"
	"$godiag" list "$archive" --json | jq -e '[.[].name] | any(startswith("cgroup/"))' >/dev/null ||
		fail "no files of its groups"
	echo "# 64 control groups in each other: exit $status, $(head -n 1 "$dir/err")"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
else
	echo "# not covered: no control group can be made"
fi
"$godiag" verify "$archive" --quiet || fail "it does not verify"

# The agent counts system calls when its policy says so.
start served env
mkdir -p "$dir/agent"
cat >"$dir/agent/policy.yaml" <<END
services:
  - name: here
    match: { comm: $(cat "/proc/$pid/comm") }
samples: { duration: 600ms, syscalls: true }
budget: { free: 1%, captures: 100/1h }
END
chmod 600 "$dir/agent/policy.yaml"
agent_start "$dir/agent"
status=0
"$capture" --run "$dir/agent/run" --agent --pid "$pid" >"$dir/out" 2>"$dir/err" || status=$?
case $status in 0 | 4) ;; *) fail "by the agent: exit $status: $(cat "$dir/err")" ;; esac
archive=$(cut -d' ' -f1 "$dir/out")
"$godiag" extract "$archive" samples.json --output - >"$dir/facts"
expect '.samples > 0 and .syscalls.why_not != "not asked for"'
! $have_wakeups || expect '.syscalls.why_not == null and .syscalls.all > 0 and .offcpu.runnable_ns != null'
echo "# by the agent: $(fact .syscalls.all) system calls"
