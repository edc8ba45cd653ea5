#!/bin/sh
# units.sh ROOT: asks systemd what it thinks of the units installed there (make units).
# Exit 1: a directive it does not know, or more exposure than allowed.  Limits are in tenths, as
# `systemd-analyze security --threshold=` takes them.
set -u
command -v systemd-analyze >/dev/null || { echo "skipped: systemd-analyze is not installed"; exit 0; }
root=$(cd "$1" && pwd)
# What the units refer to besides us.
install -m 755 /dev/null "$root/usr/bin/kill"
dir=$root/usr/lib/systemd/system
failed=0

# An instance stands for its template.
cp "$dir/godiag-capture@.service" "$dir/godiag-capture@checkout.service"
for unit in godiagd godiag-hook godiag-upload godiag-capture@checkout; do
	# Units of the distribution are not in this root; what is said of ours is ours.
	systemd-analyze verify --root="$root" --man=no --recursive-errors=no \
		"$dir/$unit.service" >"$root/said" 2>&1
	if grep -E "^(/[^ ]*/)?$unit\.service[: ]" "$root/said"; then
		failed=1
	fi
done

exposure() { # LIMIT UNIT
	if ! systemd-analyze security --offline=yes --root="$root" --no-pager --threshold="$1" \
		"$dir/$2.service" >"$root/said" 2>&1; then
		echo "units: $2 is more exposed than $1/10:"
		sed -n '/✗/p' "$root/said"
		failed=1
	fi
	sed -n 's/^→ Overall exposure level for \([^:]*\): \([0-9.]*\) .*/\1 \2/p' "$root/said"
}
exposure 20 godiagd
exposure 15 godiag-hook
exposure 15 godiag-upload
exposure 15 godiag-capture@checkout

# Users and directories, as they would come about on a host that has nothing yet.
mkdir -p "$root/etc" "$root/run" "$root/var/lib"
if systemd-sysusers --root="$root" >"$root/said" 2>&1 &&
	{ [ "$(id -u)" -ne 0 ] || systemd-tmpfiles --root="$root" --create godiag.conf >>"$root/said" 2>&1; }; then
	:
else
	cat "$root/said"
	failed=1
fi
exit $failed
