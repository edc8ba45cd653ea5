#!/bin/bash
# deb.sh ROOT VERSION DIR (make deb): ROOT is an installation with prefix=/usr; this adds what makes it
# a Debian package for the release and architecture that it was built on, and writes
# DIR/godiag_VERSION_ARCHITECTURE.deb.  Needs dpkg-dev, nothing of debhelper.
#
# The maintainer scripts make users and directories (systemd-sysusers, systemd-tmpfiles) and reload
# systemd.  They start nothing that was not running, write no sysctl, and never touch core_pattern.
set -eu
for tool in dpkg-deb dpkg-shlibdeps; do
	command -v $tool >/dev/null || {
		echo "make deb: $tool is missing (package dpkg-dev)" >&2
		exit 1
	}
done
root=$(cd "$1" && pwd)
version=$2
dir=$(cd "$3" && pwd)
arch=$(dpkg --print-architecture)

find "$root/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
# Debug information stays with the build.
strip --strip-unneeded --remove-section=.comment "$root/usr/bin/godiag"

# What the binary needs, with the versions whose symbols it uses.
scratch=$(mktemp -d "$dir/deb.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/debian"
printf 'Source: godiag\n\nPackage: godiag\nArchitecture: any\n' >"$scratch/debian/control"
depends=$(cd "$scratch" && dpkg-shlibdeps -O --ignore-missing-info "$root/usr/bin/godiag" 2>shlibdeps.log |
	sed -n 's/^shlibs:Depends=//p') || depends=
[ -n "$depends" ] || {
	cat "$scratch/shlibdeps.log" >&2
	exit 1
}

mkdir -p "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: godiag
Version: $version
Architecture: $arch
Maintainer: godiag developers <godiag@localhost>
Installed-Size: $(du -ks --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles
Section: admin
Priority: optional
Description: snapshots of misbehaving services, taken at the right moment
 Takes one complete, verifiable snapshot of a running process without its help
 and without stopping it: goroutines, heap profile, garbage collector and
 scheduler state of Go programs, /proc and cgroup state of any.
 .
 By hand (godiag-capture), by alert (godiag-hook takes Alertmanager's posts), or
 by rules of its own (godiagd). Archives are OCI images in a tar and need no tool
 of ours to be read. Nothing is started or watched until it is configured.
END
echo /etc/godiag/policy.yaml >"$root/DEBIAN/conffiles"

cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
case $1 in
configure)
	systemd-sysusers godiag.conf
	# Without /run (an image being built) the units make what they need when they start.
	systemd-tmpfiles --create godiag.conf || true
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
		# Only what runs already, with the new binary.
		systemctl try-restart godiagd.service godiag-hook.service godiag-upload.service || true
	fi
	;;
esac
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --now godiag-hook.service godiag-upload.service godiagd.service || true
fi
END
cat >"$root/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
if [ "$1" = purge ]; then
	rm -f /etc/godiag/hook.tokens /etc/godiag/s3.credentials
	rmdir --ignore-fail-on-non-empty /etc/godiag/policy.d /etc/godiag 2>/dev/null || true
	rm -rf /run/godiag /run/godiag-hook
	# Evidence that nobody has fetched yet is not ours to delete.
	if [ -n "$(find /var/lib/godiag -name '*.tar' -print -quit 2>/dev/null)" ]; then
		echo "godiag: archives are left in /var/lib/godiag" >&2
	else
		rm -rf /var/lib/godiag
	fi
fi
END
chmod 755 "$root"/DEBIAN/p*
(cd "$root" && find usr -type f -exec md5sum {} + >DEBIAN/md5sums)

deb=$dir/godiag_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
echo "$deb"
