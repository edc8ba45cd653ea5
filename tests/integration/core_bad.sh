#!/bin/bash
# Targets and disks of which no core can be had, or not all of it: each with its exit code and its word in
# the archive, and none is left stopped.
set -eu
capture=$BUILD/godiag-capture
godiag=$BUILD/godiag
[ -x "$capture" ] || { echo "# skip: $capture is not built"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "# skip: no permission to read another process"; exit 77; }
for tool in jq python3; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done

dir=$(mktemp -d)
target=
huge=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
huge_before=
finish() {
	end_it
	[ -z "$huge_before" ] || echo "$huge_before" >$huge
	umount "$dir/full" 2>/dev/null || true
	rm -rf "$dir"
}
end_it() {
	[ -z "$target" ] || kill -KILL "$target" 2>/dev/null || true
	[ -z "$target" ] || wait "$target" 2>/dev/null || true
	target=
}
trap finish EXIT
fail() { echo "$*"; exit 1; }

start() { # PROGRAM ARGUMENT...
	end_it
	rm -f "$dir/in"
	mkfifo "$dir/in"
	"$@" <"$dir/in" >"$dir/said" 2>&1 &
	target=$!
	exec 9>"$dir/in"
	for _ in $(seq 150); do
		grep -q '^ready' "$dir/said" && return
		sleep 0.2
	done
	fail "$1 did not get ready: $(cat "$dir/said")"
}

take() { # WANTED-EXIT DIRECTORY OPTION...: sets $status, $archive and $method; WANTED may be "4 5"
	local wanted=$1 spool=$2
	status=0
	shift 2
	rm -f "$spool"/*.tar
	"$capture" --pid "$target" --output "$spool" --quiet --only core "$@" \
		>"$dir/out" 2>"$dir/err" || status=$?
	case " $wanted " in *" $status "*) ;; *) fail "$*: exit $status, not $wanted: $(cat "$dir/err")" ;; esac
	archive=$(ls "$spool"/*.tar 2>/dev/null || true)
	method=$([ -z "$archive" ] || snapshot | jq -r '.freeze.method // "none"')
	case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$target/status") in
	R | S | D) ;;
	*) fail "$*: the target is left in another state" ;;
	esac
	[ "$(sed -n 's/^TracerPid:[[:space:]]*//p' "/proc/$target/status")" = 0 ] || fail "$*: it is traced"
}

snapshot() { tar xf "$archive" -O "blobs/sha256/$(tar xf "$archive" -O "blobs/sha256/$(
	tar xf "$archive" -O index.json | jq -r '.manifests[0].digest[7:]')" |
	jq -r '.config.digest[7:]')"; }

tar_of() { "$godiag" extract "$archive" "$1" --output -; }
core_grade() { snapshot | jq -r '[.artifacts[] | select(.name | startswith("core/")) | .grade // "complete"] | unique | join(" ")'; }

mkdir "$dir/spool"

# 8,000 threads take 160 ms to stop: not within 50, and then not at all.
if (ulimit -u 20000) 2>/dev/null; then
	start "$VICTIMS/selfcheck" 8000
	take 4 "$dir/spool"
	[ "$method" = torn ] || fail "8,000 threads within 50 ms: $method"
	grep -q 'not of one instant' "$dir/err" || fail "$(cat "$dir/err")"
	take 0 "$dir/spool" --max-pause 10s
	echo "# 8,000 threads: $method, stopped for $(snapshot | jq '.freeze.pause_ns / 1e6 | floor') ms"
	[ "$(snapshot | jq .freeze.threads)" -ge 8000 ] || fail "$(snapshot | jq -c .freeze)"
fi

# 60,000 mappings: their list alone is read for longer than that.
cat >"$dir/maps.py" <<'END'
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
n = 60000
at = libc.mmap(None, n * 4096, 3, 0x22, -1, 0)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for i in range(0, n, 2):
    ctypes.c_char.from_address(at + i * 4096).value = b"x"
    if libc.mprotect(at + i * 4096, 4096, 1) != 0:
        sys.exit("mprotect")
print("ready", flush=True)
sys.stdin.readline()
END
start python3 "$dir/maps.py"
[ "$(wc -l <"/proc/$target/maps")" -gt 59000 ] || fail "too few mappings"
take 4 "$dir/spool"
[ "$method" = torn ] || fail "60,000 mappings within 50 ms: $method"
take 0 "$dir/spool" --max-pause 10s
echo "# 60,000 mappings: $method, stopped for $(snapshot | jq '.freeze.pause_ns / 1e6 | floor') ms"

# Pages on a userfaultfd that nobody serves: nobody may wait for them.
start "$VICTIMS/uffd"
began=$SECONDS
take 0 "$dir/spool" --max-pause 5s
[ $((SECONDS - began)) -lt 20 ] || fail "a page that nobody serves was waited for"
[ "$(core_grade)" = complete ] || fail "unserved pages: $(core_grade)"
echo "# unserved pages: $method"

# Threads that come and go all the time, mappings that do.
start "$VICTIMS/pages" 64 50 4k wild
take 0 "$dir/spool" --max-pause 10s
[ "$(core_grade)" = complete ] || fail "a storm of threads: $(core_grade)"
echo "# a storm of threads: $method, $(snapshot | jq .freeze.threads) of them"

