#!/bin/sh
# go.sh DIR/<victim>-<release>-<mode>.built: builds tests/victims/<victim> with one Go release into
# DIR/<victim>-<release>-<mode>.  The .built file then says "built", or why that was not possible
# (no Go here, a release that cannot be fetched); a program that does not compile is our mistake and
# fails.
#
# Modes: plain, stripped (-s -w), pie, cgo (the only one linked with libc).
set -u
stamp=$1
out=$(cd "$(dirname "$stamp")" && pwd)/$(basename "$stamp" .built)
name=$(basename "$out")
mode=${name##*-}
release=${name%-*}
release=${release##*-}
victim=${name%-"$release"-"$mode"}
rm -f "$out"

cannot() {
	echo "$*" >"$stamp"
	echo "  note: $name is left out: $*"
	exit 0
}

command -v go >/dev/null || cannot "no go command on this machine"
here=$(go env GOVERSION 2>/dev/null)
if [ "$here" = "go$release" ]; then
	GOTOOLCHAIN=local
else
	GOTOOLCHAIN=go$release
	# Go before 1.21 does not know GOTOOLCHAIN and would silently build with itself.
	got=$(GOTOOLCHAIN=$GOTOOLCHAIN go env GOVERSION 2>&1 | tail -n 1)
	[ "$got" = "go$release" ] || cannot "Go $release: ${here:-go} says $got"
fi
export GOTOOLCHAIN
CGO_ENABLED=0
set --
case $mode in
plain) ;;
stripped) set -- -ldflags=-s\ -w ;;
pie) set -- -buildmode=pie ;;
cgo)
	CGO_ENABLED=1
	command -v "${CC:-gcc}" >/dev/null || cannot "cgo needs a C compiler"
	;;
*)
	echo "$0: unknown mode $mode" >&2
	exit 1
	;;
esac
export CGO_ENABLED

cd "tests/victims/$victim" || exit 1
GOFLAGS=-buildvcs=false go build "$@" -o "$out" . || exit 1
cd - >/dev/null && echo built >"$stamp"
