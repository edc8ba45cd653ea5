#!/bin/bash
# boot.sh DEB CHECKOUT: the package and its units under a systemd of their own, in namespaces: installs DEB
# into a copy-on-write image of this machine, boots that with systemd as its pid 1, and lets probe below
# see whether the units do what they promise.  CHECKOUT is the sample service, built.
#
# Its systemd sees one cgroup hierarchy, the one without controllers, and there only a group made for
# it; /proc/sys and /sys are read-only.  Exit 77: not possible here.  Not part of make check: what it
# needs (root, overlay, a cgroup v1 hierarchy named systemd) few machines give to a test.
set -eu

skip() {
	echo "skipped: $*"
	exit 77
}
# ---- pid 1 of the namespaces ------------------------------------------------------------------------

inside() { # DIR: everything is private from here on
	local r=$1/root unit n
	mount --make-rprivate /
	mount -t tmpfs none "$1/image"
	mkdir "$1/image/upper" "$1/image/work"
	mount -t overlay -o "lowerdir=/,upperdir=$1/image/upper,workdir=$1/image/work" none "$r"
	mount -t proc proc "$r/proc"
	mount --bind "$r/proc/sys" "$r/proc/sys"
	mount -o remount,ro,bind "$r/proc/sys"
	# No controllers: what it does not know it cannot mount.
	head -n 1 /proc/cgroups >"$1/cgroups"
	mount --bind "$1/cgroups" "$r/proc/cgroups"
	mount -t sysfs -o ro sysfs "$r/sys"
	mount -t tmpfs -o mode=755 none "$r/sys/fs/cgroup"
	mkdir "$r/sys/fs/cgroup/systemd"
	mount -t cgroup -o none,name=systemd cgroup "$r/sys/fs/cgroup/systemd"
	mount -t tmpfs -o mode=755 none "$r/dev"
	for n in null:3 zero:5 full:7 random:8 urandom:9; do
		mknod -m 666 "$r/dev/${n%:*}" c 1 "${n#*:}"
	done
	mknod -m 666 "$r/dev/tty" c 5 0
	mkdir "$r/dev/pts" "$r/dev/shm" "$r/dev/mqueue" "$r/dev/hugepages"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$r/dev/pts"
	ln -s pts/ptmx "$r/dev/ptmx"
	ln -s /proc/self/fd "$r/dev/fd"
	: >"$1/console"
	: >"$r/dev/console"
	mount --bind "$1/console" "$r/dev/console"
	for n in run tmp; do mount -t tmpfs none "$r/$n"; done
	ip link set lo up

	: >"$r/etc/fstab"
	echo 0123456789abcdef0123456789abcdef >"$r/etc/machine-id"
	rm -rf "$r"/etc/systemd/system/*.wants
	for unit in systemd-sysctl systemd-udevd systemd-udev-trigger systemd-modules-load systemd-binfmt \
		systemd-random-seed; do
		ln -sf /dev/null "$r/etc/systemd/system/$unit.service"
	done
	mkdir "$r/boot-test"
	mount --bind "$1/share" "$r/boot-test"
	chroot "$r" dpkg -i /boot-test/godiag.deb >"$1/share/dpkg" 2>&1
	cat >"$r/etc/systemd/system/probe.target" <<-END
		[Unit]
		Requires=basic.target
		Wants=probe.service
	END
	cat >"$r/etc/systemd/system/probe.service" <<-END
		[Unit]
		After=basic.target
		[Service]
		Type=oneshot
		ExecStart=/bin/bash /boot-test/boot.sh probe
		TimeoutStartSec=160s
		StandardOutput=file:/boot-test/said
		StandardError=file:/boot-test/said
		ExecStopPost=/bin/systemctl --no-block exit
	END
	# Not chroot: who is in one gets no user namespaces.
	cd "$r"
	pivot_root . mnt
	umount -l /mnt
	mount --make-rshared /
	exec env -i container=docker /lib/systemd/systemd --unit=probe.target \
		--log-target=journal --show-status=no systemd.unified_cgroup_hierarchy=0 \
		systemd.legacy_systemd_cgroup_controller=1
}

# ---- what is asked of the units ---------------------------------------------------------------------

status() { godiag status --json || [ $? = 4 ]; }
await() { # SECONDS JQ
	local n
	for n in $(seq $(($1 * 10))); do
		! status 2>/dev/null | jq -e "$2" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	echo "FAILED: not within $1 s: $2"
	status | jq -c 'del(.watched)' || true
	systemctl --no-pager -l status 'godiag*' || true
	journalctl --no-pager -o cat -u 'godiag*' | tail -n 40
	exit 1
}
check() { # WHAT COMMAND...
	local what=$1
	shift
	"$@" || {
		echo "FAILED: $what: $*"
		exit 1
	}
}
of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
main_pid() { systemctl show -P MainPID "$1.service"; }

probe() {
	local token pid n
	cp /boot-test/checkout /usr/local/bin/checkout
	cat >/etc/systemd/system/checkout.service <<-END
		[Unit]
		OnFailure=godiag-capture@%n.service
		[Service]
		DynamicUser=yes
		ExecStart=/usr/local/bin/checkout -calm -clients 4 -for 10m -listen 127.0.0.1:9100
	END
	token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
	(umask 077 && echo "am $(printf %s "$token" | sha256sum | cut -d' ' -f1)" >/etc/godiag/hook.tokens)
	install -d -o godiag-upload /srv/store
	mkdir -p /etc/systemd/system/godiag-upload.service.d
	printf '[Service]\nReadWritePaths=/srv/store\n' >/etc/systemd/system/godiag-upload.service.d/store.conf
	mkdir -p /etc/systemd/system/godiagd.service.d
	# This hierarchy tells nobody that a group is empty: systemd waits for its timeouts after a SIGKILL.
	printf '[Service]\nWatchdogSec=3s\nTimeoutStopSec=3s\n' >/etc/systemd/system/godiagd.service.d/hurry.conf
	cat >/etc/godiag/policy.d/checkout.yaml <<-END
		services:
		  - name: checkout
		    match: { exe: /usr/local/bin/checkout }
		    scrape: http://127.0.0.1:9100/metrics
		rules:
		  - name: latency
		    service: checkout
		    when: { alert: HighLatency }
		    cooldown: 0s
		upload: file:///srv/store
		budget: { free: 1% }
	END
	systemctl daemon-reload
	check "nothing starts by itself" test "$(systemctl is-active godiagd)" = inactive

	echo "-- start"
	systemctl start checkout godiagd godiag-hook godiag-upload ||
		{ systemctl --no-pager -l status 'godiag*' || true; journalctl --no-pager -o cat | tail -n 30; exit 1; }
	await 20 '.hook and .uploader and (.watched | length > 0)'
	await 20 '.watched[0].go and .watched[0].metrics.http_p99 and .watched[0].metrics.go_goroutines'
	status | jq -c '{problems, watched: [.watched[] | .metrics | keys | length]}'

	echo "-- who they are"
	pid=$(main_pid godiagd)
	# DAC_READ_SEARCH, KILL, SYS_PTRACE, SYS_NICE, PERFMON, BPF
	check "six capabilities" test "$(of "$pid" CapEff)" = 000000c000880024
	check "and no others to gain" test "$(of "$pid" CapBnd)" = 000000c000880024
	for n in godiagd godiag-hook godiag-upload; do
		pid=$(main_pid $n)
		check "$n may gain nothing" test "$(of "$pid" NoNewPrivs)" = 1
		check "$n is filtered" test "$(of "$pid" Seccomp)" = 2
		check "$n is not root" test "$(stat -c %U "/proc/$pid")" != root
	done
	for n in godiag-hook godiag-upload; do
		check "$n has no capabilities" test "$(of "$(main_pid $n)" CapEff)" = 0000000000000000
	done
	pid=$(main_pid godiagd)
	check "the agent has a shell's libraries" test -e "/proc/$pid/root/usr/lib"
	check "the agent sees /etc/shadow" test ! -e "/proc/$pid/root/etc/shadow"
	check "the agent sees homes" test ! -e "/proc/$pid/root/root/."
	check "the agent has no network" test "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/1/ns/net)"
	check "sockets' groups" test "$(stat -c '%G %a' /run/godiag/control /run/godiag/hook /run/godiag/upload |
		tr '\n' ' ')" = "godiag 660 godiag-hook 660 godiag-upload 660 "
	check "the hook's socket" test "$(stat -c '%G %a' /run/godiag-hook/hook.sock)" = "godiag-callers 660"
	if setpriv --reuid nobody --clear-groups godiag status >/dev/null 2>&1; then
		echo "FAILED: anybody may ask the agent"
		exit 1
	fi
	setpriv --reuid nobody --groups "$(getent group godiag | cut -d: -f3)" godiag status >/dev/null || [ $? = 4 ]

	echo "-- an alert"
	printf '{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"HighLatency"},
	"startsAt":"2026-11-20T13:05:07Z","fingerprint":"0123456789abcdef"}]}' >/tmp/alert
	curl -sS -w ' %{http_code}\n' --unix-socket /run/godiag-hook/hook.sock -H "Authorization: Bearer $token" \
		-H 'Content-Type: application/json' --data-binary @/tmp/alert http://hook/v1/hooks/alertmanager
	await 20 '.spool.done == 1 and .spool.ready == 0'
	check "it verifies" godiag verify --quiet /srv/store/*.tar
	godiag show /srv/store/*.tar | tail -n 12
	check "a list of them is the agent's alone" test "$(stat -c '%U %a' /run/godiag/kallsyms)" = "godiag 600"
	check "functions of the kernel have names" grep -q '[a-z0-9]_\[k\]' <(godiag extract /srv/store/*.tar cpu.folded --output -)

	echo "-- reload"
	echo 'rules: [ { nmae: x } ]' >/etc/godiag/policy.d/bad.yaml
	if systemctl reload godiagd; then
		echo "FAILED: a wrong policy was reloaded"
		exit 1
	fi
	rm /etc/godiag/policy.d/bad.yaml
	check "a right one reloads" systemctl reload godiagd

	echo "-- killed, and stopped for the watchdog"
	for signal in KILL STOP; do
		pid=$(main_pid godiagd)
		kill -$signal "$pid"
		for n in $(seq 200); do
			new=$(main_pid godiagd)
			[ "$new" = 0 ] || [ "$new" = "$pid" ] || [ "$(systemctl is-active godiagd)" != active ] || break
			sleep 0.2
		done
		check "it is back after SIG$signal" test "$new" != 0 -a "$new" != "$pid"
		await 30 '.hook and .uploader and (.watched | length > 0)'
		echo "   back after SIG$signal, $(systemctl show -P NRestarts godiagd) restarts"
	done

	echo "-- a service fails"
	cat >/etc/godiag/policy.d/checkout.yaml <<-END
		services:
		  - name: checkout
		    match: { unit: checkout.service }
		upload: file:///srv/store
		budget: { free: 1% }
	END
	systemctl reload godiagd
	await 20 '.watched | length > 0'
	systemctl kill -s SEGV checkout
	await 30 '[.captures[] | select(.trigger == "unit")] | length > 0'
	await 30 '.spool.ready == 0'
	check "what is left of it is sealed" test "$(status | jq -r '[.captures[] | select(.trigger == "unit") |
		.state] | unique | join(" ")')" = succeeded
	check "its unit ended well" test "$(systemctl show -P Result godiag-capture@checkout.service.service)" = success
	for n in /srv/store/*.tar; do
		! godiag show "$n" | grep -q 'trigger unit' || godiag show "$n" | head -n 20
	done

	echo "-- a debug port"
	systemctl stop checkout
	sed -i 's/-listen/-debug 127.0.0.1:6060 -listen/' /etc/systemd/system/checkout.service
	sed -i 's/^    match: .*/&\n    debug_port: 6060/; $a samples: { duration: 1s }' /etc/godiag/policy.d/checkout.yaml
	for n in skipped complete; do
		[ $n = skipped ] || cat >/etc/systemd/system/godiagd.service.d/debug.conf <<-END
			[Service]
			AmbientCapabilities=CAP_SYS_ADMIN
			CapabilityBoundingSet=CAP_SYS_ADMIN
			RestrictNamespaces=net
			RestrictAddressFamilies=AF_INET AF_INET6
			IPAddressAllow=localhost
		END
		systemctl daemon-reload
		systemctl restart checkout godiagd
		await 20 '.uploader and (.watched | length > 0)'
		pid=$(main_pid godiagd)
		check "the agent's six capabilities" test "$(of "$pid" CapEff)" = 000000c000880024
		new=$(godiag-capture --agent --service checkout | cut -d' ' -f1)
		await 20 '.spool.ready == 0'
		check "as its unit lets it: $n" test "$(godiag extract "/srv/store/${new##*/}" debug_port.json --output - |
			jq -r '.cpu.grade + " " + .trace.grade')" = "$n $n"
	done

	echo "-- stop"
	systemctl stop godiagd godiag-hook godiag-upload
	check "they end well" test "$(systemctl show -P Result godiagd godiag-hook godiag-upload |
		sed '/^$/d' | sort -u)" = success
	journalctl --no-pager -o cat -u 'godiag*' | tail -n 40
	echo PASSED
}

if [ "${1:-}" = probe ]; then
	probe
	exit
elif [ "${1:-}" = inside ]; then
	inside "$2"
fi

# ---- outside ------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || skip "no root"
[ -x /lib/systemd/systemd ] || skip "systemd is not installed"
hierarchy=/sys/fs/cgroup/systemd
[ -d $hierarchy ] && grep -q ":name=systemd:/$" /proc/self/cgroup || skip "no cgroup hierarchy to give away"

dir=$(mktemp -d)
group=$hierarchy/godiag-boot-$$
mkdir "$dir/image" "$dir/root" "$dir/share"
cp "$1" "$dir/share/godiag.deb"
cp "$2" "$dir/share/checkout"
cp "$0" "$dir/share/boot.sh"
finish() {
	echo $$ >$hierarchy/cgroup.procs
	find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
mkdir "$group"
echo $$ >"$group/cgroup.procs"
timeout -k 5 220 unshare -m -p -f -C -n -i -u --kill-child bash "$0" inside "$dir" >"$dir/log" 2>&1 || true
grep -qx PASSED "$dir/share/said" 2>/dev/null || cat "$dir/log" "$dir/console" "$dir/share/dpkg" || true
cat "$dir/share/said"
grep -qx PASSED "$dir/share/said"
