#!/bin/bash
# make demo: installs what is missing, builds godiag, starts the sample service (service/, whose
# three faults its main.go names), captures it while it runs, uploads the archive to a local store
# and shows what it says.  PID=N takes that process instead of the sample.
#
# Run as whoever you are: only installing and reading the process ask for root, through sudo.
# Everything stays in build/; the service is ended by the pid it was started with.
set -eu
cd "$(dirname "$0")/../.."

build=${BUILD:-build}
demo=$PWD/build/demo
case $build in /*) demo=$build/demo ;; esac
make=${MAKE:-make}
pid=${PID:-}
service=
work=

say() { printf '\n== %s\n' "$*"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

end() {
	[ -z "$service" ] || kill "$service" 2>/dev/null || true
	[ -z "$work" ] || rm -rf "$work"
}
trap end EXIT

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "reading another process needs root: run \`sudo make demo\`, or install sudo"
	fi
}

start_service() {
	local go
	say "a service with three faults in it: tests/demo/service"
	if ! go=$(bash tests/demo/build_service.sh "$demo/checkout"); then
		say "no Go here: installing the packaged one, for the sample service only"
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
			--no-install-recommends golang-go
		go=$(bash tests/demo/build_service.sh "$demo/checkout") ||
			die "no Go of 1.19 or newer to be had; try \`make demo PID=N\`"
	fi
	"$demo/checkout" >"$work/ready" 2>&1 </dev/null &
	service=$!
	pid=$service
	for _ in $(seq 100); do
		grep -q '^ready' "$work/ready" && break
		kill -0 "$service" 2>/dev/null || die "the service ended: $(cat "$work/ready")"
		sleep 0.1
	done
	echo "$go pid $pid; letting the trouble grow for 4 s"
	sleep 4
}

case $pid in
'') ;;
*[!0-9]*) die "PID=$pid: a process id is a number" ;;
*) [ -d "/proc/$pid" ] || die "there is no process $pid" ;;
esac
if [ -z "${DEMO_BUILT:-}" ]; then # a test has built already, in its own way
	say "what a build needs"
	bash ./setup.sh build
	say "building"
	$make --no-print-directory -s -j"$(nproc)" all BUILD="$build" || die "the build failed"
fi
mkdir -p "$demo/spool" "$demo/store"
work=$(mktemp -d "$demo/work.XXXXXX")
[ -n "$pid" ] || start_service

say "godiag-capture --pid $pid --upload file://$demo/store"
code=0
as_root "$build/godiag-capture" --pid "$pid" --output "$demo/spool" --upload "file://$demo/store" \
	--reason "make demo" >"$work/result" || code=$?
cat "$work/result"
archive=$(sed -n '$s/ sha256:.*//p' "$work/result")
case $code in
0) ;;
4) echo "(exit 4: something is missing, and the archive says what)" ;;
*) die "the capture ended with exit code $code" ;;
esac
[ -n "$archive" ] || die "no archive was named"
if [ "$(id -u)" -ne 0 ]; then
	as_root chown -R "$(id -u):$(id -g)" "$demo/spool" "$demo/store"
fi

say "godiag show $archive"
"$build/godiag" show "$archive"

page=${archive%.tar}.html
say "godiag report $archive -o $page"
if "$build/godiag" report "$archive" -o "$page"; then
	echo "open file://$(cd "$(dirname "$page")" && pwd)/${page##*/}"
fi
