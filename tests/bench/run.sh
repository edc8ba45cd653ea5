#!/bin/bash
# make bench: what a goroutine dump costs the service it is taken from, godiag beside what Go users
# have today, interleaved on the same targets.  Takes about four minutes, BENCH_QUICK=1 two;
# BENCH_ARGS="--only 1m,light" runs some of the series.  Builds what it needs into $BUILD/bench; a
# peer that cannot be had is left out by name.  Then the part "idle", two minutes: what the agent
# costs that watches 200 Go processes.  Then the part "core": cores of 1, 4 and 8 GiB beside gcore and
# dlv, half an hour, BENCH_QUICK=1 two minutes; BENCH_ARGS="--sizes 1 --repeats 7" is what it takes.
# Last the part "samples", six minutes: what sampling costs who is sampled.
# BENCH_PART=idle, BENCH_PART=capture, BENCH_PART=core or BENCH_PART=samples is that part alone.
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
victims=${VICTIMS:-$build/victims}
bench=$build/bench
mkdir -p "$bench"

command -v python3 >/dev/null || {
	echo "bench: python3 is missing: run ./setup.sh check" >&2
	exit 1
}
[ -x "$build/godiag-capture" ] || {
	echo "bench: $build/godiag-capture is missing: run make" >&2
	exit 1
}
releases=$(sed 's/#.*//' tests/victims/releases | awk 'NF { print $1 }')
newest=$(printf '%s\n' $releases | sort -V | tail -n 1)

# The newest release that could be built as a small program that only sleeps.
idle() {
	local quiet
	[ -s "$victims/quiet.index" ] ||
		bash tests/victims/build.sh -o "$victims" -r "$newest" -v plain quiet
	quiet=$(awk '$1 == "built" && $3 == "plain" { print $4 }' "$victims/quiet.index" |
		sort -V | tail -n 1)
	[ -x "$quiet" ] || {
		echo "bench: idle: no Go toolchain built $victims/quiet"
		return 0
	}
	if [ -x "$build/godiagd" ]; then
		python3 -B tests/bench/idle.py --godiagd "$build/godiagd" --victim "$quiet"
	else
		python3 -B tests/bench/idle.py --driver "$build/tests/bench/idle" --victim "$quiet"
	fi
}
if [ "${BENCH_PART:-}" = idle ]; then
	idle
	exit
fi

${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -o "$bench/measure" tests/bench/measure.c
samples() {
	local busy
	# Its index is what tests go by: what is there already is not built anew for one release.
	[ -s "$victims/busy.index" ] ||
		bash tests/victims/build.sh -o "$victims" -r "$newest" -v plain busy
	busy=$(ls "$victims"/busy-go*-plain 2>/dev/null | sort -V | tail -n 1)
	[ -x "$busy" ] || {
		echo "bench: samples: no Go toolchain built $victims/busy"
		return 0
	}
	python3 -B tests/bench/samples.py --build "$build" --bench "$bench" --victim "$busy" \
		${BENCH_QUICK:+--rounds 3} "$@"
}
if [ "${BENCH_PART:-}" = samples ]; then
	samples ${BENCH_ARGS:-}
	exit
fi
if [ -n "${BENCH_QUICK:-}" ]; then
	wanted=$newest
else
	wanted="$(printf '%s\n' $releases | grep '^1\.19\.' || true) $newest"
fi
bash tests/victims/build.sh -o "$victims" -r "$wanted" -v plain tgt

# The newest Delve that module proxies have, else the packaged one if any.
if [ ! -x "$bench/dlv" ]; then
	for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
		[ -x "$go" ] || continue
		GOBIN=$(cd "$bench" && pwd) GOFLAGS=-mod=mod "$go" install \
			github.com/go-delve/delve/cmd/dlv@latest >"$bench/dlv.log" 2>&1 && break
	done
fi

core() {
	${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -pthread -o "$bench/reference" tests/bench/reference.c \
		-lzstd -lcrypto
	python3 -B tests/bench/core.py --build "$build" --bench "$bench" --victims "$victims/tgt.index" \
		${BENCH_QUICK:+--quick} "$@"
}
if [ "${BENCH_PART:-}" = core ]; then
	core ${BENCH_ARGS:-}
	exit
fi

python3 -B tests/bench/bench.py --build "$build" --bench "$bench" --victims "$victims/tgt.index" \
	${BENCH_QUICK:+--quick} ${BENCH_ARGS:-}
[ "${BENCH_PART:-}" != capture ] || exit 0
idle
core
samples
