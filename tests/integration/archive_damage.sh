#!/bin/sh
# Exit statuses and messages of verify, extract, list and show on archives that are not what they
# were: cut off, one byte off, foreign members, no archive at all, nowhere to write.
set -eu

godiag=$BUILD/godiag
[ -x "$godiag" ] || { echo "# skip: $godiag is not built"; exit 77; }
godiag=$(cd "$(dirname "$godiag")" && pwd)/godiag

dir=$(mktemp -d)
sleep 600 &
target=$!
finish() {
	kill "$target" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

expect() { # STATUS COMMAND...
	want=$1
	shift
	got=0
	"$@" >"$dir/stdout" 2>"$dir/stderr" || got=$?
	if [ "$got" != "$want" ]; then
		echo "exit $got instead of $want: $*"
		cat "$dir/stdout" "$dir/stderr"
		exit 1
	fi
}
says() { # TEXT: in what the last command printed
	grep -qF -- "$1" "$dir/stdout" "$dir/stderr" || {
		echo "does not say: $1"
		cat "$dir/stdout" "$dir/stderr"
		exit 1
	}
}

status=0
"$godiag" capture --pid "$target" --output "$dir" --quiet >/dev/null || status=$?
[ "$status" != 3 ] || { echo "# skip: no permission to read another process"; exit 77; }
mv "$dir"/*.tar "$dir/good.tar"
cd "$dir"
size=$(stat -c %s good.tar)

expect 0 "$godiag" verify good.tar
says "every byte accounted for"
expect 0 "$godiag" verify --quiet good.tar
[ ! -s stdout ]

echo "cut off"
head -c $((size - 2000)) good.tar >cut.tar
expect 4 "$godiag" verify cut.tar
says "the file ends too early"
expect 4 "$godiag" list cut.tar
expect 4 "$godiag" show cut.tar
says "this archive is cut off"
expect 0 "$godiag" verify cut.tar --repair fixed.tar
says "as it was sealed"
expect 0 "$godiag" verify fixed.tar
[ "$("$godiag" verify good.tar | tail -n 1)" = "$("$godiag" verify fixed.tar | tail -n 1)" ]
expect 1 "$godiag" verify cut.tar --repair fixed.tar
says "exists already"
head -c $((size / 2)) good.tar >half.tar
expect 4 "$godiag" verify half.tar --repair half-fixed.tar
says "lost"
expect 4 "$godiag" verify half-fixed.tar
says "the archive was repaired"
expect 0 "$godiag" list half-fixed.tar
expect 0 "$godiag" extract half-fixed.tar proc/status --output - --quiet
says "Name:	sleep"

echo "one byte off"
cp good.tar flip.tar
at=$(tar tRvf good.tar | sed -n 's/^block \([0-9]*\):.* proc\/maps\/.*/\1/p')
printf '\377' | dd of=flip.tar bs=1 seek=$((at * 512 + 512 + 100)) conv=notrunc 2>/dev/null
expect 4 "$godiag" verify flip.tar
says "artifact proc/maps: content does not match its digest"
expect 4 "$godiag" extract flip.tar --output flipped --quiet
[ ! -e flipped/proc/maps ]
[ -s flipped/proc/status ]
expect 4 "$godiag" extract flip.tar proc/maps --output flipped --damaged
[ -s flipped/proc/maps ]
expect 4 "$godiag" verify good.tar flip.tar
expect 4 "$godiag" verify --json flip.tar

echo "foreign members"
mkdir w && (cd w && tar xf ../good.tar && ln -s /etc/passwd link && printf x >../evil &&
	tar -P --format=ustar -cf ../foreign.tar oci-layout blobs/sha256/* ../evil link index.json)
expect 4 "$godiag" verify foreign.tar
says "member ../evil (type 0): does not belong"
says "member link (type 2): does not belong"
expect 0 "$godiag" extract foreign.tar --output foreign --quiet
[ -z "$(find foreign -type l)" ]

echo "links in the way"
mkdir out elsewhere && ln -s ../elsewhere out/proc
expect 1 "$godiag" extract good.tar proc/status --output out
[ -z "$(ls -A elsewhere)" ]

echo "no archive, no file, nothing asked"
printf 'text' >text
expect 1 "$godiag" verify text
says "not a godiag archive"
expect 1 "$godiag" show missing.tar
says "No such file or directory"
expect 1 "$godiag" verify
expect 1 "$godiag" extract good.tar no-such-artifact
says 'there is no artifact "no-such-artifact"'
expect 1 "$godiag" show --nonsense
for command in verify extract list show; do
	expect 0 "$godiag" $command --help
	says "usage: godiag $command"
done

echo "nowhere to write"
expect 1 "$godiag" verify half.tar --repair no/such/dir.tar
says "no such directory"
if [ "$(id -u)" = 0 ] && command -v unshare >/dev/null && unshare -m true 2>/dev/null; then
	mkdir fs
	expect 5 unshare -m sh -c "mount -t tmpfs -o size=64k none fs && '$godiag' verify half.tar --repair fs/x.tar"
	says "no space left"
	expect 5 unshare -m sh -c "mount -t tmpfs -o size=16k none fs && '$godiag' extract good.tar --output fs/x"
	says "needed"
fi
echo "ok"
