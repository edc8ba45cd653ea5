#!/bin/bash
# Cores of real processes, opened with the real gdb and dlv: every thread with its registers, every
# goroutine, memory as it was.  Full, thin, against a base; and targets of which none can be had.
set -eu
capture=$BUILD/godiag-capture
godiag=$BUILD/godiag
[ -x "$capture" ] || { echo "# skip: $capture is not built"; exit 77; }
for tool in gdb jq zstd; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done

dir=$(mktemp -d)
target=
finish() {
	[ -z "$target" ] || kill -KILL "$target" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

fail() { echo "$*"; exit 1; }

end_it() {
	[ -z "$target" ] || kill -KILL "$target" 2>/dev/null || true
	[ -z "$target" ] || wait "$target" 2>/dev/null || true
	target=
}

start() { # PROGRAM ARGUMENT...: a victim that says ready and then waits for its input
	end_it
	rm -f "$dir/in"
	mkfifo "$dir/in"
	"$@" <"$dir/in" >"$dir/said" 2>&1 &
	target=$!
	exec 9>"$dir/in"
	for _ in $(seq 100); do
		grep -q '^ready' "$dir/said" && return
		sleep 0.2
	done
	fail "$1 did not get ready"
}

# A busy machine may need longer than 50 ms to stop a thread.
take() { # WANTED-EXIT OPTION...: sets $archive
	local wanted=$1 status=0
	shift
	rm -rf "$dir/spool"
	mkdir "$dir/spool"
	"$capture" --pid "$target" --output "$dir/spool" --quiet --max-pause 5s "$@" >"$dir/out" 2>"$dir/err" || status=$?
	archive=$(ls "$dir"/spool/*.tar 2>/dev/null || true)
	if [ "$status" = 3 ]; then
		echo "# skip: no permission to read another process"
		exit 77
	fi
	[ "$status" = "$wanted" ] || fail "capture $*: exit $status, not $wanted: $(cat "$dir/err")"
	case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$target/status") in
	R | S | D) ;;
	*) fail "the target is left in another state" ;;
	esac
}

snapshot() { tar xf "$archive" -O "blobs/sha256/$(tar xf "$archive" -O "blobs/sha256/$(
	tar xf "$archive" -O index.json | jq -r '.manifests[0].digest[7:]')" |
	jq -r '.config.digest[7:]')"; }

# Are all threads that were stopped in the core, each with a stack?
check_gdb() { # CORE EXE
	gdb -nx -batch -ex 'thread apply all bt 3' "$2" "$1" >"$dir/gdb" 2>&1 || fail "gdb: $(tail -n 3 "$dir/gdb")"
	local threads frames
	threads=$(grep -c '^Thread [0-9]' "$dir/gdb")
	# Before the list gdb says once where it is.
	frames=$(sed -n '/^Thread [0-9]/,$p' "$dir/gdb" | grep -c '^#0 ')
	[ "$threads" = "$(snapshot | jq '.freeze.threads')" ] ||
		fail "gdb shows $threads threads of $(snapshot | jq '.freeze.threads')"
	[ "$frames" = "$threads" ] || fail "gdb shows $frames stacks of $threads threads"
}

# Goroutines by number: those of dlv are those of the image, and their functions where both know them.
check_dlv() { # CORE EXE
	printf 'goroutines -t 30\nexit\n' |
		dlv core "$2" "$1" --check-go-version=false --allow-non-terminal-interactive=true \
			>"$dir/dlv" 2>&1 || fail "dlv: $(tail -n 3 "$dir/dlv")"
	# The first line comes behind dlv's prompt.
	sed -n 's/^\((dlv) \)\{0,1\}[* ] Goroutine \([0-9]*\) .*/\2/p' "$dir/dlv" | sort -n >"$dir/theirs"
	"$godiag" extract "$archive" image/goroutines.jsonl --output - | jq -r 'select(.goid) | .goid' |
		sort -n >"$dir/ours"
	[ -s "$dir/theirs" ] || fail "dlv lists no goroutine: $(tail -n 3 "$dir/dlv")"
	diff "$dir/ours" "$dir/theirs" >"$dir/diff" || fail "dlv's goroutines are others: $(head -n 5 "$dir/diff")"
	local stacks
	stacks=$(grep -c '^	 *0  0x' "$dir/dlv")
	[ "$stacks" = "$(wc -l <"$dir/theirs")" ] || fail "dlv shows $stacks stacks of $(wc -l <"$dir/theirs")"
}

check_core() { # EXE
	rm -f "$dir/core"
	"$godiag" extract "$archive" core --output "$dir/core" --quiet
	check_gdb "$dir/core" "$1"
	[ -z "$dlv" ] || check_dlv "$dir/core" "$1"
}

# The packaged dlv knows Go up to its own time, so an old release serves best.
go=$(ls "$VICTIMS"/states-go1.19*-plain 2>/dev/null | tail -n 1 || true)
dlv=$(command -v dlv || true)
if [ -n "$go" ]; then
	start "$go"
	take 0 --only core,goroutines
	"$godiag" verify "$archive" --quiet
	pause=$(snapshot | jq .freeze.pause_ns)
	echo "# full: $(snapshot | jq -r .freeze.method), stopped for $((pause / 1000)) us, $(stat -c %s "$archive") bytes"
	check_core "$go"
	full=$(snapshot | jq '[.artifacts[] | select(.name | startswith("core/")) | .stored_bytes] | add')

	take 0 --only goroutines --core thin
	check_core "$go"
	thin=$(snapshot | jq '[.artifacts[] | select(.name | startswith("core/")) | .stored_bytes] | add')
	echo "# thin: $thin bytes of $full"

	# Once more with the first as base: nothing of it is stored again, all of it is there.
	cp "$archive" "$dir/thin.tar"
	take 0 --only core,goroutines
	mv "$archive" "$dir/base.tar"
	take 0 --only core,goroutines --base "$dir/base.tar"
	cp "$dir/base.tar" "$dir/spool/"
	check_core "$go"
	second=$(snapshot | jq '[.artifacts[] | select(.name | startswith("core/pack")) | .stored_bytes] | add // 0')
	[ "$(snapshot | jq .freeze.core_unchanged_chunks)" -gt 0 ] || fail "nothing is unchanged"
	echo "# against a base: $second bytes of $full"
	rm "$dir"/spool/base.tar
	status=0
	"$godiag" extract "$archive" core --output "$dir/core2" --quiet 2>"$dir/err" || status=$?
	[ "$status" != 0 ] || fail "a core without its base was extracted"
	grep -q base "$dir/err" || fail "nothing is said of the base: $(cat "$dir/err")"
	end_it
else
	echo "# not covered: no Go victim: dlv and thin cores"
fi

# At rest what is read from the image is what was read from the process, to the letter, in any release.
for victim in $(ls "$VICTIMS"/states-go*-plain 2>/dev/null | sort -V |
	awk '{ a[NR] = $0 } END { print a[1]; if (NR > 1) print a[NR]; if (NR > 2) print a[int((NR + 1) / 2)] }'); do
	start "$victim"
	take 0 --only goroutines --consistent
	for name in goroutines.txt image/goroutines.txt; do
		"$godiag" extract "$archive" $name --output - | sed 's/, [0-9]* minutes//' >"$dir/${name%%/*}.read"
	done
	[ "$(grep -c '^goroutine' "$dir/image.read")" -gt 50 ] || fail "${victim##*/}: few goroutines in the image"
	diff "$dir/goroutines.txt.read" "$dir/image.read" >"$dir/diff" ||
		fail "${victim##*/}: the image tells otherwise: $(head -n 5 "$dir/diff")"
	echo "# of one instant: ${victim##*/}, stopped for $(snapshot | jq '.freeze.pause_ns / 1000 | floor') us"
done

# Objects of the program: in a full core, few in a thin one, none when those without pointers are zeros.
totals=$(ls "$VICTIMS"/totals-go*-plain 2>/dev/null | sort -V | tail -n 1 || true)
if [ -n "$totals" ]; then
	start "$totals"
	for options in "--core full" "--core full --zero-noscan" "--core thin"; do
		# shellcheck disable=SC2086
		take 0 --only goroutines $options
		rm -f "$dir/core"
		"$godiag" extract "$archive" core --output "$dir/core" --quiet
		n=$(grep -a -o 'string 1[0-9]*' "$dir/core" | sort -u | wc -l)
		echo "# $options: $n strings of the program"
		case $options in
		"--core full") [ "$n" -ge 10 ] || fail "a full core without the program's strings"; all=$n ;;
		# Some lie on a page with a record of the runtime's.
		"--core thin") [ "$n" -lt $((all / 2)) ] || fail "$options keeps strings of the program" ;;
		*) [ "$n" = 0 ] || fail "$options keeps strings of the program" ;;
		esac
	done
