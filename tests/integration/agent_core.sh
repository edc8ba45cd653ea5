#!/bin/bash
# The agent takes cores: by a rule a thin one, on request a full one and then only what has changed, of
# root's service, whose word on being dumpable only the service itself can give; and of one that says no.
set -euo pipefail
. tests/agent.sh
[ -x "$BUILD/godiagd" ] || { echo "# skip: $BUILD/godiagd is not built"; exit 77; }
command -v jq >/dev/null || { echo "# skip: no jq"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "# skip: no permission to read another process"; exit 77; }
victim=$(ls "$VICTIMS"/quiet-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$victim" ] || { echo "# skip: no victim quiet was built"; exit 77; }

dir=$(mktemp -d)
finish() {
	code=$?
	[ $code -eq 0 ] || tail -n 20 "$dir/godiagd.log" || true
	agent_stop "$dir"
	[ ! -s "$dir/victim.pid" ] || kill "$(cat "$dir/victim.pid")" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	exit 1
}
step() { echo "-- $*"; }
cp "$victim" "$dir/gdcore-it"
mkfifo "$dir/in"
"$dir/gdcore-it" <"$dir/in" >"$dir/out" 2>&1 &
echo $! >"$dir/victim.pid"
exec 9>"$dir/in"
pid=$(cat "$dir/victim.pid")
cat >"$dir/policy.yaml" <<-END
	samples: { duration: 100ms }
	services:
	  - name: here
	    match: { comm: gdcore-it }
	rules:
	  - name: many
	    service: here
	    when: { metric: go_goroutines, above: 0 }
	    for: 0
	    cooldown: 1s
	    limit: 1/24h
	    profile: light
	    core: thin
	    consistent: true
	budget: { free: 1%, captures: 100/1h, pause: 5s, pauses: 60s/24h }
END
chmod 600 "$dir/policy.yaml"
"$BUILD/godiag" check --explain "$dir/policy.yaml" | grep 'thin core' >/dev/null || fail "check does not tell of the core"
snapshot() { tar xf "$1" -O "blobs/sha256/$(tar xf "$1" -O "blobs/sha256/$(
	tar xf "$1" -O index.json | jq -r '.manifests[0].digest[7:]')" | jq -r '.config.digest[7:]')"; }

step "a rule takes a thin core"
agent_start "$dir"
agent_await "$dir" 30 '.captures[0].digest != "" and .captures[0].digest != null' ||
	fail "no capture: $(agent_status "$dir" | jq -c .captures)"
archive=$(ls "$dir"/state/spool/ready/*.tar)
agent_status "$dir" | jq -e '.captures[0].state == "succeeded"' >/dev/null ||
	fail "$(agent_status "$dir" | jq -r '.captures[0].error')"
[ "$(snapshot "$archive" | jq -r '[.artifacts[] | select(.name | startswith("core/") or . == "image/goroutines.txt")] | length')" -ge 4 ] ||
	fail "$("$BUILD/godiag" list "$archive")"
echo "# $(snapshot "$archive" | jq -r '.freeze.method + ", stopped for " + (.freeze.pause_ns / 1000 | floor | tostring) + " us"')"

step "a full one, and then what has changed since"
"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile full >"$dir/first" || fail "exit $?"
"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile full >"$dir/second" || fail "exit $?"
first=$(cut -d' ' -f1 "$dir/first")
second=$(cut -d' ' -f1 "$dir/second")
[ "$(snapshot "$first" | jq .freeze.core_unchanged_chunks)" = 0 ] || fail "the first has a base"
[ "$(snapshot "$second" | jq .freeze.core_unchanged_chunks)" -gt 0 ] || fail "the second has none: $(snapshot "$second" | jq -c .freeze)"
"$BUILD/godiag" extract "$second" core --output "$dir/core" --quiet || fail "extract: exit $?"

step "who wants no core has none, and the rest is there"
prlimit --pid "$pid" --core=0:0
code=0
"$BUILD/godiag-capture" --run "$dir/run" --agent --pid "$pid" --profile full >"$dir/third" 2>"$dir/err" || code=$?
[ $code -eq 4 ] || fail "exit $code, not 4: $(cat "$dir/err")"
[ "$(snapshot "$(cut -d' ' -f1 "$dir/third")" | jq '[.artifacts[] | select(.name | startswith("core/"))] | length')" = 0 ] ||
	fail "it has a core"
grep -q '^State:[[:space:]]*[RSD]' "/proc/$pid/status" || fail "the target does not run"
