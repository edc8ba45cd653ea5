#!/bin/bash
# others.sh [-o DIR]: Go programs that nobody here wrote, for the tests to look at.  Stripped ones
# out of npm packages and of the distribution, others that `go install` builds.  DIR/others.index
# has a line for each, as build.sh writes them: "built NAME stripped|plain FILE" or "skipped NAME -
# REASON".  What is here already is not fetched again.
set -u
out=${OUT:-build/victims}
while getopts o: opt; do
	case $opt in
	o) out=$OPTARG ;;
	*) exit 1 ;;
	esac
done
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
exec 9>"$out/.others.lock"
flock 9
index=$out/others.index
: >"$index.new"

one_line() { tr '\n' ' ' | cut -c1-200; }

# from_npm NAME PACKAGE VERSION PATH
from_npm() {
	local to=$out/$1-$3 dir log
	if [ ! -x "$to" ]; then
		command -v npm >/dev/null || {
			echo "skipped $1-$3 - npm is not installed" >>"$index.new"
			return
		}
		dir=$(mktemp -d "$out/.others.XXXXXX")
		if log=$(cd "$dir" && timeout -k 5 300 npm pack --silent "$2@$3" 2>&1 </dev/null) &&
			log=$(cd "$dir" && tar xzf ./*.tgz "package/$4" 2>&1); then
			chmod 755 "$dir/package/$4"
			mv -f "$dir/package/$4" "$to"
			echo "  NPM     $1-$3" >&2
		else
			echo "skipped $1-$3 - $(printf %s "$log" | one_line)" >>"$index.new"
		fi
		rm -rf "$dir"
	fi
	[ ! -x "$to" ] || echo "built $1-$3 stripped $to" >>"$index.new"
}

# from_go NAME MODULE VERSION plain|stripped
from_go() {
	local to=$out/$1 dir log strip=
	[ "$4" = plain ] || strip='-s -w'
	if [ ! -x "$to" ]; then
		dir=$(mktemp -d "$out/.others.XXXXXX")
		if log=$(GOBIN=$dir GOFLAGS=-mod=mod CGO_ENABLED=0 timeout -k 5 600 \
			go install -ldflags="$strip" "$2@$3" 2>&1 </dev/null); then
			mv -f "$dir/$1" "$to"
			echo "  GO      $1-$3" >&2
		else
			log=$(printf %s "$log" | tail -n 1 | one_line)
			echo "skipped $1-$3 - $log" >>"$index.new"
		fi
		rm -rf "$dir"
	fi
	[ ! -x "$to" ] || echo "built $1-$3 $4 $to" >>"$index.new"
}

# from_here NAME: what the distribution packages, stripped as Debian strips everything
from_here() {
	local file
	if file=$(command -v "$1"); then
		echo "built $1 stripped $file" >>"$index.new"
	else
		echo "skipped $1 - not installed" >>"$index.new"
	fi
}

from_npm esbuild @esbuild/linux-x64 0.17.19 bin/esbuild # go1.20.4
from_npm esbuild @esbuild/linux-x64 0.28.2 bin/esbuild  # go1.26.5, its build info cut out
from_npm buf @bufbuild/buf-linux-x64 1.75.0 bin/buf     # go1.27.3
from_go versitygw github.com/versity/versitygw/cmd/versitygw v1.7.0 plain
from_go esbuild github.com/evanw/esbuild/cmd/esbuild v0.25.12 stripped # by whichever Go is here
from_here dlv
mv -f "$index.new" "$index"
exit 0