# Shared, DONTFORK, WIPEONFORK, PROT_NONE and the like, and pages of a hugetlb pool, which stay out.
head -c 32768 /dev/urandom >"$dir/file"
mib=0
if [ -w $huge ] && huge_before=$(cat $huge) && echo $((huge_before + 2)) >$huge 2>/dev/null &&
	[ "$(cat $huge)" -ge $((huge_before + 2)) ]; then
	mib=4
else
	echo "# not covered: no hugetlb pages are to be had"
fi
start "$VICTIMS/kinds" "$dir/file" $mib
take 0 "$dir/spool" --max-pause 5s
[ "$(core_grade)" = complete ] || fail "mappings of every kind: $(core_grade)"
tar_of core/map.jsonl >"$dir/map"
why() { # KIND: what the core says of that mapping, beside "kept"
	local at
	at=$(sed -n "s/^$1 \(0x[0-9a-f]*\) .*/\1/p" "$dir/said")
	jq -r --arg at "$at" 'select(.kind == "map" and .start == $at) | .missing + " " + .why' "$dir/map"
}
[ "$(why dontdump)" = "lost the process asked for it not to be dumped" ] || fail "dontdump: $(why dontdump)"
for kind in dontfork wipeonfork shared memfd; do
	[ "$(why $kind)" = "zero kept" ] || fail "$kind: $(why $kind)"
done
[ $mib = 0 ] || [ "$(why hugetlb)" = "lost pages of a hugetlb pool" ] || fail "hugetlb: $(why hugetlb)"
end_it
[ -z "$huge_before" ] || echo "$huge_before" >$huge

# One that becomes another program all the time is never the one that was opened; nor is it harmed.
printf '[ -n "$1" ] || echo ready\nsleep 0.05\nexec sh "$0" again\n' >"$dir/again.sh"
start sh "$dir/again.sh"
take 4 "$dir/spool"
[ "$method" = none ] || fail "an image of a program that is no more: $method"
echo "# exec all the time: $(head -n 1 "$dir/err")"

# Another file system, and one that is too small: said before the target is touched.
mkdir "$dir/full"
if mount -t tmpfs -o size=256m godiag-test "$dir/full" 2>/dev/null; then
	start "$VICTIMS/life"
	take 0 "$dir/full"
	rm -f "$dir"/full/*
	mount -o remount,size=4m "$dir/full"
	take 4 "$dir/full"
	[ "$method" = none ] || fail "an image on a full disk: $method"
	[ "$(snapshot | jq .cost.target_pause_ns)" = 0 ] || fail "it was stopped for nothing"
	grep -q 'does not fit' "$dir/err" || fail "nothing is said of the disk: $(cat "$dir/err")"
	# It gets full while the image is read, which on tmpfs cannot be reserved: the image goes, and whether
	# there is room for an archive without it depends on who is first.
	start python3 -c 'import os; keep = os.urandom(200 << 20); print("ready", flush=True); os.read(0, 1)'
	cat >"$dir/fill.py" <<'END'
import os, sys
# DIRECTORY BYTES: takes all there is as soon as so much is used, until it is ended.
fs = os.statvfs(sys.argv[1])
while (fs.f_blocks - fs.f_bfree) * fs.f_frsize < int(sys.argv[2]):
    fs = os.statvfs(sys.argv[1])
fd = os.open(sys.argv[1] + "/fill", os.O_CREAT | os.O_WRONLY)
while True:
    try:
        os.write(fd, bytes(1 << 16))
    except OSError:
        pass
END
	mount -o remount,size=600m "$dir/full"
	python3 "$dir/fill.py" "$dir/full" 20000000 &
	filler=$!
	take "4 5" "$dir/full" --max-pause 5s
	kill -KILL "$filler"
	wait "$filler" 2>/dev/null || true
	[ "$status" = 5 ] || "$godiag" verify "$archive" --quiet || fail "it does not verify"
	[ -n "$archive" ] || [ "$status" = 5 ] || fail "exit 4 without an archive"
	[ -z "$archive" ] || [ "$status" = 4 ] || fail "an archive on a disk that got full"
	echo "# full during the capture: exit $status, $(head -n 1 "$dir/err")"
	rm -f "$dir"/full/*
	# The image fits, and what is packed of it takes its place page by page.
	mount -o remount,size=320m "$dir/full"
	take 0 "$dir/full" --max-pause 5s
	[ "$(core_grade)" = complete ] || fail "a disk with room for the image: $(core_grade)"
	[ "$(du -m "$archive" | cut -f 1)" -ge 200 ] || fail "it would have fitted beside the image"
	rm -f "$dir"/full/*
	# But not when somebody else takes that place.
	python3 "$dir/fill.py" "$dir/full" 210000000 &
	filler=$!
	take 5 "$dir/full" --max-pause 5s
	kill -KILL "$filler"
	wait "$filler" 2>/dev/null || true
	[ -z "$archive" ] || fail "an archive on a disk that got full"
	echo "# full after the stop: $(head -n 1 "$dir/err")"
	rm -f "$dir"/full/*
	mount -o remount,size=4m "$dir/full" 2>/dev/null || true
	start "$VICTIMS/life"
	# Not even an archive fits.
	dd if=/dev/zero of="$dir/full/fill" bs=4k 2>/dev/null || true
	take 5 "$dir/full"
	[ -z "$archive" ] || fail "an archive on a full disk"
else
	echo "# not covered: no tmpfs of our own: a full disk"
fi
