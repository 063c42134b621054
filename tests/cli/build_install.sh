#!/bin/sh
# make install: everything is where a distribution expects it, and what was installed runs.
# shellcheck source=tests/cli/lib_build.sh
. "$(dirname "$0")/lib_build.sh"
dest=$work/dest
mkdir "$dest"

# The largest a program may get without its symbols: it is for small devices.
size_limit=$((300 * 1024))
strip=-s
case $build in
*/build) ;;
*) strip='' size_limit=$((100 << 20)) ;; # a sanitizer's build has its own size, and needs symbols
esac

# What is built is installed as it is (-o): another script may be building at the same time.
ok "make install PREFIX=/usr" make -s -C "$top" B="$build" -o all STRIP="$strip" DESTDIR="$dest" \
	PREFIX=/usr install
for file in bin/abide bin/abide-image share/man/man1/abide.1 share/man/man1/abide-image.1 \
	share/man/man5/abide-system.conf.5 share/bash-completion/completions/abide \
	share/bash-completion/completions/abide-image lib/sysusers.d/abide.conf \
	lib/systemd/system/abide-confirm.service share/abide/grub/grub.cfg \
	share/abide/layout-x86_64-grub.ini; do
	ok "/usr/$file" test -s "$dest/usr/$file"
done
for file in abide-carrier abide-carrier-http; do
	ok "/usr/libexec/abide/$file can be run" test -x "$dest/usr/libexec/abide/$file"
done

# What parses untrusted bytes is in the carriers only, and HTTP in the one for URLs.
brings_none() { # program library...
	program=$dest/usr/$1
	shift
	readelf -d "$program" >"$dest/needed"
	for library; do
		! grep -q "NEEDED.*\[$library\.so" "$dest/needed" || {
			echo "# it brings $library"
			return 1
		}
	done
}
ok "abide brings no HTTP, tar or zstd" brings_none bin/abide libcurl libarchive libzstd
ok "abide-carrier brings neither HTTP nor OpenSSL" \
	brings_none libexec/abide/abide-carrier libcurl libssl libcrypto
ok "/etc/init.d/abide-confirm can be run" test -x "$dest/etc/init.d/abide-confirm"
ok "/etc/abide has an example" test -s "$dest/etc/abide/system.conf.example"
ok "/etc/abide has no system.conf: that is the device's" test ! -e "$dest/etc/abide/system.conf"
ok "a place for health checks" test -d "$dest/usr/lib/abide/health.d"

"$dest/usr/bin/abide" --version >"$work/version" || true
ok "the installed abide runs" grep -q "^abide $(cat "$top/updater/VERSION")" "$work/version"
"$dest/usr/bin/abide-image" --version >"$work/version" || true
ok "the installed abide-image runs" \
	grep -q "^abide-image $(cat "$top/updater/VERSION")" "$work/version"
# The carrier is found where it is installed: nothing of the build is beside it.
if ABIDE="$dest/usr/bin/abide" ABIDE_IMAGE="$dest/usr/bin/abide-image" \
	sh "$top/tests/cli/install.sh" >"$work/story" 2>&1; then
	echo "ok - a whole update with the installed programs"
else
	echo "not ok - a whole update with the installed programs"
	sed 's/^/# /' "$work/story" | grep -v '^# ok'
	failed=1
fi
size=$(stat -c %s "$dest/usr/bin/abide")
ok "abide is $size bytes, at most $size_limit" test "$size" -le "$size_limit"

ok "make install PREFIX=/opt/abide" make -s -C "$top" B="$build" -o all STRIP="$strip" \
	DESTDIR="$dest" PREFIX=/opt/abide install
ok "its unit runs its program" \
	grep -q '^ExecStart=/opt/abide/bin/abide' "$dest/opt/abide/lib/systemd/system/abide-confirm.service"
if command -v man >/dev/null; then
	for page in "$dest"/usr/share/man/man?/*; do
		warnings=$(man --warnings -l "$page" 2>&1 >/dev/null)
		ok "man reads $(basename "$page") without a warning" test -z "$warnings"
	done
fi
for completion in "$dest"/usr/share/bash-completion/completions/*; do
	ok "bash reads $(basename "$completion")" bash -n "$completion"
done
finish
