#!/bin/sh
# make install and uninstall below DESTDIR, and the Debian package: installed with its real dependencies
# into a copy-on-write image of this machine, used, upgraded over an edited policy, removed, purged.
set -eu
[ -x "$BUILD/godiag" ] || { echo "skipped: $BUILD/godiag is not built"; exit 77; }
build=$(cd "$BUILD" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "$*"
	exit 1
}
# What is built is what gets installed: -o all, and nothing of the make that runs us.
make_only() {
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make --no-print-directory -s -o all BUILD="$build" SAN= "$@"
}

echo "install and uninstall"
root=$dir/local
make_only install DESTDIR="$root"
[ "$("$root/usr/local/bin/godiag" --version)" = "$("$build/godiag" --version)" ]
for name in bin/godiag-capture bin/godiag-hook bin/godiag-upload sbin/godiagd; do
	[ "$(readlink -f "$root/usr/local/$name")" = "$root/usr/local/bin/godiag" ] || fail "$name: wrong link"
done
# The units start what was installed, and nothing is left to fill in.
grep -q '^ExecStart=/usr/local/sbin/godiagd ' "$root/usr/local/lib/systemd/system/godiagd.service"
! grep -rn '@[a-z]*@' "$root/usr/local/lib" || fail "a placeholder was left"
sed -n 's/^Exec[A-Za-z]*=\([^ ]*\).*/\1/p' "$root"/usr/local/lib/systemd/system/*.service | sort -u |
	sed 's/^[-+!@:]*//' | grep -v -e '^/usr/bin/kill$' -e '^/bin/sh$' | while read -r program; do
	[ -x "$root$program" ] || fail "$program is named by a unit and not installed"
done

echo "an operator's policy stays"
echo '# mine' >"$root/etc/godiag/policy.yaml"
make_only install DESTDIR="$root"
[ "$(cat "$root/etc/godiag/policy.yaml")" = '# mine' ]
make_only uninstall DESTDIR="$root"
[ "$(find "$root" ! -type d | sed "s,$root,,")" = /etc/godiag/policy.yaml ] ||
	fail "left behind: $(find "$root" ! -type d)"

command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null || {
	echo "# dpkg-dev is not installed: no package was built"
	exit 0
}
echo "package"
make_only install DESTDIR="$dir/stage" prefix=/usr sysconfdir=/etc
deb=$(bash systemd/deb.sh "$dir/stage" 1.0 "$dir")
[ "$(dpkg-deb -f "$deb" Package)" = godiag ]
[ "$(dpkg-deb -f "$deb" Version)" = 1.0 ]
for library in libarchive13 libcurl4 libjansson4; do
	dpkg-deb -f "$deb" Depends | grep -q "$library" || fail "does not depend on $library"
done
dpkg-deb -c "$deb" | awk '$2 != "root/root" { print; bad = 1 } END { exit bad }' || fail "owners"
! dpkg-deb -c "$deb" | grep -E '^[^l](..[sS]|.....[sS]|.......w)' || fail "setuid, setgid or world-writable"
dpkg-deb -e "$deb" "$dir/control"
[ "$(cat "$dir/control/conffiles")" = /etc/godiag/policy.yaml ]
for script in postinst prerm postrm; do
	sh -n "$dir/control/$script"
	! grep -n -e sysctl -e core_pattern -e '/proc/sys' -e 'systemctl.* start' "$dir/control/$script" ||
		fail "$script does what a package must not"
done
if command -v lintian >/dev/null; then
	lintian --fail-on error --suppress-tags no-copyright-file,no-changelog "$deb"
else
	echo "# lintian is not installed"
fi

# Everything below happens in a root whose writes go to memory.
image() {
	unshare -m sh -eu -c '
		mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/work" "$1/root"
		mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root"
		mount -t proc none "$1/root/proc"
		mount --bind /dev "$1/root/dev"
		rm -rf "$1/root/run/systemd/system"
		mkdir "$1/root/image" && cp "$2" "$3" "$1/root/image/"
		[ "$4" = - ] || cp "$4" "$1/root/image/script"
		exec chroot "$1/root" sh -eux /image/script' sh "$dir/image" "$@"
}
mkdir "$dir/image"
if [ "$(id -u)" != 0 ] || ! image /dev/null /dev/null /dev/null 2>/dev/null; then
	echo "# no root or no overlay file system: the package was not installed"
	exit 0
fi
echo "the package in an image of this machine"
mkdir "$dir/next" && bash systemd/deb.sh "$dir/stage" 1.1 "$dir/next" >/dev/null
cat >"$dir/script" <<'END'
cat /proc/sys/kernel/core_pattern /proc/sys/fs/suid_dumpable >/image/sysctls
dpkg -i /image/godiag_1.0_*.deb
godiag --version
[ "$(stat -c '%U:%G %a' /var/lib/godiag)" = 'godiag:godiag 700' ]
[ "$(stat -c '%U:%G %a' /run/godiag)" = 'godiag:godiag 755' ]
[ "$(stat -c '%U:%G %a' /run/godiag-hook)" = 'godiag-hook:godiag-callers 750' ]
getent passwd godiag godiag-hook godiag-upload | grep -c nologin | grep -qx 3
godiagd --version || [ $? -le 1 ]
echo '# mine' >>/etc/godiag/policy.yaml
dpkg -i /image/godiag_1.1_*.deb
tail -n 1 /etc/godiag/policy.yaml | grep -qx '# mine'
dpkg -r godiag
[ ! -e /usr/bin/godiag ]
[ -e /etc/godiag/policy.yaml ]
# Unread evidence outlives the package, nothing else does.
mkdir -p /var/lib/godiag/spool/ready && touch /var/lib/godiag/spool/ready/a.tar
dpkg -P godiag
[ -e /var/lib/godiag/spool/ready/a.tar ]
[ ! -e /etc/godiag ]
dpkg -i /image/godiag_1.1_*.deb
rm /var/lib/godiag/spool/ready/a.tar
dpkg -P godiag
[ ! -e /var/lib/godiag ]
cat /proc/sys/kernel/core_pattern /proc/sys/fs/suid_dumpable | cmp - /image/sysctls
END
image "$deb" "$dir"/next/*.deb "$dir/script" >"$dir/said" 2>&1 || {
	cat "$dir/said"
	exit 1
}
echo "ok"
