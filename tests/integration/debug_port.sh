#!/bin/bash
# What services say of themselves by net/http/pprof, taken beside our samples: by hand from every release at
# hand, in a network namespace of its own, and by the agent as its policy says.  The events of each trace lie
# where the service says they do, on our clock.
set -eu -o pipefail
. tests/agent.sh
godiag=$BUILD/godiag
[ -x "$godiag" ] || { echo "# skip: $godiag is not built"; exit 77; }
for tool in python3 jq; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done
victims=$(ls "$VICTIMS"/profiled-go*-plain 2>/dev/null | sort -V || true)
[ -n "$victims" ] || { echo "# skip: no victim profiled was built"; exit 77; }
newest=$(tail -n 1 <<<"$victims")

dir=$(mktemp -d)
finish() {
	code=$?
	[ $code -eq 0 ] || tail -n 20 "$dir/godiagd.log" 2>/dev/null || true
	agent_stop "$dir"
	end_by_pid "$dir/victim.pid"
	rm -rf "$dir"
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	exit 1
}
step() { echo "-- $*"; }

mkfifo "$dir/in"
exec 9<>"$dir/in"
start() { # PROGRAM [ARGUMENT...]
	: >"$dir/out"
	"$@" <"$dir/in" >"$dir/out" 2>&1 &
	pid=$!
	echo $pid >"$dir/victim.pid"
	for i in $(seq 100); do
		grep -q '^ready' "$dir/out" && return
		sleep 0.1
	done
	fail "$1 did not start: $(cat "$dir/out")"
}
stop() { end_by_pid "$dir/victim.pid"; }
capture() { # [OPTION...]: the archive is $snap, its exit status $status
	rm -f "$dir"/*.tar
	status=0
	"$godiag" capture --pid "$pid" --output "$dir" --quiet "$@" >/dev/null 2>"$dir/err" || status=$?
	[ "$status" != 3 ] || { echo "# skip: no permission to read another process"; exit 77; }
	snap=$(ls "$dir"/*.tar) || fail "no archive: $(cat "$dir/err")"
}
extract() { # ARTIFACT...
	rm -rf "$dir/a"
	"$godiag" extract "$snap" "$@" --output "$dir/a" --quiet
}
fact() { jq -r "$1" "$dir/a/debug_port.json"; }

# Stamps come after the reading that they stamp, by nothing that anybody would notice: 20 us before are the
# two clocks' reading and the line's slope, and at least one event in a second was not interrupted.
check_trace() {
	read -r n earliest median latest < <(python3 tests/integration/debug_port_trace.py \
		"$dir/a/own.trace" "$dir/a/debug_port.json")
	echo "# $1: $n events, stamped ${earliest} to ${latest} ns after what they say, median ${median} ns"
	[ "$n" -gt 10 ] || fail "$n events"
	[ "$earliest" -gt -20000 ] && [ "$earliest" -lt 1000000 ] || fail "not aligned"
}

step "every release: whole, and aligned"
for victim in $victims; do
	start "$victim"
	capture --only samples,debug_port --duration 1s
	[ "$status" = 0 ] || fail "${victim##*/}: exit $status: $(cat "$dir/err")"
	extract debug_port.json own.cpu.pb.gz own.trace
	[ "$(fact .trace.clock.aligned)" = true ] || fail "${victim##*/}: $(cat "$dir/a/debug_port.json")"
	check_trace "${victim##*/}"
	# The profile's own begin, on the clock of the day, lies where we asked for it.
	jq -e '.cpu | .begun.realtime_ns <= .time_ns and .time_ns <= .ended.realtime_ns and
		.duration_ns >= 900000000' "$dir/a/debug_port.json" >/dev/null || fail "$(fact -c .cpu)"
	"$godiag" report "$snap" own.cpu.pb.gz --format folded >"$dir/folded" || fail "report: exit $?"
	"$godiag" show "$snap" >"$dir/shown" || fail "show: exit $?"
	grep -q "by the service itself: own.cpu.pb.gz .*own.trace" "$dir/shown" || fail "show: $(cat "$dir/shown")"
	"$godiag" verify "$snap" --quiet || fail "verify: exit $?"
	stop
done
grep -q 'main.burn' "$dir/folded" || fail "no main.burn: $(cat "$dir/folded")"
"$godiag" list "$snap" | grep -q '^own.trace .*complete' || fail "$("$godiag" list "$snap")"