fi

# A native process: registers and stacks of all threads, and a word whose value it told.
start "$VICTIMS/life"
at=$(sed -n 's/^at \(0x[0-9a-f]*\).*/\1/p' "$dir/said")
take 0 --core full --only proc
rm -f "$dir/core"
"$godiag" extract "$archive" core --output "$dir/core" --quiet
value=$(gdb -nx -batch -ex "x/gx $at" "$VICTIMS/life" "$dir/core" 2>/dev/null | awk '/:/ { print $NF }' | tail -n 1)
[ "$value" = 0x1122334455667788 ] || fail "the word at $at is $value"

# No stop at all: torn, and said so.
take 4 --core full --only proc --max-pause 0
[ "$(snapshot | jq -r .freeze.method)" = torn ]
[ "$(snapshot | jq .cost.target_pause_ns)" = 0 ]
grep -q 'not of one instant' "$dir/err" || fail "nothing is said of a torn image: $(cat "$dir/err")"

# --plan touches nothing, and says what would be done.
"$capture" --pid "$target" --core full --plan --json >"$dir/plan"
jq -e '.freeze.methods | length == 5' "$dir/plan" >/dev/null || fail "plan: $(cat "$dir/plan")"

# A process that wants no core: what else there is is sealed, and the core is not.
prlimit --pid "$target" --core=0:0
take 4 --core full --only proc
[ "$(snapshot | jq '[.artifacts[] | select(.name | startswith("core/"))] | length')" = 0 ]
take 0 --core full --only proc --force-core
end_it
