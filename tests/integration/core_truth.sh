#!/bin/bash
# Our core of a process that stands still, and the one the kernel writes of it a moment later: the same threads,
# registers, notes and bytes (core_truth.py).  A C program with memory of every kind, by each method that can
# be had; and Go programs, which never stand still by themselves, stopped.
set -eu
capture=$BUILD/godiag-capture
godiag=$BUILD/godiag
VICTIMS=$(realpath "$VICTIMS") # they run in a directory of their own
[ -x "$capture" ] || { echo "# skip: $capture is not built"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "# skip: no permission to read another process"; exit 77; }
for tool in jq python3; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done
read -r pattern </proc/sys/kernel/core_pattern || true
case $pattern in
'' | *[!A-Za-z0-9._-]*) echo "# skip: core_pattern is '$pattern', not a plain name"; exit 77 ;;
esac
ulimit -c unlimited 2>/dev/null || { echo "# skip: the hard limit of core files is $(ulimit -H -c)"; exit 77; }

huge=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
huge_before=
dir=$(mktemp -d)
target=
finish() {
	[ -z "$target" ] || kill -KILL "$target" 2>/dev/null || true
	[ -z "$huge_before" ] || echo "$huge_before" >$huge
	rm -rf "$dir"
}
trap finish EXIT
fail() { echo "$what: $*"; exit 1; }

start() { # PROGRAM ARGUMENT...: in a directory of its own, where its core will lie
	rm -rf "$dir/there" "$dir/spool"
	mkdir "$dir/there" "$dir/spool"
	head -c 32768 /dev/urandom >"$dir/there/file"
	rm -f "$dir/in"
	mkfifo "$dir/in"
	# Not the value that everything has.
	(cd "$dir/there" && exec nice -n 3 "$@") <"$dir/in" >"$dir/said" 2>&1 &
	target=$!
	exec 9>"$dir/in"
	for _ in $(seq 150); do
		grep -q '^ready' "$dir/said" && return
		[ -d "/proc/$target" ] || break
		sleep 0.2
	done
	echo "# $what: not ready: $(tail -n 1 "$dir/said")"
	return 1
}

snapshot() { tar xf "$archive" -O "blobs/sha256/$(tar xf "$archive" -O "blobs/sha256/$(
	tar xf "$archive" -O index.json | jq -r '.manifests[0].digest[7:]')" |
	jq -r '.config.digest[7:]')"; }

compare() { # METHOD EXIT OPTION...: what it must have been, and what the capture must end with
	local method=$1 wanted=$2 status=0 core how=
	shift 2
	[ "$(cat "/proc/$target/coredump_filter")" != 0000007f ] || how=all
	"$capture" --pid "$target" --output "$dir/spool" --quiet --max-pause 5s --only core "$@" \
		>"$dir/out" 2>"$dir/err" || status=$?
	[ "$status" = "$wanted" ] || fail "exit $status, not $wanted: $(cat "$dir/err")"
	archive=$(ls "$dir"/spool/*.tar)
	[ "$(snapshot | jq -r .freeze.method)" = "$method" ] ||
		fail "$(snapshot | jq -c .freeze), and $method was wanted"
	"$godiag" extract "$archive" core --output "$dir/ours" --quiet
	cat "/proc/$target/maps" >>"$dir/said"
	python3 -B tests/integration/core_truth.py end "$target"
	wait "$target" 2>/dev/null || true
	target=
	core=$(ls "$dir/there/$pattern"* 2>/dev/null || true)
	[ -n "$core" ] || { echo "# skip: the kernel wrote no core"; exit 77; }
	[ "$method" != torn ] || how=no-registers
	python3 -B tests/integration/core_truth.py "$dir/ours" "$core" "$dir/said" $how >"$dir/told" ||
		fail "$(cat "$dir/told")"
	echo "# $what: ${method}$(sed 's/^#/:/' "$dir/told")"
	rm -f "$dir/ours" "$core"
}

best=$("$godiag" doctor 2>/dev/null | grep -q 'soft-dirty yes' && echo soft-dirty || echo uffd)

what="at rest"
start "$VICTIMS/kinds" file 0
compare "$best" 0

what="with all of its files"
start "$VICTIMS/kinds" file 0
echo 0x7f >"/proc/$target/coredump_filter"
compare "$best" 0

what="with an io_uring"
if start "$VICTIMS/kinds" file 0 ring; then
	compare fork 0
elif grep -q '^io_uring' "$dir/said"; then
	echo "# not covered: fork"
else
	exit 1
fi

what="without a stop"
start "$VICTIMS/kinds" file 0
compare torn 4 --max-pause 0

what="stopped by SIGSTOP"
start "$VICTIMS/kinds" file 0
kill -STOP "$target"
compare copy 0

what="with hugetlb pages"
if [ -w $huge ] && huge_before=$(cat $huge) && echo $((huge_before + 2)) >$huge 2>/dev/null &&
	[ "$(cat $huge)" -ge $((huge_before + 2)) ]; then
	start "$VICTIMS/kinds" file 4
	compare "$best" 0
	echo "$huge_before" >$huge
else
	echo "# not covered: no hugetlb pages are to be had"
fi

# The oldest release, the newest and one between.
what=Go
for victim in $(ls "$VICTIMS"/still-go*-plain 2>/dev/null | sort -V |
	awk '{ a[NR] = $0 } END { if (NR > 0) print a[1]; if (NR > 2) print a[int((NR + 1) / 2)]; if (NR > 1) print a[NR] }'); do
	what=${victim##*/}
	start "$victim"
	kill -STOP "$target"
	compare copy 0
done
[ "$what" != Go ] || echo "# not covered: no Go victim was built"
