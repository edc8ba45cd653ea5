#!/bin/sh
# Two storms at once, for a minute: 100 alerts, and a job that dies and comes back 50 times.  Limits
# hold, every refusal is on record, the spool stays within its budget, and the agent stays small.
set -eu
for tool in curl jq sha256sum; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
[ -x "$BUILD/godiagd" ] || { echo "skipped: $BUILD/godiagd is not built"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: no root to read other processes"; exit 77; }
. tests/agent.sh

dir=$(mktemp -d)
job=
finish() {
	[ -z "$job" ] || kill "$job" 2>/dev/null || true
	agent_stop "$dir"
	service_stop "$dir"
	rm -rf "$dir"
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	agent_status "$dir" | jq -c '.problems, .rules, .spool' || true
	tail -n 40 "$dir/godiagd.log" "$dir/hook.log"
	exit 1
}

bash tests/demo/build_service.sh "$dir/checkout" >/dev/null || { echo "skipped: no Go"; exit 77; }
service_start "$dir" -calm -clients 4 -for 5m
cp "$(command -v sleep)" "$dir/job"
port=$(bash tests/neighbours.sh port)
token=$(agent_token "$dir" alertmanager)
alerts=7 gone=5 restarts=2 spool=$((3 << 20))
cat >"$dir/policy.yaml" <<END
samples: { duration: 100ms }
services:
  - name: checkout
    match: { exe: $dir/checkout }
  - name: job
    match: { exe: $dir/job }
rules:
  - name: alerts
    service: checkout
    when: { alert: HighLatency }
    cooldown: 0s
    limit: $alerts/1h
  - name: gone
    service: job
    when: { event: gone }
    cooldown: 0s
    limit: $gone/1h
  - name: restarts
    service: job
    when: { event: restarts, count: 5, within: 1m }
    cooldown: 0s
    limit: $restarts/1h
budget: { captures: 1000/1h, spool: 3MiB, free: 1% }
hook: { listen: "127.0.0.1:$port" }
END
"$BUILD/godiag" check "$dir/policy.yaml"
agent_start "$dir"
agent_hook "$dir"
agent_await "$dir" 10 '[.watched[] | select(.service == "checkout")] | length > 0' ||
	fail "the service is not watched"

# The job: 50 lives of a second and a bit, so that each is seen.
(
	n=0
	while [ $n -lt 50 ]; do
		"$dir/job" 600 &
		sleep 1.15
		kill -KILL $!
		wait $! 2>/dev/null || true
		n=$((n + 1))
	done
) 2>/dev/null &
job=$!

most=0 fullest=0
look() {
	rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$(cat "$dir/godiagd.pid")/status")
	[ "$rss" -le $most ] || most=$rss
	used=$(find "$dir/state/spool" -name '*.tar' -printf '%s\n' 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')
	[ "$used" -le $fullest ] || fullest=$used
}
n=0
while [ $n -lt 100 ]; do
	n=$((n + 1))
	printf '{"version":"4","groupKey":"{}","status":"firing","receiver":"godiag","alerts":[{"status":"firing",
	"labels":{"alertname":"HighLatency"},"annotations":{},"startsAt":"2026-11-20T13:05:07Z",
	"fingerprint":"%016x"}]}' $n | curl -sS -o /dev/null -w '%{http_code}\n' \
		-H "Authorization: Bearer $token" -H 'Content-Type: application/json' --data-binary @- \
		"http://127.0.0.1:$port/v1/hooks/alertmanager" >>"$dir/codes"
	look
	sleep 0.5
done
while runs $job; do
	look
	sleep 0.5
done
agent_await "$dir" 30 '[.captures[] | select(.state == "queued" or .state == "running")] | length == 0' ||
	fail "a capture does not end"
look
agent_status "$dir" >"$dir/status" || [ $? = 4 ]
counted() { # RULE [VERDICT]: one verdict's count, or all of them
	jq --arg rule "$1" --arg verdict "${2:-}" '[.rules[] | select(.name == $rule) | .triggers // {} |
		if $verdict == "" then .[] else .[$verdict] // 0 end] | add // 0' "$dir/status"
}
echo "# answers: $(sort "$dir/codes" | uniq -c | tr '\n' ' ')"
for rule in alerts gone restarts; do
	echo "# $rule: $(jq -c ".rules[] | select(.name == \"$rule\") | .triggers" "$dir/status")"
done
[ "$(counted alerts)" = "$(grep -c -v 429 "$dir/codes")" ] || fail "$(counted alerts) verdicts of $(grep -c -v 429 "$dir/codes") alerts"
[ "$(counted alerts admitted)" = $alerts ] || fail "$(counted alerts admitted) alerts admitted instead of $alerts"
[ "$(counted gone admitted)" = $gone ] || fail "$(counted gone admitted) ends admitted instead of $gone"
[ "$(counted gone)" -ge 40 ] || fail "only $(counted gone) of 50 ends were seen"
[ "$(counted restarts admitted)" -le $restarts ] && [ "$(counted restarts admitted)" -ge 1 ] ||
	fail "$(counted restarts admitted) storms admitted instead of $restarts"
[ "$(grep -c 'started [0-9.]* ms after its trigger' "$dir/godiagd.log")" = \
	$(($(counted alerts admitted) + $(counted gone admitted) + $(counted restarts admitted))) ] ||
	fail "captures and admissions do not agree"

echo "# the spool held $fullest bytes at most, the agent $most KiB"
[ $fullest -le $spool ] || fail "the spool is over its budget of $spool"
# Sanitizers take their own share.
if ! grep -q __asan_init "$BUILD/godiagd"; then
	[ $most -le 32768 ] || fail "the agent takes more than 32 MiB"
fi
for archive in "$dir"/state/spool/*/*.tar; do
	[ ! -e "$archive" ] || "$BUILD/godiag" verify --quiet "$archive"
done

echo "limits survive SIGKILL"
agent_kill "$dir"
agent_start "$dir"
agent_await "$dir" 10 '.hook and ([.watched[] | select(.service == "checkout")] | length > 0)' ||
	fail "hook or service are gone"
printf '{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"HighLatency"},
"startsAt":"2026-11-20T13:05:07Z","fingerprint":"ffffffffffffffff"}]}' | curl -sS -o "$dir/answer" \
	-H "Authorization: Bearer $token" -H 'Content-Type: application/json' --data-binary @- \
	"http://127.0.0.1:$port/v1/hooks/alertmanager"
agent_status "$dir" >"$dir/status" || [ $? = 4 ]
[ "$(counted alerts admitted)" = $alerts ] || fail "the limit is forgotten: $(cat "$dir/answer")"
echo "ok"
