#!/bin/bash
# make demo-alert: the whole way, by itself.  Starts Prometheus, Alertmanager, a sample service and the
# agent (godiagd, godiag-hook, godiag-upload) on loopback, makes the service slow, and waits until a
# verified archive is in the store.  Nothing here tells the agent anything but Alertmanager's post.
#
# Everything stays in build/ and on loopback; what was started is ended by the pid it was started with.
set -eu
cd "$(dirname "$0")/../.."

build=${BUILD:-build}
make=${MAKE:-make}
case $build in /*) ;; *) build=$PWD/$build ;; esac
demo=$build/demo-alert
packages=${VICTIMS:-$build/victims}/neighbours
dir=
began=$SECONDS

bold= plain=
if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
at() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }
die() {
	printf 'demo-alert: %s\n' "$*" >&2
	for log in "$dir"/*.log; do
		[ ! -s "$log" ] || { printf -- '-- %s\n' "${log##*/}" >&2; tail -n 8 "$log" >&2; }
	done
	exit 1
}

if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || die "the agent reads another user's process: run \`sudo make demo-alert\`"
	exec sudo env PATH="$PATH" BUILD="$build" VICTIMS="${VICTIMS:-}" MAKE="$make" DEMO_BUILT="${DEMO_BUILT:-}" bash "$0"
fi

if [ -z "${DEMO_BUILT:-}" ]; then # a test has built already, in its own way
	say "what a build and this demo need"
	bash ./setup.sh build
	for tool in curl jq; do
		command -v $tool >/dev/null || bash ./setup.sh check
	done
	say "building"
	$make --no-print-directory -s -j"$(nproc)" all BUILD="$build" || die "the build failed"
fi

BUILD=$build
. tests/agent.sh
end() {
	[ -n "$dir" ] || return 0
	agent_stop "$dir"
	bash tests/neighbours.sh stop "$dir" || true
	service_stop "$dir"
	rm -rf "$dir"
}
trap end EXIT
mkdir -p "$demo/store"
dir=$(mktemp -d "$demo/work.XXXXXX")

say "Prometheus and Alertmanager, as Debian packages them"
bash tests/neighbours.sh fetch "$packages" || die "without them there is no alert"
bash tests/demo/build_service.sh "$dir/checkout" || die "the sample service could not be built"
# It ends by itself even when we cannot end it.
service_start "$dir" -calm -clients 24 -for 3m || die "the service did not start"
url=$(cat "$dir/service.url")
port=$(bash tests/neighbours.sh port)
token=$(agent_token "$dir" alertmanager)

cat >"$dir/policy.yaml" <<END
services:
  - name: checkout
    match: { exe: $dir/checkout }
    scrape: $url/metrics
rules:
  - name: latency
    service: checkout
    when: { alert: HighRequestLatency }
    profile: standard
upload: file://$demo/store
budget: { free: 1% }
hook: { listen: "127.0.0.1:$port" }
END
cat >"$dir/rules" <<'END'
groups:
  - name: checkout
    rules:
      - alert: HighRequestLatency
        expr: histogram_quantile(0.99, sum by (le, instance) (rate(http_request_duration_seconds_bucket[5s]))) > 0.2
        for: 8s
        annotations:
          summary: "p99 of {{ $labels.instance }} is {{ $value | humanizeDuration }}"
END
echo "checkout ${url#http://}" >"$dir/scrape"
echo "http://127.0.0.1:$port/v1/hooks/alertmanager" >"$dir/hook"
printf '%s' "$token" >"$dir/token"
bash tests/neighbours.sh start "$packages" "$dir" || die "the neighbours did not start"

say "the agent, and the policy it got"
sed -n '/^services/,$p' "$dir/policy.yaml"
"$build/godiag" check "$dir/policy.yaml" || die "the policy is wrong"
agent_start "$dir" || die "no agent"
agent_hook "$dir" || die "no hook"
agent_upload "$dir" || die "no uploader"
agent_await "$dir" 5 '.watched | length > 0' || die "the agent does not see the service"
"$build/godiag" status --run "$dir/run" || true

say "a service that is well, then is not"
sleep 20 # what well looks like, for the timeline
at "p99 is fine; GET /slow?ms=20: the journal is written slowly from now on, under the lock"
curl -fsS -o /dev/null "$url/slow?ms=20"
slow=$SECONDS
archive=
for _ in $(seq 400); do
	sealed=$(agent_status "$dir" | jq -r '[.captures[] | select(.trigger == "alert" and .path != "")] | last |
		.path // "" | split("/") | last // ""')
	if [ -n "$sealed" ] && agent_await "$dir" 1 '.spool.ready == 0'; then
		archive=$demo/store/$sealed
		break
	fi
	sleep 0.1
done
[ -n "$archive" ] || die "no archive came within 40 s"
at "the archive is in the store, $((SECONDS - slow)) s after the trouble began"
agent_status "$dir" | jq -r '.captures[] | select(.trigger == "alert") |
	"        the capture began \(.queued_ns / 1e3 | floor) us after the alert was admitted, took \(.took_ns / 1e6 | floor) ms"'

say "godiag verify $archive"
"$build/godiag" verify "$archive" || die "the archive does not verify"
say "godiag show $archive"
"$build/godiag" show "$archive"
say "godiag status"
"$build/godiag" status --run "$dir/run" || true
at "done"
