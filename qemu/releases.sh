#!/bin/sh
# releases.sh DEVICE ABIDE ABIDE-IMAGE OUT CACHE [panic | faults]: what the story needs, the quick
# scenarios as well, or all of them, in OUT/DEVICE:
#
#	pki/ stranger/       development keys: those the device trusts, and somebody else's
#	www/NAME.abide       the releases, as bundles for the web server
#	factory.img          the disk as it leaves the factory, with release 1.0.0 in group a
#	vmlinuz probe.cpio   for finding out whether KVM boots a guest here
#	u-boot.bin           arm64: the firmware
#
# ABIDE and ABIDE-IMAGE are this machine's, in one folder; for a device with another processor abide is
# taken from FOLDER-TRIPLET, where make CROSS=TRIPLET puts it.
# What is there already and not older than what it is made of is kept.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
device=$1 abide=$2 tool=$3 out=$4/$1 cache=$5 faults=${6:-}
rootfs=$here/../image/rootfs
# One time for everything, so that what is built twice is the same twice.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 1)}
export SOURCE_DATE_EPOCH

# newer TARGET SOURCE...: whether TARGET is there and no SOURCE is newer.
newer() {
	target=$1
	shift
	[ -e "$target" ] && [ -z "$(find "$@" -newer "$target" -print -quit)" ]
}

keys() {
	[ -e "$out/$1/signer.pem" ] || "$tool" keys "$out/$1" >/dev/null
}

image() { # NAME VERSION FAULT [LEVEL]
	newer "$out/images/$1" "$abide" "$abide-carrier" "$abide-carrier-http" "$rootfs" "$here/../updater/init" "$out/pki/root.pem" ||
		"$rootfs/build.sh" -d "$device" -o "$out/images/$1" -v "$2" -a "$abide" -t "$out/pki/root.pem" \
			-c "$cache" -f "$3" -z "${4:-3}" -i "$type" ${boot:+-b "$out/images/$1.efi"}
}

bundle() { # KEYS IMAGE VERSION NAME
	newer "$out/www/$4.abide" "$out/images/$2" "$tool" || "$tool" bundle -o "$out/www/$4.abide" \
		--key "$out/$1/signer.key" --cert "$out/$1/signer.pem" --compatible abide-demo \
		--version "$3" --security-version 1 --hardware qemu --image "rootfs=$out/images/$2" \
		${boot:+--image "boot=$out/images/$2.efi"}
}

release() { # NAME VERSION FAULT [LEVEL]
	image "$1" "$2" "$3" "${4:-3}"
	bundle pki "$1" "$2" "$1"
}

case $device in
x86_64-grub) arch=amd64 type=squashfs boot='' ;;
# The firmware starts the kernel: it is an image of its own.
x86_64-systemd-boot | x86_64-efi) arch=amd64 type=squashfs boot=1 ;;
arm64-uboot) arch=arm64 type=squashfs boot='' ;;
# Debian's own U-Boot reads no squashfs.
arm64-uboot-stock) arch=arm64 type=ext4 boot='' ;;
*)
	echo "releases.sh: no device '$device'" >&2
	exit 2
	;;
esac
case $arch in
arm64) abide=$(dirname "$abide")-aarch64-linux-gnu/abide ;;
esac
mkdir -p "$out/images" "$out/www"
keys pki
keys stranger 2>/dev/null # as loud as the first
release release-1 1.0.0 none
release release-2 2.0.0 none
release release-3 3.0.0 unhealthy
[ ! "$faults" ] || release panic 4.0.0 panic
if [ "$faults" = faults ]; then
	release hang 5.0.0 hang
	release no-kernel 6.0.0 no-kernel
	release no-initrd 8.0.0 no-initrd
	# Hardly a chunk of it is on the device: so it is fetched, and that takes its time.
	release other 7.0.0 none 6
	cp "$out/www/other.abide" "$out/www/data.abide"
	# At fifteen places, so that one of them is in what is fetched. The header is before the first.
	for sixteenth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		printf 'not what was signed' | dd of="$out/www/data.abide" bs=1 conv=notrunc status=none \
			seek=$(($(stat -c %s "$out/www/other.abide") * sixteenth / 16))
	done
fi
bundle stranger release-2 2.0.0 stranger

# A genuine bundle with a manifest that says something else. (data.abide: with other bytes of the image.)
LC_ALL=C sed 's/"version": "2\.0\.0"/"version": "9.0.0"/' "$out/www/release-2.abide" >"$out/www/tampered.abide"

kernel=$("$rootfs/kernel.sh" "$cache" "$arch")
install -m 644 "$kernel/vmlinuz" "$out/vmlinuz"
busybox=$("$rootfs/program.sh" "$cache" "$arch" busybox-static bin/busybox)
"$rootfs/initrd.sh" "$kernel" "$busybox" "$out/probe.cpio" "$SOURCE_DATE_EPOCH"
case $device in
arm64-uboot) install -m 644 "$("$here/uboot/build.sh" "$cache")" "$out/u-boot.bin" ;;
arm64-uboot-stock) install -m 644 /usr/lib/u-boot/qemu_arm64/u-boot.bin "$out/u-boot.bin" ;;
esac
# OVMF's flash lies behind the disk, in one file (vm.c takes them apart): that is not what the layout makes,
# so the file is made anew.
case $device in
x86_64-efi) rm -f "$out/factory.img" ;;
esac
"$tool" disk -o "$out/factory.img" --layout "$here/layout-$device.ini" --bundle "$out/www/release-1.abide" \
	--trust "$out/pki/root.pem"
case $device in
x86_64-efi) cat /usr/share/OVMF/OVMF_VARS_4M.fd >>"$out/factory.img" ;;
esac
