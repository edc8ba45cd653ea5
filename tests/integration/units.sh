#!/bin/sh
# The gate of `make units`: it holds, and it bites when a unit loses what it promises.
set -eu
command -v systemd-analyze >/dev/null || { echo "skipped: systemd-analyze is not installed"; exit 77; }
[ -x "$BUILD/godiag" ] || { echo "skipped: $BUILD/godiag is not built"; exit 77; }
build=$(cd "$BUILD" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# What is built is what gets installed: -o all, and nothing of the make that runs us.
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make --no-print-directory -s -o all BUILD="$build" SAN= \
	install DESTDIR="$dir/good" prefix=/usr sysconfdir=/etc
cp -a "$dir/good" "$dir/was"
sh systemd/units.sh "$dir/good"

bites() { # UNIT SED-SCRIPT: the gate fails after this change
	rm -rf "$dir/bad"
	cp -a "$dir/was" "$dir/bad"
	sed -i "$2" "$dir/bad/usr/lib/systemd/system/$1.service"
	if diff -r "$dir/was" "$dir/bad" >/dev/null; then
		echo "$1: nothing to take away with $2"
		exit 1
	fi
	if sh systemd/units.sh "$dir/bad" >"$dir/said" 2>&1; then
		echo "the gate holds although in $1: $2"
		exit 1
	fi
}
for unit in godiagd godiag-hook godiag-upload godiag-capture@; do
	bites $unit 's/^LimitCORE=/LimitCOER=/'
	bites $unit 's,^ExecStart=/usr/s*bin/,&no-such-,'
	bites $unit 's/^SystemCallFilter=.*//; s/^ProtectSystem=.*//; s/^PrivateNetwork=.*//; s/^CapabilityBoundingSet=.*//'
done
bites godiagd 's/^User=.*//; s/^Group=.*//; s/^NoNewPrivileges=.*//; s/^AmbientCapabilities=.*//'
bites godiagd 's/^\(CapabilityBoundingSet=.*\)/\1 CAP_SYS_ADMIN CAP_NET_ADMIN CAP_SYS_MODULE/'
bites godiag-hook 's/^IPAddress.*//; s/^ProtectSystem=strict/ProtectSystem=no/; s/^PrivateUsers=.*//'

echo "every directive of the sandbox is set or said to be left out"
for unit in godiagd godiag-hook godiag-upload; do
	file=$dir/was/usr/lib/systemd/system/$unit.service
	for directive in NoNewPrivileges ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateNetwork \
		PrivateUsers ProtectProc ProcSubset RestrictSUIDSGID RestrictNamespaces RestrictRealtime \
		LockPersonality MemoryDenyWriteExecute ProtectClock ProtectHostname ProtectKernelLogs \
		ProtectKernelModules ProtectKernelTunables ProtectControlGroups SystemCallArchitectures \
		SystemCallFilter RestrictAddressFamilies IPAddressDeny CapabilityBoundingSet RemoveIPC \
		KeyringMode DevicePolicy MemoryMax MemorySwapMax TasksMax LimitCORE UMask; do
		case $unit:$directive in
		godiag-hook:PrivateNetwork | godiag-upload:PrivateNetwork) continue ;; # the network is their work
		esac
		grep -q -e "^$directive=" -e "^# Not set:.*$directive=" "$file" || {
			echo "$unit: $directive= is neither set nor explained"
			exit 1
		}
	done
done
echo "ok"
