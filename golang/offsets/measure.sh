#!/bin/sh
# Prints offsets.tsv rows of the named Go releases: builds probe/ with each and reads its DWARF.
# A toolchain that was not there before is downloaded and removed again, unless KEEP names it.
#
#   sh measure.sh 1.24.8 1.27.3 > rows.tsv;  awk -f merge.awk ../offsets.tsv rows.tsv > new.tsv
set -eu
cd "$(dirname "$0")"
# Go 1.19's module index does not find a GOROOT inside the module cache.
export GODEBUG=goindex=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/offsets" .
cache=$(go env GOMODCACHE)
for release in "$@"; do
	module="toolchain@v0.0.1-go$release.$(go env GOOS)-$(go env GOARCH)"
	there=no
	[ -d "$cache/golang.org/$module" ] && there=yes
	if (cd probe && CGO_ENABLED=0 GOTOOLCHAIN="go$release" go build -o "$work/probe" main.go) 2> "$work/log"
	then
		"$work/offsets" "$work/probe"
	else
		echo "measure: go$release: $(tail -n 1 "$work/log")" >&2
	fi
	case " ${KEEP-} " in *" $release "*) there=yes ;; esac
	if [ "$there" = no ] && [ -d "$cache/golang.org/$module" ]; then
		chmod -R u+w "$cache/golang.org/$module"
		rm -rf "$cache/golang.org/$module"
		rm -f "$cache/cache/download/golang.org/toolchain/@v/${module#*@}".*
	fi
done
