#!/bin/sh
# initrd.sh KERNEL BUSYBOX OUT EPOCH: the initramfs, with the modules the virtual device needs, in the
# order in which they are to be loaded.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kernel=$1 busybox=$2 out=$3 epoch=$4
modules='virtio_pci virtio_blk virtio_net squashfs ext4 vfat nls_cp437 nls_ascii nls_utf8'
# Its disk, its watchdog, its firmware.
case ${kernel##*/} in
kernel-arm64) modules="$modules sdhci_pci i6300esb" ;;
*) modules="$modules softdog efivarfs" ;;
esac

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/bin" "$stage/modules" "$stage/dev" "$stage/proc" "$stage/sys" "$stage/newroot"
install -m 755 "$busybox" "$stage/bin/busybox"
install -m 755 "$here/initrd-init" "$stage/init"
release=$(ls "$kernel/lib/modules")
for module in $modules; do
	modprobe -d "$kernel" -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
	install -m 644 "$file" "$stage/modules/"
	basename "$file" >>"$stage/modules/order"
done
find "$stage" -exec touch -h -d "@$epoch" {} +
(cd "$stage" && find . | LC_ALL=C sort |
	busybox cpio -o -H newc --renumber-inodes --ignore-devno 2>/dev/null) | gzip -9n >"$out"
