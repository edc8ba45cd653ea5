#!/bin/bash
# Builds Go victims for every release in `releases` and every variant:
#
#   build.sh [-o DIR] [-r "1.22.12 1.27.3"] [-v "plain stripped pie cgo"] [victim...]
#
# The result is DIR/<victim>-go<release>-<variant>, and DIR/<victim>.index with one line for each:
# "built RELEASE VARIANT FILE" or "skipped RELEASE VARIANT REASON", which is what tests go by.  A
# release comes from an installed Go of 1.21 or newer, which fetches others by itself, or from the
# distribution's golang-1.N package (then under its own patch number); one that is not to be had is
# skipped by name.  A victim's own file `variants` says in which of them it is worth having.
# Rebuilds only what is older than its sources; two of these may run at once.
set -u

here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-build/victims}
releases=
variants=
while getopts o:r:v: opt; do
	case $opt in
	o) out=$OPTARG ;;
	r) releases=$OPTARG ;;
	v) variants=$OPTARG ;;
	*) exit 1 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- states quiet churn
for variant in $variants; do
	case $variant in
	plain | stripped | pie | cgo) ;;
	*)
		echo "victims: $variant: variants are plain, stripped, pie and cgo" >&2
		exit 1
		;;
	esac
done

mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock 9

# Go 1.19's module index does not find a GOROOT inside the module cache.
export GODEBUG=goindex=0 GOFLAGS=-buildvcs=false GOWORK=off
unset GOTOOLCHAIN GOROOT

# Every go command of this machine, the one on the PATH first.
installed_gos() {
	command -v go
	ls -d /usr/local/go/bin/go /usr/lib/go-1.*/bin/go /usr/lib/go/bin/go 2>/dev/null
}

# provide RELEASE: sets go_cmd, go_toolchain and go_release, or `reason`.
provide() {
	local candidate version
	reason="no Go command is installed"
	for candidate in $(installed_gos); do
		version=$(GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null)
		case $version in
		"go$1")
			go_cmd=$candidate go_toolchain=local go_release=$1
			return 0
			;;
		go1.1[0-9]* | go1.20* | '') reason="no Go of 1.21 or newer is installed" ;;
		*)
			if reason=$(GOTOOLCHAIN=go$1 "$candidate" env GOVERSION 2>&1) &&
				[ "$reason" = "go$1" ]; then
				go_cmd=$candidate go_toolchain=go$1 go_release=$1
				return 0
			fi
			;;
		esac
	done
	for candidate in $(installed_gos); do
		version=$(GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null)
		if [ "${version%.*}" = "go${1%.*}" ]; then
			go_cmd=$candidate go_toolchain=local go_release=${version#go}
			return 0
		fi
	done
	reason=$(printf %s "$reason" | tr '\n' ' ' | cut -c1-200)
	return 1
}

# build VICTIM VARIANT, with what provide found.
build() {
	local dir=$here/$1 to=$out/$1-go$go_release-$2 cgo=0 mode=exe ldflags='' log
	case $2 in
	plain) ;;
	stripped) ldflags='-s -w' ;;
	pie) mode=pie ;;
	cgo) cgo=1 ;;
	esac
	# A packaged Go may stand for two releases of its minor.
	! grep -q "^built $go_release $2 " "$out/$1.index.new" || return
	if [ ! -x "$to" ] || [ -n "$(find "$dir" "$here/build.sh" -newer "$to" -type f)" ]; then
		if ! log=$(cd "$dir" && CGO_ENABLED=$cgo GOTOOLCHAIN=$go_toolchain \
			"$go_cmd" build -buildmode=$mode -ldflags "$ldflags" -o "$to.new" . \
			2>&1); then
			rm -f "$to.new"
			log=$(printf %s "$log" | tr '\n' ' ' | cut -c1-300)
			echo "skipped $go_release $2 $log"
			return
		fi
		mv -f "$to.new" "$to"
		touch "$to"
		echo "  GO      ${to##*/}" >&2
	fi
	echo "built $go_release $2 $to"
}

listed() {
	if [ -n "$releases" ]; then
		printf '%s\n' $releases
	else
		sed 's/#.*//; /^[[:space:]]*$/d' "$here/releases"
	fi
}

# wanted_of VICTIM: the variants of $wanted that the victim comes in.
wanted_of() {
	local own=$wanted variant
	[ ! -f "$here/$1/variants" ] || own=$(cat "$here/$1/variants")
	for variant in $wanted; do
		case " $own " in *" $variant "*) echo "$variant" ;; esac
	done
}

for victim; do
	: >"$out/$victim.index.new"
done
while read -r release wanted; do
	wanted=${variants:-${wanted:-plain stripped pie cgo}}
	if provide "$release"; then
		for victim; do
			for variant in $(wanted_of "$victim"); do
				build "$victim" "$variant" >>"$out/$victim.index.new"
			done
		done
	else
		echo "victims: go$release is not to be had: $reason" >&2
		for victim; do
			echo "skipped $release - $reason" >>"$out/$victim.index.new"
		done
	fi
done < <(listed)
for victim; do
	mv -f "$out/$victim.index.new" "$out/$victim.index"
	sed -n 's/^skipped \([^ ]*\) \([^ ]*\) /victims: '"$victim"' go\1 \2: /p' \
		"$out/$victim.index" >&2
done
exit 0
