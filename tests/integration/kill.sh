#!/bin/sh
# Killing us at any moment must leave the target as it was: running, untraced, and the directory
# without a torn archive.  A service that never rests is captured again and again, each capture but
# the last is killed a little later than the one before.
set -eu
godiag=$BUILD/godiag-capture
[ -x "$godiag" ] || { echo "# skip: $godiag is not built"; exit 77; }
victim=$(ls "$VICTIMS"/churn-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$victim" ] || { echo "skipped: no victim churn was built"; exit 77; }

dir=$(mktemp -d)
target=
finish() {
	[ -z "$target" ] || kill "$target" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
mkfifo "$dir/in"
"$victim" -seconds 120 <"$dir/in" >"$dir/out" 2>&1 &
target=$!
exec 9>"$dir/in"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	grep -q '^ready' "$dir/out" 2>/dev/null && break
	sleep 0.5
done
grep -q '^ready' "$dir/out"

# field NAME: of /proc/PID/status
field() { sed -n "s/^$1:[[:space:]]*\([^ 	]*\).*/\1/p" "/proc/$target/status"; }
unharmed() {
	case $(field State) in
	R | S | D) ;;
	*) echo "target is in state $(field State) after $1"; exit 1 ;;
	esac
	[ "$(field TracerPid)" = 0 ] || { echo "target is traced after $1"; exit 1; }
}

mkdir "$dir/spool"
killed=0
for ms in 000 001 002 003 004 005 007 009 011 013 015 018 021 025 029 033 038 044 050 060; do
	"$godiag" --pid "$target" --duration 100ms --output "$dir/spool" --quiet >/dev/null 2>&1 &
	capture=$!
	sleep "0.$ms"
	kill -KILL "$capture" 2>/dev/null && killed=$((killed + 1))
	wait "$capture" 2>/dev/null || true
	unharmed "a capture killed after $ms ms"
done
# Whatever has a name is whole, and nothing else is there.
for file in "$dir"/spool/* "$dir"/spool/.[!.]*; do
	[ -e "$file" ] || continue
	"$BUILD/godiag" verify "$file" --quiet || { echo "$file is not whole"; exit 1; }
done
sealed=$(ls "$dir/spool" | wc -l)

status=0
"$godiag" --pid "$target" --duration 100ms --output "$dir/spool" --quiet >/dev/null || status=$?
[ "$status" = 0 ] || [ "$status" = 4 ] || { echo "the last capture: exit $status"; exit 1; }
unharmed "a whole capture"
[ "$(ls "$dir/spool" | wc -l)" = $((sealed + 1)) ]
echo "# $killed of 20 captures were killed before their end, $sealed had sealed"
[ "$killed" -gt 5 ]
