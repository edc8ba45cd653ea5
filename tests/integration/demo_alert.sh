#!/bin/sh
# make demo-alert must end with a verified archive whose `godiag show` names the cause, within a minute
# or so, and leave nothing running.
set -eu
[ -x "$BUILD/godiagd" ] || { echo "skipped: $BUILD/godiagd is not built"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: no root to read other processes"; exit 77; }
for tool in curl jq bash setpriv; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
bash tests/neighbours.sh fetch "$VICTIMS/neighbours" || exit $?
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bash tests/demo/build_service.sh "$dir/checkout" >/dev/null || { echo "skipped: no Go"; exit 77; }

BUILD=$(cd "$BUILD" && pwd) DEMO_BUILT=1 bash tests/demo/alert.sh >"$dir/said" 2>&1 || {
	cat "$dir/said"
	exit 1
}
must_say() {
	grep -q "$1" "$dir/said" || { cat "$dir/said"; echo "does not say: $1"; exit 1; }
}
must_say 'every byte accounted for'
must_say 'trigger alert .*HighRequestLatency'
must_say 'goroutines wait for a lock (sync.Mutex.Lock) in main.(\*shop).record'
must_say 'latency (checkout): .*1 admitted'
must_say ' done$'
sed -n 's/^ *\([0-9]*\) s  done$/# \1 s/p; s/^ *\(the capture began.*\)/# \1/p' "$dir/said"

# What it started has ended.
work=$(sed -n 's/.*exe: \(.*\)\/checkout }.*/\1/p' "$dir/said" | head -n 1)
[ -n "$work" ] && [ ! -e "$work" ]
for exe in /proc/[0-9]*/exe; do
	case $(readlink "$exe" 2>/dev/null || true) in
	"$work"/*) echo "$exe still runs"; exit 1 ;;
	esac
done
