#!/bin/bash
# setup.sh [-n] [build] [check]: installs with apt what this machine lacks; no argument means build.
#
#   build   what `make` needs: a compiler and the libraries
#   check   what `make check`, `make fuzz` and .ci/run need on top: clang, cmocka, debuggers, Go
#   -n      only say what would be done
#
# Something that is here already, from wherever it came, is left alone; a second run does nothing and
# takes a fraction of a second.  Works as root or through sudo, asks nothing.  Meant for Debian 12 and
# newer and Ubuntu 24.04 and newer.
set -u
cd "$(dirname "$0")" || exit 1

# package, and how to see that it is here: a command, a pkg-config module or a file.
build_needs='
	make                    command make
	gcc                     command gcc
	libc6-dev               file    /usr/include/stdlib.h
	pkg-config              command pkg-config
	libdw-dev               module  libdw
	libelf-dev              module  libelf
	libarchive-dev          module  libarchive
	libzstd-dev             module  libzstd
	zlib1g-dev              module  zlib
	libcurl4-openssl-dev    module  libcurl
	libssl-dev              module  libcrypto
	libseccomp-dev          module  libseccomp
	libjansson-dev          module  jansson
	libyaml-dev             module  yaml-0.1
	libmicrohttpd-dev       module  libmicrohttpd
'
check_needs='
	git                     command git
	ca-certificates         file    /etc/ssl/certs/ca-certificates.crt
	clang                   command clang
	clang-tidy              command clang-tidy
	libcmocka-dev           module  cmocka
	libunwind-dev           module  libunwind
	gdb                     command gdb
	jq                      command jq
	curl                    command curl
	zstd                    command zstd
	skopeo                  command skopeo
	iproute2                command ip
	systemd                 command systemd-analyze
	dpkg-dev                command dpkg-shlibdeps
	python3                 command python3
	chromium                command chromium
	delve                   command dlv
'

say() { echo "setup: $*"; }
die() {
	say "$*" >&2
	exit 1
}

dry=
groups=
for argument; do
	case $argument in
	-n) dry=1 ;;
	build | check) groups="$groups $argument" ;;
	*)
		sed -n '2,6s/^# \{0,1\}//p' "$0"
		exit 1
		;;
	esac
done
want_check=
case $groups in *check*) want_check=1 ;; esac

is_here() { # how what
	case $1 in
	command) command -v "$2" >/dev/null ;;
	module) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
	file) [ -e "$2" ] ;;
	esac
}

missing=()
look() { # rows
	local package how what
	while read -r package how what; do
		[ -z "$package" ] || is_here "$how" "$what" || missing+=("$package")
	done <<<"$1"
}

# The newest Go of this machine as a minor number (1.22.3: 22), 0 when there is none.  A Go of 1.21 or
# newer fetches every other release by itself, which is what the tests live on.
go_minor() {
	local go version best=0
	for go in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
		[ -x "$go" ] || continue
		version=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null)
		version=${version#go1.}
		version=${version%%[!0-9]*}
		[ "${version:-0}" -gt "$best" ] && best=$version
	done
	echo "$best"
}

# clang finds its sanitizer and fuzzer runtimes only with this package of its own version.
clang_runtime_here() {
	local dir
	dir=$(clang -print-resource-dir 2>/dev/null) || return 1
	ls "$dir"/lib/*/libclang_rt.fuzzer* >/dev/null 2>&1
}

look "$build_needs"
want_go= want_runtime=
if [ -n "$want_check" ]; then
	look "$check_needs"
	[ "$(go_minor)" -ge 21 ] || want_go=1
	clang_runtime_here || want_runtime=1
fi
if [ ${#missing[@]} -eq 0 ] && [ -z "$want_go$want_runtime" ]; then
	say "nothing is missing"
	exit 0
fi
command -v apt-get >/dev/null ||
	die "no apt-get here; install these by other means: ${missing[*]}${want_go:+ Go-1.21-or-newer}"

root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null ||
		die "needs root to install: ${missing[*]} (run it as root, or install sudo)"
	root="sudo"
	[ -t 0 ] || root="sudo -n"
fi
run() {
	say "running: $*"
	[ -n "$dry" ] || "$@" </dev/null
}
apt() {
	run $root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@"
}
exists() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

apt update || say "the package lists could not be updated; trying with the old ones"

# The newest golang-1.N-go with N of at least 21, if any list has one.
newest_go() {
	apt-cache pkgnames golang-1. 2>/dev/null | sed -n 's/^golang-1\.\([0-9]*\)-go$/\1/p' |
		sort -rn | while read -r n; do
			[ "$n" -ge 21 ] || break
			exists "golang-1.$n-go" && echo "golang-1.$n-go" && break
		done
}

# Debian 12 packages Go 1.19, which cannot fetch other releases; its backports have a newer one.  They
# come from the mirror this machine uses already, and apt takes nothing else from them by itself.
add_backports() {
	local codename uri key list=/etc/apt/sources.list.d/godiag-backports.list
	codename=$(. /etc/os-release && echo "${ID:-}:${VERSION_CODENAME:-}")
	[ "${codename%%:*}" = debian ] && [ -n "${codename#*:}" ] || return 1
	codename=${codename#*:}
	uri=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v c="$codename" '$1 == c && $2 == "main" { print $3; exit }')
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -n "$uri" ] && [ -e "$key" ] || return 1
	say "adding $codename-backports of $uri as $list, for Go only"
	run $root sh -c "echo 'deb [signed-by=$key] $uri $codename-backports main' >$list" || return 1
	apt update || {
		say "backports cannot be reached, going on without"
		run $root rm -f "$list"
		return 1
	}
}

if [ -n "$want_go" ]; then
	go=$(newest_go)
	if [ -z "$go" ] && add_backports; then
		go=$(newest_go)
	fi
	if [ -n "$go" ]; then
		missing+=("$go" "${go%-go}-src")
	elif [ "$(go_minor)" -eq 0 ]; then
		say "no Go of 1.21 or newer to be had; with the packaged one, tests of other releases skip"
		missing+=(golang-go)
	else
		say "no Go of 1.21 or newer to be had; tests of other releases skip"
	fi
fi
if [ -n "$want_runtime" ]; then
	version=$(clang -dumpversion 2>/dev/null | cut -d. -f1)
	[ -n "$version" ] ||
		version=$(apt-cache depends clang 2>/dev/null |
			sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
	exists "libclang-rt-$version-dev" && missing+=("libclang-rt-$version-dev")
fi

# What this release does not have is left out when only tests want it: they skip and say so.
install=()
for package in "${missing[@]}"; do
	if exists "$package" || [[ $build_needs == *"	$package "* ]]; then
		install+=("$package")
	else
		say "$package does not exist here; what needs it will be skipped"
	fi
done
[ ${#install[@]} -gt 0 ] || exit 0
apt install -y --no-install-recommends "${install[@]}" || die "apt could not install everything"
[ -n "$dry" ] || say "installed: ${install[*]}"

# A versioned Go lies outside the PATH.
if [ -n "$want_go" ] && [ -n "${go:-}" ] && [ -z "$dry" ]; then
	say "Go is at /usr/lib/go-${go//[!0-9.]/}/bin/go: found there by the tests; for your own use add it to PATH"
fi
