#!/bin/sh
# run.sh STAMP PROGRAM [ARGUMENT...]: runs one test, its output into a log beside the stamp.
# The log is shown only when the test failed.  It always succeeds, so that make goes on with the
# other tests; tests/totals.awk reads all logs and decides.  A failed test gets no stamp and
# therefore runs again next time.
stamp=$1
shift
log=${stamp%.ok}.log
mkdir -p "$(dirname "$stamp")"

CMOCKA_MESSAGE_OUTPUT=TAP
ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export CMOCKA_MESSAGE_OUTPUT ASAN_OPTIONS UBSAN_OPTIONS

# Where Go is a package of one release, its command is in no PATH.
command -v go >/dev/null || for go in /usr/local/go/bin /usr/lib/go-1.*/bin; do
	[ ! -x "$go/go" ] || PATH=$PATH:$go
done
export PATH

# Other users' processes, small file systems, kernel stacks: tests want root.  Who is not gets it from
# sudo when that is possible (make check asks for the password before); else those tests skip.
if [ "$(id -u)" -ne 0 ] && sudo -n true 2>/dev/null; then
	set -- sudo -n -H env PATH="$PATH" BUILD="$BUILD" VICTIMS="$VICTIMS" \
		CMOCKA_MESSAGE_OUTPUT="$CMOCKA_MESSAGE_OUTPUT" ASAN_OPTIONS="$ASAN_OPTIONS" \
		UBSAN_OPTIONS="$UBSAN_OPTIONS" "$@"
fi
timeout -k 5 "${TEST_SECONDS:-600}" "$@" >"$log" 2>&1 </dev/null
code=$?
echo "# exit $code" >>"$log"
case $code in
0 | 77)
	touch "$stamp"
	;;
*)
	rm -f "$stamp"
	echo "---- $* failed (exit $code):"
	cat "$log"
	echo "----"
	;;
esac
