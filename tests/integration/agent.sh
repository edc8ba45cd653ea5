#!/bin/bash
# The agent's life: it finds a service, a rule fires once, signals and operators get captures, a bad
# policy changes nothing, its watcher may be killed, and after kill -9 of itself the limits still count.
set -euo pipefail
. tests/agent.sh
[ -x "$BUILD/godiagd" ] || { echo "# skip: $BUILD/godiagd is not built"; exit 77; }
command -v jq >/dev/null || { echo "# skip: no jq"; exit 77; }
victim=$(ls "$VICTIMS"/quiet-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$victim" ] || { echo "# skip: no victim quiet was built"; exit 77; }

dir=$(mktemp -d)
finish() {
	code=$?
	[ $code -eq 0 ] || tail -n 40 "$dir/godiagd.log" || true
	agent_stop "$dir"
	agent_stop "$dir/few"
	[ -z "${crowd[*]-}" ] || kill "${crowd[@]}" 2>/dev/null || true
	[ ! -s "$dir/victim.pid" ] || kill "$(cat "$dir/victim.pid")" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	exit 1
}
step() { echo "-- $*"; }
# grep -q would close the pipe on whoever writes.
has() { grep "$@" >/dev/null; }
# A name of its own, so that other tests' victims are not meant.
cp "$victim" "$dir/gdagent-it"
mkfifo "$dir/in"
"$dir/gdagent-it" <"$dir/in" >"$dir/out" 2>&1 &
echo $! >"$dir/victim.pid"
exec 9>"$dir/in"
pid=$(cat "$dir/victim.pid")

policy() { # level
	cat >"$dir/policy.yaml" <<-END
		services:
		  - name: here
		    match: { comm: gdagent-it }
		  - name: nowhere
		    match: { comm: gdagent-nobody }
		  - name: crowd
		    match: { comm: gdagent-crowd }
		rules:
		  - name: many
		    service: here
		    when: { metric: go_goroutines, above: $1 }
		    for: 0
		    cooldown: 1s
		    limit: 1/24h
		    profile: light
		budget: { free: 1%, captures: 100/1h }
	END
	chmod 600 "$dir/policy.yaml"
}
# captures TRIGGER: how many of that kind were sealed
captures() { agent_status "$dir" | jq "[.captures[] | select(.trigger == \"$1\" and .digest != \"\" and .digest != null)] | length"; }

policy 0
agent_start "$dir"
step "a rule with for 0 fires and its capture verifies"
agent_await "$dir" 20 '.captures[0].state == "succeeded"' || fail "no capture: $(agent_status "$dir")"
archive=$(ls "$dir"/state/spool/ready/*.tar)
"$BUILD/godiag" verify "$archive" >/dev/null || fail "$archive does not verify"
"$BUILD/godiag" list "$archive" | has '^timeline.jsonl' || fail "no timeline"
"$BUILD/godiag" show "$archive" | has 'rule=many' || fail "show does not name the rule"
"$BUILD/godiag" show "$archive" | has 'go_goroutines' || fail "show does not name the metric"

step "a service without a process is named, and status says so by its exit"
code=0
"$BUILD/godiag" status --run "$dir/run" >"$dir/status.txt" || code=$?
[ $code -eq 4 ] || fail "status exits $code"
code=0
"$BUILD/godiag" status --run "$dir/run" --json >/dev/null || code=$?
[ $code -eq 4 ] || fail "status --json exits $code"
grep -q 'nowhere.*no running process' "$dir/status.txt" || fail "$(cat "$dir/status.txt")"

step "a bad policy is refused by name and place, the old one stays"
cp "$dir/policy.yaml" "$dir/good.yaml"
echo "rulez: []" >>"$dir/policy.yaml"
kill -HUP "$(cat "$dir/godiagd.pid")"
agent_await "$dir" 5 '.problems | any(contains("policy not reloaded"))' || fail "no complaint"
grep -q 'policy.yaml:[0-9]*:1.*rulez' "$dir/godiagd.log" || fail "the log does not say where"
agent_status "$dir" | jq -e '.rules | length == 1' >/dev/null || fail "the rule is gone"
cp "$dir/good.yaml" "$dir/policy.yaml"
kill -HUP "$(cat "$dir/godiagd.pid")"
agent_await "$dir" 5 '.problems | any(contains("policy not reloaded")) | not' || fail "still stale"

step "an operator names a pid; a unit that nobody means is refused"
"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile light --reason "by hand" \
	>"$dir/hand.txt" || fail "exit $?"
"$BUILD/godiag" verify "$(cut -d' ' -f1 "$dir/hand.txt")" >/dev/null || fail "not an archive"
code=0
"$BUILD/godiag-capture" --run "$dir/run" --unit no-such.service --reason "on failure" 2>"$dir/refused.txt" || code=$?
[ $code -eq 2 ] || fail "unknown unit: exit $code"
grep -q 'no-such.service' "$dir/refused.txt" || fail "$(cat "$dir/refused.txt")"
grep -q 'trigger manual.* no_target: on failure' "$dir/godiagd.log" || fail "the refusal is not on record"

step "a pid that is another process by the time its turn comes is gone"
cp "$(command -v sleep)" "$dir/gdagent-old"
cp "$(command -v sleep)" "$dir/gdagent-new"
reused=
for try in {1..8}; do
	"$dir/gdagent-old" 60 &
	old=$!
	python3 tests/integration/with_pid.py $old "$dir/gdagent-new" 60 >"$dir/successor.txt" &
	new=$!
	while [ ! -s "$dir/successor.txt" ]; do
		sleep 0.01
	done
	before=()
	for n in 1 2 3 4 5; do # ahead of it in the queue
		"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile light >/dev/null &
		before+=($!)
	done
	"$BUILD/godiag-capture" --run "$dir/run" --agent --pid $old --profile light \
		>"$dir/reused.txt" 2>&1 &
	hand=$!
	agent_await "$dir" 5 "[.captures[] | select(.pid == $old)] | length > 0" || fail "not queued: $(cat "$dir/reused.txt")"
	kill -KILL $old
	wait $old 2>/dev/null || true
	code=0
	wait $hand || code=$?
	wait "${before[@]}" || true
	kill $old 2>/dev/null || true
	end=0
	wait $new || end=$? # 15: it was there, and we ended it
	[ $end -ne 77 ] || { echo "no choosing of pids here"; break; }
	[ "$(ls "$dir"/state/spool/ready | grep -c gdagent_new)" = 0 ] || fail "the new process was captured"
	if [ $code -eq 2 ] && [ $end -eq 15 ]; then
		reused=yes
		break
	fi
	rm -f "$dir"/state/spool/ready/*gdagent_old* # its turn came before its end
done
[ -n "$reused" ] || [ $end -eq 77 ] || fail "no capture came after the end of its process: $code, $(cat "$dir/reused.txt")"

step "SIGUSR1 captures all, also more than the queue holds, SIGUSR2 the queued pid"
cp "$(command -v sleep)" "$dir/gdagent-crowd"
crowd=()
for n in {1..20}; do
	"$dir/gdagent-crowd" 120 &
	crowd+=($!)
done
agent_await "$dir" 20 '.watched | length == 21' || fail "not watched after the reload"
kill -USR1 "$(cat "$dir/godiagd.pid")"
n=0
while [ "$(ls "$dir"/state/spool/ready/*-gdagent_crowd-*.tar 2>/dev/null | wc -l)" -lt 20 ]; do
	n=$((n + 1))
	[ $n -lt 300 ] || fail "SIGUSR1: $(ls "$dir/state/spool/ready") $(agent_status "$dir")"
	sleep 0.1
done
agent_await "$dir" 10 '[.captures[] | select(.state == "queued" or .state == "running")] | length == 0' ||
	fail "a capture does not end"
kill "${crowd[@]}"
crowd=()
agent_await "$dir" 20 '.watched | length == 1' || fail "the crowd does not go"
if /bin/kill --help 2>&1 | has queue; then
	/bin/kill -q $$ -s USR2 "$(cat "$dir/godiagd.pid")"
	agent_await "$dir" 10 "[.captures[] | select(.trigger == \"signal\" and .pid == $$ and .digest != \"\")] | length == 1" ||
		fail "SIGUSR2: $(agent_status "$dir")"
fi

step "the watcher is killed: another one takes over"
watcher=$(cat /proc/"$(cat "$dir/godiagd.pid")"/task/*/children | tr ' ' '\n' | head -n 1)
kill -KILL "$watcher"
agent_await "$dir" 20 '.watcher_restarts == 1 and (.watched | length == 1)' || fail "no new watcher"

step "kill -9: nothing is torn, and the limit of one in 24 h still counts"
admitted=$(agent_status "$dir" | jq '.rules[0].triggers.admitted')
[ "$admitted" = 1 ] || fail "$admitted admitted before"
agent_kill "$dir"
agent_start "$dir"
agent_await "$dir" 20 '.rules[0].triggers | .limit // .cooldown // 0 | . > 0' ||
	fail "did not fire anew: $(agent_status "$dir")"
admitted=$(agent_status "$dir" | jq '.rules[0].triggers.admitted')
[ "$admitted" = 1 ] || fail "$admitted admitted after a restart"
for archive in "$dir"/state/spool/ready/*.tar; do
	"$BUILD/godiag" verify "$archive" >/dev/null || fail "$archive does not verify"
done

step "the doctor finds nothing wrong with the policy and hears the agent's complaint"
code=0
"$BUILD/godiag" doctor --config "$dir/policy.yaml" --run "$dir/run" >"$dir/doctor.txt" || code=$?
grep -q 'ok *policy' "$dir/doctor.txt" || fail "$(cat "$dir/doctor.txt")"
grep -q 'agent.*nowhere' "$dir/doctor.txt" || fail "$(cat "$dir/doctor.txt")"

step "a policy that was named must be there"
code=0
"$BUILD/godiag" doctor --config "$dir/nowhere.yaml" --run "$dir/run" >"$dir/doctor.txt" || code=$?
[ $code -eq 4 ] && grep -q 'missing *policy .*nowhere.yaml' "$dir/doctor.txt" || fail "$(cat "$dir/doctor.txt")"

step "a finding about a whole file has no line"
mkfifo "$dir/fifo.yaml"
code=0
"$BUILD/godiag" doctor --config "$dir/fifo.yaml" --run "$dir/run" >"$dir/doctor.txt" || code=$?
grep -q 'missing *policy .*/fifo.yaml: not a file' "$dir/doctor.txt" || fail "$(cat "$dir/doctor.txt")"

step "what matches and cannot be watched is a problem"
mkdir "$dir/few"
cp "$dir/policy.yaml" "$dir/few"
chmod 600 "$dir/few/policy.yaml"
(
	ulimit -n 256
	agent_start "$dir/few"
)
agent_await "$dir/few" 10 '.problems | any(contains("1 processes of services are not watched"))' ||
	fail "$(agent_status "$dir/few")"
agent_stop "$dir/few"

step "SIGTERM ends it with 0 and the target runs on"
agent=$(cat "$dir/godiagd.pid")
kill "$agent"
code=0
wait "$agent" || code=$?
rm -f "$dir/godiagd.pid"
[ $code -eq 0 ] || fail "exit $code"
grep -q '^State:[[:space:]]*[RSD]' "/proc/$pid/status" || fail "the target does not run"
