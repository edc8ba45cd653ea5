#!/bin/sh
# The gate of `make units`: it holds, and it bites when a unit loses what it promises; and what no gate of
# systemd's sees: that its filter leaves the programs what they need.
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

echo "the filter of a unit leaves each role what its own filter does, and what it takes to enter one"
SYSTEMD_COLORS=0 systemd-analyze --no-pager syscall-filter >"$dir/sets"
{
	grep -o '"[a-z][a-z0-9_]*"' agent/role.c | tr -d '"'
	echo capset prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self \
		prlimit64 | tr ' ' '\n'
} >"$dir/calls"
refused() { # UNIT: those of $dir/calls that it refuses
	awk '
		function expand(name, value,    list, i, n) {
			if (name !~ /^@/) {
				allowed[name] = value
				return
			}
			n = split(members[name], list)
			for (i = 1; i <= n; i++)
				expand(list[i], value)
		}
		FILENAME == ARGV[1] && /^@/ { set = $1 }
		FILENAME == ARGV[1] && /^ +[@a-z]/ { members[set] = members[set] " " $1; known[$1] = 1 }
		FILENAME == ARGV[2] && sub(/^SystemCallFilter=/, "") {
			value = !sub(/^~/, "")
			for (i = 1; i <= NF; i++)
				expand($i, value)
		}
		FILENAME == ARGV[3] && known[$1] && !allowed[$1] { print $1 }
	' "$dir/sets" "$dir/was/usr/lib/systemd/system/$1.service" "$dir/calls"
}
for unit in godiagd godiag-hook godiag-upload; do
	[ -z "$(refused $unit)" ] || { echo "$unit refuses $(refused $unit)"; exit 1; }
done
echo chown >>"$dir/calls" # the agent gives its sockets to their groups, others need not
[ -z "$(refused godiagd)" ] && [ "$(refused godiag-hook)" = chown ]

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
