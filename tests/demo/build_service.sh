#!/bin/bash
# build_service.sh PROGRAM: builds the sample service with the first Go of 1.19 or newer; a versioned
# package lies outside the PATH.  Prints that Go's version; exit 77: there is none.
set -eu
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/service"
for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
	[ -x "$go" ] || continue
	version=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) || continue
	minor=${version#go1.}
	minor=${minor%%[!0-9]*}
	[ "${minor:-0}" -ge 19 ] || continue
	CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOWORK=off "$go" build -o "$program" .
	echo "$version"
	exit 0
done
echo "skipped: no Go of 1.19 or newer is installed"
exit 77
