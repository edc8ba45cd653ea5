#!/bin/bash
# godiag report on a real capture: the same sums as go tool pprof finds in the same profiles, JSON and a
# page that a browser opens; and each bad input has its exit code.
set -eu -o pipefail

godiag=$BUILD/godiag
[ -x "$godiag" ] || { echo "# skip: $godiag is not built"; exit 77; }
for tool in python3 jq go; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done
godiag=$(cd "$(dirname "$godiag")" && pwd)/godiag
victim=$(ls "$VICTIMS"/totals-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$victim" ] || { echo "# skip: no Go victim was built"; exit 77; }

dir=$(mktemp -d)
targets=()
finish() {
	[ -z "${targets[*]-}" ] || kill "${targets[@]}" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
mkfifo "$dir/in"
exec 9<>"$dir/in"
start() { # PROGRAM
	"$1" <"$dir/in" >"$dir/out" 2>&1 &
	target=$!
	targets+=($target)
	for i in $(seq 40); do
		grep -q '^ready' "$dir/out" 2>/dev/null && break
		sleep 0.5
	done
}
start "$victim"

status=0
"$godiag" capture --pid "$target" --output "$dir" --quiet >/dev/null || status=$?
if [ "$status" = 3 ]; then
	echo "# skip: no permission to read another process"
	exit 77
fi
[ "$status" = 0 ] || [ "$status" = 4 ] || { echo "capture: exit $status"; exit 1; }
snap=$(ls "$dir"/*.tar)
"$godiag" extract "$snap" --output "$dir/a" --quiet

# The own value of each function, from our folded stacks and from pprof.
compare() { # profile type unit
	"$godiag" report "$snap" "$1" --format folded --type "$2" |
		python3 -c '
import sys, collections
own = collections.Counter()
for line in sys.stdin:
	stack, value = line.rstrip("\n").rsplit(" ", 1)
	name = stack.split(";")[-1]
	for mark in ("_[i]", "_[k]"):
		name = name.removesuffix(mark)
	own[name] += int(value)
for name, value in sorted(own.items()):
	print(value, name)
' >"$dir/ours"
	go tool pprof -top -nodecount=1000000 -nodefraction=0 -edgefraction=0 -sample_index="$2" \
		-unit="$3" "$dir/a/$1" 2>/dev/null |
		awk '/^ *flat +flat%/ { on = 1; next }
			on && $1 + 0 > 0 {
				value = $1 + 0
				$1 = $2 = $3 = $4 = $5 = ""
				sub(/^ +/, "")
				sub(/ \((partial-)?inline\)$/, "")
				printf "%.0f %s\n", value, $0
			}' | LC_ALL=C sort -k2 >"$dir/theirs"
	LC_ALL=C sort -k2 "$dir/ours" >"$dir/ours.sorted"
	cmp "$dir/ours.sorted" "$dir/theirs" || { diff "$dir/ours.sorted" "$dir/theirs" | head -20; exit 1; }
	[ -s "$dir/theirs" ] || { echo "$1 $2: nothing to compare"; exit 1; }
	echo "$1 $2: $(wc -l <"$dir/theirs") functions with the same own value"
}
compare heap.pb.gz inuse_space B
compare heap.pb.gz alloc_objects count
compare goroutine.pb.gz goroutine count
[ ! -e "$dir/a/block.pb.gz" ] || compare block.pb.gz contentions count
[ ! -e "$dir/a/mutex.pb.gz" ] || compare mutex.pb.gz contentions count

echo "speedscope"
n_profiles=0
for profile in $(cd "$dir/a" && ls ./*.pb.gz); do
	# One that used no CPU has no samples.
	[ -n "$("$godiag" report "$snap" "${profile#./}" --format folded)" ] || continue
	n_profiles=$((n_profiles + 1))
	"$godiag" report "$snap" "${profile#./}" --format speedscope -o "$dir/$profile.json"
	jq -e '(.shared.frames | length) as $n | .profiles | length > 0 and all(.[];
		(.samples | length) == (.weights | length) and (.weights | add) == .endValue and
		all(.samples[][]; . > 0 and . < $n))' "$dir/$profile.json" >/dev/null
done
[ $n_profiles -ge 2 ]

echo "page"
"$godiag" report "$snap" -o "$dir/page.html"
[ "$(stat -c %a "$dir/page.html")" = 600 ]
said=$(python3 tests/flame_browser.py "$dir/page.html" 'load=profile=heap.pb.gz' \
	'eval=document.querySelectorAll("#tabs button:not(:disabled)").length' \
	'eval=godiag.view().total' 'key=ArrowDown' 'key=Enter' 'eval=godiag.view().zoom !== "all"' \
	'eval=document.querySelector("#service").textContent') || {
	[ $? = 77 ] || exit 1
	echo "# skip: $said"
	exit 77
}
sum=$("$godiag" report "$snap" heap.pb.gz --format folded --type inuse_space | awk '{ s += $NF } END { printf "%d", s }')
printf '%s\n' "$(ls "$dir"/a/*.pb.gz | wc -l)" "$sum" true "\"$(cat /proc/$target/comm)\"" \
	'requests 0 errors 0' >"$dir/want"
echo "$said" | cmp - "$dir/want" || { echo "$said"; exit 1; }

echo "time"
busy=$(ls "$VICTIMS"/busy-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
if [ -n "$busy" ]; then
	idle_snap=$snap
	start "$busy"
	mkdir "$dir/busy"
	"$godiag" capture --pid "$target" --only samples --duration 2s --output "$dir/busy" --quiet >/dev/null
	snap=$(ls "$dir"/busy/*.tar)
	rm -r "$dir/a"
	"$godiag" extract "$snap" --output "$dir/a" --quiet
	compare cpu.pb.gz cpu ns
	"$godiag" report "$snap" cpu.pb.gz --format folded --type samples | LC_ALL=C sort >"$dir/report.folded"
	LC_ALL=C sort "$dir/a/cpu.folded" | cmp - "$dir/report.folded" || {
		LC_ALL=C sort "$dir/a/cpu.folded" | diff - "$dir/report.folded" | head -20
		exit 1
	}
	compare cpu.pb.gz samples count
	[ ! -e "$dir/a/offcpu.pb.gz" ] || compare offcpu.pb.gz offcpu ns
	snap=$idle_snap
fi

echo "bad input"
must() { # exit-code words argument...
	local want=$1 words=$2 got=0
	shift 2
	"$godiag" report "$@" >"$dir/said" 2>&1 || got=$?
	[ "$got" = "$want" ] && grep -q -- "$words" "$dir/said" ||
		{ cat "$dir/said"; echo "report $*: exit $got, not $want with \"$words\""; exit 1; }
}
must 1 'which FILE'
must 1 'is html, folded or speedscope' "$snap" --format svg
must 1 'exists already, not overwritten' "$snap" -o "$dir/page.html"
must 1 'there is no artifact "cpu.pb"' "$snap" cpu.pb
must 1 'no type "seconds" (there are: goroutine' "$snap" goroutine.pb.gz --format folded --type seconds
must 1 'the page has all types' "$snap" --type cpu
must 4 'not a profile\|damaged gzip' "$snap" proc/status --format folded
must 1 'No such file' "$dir/nothing.tar"
must 1 '' "$dir/page.html"
head -c "$(($(stat -c %s "$snap") * 6 / 10))" "$snap" >"$dir/cut.tar"
got=0
"$godiag" report "$dir/cut.tar" -o "$dir/cut.html" 2>"$dir/said" || got=$?
[ "$got" = 4 ] || { cat "$dir/said"; echo "a cut archive: exit $got"; exit 1; }
got=0
"$godiag" report "$snap" heap.pb.gz --format folded >/dev/full 2>"$dir/said" || got=$?
[ "$got" = 5 ] && grep -q 'No space left' "$dir/said" || { cat "$dir/said"; echo "a full disk: exit $got"; exit 1; }
