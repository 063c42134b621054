#!/bin/sh
# make CROSS=: the programs for another processor, and what is said where that cannot be.
# shellcheck source=tests/cli/lib_build.sh
. "$(dirname "$0")/lib_build.sh"
plain_build_only
cross=aarch64-linux-gnu

refused "no compiler 'no-such-machine-gcc'" make -C "$top" B="$work/b" CROSS=no-such-machine
refused "SYSROOT='$work/nothing' is no folder with an usr/" \
	make -C "$top" B="$work/b" CROSS=$cross SYSROOT="$work/nothing"
mkdir "$work/bin"
ln -s /bin/true "$work/bin/no-such-machine-gcc"
refused "'no-such-machine' is no architecture of Debian's" \
	env PATH="$work/bin:$PATH" "$top/image/sysroot.sh" no-such-machine "$work/s" "$work/c" libc6-dev
refused "usage: debian.sh" "$top/image/debian.sh" "$work/c" arm64
ok "nothing was made of it" test ! -e "$work/s" -a ! -e "$work/c"

if ! command -v $cross-gcc >/dev/null || ! command -v dpkg-architecture >/dev/null; then
	echo "ok - the programs for $cross # SKIP tests/deps.sh arm installs the compiler"
	finish
fi
if make -s -C "$top" CROSS=$cross >"$work/out" 2>&1; then
	echo "ok - make CROSS=$cross"
else
	ok "make CROSS=$cross" false
fi
ok "make CROSS=$cross install" make -s -C "$top" CROSS=$cross -o all DESTDIR="$work/root" install
libraries=$top/build/cache/$cross/usr/lib
for program in bin/abide bin/abide-image libexec/abide/abide-carrier libexec/abide/abide-carrier-http; do
	readelf -h -d "$work/root/usr/$program" >"$work/out" 2>&1 || true
	ok "$program is for that machine" grep -q 'Machine: *AArch64' "$work/out"
	ok "$program has no symbols" sh -c "! readelf -S '$work/root/usr/$program' | grep -q symtab"
	needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/out")
	for library in $needed; do
		ok "$program: $library is there" test -e "$libraries/$cross/$library" -o -e "$libraries/$library"
	done
done
ok "built again, nothing is fetched" \
	make -s -C "$top" CROSS=$cross http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
finish
