#!/bin/sh
# test_flash.sh: abide and U-Boot's environment on flash. Boots Debian's kernel, which has a simulated NAND
# chip (nandsim) and UBI, with an initramfs of abide, a device made here, U-Boot's and MTD's own tools and
# guest.sh, which is the test.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../../tests/cli/lib.sh"

limit=600 # seconds, of the 30 it takes on an idle machine
flash=$top/qemu/flash
cache=$build/cache
PATH=$PATH:/usr/sbin
[ "$(dpkg --print-architecture)" = amd64 ] || {
	echo "1..0 # skipped: of Debian's kernels only that for amd64 has nandsim"
	exit 77
}
for tool in qemu-system-x86_64 ubimkvol fw_setenv; do
	command -v "$tool" >/dev/null || {
		echo "1..0 # skipped: no $tool: run tests/deps.sh test qemu"
		exit 77
	}
done
kernel=$("$top/image/rootfs/kernel.sh" "$cache" amd64 linux-image-amd64)
root=$work/root

# put FILE PATH: with the libraries it is linked to, where the loader looks for them.
put() {
	install -D -m 755 "$1" "$root$2"
	ldd "$1" 2>/dev/null | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p' | while read -r library; do
		[ -e "$root$library" ] || install -m 755 -D "$(readlink -f "$library")" "$root$library"
	done
}

# 64 MiB of 2 KiB pages and 128 KiB blocks. mtd0 is its first 8 blocks, of which the first one is bad, mtd1
# the rest.
put_modules() {
	nandsim='first_id_byte=0x20 second_id_byte=0xa2 third_id_byte=0x00 fourth_id_byte=0x15 parts=8 badblocks=0'
	for module in nandsim ubi; do
		modprobe -d "$kernel" -S "$(ls "$kernel/lib/modules")" --show-depends "$module" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++' | while read -r file; do
		install -m 644 "$file" "$root/modules/"
		case $file in
		*/nandsim.ko) echo "nandsim.ko $nandsim" ;;
		*/ubi.ko) echo "ubi.ko mtd=1" ;;
		*) basename "$file" ;;
		esac
	done >"$root/modules/order"
}

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
for directory in usr/bin usr/sbin usr/lib usr/lib64 modules var/lock etc proc sys dev tmp run root; do
	mkdir -p "$root/$directory"
done
for directory in bin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
cp "$top/image/rootfs/tree/etc/passwd" "$top/image/rootfs/tree/etc/group" "$root/etc/"
put "$(command -v busybox)" /usr/bin/busybox
for program in abide abide-carrier abide-image; do put "$build/$program" "/build/$program"; done
for program in fw_setenv fw_printenv flash_erase ubimkvol ubiupdatevol; do
	put "$(command -v "$program")" "/usr/bin/$program"
done
put_modules
install -D -m 644 "$top/tests/cli/lib.sh" "$root/tests/cli/lib.sh"
install -m 644 "$flash/guest.sh" "$root/tests/cli/"
install -m 755 "$flash/guest-init" "$root/init"
mkdir "$root/device"
cp -R "$work/pki" "$work/rootfs-a" "$work/rootfs-b" "$work/2.abide" "$work/health.d" "$root/device/"
(cd "$root" && find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"

qemu-system-x86_64 -M q35 -m 512 -accel tcg,thread=multi -cpu Nehalem -nodefaults -no-user-config -display none \
	-no-reboot -serial "file:$work/console" -kernel "$kernel/vmlinuz" -initrd "$work/initrd" \
	-append 'console=ttyS0 loglevel=1 panic=-1 no_timer_check' &
qemu=$!
children=$qemu
second=0
while kill -0 "$qemu" 2>/dev/null && [ "$second" -lt "$limit" ]; do
	sleep 1
	second=$((second + 1))
done
tr -d '\r' <"$work/console" | grep -v '^[0-9]* passed, ' | tee "$work/guest"
grep -E '^(ok|not ok)' "$work/guest" >>"$work/results"
check "the guest came to its end" grep -q '^guest: exit status [01]$' "$work/guest"
finish