step "an own mux without a list; the trace left out"
start "$newest" -own
capture --only debug_port --duration 1s --debug-trace 0
[ "$status" = 0 ] || fail "exit $status: $(cat "$dir/err")"
"$godiag" list "$snap" | grep -q own.trace && fail "a trace that nobody wanted"
stop

step "it profiles itself already, or asks for a password"
start "$newest" -busy
capture --only debug_port --duration 1s
[ "$status" = 4 ] && grep -q 'cpu profiling already in use' "$dir/err" || fail "exit $status: $(cat "$dir/err")"
"$godiag" list "$snap" | grep -q '^own.trace .*complete' || fail "no trace"
stop
start "$newest" -password
capture --only debug_port --duration 1s
[ "$status" = 4 ] && grep -q 'asks for a password' "$dir/err" || fail "exit $status: $(cat "$dir/err")"
stop

step "nobody asks who was not told to"
start "$newest"
capture --profile standard --duration 200ms
"$godiag" list "$snap" | grep -q own. && fail "without --debug-port"
stop

step "in a network namespace of its own"
if [ "$(id -u)" -eq 0 ] && unshare -n true 2>/dev/null; then
	start unshare -n sh -c 'ip link set lo up && exec "$@"' sh "$newest" -listen 127.0.0.1:6060 -listen '[::1]:0'
	capture --only debug_port --duration 1s --debug-port 6060
	[ "$status" = 0 ] || fail "exit $status: $(cat "$dir/err")"
	extract debug_port.json own.trace
	[ "$(fact '.ports | length')" = 1 ] || fail "$(fact .ports)"
	check_trace namespace
	stop
else
	echo "# no network namespaces here"
fi

step "the agent: as its policy says"
if [ "$(id -u)" -eq 0 ] && [ -x "$BUILD/godiagd" ]; then
	cp "$newest" "$dir/gdown-it"
	start "$dir/gdown-it"
	cat >"$dir/policy.yaml" <<-END
		samples: { duration: 1s }
		services:
		  - name: own
		    match: { comm: gdown-it }
		    debug_port: { port: any, trace: 200ms }
		budget: { free: 1%, captures: 100/1h }
	END
	chmod 600 "$dir/policy.yaml"
	agent_start "$dir"
	"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" >"$dir/first" || fail "exit $?"
	snap=$(cut -d' ' -f1 "$dir/first")
	extract debug_port.json own.trace own.cpu.pb.gz cpu.pb.gz
	[ "$(fact .trace.clock.aligned)" = true ] || fail "$(cat "$dir/a/debug_port.json")"
	# A light one is light.
	"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile light >"$dir/second" || fail "exit $?"
	"$godiag" list "$(cut -d' ' -f1 "$dir/second")" | grep -q own. && fail "a light capture asks"
	agent_stop "$dir"

	# Its unit gives it a network namespace of its own: with CAP_SYS_ADMIN its connector enters the service's,
	# and without it there is a reason.
	step "the agent in a network namespace of its own"
	mkdir "$dir/unit"
	real=$BUILD
	ln -s "$(cd "$BUILD" && pwd)"/godiag* "$dir/unit/"
	for caps in with without; do
		rm -f "$dir/unit/godiagd"
		[ $caps = with ] && drop= || drop='setpriv --bounding-set=-sys_admin'
		printf '#!/bin/sh\nexec unshare -n %s "%s/godiagd" "$@"\n' "$drop" "$(cd "$real" && pwd)" \
			>"$dir/unit/godiagd"
		chmod +x "$dir/unit/godiagd"
		BUILD=$dir/unit
		agent_start "$dir"
		"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" >"$dir/third" || fail "exit $?"
		BUILD=$real
		snap=$(cut -d' ' -f1 "$dir/third")
		if [ $caps = with ]; then
			extract debug_port.json own.trace
			[ "$(fact .trace.clock.aligned)" = true ] || fail "$(cat "$dir/a/debug_port.json")"
		else
			extract debug_port.json
			fact .cpu.why | grep -q 'may not be entered' || fail "$(fact .cpu.why)"
			[ "$(fact .cpu.grade)" = skipped ] || fail "$(fact .cpu)"
		fi
		agent_stop "$dir"
	done
	stop
else
	echo "# no agent here"
fi
echo "ok"
