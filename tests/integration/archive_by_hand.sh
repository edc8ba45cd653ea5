#!/bin/sh
# The commands of docs/archive-format.md, with the real tools: tar, sha256sum, jq, zstd, skopeo, go.
# A real capture of a real process is taken apart and compared with what godiag extract writes.
set -eu

godiag=$BUILD/godiag
[ -x "$godiag" ] || { echo "# skip: $godiag is not built"; exit 77; }
for tool in tar sha256sum jq zstd skopeo cmp; do
	command -v $tool >/dev/null || { echo "# skip: $tool is not installed"; exit 77; }
done
godiag=$(cd "$(dirname "$godiag")" && pwd)/godiag

dir=$(mktemp -d)
target=
finish() {
	[ -z "$target" ] || kill "$target" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

# A Go victim when one was built, else any process.
victim=$(ls "$VICTIMS"/states-go*-plain 2>/dev/null | tail -n 1 || true)
if [ -n "$victim" ]; then
	mkfifo "$dir/in"
	"$victim" <"$dir/in" >"$dir/out" 2>&1 &
	target=$!
	exec 9>"$dir/in"
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		grep -q '^ready' "$dir/out" 2>/dev/null && break
		sleep 0.5
	done
else
	sleep 600 &
	target=$!
fi

status=0
"$godiag" capture --pid "$target" --output "$dir" --quiet --label env=test >"$dir/said" || status=$?
if [ "$status" = 3 ]; then
	echo "# skip: no permission to read another process"
	exit 77
fi
[ "$status" = 0 ] || [ "$status" = 4 ] || { echo "capture: exit $status"; exit 1; }
snap=$(ls "$dir"/*.tar)
[ "$(stat -c %a "$snap")" = 600 ]

"$godiag" verify "$snap" --quiet
"$godiag" extract "$snap" --output "$dir/ours" --quiet

echo "by hand"
mkdir "$dir/s"
cd "$dir/s"
tar xf "$snap"
for b in blobs/sha256/*; do echo "${b##*/}  $b"; done | sha256sum -c --quiet
M=blobs/sha256/$(jq -r '.manifests[0].digest[7:]' index.json)
S=blobs/sha256/$(jq -r '.config.digest[7:]' "$M")
[ "$(jq -r .target.pid "$S")" = "$target" ]
[ "$(jq -r .labels.env "$S")" = test ]
grep -q "$(jq -r '.manifests[0].digest' index.json)" "$dir/said"
blob() { jq -r --arg n "$1" '.layers[] | select(.annotations["org.opencontainers.image.title"] == $n) | .digest[7:]' "$M"; }

echo "every artifact by zstd and by cat is what godiag extract writes"
jq -r '.layers[] | [.annotations["org.opencontainers.image.title"], .mediaType, .digest[7:]] | @tsv' "$M" >"$dir/layers"
n=0
while IFS="$(printf '\t')" read -r name type digest; do
	case $type in
	*+zstd) zstd -dqc "blobs/sha256/$digest" | cmp - "$dir/ours/$name" ;;
	*) cmp "blobs/sha256/$digest" "$dir/ours/$name" ;;
	esac
	n=$((n + 1))
done <"$dir/layers"
[ "$n" -gt 10 ]
cmp "$S" "$dir/ours/snapshot.json"
echo "# $n artifacts"

echo "the tar reads as a table of contents, and its order is the documented one"
tar tvf "$snap" | grep -q 'proc/status/proc '
[ "$(tar tf "$snap" | sed -n '1p;$p' | tr '\n' ' ')" = "oci-layout index.json " ]

echo "skopeo takes it with and without its tag"
tag=$(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' index.json)
skopeo copy -q "oci-archive:$snap:$tag" "dir:$dir/tagged"
skopeo copy -q "oci-archive:$snap" "oci:$dir/layout"
cmp "$dir/tagged/manifest.json" "$M"
skopeo inspect --raw "oci-archive:$snap" | cmp - "$M"

if [ -s "$dir/ours/goroutines.txt" ]; then
	grep -q '^goroutine 1 \[' "$dir/ours/goroutines.txt"
	jq -es 'map(select(.goid)) | length > 0' "$dir/ours/goroutines.jsonl" >/dev/null
	if command -v go >/dev/null; then
		go tool pprof -top "blobs/sha256/$(blob goroutine.pb.gz)" 2>/dev/null | grep -q flat
	else
		echo "# go is not installed: pprof was not asked"
	fi
fi

echo "show and list speak of the same capture"
"$godiag" show "$snap" | grep -q "pid $target"
[ "$("$godiag" show --json "$snap" | jq -r .digest)" = "$(jq -r '.manifests[0].digest' index.json)" ]
[ "$("$godiag" list --json "$dir" | jq -r '.[0].pid')" = "$target" ]
[ "$("$godiag" list --json "$snap" | jq length)" -ge "$n" ]
echo "ok"
