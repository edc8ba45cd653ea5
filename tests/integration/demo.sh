#!/bin/sh
# The first command of the README: it must end well, and what it shows must name each of the three
# faults that are planted in the service.
set -eu
[ -x "$BUILD/godiag-capture" ] || { echo "skipped: $BUILD/godiag-capture is not built"; exit 77; }
for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go none; do
	[ -x "$go" ] && break
done
[ "$go" != none ] || { echo "skipped: no Go is installed"; exit 77; }
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
	echo "skipped: neither root nor sudo without a password"
	exit 77
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
BUILD=$(cd "$BUILD" && pwd) DEMO_BUILT=1 PID= bash tests/demo/run.sh >"$dir/said" 2>&1 || {
	cat "$dir/said"
	exit 1
}
must_say() {
	grep -q "$1" "$dir/said" || { cat "$dir/said"; echo "does not say: $1"; exit 1; }
}
must_say 'blocked (chan send) in main.(\*shop).askWarehouse'
must_say 'main.(\*shop).record'
must_say 'the garbage collector takes [0-9]* %'
must_say 'verified'
must_say 'open file:.*checkout.*html'

# The service ended with it.
pid=$(sed -n 's/^go.* pid \([0-9]*\); letting.*/\1/p' "$dir/said")
[ -n "$pid" ]
[ ! -d "/proc/$pid" ] || [ "$(readlink "/proc/$pid/exe" || true)" = "" ]
