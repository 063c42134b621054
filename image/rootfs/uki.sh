#!/bin/sh
# uki.sh KERNEL INITRD VERSION OUT: kernel and initramfs in one program of the firmware's, with Debian's stub of
# systemd's. It has no command line of its own: the boot entry's is
# taken. INITRD may be empty.
set -eu

kernel=$1 initrd=$2 version=$3 out=$4
stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub
[ -e "$stub" ] || {
	echo "uki.sh: '$stub' is missing; Debian's package is 'systemd-boot-efi'" >&2
	exit 1
}
os=$(mktemp)
trap 'rm -f "$os"' EXIT
printf 'ID=abide-demo\nVERSION_ID=%s\n' "$version" >"$os"
# Addresses behind the stub's own, with room for the kernel up to the initramfs.
set -- --add-section .osrel="$os" --change-section-vma .osrel=0x20000 \
	--add-section .linux="$kernel" --change-section-vma .linux=0x2000000
[ -z "$initrd" ] || set -- "$@" --add-section .initrd="$initrd" --change-section-vma .initrd=0x6000000
objcopy "$@" "$stub" "$out"
# objcopy puts the clock and a sum over all of it into the header, which begins where 0x3c points.
# No firmware looks at either.
header=$(od -An -tu4 -j 60 -N 4 "$out" | tr -d ' ')
for field in 8 88; do
	printf '\0\0\0\0' | dd of="$out" bs=1 seek=$((header + field)) conv=notrunc status=none
done
