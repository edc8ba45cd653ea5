#!/bin/bash
# Captures that take a core are killed, process by process, at random: no target may be harmed
# (core_kill.py).  CORE_KILLS=1000 is what `make torture` does; here it is a handful.
set -eu
[ -x "$BUILD/godiag-capture" ] || { echo "# skip: $BUILD/godiag-capture is not built"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "# skip: no permission to read another process"; exit 77; }
command -v python3 >/dev/null || { echo "# skip: python3 is not installed"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# The oldest release, the newest and one between.
releases=$(ls "$VICTIMS"/gocheck-go*-plain 2>/dev/null | sort -V | awk '{ a[NR] = $0 } END { if (NR > 2) {
	print a[1]; print a[int((NR + 1) / 2)]; print a[NR] } else for (i = 1; i <= NR; i++) print a[i] }')
[ -n "$releases" ] || echo "# not covered: no Go victim was built"
python3 -B tests/integration/core_kill.py "$BUILD" "$VICTIMS" "${CORE_KILLS:-16}" "$dir" $releases
