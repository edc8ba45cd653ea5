#!/bin/bash
# Services by their unit: a capture of the running one, and what is sealed after it failed, with what
# systemd tells a unit that OnFailure= started.  Then a cgroup at its memory limit.
set -euo pipefail
. tests/agent.sh
[ -x "$BUILD/godiagd" ] || { echo "# skip: $BUILD/godiagd is not built"; exit 77; }
command -v jq >/dev/null || { echo "# skip: no jq"; exit 77; }
victim=$(ls "$VICTIMS"/quiet-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$victim" ] || { echo "# skip: no victim quiet was built"; exit 77; }
tree=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
unit=gdit-$$.service
mkdir -p "$tree/gdit.slice/$unit" 2>/dev/null || { echo "# skip: no cgroup v2 to write to"; exit 77; }

dir=$(mktemp -d)
group="$tree/gdit.slice/$unit"
memory=
finish() {
	code=$?
	[ $code -eq 0 ] || tail -n 40 "$dir/godiagd.log" || true
	agent_stop "$dir"
	end_by_pid "$dir/victim.pid"
	end_by_pid "$dir/hog.pid"
	rmdir "$group" "$tree/gdit.slice" 2>/dev/null || true
	[ -z "$memory" ] || rmdir "$memory" 2>/dev/null || true
	rm -rf "$dir" ${cache:+"$cache"}
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	exit 1
}
step() { echo "-- $*"; }
# grep -q would close the pipe on whoever writes.
has() { grep "$@" >/dev/null; }

mkfifo "$dir/in"
(
	echo $BASHPID >"$group/cgroup.procs"
	exec "$victim" <"$dir/in" >"$dir/out" 2>&1
) &
echo $! >"$dir/victim.pid"
exec 9>"$dir/in"
cat >"$dir/policy.yaml" <<END
services:
  - name: shop
    match: { unit: "gdit-*.service" }
  - name: hog
    match: { cgroup: "*gdit-mem-$$*" }
rules:
  - name: full
    service: hog
    when: { event: memory_max }
    profile: light
budget: { free: 1% }
END
chmod 600 "$dir/policy.yaml"
agent_start "$dir"

step "the unit's process is found by its cgroup and captured by the unit's name"
agent_await "$dir" 20 '.watched | length == 1' || fail "$(agent_status "$dir")"
sleep 2 # samples to tell of
"$BUILD/godiag-capture" --run "$dir/run" --unit "$unit" --profile light >"$dir/alive.txt" || fail "exit $?"
"$BUILD/godiag" show "$(cut -d' ' -f1 "$dir/alive.txt")" | has 'GOROUTINES' || fail "no goroutines"

step "after it failed: timeline, and what systemd said of its end"
kill -KILL "$(cat "$dir/victim.pid")"
wait "$(cat "$dir/victim.pid")" 2>/dev/null || true
rm "$dir/victim.pid"
agent_await "$dir" 5 '.watched | length == 0' || fail "still watched"
MONITOR_UNIT=$unit MONITOR_SERVICE_RESULT=signal MONITOR_EXIT_CODE=killed MONITOR_EXIT_STATUS=KILL \
	"$BUILD/godiag-capture" --run "$dir/run" --unit "$unit" --quiet --reason "$unit failed" \
	>"$dir/failed.txt" || fail "exit $?"
archive=$(cut -d' ' -f1 "$dir/failed.txt")
"$BUILD/godiag" verify "$archive" >/dev/null || fail "$archive does not verify"
"$BUILD/godiag" extract "$archive" exit.json -o - | jq -e '.result == "signal" and .exit_status == "KILL"' \
	>/dev/null || fail "exit.json: $("$BUILD/godiag" extract "$archive" exit.json -o -)"
"$BUILD/godiag" extract "$archive" timeline.jsonl -o - | jq -e 'select(.cpu != null)' >/dev/null ||
	fail "no samples in the timeline"
"$BUILD/godiag" show "$archive" >"$dir/show.txt" || fail "show exits $?"
grep -q "$unit failed" "$dir/show.txt" || fail "$(cat "$dir/show.txt")"

step "a cgroup at its limit is captured while its process still lives"
tree1=$(awk '$0 ~ / - cgroup / && $NF ~ /(^|,)memory(,|$)/ { print $5; exit }' /proc/self/mountinfo)
if [ -n "$tree1" ] && mkdir "$tree1/gdit-mem-$$" 2>/dev/null; then
	memory="$tree1/gdit-mem-$$"
	echo $((32 << 20)) >"$memory/memory.limit_in_bytes"
elif grep -qw memory "$tree/cgroup.subtree_control" 2>/dev/null && mkdir "$tree/gdit-mem-$$"; then
	memory="$tree/gdit-mem-$$"
	echo $((32 << 20)) >"$memory/memory.max"
else
	echo "# skip: no memory controller to use"
	exit 0
fi
cache=$(mktemp -p /var/tmp)
(
	echo $BASHPID >"$memory/cgroup.procs"
	sleep 4
	# Page cache counts: at the limit it is reclaimed, and nobody is killed.  Not that of a tmpfs.
	for _ in 1 2 3 4 5 6; do
		head -c 100M /dev/zero >"$cache"
		sleep 1
	done
) &
echo $! >"$dir/hog.pid"
agent_await "$dir" 20 '[.captures[] | select(.rule == "full" and .digest != "")] | length >= 1' ||
	fail "$(agent_status "$dir")"
wait "$(cat "$dir/hog.pid")" || fail "the process at its limit was killed"
rm "$dir/hog.pid"
