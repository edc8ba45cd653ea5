#!/bin/sh
# Captures by the agent, one after the other, while it is killed again and again: descriptors and
# memory stay flat, every archive that was sealed verifies, whatever was acknowledged is there, and the
# journal agrees.  SOAK=2000 (make soak) with a kill each minute; make check takes a short form.
set -eu
for tool in jq setpriv; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
[ -x "$BUILD/godiagd" ] || { echo "skipped: $BUILD/godiagd is not built"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: no root to read other processes"; exit 77; }
. tests/agent.sh
total=${SOAK:-60}
kill_after=60
[ "$total" -gt 200 ] || kill_after=3

dir=$(mktemp -d)
finish() {
	agent_stop "$dir"
	service_stop "$dir"
	rm -rf "$dir"
}
trap finish EXIT
fail() {
	echo "FAILED: $*"
	agent_status "$dir" | jq -c '.problems, .spool' || true
	tail -n 40 "$dir/godiagd.log"
	exit 1
}

bash tests/demo/build_service.sh "$dir/checkout" >/dev/null || { echo "skipped: no Go"; exit 77; }
service_start "$dir" -calm -clients 4 -for 24h
mkdir "$dir/store"
cat >"$dir/policy.yaml" <<END
samples: { duration: 100ms }
services:
  - name: checkout
    match: { exe: $dir/checkout }
budget: { captures: none, spool: 1GiB, free: 1% }
retention: { count: 20 }
upload: file://$dir/store
END
"$BUILD/godiag" check "$dir/policy.yaml"

# Descriptors and KiB of a process, in one word.
size() { echo "$(ls "/proc/$1/fd" | wc -l):$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status")"; }
flat() { # WHO BEFORE AFTER
	[ $((${3%:*} - ${2%:*})) -le 2 ] || fail "$1 went from ${2%:*} to ${3%:*} descriptors"
	# What sanitizers keep aside grows.
	grep -q __asan_init "$BUILD/godiagd" || [ $((${3#*:} - ${2#*:})) -le 2048 ] ||
		fail "$1 grew from ${2#*:} to ${3#*:} KiB"
}

# Its size with nothing to do, when all that was sealed is in the store.
uploader_at_rest() {
	agent_await "$dir" 60 '.spool.ready == 0' || fail "archives wait in the spool although the store takes them"
	sleep 0.2
	size "$(cat "$dir/upload.pid")"
}

agent_start "$dir"
agent_upload "$dir"
agent_await "$dir" 20 '(.watched | length > 0) and .uploader' || fail "service or uploader are not there"

n=0 done=0 kills=0 first= upload_first=
born=$(date +%s)
while [ $n -lt "$total" ]; do
	n=$((n + 1))
	if [ $(($(date +%s) - born)) -ge $kill_after ]; then
		[ -z "$first" ] || flat godiagd "$first" "$(size "$(cat "$dir/godiagd.pid")")"
		# In the middle of a capture, a little later each time.
		"$BUILD/godiag-capture" --agent --service checkout --run "$dir/run" --quiet >/dev/null 2>&1 &
		capture=$!
		sleep "0.0$(printf %02d $((kills * 7 % 100)))"
		agent_kill "$dir"
		wait $capture 2>/dev/null || true
		kills=$((kills + 1))
		agent_start "$dir"
		agent_await "$dir" 40 '(.watched | length > 0) and .uploader' ||
			fail "service or uploader are not back after kill $kills"
		first= born=$(date +%s)
	fi
	code=0
	"$BUILD/godiag-capture" --agent --service checkout --run "$dir/run" --quiet >"$dir/said" 2>&1 || code=$?
	case $code in
	0 | 4) sed -n '$s,.*/\(godiag-[^ ]*\.tar\) .*,\1,p' "$dir/said" >>"$dir/sealed" ;;
	*) fail "capture $n: exit $code: $(cat "$dir/said")" ;;
	esac
	done=$((done + 1))
	# The first few warm up caches and the timeline.
	if [ -z "$first" ] && [ $((n % 5)) = 0 ]; then
		first=$(size "$(cat "$dir/godiagd.pid")")
		[ -n "$upload_first" ] || upload_first=$(uploader_at_rest)
	fi
done
[ -z "$first" ] || flat godiagd "$first" "$(size "$(cat "$dir/godiagd.pid")")"
flat godiag-upload "$upload_first" "$(uploader_at_rest)"
[ $kills -gt 0 ] || fail "nobody was killed"
agent_stop "$dir"
sealed=$(wc -l <"$dir/sealed")
[ "$sealed" = $done ] || fail "$sealed archives of $done captures have a name"
while read -r archive; do
	[ -s "$dir/store/$archive" ] || fail "$archive was acknowledged and is not in the store"
done <"$dir/sealed"
stored=0
for archive in "$dir"/store/*.tar; do
	"$BUILD/godiag" verify --quiet "$archive" || fail "$archive does not verify"
	stored=$((stored + 1))
done
[ -z "$(ls -A "$dir/state/spool/quarantine")" ] || fail "something is in quarantine"

# Once more: a start that finds nothing to mend means that journal and directories agree.
: >"$dir/godiagd.log"
agent_start "$dir"
! agent_status "$dir" | jq -e '.problems[] | select(test("spool mended"))' || fail "the journal does not agree"
echo "# $done captures, $kills kills, $stored archives in the store; godiagd $(size "$(cat "$dir/godiagd.pid")") descriptors:KiB"
case $(sed 's/.*) //; s/ .*//' "/proc/$(cat "$dir/service.pid")/stat") in
R | S) ;;
*) fail "the service does not run" ;;
esac
echo "ok"
